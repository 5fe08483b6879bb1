"""Whether an agent's answers to different tasks hang together as a person's do.

correlation_error is the mean absolute difference between the crowd's and the people's Pearson
correlations of two tasks, over all pairs of tasks on ordered scales that enough held-out people
answered both of. A crowd whose agents are nobody in particular has correlations of 0 and scores the
mean size of the people's.
"""

from dataclasses import dataclass

import numpy as np

from crowdllm_jax.score.bootstrap import Measures, interval
from crowdllm_jax.score.halves import shrink
from crowdllm_jax.score.held_out import Humans

FEWEST, MOST = 30, 200
"""People who must have answered both of two tasks; tasks (those that most answered) at most."""

TIMES = 200


@dataclass(frozen=True)
class ItemPairs:
    """The people's answers side by side.

    Attributes:
      tasks: (M,) places among the held-out tasks. value: (H, M), 0 where `known` is not.
      compared: (M, M) bool, the pairs that are compared, each once.
    """

    tasks: np.ndarray
    value: np.ndarray
    known: np.ndarray
    compared: np.ndarray


def items_of(humans: Humans) -> ItemPairs | None:
    """The tasks whose correlations can be told; None where there is no such pair."""
    answered = np.bincount(humans.task, minlength=len(humans.tasks))
    ordered = ~humans.nominal[humans.scale]
    tasks = np.flatnonzero(ordered & (answered >= FEWEST))
    tasks = np.sort(tasks[np.argsort(-answered[tasks], kind="stable")][:MOST])
    item = np.full(len(humans.tasks), -1)
    item[tasks] = np.arange(len(tasks))
    value = np.zeros((humans.people, len(tasks)))
    known = np.zeros(value.shape)
    compared_task = item[humans.task] >= 0
    cells = humans.person[compared_task], item[humans.task[compared_task]]
    value[cells], known[cells] = humans.share[compared_task], 1.0
    together = known.T @ known
    shown = np.isfinite(correlations(value, known, np.ones(len(value))))
    compared = np.triu((together >= FEWEST) & shown, 1)
    return ItemPairs(tasks, value, known, compared) if compared.any() else None


def correlations(value: np.ndarray, known: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(M, M) weighted correlations over those who answered both; NaN where one of them is constant.

    Args:
      value: (H, M), 0 where not known. known: (H, M) of 0 and 1. weight: (H,).
    """
    n = (weight[:, None] * known).T @ known
    first = (weight[:, None] * value).T @ known
    square = (weight[:, None] * value**2).T @ known
    product = (weight[:, None] * value).T @ value
    varies = n * square - first**2
    varies = np.where(varies > 1e-9 * n * n, varies, np.nan)
    return np.asarray((n * product - first * first.T) / np.sqrt(varies * varies.T))


def score_correlations(
    humans: Humans, crowds: dict[str, np.ndarray], seed: int
) -> dict[str, tuple[float, float, float]]:
    """correlation_error of every crowd and of "humans", with 95% intervals over people.

    Args:
      crowds: (N, T) answers to `humans.tasks` of each.
    Returns:
      (value, low, high) by name; empty where too few people answered the same tasks. The humans'
      is half the difference of two halves of the people (see `ceiling.score_humans`).
    """
    items = items_of(humans)
    if items is None:
        return {}
    of_crowd = {name: crowd_correlations(items, values) for name, values in crowds.items()}

    def measure(weight: np.ndarray) -> Measures:
        people = correlations(items.value, items.known, weight)
        return {name: _apart(items, people, theirs) for name, theirs in of_crowd.items()}

    random = np.random.default_rng(seed)
    n, survey_weight = humans.people, humans.weight
    draws = [
        measure(random.multinomial(n, np.full(n, 1 / n)).astype(float) * survey_weight)
        for _ in range(TIMES)
    ]
    scores = {}
    for name, value in measure(survey_weight).items():
        scores[name] = (value, *interval([draw[name] for draw in draws], value))
    halves = []
    for _ in range(20):
        first = random.permutation(n) < n // 2
        ours, others = (
            correlations(items.value, items.known, half * survey_weight) for half in (first, ~first)
        )
        nearer = shrink(np.zeros(n, int), survey_weight, np.ones(n), first)
        halves.append(_apart(items, ours, others) * nearer)
    defined = np.array(halves)[np.isfinite(halves)]
    ceiling = float(defined.mean()) if len(defined) else float("nan")
    scores["humans"] = (ceiling, *interval(halves, ceiling))
    return scores


def crowd_correlations(items: ItemPairs, values: np.ndarray) -> np.ndarray:
    """(M, M) correlations of a crowd's answers, each over those who were asked both; 0 where an
    answer never varies."""
    chosen = values[:, items.tasks].astype(np.float64)
    if (skipped := np.isnan(chosen)).any():
        given = np.where(skipped, 0.0, 1.0)
        return np.nan_to_num(correlations(np.nan_to_num(chosen), given, np.ones(len(chosen))))
    moved = chosen - chosen.mean(0)
    sd = moved.std(0)
    scaled = moved / np.where(sd > 0, sd, 1.0)
    return np.asarray(scaled.T @ scaled / len(scaled))


def _apart(items: ItemPairs, first: np.ndarray, second: np.ndarray) -> float:
    gap = np.abs(first - second)[items.compared]
    return float(np.nanmean(gap)) if np.isfinite(gap).any() else float("nan")
