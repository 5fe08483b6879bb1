"""Columns that are worked out of others: a sum of items, a mean, a group of a score, a label of a
code. Nobody was asked them.

A column is left out only where its numbers say so, row by row, and, if it follows from one other
column, its name does, too: somebody's only car may tell whether there is one, and both were asked.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from crowdllm_jax.runtime.numerals import number
from crowdllm_jax.study.draft import names
from crowdllm_jax.study.draft.draft import shown
from crowdllm_jax.study.draft.word_lists import folded
from crowdllm_jax.study.draft.words import in_order, is_no_answer
from crowdllm_jax.study.formats.sheet import Field, runs_of

FEWEST_ROWS = 20
"""Rows beyond those that chance could make fit."""
FEWEST_SUMS, FEWEST_STEPS = 4, 10
MOST_LEVELS, MOST_ITEMS, MOST_ROWS = 21, 100, 5_000
NEAR_GROUPS = 3


def without_derived(
    fields: Sequence[Field], said: Sequence[str], reasons: list[str]
) -> list[Field]:
    """Questions without those that follow from others, unless they are `said` to be questions;
    `reasons` tells of them. Labels in a column of their own become those of their codes."""
    may = [f for f in fields if f.name not in said and not (f.use or f.grid or f.scale)]
    sums = _lines(fields, {f.name for f in may})
    sums |= _sums([f for f in fields if f.name not in sums], {f.name for f in may})
    follows: dict[str, Field] = {}
    alike: dict[frozenset[str], list[Field]] = defaultdict(list)
    for field in fields:
        alike[_words(field.name) - _MORE].append(field)
    for field in sorted(may, key=lambda f: _numbers(f) is not None):
        source = _source(field, alike)
        if field.name not in sums and source is not None and source.name not in follows:
            follows[field.name] = source
    if sums:
        told = [f"{name} ({shown(items, 4)})" for name, items in sums.items()]
        reasons.append(
            f"Left out, since they are worked out of others (--questions keeps them): "
            f"{shown(told, 10)}."
        )
    if follows:
        told = [f"{name} ({source.name})" for name, source in follows.items()]
        reasons.append(
            f"Left out, since each follows from one other (--questions keeps them): "
            f"{shown(told, 10)}."
        )
    labels = {source.name: _labels(source, f) for f in may if (source := follows.get(f.name))}
    kept = [f for f in fields if f.name not in sums and f.name not in follows]
    return [replace(f, labels=labels[f.name]) if labels.get(f.name) else f for f in kept]


def _numbers(field: Field) -> np.ndarray | None:
    """The number in each row, nan where there is none; None where a text is no number."""
    texts = field.column.distinct
    known = [np.nan if is_no_answer(text) else number(text) for text in texts]
    if None in known or np.isnan(np.array(known, float)).all():
        return None
    plain: np.ndarray = np.array([*known, np.nan], float)[field.column.codes]
    return plain


@dataclass(frozen=True)
class _Numbers:
    """The numbers of a column: (R,), how many differ, the largest, whether all are whole, and
    whether they are places of words in their order."""

    cells: np.ndarray
    differ: int
    largest: float
    whole: bool
    worded: bool


def _numbers_of(fields: Sequence[Field]) -> dict[str, _Numbers]:
    plain = [f for f in fields if not (f.labels or f.grid or f.scale)]
    known = {f.name: cells for f in plain if (cells := _numbers(f)) is not None}
    words = _places([f for f in plain if f.name not in known])
    found = {}
    for name in (f.name for f in plain if f.name in known or f.name in words):
        cells = words[name] if name in words else known[name]
        own = np.unique(cells[~np.isnan(cells)])
        whole = bool(np.all(own == np.round(own)))
        found[name] = _Numbers(cells, len(own), float(own[-1]), whole, name in words)
    return found


def _places(fields: Sequence[Field]) -> dict[str, np.ndarray]:
    """The place in its order (R,) of each row's word, of columns whose words have one: that of all
    columns that say such words, of which one may lack a few."""
    texts = {
        f.name: frozenset(text for text in f.column.distinct if not is_no_answer(text))
        for f in fields
    }
    scales: list[frozenset[str]] = []
    for own in sorted({own for own in texts.values() if 1 < len(own) <= MOST_LEVELS}, key=len):
        alike = [scale for scale in scales if scale & own]
        scales = [scale for scale in scales if not scale & own] + [own.union(*alike)]
    orders = [order for scale in scales if (order := in_order(sorted(scale))) is not None]
    place = {text: float(i + 1) for order in orders for i, text in enumerate(order)}
    found = {}
    for field in fields:
        if texts[field.name] and texts[field.name] <= place.keys():
            of_text = [place.get(text, np.nan) for text in field.column.distinct]
            found[field.name] = np.array([*of_text, np.nan])[field.column.codes]
    return found


def _sums(fields: Sequence[Field], may: set[str]) -> dict[str, list[str]]:
    """Columns that are sums, means or the like of others, and of which."""
    columns = _numbers_of(fields)
    groups = _called_alike(columns)
    found: dict[str, list[str]] = {}
    for run in runs_of(fields, columns):
        for place, name in enumerate(run):
            called = [own for stem, own in groups.items() if name.casefold().startswith(stem)]
            before = run[max(place - MOST_ITEMS, 0) : place]
            seen = {*before}
            near = [own for own in groups.values() if own[-1] in seen]
            around = run[max(place - MOST_ITEMS // 2, 0) : place + MOST_ITEMS // 2]
            for items in (*called, *near[-NEAR_GROUPS:], before, around):
                others = [item for item in items if item != name and item not in found]
                if name in may and (own := _summed(columns, name, others)):
                    found[name] = own
                    break
    return found


MOST_MEASURED, FEWEST_MEASURED, MOST_DECIMALS = 60, 10, 4
NEAR = 0.05


def _lines(fields: Sequence[Field], may: set[str]) -> dict[str, list[str]]:
    """Columns that say in every row what one other says, in another unit or from another zero (a
    z-score, inches beside centimetres): that of more decimals, or else the later one."""
    columns = _numbers_of(fields)
    measured = [n for n, own in columns.items() if own.differ >= FEWEST_MEASURED and not own.worded]
    decimals = {name: _decimals(columns[name].cells) for name in measured[:MOST_MEASURED]}
    found: dict[str, list[str]] = {}
    for source, derived in combinations(sorted(decimals, key=lambda n: decimals[n]), 2):
        if derived not in may or {source, derived} & found.keys():
            continue
        off = [0.6 * 10.0 ** -decimals[name] for name in (derived, source)]
        if _on_a_line(columns[derived].cells, columns[source].cells, *off):
            found[derived] = [source]
    return found


def _decimals(cells: np.ndarray) -> int:
    """How many decimals numbers have at most."""
    known = cells[~np.isnan(cells)]
    exact = (p for p in range(MOST_DECIMALS) if np.allclose(np.round(known, p), known, 0, 1e-9))
    return next(exact, MOST_DECIMALS)


def _on_a_line(own: np.ndarray, source: np.ndarray, off: float, source_off: float) -> bool:
    """Whether numbers rise in every row exactly as others do, but for how both are rounded."""
    both = ~np.isnan(own) & ~np.isnan(source)
    if np.sum(both) < 2 * FEWEST_ROWS:
        return False
    own, source = own[both][:MOST_ROWS], source[both][:MOST_ROWS]
    if len(np.unique(source)) < 2:
        return False
    slope, start = np.polyfit(source, own, 1)
    near = off + slope * source_off
    fits = np.max(np.abs(slope * source + start - own)) <= near
    return bool(fits and slope > 0 and near <= NEAR * np.ptp(own))


def _called_alike(columns: Mapping[str, _Numbers]) -> dict[str, list[str]]:
    """Columns of a few whole numbers by what stands before their own number."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, own in columns.items():
        stem = re.match(r"(.*?[^\W\d])[\W_]*\d+[a-zA-Z]?$", name)
        if stem and own.differ <= MOST_LEVELS:
            groups[stem[1].strip(" _.-").casefold()].append(name)
    return {stem: own[:MOST_ITEMS] for stem, own in groups.items() if len(own) > 1}


