"""Dawid-Skene truth inference: which answer is right, when people differ in how they err.

Every person has a confusion matrix, the chance of each answer given the true one; every task has a
true answer. EM (Dawid & Skene 1979) alternates between the matrices given beliefs about the truth,
and the beliefs given the matrices. A matrix follows from the beliefs and that person's own answers,
so nothing is kept per person: a step is one pass over blocks of people, and memory does not grow.

The model takes people's errors to be independent. A million agents of one crowd are no million
independent witnesses: they count as many as the people the crowd rests on, their log-likelihood is
multiplied by effective / N (a fractional likelihood; EM still ascends). Else every confidence
would be 1.

It is for questions that have an answer. Where opinions differ, there is no truth to infer.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa

from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.population.read import Answers
from crowdllm_jax.runtime import processes
from crowdllm_jax.runtime.counting import Arrays, added, handed_out, in_order
from crowdllm_jax.runtime.progress import Progress, silent
from crowdllm_jax.study import scales
from crowdllm_jax.study.scales import Categorical

STEPS = 200
TOLERANCE = 1e-5
WITNESSES = 2.0
"""Answers to a task below which, on average, hardly any answer is checked by another: who agrees
with nobody else's answers can be told neither right nor wrong, and is believed for want of others.
From two on people's ways to err show in how they agree, over tasks that they share."""
NEVER = 1e-10
"""Number of answers that stands for none, so that no chance is 0."""

KEPT = 1 << 28
"""Bytes of answers that are kept in memory between passes; more are read anew each time."""

FULL = jax.lax.Precision.HIGHEST

Pass = Callable[[], Iterable[np.ndarray]]


class Truth(NamedTuple):
    """Beliefs (T, K) about the true answer of each task, EM steps taken, whether they settled."""

    belief: np.ndarray
    steps: int
    settled: bool


def infer_truth(answers: Answers, progress: Progress = silent) -> pa.Table:
    """Dawid-Skene on every scale of levels that is no ballot, each scale by itself.

    Returns:
      one row per task: task_id, decision, confidence, and votes, the share of the answers that
      agree.
    """
    rows = []
    for index, (name, scale) in enumerate(answers.scales.items()):
        tasks = np.flatnonzero(answers.task_scale == index)
        if not isinstance(scale, Categorical) or not len(tasks):
            continue
        power = min(1.0, (answers.effective or np.inf) / answers.people)

        def report(step: int, label: str = name) -> None:
            progress(f"dawid-skene {label}", step, STEPS)

        passes, votes = _begun(answers, tasks, scales.size(scale))
        _warn_of_few(name, votes, answers.people)
        truth = dawid_skene(passes, votes, answers.block, power, report)
        if not truth.settled:
            warnings.warn(
                f"dawid-skene: not settled after {STEPS} steps on scale '{name}'; its confidences "
                "are rough",
                CrowdWarning,
                stacklevel=2,
            )
        rows += _rows(answers, tasks, votes, truth)
    if not rows:
        raise CrowdError(
            "dawid-skene: infers true answers on ordinal, nominal and binary scales, "
            "and there is none"
        )
    order = {task_id: position for position, task_id in enumerate(answers.task_ids)}
    return pa.Table.from_pylist(sorted(rows, key=lambda row: order[row["task_id"]]))


def _warn_of_few(name: str, votes: np.ndarray, people: int) -> None:
    """Warn where confidences say little: of (T, K) votes of some people on a scale."""
    levels, each = votes.shape[1], votes.sum() / people
    answered = votes.sum(1) > 0
    witnesses = votes.sum() / max(answered.sum(), 1)
    if answered.any() and witnesses < WITNESSES:
        warnings.warn(
            f"dawid-skene: on scale '{name}' a task has {witnesses:.3g} answers on average, few to "
            "check one by another; do not rely on its confidences, and let several people answer "
            "each task",
            CrowdWarning,
            stacklevel=3,
        )
    if each < levels**2:
        warnings.warn(
            f"dawid-skene: on scale '{name}' a person answered {each:.3g} tasks on average, "
            f"few for a matrix of {levels} x {levels} ways to err; do not rely on its "
            "confidences",
            CrowdWarning,
            stacklevel=3,
        )


def _begun(answers: Answers, tasks: np.ndarray, levels: int) -> tuple[dict[int, Pass], np.ndarray]:
    """Passes over some tasks' levels, by the numbers of the parts, and (T, K) everybody's votes.

    The parts are handed out here, while they are read for the first time; from then on a process
    has its own, in memory if they fit.
    """

    def levels_of(blocks: Pass) -> Iterator[np.ndarray]:
        for block in blocks():
            levels = block[:, tasks]
            # A study with a continuous scale holds floats, NaN where there is no answer.
            floats = np.issubdtype(levels.dtype, np.floating)
            yield np.nan_to_num(levels, nan=-1).astype(np.int16) if floats else levels

    kept = answers.people * len(tasks) * 2 / processes.size() <= KEPT
    passes: dict[int, Pass] = {}
    votes = np.zeros((len(tasks), levels))
    for number, blocks in handed_out("the votes", answers.passes):
        passes[number] = partial(list, [*levels_of(blocks)]) if kept else partial(levels_of, blocks)
        votes += count_votes(passes[number](), len(tasks), levels, answers.block)
    (votes,) = added("the votes", (votes,))
    return passes, votes


