"""Questions with several answers, in one cell (`a;b;c`) or in a column per option that people tick:
each option becomes a question of its own."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.study.draft.words import in_order, is_no_answer
from crowdllm_jax.study.formats.sheet import Field

MOST_OPTIONS = 30
_SIGNS = (";", "|", ", ", ",")


CHOSEN = (("0", "not chosen"), ("1", "chosen"))
"""How an option is answered that people may choose beside others."""


def options_of(field: Field) -> tuple[str, list[str]] | None:
    """The sign between options, and the options; None where cells hold one answer each."""
    texts = [text for text in field.column.distinct if not is_no_answer(text)]
    if field.several:
        parts = _held(field, texts, field.several)
        options = sorted({part for own in parts for part in own})
        return (field.several, options) if 2 <= len(options) <= MOST_OPTIONS else None
    if field.labels or len(texts) < 3 or in_order(texts) is not None:
        return None
    for sign in _SIGNS:
        parts = _held(field, texts, sign)
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


def _held(field: Field, texts: Sequence[str], sign: str) -> list[list[str]]:
    """The options that each text holds."""
    parts = [_parts(text, sign) for text in texts]
    if not field.several:
        return _whole(parts, sign)
    offered = {code for code, _ in field.labels}
    return [_offered(own, offered, sign) for own in parts]


def _offered(parts: list[str], offered: set[str], sign: str) -> list[str]:
    """Parts put together where together they are an option that is known to be offered."""
    found = []
    while parts:
        together = [n for n in range(len(parts), 1, -1) if _joined(parts[:n], sign) in offered]
        many = together[0] if together else 1
        found.append(_joined(parts[:many], sign))
        parts = parts[many:]
    return found


def _joined(parts: list[str], sign: str) -> str:
    return tidy_name(f"{sign} ".join(parts))


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
    held = [set(own) for own in _held(field, field.column.distinct, sign)]
    silent = [is_no_answer(text) for text in field.column.distinct]
    fields = []
    label_of = dict(field.labels)
    for option in options:
        of_text = [-1 if s else int(option in own) for own, s in zip(held, silent, strict=True)]
        codes = np.array([*of_text, -1], np.int32)[field.column.codes]
        name = f"{field.name} [{label_of.get(option, option)}]"
        cells = replace(field.cells, codes=codes, distinct=("0", "1"))
        text = f"{field.text or field.name}: {label_of.get(option, option)}"
        fields.append(Field(name, cells, text, CHOSEN, use="question", grid=field.name))
    return fields


_STEM = re.compile(r"(.+?)(?:\s*\[[^\]]*\]|[_.\s-]*\d+|(?:\s*[:/]\s*| - )\D.*)")
"""The name of a question before that of its option: `Q7_1`, `Own [Car]`, `Own: Car`."""


def ticked(fields: Sequence[Field]) -> list[Field]:
    """Columns in which people ticked options, made questions of whether each was chosen.

    Such columns are called alike (or side by side as their one text), and hold nothing, or one
    text each. Who ticked none of them is not known to have been asked.
    """
    groups: dict[str, list[Field]] = defaultdict(list)
    stem = ""
    for field in fields:
        parts = _STEM.fullmatch(field.name)
        if not _box(field):
            stem = ""
            continue
        if field.column.distinct == (field.name,):
            stem = stem or f"{field.name}, or others"
        else:
            stem = field.grid or (parts[1] if parts else "")
        if stem:
            groups[stem].append(field)
    chosen: dict[str, Field] = {}
    for stem, boxes in groups.items():
        if len(boxes) < 2:
            continue
        asked = np.any([box.column.codes >= 0 for box in boxes], axis=0)
        for box in boxes:
            codes = np.where(asked, box.column.codes >= 0, -1).astype(np.int32)
            cells = replace(box.cells, codes=codes, distinct=("0", "1"))
            option = dict(box.labels).get(box.column.distinct[0], box.column.distinct[0])
            text = box.text or (box.name if option.casefold() in _TICKS else f"{stem}: {option}")
            chosen[box.name] = Field(box.name, cells, text, CHOSEN, use="question", grid=stem)
    return [chosen.get(field.name, field) for field in fields]


_TICKS = {"1", "x", "y", "yes", "ja", "oui", "sí", "si", "sim", "tak", "true", "checked", "✓", "✔"}


def _box(field: Field) -> bool:
    """Whether a column is empty where people did not tick it, and says one thing where they did."""
    texts = field.column.distinct
    blank = bool(np.any(field.column.codes < 0))
    one = len(texts) == 1 and not is_no_answer(texts[0]) and texts[0] not in field.missing
    return blank and one and field.use in (None, "question")