def _summed(columns: Mapping[str, _Numbers], name: str, items: Sequence[str]) -> list[str]:
    """Those of some items of which a column is the sum, mean or another line; none if it is none.

    What is left of a sum (`100 - a - b`) is somebody's answer as much as the others.
    """
    own, others = columns[name], [columns[item] for item in items]
    if len(items) < 2 or own.differ < FEWEST_SUMS or own.worded:
        return []
    between = not own.whole and all(other.whole for other in others)
    if not between and own.largest <= max(other.largest for other in others):
        return []  # an answer as others, or one of the items
    cells = np.stack([own.cells, *(other.cells for other in others)], axis=1)
    cells = cells[~np.isnan(cells).any(axis=1)][:MOST_ROWS]
    if len(cells) < len(items) + FEWEST_ROWS:
        return []
    rounded = _rounding(cells[:, 0])
    if np.ptp(cells[:, 0]) < FEWEST_STEPS * rounded:
        return []
    # A few rows tell of most columns that they are no sum.
    for rows in (2 * len(items) + FEWEST_ROWS, len(cells)):
        line = np.column_stack([cells[:rows, 1:], np.ones(len(cells[:rows]))])
        weights, *_ = np.linalg.lstsq(line, cells[:rows, 0], rcond=None)
        if np.max(np.abs(line @ weights - cells[:rows, 0])) > rounded:
            return []
    weights = weights[:-1]
    used = np.abs(weights) > NOTHING * np.max(np.abs(weights))
    if np.sum(used) < 2 or np.all(weights[used] < 0) or _sums_item(own, others, used, cells):
        return []
    return [item for item, u in zip(items, used, strict=True) if u]