def _rows(
    answers: Answers, tasks: np.ndarray, votes: np.ndarray, truth: Truth
) -> list[dict[str, Any]]:
    rows = []
    for index, task in enumerate(tasks):
        row: dict[str, Any] = {
            "task_id": answers.task_ids[task],
            "decision": None,
            "confidence": None,
            "votes": None,
        }
        if votes[index].sum():
            best = int(truth.belief[index].argmax())
            row["decision"] = scales.labels(answers.task_scales[task])[best]
            row["confidence"] = float(truth.belief[index, best])
            row["votes"] = float(votes[index, best] / votes[index].sum())
        rows.append(row)
    return rows


def count_votes(blocks: Iterable[np.ndarray], tasks: int, levels: int, size: int) -> np.ndarray:
    """(T, K) how often each level was answered."""
    votes = np.zeros((tasks, levels))
    for block in blocks:
        votes += np.asarray(_count(_filled(block, size), levels))
    return votes


def dawid_skene(
    passes: Mapping[int, Pass],
    votes: np.ndarray,
    size: int,
    power: float = 1.0,
    on_step: Callable[[int], None] = lambda _: None,
) -> Truth:
    """EM from the shares of votes.

    Args:
      passes: by its number, gives a new pass over a part of the answers, (n, T) levels, -1 where
        there is none, n <= size; of several processes, over a part of this one's.
      votes: (T, K) see `count_votes`.
      power: multiplies the log-likelihood.
    """
    total = votes.sum(1, keepdims=True)
    answered = total[:, 0] > 0
    belief = np.where(total > 0, votes, 1.0) / np.where(total > 0, total, votes.shape[1])
    prior = belief[answered].mean(0)
    for step in range(1, STEPS + 1):
        likelihood = np.zeros_like(belief)
        own = _of_parts(passes, jnp.asarray(belief, jnp.float32), size)
        for (of_part,) in in_order("a step of dawid-skene", own):
            likelihood += of_part
        log = np.log(np.maximum(prior, NEVER)) + power * likelihood
        new = np.exp(log - log.max(1, keepdims=True))
        new /= new.sum(1, keepdims=True)
        change = np.abs(new - belief).max()
        belief, prior = new, new[answered].mean(0)
        on_step(step)
        if change < TOLERANCE:
            return Truth(belief, step, True)
    return Truth(belief, STEPS, False)


def _of_parts(
    passes: Mapping[int, Pass], belief: jax.Array, size: int
) -> Iterator[tuple[int, Arrays]]:
    """Each part's number, and (T, K) log-likelihood of its answers; see `step_block`."""
    for number, blocks in passes.items():
        total = np.zeros(belief.shape)
        for block in blocks():
            total += np.asarray(step_block(_filled(block, size), belief), np.float64)
        yield number, (total,)


def _filled(block: np.ndarray, size: int) -> np.ndarray:
    """A block of full size; people without an answer change nothing."""
    if len(block) == size:
        return block
    return np.concatenate([block, np.full((size - len(block), block.shape[1]), -1, block.dtype)])


@partial(jax.jit, static_argnums=1)
def _count(answers: jax.Array, levels: int) -> jax.Array:
    t = answers.shape[1]
    at = jnp.arange(t, dtype=jnp.int32)[None] * levels + answers
    at = jnp.where(answers >= 0, at, t * levels)
    counts = jnp.zeros(t * levels, jnp.int32).at[at].add(1, mode="drop")
    return counts.reshape(t, levels)


@jax.jit
def step_block(answers: jax.Array, belief: jax.Array) -> jax.Array:
    """(T, K) log-likelihood of a block's answers (n, T) given each true answer, with the
    confusion matrices that beliefs (T, K) imply."""
    levels = jnp.arange(belief.shape[1], dtype=answers.dtype)

    def said(level: jax.Array) -> jax.Array:
        return (answers == level).astype(jnp.float32)

    # (K said, n, K true): two products per level, so that nothing of size n T K is made.
    number = jax.lax.map(lambda level: jnp.matmul(said(level), belief, precision=FULL), levels)
    number = jnp.maximum(number, NEVER)
    log = jnp.log(number) - jnp.log(number.sum(0))[None]

    def add(total: jax.Array, level_and_log: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        level, log_of_level = level_and_log
        return total + jnp.matmul(said(level).T, log_of_level, precision=FULL), None

    return jax.lax.scan(add, jnp.zeros_like(belief), (levels, log))[0]
