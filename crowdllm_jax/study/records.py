"""The study: everything about one crowd of real people, as immutable records.

A study does not depend on the order of the rows it was read from: tasks, participants and levels
are sorted, responses stand by participant and task.
"""

import hashlib
import html
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.given import told
from crowdllm_jax.study import scales
from crowdllm_jax.study.scales import Scale

if TYPE_CHECKING:
    import pandas

AttributeKind = Literal["categorical", "ordinal", "numeric"]

SHOWN = 10
"""Tasks that a notebook shows."""


@dataclass(frozen=True)
class Attribute:
    """One attribute of every participant (or task).

    Attributes:
      levels: names of the levels of a categorical or ordinal attribute; empty if numeric.
      cells: (N,) int32 level, or float64 number with NaN where it is missing. A missing level is
        a level of its own, "(missing)".
    """

    name: str
    kind: AttributeKind
    levels: tuple[str, ...]
    cells: np.ndarray


@dataclass(frozen=True)
class Participants:
    """N real people: ids, profile, survey weights (N,) with mean 1."""

    ids: tuple[str, ...]
    profile: tuple[Attribute, ...]
    weight: np.ndarray


@dataclass(frozen=True)
class Block:
    """Columns of the tasks' embedding, from `begin` and before `end`, that come from one source.

    Attributes:
      name: for reports. table: which of the study's tables they come from; blocks of one table are
        alternatives, of which one is chosen for each split.
    """

    name: str
    table: int
    begin: int
    end: int


@dataclass(frozen=True)
class Alternatives:
    """What describes options that people choose among: the levels of nominal tasks, as in conjoint
    analysis. What is not described of a task, such as "none of these", has no row.

    Attributes:
      task, level: (A,) int32, of which task each alternative is a level, and which.
      attributes: with (A,) cells.
    """

    task: np.ndarray
    level: np.ndarray
    attributes: tuple[Attribute, ...]


@dataclass(frozen=True)
class Tasks:
    """T tasks.

    Attributes:
      text: what a person is asked; the id where the study has no text.
      scale: (T,) index into `Study.scales`.
      embedding: (T, F) float32, all sources' side by side, or None.
      blocks: what comes from which source; empty where there is one.
      asked: so many of them, the last ones, were asked after the fit.
      known: (T,) bool, which ones somebody answers that a fit learns from, once that is settled.
        Every unit, axis and average is taken from these alone, so that what is known of a task
        does not depend on what else is asked or held out.
      ask_if: by the id of a task that only some are asked, the condition (see `routing`).
      alternatives: what describes the options of choice tasks; None where nothing does.
    """

    ids: tuple[str, ...]
    text: tuple[str, ...]
    scale: np.ndarray
    attributes: tuple[Attribute, ...]
    embedding: np.ndarray | None
    blocks: tuple[Block, ...] = ()
    asked: int = 0
    ask_if: Mapping[str, str] = field(default_factory=dict)
    alternatives: Alternatives | None = None
    known: np.ndarray | None = None

    @property
    def base(self) -> int:
        """How many tasks were there when the crowd was fitted."""
        return len(self.ids) - self.asked

    @property
    def measured(self) -> np.ndarray:
        """(T,) bool, the tasks that units, axes and averages are taken from."""
        return np.arange(len(self.ids)) < self.base if self.known is None else self.known


@dataclass(frozen=True)
class Witness:
    """What something that is asked in a person's place, such as a language model told who the
    person is, answered for that person. It is evidence of the person's own answer, never one.

    Attributes:
      name: of the witness. person, task: (R,) int32 indices into the study, in order of both.
      value: (R,) float64, a number in the units of the task's scale; on a nominal scale the level.
    """

    name: str
    person: np.ndarray
    task: np.ndarray
    value: np.ndarray