def _sums_item(
    own: _Numbers, others: Sequence[_Numbers], used: np.ndarray, cells: np.ndarray
) -> bool:
    """Whether one of the columns that seem to make up another is what was worked out: alone of
    them it has decimals, or numbers below zero."""
    broken = own.whole and not all(o.whole for o, u in zip(others, used, strict=True) if u)
    return broken or bool(cells[:, 0].min() >= 0 > cells[:, 1:][:, used].min())


NOTHING = 0.05
"""Of the largest weight in a sum; rounded sums leave as much to what is not in them."""


def _rounding(sums: np.ndarray) -> float:
    """By how much numbers may be off, as they are rounded to the decimals that they have."""
    for places in range(4):
        if np.allclose(np.round(sums, places), sums, rtol=0, atol=1e-9):
            return float(10.0**-places) if places else 1e-6
    return 1e-4


_MORE = {
    *("category", "categories", "group", "groups", "grp", "classification", "level"),
    *("severity", "grade", "segment", "bin", "binned", "bucket", "tier", "quartile", "quintile"),
    *("tertile", "tercile", "decile", "label", "labels", "code", "coded", "text", "num"),
    *("interpretation", "recode", "recoded", "dichotomized", "r", "rev", "reversed", "rc", "z"),
    *("zscore",),
    *("std", "standardized", "centered", "score", "numeric", "kategorie", "gruppe"),
    *("stufe", "groupe", "grupo", "points", "total", "sum", "mean", "avg"),
}
"""What the name of a column says beside that of the one it follows from."""


def _source(field: Field, alike: Mapping[frozenset[str], Sequence[Field]]) -> Field | None:
    """The one other question that a question is called after and follows from, if there is one.

    Args:
      alike: questions by the words that name what they are about.
    """
    words = _words(field.name)
    for other in alike[words - _MORE]:
        own = _words(other.name)
        called = words & own and words - own
        if called and not other.grid and _follows(field, other):
            return other
    return None


def _words(name: str) -> frozenset[str]:
    name = re.sub(r"(?<=\d)(r|R|rev|rc)$", r"_\1", name)  # q7r is q7, turned
    parts = names.tokens(name)
    return parts - {folded(name)} or parts


def _follows(field: Field, other: Field) -> bool:
    """Whether each text of another column stands beside one text, too often for chance, and groups
    of numbers are pieces of them."""
    known = (field.column.codes >= 0) & (other.column.codes >= 0)
    own, theirs = field.column.codes[known], other.column.codes[known]
    pairs = np.unique(np.stack([theirs, own]), axis=1)[0]
    given = np.unique(own, return_counts=True)[1]
    if len(pairs) != len(np.unique(theirs)) or len(pairs) < 2 or np.sum(given > 2) < 2:
        return False
    if len(pairs) == 2 and (
        set(field.column.distinct) & set(other.column.distinct)
        or len(own) < 2 * FEWEST_ROWS
        or given.min() < FEWEST_STEPS
    ):
        return False  # two questions of yes and no may be answered alike
    numbers = _numbers(other)
    if numbers is None:
        return len(own) - len(pairs) >= FEWEST_ROWS
    rising = own[np.argsort(numbers[known], kind="stable")]
    return len(own) >= FEWEST_ROWS and int(np.sum(np.diff(rising) != 0)) == len(given) - 1


def _labels(code: Field, label: Field) -> tuple[tuple[str, str], ...]:
    """The labels of codes that stand in a column of their own; none where one has several, or they
    are numbers, too."""
    texts = label.column.distinct
    plain = _numbers(code) is not None and not any(number(text) is not None for text in texts)
    known = (code.column.codes >= 0) & (label.column.codes >= 0)
    pairs = np.unique(np.stack([code.column.codes[known], label.column.codes[known]]), axis=1)
    one = all(len(np.unique(side)) == len(side) for side in pairs)
    if code.labels or not plain or not one:
        return ()
    named = [(code.column.distinct[own], texts[theirs]) for own, theirs in pairs.T]
    return tuple(sorted(named, key=lambda pair: number(pair[0]) or 0.0))
