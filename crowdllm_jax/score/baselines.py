"""Crowds to beat: what comes out without a belief, without a reference, or without any model.

Each returns the answers of N agents to all T tasks, as numbers in the scales' units.
"""

import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from crowdllm_jax.model.response import score_cuts
from crowdllm_jax.model.scales.kinds import fill_ballots
from crowdllm_jax.reference.personas import Personas
from crowdllm_jax.reference.questions import PromptConfig, offered
from crowdllm_jax.reference.record import Reference
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
            level = _answer(name, study, split, reference, index, scale, tasks, agents, random)
            # Levels become values; a continuous answer is its value already.
            answers[:, tasks] = scales.values(scale)[level] if scales.size(scale) else level
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
        here = study.tasks.scale[personas.tasks] == index
        random = np.random.default_rng([seed, index, _STREAM["personas"]])
        if not here.any():
            continue
        if isinstance(scale, Joint):
            # The tasks of a ballot stand in the study's order in both.
            order = np.flatnonzero(here)[np.argsort(personas.tasks[here])]
            chance = probs[persona][:, order, 1]
            answers[:, personas.tasks[order]] = scales.values(scale)[_cast(scale, chance, random)]
            continue
        numbers = np.array(offered(scale, prompt)[1])
        for place in np.flatnonzero(here):
            below = probs[:, place, : len(numbers)].cumsum(1)[:, :-1]
            option = (random.random((agents, 1)) > below[persona]).sum(1)
            answers[:, personas.tasks[place]] = numbers[option]
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


def _answer(
    name: str,
    study: Study,
    split: Split,
    reference: Reference,
    index: int,
    scale: Scale,
    tasks: np.ndarray,
    agents: int,
    random: np.random.Generator,
) -> np.ndarray:
    """(N, tasks) levels (values if continuous) on one scale."""
    shape = (agents, len(tasks))
    here = _seen(study, split, index)
    seen, weight = study.answer[here], study.weight[here]
    k = scales.size(scale)
    if name in ("marginal", "task_marginal") and len(seen) == 0:
        name = "uniform"
    match name:
        case "uniform":
            if isinstance(scale, Points):
                return random.multinomial(scale.budget, np.full(len(tasks), 1 / len(tasks)), agents)
            if isinstance(scale, Joint):
                return _fill(scale, random.random(shape))
            if isinstance(scale, Continuous):
                return random.uniform(scale.low, scale.high, shape)
            return random.integers(0, k, shape)
        case "marginal" | "task_marginal" if isinstance(scale, Joint):
            real, worth = _real_ballots(study, here, tasks)
            ballots = random.choice(real, agents, p=_chance(worth))
            if name == "task_marginal":
                return ballots
            unseen = ~np.isin(tasks, study.task[here])
            if unseen.any():
                ballots = _complete(scale, ballots, unseen, random)
            return random.permuted(ballots, axis=1)
        case "marginal":
            return random.choice(seen, shape, p=_chance(weight)).astype(int if k else float)
        case "task_marginal":
            answers = random.choice(seen, shape, p=_chance(weight))
            for place, task in enumerate(tasks):
                own = here & (study.task == task)
                if own.any():
                    p = _chance(study.weight[own])
                    answers[:, place] = random.choice(study.answer[own], agents, p=p)
            return answers.astype(int if k else float)
        case "reference_sampled":
            assert reference.probs is not None
            if isinstance(scale, Joint):
                yes = 1 - reference.probs[tasks][:, 0]
                return _cast(scale, np.broadcast_to(yes, shape), random)
            below = reference.probs[tasks][:, :k].cumsum(1)[:, :-1]
            return (random.random(shape)[:, :, None] > below).sum(2)
    score = unit(study, reference.mean, np.arange(len(study.tasks.ids)))[tasks]
    score = np.broadcast_to(score, shape)
    if name == "reference_noise":
        score = score + noise_sd(study, split, reference, index) * random.standard_normal(shape)
    return _from_score(scale, score)


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
        return scale.low + (scale.high - scale.low) * np.clip(score, 0, 1)
    return np.searchsorted(score_cuts(scale), score)


def _fill(scale: Joint, score: np.ndarray) -> np.ndarray:
    return np.asarray(fill_ballots(scale, jnp.asarray(score))).astype(int)


def _seen(study: Study, split: Split, index: int) -> np.ndarray:
    """(R,) bool: training answers on one scale that count."""
    return split.seen & (study.tasks.scale[study.task] == index) & (study.weight > 0)


def _chance(weight: np.ndarray) -> np.ndarray | None:
    """Of each to be drawn; None where all are equal, which draws the same as if there were none."""
    return weight / weight.sum() if np.ptp(weight) else None


def _real_ballots(
    study: Study, here: np.ndarray, tasks: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(voters, tasks) levels of the training voters' ballots, and (voters,) survey weights."""
    voters, row = np.unique(study.person[here], return_inverse=True)
    ballots = np.zeros((len(voters), len(tasks)), int)
    ballots[row, np.searchsorted(tasks, study.task[here])] = study.answer[here]
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
    here = _seen(study, split, index)
    if not here.any():
        return 0.0
    task, weight = study.task[here], study.weight[here]
    mean = unit(study, reference.mean[task], task)
    if isinstance(scale, Continuous):
        square = (unit(study, study.answer[here], task) - mean) ** 2
        return float(np.sqrt(np.average(square, weights=weight)))
    if isinstance(scale, Joint | Approval):
        square = (unit(study, study.value[here], task) - mean) ** 2
        return float(np.sqrt(np.average(square, weights=weight)))
    edge = np.concatenate([[-np.inf], score_cuts(scale), [np.inf]])
    level = study.answer[here].astype(int)

    def loss(log_sd: float) -> float:
        sd = np.exp(log_sd)
        chance = norm.cdf((edge[level + 1] - mean) / sd) - norm.cdf((edge[level] - mean) / sd)
        return -float((weight * np.log(np.maximum(chance, 1e-12))).sum())

    return float(
        np.exp(minimize_scalar(loss, bounds=(np.log(1e-3), np.log(10)), method="bounded").x)
    )
