"""How close a crowd comes to the people it was not shown.

Everything is computed from histograms: of each task over the values of its scale (a continuous
scale is cut into 200 bins), in the scale's own units; in a study of several scales in shares of
each one's range. On a nominal scale any two levels are 1 apart, whatever the order in which they
are listed: a Wasserstein distance is the total variation, rps half the Brier score, a variance the
chance that two answers differ. Task measures, averaged over tasks:

- mae, rmse: crowd mean against human mean, of ordered tasks.
- cs: cosine similarity of the histograms. js: their Jensen-Shannon distance, to base 2 (Lin 1991).
  Both read a continuous scale in 10 bins.
- avg_wd: Wasserstein-1 distance of the distributions; nwd: as a share of the scale's range.
- ks: 1 minus the Kolmogorov-Smirnov distance.
- rps: ranked probability score of each human answer under the crowd's distribution (Epstein 1969;
  on a continuous scale the CRPS), averaged over answers. A proper score: it is lowest in
  expectation for the true distribution, and needs no split of the humans.
- skill: the share of the way from a floor (a crowd that answers every task with the training
  answers, pooled) to the noise ceiling that the crowd goes, in rps.
- accuracy: share of human answers equal to the crowd's most frequent one (discrete scales).
- ece: expected calibration error, classwise (Kull et al. 2019): every level's share in the crowd is
  a forecast for every answer; in 10 bins of forecasts, their mean against how often it came true.

Pooled over tasks (averaged over scales): pooled_wd, and variance_ratio (crowd's over humans', over
the scales on which people differ at all). Of persons: see `persons`.

An answer counts by its person's survey weight: in its task's distribution and mean, and wherever
answers are pooled or averaged. Averages over tasks count each task once, whoever answered it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from scipy.stats import wasserstein_distance

from crowdllm_jax.score.asked import given, means
from crowdllm_jax.score.bootstrap import Measures, bootstrap, enough
from crowdllm_jax.score.distances import DISTANCES, calibration_error, coarse, distances
from crowdllm_jax.score.halves import shrink
from crowdllm_jax.score.held_out import Humans, of_numbers
from crowdllm_jax.score.persons import (
    PERSON_METRICS,
    compare_people,
    in_peoples_places,
    person_scores,
    personal,
)
from crowdllm_jax.score.undefined import no_interval, no_value
from crowdllm_jax.study.bins import BINS, cells_of

TASK_METRICS = ("mae", "rmse", "cs", "avg_wd", "nwd", "js", "ks", "rps", "skill", "accuracy", "ece")
POOLED_METRICS = ("pooled_wd", "variance_ratio")
METRICS = TASK_METRICS + POOLED_METRICS + PERSON_METRICS
HALVED = ("mae", "rmse", "avg_wd", "nwd", "js", "pooled_wd")
"""Distances that grow like the differences they measure."""
UNDEFINED = (np.nan, np.nan, np.nan)
"""A value without one, and without an interval."""


class Score(msgspec.Struct, frozen=True, omit_defaults=True):
    """One measure of one crowd: its value and a 95% bootstrap interval.

    Attributes:
      model: whose crowd. split: what was held out, "tasks", "people" or "answers".
      value: NaN where the measure is not defined. low, high: NaN where it has no interval. In JSON
        a NaN is null.
      why: it has no value, or no interval; empty where it has both.
    """

    model: str
    split: str
    seed: int
    metric: str
    value: float
    low: float
    high: float
    why: str = ""


def score_of(
    humans: Humans,
    model: str,
    seed: int,
    metric: str,
    interval: tuple[float, float, float],
    why: str = "",
) -> Score:
    """A score from (value, low, high) with NaN for what is not defined.

    Args:
      why: it is not, where `undefined` does not know better.
    """
    value, low, high = map(float, interval)
    if not np.isfinite(value):
        why = why or no_value(humans, metric)
        return Score(model, humans.by, seed, metric, *UNDEFINED, why)
    if not np.isfinite([low, high]).all():
        why = why or no_interval(humans, metric)
        return Score(model, humans.by, seed, metric, value, np.nan, np.nan, why)
    return Score(model, humans.by, seed, metric, value, low, high)


def read_scores(data: bytes) -> list[Score]:
    """Scores from their JSON.

    Raises:
      msgspec.MsgspecError: it holds none.
    """
    rows = msgspec.json.decode(data, type=list[dict[str, Any]])
    filled = [{key: np.nan if x is None else x for key, x in row.items()} for row in rows]
    return msgspec.convert(filled, list[Score])


def measure_crowd(humans: Humans, values: np.ndarray) -> Measures:
    """All measures of one crowd by name, without intervals: what `score_crowd` gives as values.

    Args:
      values: (N, T) the agents' answers to `humans.tasks`, in the scales' units.
    """
    crowd, mean = _crowd_counts(humans, values), means(values)
    person: dict[str, float] = {}
    numbers = of_numbers(humans, values)
    if numbers is not None and numbers[0].people > 1 and not humans.shares:
        some, said = numbers
        agents = [personal(some, round_) for round_ in in_peoples_places(some, said)]
        people = personal(some, (some.person, some.task, some.value))
        person = compare_people(people, agents, some.weight, np.arange(some.people))
    return _compare(humans, crowd, mean, humans.answer_weight) | person


def _crowd_counts(humans: Humans, values: np.ndarray) -> np.ndarray:
    """(T, K) number of agents whose answer lies in each bin."""
    k = max(map(len, humans.support))
    # Task by task: the bins of all answers at once would take more memory than the answers.
    return np.stack(
        [
            np.bincount(cells_of(given(values[:, task]), humans.support[scale]), minlength=k)
            for task, scale in enumerate(humans.scale)
        ]
    )


def score_crowd(
    humans: Humans, values: np.ndarray, model: str, seed: int, floor: np.ndarray | None = None
) -> list[Score]:
    """All measures of one crowd.

    Args:
      values: (N, T) the agents' answers to `humans.tasks`, in the scales' units.
      seed: of the split, noted in the scores; the bootstrap uses a seed of its own.
      floor: (N, T) likewise of the crowd that skill starts from; without it there is none.
    """
    crowd, mean = _crowd_counts(humans, values), means(values)
    cost = answer_rps(humans, values)
    floor_cost = None if floor is None else answer_rps(humans, floor)

    def measure(weight: np.ndarray) -> Measures:
        measures = _compare(humans, crowd, mean, weight)
        if floor_cost is not None:
            measures["skill"] = _skill(humans, cost, floor_cost, weight)
        return measures

    same = floor_cost is None or np.array_equal(cost, floor_cost)
    point, low, high = _with_skill(humans, measure, same=same)
    person: tuple[Measures, Measures, Measures] = ({}, {}, {})
    if (numbers := of_numbers(humans, values)) is not None:
        some, said = numbers
        agents = [personal(some, round_) for round_ in in_peoples_places(some, said)]
        person = person_scores(some, agents)
    names = [name for name in METRICS if name != "skill" or floor is not None]
    bounds = (low | person[1], high | person[2])
    return _records(model, humans, seed, names, point | person[0], *bounds, {})


def score_costs(
    humans: Humans, cost: np.ndarray, floor: np.ndarray, model: str, seed: int
) -> list[Score]:
    """rps and skill from the rps of each human answer, (R,), of a crowd and of the floor."""

    def measure(weight: np.ndarray) -> Measures:
        mean = float(np.average(cost, weights=weight))
        return {"rps": mean, "skill": _skill(humans, cost, floor, weight)}

    measures = _with_skill(humans, measure, same=np.array_equal(cost, floor))
    return _records(model, humans, seed, ["rps", "skill"], *measures, {})


def _with_skill(
    humans: Humans, measure: Callable[[np.ndarray], Measures], *, same: bool
) -> tuple[Measures, Measures, Measures]:
    """Bootstrapped measures, skill among them; `same`: the crowd is the floor itself."""
    point, low, high = bootstrap(humans, measure)
    if not same and enough(humans) and np.isnan(low["skill"]):
        # Where the way may as well be 0, its shares mean nothing.
        point["skill"] = np.nan
    return point, low, high


def answer_rps(humans: Humans, values: np.ndarray) -> np.ndarray:
    """(R,) ranked probability score of each human answer under the crowd of `values` (N, T)."""
    crowd = _crowd_counts(humans, values)
    p = crowd / crowd.sum(1, keepdims=True).clip(1)
    cost = np.zeros(p.shape)
    for index, support in enumerate(humans.support):
        on_scale = humans.scale == index
        share = p[on_scale][:, : len(support)]
        step = _step(humans, index)
        if step is None:
            brier = (share**2).sum(1, keepdims=True) - 2 * share + 1
            cost[on_scale, : len(support)] = brier / 2
            continue
        below = share.cumsum(1)[:, :-1]
        hit = np.tri(len(support), dtype=bool).T[:, :-1]  # does an answer in bin k lie below v?
        cost[on_scale, : len(support)] = (below[:, None] - hit) ** 2 @ step
    return np.asarray(cost[humans.task, humans.cell])


def _skill(humans: Humans, cost: np.ndarray, floor: np.ndarray, weight: np.ndarray) -> float:
    """How far the crowd goes from the floor to the ceiling, in the mean of (R,) scores."""
    start, reached = np.average(floor, weights=weight), np.average(cost, weights=weight)
    way = start - _gini(humans, weight)
    return float((start - reached) / way) if way > 1e-9 * start else float("nan")


def _half_of_raters(humans: Humans, random: np.random.Generator) -> np.ndarray:
    """(R,) bool: of each task's answers a random half, rounded up."""
    shuffled = random.permutation(len(humans.task))
    order = shuffled[np.argsort(humans.task[shuffled], kind="stable")]
    first = np.zeros(len(order), bool)
    start = np.searchsorted(humans.task[order], np.arange(len(humans.tasks)))
    first[order] = (np.arange(len(order)) - start[humans.task[order]]) % 2 == 0
    return first


