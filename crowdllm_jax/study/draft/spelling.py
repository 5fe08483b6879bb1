"""Spellings of one answer in capitals and small letters, with a full stop or without: `Agree`,
`agree`, `AGREE`, `Agree.`."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from difflib import SequenceMatcher

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.draft import names
from crowdllm_jax.study.draft.draft import Choices, as_flag, shown
from crowdllm_jax.study.draft.words import in_order, is_no_answer
from crowdllm_jax.study.formats.sheet import Field, Sheet

MOST_ANSWERS = 40
"""Of a column with more of them the texts are no answers to choose from, but ids or free words."""


def one_spelling(sheet: Sheet, choices: Choices) -> Sheet:
    """A sheet in whose columns of answers (and profiles) each text has one spelling, the most
    frequent of all columns; a note says which became which. Ids, and codes with labels, stay as
    they are."""
    ids = (choices.person, choices.task)
    uses = ("person", "task", "group", "text", "out")
    spelled = [
        field.name
        for field in sheet.fields
        if not (field.labels or field.use in uses or field.name in ids)
        and not (names.is_person(field.name) or names.is_task(field.name))
        and len({*map(_alike, field.column.distinct)}) <= MOST_ANSWERS
    ]
    best = _best(field for field in sheet.fields if field.name in spelled)
    notes = []
    fields = []
    for field in sheet.fields:
        merged, told = _merged(field, best) if field.name in spelled else (field, [])
        fields.append(merged)
        if told:
            notes.append(f"Spellings made one in column {field.name}: {shown(told, 6)}.")
    return replace(sheet, fields=tuple(fields), notes=(*sheet.notes, *notes))


RARE = 4
ALIKE = 0.85
"""How many letters of two words are the same, of all (see `difflib`)."""


def refuse_misspelt(name: str, often: Mapping[str, int]) -> None:
    """Raise CrowdError if answers have an order but for a few that are spelt nearly as others, and
    are given far less often.

    Args:
      often: how often each answer is given.
    """
    told = {text: n for text, n in often.items() if not is_no_answer(text)}
    if len(told) > MOST_ANSWERS:
        return
    meant = {}
    for text, n in told.items():
        near = [t for t, m in told.items() if RARE * n <= m and _nearly(t, text)]
        if near:
            meant[text] = max(near, key=told.__getitem__)
    kept = [text for text in told if text not in meant]
    if not meant or len(kept) < 2 or in_order(kept) is None:
        return
    listed = "; ".join(f"'{text}' for '{other}'" for text, other in meant.items())
    raise CrowdError(
        f"'{name}': some answers seem to be misspelt ({listed}); correct them in the file, or, if "
        f"they are no answers, say --missing {as_flag(meant)}"
    )


def _nearly(one: str, other: str) -> bool:
    return SequenceMatcher(None, one.casefold(), other.casefold()).ratio() >= ALIKE


def _merged(field: Field, best: Mapping[str, str]) -> tuple[Field, list[str]]:
    """A column with one spelling per text, and which spellings became which."""
    column = field.column
    kept = [best.get(_alike(text), text) for text in column.distinct]
    if kept == [*column.distinct]:
        return field, []
    index: dict[str, int] = {}
    place = np.array([*(index.setdefault(t, len(index)) for t in kept), -1], np.int32)
    told = [f"{old} as {new}" for old, new in zip(column.distinct, kept, strict=True) if old != new]
    cells = replace(column, codes=place[column.codes], distinct=tuple(index))
    return replace(field, cells=cells), told


_QUOTE = "[\"'“”„‘’«»]"
_STOP = re.compile(
    rf"(?:{_QUOTE}(?P<quoted>.*[^\W\d]){_QUOTE}|(?P<bare>.*[^\W\d]))[.,;:]?", re.DOTALL
)
"""Words, perhaps in quotes, with a sign behind them that ends no answer but a sentence."""


def _alike(text: str) -> str:
    """What spellings of one text have in common."""
    plain = " ".join(text.casefold().split())
    match = _STOP.fullmatch(plain)
    return plain if match is None else match["quoted"] or match["bare"]


def _best(fields: Iterable[Field]) -> dict[str, str]:
    """The most frequent spelling of each text; of those that are equally frequent the first."""
    often: Counter[str] = Counter()
    for field in fields:
        codes = field.column.codes[field.column.codes >= 0]
        counts = np.bincount(codes, minlength=len(field.column.distinct))
        for text, count in zip(field.column.distinct, counts, strict=True):
            often[text] += int(count)
    best: dict[str, str] = {}
    for text, count in often.items():
        known = best.setdefault(_alike(text), text)
        if count > often[known]:
            best[_alike(text)] = text
    return best
