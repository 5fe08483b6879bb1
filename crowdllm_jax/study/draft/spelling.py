"""Spellings of one answer in capitals and small letters: `Agree`, `agree`, `AGREE`."""

from collections import defaultdict
from dataclasses import replace

import numpy as np

from crowdllm_jax.study.draft import names
from crowdllm_jax.study.draft.draft import Choices, shown
from crowdllm_jax.study.formats.sheet import Field, Sheet

MOST_ANSWERS = 40
"""Of a column with more of them the texts are no answers to choose from, but ids or free words."""


def one_spelling(sheet: Sheet, choices: Choices) -> Sheet:
    """A sheet in whose columns of answers (and profiles) each text has one spelling, the most
    frequent; a note says which became which. Ids, and codes with labels, stay as they are."""
    ids = (choices.person, choices.task)
    notes = []
    fields = []
    for field in sheet.fields:
        is_id = field.name in ids or names.is_person(field.name) or names.is_task(field.name)
        if field.labels or is_id or field.use in ("person", "task", "group", "text", "out"):
            fields.append(field)
            continue
        merged, told = _merged(field)
        fields.append(merged)
        if told:
            notes.append(f"Spellings made one in column {field.name}: {shown(told, 6)}.")
    return replace(sheet, fields=tuple(fields), notes=(*sheet.notes, *notes))


def _merged(field: Field) -> tuple[Field, list[str]]:
    """A column with one spelling per text, and which spellings became which."""
    column = field.column
    alike: dict[str, list[int]] = defaultdict(list)
    for code, text in enumerate(column.distinct):
        alike[" ".join(text.casefold().split())].append(code)
    if len(alike) == len(column.distinct) or len(alike) > MOST_ANSWERS:
        return field, []
    often = np.bincount(column.codes[column.codes >= 0], minlength=len(column.distinct))
    # The first of those that are equally frequent.
    kept = [max(codes, key=lambda code: int(often[code])) for codes in alike.values()]
    place = np.full(len(column.distinct) + 1, -1, np.int32)  # the last: a missing cell's -1
    told = []
    for new, (best, codes) in enumerate(zip(kept, alike.values(), strict=True)):
        place[codes] = new
        told += [f"{column.distinct[c]} as {column.distinct[best]}" for c in codes if c != best]
    texts = tuple(column.distinct[code] for code in kept)
    return replace(field, cells=replace(column, codes=place[column.codes], distinct=texts)), told
