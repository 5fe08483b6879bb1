"""Numbers as people and spreadsheets write them: `$1,200`, `12,50 €`, `45 %`, `4/10`, `3rd`,
`(12)` below zero."""

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.draft import names, own_names
from crowdllm_jax.study.draft.draft import as_flag, shown
from crowdllm_jax.study.draft.words import is_no_answer
from crowdllm_jax.study.formats.sheet import Field, Sheet

_CURRENCY = (
    r"[$€£¥₹₩₽₺₴₪₫฿]|R\$|Rs\.?|Fr\.|kr\.?|zł|Kč|Ft|USD|EUR|GBP|CHF|JPY|CNY|INR|BRL|MXN|CAD|AUD|NZD|"
    r"SEK|NOK|DKK|PLN|CZK|HUF|ZAR|TRY|RUB|KRW"
)
_UNIT = rf"%|{_CURRENCY}|/ ?\d+|h|[^\W\d_]{{2,}}\.?(?: \w+)*"
"""What may stand behind all numbers of a column: `%`, `/10`, `out of 10`, `years`, `h`."""
_STYLES = tuple(
    re.compile(
        rf"(?P<before>{_CURRENCY})?\s?(?P<number>-?(?:\d{{1,3}}(?:[{between} '’]\d{{3}})+|\d+)"
        rf"(?:{decimal}\d+)?)\s?(?P<after>{_UNIT})?"
    )
    for between, decimal in ((",", r"\."), (r"\.", ","))
)
"""Decimals behind a point, and behind a comma."""
_PRICED = re.compile(_CURRENCY)
_BRACKETED = re.compile(rf"({_CURRENCY})?\(({_CURRENCY})?\s?(\d[^()]*)\)(\s?(?:{_UNIT}))?")
"""A number below zero, as accounts have it: `(1,200)`, `($5.00)`, `(12,50) €`."""
_YEAR = re.compile(r"(?:19|20)\d{2}")
_GROUPED = re.compile(r"-?[1-9]\d{0,2}\.\d{3}")
_PLACE = re.compile(
    r"(?i)(?P<number>\d+) ?(?:st|nd|rd|th|er|[èe]re|[èe]me|e|[ºª°])"
    r"(?: (?:choice|preference|priority|place|pick|rank|choix|rang|opci[oó]n|scelta))?"
)
_KEPT = re.compile(r"'(\S.*)|=\"(\S.*)\"")
MOSTLY = 0.9
FEWEST = 3
"""Different amounts; fewer are names of choices."""


def plain_amounts(sheet: Sheet, written: Collection[str | None] = ()) -> Sheet:
    """A sheet in whose columns of numbers with one sign around them, or with signs between their
    thousands, or in other digits, the numbers stand alone; a note says so.

    Args:
      written: columns that stay as they are written.
    Raises:
      CrowdError: points in prices stand before decimals, or between thousands.
    """
    fields = tuple(f if f.name in written else _plain(f) for f in sheet.fields)
    changed = [new.name for new, old in zip(fields, sheet.fields, strict=True) if new is not old]
    if not changed:
        return sheet
    told = f"Numbers are read without the signs around them: {shown(changed)}."
    return replace(sheet, fields=fields, notes=(*sheet.notes, told))


def _plain(field: Field) -> Field:
    texts = [text for text in field.cells.distinct if not is_no_answer(text)]
    if len(texts) < FEWEST or field.labels or field.use not in (None, "question", "profile"):
        return field
    # A phone number or a duration that a program noted is no answer, however it is written.
    if own_names.is_own(field.name) or names.is_person(field.name):
        return field
    numbers, signed = _numbers(texts)
    if numbers == texts:
        texts = _mostly(field, texts)
        numbers, signed = _numbers(texts) if len(texts) >= FEWEST else (texts, False)
    if numbers == texts:
        return field
    _refuse_points(field, texts)
    number = dict(zip(texts, numbers, strict=True))
    index: dict[str, int] = {}
    place = [index.setdefault(number.get(t, t), len(index)) for t in field.cells.distinct]
    codes = field.cells.codes.copy()
    known = codes >= 0
    codes[known] = [place[code] for code in codes[known]]
    cells = replace(field.cells, codes=codes, distinct=tuple(index))
    return replace(field, cells=cells, amount=signed)


