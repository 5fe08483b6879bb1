"""Groups side by side, and the answers to two questions against each other.

Both are of the agents and people whom the filters keep. Like everywhere in the explorer, only
people get an interval, and fewer than `view.FEWEST` of them are not shown.
"""

from dataclasses import dataclass
from itertools import pairwise

import msgspec
import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.explore.view import (
    FEWEST,
    CrowdSummary,
    Explored,
    HeldOut,
    PeopleSummary,
    Query,
    asked_among,
    crowd_summary,
    people_of,
    people_summary,
    select,
    task_of,
)
from crowdllm_jax.report.bars import Bars, bars
from crowdllm_jax.study.records import Attribute
from crowdllm_jax.study.scales import Continuous, Scale

MOST_GROUPS = 12


class GroupView(msgspec.Struct, frozen=True):
    """One group's answers; no people where too few of them answered."""

    name: str
    agents: int
    crowd: CrowdSummary
    humans: PeopleSummary | None


class Cross(msgspec.Struct, frozen=True):
    """Answers to one question (rows) by those to another (columns).

    Attributes:
      columns: labels of the other question's answers.
      agents: how many gave both answers. people: how many people answered both questions; shares:
        of them by survey weight, who gave both answers; None where they are too few.
    """

    columns: tuple[str, ...]
    agents: list[list[int]]
    people: int
    shares: list[list[float]] | None


class Comparison(msgspec.Struct, frozen=True):
    """What is put side by side.

    Attributes:
      labels: of the question's answers. left_out: groups beyond the largest MOST_GROUPS.
    """

    task: str
    labels: tuple[str, ...]
    groups: list[GroupView]
    left_out: int
    cross: Cross | None


def compare(explored: Explored, query: Query) -> Comparison:
    """Count the groups of `query.by`, and the answers to `query.across` against those to the task.

    Raises:
      CrowdError: there is no such question, attribute or level.
    """
    task = task_of(explored, query.task)
    kept = asked_among(explored, task, select(explored.profile, explored.agents, query))
    groups, left_out = _groups(explored, query, task, kept) if query.by else ([], 0)
    cross = _cross(explored, query, task, kept) if query.across else None
    return Comparison(query.task, bars(explored.scales[task]).labels, groups, left_out, cross)


@dataclass(frozen=True)
class _Groups:
    """Groups by name, and which of them each agent (person) is in; -1: none."""

    names: list[str]
    agents: np.ndarray
    people: np.ndarray | None


def _groups(
    explored: Explored, query: Query, task: int, kept: np.ndarray
) -> tuple[list[GroupView], int]:
    agents = next((a for a in explored.profile if a.name == query.by), None)
    if agents is None:
        raise CrowdError(f"no attribute '{query.by}' to compare groups by")
    humans = people_of(explored, query)
    members = _members(agents, humans if isinstance(humans, HeldOut) else None)
    scale = explored.scales[task]
    shown, answers = bars(scale), explored.answers[task]
    sizes = np.bincount(members.agents[kept & (members.agents >= 0)], minlength=len(members.names))
    largest = np.sort(np.argsort(-sizes, kind="stable")[:MOST_GROUPS])
    groups = []
    for group in largest:
        crowd = crowd_summary(scale, shown, answers[kept & (members.agents == group)])
        people = None
        if isinstance(humans, HeldOut):
            assert members.people is not None
            summary = people_summary(humans, task, scale, query, members.people == group)
            people = None if isinstance(summary, str) else summary
        groups.append(GroupView(members.names[group], int(sizes[group]), crowd, people))
    return groups, len(members.names) - len(largest)


def _members(agents: Attribute, humans: HeldOut | None) -> _Groups:
    """The levels of an attribute; of a number, thirds of the agents."""
    people = None
    if humans is not None:
        people = next(a.cells for a in humans.profile if a.name == agents.name)
    if agents.kind != "numeric":
        return _Groups(list(agents.levels), agents.cells.astype(np.int64), people)
    known = agents.cells[~np.isnan(agents.cells)]
    if not len(known):
        return _Groups([], np.full(len(agents.cells), -1), people)
    ends = np.unique(np.quantile(known, [1 / 3, 2 / 3], method="inverted_cdf"))
    ends = ends[ends < known.max()]
    names = [f"up to {end:g}" for end in ends[:1]]
    names += [f"over {low:g}, up to {high:g}" for low, high in pairwise(ends)]
    names += [f"over {ends[-1]:g}"] if len(ends) else ["all"]

    def third(cells: np.ndarray) -> np.ndarray:
        return np.where(np.isnan(cells), -1, np.searchsorted(ends, cells, side="left"))

    return _Groups(names, third(agents.cells), None if people is None else third(people))


def _bar_of(scale: Scale, shown: Bars, answers: np.ndarray) -> np.ndarray:
    """(n,) the bar of each answer."""
    if isinstance(scale, Continuous):
        size = len(shown.labels)
        place = (answers - scale.low) * (size / (scale.high - scale.low))
        return np.clip(place, 0, size - 1).astype(np.int64)
    assert shown.of_level is not None
    return shown.of_level[answers.astype(np.int64)]


def _cross(explored: Explored, query: Query, task: int, kept: np.ndarray) -> Cross:
    both = (task, task_of(explored, query.across))
    shown = [bars(explored.scales[one]) for one in both]
    size = tuple(len(one.labels) for one in shown)

    def table(answers: list[np.ndarray], weight: np.ndarray | None = None) -> np.ndarray:
        cells = [
            _bar_of(explored.scales[one], bar, answer)
            for one, bar, answer in zip(both, shown, answers, strict=True)
        ]
        flat = np.bincount(np.ravel_multi_index(cells, size), weight, size[0] * size[1])
        return flat.reshape(size)

    kept = asked_among(explored, both[1], kept)
    agents = table([explored.answers[one][kept] for one in both])
    humans = people_of(explored, query)
    people, shares = 0, None
    if isinstance(humans, HeldOut):
        of_person = []
        for one in both:
            answer = np.full(len(humans.weight), np.nan)
            rows = humans.task == one
            answer[humans.person[rows]] = humans.answer[rows]
            of_person.append(answer)
        chosen = select(humans.profile, len(humans.weight), query)
        chosen &= ~np.isnan(of_person[0]) & ~np.isnan(of_person[1])
        people = int(chosen.sum())
        if people >= FEWEST:
            weight = humans.weight[chosen]
            shares = table([answer[chosen] for answer in of_person], weight / weight.sum())
    rounded = [[round(count) for count in row] for row in agents]
    return Cross(shown[1].labels, rounded, people, None if shares is None else shares.tolist())
