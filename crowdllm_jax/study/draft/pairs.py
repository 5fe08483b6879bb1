"""Pairs of things of which a column names the better: `left`, `right` and `chosen`, or `winner` and
`loser`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from crowdllm_jax.runtime.numerals import number
from crowdllm_jax.study.draft import names
from crowdllm_jax.study.draft.row_people import unique
from crowdllm_jax.study.draft.word_lists import folded
from crowdllm_jax.study.draft.words import is_no_answer
from crowdllm_jax.study.formats.sheet import Field
from crowdllm_jax.study.tables import Column

FEWEST_THINGS = 2
_LOST = ("loser", "lost", "rejected", "worse", "not chosen", "unchosen", "defeated")


@dataclass(frozen=True)
class Pairs:
    """Two columns of things that were compared, and one that says "1" or "2", or what else; `made`:
    the columns of the table that say so."""

    things: tuple[Field, Field]
    chosen: Field
    made: tuple[str, ...]


def pairs_of(fields: Sequence[Field], others: Sequence[str]) -> Pairs | None:
    """The pairs of a table in which a column that says what was chosen names one of two things of
    each row; None where there is none.

    Args:
      others: texts that may be chosen, too, such as a tie.
    """
    for chosen in fields:
        better = names.says_chosen(chosen.name) or folded(chosen.name) in ("winner", "better")
        if not better or not _names_things(chosen):
            continue
        rest = [f for f in fields if f is not chosen and _names_things(f)]
        lost = [f for f in rest if folded(f.name) in _LOST and _shared(f, chosen)]
        if lost:
            return _in_one_order(chosen, lost[0])
        for one, other in combinations(rest, 2):
            if (found := _named(chosen, one, other, others)) is not None:
                return found
    return None


def _names_things(field: Field) -> bool:
    """Whether a column holds names that come back."""
    texts = field.column.distinct
    return len(texts) >= FEWEST_THINGS and not unique(field) and None in map(number, texts)


def _shared(one: Field, other: Field) -> bool:
    """Whether most of two columns' texts are the same."""
    common = {*one.column.distinct} & {*other.column.distinct}
    return 2 * len(common) >= max(len(one.column.distinct), len(other.column.distinct))


def _named(chosen: Field, one: Field, other: Field, others: Sequence[str]) -> Pairs | None:
    """Pairs of two columns, if each choice is the name of one of them, and each is chosen."""
    texts = [np.array([*f.column.distinct, ""])[f.column.codes] for f in (one, other, chosen)]
    first, second = texts[2] == texts[0], texts[2] == texts[1]
    free = np.isin(texts[2], ["", *others, *filter(is_no_answer, chosen.column.distinct)])
    if not np.all(first | second | free) or np.any(first & second) or not _shared(one, other):
        return None
    if not first.any() or not second.any():
        return None  # what was chosen is written again
    kept = dict.fromkeys(texts[2][free & (texts[2] != "")].tolist())
    known = ("1", "2", *kept)
    place = {text: i for i, text in enumerate(known)}
    codes = np.where(first, 0, np.where(second, 1, [place.get(t, -1) for t in texts[2].tolist()]))
    cells = replace(chosen.cells, codes=codes.astype(np.int32), distinct=known)
    return Pairs((one, other), Field(chosen.name, cells), (one.name, other.name, chosen.name))


def _in_one_order(won: Field, lost: Field) -> Pairs | None:
    """Pairs of which that comes first whose name does, as nobody knows how they stood."""
    texts = [np.array([*f.column.distinct, ""])[f.column.codes] for f in (won, lost)]
    if np.any(texts[0] == texts[1]):
        return None
    first = texts[0] < texts[1]
    things = []
    for name, turned in (("one", ~first), ("other", first)):
        cells = np.where(turned, texts[1], texts[0])
        distinct, codes = np.unique(cells, return_inverse=True)
        column = Column(codes.astype(np.int32), tuple(distinct.tolist()), won.cells.where)
        things.append(Field(name, column))
    cells = replace(won.cells, codes=np.where(first, 0, 1).astype(np.int32), distinct=("1", "2"))
    return Pairs((things[0], things[1]), Field(won.name, cells), (won.name, lost.name))
