"""What one would expect of a held-out answer without a model: its task's known answers, and how the
person answers other tasks.

- task: the shares of the task's known answers, drawn towards those of all tasks of its scale, as
  far as predicts known answers best that are left out one at a time.
- task and person: the expected answer is that of all tasks plus the bias of the task plus that of
  the person on this scale, both shrunk (crossed random effects, whose variances are estimated; Bell
  & Koren 2007 call it the baseline predictor); the task's shares are tilted until they have this
  mean. Of a nominal scale, which has no mean, the shares as they are.
"""

from dataclasses import dataclass

import numpy as np

from crowdllm_jax.score.held_out import Humans
from crowdllm_jax.study.bins import bins, cells_of
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.scales import is_ordered, which
from crowdllm_jax.study.statistics import unit

STRENGTHS = 2.0 ** np.arange(-3, 11)
"""How many answers the shares of all tasks may count beside those of one task."""
ROUNDS, TILT = 50, 200.0
EDGE = 0.005
"""The expected answer keeps this distance from the scale's ends."""


@dataclass(frozen=True)
class Floors:
    """(R, K) chances of each held-out answer's bins, by task and by task and person."""

    task: np.ndarray
    task_person: np.ndarray


def answer_floors(study: Study, known: np.ndarray, humans: Humans) -> Floors:
    """Both floors of the held-out answers, from the known responses (R,) bool."""
    in_order = tuple(study.scales.values())
    supports = [bins(scale) for scale in in_order]
    known = known & (study.weight > 0)
    task = humans.tasks[humans.task]
    by_task = np.zeros((len(task), max(map(len, supports))))
    scale_of = study.tasks.scale[task]
    for index in np.unique(scale_of):
        on_scale, support = scale_of == index, supports[index]
        by_task[on_scale, : len(support)] = _task_shares(study, known, index, support)[
            task[on_scale]
        ]
    expected = _expected(study, known, humans.who[humans.person], task)
    tilted = by_task.copy()
    for index in np.unique(scale_of):
        if is_ordered(in_order[index]):
            on_scale, support = scale_of == index, supports[index]
            low, high = humans.edges[index]
            tilted[on_scale, : len(support)] = _tilted(
                by_task[on_scale, : len(support)],
                (support - low) / (high - low),
                expected[on_scale],
            )
    return Floors(by_task, tilted)


def _task_shares(study: Study, known: np.ndarray, index: int, support: np.ndarray) -> np.ndarray:
    """(T, K) shares of the tasks' known answers on one scale, shrunk."""
    k, t = len(support), len(study.tasks.ids)
    rows = known & (study.tasks.scale[study.task] == index)
    task, weight = study.task[rows], study.weight[rows]
    cell = cells_of(study.value[rows], support)
    count = np.bincount(task * k + cell, weight, t * k).reshape(t, k)
    pooled = (count.sum(0) + 1 / k) / (count.sum() + 1)
    size = count.sum(1)

    def loss(strength: float) -> float:
        left = (count[task, cell] - weight).clip(0) + strength * pooled[cell]
        return -float(weight @ np.log(left / ((size[task] - weight).clip(0) + strength)))

    best = min(STRENGTHS, key=loss)
    shares: np.ndarray = (count + best * pooled[None]) / (size + best)[:, None]
    return shares


def _expected(study: Study, known: np.ndarray, person: np.ndarray, task: np.ndarray) -> np.ndarray:
    """(A,) expected answers, as shares of the range, of some people to some tasks; of nominal
    scales, whose levels are no numbers, none."""
    scale_of, scales = study.tasks.scale, len(study.scales)
    known = known & which(is_ordered, study.scales.values())[scale_of[study.task]]
    if not known.any():
        return np.full(len(task), 0.5)
    owner, of, weight = study.person[known], study.task[known], study.weight[known]
    y = unit(study, study.value[known], of)
    total = np.bincount(scale_of[of], weight, scales)
    middle = np.bincount(scale_of[of], weight * y, scales) / np.where(total > 0, total, 1.0)
    groups = (of, owner * scales + scale_of[of])
    biases = _crossed_biases(
        y - middle[scale_of[of]],
        weight,
        groups,
        (len(study.tasks.ids), len(study.participants.ids) * scales),
    )
    return np.asarray(
        middle[scale_of[task]] + biases[0][task] + biases[1][person * scales + scale_of[task]]
    )


def _crossed_biases(
    y: np.ndarray,
    weight: np.ndarray,
    groups: tuple[np.ndarray, np.ndarray],
    sizes: tuple[int, int],
) -> list[np.ndarray]:
    """Random effects of two crossed groupings on (R,) numbers, by their weights (R,); 0 of groups
    without any.

    Effects and their variances are estimated in turn; an effect's own uncertainty counts in its
    variance as if the other effects were known. A group is trusted by Kish's effective number of
    its answers.
    """
    total, square = (
        [np.bincount(g, of_each, n) for g, n in zip(groups, sizes, strict=True)]
        for of_each in (weight, weight**2)
    )
    # How many of its answers tell as much as one unit of weight does.
    each = [
        np.divide(t, s, np.zeros(len(t)), where=s > 0) for t, s in zip(total, square, strict=True)
    ]
    count = [t * e for t, e in zip(total, each, strict=True)]
    effect = [np.zeros(n) for n in sizes]
    strength = [5.0, 5.0]
    for _ in range(ROUNDS):
        for this, other in ((0, 1), (1, 0)):
            rest = weight * (y - effect[other][groups[other]])
            effect[this] = each[this] * np.bincount(groups[this], rest, sizes[this])
            effect[this] /= count[this] + strength[this]
        error = y - effect[0][groups[0]] - effect[1][groups[1]]
        spent = sum((n / (n + a)).sum() for n, a in zip(count, strength, strict=True))
        squares = (weight * error**2).sum() * (len(y) / weight.sum())
        residual = squares / max(len(y) - spent, 1.0) + 1e-12
        for this in (0, 1):
            answered = count[this] > 0
            varies = effect[this][answered] ** 2 + residual / (
                count[this][answered] + strength[this]
            )
            strength[this] = float(np.clip(residual / max(varies.mean(), 1e-12), 1e-2, 1e6))
    return effect


def _tilted(shares: np.ndarray, support: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Shares (A, K) times exp(theta v), whose means on the support (K,) in [0, 1] are as given."""
    log = np.log(shares.clip(1e-12))
    mean = mean.clip(support[0] + EDGE, support[-1] - EDGE)
    low, high = np.full(len(mean), -TILT), np.full(len(mean), TILT)

    def at(theta: np.ndarray) -> np.ndarray:
        tilted = log + theta[:, None] * support[None]
        tilted = np.exp(tilted - tilted.max(1, keepdims=True))
        return np.asarray(tilted / tilted.sum(1, keepdims=True))

    for _ in range(40):
        middle = (low + high) / 2
        above = at(middle) @ support > mean
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return at((low + high) / 2)
