"""Judgments of Figure Eight, formerly CrowdFlower, now Appen: the full report as CSV with _unit_id,
_worker_id and the program's own columns, which begin with an underscore
(https://success.appen.com/hc/en-us/articles/202703195)."""

from dataclasses import replace

from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.study.formats.delimited import Rows
from crowdllm_jax.study.formats.excel import table_of
from crowdllm_jax.study.formats.sheet import Field, Sheet


def is_figure_eight(rows: Rows) -> bool:
    """Whether the header names Figure Eight's own columns."""
    names = {tidy_name(name) for name in (rows.rows or [[]])[0]}
    return {"_unit_id", "_worker_id"} <= names


def read_figure_eight(rows: Rows) -> Sheet:
    """Read judgments; test questions' answers (`*_gold`) and the program's own columns are left
    out."""
    sheet = table_of(rows, "judgments of Figure Eight")
    return replace(sheet, fields=tuple(map(_used, sheet.fields)))


def _used(field: Field) -> Field:
    if field.name == "_unit_id":
        return replace(field, use="task")
    if field.name == "_worker_id":
        return replace(field, use="person")
    own = field.name.startswith("_") or field.name.endswith(
        (":confidence", "_gold", "_gold_reason")
    )
    return replace(field, use="out", why="the program's own") if own else field
