"""How close a crowd comes to the people it was not shown.

Everything is computed from histograms: of each task over the values of its scale (a continuous
scale is cut into 200 bins), in the scale's own units. Task measures, averaged over tasks:

- mae, rmse: crowd mean against human mean.
- cs: cosine similarity of the histograms (a continuous scale: of 10 bins).
- avg_wd: Wasserstein-1 distance of the distributions.
- rps: ranked probability score of each human answer under the crowd's distribution (Epstein 1969;
  on a continuous scale the CRPS), averaged over answers. A proper score: it is lowest in
  expectation for the true distribution, and needs no split of the humans.

Pooled over tasks (averaged over scales): pooled_wd, and variance_ratio (crowd's over humans').
Per person: personal_sd, the standard deviation of personal means; personal_wd, the Wasserstein
distance between people's and agents' personal means; icc, the one-way intra-class correlation
ICC(1) of answers within a person (Shrout & Fleiss 1979). Agents answer the very tasks that people
answered, so that both sides have the same design. In a study of several scales these measures use
answers mapped to [0, 1].
"""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np
from scipy.stats import wasserstein_distance

from crowdllm_jax import scales
from crowdllm_jax.scales import Continuous, Scale
from crowdllm_jax.split import Split
from crowdllm_jax.study import Study

BINS = 200
BOOTSTRAP = 1000

TASK_METRICS = ("mae", "rmse", "cs", "avg_wd", "rps")
POOLED_METRICS = ("pooled_wd", "variance_ratio")
PERSON_METRICS = ("personal_sd", "personal_wd", "icc")
METRICS = TASK_METRICS + POOLED_METRICS + PERSON_METRICS


class Score(msgspec.Struct, frozen=True):
    """One measure of one crowd: its value and a 95% bootstrap interval.

    Attributes:
      model: whose crowd. split: what was held out, "tasks" or "people".
    """

    model: str
    split: str
    seed: int
    metric: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Humans:
    """The held-out responses, ready to be compared with.

    Attributes:
      by: "tasks" or "people".
      tasks: (T,) the tasks they answer, as indices into the study.
      person, task: (R,) index among the held-out people, and among `tasks`.
      value: (R,) answers in the scales' units. cell: (R,) their bin.
      scale: (T,) index of each task's scale. support: per scale, the values of its bins.
    """

    by: str
    tasks: np.ndarray
    person: np.ndarray
    task: np.ndarray
    value: np.ndarray
    cell: np.ndarray
    scale: np.ndarray
    support: tuple[np.ndarray, ...]
    edges: tuple[tuple[float, float], ...]

    @property
    def people(self) -> int:
        return int(self.person.max()) + 1


def held_out(study: Study, split: Split) -> Humans:
    """Take the test responses out of a study."""
    part = split.test
    tasks, task = np.unique(study.task[part], return_inverse=True)
    _, person = np.unique(study.person[part], return_inverse=True)
    value = study.value[part]
    support, edges = [], []
    for scale in study.scales.values():
        levels = scales.values(scale)
        edges.append((float(levels[0]), float(levels[-1])))
        support.append(bins(scale))
    scale_of = study.tasks.scale[tasks]
    cell = np.empty(len(value), np.int64)
    for index, levels in enumerate(support):
        here = scale_of[task] == index
        cell[here] = _bin(value[here], levels)
    return Humans(
        split.by, tasks, person, task, value, cell, scale_of, tuple(support), tuple(edges)
    )


def bins(scale: Scale) -> np.ndarray:
    """(K,) the value of each bin: of a level, or the middle of each of BINS stretches."""
    if not isinstance(scale, Continuous):
        return scales.values(scale)
    width = (scale.high - scale.low) / BINS
    return scale.low + width * (np.arange(BINS) + 0.5)


def _bin(value: np.ndarray, support: np.ndarray) -> np.ndarray:
    """The bin of each value: the one whose own value lies nearest."""
    return np.searchsorted((support[1:] + support[:-1]) / 2, value, side="right")


def measure_crowd(humans: Humans, values: np.ndarray) -> dict[str, float]:
    """All measures of one crowd by name, without intervals: what `score_crowd` gives as values.

    Args:
      values: (N, T) the agents' answers to `humans.tasks`, in the scales' units.
    """
    every = np.ones(len(humans.task))
    crowd, mean = _crowd_counts(humans, values), values.mean(0, dtype=np.float64)
    own = [_personal(humans, round_) for round_ in _agents_in_peoples_places(humans, values)]
    people = _personal(humans, (humans.person, humans.task, humans.value))
    rows = np.arange(humans.people)
    person = _compare_people(people, own, rows) if humans.people > 1 else {}
    return _compare(humans, crowd, mean, every) | person