def _mostly(field: Field, texts: list[str]) -> list[str]:
    """The amounts of money among the texts that nearly all rows hold; none, if these are fewer.
    What the others mean is asked for, as it is beside plain numbers."""
    found = [text for text in texts if re.search(r"\d", text) and _PRICED.search(text)]
    often = np.bincount(field.column.codes[field.column.codes >= 0])
    count = {text: int(often[i]) for i, text in enumerate(field.column.distinct)}
    given = sum(count.get(text, 0) for text in texts)
    return found if sum(count.get(text, 0) for text in found) >= MOSTLY * given else []


_ROUGHLY = re.compile(
    r"(?i)(?:(?:about|around|approx(?:\.|imately)?|roughly|maybe|circa|ca\.?|etwa|environ|~) ?)?"
    rf"(?:(?P<before>{_CURRENCY}) ?)?\d+(?:[.,]\d+)* ?"
    rf"(?P<after>{_CURRENCY}|dollars?|bucks?|euros?|pounds?|cents?)?"
)


_ONE_CURRENCY = {
    **dict.fromkeys(("dollar", "dollars", "buck", "bucks", "usd"), "$"),
    **dict.fromkeys(("euro", "euros", "eur"), "€"),
    **dict.fromkeys(("pound", "pounds", "gbp"), "£"),
}


def refuse_mixed_amounts(name: str, texts: Sequence[str]) -> None:
    """Raise CrowdError if all texts are amounts of one currency, but written in several ways (`$3`,
    `3 dollars`, `about 4`), so that no number is read; names with a price are none."""
    found = _matched(_ROUGHLY, texts)
    signs = {(m["before"] or m["after"] or "").casefold() for m in found} - {""}
    if len(texts) < FEWEST or len({_ONE_CURRENCY.get(sign, sign) for sign in signs}) != 1:
        return
    raise CrowdError(
        f"'{name}': its amounts are written in several ways ({shown(sorted(texts), 4)}); write "
        f"numbers alone in the file, or leave the question out: --leave-out {as_flag([name])}"
    )


def _refuse_points(field: Field, texts: Sequence[str]) -> None:
    """Raise CrowdError if each point in prices stands before three digits, as between thousands
    (`1.200 €`), so that it may be either."""
    found = _matched(_STYLES[0], [_in_digits(text) for text in texts])
    priced = any(_PRICED.fullmatch(m["before"] or m["after"] or "") for m in found)
    pointed = [m for m in found if "." in m["number"]]
    if not priced or not pointed or not all(_GROUPED.fullmatch(m["number"]) for m in pointed):
        return
    number = pointed[0]["number"]
    whole = number.replace(".", "")
    raise CrowdError(
        f"'{field.name}': does the point in '{pointed[0][0]}' stand between thousands, or before "
        f"decimals? Write all of its numbers as {whole}, or with a decimal more as {number}0; "
        f"--leave-out {as_flag([field.name])} leaves it out"
    )


def _numbers(texts: list[str]) -> tuple[list[str], bool]:
    """Texts as plain numbers, and whether they are amounts, with a sign or with thousands set
    apart; as they are, if they are no numbers."""
    digits = _below_zero([_in_digits(text) for text in texts])
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


def _below_zero(texts: list[str]) -> list[str]:
    """Texts, those in brackets with a minus in their place; where all are in brackets, are years,
    or some have a minus, brackets say something else."""
    found = [_BRACKETED.fullmatch(text) for text in texts]
    years = all(_YEAR.fullmatch(text.strip("()")) for text in texts)
    if all(found) or years or any(text.lstrip().startswith("-") for text in texts):
        return texts
    return [
        text if match is None else _minus(match) for text, match in zip(texts, found, strict=True)
    ]


def _minus(match: re.Match[str]) -> str:
    sign = "-" if re.search("[1-9]", match[3]) else ""
    return f"{match[1] or match[2] or ''}{sign}{match[3]}{match[4] or ''}"


def _matched(pattern: re.Pattern[str], texts: Sequence[str]) -> list[re.Match[str]]:
    """The match of each text; none if one has none."""
    found = [match for match in map(pattern.fullmatch, texts) if match is not None]
    return found if len(found) == len(texts) else []


def _in_digits(text: str) -> str:
    """A text with the digits and the minus of ASCII, whatever width or script they have, without
    what tells a spreadsheet that it is a text (`'5`, `="5"`)."""
    plain = unicodedata.normalize("NFKC", text).replace("\u2212", "-")
    plain = match[1] or match[2] if (match := _KEPT.fullmatch(plain)) else plain
    return "".join(str(unicodedata.decimal(sign, sign)) for sign in plain)