@dataclass(frozen=True)
class Study:
    """One crowd: its tasks and scales, its participants, and R responses.

    Attributes:
      scales: each scale under its name; `tasks.scale` counts in this order.
      person: (R,) int32 index of the participant.
      task: (R,) int32 index of the task.
      answer: (R,) float64: the level on a discrete scale, the value on a continuous one. Ballots
        are whole: whoever answers one task of a ballot answers all (`ballots.complete_ballots`).
      missing: responses left empty in the data (they are simply absent above). skipped: of those
        left empty, how many are to tasks that these people were not asked.
      left_out: projects that voters left out of their ballots (above they are level 0).
      row: (R,) where each answer stood in its table, -1 of projects left out; None where the study
        came without a table. Nothing but `split.first` depends on it.
      witnesses: what others answered for the participants.
      toplines: participants stand for the people behind published shares, and each answers once.
      known: (R,) bool, what the study's own column says of each answer; None without one.

    Examples:
      >>> study.name, len(study.participants.ids), len(study.tasks.ids), list(study.scales)
      ('anes96', 944, 6, ['placement', 'party', 'vote', 'days'])
    """

    name: str
    scales: dict[str, Scale]
    tasks: Tasks
    participants: Participants
    person: np.ndarray
    task: np.ndarray
    answer: np.ndarray
    missing: int = 0
    left_out: int = 0
    row: np.ndarray | None = None
    witnesses: tuple[Witness, ...] = ()
    known: np.ndarray | None = None
    toplines: bool = False
    skipped: int = 0

    def __repr__(self) -> str:
        n, t = len(self.participants.ids), len(self.tasks.ids)
        scales_of = ", ".join(self.scales)
        return (
            f"Study({self.name!r}: {n:,} participants, {t:,} tasks, {len(self.task):,} responses; "
            f"scales: {scales_of})"
        )

    def _repr_html_(self) -> str:
        count = np.bincount(self.task, minlength=len(self.tasks.ids))
        names = list(self.scales)
        rows = "".join(
            "<tr>"
            + "".join(
                f"<td>{html.escape(str(cell))}</td>"
                for cell in (name, text, names[self.tasks.scale[task]], f"{count[task]:,}")
            )
            + "</tr>"
            for task, (name, text) in enumerate(
                zip(self.tasks.ids[:SHOWN], self.tasks.text[:SHOWN], strict=True)
            )
        )
        head = "".join(f"<th>{name}</th>" for name in ("task", "text", "scale", "responses"))
        return (
            f"<div><p>{html.escape(repr(self))}</p><table><thead><tr>{head}</tr></thead>"
            f"<tbody>{rows}</tbody></table></div>"
        )

    def to_arrow(self) -> pa.Table:
        """A row per participant (N): participant, the profile, and a column per task (T) with the
        answers as the data write them, empty where there is none.

        Examples:
          >>> study.to_arrow().num_rows
          944
        """
        tasks = {name.casefold() for name in self.tasks.ids}
        columns: dict[str, pa.Array] = {"participant": pa.array(self.participants.ids)}
        for attribute in self.participants.profile:
            clash = attribute.name.casefold() in tasks | {"participant"}
            name = f"profile_{attribute.name}" if clash else attribute.name
            if attribute.kind == "numeric":
                columns[name] = pa.array(attribute.cells, from_pandas=True)
            else:
                levels = list(attribute.levels)
                columns[name] = pa.DictionaryArray.from_arrays(attribute.cells, levels)
        for task, name in enumerate(self.tasks.ids):
            columns[name if name != "participant" else "task_participant"] = self._answers_to(task)
        return pa.table(columns)

    def _answers_to(self, task: int) -> pa.Array:
        """(N,) everybody's answer to a task, as the data write it."""
        scale, rows = self.scale_of(task), self.task == task
        answer = np.full(len(self.participants.ids), np.nan)
        answer[self.person[rows]] = self.answer[rows]
        if scales.is_continuous(scale):
            return pa.array(answer, from_pandas=True)
        levels = scales.written(scale)
        if len({type(level) for level in levels}) > 1:
            levels = tuple(map(str, levels))
        place = pa.array(np.nan_to_num(answer).astype(np.int32), mask=np.isnan(answer))
        return pa.array(levels).take(place)

    def to_pandas(self) -> "pandas.DataFrame":
        """The same as a data frame of pandas.

        Examples:
          >>> study.to_pandas()[["age", "vote"]].shape
          (944, 2)
        """
        return self.to_arrow().to_pandas()

    def scale_of(self, task: int) -> Scale:
        """The scale on which a task (an index) is answered.

        Examples:
          >>> study.scale_of(4)
          Binary(levels=(0, 1), labels=('Clinton', 'Dole'))
        """
        return tuple(self.scales.values())[int(self.tasks.scale[task])]

    @property
    def weight(self) -> np.ndarray:
        """(R,) survey weight of whoever gave each response; exactly 1 where all count alike. Of
        published shares, how many people each stands for.

        Examples:
          >>> float(study.weight.mean())
          1.0
        """
        own = self.participants.weight
        weight: np.ndarray = (own if self.toplines else alike(own))[self.person]
        return weight

    @property
    def value(self) -> np.ndarray:
        """(R,) each answer as the number it stands for, in its scale's own units.

        Examples:
          >>> study.value.shape
          (5664,)
        """
        numbers = self.answer.copy()
        for index, scale in enumerate(self.scales.values()):
            on_scale = self.tasks.scale[self.task] == index
            numbers[on_scale] = scales.numbers(scale, self.answer[on_scale])
        return numbers