def _crowd_counts(humans: Humans, values: np.ndarray) -> np.ndarray:
    """(T, K) number of agents whose answer lies in each bin."""
    k = max(map(len, humans.support))
    # Task by task: the bins of all answers at once would take more memory than the answers.
    return np.stack(
        [
            np.bincount(_bin(values[:, task], humans.support[scale]), minlength=k)
            for task, scale in enumerate(humans.scale)
        ]
    )


def score_crowd(humans: Humans, values: np.ndarray, model: str, seed: int) -> list[Score]:
    """All measures of one crowd.

    Args:
      values: (N, T) the agents' answers to `humans.tasks`, in the scales' units.
      seed: of the split, noted in the scores; the bootstrap uses a seed of its own.
    """
    crowd, mean = _crowd_counts(humans, values), values.mean(0, dtype=np.float64)

    def measure(weight: np.ndarray) -> dict[str, float]:
        return _compare(humans, crowd, mean, weight)

    point, low, high = _bootstrap(humans, measure)
    own = [_personal(humans, round_) for round_ in _agents_in_peoples_places(humans, values)]
    person = _person_scores(humans, own)
    return _records(model, humans, seed, point | person[0], low | person[1], high | person[2])


def score_humans(humans: Humans, seed: int) -> list[Score]:
    """The noise ceiling: what a crowd drawn from the people's own distributions would score.

    The raters of each task are cut in two halves at random and one half is scored against the
    other, 20 times. Their difference has twice the standard deviation of that between all raters
    and the truth, so mae, rmse, avg_wd and pooled_wd are halved and 1 - cs is quartered. The
    ceiling of rps needs no halves: half the mean absolute difference of two raters.
    """
    t, k = len(humans.tasks), max(map(len, humans.support))
    random = np.random.default_rng(seed)
    halves = []
    for _ in range(20):
        shuffled = random.permutation(len(humans.task))
        order = shuffled[np.argsort(humans.task[shuffled], kind="stable")]
        first = np.zeros(len(order), bool)
        start = np.searchsorted(humans.task[order], np.arange(t))
        first[order] = (np.arange(len(order)) - start[humans.task[order]]) % 2 == 0
        halves.append(first)

    def by_split(weight: np.ndarray) -> list[dict[str, float]]:
        """The ceiling as each of the random cuts shows it."""
        every: list[dict[str, float]] = []
        for first in halves:
            one = weight * first
            have = np.bincount(humans.task, one, t) > 0
            other = weight * ~first * have[humans.task]
            if other.any():
                found = _compare(humans, _counts(humans, one), _means(humans, one), other)
                ceiling = {name: found[name] / 2 for name in ("mae", "rmse", "avg_wd", "pooled_wd")}
                every.append(ceiling | {"cs": 1 - (1 - found["cs"]) / 4})
        return every

    def measure(weight: np.ndarray) -> dict[str, float]:
        every = by_split(weight)
        found = {name: float(np.mean([e[name] for e in every])) for name in (every or [{}])[0]}
        return found | {"rps": _gini(humans, weight, t, k), "variance_ratio": 1.0}

    point, low, high = _bootstrap(humans, measure, times=100)
    # A person who is drawn twice lands in both halves' distributions and drives them apart, and so
    # does a task for pooled answers: there the interval is over the random cuts instead.
    cuts = by_split(np.ones(len(humans.task)))
    for name in cuts[0] if cuts else ():
        if humans.by == "people" or name == "pooled_wd":
            low[name], high[name] = np.quantile([cut[name] for cut in cuts], [0.025, 0.975])
    own = [_personal(humans, (humans.person, humans.task, humans.value))]
    person = _person_scores(humans, own)
    if humans.people > 1:
        # Two halves of the people, as far apart as chance puts them, halved like the others.
        apart = []
        for _ in range(20):
            one, two = np.array_split(random.permutation(own[0][2]), 2)
            apart.append(wasserstein_distance(one, two) / 2)
        person[0]["personal_wd"] = float(np.mean(apart))
        person[1]["personal_wd"], person[2]["personal_wd"] = np.quantile(apart, [0.025, 0.975])
    return _records("humans", humans, seed, point | person[0], low | person[1], high | person[2])


def _records(
    model: str,
    humans: Humans,
    seed: int,
    point: dict[str, float],
    low: dict[str, float],
    high: dict[str, float],
) -> list[Score]:
    # What cannot be measured (the spread of one person, two halves of one answer) is left out.
    return [
        Score(model, humans.by, seed, name, float(point[name]), float(low[name]), float(high[name]))
        for name in METRICS
        if name in point and np.isfinite([point[name], low[name], high[name]]).all()
    ]


