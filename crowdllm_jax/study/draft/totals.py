"""Rows that are nobody's answers: a total or an average below a table, blank ones, and the texts of
questions below their names."""

import re
from dataclasses import replace

import numpy as np

from crowdllm_jax.runtime.numerals import number
from crowdllm_jax.study.draft.draft import shown
from crowdllm_jax.study.draft.row_people import words_before
from crowdllm_jax.study.draft.word_lists import folded
from crowdllm_jax.study.draft.words import is_no_answer
from crowdllm_jax.study.formats.sheet import Field, Sheet, only_rows

MOST_ROWS = 5
FEWEST_ROWS = 10
FEWEST_ASKED, FEWEST_WORDS = 2, 3
_SUMS = {
    *("total", "totals", "grand total", "sum", "average", "averages", "mean", "avg", "median"),
    *("standard deviation", "std dev", "gesamt", "summe", "mittelwert", "durchschnitt", "moyenne"),
    *("somme", "effectif", "suma", "promedio", "somma", "totale", "soma", "totaal", "gemiddelde"),
    *("razem", "srednia"),
}
_OF_WHAT = {"grand", "class", "group", "course", "column"}
_KEYS = {
    *(
        "answer key",
        "key",
        "scoring key",
        "solution",
        "solutions",
        "correct answer",
        "correct answers",
        "points possible",
        "max points",
    ),
    *("possible points", "maximum points", "max score", "losungen", "losung", "musterlosung"),
}
_NOTE = re.compile(r"(?i)\W*(\*|†|note|source|legend|legende|quelle|anmerkung|hinweis)|(\S+\s+){3}")
"""How what is explained below a table begins, or a text of several words that stands alone."""
_BESIDE = {"n", "count", "anzahl", "min", "max", "sd", "std", "minimum", "maximum", "respondents"}
"""What stands beside a sum; alone it may be an answer, above it somebody who answers as others."""


def without_totals(sheet: Sheet) -> Sheet:
    """A sheet without the rows at its end whose first text is the name of a sum, without what is
    explained below these, and without the key of a test; notes say so."""
    sheet = _without_key(_without_footnotes(sheet))
    names: list[str] = []
    while len(names) < min(MOST_ROWS, sheet.rows - 1):
        name = _first_text(sheet, sheet.rows - 1 - len(names))
        if not _is_sum(name) and folded(name.rstrip(":")) not in _BESIDE:
            break
        names.append(name)
    while names and not _is_sum(names[-1]) and _as_others(sheet, len(names)):
        names.pop()
    if not any(map(_is_sum, names)) or not _only_there(sheet, names):
        return sheet
    told = f"Left out at the end, rows that sum up the others: {shown(names[::-1])}."
    return replace(_above(sheet, len(names)), notes=(*sheet.notes, told))


def _without_footnotes(sheet: Sheet) -> Sheet:
    """A sheet without the last rows in which a remark stands alone in the first column: whoever
    that may be answers nothing."""
    last = 0
    while last < min(MOST_ROWS, sheet.rows - 1):
        row = sheet.rows - 1 - last
        alone = all(field.cells.codes[row] < 0 for field in sheet.fields[1:])
        if len(sheet.fields) < 3 or not alone or not _NOTE.match(_first_text(sheet, row)):
            break
        last += 1
    if not last:
        return sheet
    told = f"Left out at the end, rows in which a remark stands alone: {last:,}."
    return replace(_above(sheet, last), notes=(*sheet.notes, told))


def _without_key(sheet: Sheet) -> Sheet:
    """A sheet without a first row that holds the right answers, or the points for them."""
    called = folded(_first_text(sheet, 0).rstrip(":"))
    column = sheet.fields[0].column
    own = 2 * len(column.distinct) > sheet.rows > 1 and column.codes[0] >= 0
    if not own or called not in _KEYS or np.sum(column.codes == column.codes[0]) > 1:
        return sheet
    told = f"Left out, the first row, which is nobody's: {_first_text(sheet, 0)}."
    kept = only_rows(sheet, np.arange(sheet.rows) > 0)
    return replace(kept, notes=(*sheet.notes, told))


def without_units(sheet: Sheet) -> Sheet:
    """A sheet without a first row that says in which units the numbers below are, and nobody's id;
    a note says so."""
    fields = [field for field in sheet.fields if field.column.distinct]
    if sheet.rows < FEWEST_ROWS or any(f.use or f.labels for f in sheet.fields):
        return sheet
    first = [field for field in fields if field.column.codes[0] >= 0]
    own = sheet.fields[0]
    nobody = own.column.codes[0] < 0 or folded(_top(own)) in ("unit", "units", "einheit")
    above = [field for field in first if _text_above_numbers(field)]
    if not nobody or len(above) < FEWEST_ASKED or len(first) - len(above) > (own in first):
        return sheet
    told = f"Left out, the row of units below the names: {shown(_top(f) for f in above)}."
    kept = only_rows(sheet, np.arange(sheet.rows) > 0)
    return replace(kept, notes=(*sheet.notes, told))