def only_answers(study: Study, rows: np.ndarray) -> Study:
    """A study of some of its responses: (R,) bool, or their indices in another order."""
    return replace(
        study,
        person=study.person[rows],
        task=study.task[rows],
        answer=study.answer[rows],
        row=None if study.row is None else study.row[rows],
        known=None if study.known is None else study.known[rows],
    )


def only_people(study: Study, kept: np.ndarray) -> tuple[Study, np.ndarray]:
    """A study of some of its people (N,) bool, and which responses (R,) bool are theirs."""
    rows, people = kept[study.person], study.participants
    of_kept = np.flatnonzero(kept)
    some = Participants(
        tuple(people.ids[i] for i in of_kept),
        tuple(replace(a, cells=a.cells[of_kept]) for a in people.profile),
        people.weight[of_kept],
    )
    place = np.cumsum(kept, dtype=study.person.dtype) - 1
    smaller = replace(
        only_answers(study, rows),
        participants=some,
        person=place[study.person[rows]],
        witnesses=tuple(_only_of(witness, kept, place) for witness in study.witnesses),
    )
    return smaller, rows


def _only_of(witness: Witness, kept: np.ndarray, place: np.ndarray) -> Witness:
    """What a witness says of some people (N,) bool, who stand at other places (N,) now."""
    rows = kept[witness.person]
    person = place[witness.person[rows]]
    return replace(witness, person=person, task=witness.task[rows], value=witness.value[rows])


def alike(weight: np.ndarray) -> np.ndarray:
    """Weights with mean 1; exactly 1 where they are equal, so that such weights change no digit."""
    return weight / weight.mean() if np.ptp(weight) else np.ones(len(weight))


def fingerprint(study: Study, *, ordered: bool = False) -> str:
    """A hash of all that the study holds: the same data give the same text, in any row order
    unless that is to count (`ordered`)."""
    digest = hashlib.sha256()

    def add(*parts: object) -> None:
        for part in parts:
            data = part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode()
            digest.update(len(data).to_bytes(8, "little") + data)

    add(study.scales, study.tasks.ids, study.tasks.text, study.participants.ids)
    add(study.tasks.scale, study.participants.weight, study.person, study.task, study.answer)
    add(study.tasks.embedding)
    if len(study.tasks.blocks) > 1:
        add(study.tasks.blocks)
    described = study.tasks.alternatives
    of_options = () if described is None else described.attributes
    for attribute in (*study.tasks.attributes, *study.participants.profile, *of_options):
        add(attribute.name, attribute.kind, attribute.levels, attribute.cells)
    if described is not None:
        add(described.task, described.level)
    if study.tasks.ask_if:
        add(sorted(study.tasks.ask_if.items()))
    for witness in study.witnesses:
        add(witness.name, witness.person, witness.task, witness.value)
    if study.known is not None:
        add(study.known)
    if ordered:
        add(study.row)
    return digest.hexdigest()


def check_study(study: object) -> None:
    """Raise CrowdError if it is none, such as a data frame, or the path of one."""
    if not isinstance(study, Study):
        raise CrowdError(
            f"study: {told(study)} is no study; make one with cl.study(frame), or read one with "
            "cl.load_study(config)"
        )


def unanswered(study: Study) -> np.ndarray:
    """The tasks that nobody answered, in order."""
    return np.flatnonzero(np.bincount(study.task, minlength=len(study.tasks.ids)) == 0)
