"""A question that nobody has answered yet, as the page puts it, and what it is told."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import pyarrow as pa

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study import scales
from crowdllm_jax.study.ids import MISSING
from crowdllm_jax.study.scales import Scale

MOST_OPTIONS = 50
"""Answers that a question on the page may have: each takes the agents time."""


class NewQuestion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked, and of whom.

    Attributes:
      scale: the name of one of the run's scales; or options: the answers that may be given.
      unordered: whether the options have no order.
      shares: known shares of the answers, lowest first; people: how many people's they are.
      levels, ranges: which agents are asked, as in `view.Query`. by: an attribute whose values are
        told apart.
    """

    question: str
    scale: str = ""
    options: tuple[str, ...] = ()
    unordered: bool = False
    shares: str = ""
    people: float | None = None
    levels: dict[str, tuple[str, ...]] = {}
    ranges: dict[str, tuple[float | None, float | None]] = {}
    by: str = ""

    @property
    def where(self) -> str | None:
        """The condition on profiles that keeps who is asked; None keeps all."""
        parts = [_among(name, kept) for name, kept in self.levels.items()]
        for name, (low, high) in self.ranges.items():
            parts += [] if low is None else [f"{name!r} >= {low!r}"]
            parts += [] if high is None else [f"{name!r} <= {high!r}"]
        return " and ".join(parts) or None


def _among(name: str, kept: Sequence[str]) -> str:
    """The condition that an attribute has one of the levels; a condition has no name for a missing
    one, but `is None`."""
    present = f"{name!r} in {[level for level in kept if level != MISSING]!r}"
    return f"({present} or {name!r} is None)" if MISSING in kept else present


class Share(msgspec.Struct, frozen=True):
    """The share of one answer, with its 90% interval."""

    share: float
    low: float
    high: float


class Reply(msgspec.Struct, frozen=True):
    """What agents answer.

    Attributes:
      labels: the answers; none of a range of numbers.
      groups: who they are (the first: all), and shares: of each group, answer by answer.
      means: of each group, where the answers have an order.
      notes: sentences on how far to trust it.
    """

    labels: list[str]
    groups: list[str]
    shares: list[list[Share]]
    means: list[Share]
    notes: list[str]


@dataclass(frozen=True)
class Asker:
    """Who answers new questions, one at a time.

    Attributes:
      scales: the run's scales, described.
      put: asks; raises CrowdError where it cannot be told how people would answer.
    """

    scales: Mapping[str, str]
    put: Callable[[NewQuestion], Reply]
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, question: NewQuestion) -> Reply:
        """Ask, once whoever asks at this moment is answered.

        Raises:
          CrowdError: it has too many options, or `put` refuses it.
        """
        if len(question.options) > MOST_OPTIONS:
            raise CrowdError(
                f"there are {len(question.options)} answers to choose from; the page asks with at "
                f"most {MOST_OPTIONS}, `crowdllm ask` with more"
            )
        with self.lock:
            return self.put(question)


def described(scale: Scale) -> str:
    """How a question on a scale is answered, for people."""
    if scales.is_continuous(scale):
        low, high = scales.values(scale)
        return f"a number from {low:g} to {high:g}"
    labels = scales.labels(scale)
    if scales.is_ordered(scale) and len(labels) > 2:
        return f"{labels[0]} to {labels[-1]} ({len(labels)} answers)"
    return ", ".join(labels)


def reply_of(table: pa.Table, notes: Sequence[str]) -> Reply:
    """The table of a single question's answers (`workflow.asking.Answered`) as it is shown."""
    rows = table.to_pylist()
    by = next((name for name in table.column_names[1:2] if name != "answer"), None)
    groups = list(dict.fromkeys("(all)" if by is None else row[by] for row in rows))
    labels = list(dict.fromkeys(row["answer"] for row in rows if row["answer"] != "(mean)"))
    told = {
        ("(all)" if by is None else row[by], row["answer"]): Share(
            row["share"], row["low"], row["high"]
        )
        for row in rows
    }
    means = [told[group, "(mean)"] for group in groups if (group, "(mean)") in told]
    shares = [[told[group, label] for label in labels] for group in groups]
    return Reply(labels, groups, shares, means, list(notes))
