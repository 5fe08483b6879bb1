"""What those of some profile answer to a task: agents counted, held-out people beside them.

Agents are columns, one small array per task and per attribute, so that a filter is one pass over a
few bytes per agent and a picture one more. People are filtered by the same conditions. Only people
get an interval: more agents do not make anything about people better known.
"""

from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from crowdllm_jax.aggregate.summary import interval
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.report.bars import Bars, bars, tally
from crowdllm_jax.report.shares import wilson
from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Attribute
from crowdllm_jax.study.scales import Scale
from crowdllm_jax.study.statistics import kish

FEWEST = 5
"""Held-out people below whom nothing of them is shown: a share of three people says nothing, and
says much about these three."""


class Query(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is looked at.

    Attributes:
      levels: {attribute: levels that are kept}; an attribute that is not named keeps all.
      ranges: {numeric attribute: (lowest, highest) that are kept}; who lacks the number is not.
      people: who stands beside the agents, "held-out" or "all".
      by: attribute whose groups are compared. across: question that the task is crossed with.
    """

    task: str
    levels: dict[str, tuple[str, ...]] = {}
    ranges: dict[str, tuple[float | None, float | None]] = {}
    people: Literal["held-out", "all"] = "held-out"
    by: str = ""
    across: str = ""


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
      humans: the held-out people, or why there are none. everyone: all people, where there are
        others than these.
    """

    name: str
    task_ids: tuple[str, ...]
    texts: tuple[str, ...]
    scales: tuple[Scale, ...]
    agents: int
    profile: tuple[Attribute, ...]
    answers: tuple[np.ndarray, ...]
    humans: HeldOut | str
    everyone: HeldOut | None = None

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


class CrowdSummary(msgspec.Struct, frozen=True):
    """The selected agents' answers: how many in each bar, and their mean."""

    counts: list[int]
    mean: float | None


class PeopleSummary(msgspec.Struct, frozen=True):
    """The selected people's answers.

    Attributes:
      counts: people in each bar. shares: by survey weight; share_low, share_high: ends of their
        95% intervals (Wilson's). low, high: 95% interval of the mean; None where these people do
        not say how sure to be.
    """

    people: int
    counts: list[int]
    shares: list[float]
    share_low: list[float]
    share_high: list[float]
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
    task = task_of(explored, query.task)
    scale = explored.scales[task]
    kept = asked_among(explored, task, select(explored.profile, explored.agents, query))
    # Where all are kept, nothing needs to be copied.
    answers = explored.answers[task] if kept.all() else explored.answers[task][kept]
    shown = bars(scale)
    beside = people_of(explored, query)
    humans = beside if isinstance(beside, str) else people_summary(beside, task, scale, query)
    return View(
        query.task,
        len(answers),
        shown.labels,
        crowd_summary(scale, shown, answers),
        None if isinstance(humans, str) else humans,
        humans if isinstance(humans, str) else "",
    )


def asked_among(explored: Explored, task: int, kept: np.ndarray) -> np.ndarray:
    """(N,) bool: those agents among some who were asked a question."""
    answers = explored.answers[task]
    there = ~np.isnan(answers) if scales.is_continuous(explored.scales[task]) else answers >= 0
    return kept if there.all() else kept & there


def task_of(explored: Explored, task: str) -> int:
    """The index of a question.

    Raises:
      CrowdError: there is no such question.
    """
    if task not in explored.task_ids:
        raise CrowdError(f"no question '{task}' in this population")
    return explored.task_ids.index(task)


def people_of(explored: Explored, query: Query) -> HeldOut | str:
    """The people whom a query is about, or why there are none."""
    if query.people == "all" and explored.everyone is not None:
        return explored.everyone
    return explored.humans


def crowd_summary(scale: Scale, shown: Bars, answers: np.ndarray) -> CrowdSummary:
    """Agents' answers (n,) to a question."""
    counts, mean = tally(scale, shown, answers)
    return CrowdSummary([round(c) for c in counts], mean)


def people_summary(
    humans: HeldOut, task: int, scale: Scale, query: Query, group: np.ndarray | None = None
) -> PeopleSummary | str:
    """People's answers to a question, or why they are not shown.

    Args:
      group: (P,) whom of them it is about; None: all whom the query keeps.
    """
    rows, shown = np.flatnonzero(humans.task == task), bars(scale)
    if not len(rows):
        return "no answers to this question are held out: the crowd was fitted on those there are"
    kept = select(humans.profile, len(humans.weight), query)
    if group is not None:
        kept &= group
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
    n, low, high = kish(weight), None, None
    if mean is not None:
        variance = np.average((scales.numbers(scale, answers) - mean) ** 2, weights=weight)
        low, high = interval(scale, mean, float(variance), n)
    shares = weighted / weight.sum()
    share_low, share_high = wilson(shares, n)
    return PeopleSummary(
        len(rows),
        [round(c) for c in counts],
        shares.tolist(),
        share_low.tolist(),
        share_high.tolist(),
        mean,
        low,
        high,
    )
