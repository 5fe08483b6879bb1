"""What those of some profile answer to a task: agents counted, held-out people beside them.

Agents are columns, one small array per task and per attribute, so that a filter is one pass over a
few bytes per agent and a picture one more. People are filtered by the same conditions. Only people
get an interval: more agents do not make anything about people better known.
"""

from dataclasses import dataclass
from itertools import pairwise

import msgspec
import numpy as np
from scipy.special import stdtrit

from crowdllm_jax.aggregate.summary import interval
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.profiles.raking import kish
from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Attribute
from crowdllm_jax.study.scales import (
    Approval,
    Binary,
    Continuous,
    KApproval,
    Nominal,
    Points,
    Ranking,
    Scale,
)

FEWEST = 5
"""Held-out people below whom nothing of them is shown: a share of three people says nothing, and
says much about these three."""

BARS = 30
"""Levels of an ordered scale that get a bar each; of more, about STRETCHES stretches of levels."""

STRETCHES = 20


class Query(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is looked at.

    Attributes:
      levels: {attribute: levels that are kept}; an attribute that is not named keeps all.
      ranges: {numeric attribute: (lowest, highest) that are kept}; who lacks the number is not.
    """

    task: str
    levels: dict[str, tuple[str, ...]] = {}
    ranges: dict[str, tuple[float | None, float | None]] = {}


@dataclass(frozen=True)
class HeldOut:
    """Answers of real people that the crowd was not fitted on, unless they are called otherwise.

    Attributes:
      profile: of P people, in the crowd's attributes and levels. weight: (P,) survey weights.
      person, task, answer: (R,) whose answer it is, to which of the crowd's tasks, its level (or
        value).
      called: held-out, or surveyed where the crowd was fitted to all people.
    """

    profile: tuple[Attribute, ...]
    weight: np.ndarray
    person: np.ndarray
    task: np.ndarray
    answer: np.ndarray
    called: str = "held-out"


@dataclass(frozen=True)
class Explored:
    """A population in columns, and people beside it.

    Attributes:
      texts: what the tasks ask; their ids where that is not known.
      scales: the scale of each of T tasks.
      profile: attributes of N cells. answers: for each task (N,) levels (or values).
      humans: the held-out people, or why there are none.
    """

    name: str
    task_ids: tuple[str, ...]
    texts: tuple[str, ...]
    scales: tuple[Scale, ...]
    agents: int
    profile: tuple[Attribute, ...]
    answers: tuple[np.ndarray, ...]
    humans: HeldOut | str

    @property
    def bytes(self) -> int:
        """Memory that the columns take."""
        return sum(a.cells.nbytes for a in self.profile) + sum(a.nbytes for a in self.answers)


def select(profile: tuple[Attribute, ...], n: int, query: Query) -> np.ndarray:
    """(n,) bool: who is kept.

    Raises:
      CrowdError: there is no such attribute or level, or a range holds nothing.
    """
    by_name = {attribute.name: attribute for attribute in profile}
    kept = np.ones(n, bool)

    def named(name: str, *, numeric: bool) -> Attribute:
        attribute = by_name.get(name)
        if attribute is None:
            raise CrowdError(f"no attribute '{name}'; there are: {', '.join(by_name) or 'none'}")
        if (attribute.kind == "numeric") != numeric:
            needs = "takes a range, not levels" if not numeric else "takes levels, not a range"
            raise CrowdError(f"attribute '{name}' is {attribute.kind}: it {needs}")
        return attribute

    for name, levels in query.levels.items():
        attribute = named(name, numeric=False)
        for level in levels:
            if level not in attribute.levels:
                raise CrowdError(
                    f"attribute '{name}' has no level '{level}'; it has: "
                    f"{', '.join(attribute.levels)}"
                )
        wanted = np.isin(np.array(attribute.levels, object), np.array(levels, object))
        kept &= wanted[attribute.cells]
    for name, (low, high) in query.ranges.items():
        cells = named(name, numeric=True).cells
        if low is not None and high is not None and low > high:
            raise CrowdError(f"attribute '{name}': from {low:g} is above to {high:g}")
        # A comparison with NaN, a missing number, is false.
        if low is not None:
            kept &= cells >= low
        if high is not None:
            kept &= cells <= high
    return kept


@dataclass(frozen=True)
class Bars:
    """The bars of a scale's picture.

    Attributes:
      of_level: (K,) which bar a level is in; None where the scale is continuous and the bars are
        stretches of equal width.
    """

    labels: tuple[str, ...]
    of_level: np.ndarray | None


def bars(scale: Scale) -> Bars:
    """What bars a scale's answers are shown in, and what stands beside each."""
    if isinstance(scale, Continuous):
        edges = np.linspace(scale.low, scale.high, STRETCHES + 1)
        pairs = pairwise(edges)
        return Bars(tuple(f"{low:g} to {high:g}" for low, high in pairs), None)
    k = scales.size(scale)
    levels = np.arange(k)
    width = 1 if k <= BARS or not scales.is_ordered(scale) else -(-k // STRETCHES)
    # Nobody's points are a stretch of their own.
    of_level = (levels + (width - 1 if isinstance(scale, Points) else 0)) // width
    named = [_label(scale, level) for level in range(k)]
    labels = []
    for bar in range(of_level[-1] + 1):
        inside = np.flatnonzero(of_level == bar)
        first, last = named[inside[0]], named[inside[-1]]
        labels.append(first if len(inside) == 1 else f"{first} to {last}")
    return Bars(tuple(labels), of_level)


def _label(scale: Scale, level: int) -> str:
    match scale:
        case Approval() | KApproval():
            return ("not approved", "approved")[level]
        case Ranking():
            return f"ranked {scales.written(scale)[level]}" if level else "not ranked"
        case Points():
            return f"{level}"
        case Nominal() | Binary():
            return scales.labels(scale)[level]
        case _:
            # A mean can only be read where the numbers it is made of are shown.
            label, value = scales.labels(scale)[level], f"{scales.values(scale)[level]:g}"
            return label if label == value else f"{label} ({value})"


def meaning_of_mean(scale: Scale) -> str:
    """What the mean of a scale's answers is; empty where it has none."""
    match scale:
        case Nominal():
            return ""
        case Binary():
            return f"share who answer “{scales.labels(scale)[1]}”"
        case Approval() | KApproval():
            return "share who approve"
        case Ranking(k=k):
            return f"mean Borda points ({k} for the best, 0 if not ranked)"
        case Points(budget=budget):
            return f"mean points of {budget}"
        case _:
            return "mean answer"


class CrowdSummary(msgspec.Struct, frozen=True):
    """The selected agents' answers: how many in each bar, and their mean."""

    counts: list[int]
    mean: float | None


class PeopleSummary(msgspec.Struct, frozen=True):
    """The selected people's answers.

    Attributes:
      counts: people in each bar. shares: by survey weight. low, high: 95% interval of the mean;
        None where these people do not say how sure to be.
    """

    people: int
    counts: list[int]
    shares: list[float]
    mean: float | None
    low: float | None
    high: float | None


class View(msgspec.Struct, frozen=True):
    """A picture's numbers. no_humans: why there are none beside the crowd, else empty."""

    task: str
    agents: int
    labels: tuple[str, ...]
    crowd: CrowdSummary
    humans: PeopleSummary | None
    no_humans: str


def view(explored: Explored, query: Query) -> View:
    """Count what is asked for.

    Raises:
      CrowdError: there is no such task, attribute or level.
    """
    if query.task not in explored.task_ids:
        raise CrowdError(f"no task '{query.task}' in this population")
    task = explored.task_ids.index(query.task)
    scale = explored.scales[task]
    kept = select(explored.profile, explored.agents, query)
    # Where all are kept, nothing needs to be copied.
    answers = explored.answers[task] if kept.all() else explored.answers[task][kept]
    shown = bars(scale)
    counts, mean = tally(scale, shown, answers)
    humans = _humans(explored.humans, task, scale, shown, query)
    return View(
        query.task,
        len(answers),
        shown.labels,
        CrowdSummary([round(c) for c in counts], mean),
        None if isinstance(humans, str) else humans,
        humans if isinstance(humans, str) else "",
    )


def tally(
    scale: Scale, shown: Bars, answers: np.ndarray, weight: np.ndarray | None = None
) -> tuple[np.ndarray, float | None]:
    """Answers (n,) in each bar, weighted, and their mean in the scale's numbers."""
    size = len(shown.labels)
    if isinstance(scale, Continuous):
        position = (answers - scale.low) * (size / (scale.high - scale.low))
        cell = np.clip(position, 0, size - 1).astype(np.uint8)
        counts = np.bincount(cell, weight, size)
        mean = np.average(answers.astype(np.float64), weights=weight) if len(answers) else None
        return counts, None if mean is None else float(mean)
    assert shown.of_level is not None
    levels = np.bincount(answers, weight, scales.size(scale))
    total = levels.sum()
    mean = levels @ scales.values(scale) / total if total and meaning_of_mean(scale) else None
    return np.bincount(shown.of_level, levels, size), None if mean is None else float(mean)


def _humans(
    humans: HeldOut | str, task: int, scale: Scale, shown: Bars, query: Query
) -> PeopleSummary | str:
    if isinstance(humans, str):
        return humans
    rows = np.flatnonzero(humans.task == task)
    if not len(rows):
        return "no answers to this task are held out: the crowd was fitted on those there are"
    kept = select(humans.profile, len(humans.weight), query)
    rows = rows[kept[humans.person[rows]]]
    if len(rows) < FEWEST:
        people = f"{len(rows)} {humans.called} {'person' if len(rows) == 1 else 'people'}"
        return f"{people} of this profile answered; fewer than {FEWEST} are not shown"
    weight = humans.weight[humans.person[rows]]
    answers = humans.answer[rows]
    if not scales.is_continuous(scale):
        answers = answers.astype(np.int64)
    counts, _ = tally(scale, shown, answers)
    weighted, mean = tally(scale, shown, answers, weight)
    low, high = (None, None) if mean is None else _interval(scale, answers, weight, mean)
    shares = weighted / weight.sum()
    return PeopleSummary(len(rows), [round(c) for c in counts], shares.tolist(), mean, low, high)


def _interval(
    scale: Scale, answers: np.ndarray, weight: np.ndarray, mean: float
) -> tuple[float, float] | tuple[None, None]:
    """95% interval of people's mean: Wilson's of a share, else Student's within the scale.

    Survey weights count as Kish's effective number of people.
    """
    n, ends = kish(weight), scales.values(scale)
    if scales.size(scale) == 2:
        return interval(scale, mean, 0.0, n)
    value = scales.numbers(scale, answers)
    if np.ptp(value) == 0 or n < 2:
        return None, None
    variance = np.average((value - mean) ** 2, weights=weight) * n / (n - 1)
    half = float(stdtrit(n - 1, 0.975) * np.sqrt(variance / n))
    return max(float(ends[0]), mean - half), min(float(ends[-1]), mean + half)