def _by_cut(humans: Humans, halves: list[np.ndarray], weight: np.ndarray) -> list[Measures]:
    """The ceiling as each of the random cuts shows it; nothing where no task has two halves."""
    ceilings: list[Measures] = []
    for first in halves:
        first_weight = weight * first
        in_first = np.bincount(humans.task, first_weight, len(humans.tasks)) > 0
        second_weight = weight * ~first * in_first[humans.task]
        if second_weight.any():
            half = shrink(humans.task, weight, weight / humans.answer_weight, first)
            counts, means = _counts(humans, first_weight), _means(humans, first_weight)
            measures = _compare(humans, counts, means, second_weight)
            ceiling = {name: measures[name] * half for name in HALVED}
            ceiling["cs"] = 1 - (1 - measures["cs"]) * half**2
            ceiling["ks"] = 1 - (1 - measures["ks"]) * half
            ceilings.append(ceiling)
    return ceilings


def _halves_apart(humans: Humans, mean: np.ndarray, random: np.random.Generator) -> float:
    """How far the personal means (H,) of two halves lie apart by chance, halved like the others."""
    people, others = np.array_split(random.permutation(humans.people), 2)
    first = np.isin(np.arange(humans.people), people)
    w, everyone = humans.weight, np.zeros(humans.people, int)
    half = shrink(everyone, w, np.ones(humans.people), first)
    return float(wasserstein_distance(mean[people], mean[others], w[people], w[others]) * half)


