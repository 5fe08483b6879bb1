"""Crowds to beat: what comes out without a belief, without a reference, or without any model.

Each returns the answers of N agents to all T tasks, as numbers in the scales' units.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from crowdllm_jax.model.response import score_cuts
from crowdllm_jax.model.scales.kinds import fill_ballots
from crowdllm_jax.reference.questions import PromptConfig, offered
from crowdllm_jax.reference.record import Reference
from crowdllm_jax.score.personas import Personas
from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Study, alike
from crowdllm_jax.study.scales import Approval, Continuous, Joint, Points, Scale
from crowdllm_jax.study.split import Split
from crowdllm_jax.study.statistics import unit


def baseline_crowds(
    study: Study, split: Split, reference: Reference, agents: int, seed: int
) -> dict[str, np.ndarray]:
    """Every baseline that needs no training, by name: (N, T) answers each. Training answers (and
    voters) are drawn and counted by survey weight.

    - uniform: every answer equally likely.
    - marginal: answers as frequent as in training, the same for every task of a scale. A joint
      ballot is a training voter's in another order; what held-out tasks hide of it follows from
      the rule (k-approval, ranking), or is spread evenly over them (points).
    - task_marginal (held-out people only): as frequent as in training for that very task.
    - reference: every agent answers the reference decision (LLM-only).
    - reference_sampled (where the reference has option probabilities): answers drawn from them.
    - reference_noise: the reference plus normal noise, fitted on the training answers.
    """
    names = ["uniform", "marginal", "reference", "reference_noise"]
    if split.by == "people":
        names.append("task_marginal")
    if reference.probs is not None:
        names.append("reference_sampled")
    crowds = {}
    for name in names:
        answers = np.empty((agents, len(study.tasks.ids)), np.float32)
        for index, scale in enumerate(study.scales.values()):
            tasks = np.flatnonzero(study.tasks.scale == index)
            random = np.random.default_rng([seed, index, _STREAM[name]])
            if name == "reference" and not isinstance(scale, Joint):
                # As it is: the expected answer, between two levels if need be.
                answers[:, tasks] = reference.mean[tasks]
                continue
            block = _Block(study, split, reference, index, scale, tasks)
            level = _answer(name, block, agents, random)
            # Levels become values; a continuous answer is its value already.
            answers[:, tasks] = scales.numbers(scale, level)
        crowds[name] = answers
    return crowds


def persona_crowd(
    study: Study,
    personas: Personas,
    probs: np.ndarray,
    prompt: PromptConfig,
    agents: int,
    seed: int,
) -> np.ndarray:
    """(N, T) answers of a language model asked as every persona; NaN where it was not asked.

    The recruited agents answer in turn, each with draws of its own, until N have answered.

    Args:
      probs: (P, T', K) probabilities of the options, see `Personas.probs`.
    """
    persona = np.resize(personas.of_agent, agents)
    answers = np.full((agents, len(study.tasks.ids)), np.nan, np.float32)
    for index, scale in enumerate(study.scales.values()):
        on_scale = study.tasks.scale[personas.tasks] == index
        random = np.random.default_rng([seed, index, _STREAM["personas"]])
        if not on_scale.any():
            continue
        if isinstance(scale, Joint):
            # The tasks of a ballot stand in the study's order in both.
            order = np.flatnonzero(on_scale)[np.argsort(personas.tasks[on_scale])]
            chance = probs[persona][:, order, 1]
            answers[:, personas.tasks[order]] = scales.values(scale)[_cast(scale, chance, random)]
            continue
        numbers = np.array(offered(scale, prompt)[1])
        for task in np.flatnonzero(on_scale):
            below = probs[:, task, : len(numbers)].cumsum(1)[:, :-1]
            option = (random.random((agents, 1)) > below[persona]).sum(1)
            answers[:, personas.tasks[task]] = numbers[option]
    return answers


_STREAM = {
    "uniform": 0,
    "marginal": 1,
    "reference": 2,
    "reference_noise": 3,
    "task_marginal": 4,
    "reference_sampled": 5,
    "personas": 6,
}


@dataclass(frozen=True)
class _Block:
    """The tasks (T',) of a study on one scale, its `index`-th."""

    study: Study
    split: Split
    reference: Reference
    index: int
    scale: Scale
    tasks: np.ndarray

    @property
    def seen(self) -> np.ndarray:
        """(R,) bool: training answers that count."""
        return _seen(self.study, self.split, self.index)

    @property
    def dtype(self) -> type:
        """Of answers: levels, or values if continuous."""
        return int if scales.size(self.scale) else float


def _answer(name: str, block: _Block, agents: int, random: np.random.Generator) -> np.ndarray:
    """(N, T') levels (values if continuous) on one scale."""
    if name in ("marginal", "task_marginal") and not block.seen.any():
        name = "uniform"
    match name:
        case "uniform":
            return _uniform(block.scale, (agents, len(block.tasks)), random)
        case "marginal" | "task_marginal" if isinstance(block.scale, Joint):
            return _of_voters(block, block.scale, agents, random, in_place=name == "task_marginal")
        case "marginal":
            return _pooled(block, agents, random).astype(block.dtype)
        case "task_marginal":
            return _task_marginal(block, agents, random)
        case "reference_sampled":
            return _from_options(block, agents, random)
        case _:
            return _around_reference(block, agents, random, noise=name == "reference_noise")


def _uniform(scale: Scale, shape: tuple[int, int], random: np.random.Generator) -> np.ndarray:
    agents, tasks = shape
    if isinstance(scale, Points):
        return random.multinomial(scale.budget, np.full(tasks, 1 / tasks), agents)
    if isinstance(scale, Joint):
        return _fill(scale, random.random(shape))
    if isinstance(scale, Continuous):
        return random.uniform(scale.low, scale.high, shape)
    return random.integers(0, scales.size(scale), shape)


def _of_voters(
    block: _Block, scale: Joint, agents: int, random: np.random.Generator, *, in_place: bool
) -> np.ndarray:
    """Ballots of training voters: as they are, or else completed and in another order."""
    seen, tasks = block.seen, block.tasks
    real, weight = _real_ballots(block.study, seen, tasks)
    ballots = random.choice(real, agents, p=_chance(weight))
    if in_place:
        return ballots
    unseen = ~np.isin(tasks, block.study.task[seen])
    if unseen.any():
        ballots = _complete(scale, ballots, unseen, random)
    return random.permuted(ballots, axis=1)


def _pooled(block: _Block, agents: int, random: np.random.Generator) -> np.ndarray:
    """Drawn from all training answers on the scale."""
    study, seen = block.study, block.seen
    shape = (agents, len(block.tasks))
    return random.choice(study.answer[seen], shape, p=_chance(study.weight[seen]))


def _task_marginal(block: _Block, agents: int, random: np.random.Generator) -> np.ndarray:
    """Drawn from each task's training answers; from the pooled ones where it has none."""
    study, seen = block.study, block.seen
    answers = _pooled(block, agents, random)
    for column, task in enumerate(block.tasks):
        on_task = seen & (study.task == task)
        if on_task.any():
            p = _chance(study.weight[on_task])
            answers[:, column] = random.choice(study.answer[on_task], agents, p=p)
    return answers.astype(block.dtype)


def _from_options(block: _Block, agents: int, random: np.random.Generator) -> np.ndarray:
    """Drawn from the reference's option probabilities."""
    assert block.reference.probs is not None
    probs = block.reference.probs[block.tasks]
    shape = (agents, len(block.tasks))
    if isinstance(block.scale, Joint):
        return _cast(block.scale, np.broadcast_to(1 - probs[:, 0], shape), random)
    below = probs[:, : scales.size(block.scale)].cumsum(1)[:, :-1]
    return np.asarray((random.random(shape)[:, :, None] > below).sum(2))


def _around_reference(
    block: _Block, agents: int, random: np.random.Generator, *, noise: bool
) -> np.ndarray:
    """The reference decision, with the noise of the training answers around it or none."""
    study, reference = block.study, block.reference
    mean = unit(study, reference.mean, np.arange(len(study.tasks.ids)))[block.tasks]
    score = np.broadcast_to(mean, (agents, len(block.tasks)))
    if noise:
        sd = noise_sd(study, block.split, reference, block.index)
        score = score + sd * random.standard_normal(score.shape)
    return _from_score(block.scale, score)


def _cast(scale: Joint, yes: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(N, T) whole ballots from the chance of a yes to each project.

    They cannot be drawn task by task; Gumbel noise on log probabilities draws a whole one without
    replacement (Plackett-Luce).
    """
    return _fill(scale, np.exp(np.log(yes.clip(1e-6, 1 - 1e-6)) + random.gumbel(size=yes.shape)))


def _from_score(scale: Scale, score: np.ndarray) -> np.ndarray:
    if isinstance(scale, Joint):
        return _fill(scale, score)
    if isinstance(scale, Continuous):
        return np.asarray(scale.low + (scale.high - scale.low) * np.clip(score, 0, 1))
    return np.searchsorted(score_cuts(scale), score)


def _fill(scale: Joint, score: np.ndarray) -> np.ndarray:
    return np.asarray(fill_ballots(scale, jnp.asarray(score))).astype(int)


def _seen(study: Study, split: Split, index: int) -> np.ndarray:
    """(R,) bool: training answers on one scale that count."""
    return np.asarray(split.seen & (study.tasks.scale[study.task] == index) & (study.weight > 0))


def _chance(weight: np.ndarray) -> np.ndarray | None:
    """Of each to be drawn; None where all are equal, which draws the same as if there were none."""
    return weight / weight.sum() if np.ptp(weight) else None


def _real_ballots(
    study: Study, seen: np.ndarray, tasks: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(voters, tasks) levels of the training voters' ballots, and (voters,) survey weights."""
    voters, row = np.unique(study.person[seen], return_inverse=True)
    ballots = np.zeros((len(voters), len(tasks)), int)
    ballots[row, np.searchsorted(tasks, study.task[seen])] = study.answer[seen]
    return ballots, alike(study.participants.weight)[voters]


def _complete(
    scale: Joint, ballots: np.ndarray, unseen: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """(N, tasks) whole ballots, still to be shuffled, from ones that lack the `unseen` tasks."""
    if isinstance(scale, Points):
        hidden, left = int(unseen.sum()), scale.budget - ballots.sum(1)
        ballots[:, unseen] = random.multinomial(left, np.full(hidden, 1 / hidden))
        return ballots
    # Every whole ballot holds the same levels.
    return _fill(scale, np.broadcast_to(-np.arange(ballots.shape[1]), ballots.shape))


def noise_sd(study: Study, split: Split, reference: Reference, index: int) -> float:
    """Maximum-likelihood standard deviation, on [0, 1], of a rounded and clipped normal answer
    around the reference; from the training answers on one scale."""
    scale = tuple(study.scales.values())[index]
    seen = _seen(study, split, index)
    if not seen.any():
        return 0.0
    task, weight = study.task[seen], study.weight[seen]
    mean = unit(study, reference.mean[task], task)
    if isinstance(scale, Continuous):
        square = (unit(study, study.answer[seen], task) - mean) ** 2
        return float(np.sqrt(np.average(square, weights=weight)))
    if isinstance(scale, Joint | Approval):
        square = (unit(study, study.value[seen], task) - mean) ** 2
        return float(np.sqrt(np.average(square, weights=weight)))
    edge = np.concatenate([[-np.inf], score_cuts(scale), [np.inf]])
    level = study.answer[seen].astype(int)

    def loss(log_sd: float) -> float:
        sd = np.exp(log_sd)
        chance = norm.cdf((edge[level + 1] - mean) / sd) - norm.cdf((edge[level] - mean) / sd)
        return -float((weight * np.log(np.maximum(chance, 1e-12))).sum())

    return float(
        np.exp(minimize_scalar(loss, bounds=(np.log(1e-3), np.log(10)), method="bounded").x)
    )
