"""Cells that hold objects in JSON (`{"Q0": 3, "Q1": 5}`), as trial logs write the answers of a
page: a column per key."""

import json
from dataclasses import replace

import numpy as np

from crowdllm_jax.study.draft import own_names
from crowdllm_jax.study.draft.draft import shown
from crowdllm_jax.study.formats.sheet import Field, Sheet, column_of, unique_names

MOST_KEYS = 200


def with_objects_opened(sheet: Sheet) -> Sheet:
    """A sheet in which columns whose cells are all objects of texts and numbers are a column per
    key (`response.Q0`); a note says so."""
    fields: list[Field] = []
    opened = []
    for field in sheet.fields:
        parts = _parts(sheet, field) if field.use is None else []
        opened += [field.name] if parts else []
        fields += parts or [field]
    if not opened:
        return sheet
    unique = unique_names([field.name for field in fields])
    named = tuple(replace(field, name=name) for field, name in zip(fields, unique, strict=True))
    told = f"Objects in JSON have a column per key: {shown(opened)}."
    return replace(sheet, fields=named, notes=(*sheet.notes, told))


def _parts(sheet: Sheet, field: Field) -> list[Field]:
    """A column per key of a column of objects; none, if it holds anything else."""
    texts = field.cells.distinct
    if not texts or not all(text.startswith("{") and text.endswith("}") for text in texts):
        return []
    try:
        objects = [json.loads(text) for text in texts]
    except (ValueError, RecursionError):
        return []
    keys = list(dict.fromkeys(key for held in objects for key in held))
    plain = all(isinstance(v, str | int | float | None) for o in objects for v in o.values())
    if not plain or not 0 < len(keys) <= MOST_KEYS:
        return []
    found = []
    for key in keys:
        told = [_text(held.get(key)) for held in objects]
        column = column_of(sheet.path, f"{field.name}.{key}", [*told, None])
        codes = column.codes[np.where(field.cells.codes < 0, len(told), field.cells.codes)]
        cells = replace(column, codes=codes.astype(np.int32), places=field.cells.places)
        part = Field(f"{field.name}.{key}", cells)
        found.append(replace(part, use="out", why="no answer") if own_names.is_own(key) else part)
    return found


def _text(value: object) -> str | None:
    if value is None or isinstance(value, bool):
        return None if value is None else str(value).lower()
    return str(value)
