"""How well single held-out answers are predicted, each given its person's known answers.

A prediction is a chance for every level (on a continuous scale, of each of its bins). Averages over
answers, by survey weight:

- rps: ranked probability score, as in `metrics`; on a nominal scale half the Brier score, which is
  the same for two levels.
- log_loss: minus the log of the chance of the answer given.
- accuracy: share of answers that were the likeliest (scales with levels).
- rmse: of the expected answer (scales with an order).
- r: correlation of the expected answers with those given; r_tasks: the same within each task that
  FEWEST_ANSWERS were held out of, averaged over tasks: it sees persons alone, not tasks.
- coverage: share of answers within their 90% sets, the fewest levels whose chances sum to 90% or
  more; claimed: the chance of these sets. A prediction that knows how sure it is has both alike.
- gain: the share of the floor's rps that a prediction saves; the floor is the bias of the task and
  of the person (`answer_floors`).

In a study of several scales rps, rmse and r are of answers as shares of their scale's range.
"""

from collections.abc import Callable

import numpy as np

from crowdllm_jax.score.bootstrap import Measures, bootstrap
from crowdllm_jax.score.held_out import Humans
from crowdllm_jax.score.metrics import Score, score_of
from crowdllm_jax.study.bins import BINS

ANSWER_METRICS = (
    "rps",
    "log_loss",
    "accuracy",
    "rmse",
    "r",
    "r_tasks",
    "coverage",
    "claimed",
    "gain",
)
LEVEL = 0.9
"""Chance that a predictive set holds at least."""
FEWEST_ANSWERS = 10
"""Answers of a task below which a correlation within it says little."""
RAREST = 1e-9
"""Chances count as at least this in the log."""


def score_predictions(
    humans: Humans, chances: dict[str, np.ndarray], floor: str, seed: int
) -> list[Score]:
    """All measures of several predictions of the held-out answers, with intervals over people.

    Args:
      chances: by name, (R, K) of each bin. floor: the one that `gain` is over.
    """
    by_answer = {name: per_answer(humans, chance) for name, chance in chances.items()}
    scores = []
    for name in chances:
        measure = _measure(humans, by_answer[name], by_answer[floor]["rps"])
        point, low, high = bootstrap(humans, measure)
        scores += [
            score_of(
                humans,
                name,
                seed,
                metric,
                (point[metric], low[metric], high[metric]),
                _why(humans, metric, point[metric]),
            )
            for metric in ANSWER_METRICS
            if (name, metric) != (floor, "gain")
        ]
    return scores


def per_answer(humans: Humans, chance: np.ndarray) -> dict[str, np.ndarray]:
    """(R,) of each held-out answer: rps, log_loss, accuracy, coverage and claimed as they are
    averaged; mean and value, on the study's one scale or as shares. NaN where an answer has none.
    """
    measures = {
        name: np.full(len(humans.value), np.nan)
        for name in ("rps", "log_loss", "accuracy", "coverage", "claimed", "mean", "value")
    }
    scale = humans.scale[humans.task]
    several = len(np.unique(scale)) > 1
    for index in np.unique(scale):
        rows, support = scale == index, humans.support[index]
        low, high = humans.edges[index] if several else (0.0, 1.0)
        p = chance[rows, : len(support)].astype(np.float64)
        p /= p.sum(1, keepdims=True)
        cell = humans.cell[rows]
        given = np.arange(len(support))[None] == cell[:, None]
        if humans.nominal[index]:
            rps = ((p - given) ** 2).sum(1) / 2
        else:
            below = (p - given).cumsum(1)[:, :-1]
            rps = below**2 @ np.diff(support) / (high - low)
            measures["mean"][rows] = (p @ support - low) / (high - low)
            measures["value"][rows] = (humans.value[rows] - low) / (high - low)
        of_answer = p[given]
        if len(support) != BINS:
            measures["accuracy"][rows] = p.argmax(1) == cell
        covered, claimed = _sets(p, cell)
        measures["rps"][rows], measures["log_loss"][rows] = rps, -np.log(of_answer.clip(RAREST))
        measures["coverage"][rows], measures["claimed"][rows] = covered, claimed
    return measures


def _sets(p: np.ndarray, cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(R,) whether the answer is among the fewest bins of chance LEVEL, and their chance."""
    order = np.argsort(-p, axis=1, kind="stable")
    sorted_p = np.take_along_axis(p, order, axis=1)
    inside = sorted_p.cumsum(1) - sorted_p < LEVEL - 1e-9
    covered = (inside & (order == cell[:, None])).any(1)
    return covered.astype(float), (sorted_p * inside).sum(1)


def _measure(
    humans: Humans, by_answer: dict[str, np.ndarray], floor_rps: np.ndarray
) -> Callable[[np.ndarray], Measures]:
    """All measures from the (R,) weights of the answers."""
    ordered = np.isfinite(by_answer["mean"])
    mean, value = by_answer["mean"][ordered], by_answer["value"][ordered]
    task = humans.task[ordered]
    often = np.bincount(task, minlength=len(humans.tasks)) >= FEWEST_ANSWERS
    names = ("rps", "log_loss", "accuracy", "coverage", "claimed")
    averaged = {name: _average_of(by_answer[name]) for name in names}
    square, of_floor = _average_of((mean - value) ** 2), _average_of(floor_rps)

    def measure(weight: np.ndarray) -> Measures:
        measures = {name: average(weight) for name, average in averaged.items()}
        w = weight[ordered]
        within = _correlations(mean, value, task, w, len(humans.tasks))[often]
        defined = within[np.isfinite(within)]
        together = _correlations(mean, value, np.zeros_like(task), w, 1)
        return measures | {
            "rmse": float(np.sqrt(square(w))),
            "r": float(together[0]),
            "r_tasks": float(defined.mean()) if len(defined) else np.nan,
            "gain": 1 - measures["rps"] / of_floor(weight),
        }

    return measure


def _average_of(values: np.ndarray) -> Callable[[np.ndarray], float]:
    """The average of the defined ones among some numbers (R,), from their weights."""
    defined = np.isfinite(values)
    filled = np.where(defined, values, 0.0)

    def average(weight: np.ndarray) -> float:
        total = (weight * defined).sum()
        return float((filled * weight).sum() / total) if total > 0 else np.nan

    return average


def _correlations(
    x: np.ndarray, y: np.ndarray, group: np.ndarray, weight: np.ndarray, groups: int
) -> np.ndarray:
    """(groups,) weighted correlations; NaN where a side does not vary."""

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(group, weight * values, groups)

    size = np.maximum(total(np.ones(len(x))), 1e-300)
    x = x - (total(x) / size)[group]
    y = y - (total(y) / size)[group]
    xx, yy = total(x * x), total(y * y)
    varies = (xx > 1e-10 * size) & (yy > 1e-10 * size)
    r: np.ndarray = np.divide(total(x * y), np.sqrt(xx * yy), np.full(groups, np.nan), where=varies)
    return r


def _why(humans: Humans, metric: str, value: float) -> str:
    """Why a measure is not defined; empty where it is."""
    if np.isfinite(value):
        return ""
    if metric == "accuracy":
        return "no held-out task has levels"
    if humans.nominal[humans.scale[humans.task]].all():
        return "the levels have no order"
    if metric == "r_tasks":
        return f"it expects the same of everybody, or no task has {FEWEST_ANSWERS} held-out answers"
    return "the answers, or what is expected of them, do not vary"
