"""Tables of published shares with a column per answer, or a column per question."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from crowdllm_jax.study.draft import names
from crowdllm_jax.study.draft.draft import shown
from crowdllm_jax.study.draft.published import (
    Published,
    adds_up,
    cells_of_rows,
    is_base,
    is_no_option,
    settled,
)
from crowdllm_jax.study.draft.published_groups import kind_of, with_columns_below
from crowdllm_jax.study.draft.published_long import Numbers, found_shares, task_of
from crowdllm_jax.study.draft.row_people import unique
from crowdllm_jax.study.draft.tallies import PAIRS
from crowdllm_jax.study.draft.word_lists import folded
from crowdllm_jax.study.draft.words import in_order, is_no_answer
from crowdllm_jax.study.formats.sheet import Field, Sheet

FEWEST_QUESTIONS, FEWEST_WORDS, SPARSE = 3, 3, 1 / 3


def columns_of_questions(sheet: Sheet, texts: list[Field], read: Numbers) -> Published | None:
    """A row per answer and a column per question (or group of people, of one question)."""
    if len(texts) != 1 or not unique(texts[0]) or len(read) < 2:
        return None
    (option,) = texts
    if not _scale([text for text in option.column.distinct if not is_no_option(text)]):
        return None
    cell = np.zeros(sheet.rows, int)
    good = [n for n, own in read.items() if settled(sheet, cell, option, own, counts=False)]
    columns = [f for f in sheet.fields if f.name in good]
    if len(columns) < 2 or any(np.all(np.isin(read[n], (0, 1))) for n in good):
        return None
    if any(kind_of(name) not in ("group", "year") for name in good):
        return None  # groups of people, of whom one thing was asked
    called = [f.text or f.name for f in columns]
    below = with_columns_below(sheet.path, sheet, columns, called, "question")
    values = np.stack([read[f.name] for f in columns], axis=1).ravel()
    task = below.fields[-1]
    (option,) = [f for f in below.fields if f.name == option.name]
    cell = cells_of_rows([task], below.rows)
    found = settled(replace(below, fields=(task,)), cell, option, values, counts=False)
    what = f"{shown(called, 4)} of each '{option.name}'"
    return None if found is None else found_shares(found, "question", what)


def columns_of_answers(sheet: Sheet, texts: list[Field], read: Numbers) -> Published | None:
    """A row per question (and group of people) and a column per answer."""
    called = [name for name in read if not is_no_option(name)]
    if sum(not is_no_answer(name) for name in called) < 2:
        # What is called `Total agree` is an answer where there is nothing but totals.
        called = [name for name in read if not is_base(name)]
    if len(called) < 2 or not texts or sheet.rows < FEWEST_QUESTIONS:
        return None
    if any(map(str.isdecimal, "".join(called))) and not any(map(str.isalpha, called[0])):
        return None
    keys = cells_of_rows(texts, sheet.rows)
    own = np.stack([read[name] for name in read], axis=1)
    parts = np.stack([read[name] for name in called], axis=1)
    plain = parts[~np.isnan(parts)]
    if len(np.unique(keys)) < sheet.rows or len(np.unique(plain)) < 3:
        return None
    # What people share points among may stand beside a comment of theirs.
    asked = [f for f in texts if (names.is_task(f.name) or reads(f)) and not _own_words(f)]
    counted = any(is_base(name) for name in read)
    if not (_scale(called) or asked or counted):
        return None
    columns = [f for f in sheet.fields if f.name in read]
    if not _scale(called) and np.mean(own[~np.isnan(own)] == 0) >= SPARSE:
        own = np.where(own == 0, np.nan, own)  # what was not asked is written as 0
    below = with_columns_below(
        sheet.path, sheet, columns, [f.text or f.name for f in columns], "answer"
    )
    option = below.fields[-1]
    cell = np.repeat(np.arange(sheet.rows), len(columns))
    below = replace(below, fields=below.fields[:-1])
    found = settled(below, cell, option, own.ravel(), counts=_scale(called))
    if found is None or not (_scale(called) or _mostly(found)):
        return None
    what = f"{shown(called, 4)} of each {shown(f.name for f in texts)}"
    task = task_of(asked or texts) if asked or _scale(called) else None
    return found_shares(found, task, what)


def _mostly(found: tuple[Sheet, Field, np.ndarray, np.ndarray | None]) -> bool:
    sheet, _, share, _ = found
    cell = cells_of_rows(sheet.fields, sheet.rows)
    return float(np.mean(adds_up(cell, share))) >= 0.9


_ASIDE = {
    *("pass", "skip", "skipped", "neutral", "unsure", "undecided", "not sure", "other", "tie"),
    *("both", "neither", "abstain", "no opinion"),
}
"""What stands beside yes and no, for and against, and is neither."""


def _scale(called: Sequence[str]) -> bool:
    """Whether texts are the answers of one scale."""
    said = [name for name in called if not is_no_answer(name)]
    if any(all(map(str.isdecimal, name)) for name in said):
        return False
    words = {folded(name) for name in said}
    if all(word.startswith("total ") for word in words):
        words = {word.removeprefix("total ") for word in words}
    pair = len(words) == 2 and max(words, key=len) == f"not {min(words, key=len)}"
    pair = pair or words in PAIRS or words - _ASIDE in PAIRS
    return pair or (len(said) > 2 and in_order(said) is not None)


def _own_words(field: Field) -> bool:
    return folded(field.name) in ("comment", "comments")


def reads(field: Field) -> bool:
    """Whether texts are of three words and more, on average."""
    words = sum(len(text.split()) for text in field.column.distinct)
    return unique(field) and words >= FEWEST_WORDS * len(field.column.distinct)