def with_texts_below(sheet: Sheet) -> Sheet:
    """A sheet without a first row that holds what was asked, which becomes the questions' texts; a
    note says so.

    Nobody else gives such a text, it stands above numbers, too, and some ask in several words: a
    person may answer in words what others answer in numbers.
    """
    fields = [field for field in sheet.fields if field.column.distinct]
    if sheet.rows < FEWEST_ROWS or any(f.use or f.labels or f.text for f in sheet.fields):
        return sheet
    first = [field for field in fields if field.column.codes[0] >= 0]
    again = [f for f in first if np.sum(f.column.codes == f.column.codes[0]) > 1]
    repeated = [f for f in first if 2 * len(f.column.distinct) <= sheet.rows]
    if again or len(first) * 2 <= len(sheet.fields) or len(repeated) * 2 < len(first):
        return sheet
    above = [f for f in first if _text_above_numbers(f)]
    if not above or any(map(words_before, first)) or any(is_no_answer(_top(f)) for f in first):
        return sheet
    if sum(_asks(_top(f)) for f in first if f in above or f in repeated) < FEWEST_ASKED:
        return sheet
    texts = {field.name: field.cells.distinct[field.cells.codes[0]] for field in first}
    kept = only_rows(sheet, np.arange(sheet.rows) > 0)
    fields = [replace(field, text=texts.get(field.name, "")) for field in kept.fields]
    told = "The first row below the names holds what was asked, and is nobody's answer."
    return replace(kept, fields=tuple(fields), notes=(*sheet.notes, told))


def _top(field: Field) -> str:
    return field.column.distinct[field.column.codes[0]]


def _asks(text: str) -> bool:
    """Whether a text may be a question's."""
    return len(text.split()) >= FEWEST_WORDS or text.endswith(("?", "？", "؟"))


def _text_above_numbers(field: Field) -> bool:
    """Whether the first cell is a text, and all others are numbers."""
    texts = {text: number(text.removesuffix("%")) for text in field.column.distinct}
    return len(texts) > 2 and {text for text, n in texts.items() if n is None} == {_top(field)}


def without_blank_rows(sheet: Sheet) -> Sheet:
    """A sheet without the rows that hold nothing, as a blank line does, and without those that
    repeat the names of the columns, where tables were put together; a note tells of these."""
    filled = np.any([field.cells.codes >= 0 for field in sheet.fields], axis=0)
    named = np.all([_holds(field, field.name) for field in sheet.fields], axis=0)
    if len(sheet.fields) > 1 and np.any(named):
        told = f"Left out, rows that repeat the names of the columns: {int(np.sum(named)):,}."
        sheet = replace(sheet, notes=(*sheet.notes, told))
        filled &= ~named
    return sheet if np.all(filled) or not np.any(filled) else only_rows(sheet, filled)


def _holds(field: Field, text: str) -> np.ndarray:
    """(R,) whether each row holds a text."""
    codes = field.column.codes
    place = {own: code for code, own in enumerate(field.column.distinct)}
    return codes == place[text] if text in place else np.zeros(len(codes), bool)


def _first_text(sheet: Sheet, row: int) -> str:
    """The first cell of a row that is not empty, if it stands in the first columns."""
    for field in sheet.fields[:2]:
        if (code := field.cells.codes[row]) >= 0:
            return field.cells.distinct[code]
    return ""


def _is_sum(name: str) -> bool:
    words = folded(name.rstrip(":"))
    first, _, rest = words.partition(" ")
    return words in _SUMS or (first in _OF_WHAT and rest in _SUMS)


def _as_others(sheet: Sheet, last: int) -> bool:
    """Whether the first of the last rows holds answers that rows above give, too."""
    row = sheet.rows - last
    codes = [f.cells.codes for f in sheet.fields[1:] if f.cells.codes[row] >= 0]
    return any(np.any(own[:row] == own[row]) for own in codes)


def _only_there(sheet: Sheet, names: list[str]) -> bool:
    """Whether no other row has such a name in the first columns, where it may be an answer."""
    above = [f.cells.distinct for f in _above(sheet, len(names)).fields[:2]]
    return not any(name in texts for name in names for texts in above)


def _above(sheet: Sheet, last: int) -> Sheet:
    """A sheet without its last rows."""
    return only_rows(sheet, np.arange(sheet.rows) < sheet.rows - last)
