"""Questions that are answered by ranking: all options in one cell (`B;A;C`), or a column per option
with its place. Each option becomes a question of its own, and together they are one ballot."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.runtime.numerals import number
from crowdllm_jax.study.draft.multiple import MOST_OPTIONS, STEM
from crowdllm_jax.study.draft.words import is_no_answer
from crowdllm_jax.study.formats.sheet import Field

_SIGNS = (";", "|", " > ", ">", ", ", ",")
FEWEST_OPTIONS = 3
FEWEST_PEOPLE = 8
MOSTLY = 0.9
"""The share of people who rank as asked; the others' rankings are left out."""


def ranking_in_cells(field: Field, reasons: list[str]) -> list[Field] | None:
    """The options of a question in whose cells all of them stand, in one order or another; None
    where cells hold no rankings.

    Who ticks options, leaves some out, and a program lists them in one order.
    """
    if field.labels or field.use not in (None, "question"):
        return None
    often = np.bincount(field.column.codes[field.column.codes >= 0])
    texts = [text for text in field.column.distinct if not is_no_answer(text)]
    for sign in _SIGNS:
        parts = {text: tuple(map(tidy_name, text.strip(sign).split(sign))) for text in texts}
        options = {part for own in parts.values() for part in own}
        if not FEWEST_OPTIONS <= len(options) <= MOST_OPTIONS or "" in options:
            continue
        whole = {text for text, own in parts.items() if sorted(own) == sorted(options)}
        count = {text: int(often[i]) for i, text in enumerate(field.column.distinct)}
        full = sum(count[text] for text in whole)
        if len(whole) < 2 or full < MOSTLY * sum(count[text] for text in texts):
            continue
        reasons += _told(field.name, len(options), sum(count[text] for text in texts) - full)
        return [
            _option(
                field,
                f"{field.name} [{option}]",
                f"{field.text or field.name}: {option}",
                [parts[t].index(option) if t in whole else -1 for t in field.column.distinct],
                len(options),
            )
            for option in sorted(options)
        ]
    return None


def _option(field: Field, name: str, text: str, places: list[int], options: int) -> Field:
    """One option as a question, answered by its place (from 0) among as many as there are."""
    codes = np.array([*places, -1], np.int32)[field.column.codes]
    cells = replace(field.cells, codes=codes, distinct=tuple(map(str, range(1, options + 1))))
    return Field(name, cells, text, use="question", grid=field.name, ranks=options)


def ranking_in_columns(fields: Sequence[Field], reasons: list[str]) -> list[Field]:
    """Fields, of which those that are called alike and hold each place (1, 2, 3) once for nearly
    everybody are made options of a ranking."""
    groups: dict[str, list[Field]] = defaultdict(list)
    for field in fields:
        parts = STEM.fullmatch(field.name)
        own = field.grid or (parts[1] if parts else "")
        if own and field.use in (None, "question") and _places(field):
            groups[own].append(field)
    made: dict[str, Field] = {}
    for stem, options in groups.items():
        if len(options) >= FEWEST_OPTIONS:
            made |= _ranked(stem, options, reasons)
    return [made.get(field.name, field) for field in fields]


def _places(field: Field) -> bool:
    """Whether a column holds whole numbers from 1 on."""
    known = [number(t) for t in field.column.distinct if not is_no_answer(t)]
    return bool(known) and all(
        n is not None and n.is_integer() and 1 <= n <= MOST_OPTIONS for n in known
    )


def _ranked(stem: str, options: list[Field], reasons: list[str]) -> dict[str, Field]:
    """Columns as options of one ranking; empty where they are none."""
    place = np.stack([_numbers(field) for field in options], axis=1)
    given = np.sort(place, axis=1)
    asked = given[:, -1] > 0
    if np.sum(asked) < FEWEST_PEOPLE:
        return {}
    # Who ranks the best k gives 1 to k, and nothing to the others.
    ranks = Counter(int(n) for n in np.sum(place[asked] > 0, axis=1))
    k = ranks.most_common(1)[0][0]
    wanted = np.concatenate([np.zeros(len(options) - k), np.arange(1, k + 1)])
    right = np.all(given == wanted, axis=1)
    orders = len(np.unique(place[right], axis=0))
    if k < FEWEST_OPTIONS or orders < 2 or np.sum(right) < MOSTLY * np.sum(asked):
        return {}
    reasons += _told(stem, k, int(np.sum(asked & ~right)))
    made = {}
    for column, field in enumerate(options):
        codes = np.where(right, place[:, column], 0).astype(np.int32) - 1
        cells = replace(field.cells, codes=codes, distinct=tuple(map(str, range(1, k + 1))))
        made[field.name] = Field(field.name, cells, field.text, use="question", grid=stem, ranks=k)
    return made


def _numbers(field: Field) -> np.ndarray:
    """The place in each row, 0 where there is none."""
    texts = field.column.distinct
    known = [0 if is_no_answer(text) else int(number(text) or 0) for text in texts]
    places: np.ndarray = np.array([*known, 0])[field.column.codes]
    return places


def _told(name: str, options: int, wrong: int) -> list[str]:
    left = f" Left out, as they are no such ranking: {wrong:,}." if wrong else ""
    return [
        f"{name} is answered by ranking: its options are questions on one ballot, answered by "
        f"their place, from 1 (the best) to {options}.{left}"
    ]