def _counts(humans: Humans, weight: np.ndarray) -> np.ndarray:
    """(T, K) weighted number of human answers in each bin; weight (R,)."""
    t, k = len(humans.tasks), max(map(len, humans.support))
    return np.bincount(humans.task * k + humans.cell, weight, t * k).reshape(t, k)


def _bootstrap(
    humans: Humans, measure: Callable[[np.ndarray], dict[str, float]], times: int = BOOTSTRAP
) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """A measure of weighted responses, with a percentile interval over what was held out.

    Tasks (or people) are drawn with replacement: a response counts as often as its task (person).
    """
    units = humans.task if humans.by == "tasks" else humans.person
    n = int(units.max()) + 1
    point = measure(np.ones(len(units)))
    random = np.random.default_rng(0)
    # One response set of a million answers costs as much as a thousand of a thousand.
    times = int(np.clip(2e8 / max(len(units), 1), 100, times))
    draws = [
        measure(random.multinomial(n, np.full(n, 1 / n)).astype(float)[units]) for _ in range(times)
    ]
    low, high = {}, {}
    for name in point:
        low[name], high[name] = _interval([draw.get(name, float("nan")) for draw in draws])
    return point, low, high


def _interval(draws: list[float]) -> tuple[float, float]:
    """95% percentile interval over the draws in which there is something to measure."""
    known = np.array(draws)[np.isfinite(draws)]
    low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (np.nan, np.nan)
    return float(low), float(high)


def _means(humans: Humans, weight: np.ndarray) -> np.ndarray:
    """(T,) weighted mean human answer; 0 without any."""
    t = len(humans.tasks)
    total = np.bincount(humans.task, weight, t)
    return np.bincount(humans.task, weight * humans.value, t) / np.where(total > 0, total, 1.0)


def _compare(
    humans: Humans, crowd: np.ndarray, crowd_mean: np.ndarray, weight: np.ndarray
) -> dict[str, float]:
    """Task and pooled measures of crowd counts (T, K) and means (T,) against weighted responses.

    A task that the bootstrap drew twice has counts twice as large; each task's average weighs by
    how often it was drawn, relative to its own number of answers.
    """
    people = _counts(humans, weight)
    size = people.sum(1)
    asked = size > 0
    drawn = np.where(asked, size / np.maximum(_plain_size(humans), 1), 0.0)
    if humans.by == "people":
        drawn = asked.astype(float)
    p = crowd / crowd.sum(1, keepdims=True).clip(1e-300)
    h = people / size[:, None].clip(1e-300)
    gap = np.where(asked, crowd_mean - _means(humans, weight), 0.0)
    wd, cs, rps = (np.zeros(len(p)) for _ in range(3))
    pooled_wd, ratio, weights = [], [], []
    for index, support in enumerate(humans.support):
        here = humans.scale == index
        if not (here & asked).any():
            continue
        own, real = p[here][:, : len(support)], h[here][:, : len(support)]
        step = np.diff(support)
        below, real_below = own.cumsum(1)[:, :-1], real.cumsum(1)[:, :-1]
        wd[here] = np.abs(below - real_below) @ step
        # Mean over answers y of (F(v) - [y <= v])^2, given that a share G(v) has y <= v.
        rps[here] = (below**2 - 2 * below * real_below + real_below) @ step
        coarse, real_coarse = _coarse(own), _coarse(real)
        norm = np.linalg.norm(coarse, axis=1) * np.linalg.norm(real_coarse, axis=1)
        cs[here] = (coarse * real_coarse).sum(1) / norm.clip(1e-300)
        share = size[here] / size[here].sum()
        mine, theirs = share @ own, share @ real
        pooled_wd.append(np.abs(np.cumsum(mine - theirs)[:-1]) @ step)
        ratio.append(_variance(mine, support) / max(_variance(theirs, support), 1e-300))
        weights.append(size[here].sum())
    return {
        "mae": float(np.average(np.abs(gap), weights=drawn)),
        "rmse": float(np.sqrt(np.average(gap**2, weights=drawn))),
        "cs": float(np.average(cs, weights=drawn)),
        "avg_wd": float(np.average(wd, weights=drawn)),
        "rps": float(np.average(rps, weights=size)),
        "pooled_wd": float(np.mean(pooled_wd)),
        "variance_ratio": float(np.mean(ratio)),
    }


def _plain_size(humans: Humans) -> np.ndarray:
    return np.bincount(humans.task, minlength=len(humans.tasks))


