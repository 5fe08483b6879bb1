"""What a study file says: where the tables are, and what their columns mean."""

import msgspec

from crowdllm_jax.scales import Scale
from crowdllm_jax.study import AttributeKind


class _Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the entries have in common."""


class OrdinalAttribute(_Spec, frozen=True, kw_only=True, tag_field="kind", tag="ordinal"):
    """An attribute whose levels have an order, given here from first to last."""

    levels: tuple[str | int | float, ...]


AttributeSpec = AttributeKind | OrdinalAttribute


def attribute_spec(kind: AttributeKind, levels: tuple[str, ...]) -> AttributeSpec:
    """What a study file would say of a known attribute."""
    return OrdinalAttribute(levels=levels) if kind == "ordinal" else kind


class EmbeddingSpec(_Spec, frozen=True, kw_only=True):
    """A Parquet table with one vector (a list column) per task."""

    path: str
    task: str = "task"
    column: str = "embedding"


class ResponsesSpec(_Spec, frozen=True, kw_only=True):
    """The responses table, and which of its columns holds what."""

    path: str
    participant: str = "participant"
    task: str = "task"
    response: str = "response"


class TasksSpec(_Spec, frozen=True, kw_only=True):
    """Task columns; read from the responses table unless `path` names a table of tasks."""

    path: str | None = None
    task: str | None = None
    text: str | None = None
    scale: str | None = None
    attributes: dict[str, AttributeSpec] = {}
    embedding: EmbeddingSpec | None = None


class ParticipantsSpec(_Spec, frozen=True, kw_only=True):
    """Profile columns; read from the responses table unless `path` names a table of people."""

    path: str | None = None
    participant: str | None = None
    profile: dict[str, AttributeSpec] = {}
    weight: str | None = None


class StudySpec(_Spec, frozen=True, kw_only=True):
    """A study file: where the tables are and what their columns mean.

    Attributes:
      folder: paths below are relative to it; itself relative to where the command runs.
      missing: texts that mean "no answer" besides an empty cell.
    """

    responses: ResponsesSpec
    scales: dict[str, Scale]
    name: str = "study"
    folder: str = "."
    tasks: TasksSpec = TasksSpec()
    participants: ParticipantsSpec = ParticipantsSpec()
    missing: tuple[str, ...] = ()
    delimiter: str = ","
