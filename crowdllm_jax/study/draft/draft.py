"""A study that was made out of a file: three tables, their scales, and why it is as it is."""

import csv
import io
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.study.scales import Scale
from crowdllm_jax.study.spec import AttributeSpec, Missing


@dataclass(frozen=True)
class Choices:
    """What a user says of a file, so that it is not guessed.

    Attributes:
      person, task, response, weight: names of columns; response "A,B": both are answers; weight
        "none": there is none.
      profile, questions, out: columns that describe people, that are questions, that are neither.
      orders: answers from the lowest to the highest, of questions answered in these words.
      unordered: answers that have no order.
      missing: texts (or numbers) that mean that there is no answer.
      reverse: questions whose answers are mirrored.
    """

    person: str | None = None
    task: str | None = None
    response: str | None = None
    weight: str | None = None
    profile: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    out: tuple[str, ...] = ()
    orders: tuple[tuple[str, ...], ...] = ()
    unordered: tuple[tuple[str, ...], ...] = ()
    missing: tuple[str, ...] = ()
    reverse: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """A question: its id and text, the name of its scale, whether its answers are mirrored."""

    id: str
    text: str
    scale: str
    reverse: bool = False
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Options:
    """What is said of choice tasks' options.

    Attributes:
      task: (A,) indices. level: their names. said: per attribute its kind, and a text each.
    """

    task: np.ndarray
    level: list[str]
    said: dict[str, tuple[AttributeSpec, list[str]]]


@dataclass(frozen=True)
class Shares:
    """What published shares say: rows are these, and no people's answers.

    Attributes:
      share: (R,) of the people who were asked. people: (R,) how many that are, if it is known.
      missing: the answers that are none; by the names of scales, if they are answers on others.
    """

    share: tuple[str, ...]
    people: tuple[str, ...] | None
    missing: Missing


@dataclass(frozen=True)
class Draft:
    """A study in the making.

    Attributes:
      what: the file's kind. people: ids.
      profile: per attribute what a study file says of it, and a text per person ("": missing).
      weight: a text per person, or None.
      person, task: (R,) indices; answer: (R,) indices into `answers`, the different texts.
      scales: by name. attributes: of tasks.
      reasons: why it is so, in sentences. options: of choice tasks, where they are described.
      shares: where these are published, and each of their rows is a participant.
    """

    what: str
    people: tuple[str, ...]
    profile: dict[str, tuple[AttributeSpec, list[str]]]
    weight: list[str] | None
    tasks: tuple[Task, ...]
    person: np.ndarray
    task: np.ndarray
    answer: np.ndarray
    answers: tuple[str, ...]
    scales: dict[str, Scale]
    attributes: dict[str, AttributeSpec]
    reasons: tuple[str, ...]
    options: Options | None = None
    shares: Shares | None = None


SAID = {
    "profile": "profile",
    "questions": "questions",
    "leave_out": "out",
    "reverse": "reverse",
    "missing": "missing",
    "order": "orders",
    "no_order": "unordered",
}
"""Arguments in Python, which are called as the flags of `crowdllm init`, and what they say."""


def with_said(choices: Choices, said: Mapping[str, Any]) -> Choices:
    """Choices with what arguments say: a text as its flag takes it, or a list of texts; of an order
    also a list of such lists.

    Raises:
      CrowdError: there is no such argument, or it is neither.
    """
    for name, value in said.items():
        if name not in SAID:
            raise CrowdError(f"study: has no argument '{name}'; give {', '.join(SAID)}")
        if value is None:
            continue
        if not isinstance(value, str | Sequence):
            raise CrowdError(f"study: {name}: give a list of texts, not {value!r}")
        several = not isinstance(value, str) and any(
            isinstance(row, Sequence) and not isinstance(row, str) for row in value
        )
        given: Any = tuple(map(_names, value if several else [value]))
        if name not in ("order", "no_order"):
            given = tuple(text for row in given for text in row)
        choices = replace(choices, **{SAID[name]: given})
    return choices


def _names(given: Any) -> tuple[str, ...]:
    texts = listed(given) if isinstance(given, str) else map(tidy_name, map(str, given))
    return tuple(text for text in texts if text)


def listed(text: str) -> tuple[str, ...]:
    """The texts of a flag: a row of CSV, in which one with a comma stands in double quotes."""
    row = next(csv.reader([" ".join(text.splitlines())], skipinitialspace=True), [])
    return tuple(name for name in map(tidy_name, row) if name)


def as_flag(texts: Iterable[str]) -> str:
    """Texts as a flag takes them, to paste into a shell: a row of CSV, so that one may hold a
    comma."""
    row = io.StringIO()
    csv.writer(row, lineterminator="").writerow(texts)
    return shlex.quote(row.getvalue())


def shown(names: object, most: int = 6) -> str:
    """Some names for a sentence."""
    listed = [str(name) for name in names]  # type: ignore[attr-defined]
    more = f" and {len(listed) - most:,} more" if len(listed) > most else ""
    return (
        ", ".join(name if len(name) <= 60 else f"{name[:57]}..." for name in listed[:most]) + more
    )
