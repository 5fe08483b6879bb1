"""Numbers as people and spreadsheets write them: `$1,200`, `12,50 €`, `45 %`, `4/10`, `3rd`."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from crowdllm_jax.study.draft import names
from crowdllm_jax.study.draft.draft import shown
from crowdllm_jax.study.draft.words import is_no_answer
from crowdllm_jax.study.formats.sheet import Field, Sheet, Use

_CURRENCY = (
    r"[$€£¥₹₩₽₺₴₪₫฿]|R\$|Rs\.?|Fr\.|kr\.?|zł|Kč|Ft|USD|EUR|GBP|CHF|JPY|CNY|INR|BRL|MXN|CAD|AUD|NZD|"
    r"SEK|NOK|DKK|PLN|CZK|HUF|ZAR|TRY|RUB|KRW"
)
_UNIT = rf"%|{_CURRENCY}|/ ?\d+|[^\W\d_]{{2,}}\.?(?: \w+)*"
"""What may stand behind all numbers of a column: `%`, `/10`, `out of 10`, `years`."""
_STYLES = tuple(
    re.compile(
        rf"(?P<before>{_CURRENCY})?\s?(?P<number>-?(?:\d{{1,3}}(?:[{between} '’]\d{{3}})+|\d+)"
        rf"(?:{decimal}\d+)?)\s?(?P<after>{_UNIT})?"
    )
    for between, decimal in ((",", r"\."), (r"\.", ","))
)
"""Decimals behind a point, and behind a comma."""
_PLACE = re.compile(r"(?P<number>\d+) ?(?:st|nd|rd|th|er|[èe]re|[èe]me|e|[ºª°])")
FEWEST = 3
"""Different amounts; fewer are names of choices."""


def plain_amounts(sheet: Sheet) -> Sheet:
    """A sheet in whose columns of numbers with one sign around them, or with signs between their
    thousands, or in other digits, the numbers stand alone; a note says so."""
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
    numbers, signed = _numbers(texts)
    if numbers == texts:
        return field
    number = dict(zip(texts, numbers, strict=True))
    index: dict[str, int] = {}
    place = [index.setdefault(number.get(t, t), len(index)) for t in field.cells.distinct]
    codes = field.cells.codes.copy()
    known = codes >= 0
    codes[known] = [place[code] for code in codes[known]]
    # What is written as an amount is no number of a row, though all differ.
    ids = names.is_person(field.name)
    use: Use = "profile" if names.is_profile(field.name, field.text) else "question"
    cells = replace(field.cells, codes=codes, distinct=tuple(index))
    return replace(field, cells=cells, use=use if signed and not ids else field.use)


def _numbers(texts: list[str]) -> tuple[list[str], bool]:
    """Texts as plain numbers, and whether they are amounts, with a sign or with thousands set
    apart; as they are, if they are no numbers."""
    digits = [_in_digits(text) for text in texts]
    if places := _matched(_PLACE, digits):
        return [match["number"] for match in places], False
    for style, decimal in zip(_STYLES, ".,", strict=True):
        if not (found := _matched(style, digits)):
            continue
        signs = {(m["before"] or "") + (m["after"] or "") for m in found} - {""}
        if len(signs) > 1 or (decimal == "," and not signs):
            return texts, False
        kept = re.compile(rf"[^-\d{decimal}]")
        plain = [kept.sub("", match["number"]) for match in found]
        grouped = plain != [match["number"] for match in found]
        return [number.replace(",", ".") for number in plain], bool(signs) or grouped
    return texts, False


def _matched(pattern: re.Pattern[str], texts: Sequence[str]) -> list[re.Match[str]]:
    """The match of each text; none if one has none."""
    found = [match for match in map(pattern.fullmatch, texts) if match is not None]
    return found if len(found) == len(texts) else []


def _in_digits(text: str) -> str:
    """A text with the digits and the minus of ASCII, whatever width or script they have."""
    plain = unicodedata.normalize("NFKC", text).replace("\u2212", "-")
    return "".join(str(unicodedata.decimal(sign, sign)) for sign in plain)