def _records(
    model: str,
    humans: Humans,
    seed: int,
    names: Sequence[str],
    point: Measures,
    low: Measures,
    high: Measures,
    why: Mapping[str, str],
) -> list[Score]:
    """A score of every name; what is not in the measures is not defined."""
    no = float("nan")
    return [
        score_of(
            humans,
            model,
            seed,
            name,
            (point.get(name, no), low.get(name, no), high.get(name, no)),
            why.get(name, ""),
        )
        for name in names
    ]


def _counts(humans: Humans, weight: np.ndarray) -> np.ndarray:
    """(T, K) weighted number of human answers in each bin; weight (R,)."""
    t, k = len(humans.tasks), max(map(len, humans.support))
    return np.bincount(humans.task * k + humans.cell, weight, t * k).reshape(t, k)


def _means(humans: Humans, weight: np.ndarray) -> np.ndarray:
    """(T,) weighted mean human answer; 0 without any."""
    t = len(humans.tasks)
    total = np.bincount(humans.task, weight, t)
    return np.bincount(humans.task, weight * humans.value, t) / np.where(total > 0, total, 1.0)


def _compare(
    humans: Humans, crowd: np.ndarray, crowd_mean: np.ndarray, weight: np.ndarray
) -> Measures:
    """Task and pooled measures of crowd counts (T, K) and means (T,) against weighted responses.

    A task that the bootstrap drew twice has counts twice as large; each task's average weighs by
    how often it was drawn: its number of answers, survey weights aside, over what it was.
    """
    people = _counts(humans, weight)
    size = people.sum(1)
    asked = size > 0
    times_asked = np.bincount(humans.task, weight / humans.answer_weight, len(humans.tasks))
    drawn = np.where(asked, times_asked / np.maximum(_plain_size(humans), 1), 0.0)
    if humans.by == "people":
        drawn = asked.astype(float)
    p = crowd / crowd.sum(1, keepdims=True).clip(1e-300)
    h = people / size[:, None].clip(1e-300)
    gap = np.where(asked, crowd_mean - _means(humans, weight), 0.0) / humans.unit[humans.scale]
    by_task = {name: np.zeros(len(p)) for name in DISTANCES}
    pooled_wd, ratio = [], []
    hits = answers = 0.0
    forecast, rate, times = [np.zeros(0)], [np.zeros(0)], [np.zeros(0)]
    for index, support in enumerate(humans.support):
        on_scale = humans.scale == index
        if not (on_scale & asked).any():
            continue
        crowd_share, human_share = p[on_scale][:, : len(support)], h[on_scale][:, : len(support)]
        low, high = humans.edges[index]
        step, width = _step(humans, index), (high - low) / humans.unit[index]
        for name, distance in distances(crowd_share, human_share, step, width).items():
            by_task[name][on_scale] = distance
        forecast.append(coarse(crowd_share).ravel())
        rate.append(coarse(human_share).ravel())
        times.append(np.repeat(size[on_scale], coarse(crowd_share).shape[1]))
        if len(support) != BINS:
            favourite = crowd_share.argmax(1)
            hits += people[on_scale][np.arange(len(favourite)), favourite].sum()
            answers += size[on_scale].sum()
        task_share = size[on_scale] / size[on_scale].sum()
        pooled = task_share @ crowd_share, task_share @ human_share
        crowd_pooled, human_pooled = (one[None] for one in pooled)
        pooled_wd += distances(crowd_pooled, human_pooled, step, width)["avg_wd"].tolist()
        if np.count_nonzero(human_pooled) > 1:
            crowd_varies, people_vary = (_variance(humans, index, one) for one in pooled)
            ratio.append(crowd_varies / people_vary)
    with_mean = drawn * humans.ordered
    return {
        "mae": _average(np.abs(gap), with_mean),
        "rmse": float(np.sqrt(_average(gap**2, with_mean))),
        # As every measure of a task; rps, averaged over answers, follows.
        **{name: float(np.average(by_task[name], weights=drawn)) for name in DISTANCES},
        "accuracy": float(hits / answers) if answers else float("nan"),
        "ece": calibration_error(*map(np.concatenate, (forecast, rate, times))),
        "rps": float(np.average(by_task["rps"], weights=size)),
        "pooled_wd": float(np.mean(pooled_wd)),
        "variance_ratio": float(np.mean(ratio)) if ratio else float("nan"),
    }


