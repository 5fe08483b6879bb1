"""What the page's own charts show; `charts.html` draws them.

They are drawn in percent of their width, so that they are as sharp and their texts as large on a
phone as on a screen. All charts of shares have one axis.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crowdllm_jax.report.shares import Question
from crowdllm_jax.score.groups import Group
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.scales import Approval, KApproval

PROJECTS = 8
"""Projects of a ballot that the leading chart shows."""

MOST_GROUPS = 30

LABEL, GROUP_LABEL = 20, 25
"""Characters of a label that fit beside the bars, and beside the groups, on a phone."""


@dataclass(frozen=True)
class Row:
    """One answer: its label, the people's share with its interval, and the crowd's."""

    label: str
    human: float
    low: float
    high: float
    crowd: float

    @property
    def lines(self) -> list[str]:
        """The label, in at most two lines."""
        return two_lines(self.label, LABEL)


@dataclass(frozen=True)
class Chart:
    """Shares of answers, people's beside the crowd's.

    Attributes:
      title: of the question. rows: one for each answer. people: how many answered, in words.
    """

    title: str
    rows: list[Row]
    people: str

    @property
    def left(self) -> int:
        """Where the bars begin, in percent of the width: beside the longest label."""
        longest = max(len(line) for row in self.rows for line in row.lines)
        return 10 if longest <= 4 else 24 if longest <= 12 else 38

    @property
    def spoken(self) -> str:
        """The chart in words, for who does not see it."""
        told = "; ".join(
            f"{row.label}: people {said(row.human)} ({said(row.low)} to {said(row.high)}), "
            f"crowd {said(row.crowd)}"
            for row in self.rows
        )
        return f"{self.title}. {told}."

    @property
    def cells(self) -> list[list[str | float]]:
        """The chart as a table: label, people's share, ends of its interval, crowd's share."""
        return [
            [row.label, *(round(x, 4) for x in (row.human, row.low, row.high, row.crowd))]
            for row in self.rows
        ]


def chart_of(question: Question) -> Chart:
    """The shares of a question's answers."""
    columns = (question.human, question.low, question.high, question.crowd)
    cells = zip(question.labels, *(column.tolist() for column in columns), strict=True)
    return Chart(question.text, [Row(*row) for row in cells], f"{question.people:,} people")


def leading(study: Study, questions: Sequence[Question], question: Question) -> Chart:
    """The chart of one question; on a ballot that projects are approved on, several of these
    beside each other, from the most to the least approved."""
    if not isinstance(list(study.scales.values())[question.scale], Approval | KApproval):
        return chart_of(question)
    ballot = [one for one in questions if one.scale == question.scale]
    ballot.sort(key=lambda one: -one.human[1])
    shown = np.linspace(0, len(ballot) - 1, min(PROJECTS, len(ballot))).round().astype(int)
    rows = [
        Row(one.text, *(float(c[1]) for c in (one.human, one.low, one.high, one.crowd)))
        for one in (ballot[i] for i in shown)
    ]
    fewest, most = (end(one.people for one in ballot) for end in (min, max))
    people = f"{most:,} people" if fewest == most else f"{fewest:,} to {most:,} people"
    kept = f"{len(rows)} of {len(ballot)} projects" if len(rows) < len(ballot) else "each project"
    return Chart(f"Who approves? Share of approvals of {kept}", rows, people)


@dataclass(frozen=True)
class GroupRow:
    """A group's mean deviation in percent of the scale, on an axis that is symmetrical about 0."""

    label: str
    people: int
    human: float
    low: float
    high: float
    crowd: float

    @property
    def lines(self) -> list[str]:
        """The label, in at most two lines."""
        return two_lines(self.label, GROUP_LABEL)


@dataclass(frozen=True)
class GroupChart:
    """Groups of people beside the same groups of agents; the axis goes from -end to end."""

    rows: list[GroupRow]
    end: float

    @property
    def spoken(self) -> str:
        """The chart in words, for who does not see it."""
        told = "; ".join(
            f"{row.label}: people {row.human:+.1f}, crowd {row.crowd:+.1f}" for row in self.rows
        )
        return f"How far groups answer above or below others, in percent of the scale. {told}."


def groups_chart(groups: list[Group]) -> GroupChart:
    """Every group's mean deviation; the largest groups if there are many."""
    largest = sorted(groups, key=lambda group: -group.people)[:MOST_GROUPS]
    rows = [
        GroupRow(
            f"{group.attribute}: {group.level}",
            group.people,
            *(100 * value for value in (group.human, group.low, group.high, group.crowd)),
        )
        for group in groups
        if group in largest
    ]
    sizes = np.abs([[row.human, row.low, row.high, row.crowd] for row in rows])
    most = float(np.nanmax(sizes)) if np.isfinite(sizes).any() else 1.0
    ends = (1, 2, 4, 6, 10, 15, 20, 30, 50, 100)
    return GroupChart(rows, float(next(end for end in ends if most <= end or end == 100)))


@dataclass(frozen=True)
class Way:
    """Where the crowd stands between knowing nothing (0) and another sample of people (1).

    Attributes:
      low, high: ends of its interval (NaN: none). first, last: ends of the axis.
    """

    value: float
    low: float
    high: float
    first: float
    last: float

    def at(self, value: float) -> str:
        """A place on the axis, in percent of its width."""
        return percent((value - self.first) / (self.last - self.first))


def way_of(skill: tuple[float, float, float]) -> Way:
    """The way that a crowd's skill stands for."""
    reached = [end for end in skill if np.isfinite(end)]
    first, last = min(0.0, *reached), max(1.0, *reached)
    pad = 0.05 * (last - first)
    return Way(*skill, first - pad, last + pad)


def two_lines(label: str, width: int) -> list[str]:
    """A label in at most two lines of so many characters."""
    return textwrap.wrap(label, width, max_lines=2, placeholder="…") or [""]


def percent(share: float) -> str:
    """A length in a chart."""
    return f"{100 * share:.2f}".rstrip("0").rstrip(".") + "%"


def said(share: float) -> str:
    """A share in words."""
    return "<1%" if 0 < share < 0.005 else f"{share:.0%}"


def table_of(questions: list[Question]) -> dict[str, object]:
    """What the page's search and downloads need: shares in parts of 10,000, the labels of each
    scale once."""

    def parts(shares: np.ndarray) -> list[int]:
        return [int(share) for share in np.round(10_000 * shares)]

    return {
        "labels": {question.scale: question.labels for question in questions},
        "questions": [
            {
                "id": question.id,
                "text": question.text,
                "scale": question.scale,
                "people": question.people,
                "shares": [
                    parts(column)
                    for column in (question.human, question.low, question.high, question.crowd)
                ],
                "distance": round(10_000 * question.distance),
                "chance": round(10_000 * question.chance),
            }
            for question in questions
        ],
    }
