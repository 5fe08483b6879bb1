"""Cells that hold several answers (`a;b;c`): each option becomes a question of its own."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np

from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.study.draft.words import in_order, is_no_answer
from crowdllm_jax.study.formats.sheet import Field
from crowdllm_jax.study.formats.surveymonkey import CHOSEN

MOST_OPTIONS = 30
_SIGNS = (";", "|", ", ", ",")


def options_of(field: Field) -> tuple[str, list[str]] | None:
    """The sign between options, and the options; None where cells hold one answer each."""
    texts = [text for text in field.column.distinct if not is_no_answer(text)]
    if field.labels or len(texts) < 3 or in_order(texts) is not None:
        return None
    for sign in _SIGNS:
        parts = _whole([_parts(text, sign) for text in texts], sign)
        several = sum(len(own) > 1 for own in parts)
        often = Counter(part for own in parts for part in own)
        alone = {own[0] for own in parts if len(own) == 1}
        shared = sum(often[part] > 1 for part in often)
        numbers = all(part.replace(".", "").isdigit() for part in often)
        if (
            several >= 2
            and 2 <= len(often) <= MOST_OPTIONS
            and 2 * shared >= len(often)
            and (
                len(often) < len(texts) or bool(alone & {p for o in parts if len(o) > 1 for p in o})
            )
            and not (numbers and sign == ",")
            and max(map(len, often)) <= 80
        ):
            return sign, sorted(often)
    return None


def _parts(text: str, sign: str) -> list[str]:
    return list(dict.fromkeys(part for part in map(tidy_name, text.split(sign)) if part))


def _whole(parts: list[list[str]], sign: str) -> list[list[str]]:
    """Options that hold the sign themselves (`Car, shared`) put together again: two parts of which
    each never stands without the other beside it."""
    while True:
        often = Counter(part for own in parts for part in own)
        beside = Counter(pair for own in parts for pair in pairwise(own))
        apart = next((p for p, n in beside.items() if n == often[p[0]] == often[p[1]] > 1), None)
        if apart is None:
            return parts
        parts = [_put_together(own, apart, sign) for own in parts]


def _put_together(own: list[str], pair: tuple[str, str], sign: str) -> list[str]:
    if pair[0] not in own:
        return own
    place = own.index(pair[0])
    return [*own[:place], f"{pair[0]}{sign}{pair[1]}", *own[place + 2 :]]


def split(field: Field, sign: str, options: list[str]) -> list[Field]:
    """One question per option: whether it was chosen, of those who chose any."""
    parts = [_parts(text, sign) for text in field.column.distinct]
    held = [set(own) for own in _whole(parts, sign)]
    silent = [is_no_answer(text) for text in field.column.distinct]
    fields = []
    for option in options:
        of_text = [-1 if s else int(option in own) for own, s in zip(held, silent, strict=True)]
        codes = np.array([*of_text, -1], np.int32)[field.column.codes]
        name = f"{field.name} [{option}]"
        cells = replace(field.cells, codes=codes, distinct=("0", "1"))
        text = f"{field.text or field.name}: {option}"
        fields.append(Field(name, cells, text, CHOSEN, use="question", grid=field.name))
    return fields
