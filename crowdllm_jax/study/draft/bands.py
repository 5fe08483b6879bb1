"""Bands of numbers in order: ages, incomes, how many times."""

import re
from collections.abc import Sequence

from crowdllm_jax.study.draft.units import mixed_units

_NONE = (
    "none",
    "never",
    "0",
    "keine",
    "nie",
    "aucun",
    "jamais",
    "ninguno",
    "nunca",
    "no income",
    "nobody",
    "no one",
    "niemand",
    "personne",
)
_NUMBER = re.compile(r"\d{1,3}(?:[.,]\d{3})+(?!\d)|\d+(?:[.,]\d+)?")
_BETWEEN = re.compile(
    r"\D{0,8}?(?:[-–—~～]|\bto\b|\bbis\b|\band\b|\bund\b|\ba\b|\bà\b)\D{0,13}", re.I
)
_UNDER = re.compile(
    r"(?i)\b(under|below|less|up to|unter|bis|moins|menos|younger|jünger)\b|<|≤|以下|未満|未满"
)
_OVER = re.compile(
    r"(?i)\b(over|above|more|older|über|mehr|älter|plus|más)\b|>|≥|(?<=\S)\+|^\W*\+|\+\W*$|以上"
)
_NAMED = re.compile(r"\b[^\W\d_]\d")
"""A letter and a number are a name: `B12`."""
_COUNT = re.compile(rf"[$€£]?\s*(?:{_NUMBER.pattern})\s*(?P<unit>\D*)")


def ordered_bands(levels: Sequence[str]) -> tuple[str, ...] | None:
    """Bands (`none`, `under 18`, `18-24`, `65+`) from the lowest, and numbers among them; None if
    texts are no such, or are in several units."""
    if mixed_units(levels) or not any(map(_reaches, levels)):
        return None
    plain = [_in_digits(level) for level in levels]
    begins = [_begin(level) if _counts(level, plain) else None for level in plain]
    known = [begin for begin in begins if begin is not None]
    if len(known) < len(levels) or len(set(known)) < len(known) or len(known) < 2:
        return None
    return tuple(level for _, level in sorted(zip(known, levels, strict=True)))


_COUNTS = ("once", "twice", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_SPOKEN = re.compile(rf"(?i)^({'|'.join(_COUNTS)})\b(?! of)")


def _in_digits(level: str) -> str:
    """A text that begins with a number in words (`Three or more times`, `Twice`), with digits."""
    match = _SPOKEN.match(level)
    if match is None:
        return level
    number = (1, 2, *range(1, 10))[_COUNTS.index(match[1].casefold())]
    return f"{number}{level[match.end() :]}"


JUST_ABOVE = 1e-6
_BEYOND = re.compile(r"(?i)^\W*(>(?!=)|(more|greater|over|above)\b)")
"""What is above a number, and so above the number itself, if this is an answer, too."""


def _begin(level: str) -> float | None:
    """The number that a band begins with; below 0 where it has no lower end."""
    if level.casefold().strip(" .()$€£") in _NONE:
        return -2.0
    numbers = [*_NUMBER.finditer(level)]
    if len(numbers) == 2 and _BETWEEN.fullmatch(level[numbers[0].end() : numbers[1].start()]):
        return _value(numbers[0][0])
    if len(numbers) != 1:
        return None
    below = _UNDER.search(level) and not _OVER.search(level)
    beyond = JUST_ABOVE if _BEYOND.search(level) else 0.0
    return -1.0 if below else _value(numbers[0][0]) + beyond


def _counts(level: str, levels: Sequence[str]) -> bool:
    """Whether a level has an end, or is a number with no unit but the others' (`2 times` beside `3
    or more times`), and so no name with a number in it (`Omega 3`)."""
    if _NAMED.search(level):
        return False
    if _reaches(level) or not re.search(r"\d", level):
        return True
    count = _COUNT.fullmatch(level)
    others = {part for other in levels if other != level for part in _parts(other)}
    return count is not None and _parts(count["unit"]) <= others


def _parts(text: str) -> set[str]:
    """How a text's words begin, so that one and several are alike: `Tag`, `Tage`."""
    words = re.findall(r"[^\W\d_]+", text.casefold().replace("people", "person"))
    return {word[:3] for word in words}


def _reaches(level: str) -> bool:
    """Whether a level has one end, or two."""
    return len(_NUMBER.findall(level)) == 2 or bool(_OVER.search(level) or _UNDER.search(level))


def _value(digits: str) -> float:
    """A number, in which points and commas before three digits set thousands apart."""
    return float(re.sub(r"[.,](?=\d{3}(?:\D|$))", "", digits).replace(",", "."))