def _coarse(histogram: np.ndarray) -> np.ndarray:
    """Ten bins for a scale that was cut into BINS; the levels themselves otherwise."""
    if histogram.shape[1] != BINS:
        return histogram
    return histogram.reshape(len(histogram), 10, -1).sum(2)


def _variance(share: np.ndarray, support: np.ndarray) -> float:
    mean = share @ support
    return float(share @ (support - mean) ** 2)


def _gini(humans: Humans, weight: np.ndarray, t: int, k: int) -> float:
    """Half the mean absolute difference of two different answers to one task, over answers.

    The expected rps of the truth is E|X - X'| / 2; pairs of different raters estimate it without
    bias. Each task's estimate weighs by its answers, as in rps.
    """
    people = _counts(humans, weight)
    size = people.sum(1)
    # A person drawn twice makes no pair with themselves: their own weight squared is left out.
    pairs = size**2 - np.bincount(humans.task, weight**2, t)
    half = np.zeros(t)
    for index, support in enumerate(humans.support):
        here = humans.scale == index
        own = people[here][:, : len(support)].cumsum(1)[:, :-1]
        apart = (own * (size[here][:, None] - own)) @ np.diff(support)
        half[here] = apart / np.where(pairs[here] > 0, pairs[here], 1.0)
    weights = size * (pairs > 0)
    return float(half @ weights / weights.sum()) if weights.any() else float("nan")


Answers = tuple[np.ndarray, np.ndarray, np.ndarray]


def _agents_in_peoples_places(humans: Humans, values: np.ndarray) -> list[Answers]:
    """Let agents answer the tasks that people answered: agent j in the place of person j mod H.

    Returns:
      one (person, task, value) triple of (R,) arrays per round of agents, up to 20 rounds.
    """
    rounds = max(1, min(20, len(values) // humans.people))
    return [
        (
            humans.person,
            humans.task,
            values[(r * humans.people + humans.person) % len(values), humans.task].astype(float),
        )
        for r in range(rounds)
    ]


def _personal(humans: Humans, answers: Answers) -> Answers:
    """(people,) number of answers, sum of squares, and mean of each person's answers."""
    person, task, value = answers
    if len(humans.support) > 1:
        low, high = np.array(humans.edges)[humans.scale].T
        value = (value - low[task]) / (high - low)[task]
    n = np.bincount(person, minlength=humans.people)
    square = np.bincount(person, value**2, humans.people)
    return n, square, np.bincount(person, value, humans.people) / n


def _person_scores(
    humans: Humans, rounds: list[Answers]
) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """personal_sd, personal_wd and icc averaged over rounds, with an interval over people."""
    people = _personal(humans, (humans.person, humans.task, humans.value))

    n = humans.people
    if n < 2:
        nothing = dict.fromkeys(PERSON_METRICS, float("nan"))
        return nothing, nothing, nothing
    random = np.random.default_rng(1)
    point = _compare_people(people, rounds, np.arange(n))
    draws = [_compare_people(people, rounds, random.integers(0, n, n)) for _ in range(200)]
    bounds = {name: _interval([draw[name] for draw in draws]) for name in PERSON_METRICS}
    low, high = ({name: bounds[name][end] for name in PERSON_METRICS} for end in (0, 1))
    return point, low, high


def _compare_people(people: Answers, rounds: list[Answers], rows: np.ndarray) -> dict[str, float]:
    """The person measures over some people (rows of what `_personal` gives), averaged over rounds
    of agents."""
    sd = np.mean([np.std(mean[rows], ddof=1) for _, _, mean in rounds])
    icc = np.mean([_icc(n[rows], square[rows], mean[rows]) for n, square, mean in rounds])
    agents = np.concatenate([mean[rows] for _, _, mean in rounds])
    apart = wasserstein_distance(agents, people[2][rows])
    return {"personal_sd": float(sd), "personal_wd": float(apart), "icc": float(icc)}


def _icc(n: np.ndarray, square: np.ndarray, mean: np.ndarray) -> float:
    """ICC(1) of an unbalanced one-way layout from each person's n, sum of squares and mean."""
    total = n.sum()
    if total == len(n):
        return float("nan")  # One answer each says nothing of how alike a person's answers are.
    grand = (n * mean).sum() / total
    between = (n * (mean - grand) ** 2).sum() / (len(n) - 1)
    within = (square.sum() - (n * mean**2).sum()) / (total - len(n))
    size = (total - (n**2).sum() / total) / (len(n) - 1)
    spread = between + (size - 1) * within
    return float((between - within) / spread) if spread > 0 else 0.0
