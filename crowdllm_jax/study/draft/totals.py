"""Rows below a table that sum it up: a total, an average. They are nobody's answers."""

from dataclasses import replace

import numpy as np

from crowdllm_jax.study.draft.draft import shown
from crowdllm_jax.study.draft.word_lists import folded
from crowdllm_jax.study.formats.sheet import Field, Sheet

MOST_ROWS = 5
_SUMS = {
    *("total", "totals", "grand total", "sum", "average", "averages", "mean", "avg", "median"),
    *("standard deviation", "std dev", "gesamt", "summe", "mittelwert", "durchschnitt", "moyenne"),
    *("somme", "effectif", "suma", "promedio", "somma", "totale", "soma", "totaal", "gemiddelde"),
    *("razem", "srednia"),
}


def without_totals(sheet: Sheet) -> Sheet:
    """A sheet without the rows at its end whose first text is the name of a sum; a note says so."""
    names: list[str] = []
    while len(names) < min(MOST_ROWS, sheet.rows - 1):
        name = _first_text(sheet, sheet.rows - 1 - len(names))
        if folded(name.rstrip(":")) not in _SUMS:
            break
        names.append(name)
    if not names or not _only_there(sheet, names):
        return sheet
    rows = sheet.rows - len(names)
    told = f"Left out at the end, rows that sum up the others: {shown(names[::-1])}."
    fields = tuple(_begin(field, rows) for field in sheet.fields)
    return replace(sheet, rows=rows, fields=fields, notes=(*sheet.notes, told))


def _first_text(sheet: Sheet, row: int) -> str:
    """The first cell of a row that is not empty, if it stands in the first columns."""
    for field in sheet.fields[:2]:
        if (code := field.cells.codes[row]) >= 0:
            return field.cells.distinct[code]
    return ""


def _only_there(sheet: Sheet, names: list[str]) -> bool:
    """Whether no other row has such a name in the first columns, where it may be an answer."""
    rows = sheet.rows - len(names)
    above = [_begin(field, rows).cells.distinct for field in sheet.fields[:2]]
    return not any(name in texts for name in names for texts in above)


def _begin(field: Field, rows: int) -> Field:
    """The first rows of a column; texts that stand in none of them are forgotten."""
    codes = field.cells.codes[:rows]
    used = np.unique(codes[codes >= 0])
    place = np.full(len(field.cells.distinct) + 1, -1, np.int32)
    place[used] = np.arange(len(used))
    texts = tuple(field.cells.distinct[code] for code in used)
    return replace(field, cells=replace(field.cells, codes=place[codes], distinct=texts))
