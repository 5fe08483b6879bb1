"""What a study file says: where the tables are, and what their columns mean."""

import codecs
from dataclasses import replace
from typing import Literal

import msgspec
from msgspec import structs

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.names import tidy_fields, tidy_names
from crowdllm_jax.study.csv_file import Dialect
from crowdllm_jax.study.records import AttributeKind
from crowdllm_jax.study.scales import Categorical, Scale

Codes = tuple[str | int | float, ...]
"""Texts of cells; a number stands for all texts of that value."""

Missing = Codes | dict[str, Codes]
"""Codes that mean "no answer", in all columns of a table, or in the columns that are named."""


class _Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the entries have in common: names in them are compared as those in tables are."""

    def __post_init__(self) -> None:
        tidy_fields(
            self, "path", "folder", "delimiter", "encoding", "decimal", "scales", "witnesses"
        )


class OrdinalAttribute(_Spec, frozen=True, kw_only=True, tag_field="kind", tag="ordinal"):
    """An attribute whose levels have an order, given here from first to last."""

    levels: tuple[str | int | float, ...]


AttributeSpec = AttributeKind | OrdinalAttribute


def attribute_spec(kind: AttributeKind, levels: tuple[str, ...]) -> AttributeSpec:
    """What a study file would say of a known attribute."""
    return OrdinalAttribute(levels=levels) if kind == "ordinal" else kind


class EmbeddingSpec(_Spec, frozen=True, kw_only=True):
    """A Parquet table with one vector (a list column) per task.

    Attributes:
      column: several are alternatives (layers of a model), of which the one is taken that predicts
        the training tasks' answers best. name: for reports; that of the file by default.
    """

    path: str
    task: str = "task"
    column: str | tuple[str, ...] = "embedding"
    name: str | None = None


class ResponsesSpec(_Spec, frozen=True, kw_only=True):
    """The responses table, and which of its columns holds what.

    Attributes:
      missing: see `Missing`; also by the name of a scale, for the answers on it.
      share: the column of published shares: a row is then a level of a task (and a group), and not
        one person's answer. n: the column with how many people are behind them.
      known: the column that says which answers are known; `split.column` names it.
    """

    path: str
    participant: str = "participant"
    task: str = "task"
    response: str = "response"
    missing: Missing = ()
    share: str | None = None
    n: str | None = None
    known: str | None = None


class TasksSpec(_Spec, frozen=True, kw_only=True):
    """Task columns; read from the responses table unless `path` names a table of tasks.

    Attributes:
      reverse: ids of reverse-keyed tasks: their answers are mirrored as they are read (`reverse`).
      ask_if: the column with the condition under which a task is asked (`routing`); empty of those
        that everybody is asked.
    """

    path: str | None = None
    task: str | None = None
    text: str | None = None
    scale: str | None = None
    ask_if: str | None = None
    reverse: tuple[str, ...] = ()
    attributes: dict[str, AttributeSpec] = {}
    embedding: EmbeddingSpec | tuple[EmbeddingSpec, ...] | None = None
    missing: Missing = ()


class AlternativesSpec(_Spec, frozen=True, kw_only=True):
    """The table that describes the options of choice tasks: a row for each task and level.

    Attributes:
      task, level: the columns that say which option it is; the task's as in the responses by
        default.
    """

    path: str
    task: str | None = None
    level: str = "level"
    attributes: dict[str, AttributeSpec]
    missing: Missing = ()


class ParticipantsSpec(_Spec, frozen=True, kw_only=True):
    """Profile columns; read from the responses table unless `path` names a table of people."""

    path: str | None = None
    participant: str | None = None
    profile: dict[str, AttributeSpec] = {}
    weight: str | None = None
    missing: Missing = ()


class StudySpec(_Spec, frozen=True, kw_only=True):
    """A study file: where the tables are and what their columns mean.

    Attributes:
      folder: paths below are relative to it; itself relative to where the command runs.
      alternatives: what describes the options of choice tasks, as in conjoint analysis.
      missing: codes that mean "no answer" in every column, besides an empty cell.
      witnesses: tables of answers that something else, such as a language model, gave for the
        participants, with the columns of the responses: one path, or several by name.
      delimiter, encoding, decimal: of CSV files that do not say so themselves.
    """

    responses: ResponsesSpec
    scales: dict[str, Scale]
    name: str = "study"
    folder: str = "."
    tasks: TasksSpec = TasksSpec()
    participants: ParticipantsSpec = ParticipantsSpec()
    alternatives: AlternativesSpec | None = None
    missing: Codes = ()
    witnesses: str | dict[str, str] = {}
    delimiter: str = ","
    encoding: str = "utf-8"
    decimal: Literal[".", ","] = "."

    def __post_init__(self) -> None:
        super().__post_init__()
        names = tidy_names(dict.fromkeys(self.scales))
        scales = map(_tidy_scale, self.scales.values())
        structs.force_setattr(self, "scales", dict(zip(names, scales, strict=True)))

    def dialect(self) -> Dialect:
        """How the study's CSV files are written.

        Raises:
          CrowdError: no file can be written so.
        """
        # Within single quotes, YAML takes a tab's usual spelling for two characters.
        delimiter = "\t" if self.delimiter == "\\t" else self.delimiter
        if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n':
            raise CrowdError(
                f"study.delimiter: {delimiter!r} cannot stand between cells; give one character"
            )
        if delimiter == self.decimal:
            raise CrowdError(
                f"study.decimal: {delimiter!r} already stands between the cells; "
                "give what stands there as study.delimiter, such as ';' or "
                '"\\t"'
            )
        try:
            encoding = codecs.lookup(self.encoding).name
            "".encode(encoding)  # refuses what is no encoding of text
        except LookupError as error:
            raise CrowdError(
                f"study.encoding: {self.encoding!r} is no encoding of text; usual ones are utf-8, "
                "cp1252, cp1250, latin-1, utf-16-le, gb18030 and shift_jis"
            ) from error
        return Dialect(delimiter, encoding, self.decimal, settable=True)

    def later_dialect(self) -> Dialect:
        """How CSV files are taken to be written that come to a fitted run later on: as the study's
        are, which cannot be set anew for them."""
        return replace(self.dialect(), settable=False)


def _tidy_scale(scale: Scale) -> Scale:
    if not isinstance(scale, Categorical):
        return scale
    levels, labels = tidy_names(scale.levels), tidy_names(scale.labels)
    return structs.replace(scale, levels=levels, labels=labels)
