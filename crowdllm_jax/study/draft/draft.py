"""A study that was made out of a file: three tables, their scales, and why it is as it is."""

import csv
import io
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from crowdllm_jax.study.scales import Scale
from crowdllm_jax.study.spec import AttributeSpec


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
class Draft:
    """A study in the making.

    Attributes:
      what: the file's kind. people: ids.
      profile: per attribute what a study file says of it, and a text per person ("": missing).
      weight: a text per person, or None.
      person, task: (R,) indices; answer: (R,) indices into `answers`, the different texts.
      scales: by name. attributes: of tasks.
      reasons: why it is so, in sentences. options: of choice tasks, where they are described.
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
