"""Amounts as people type them: `$1,200`, `45 %`."""

import re
from dataclasses import replace

from crowdllm_jax.study.draft import names
from crowdllm_jax.study.draft.draft import shown
from crowdllm_jax.study.draft.words import is_no_answer
from crowdllm_jax.study.formats.sheet import Field, Sheet, Use

_AMOUNT = re.compile(
    r"(?P<before>[$€£¥])?\s?(?P<number>-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)\s?(?P<after>[%$€£¥])?"
)
FEWEST = 3
"""Different amounts; fewer are names of choices."""


def plain_amounts(sheet: Sheet) -> Sheet:
    """A sheet in whose columns of amounts with one sign, or with commas between thousands, numbers
    stand alone; a note says so."""
    fields = tuple(map(_plain, sheet.fields))
    changed = [new.name for new, old in zip(fields, sheet.fields, strict=True) if new is not old]
    if not changed:
        return sheet
    told = f"Numbers are read without the signs around them: {shown(changed)}."
    return replace(sheet, fields=fields, notes=(*sheet.notes, told))


def _plain(field: Field) -> Field:
    texts = [text for text in field.cells.distinct if not is_no_answer(text)]
    if len(texts) < FEWEST or field.labels or field.use not in (None, "question", "profile"):
        return field
    found = [_AMOUNT.fullmatch(text) for text in texts]
    signs = {sign for m in found if m is not None for sign in (m["before"], m["after"]) if sign}
    thousands = any("," in text for text in texts)
    if None in found or len(signs) > 1 or not (signs or thousands):
        return field
    number = {m[0]: m["number"].replace(",", "") for m in found if m is not None}
    index: dict[str, int] = {}
    place = [index.setdefault(number.get(t, t), len(index)) for t in field.cells.distinct]
    codes = field.cells.codes.copy()
    known = codes >= 0
    codes[known] = [place[code] for code in codes[known]]
    # What has a sign is no number of a row, though all differ.
    use: Use = "profile" if names.is_profile(field.name, field.text) else "question"
    cells = replace(field.cells, codes=codes, distinct=tuple(index))
    return replace(field, cells=cells, use=use if signs else field.use)