def _plain_size(humans: Humans) -> np.ndarray:
    return np.bincount(humans.task, minlength=len(humans.tasks))


def _average(value: np.ndarray, weight: np.ndarray) -> float:
    """NaN of nothing."""
    return float(np.average(value, weights=weight)) if weight.any() else float("nan")


def _step(humans: Humans, index: int) -> np.ndarray | None:
    """(K - 1,) between neighbouring values of a scale; None without an order."""
    if humans.nominal[index]:
        return None
    return np.asarray(np.diff(humans.support[index]) / humans.unit[index])


def _variance(humans: Humans, index: int, share: np.ndarray) -> float:
    """Of answers on a scale, in shares (K,); without an order, the chance that two differ."""
    if humans.nominal[index]:
        return float(1 - (share**2).sum())
    support = humans.support[index]
    return float(share @ (support - share @ support) ** 2)


def _gini(humans: Humans, weight: np.ndarray) -> float:
    """Half the mean absolute difference of two different answers to one task, over answers.

    The expected rps of the truth is E|X - X'| / 2; pairs of different raters estimate it without
    bias. Each task's estimate weighs by its answers, as in rps.
    """
    people = _counts(humans, weight)
    size = people.sum(1)
    # A person drawn twice makes no pair with themselves: their own weight squared is left out.
    pairs = size**2 - np.bincount(humans.task, humans.with_itself(weight), len(size))
    half = np.zeros(len(size))
    for index, support in enumerate(humans.support):
        on_scale = humans.scale == index
        gave, step = people[on_scale][:, : len(support)], _step(humans, index)
        if step is None:
            difference = (gave * (size[on_scale][:, None] - gave)).sum(1) / 2
        else:
            below = gave.cumsum(1)[:, :-1]
            difference = (below * (size[on_scale][:, None] - below)) @ step
        half[on_scale] = difference / np.where(pairs[on_scale] > 0, pairs[on_scale], 1.0)
    weights = size * (pairs > 0)
    return float(half @ weights / weights.sum()) if weights.any() else float("nan")
