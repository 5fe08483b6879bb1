"""Published shares in lists within cells: `["Yes", "No"]` beside `[0.6, 0.4]`, or beside such a
list for each group of people (`{"Spain": [0.6, 0.4]}`)."""

import ast
import json
from dataclasses import replace
from typing import Any

import numpy as np

from crowdllm_jax.study.formats.sheet import Field, Sheet, column_of, unique_names

LONGEST = 20_000
"""Letters of a cell; what is longer is a text."""


def lists_below(sheet: Sheet) -> Sheet | None:
    """A sheet with a row per answer (columns `option`, `share`, and `group`, if there are such) of
    one with lists of these in its cells; None if it has none."""
    read = {field.name: held for field in sheet.fields if (held := _lists(field)) is not None}
    options = [name for name, held in read.items() if _all(held, _are_texts)]
    shares = [name for name, held in read.items() if _all(held, _are_shares)]
    if len(options) != 1 or len(shares) != 1:
        return None
    rows = [
        (row, option, share, group)
        for row, (named, told) in enumerate(zip(read[options[0]], read[shares[0]], strict=True))
        for group, values in (told.items() if isinstance(told, dict) else [("", told)])
        if len(values) == len(named)
        for option, share in zip(named, values, strict=True)
    ]
    if not rows:
        return None
    places, *told = zip(*rows, strict=True)
    left = [f for f in sheet.fields if f.name not in (options[0], shares[0])]
    called = unique_names([*(f.name for f in left), "option", "share", "group"])[len(left) :]
    again = [replace(f, cells=replace(f.cells, codes=f.cells.codes[[*places]])) for f in left]
    new = [
        Field(name, column_of(sheet.path, name, map(str, texts)))
        for name, texts in zip(called, told, strict=True)
    ]
    new = new if new[2].column.distinct else new[:2]
    return replace(sheet, rows=len(rows), fields=(*again, *new))


def _lists(field: Field) -> list[Any] | None:
    """(R,) what the cells hold, if each holds a list or a record."""
    if np.any(field.cells.codes < 0) or field.labels:
        return None
    held = [_read(text) for text in field.cells.distinct]
    if any(not isinstance(own, list | dict) or not own for own in held):
        return None
    return [held[code] for code in field.cells.codes]


def _read(text: str) -> Any:
    # As Python prints a `defaultdict` of lists.
    plain = text.removeprefix("defaultdict(<class 'list'>, ")
    plain = plain.removesuffix(")") if plain != text else text
    if len(plain) > LONGEST or not plain.startswith(("[", "{")):
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            return read(plain)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return None


def _all(held: list[Any], is_so: Any) -> bool:
    return all(map(is_so, held))


def _are_texts(own: Any) -> bool:
    return isinstance(own, list) and len(own) > 1 and all(isinstance(t, str) for t in own)


def _are_shares(own: Any) -> bool:
    lists = list(own.values()) if isinstance(own, dict) else [own]
    return all(
        isinstance(values, list)
        and all(isinstance(n, int | float) and not isinstance(n, bool) and n >= 0 for n in values)
        for values in lists
    )
