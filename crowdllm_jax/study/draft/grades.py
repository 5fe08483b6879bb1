"""Answers that rise without a word of it: letter grades (A+, A, B-, ... F) and Roman numerals."""

import re
from collections.abc import Sequence

from crowdllm_jax.study.draft.word_lists import folded

FEWEST = 3
_GRADE = re.compile(r"([A-F])(\++|[-−–]+)?")
_ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII")
_CALLED = re.compile(
    r"(\S+ )?(grades?|noten|schulnoten?|zensur(en)?|notas?|cijfers?|voti|betyg|karakter|oceny?|"
    r"arvosana|znamka)( \S+)?|marks?|(\S+ )?(evaluation|beurteilung)"
)
"""Names of grades, of two words at most: questions are longer (`Note the right answer`)."""


def in_grades(name: str, texts: Sequence[str]) -> tuple[tuple[str, ...], str] | None:
    """Answers to a question `name` from the lowest to the highest, and a sentence's end on what is
    taken for granted; None where letters may be choices, blood groups or classes."""
    if len(texts) < FEWEST:
        return None
    if "?" not in name and {*texts} == {*_ROMAN[: len(texts)]}:
        why = "Roman numerals, taken to rise; --order says otherwise"
        return _ROMAN[: len(texts)], why
    found = [match for match in map(_GRADE.fullmatch, texts) if match is not None]
    if len(found) < len(texts) or not _are_grades(name, found):
        return None
    order = sorted(found, key=lambda match: (-ord(match[1]), _degree(match[2] or "")))
    why = "grades, of which A is taken for the best; --order says otherwise"
    return tuple(match[0] for match in order), why


_NUMBERED = re.compile(r"(q|question|item|frage|aufgabe|pregunta|mcq|problem|exercise) ?\d+ ?\w?")


def of_a_test(name: str, texts: Sequence[str]) -> bool:
    """Whether answers are the letters before what may be chosen, to a numbered question."""
    letters = all(re.fullmatch("[A-H]|[a-h]", text) for text in texts)
    return letters and _NUMBERED.fullmatch(folded(name)) is not None


def _are_grades(name: str, found: Sequence[re.Match[str]]) -> bool:
    """Whether letters are grades: by the name, by pluses and minuses beside three of them (blood
    groups have two), or by an F below D, where choices would have an E."""
    letters = {match[1] for match in found}
    signs = any(match[2] for match in found)
    called = _CALLED.fullmatch(folded(name)) is not None
    return called or (signs and len(letters) >= FEWEST) or letters == set("ABCDF")


def _degree(signs: str) -> int:
    return len(signs) if signs.startswith("+") else -len(signs)
