"""Published shares of questions to which several answers may be given: each option is a question of
its own, chosen or not, as it is where people's own answers are known."""

from collections.abc import Set
from dataclasses import replace

import numpy as np

from crowdllm_jax.study.draft.draft import shown
from crowdllm_jax.study.draft.multiple import CHOSEN, says_several
from crowdllm_jax.study.draft.published import Published, cells_of_rows
from crowdllm_jax.study.draft.words import is_no_answer
from crowdllm_jax.study.formats.sheet import Field


def with_options_apart(published: Published, groups: Set[str], reasons: list[str]) -> Published:
    """Shares in which each option of a question with several answers is a question of its own, of
    those who gave an answer; `reasons` tells which.

    Args:
      groups: the columns that part the shares of a question.
    """
    fields = [published.task, *published.sheet.fields]
    several = np.any([says_several(field) for field in fields], axis=0)
    if not several.any():
        return published
    keys = [f for f in fields if f is published.task or f.name in groups]
    cell = cells_of_rows(keys, published.sheet.rows)
    texts = published.option.column.distinct
    silent = np.array([*map(is_no_answer, texts), False])[published.option.column.codes]
    unsaid = np.bincount(cell, published.share * silent)[cell]
    chosen = np.clip(published.share / np.where(unsaid < 1, 1 - unsaid, 1), 0, 1)
    told = published.task.column.distinct
    which = [told[code] for code in np.unique(published.task.column.codes[several])]
    reasons.append(
        f"Each option is a question of its own, chosen or not, where several answers may be given: "
        f"{shown(which, 6)}."
    )
    # An option has two rows: who did not choose it, and who did.
    rows = np.flatnonzero(~(several & silent))
    rows = np.repeat(rows, np.where(several[rows], 2, 1))
    second = np.append(False, rows[1:] == rows[:-1])
    first = several[rows] & ~second
    share = np.where(first, 1 - chosen[rows], np.where(second, chosen[rows], published.share[rows]))
    own = several[rows]
    options = [texts[code] for code in published.option.column.codes[rows]]
    answers = [
        CHOSEN[int(late)][1] if s else o for s, late, o in zip(own, second, options, strict=True)
    ]
    called = [f" [{o}]" if s else "" for s, o in zip(own, options, strict=True)]
    people = published.people
    return Published(
        replace(
            published.sheet,
            rows=len(rows),
            fields=tuple(
                _again(f, rows, called if says_several(f).any() else None)
                for f in published.sheet.fields
            ),
        ),
        _again(published.task, rows, called),
        _with_texts(published.option, rows, answers),
        share,
        published.what,
        None if people is None else people[rows],
    )


def _again(field: Field, rows: np.ndarray, behind: list[str] | None) -> Field:
    """Some rows of a column, with something behind their texts."""
    column = field.column
    texts = [*column.distinct, ""]
    own = [texts[code] for code in column.codes[rows]]
    told = (
        own if behind is None else [f"{text}{more}" for text, more in zip(own, behind, strict=True)]
    )
    return _with_texts(field, rows, told)


def _with_texts(field: Field, rows: np.ndarray, texts: list[str]) -> Field:
    """A column of texts instead, in some rows of the file; "" is an empty cell."""
    index = {text: place for place, text in enumerate(dict.fromkeys(filter(None, texts)))}
    codes = np.array([index.get(text, -1) for text in texts], np.int32)
    cells = replace(
        field.column, codes=codes, distinct=tuple(index), places=field.column.in_file(rows)
    )
    return replace(field, cells=cells, labels=())
