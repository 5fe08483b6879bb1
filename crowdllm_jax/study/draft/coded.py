"""Codes that do not stand in the order of their labels, as where a program has numbered answers by
the alphabet: 1 Always, 2 Never, 3 Often."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from crowdllm_jax.runtime.numerals import number
from crowdllm_jax.study.draft.draft import Choices, shown
from crowdllm_jax.study.draft.word_lists import folded
from crowdllm_jax.study.draft.words import in_order, is_no_answer
from crowdllm_jax.study.formats.sheet import Field, Sheet


def with_labels_in_order(sheet: Sheet, choices: Choices) -> Sheet:
    """A sheet in which answers are labels in their own order where the codes have another one, or
    the user says which order labels have; a note says so."""
    told: dict[tuple[str, ...], list[str]] = defaultdict(list)
    fields = []
    for field in sheet.fields:
        order = _order(field, choices)
        if order is not None:
            told[order].append(field.name)
        fields.append(field if order is None else _by_labels(field, order))
    notes = [
        f"Answers are read as their labels, which are not in the order of the codes ({shown(order)}"
        f"): {shown(names, 8)}."
        for order, names in told.items()
    ]
    return replace(sheet, fields=tuple(fields), notes=(*sheet.notes, *notes))


def _order(field: Field, choices: Choices) -> tuple[str, ...] | None:
    """Labels of answers from the lowest to the highest, where the codes do not say the same."""
    gone = {*field.missing, *choices.missing}
    named = {c: label for c, label in field.labels if c not in gone and not is_no_answer(label)}
    codes = {code: value for code in named if (value := number(code)) is not None}
    labels = tuple(named.values())
    known = {code for code, _ in field.labels} | gone
    if (
        len(codes) < len(named)
        or len({*labels}) < len(labels)
        or not known.issuperset(field.column.distinct)
    ):
        return None
    if (said := _said(labels, choices.orders)) is not None:
        return said
    if len(labels) < 3 or _said(labels, choices.unordered) is not None:
        return None
    by_code = tuple(named[code] for code in sorted(codes, key=codes.__getitem__))
    words = in_order(labels)
    # From the highest to the lowest, codes are in order, too.
    return None if words in (None, by_code, by_code[::-1]) else words


def _said(labels: Sequence[str], orders: Sequence[Sequence[str]]) -> tuple[str, ...] | None:
    """Labels as they stand in the first order that names all of them."""
    for order in orders:
        place = {folded(text): at for at, text in enumerate(order)}
        if labels and all(folded(label) in place for label in labels):
            return tuple(sorted(labels, key=lambda label: place[folded(label)]))
    return None


def _by_labels(field: Field, order: tuple[str, ...]) -> Field:
    """A column whose cells are labels, of which it is known that they are in an order."""
    label_of = dict(field.labels)
    column = field.column
    texts = [label_of.get(code, code) for code in column.distinct]
    index: dict[str, int] = {}
    place = np.array([*(index.setdefault(t, len(index)) for t in texts), -1], np.int32)
    cells = replace(column, codes=place[column.codes], distinct=tuple(index))
    missing = frozenset(label_of.get(code, code) for code in field.missing)
    labels = tuple((label, label) for label in order)
    return replace(field, cells=cells, labels=labels, missing=missing, ordered=True)
