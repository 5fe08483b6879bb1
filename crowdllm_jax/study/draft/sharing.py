"""Questions in which people share a number of points among options, a column each: the columns add
up to the same sum for everybody. Together they are one ballot."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from crowdllm_jax.runtime.numerals import number
from crowdllm_jax.study.draft import names, own_names, profile_names
from crowdllm_jax.study.draft.draft import shown
from crowdllm_jax.study.draft.multiple import MOST_OPTIONS, STEM
from crowdllm_jax.study.draft.rankings import FEWEST_PEOPLE, MOSTLY
from crowdllm_jax.study.draft.word_lists import folded
from crowdllm_jax.study.draft.words import is_no_answer
from crowdllm_jax.study.formats.sheet import Field
from crowdllm_jax.study.scales import Continuous, Points

FEWEST_POINTS = 5
FEWEST_OPTIONS = 3
GLANCE = 100
MOST_POINTS = 20
"""Of a ballot, which is drawn point by point; people who share 100 think in fives and tens."""
_PLACES = {"rank", "ranks", "ranking", "rang", "place", "places", "platz", "order", "position"}


def sharing_in_columns(fields: Sequence[Field], reasons: list[str]) -> list[Field]:
    """Fields, of which those that are called alike, or stand side by side, and add up to one sum
    for nearly everybody are given one scale, without a column of the sums; `reasons` tells of
    them."""
    groups: dict[str, list[Field]] = defaultdict(list)
    for field in fields:
        parts = STEM.fullmatch(field.name)
        own = field.grid or (parts[1] if parts else "")
        if own and _may_be_shared(field):
            groups[own].append(field)
    made: dict[str, Field | None] = {}
    for stem, options in groups.items():
        made |= _shared(stem, options, reasons)
    tried = {f.name for own in groups.values() if len(own) >= FEWEST_OPTIONS for f in own}
    for options in _side_by_side([None if f.name in tried else f for f in fields]):
        made |= _shared(shown((f.name for f in options), MOST_OPTIONS), options, reasons)
    new = (made.get(field.name, field) for field in fields)
    return [field for field in new if field is not None]


def _may_be_shared(field: Field) -> bool:
    given = field.use in (None, "question") and field.scale is None and not field.labels
    return given and _numbers(field) is not None


def _side_by_side(fields: Sequence[Field | None]) -> list[list[Field]]:
    """Three and more columns in a row, however they are called, that add up to one sum for nearly
    everybody while no two of them do."""
    columns = [_numbers(f) if f is not None and _unnamed(f) else None for f in fields]
    found = []
    start = 0
    while start < len(fields):
        end = _end_of_one_sum(columns[start : start + MOST_OPTIONS])
        if end >= FEWEST_OPTIONS:
            found.append([f for f in fields[start : start + end] if f is not None])
        start += max(end, 1)
    return found


def _unnamed(field: Field) -> bool:
    """Whether a column may hold points though its name tells of none: it is no age, id or time."""
    own = profile_names.is_profile(field.name, field.text) or own_names.is_own(field.name)
    return not own and not names.is_person(field.name) and _may_be_shared(field)


def _end_of_one_sum(columns: Sequence[np.ndarray | None]) -> int:
    """How many columns from the first on add up to one sum first; 0 where they never do."""
    run: list[np.ndarray] = []
    for column in columns:
        if column is None:
            break
        run.append(column)
    if len(run) < 2:
        return 0
    # What varies among the first rows need not be looked at in all.
    first = np.nan_to_num(np.stack([column[:GLANCE] for column in run], axis=1)).cumsum(axis=1)
    usual = np.median(first, axis=0)
    steady = np.mean(np.isclose(first, usual) | (first == 0), axis=0) >= MOSTLY / 2
    for place in np.flatnonzero(steady[1:]) + 1:
        if _alike(np.nansum(np.stack(run[: place + 1]), axis=0)):
            return int(place) + 1
    return 0


def _alike(sums: np.ndarray) -> bool:
    asked = sums[sums > 0]
    return len(asked) > 0 and float(np.mean(np.isclose(asked, np.median(asked)))) >= MOSTLY


def _numbers(field: Field) -> np.ndarray | None:
    """The points in each row, nan where there are none; None where it holds something else."""
    texts = field.column.distinct
    known = [np.nan if is_no_answer(text) else number(text) for text in texts]
    if any(n is None or n < 0 for n in known) or len({*known}) < 2:
        return None
    points: np.ndarray = np.array([*known, np.nan], float)[field.column.codes]
    return points


def _shared(stem: str, options: list[Field], reasons: list[str]) -> dict[str, Field | None]:
    """Columns as options with a scale, None for that of their sums; empty if they share nothing."""
    columns = [_numbers(field) for field in options]
    points = np.stack([column for column in columns if column is not None], axis=1)
    asked = np.any(points > 0, axis=1)
    if np.sum(asked) < FEWEST_PEOPLE or len(options) < FEWEST_OPTIONS:
        return {}
    sums = np.round(np.nansum(points, axis=1), 6)
    half = np.round(2 * points, 6) == sums[:, None]
    whole = [i for i in range(len(options)) if np.mean(half[asked, i]) >= MOSTLY]
    if whole:
        others = [field for i, field in enumerate(options) if i != whole[0]]
        found = _shared(stem, others, reasons)
        return {**found, options[whole[0]].name: None} if found else {}
    budget, often = Counter(sums[asked].tolist()).most_common(1)[0]
    right = asked & (sums == budget)
    alike = len(np.unique(np.nan_to_num(points[right]), axis=0)) < FEWEST_OPTIONS
    if often < MOSTLY * np.sum(asked) or budget < FEWEST_POINTS or alike:
        return {}
    if _placed(stem, np.nan_to_num(points[right])):
        return {}
    wrong = int(np.sum(asked & ~right))
    left = f" Left out, as theirs do not add up: {wrong:,}." if wrong else ""
    given = np.where(right[:, None], np.nan_to_num(points), np.nan)
    scale: Points | Continuous = Continuous(low=0.0, high=budget)
    how = "each is a number of its own, though more of one is less of the others"
    if budget <= MOST_POINTS and not np.any(given[right] % 1):
        scale, how = Points(budget=int(budget)), "together they are one ballot of points"
    reasons.append(f"In {stem}, people share {budget:g} among {len(options)} options: {how}.{left}")
    return {field.name: _option(field, stem, given[:, i], scale) for i, field in enumerate(options)}


def _placed(stem: str, points: np.ndarray) -> bool:
    """Whether (R, K) numbers of one sum are no shares: the same ones for nearly everybody, put
    otherwise (ticks, ranks from 0, a Q-sort), or ranks that may be tied."""
    words = folded(stem).split()
    if len(words) <= 2 and not _PLACES.isdisjoint(words):
        return True
    _, often = np.unique(np.sort(points, axis=1), axis=0, return_counts=True)
    k = points.shape[1]
    first = min(int(np.min(points)), 1)
    ranks = np.arange(first, first + k)
    tied = np.sum(points[0]) == np.sum(ranks) and np.max(points) <= ranks[-1]
    return bool(tied or np.max(often) >= MOSTLY * len(points))


def _option(field: Field, stem: str, given: np.ndarray, scale: Points | Continuous) -> Field:
    """One option as a question, answered by (R,) its points, nan where there are none."""
    levels = np.unique(given[given >= 0])
    codes = np.where(given >= 0, np.searchsorted(levels, given), -1).astype(np.int32)
    cells = replace(field.cells, codes=codes, distinct=tuple(f"{n:.15g}" for n in levels))
    return Field(field.name, cells, field.text, use="question", grid=stem, scale=scale)
