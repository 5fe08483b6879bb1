"""Texts (or other things) with how many people gave each label to each: columns of counts, which
are shares of answers to a task per row, and nobody's own."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from crowdllm_jax.runtime.numerals import number
from crowdllm_jax.study.draft import names
from crowdllm_jax.study.draft.draft import shown
from crowdllm_jax.study.draft.published import Published, is_base
from crowdllm_jax.study.draft.published_groups import with_columns_below
from crowdllm_jax.study.draft.row_people import texts_of, unique
from crowdllm_jax.study.draft.word_lists import folded
from crowdllm_jax.study.draft.words import is_no_answer
from crowdllm_jax.study.formats.sheet import Field, Sheet, column_of, runs_of

FEWEST_ROWS, FEWEST_PEOPLE, FEWEST_WORDS = 3, 2, 3
_COUNTED = re.compile(
    r"(label|class|vote|annotation|annotator|answer|response|rating|judge?ment|worker|human)?s? ?"
    r"(counts?|counters?|tally|tallies|votes|dist|distribution|histogram|freqs?|frequenc(y|ies))"
)
"""What a record is called that holds how often each label was given."""
_TEXTS = {
    *("text", "sentence", "tweet", "premise", "hypothesis", "headline", "claim", "document"),
    *("passage", "post", "utterance", "statement", "title", "content", "body", "prompt", "review"),
    *("sentence1", "sentence2", "sentence 1", "sentence 2", "context", "snippet", "abstract"),
}


def label_counts(sheet: Sheet) -> Published | None:
    """The shares of labels that a table of counts holds; None if it holds none."""
    if sheet.rows < FEWEST_ROWS:
        return None
    plain = {f.name: own for f in sheet.fields if (own := _counts(f)) is not None}
    columns = _of_a_record(sheet, plain) or _beside_texts(sheet, plain)
    if not columns:
        return None
    values = np.stack([plain[field.name] for field in columns], axis=1)
    called = [field.name.rpartition(".")[2] for field in columns]
    task, text = _tasks(sheet, [f for f in sheet.fields if f not in columns])
    left = [f for f in sheet.fields if f in columns or _describes(f, task, plain, called)]
    fields = (task, *(() if text is None else (text,)), *left)
    told = "Numbers count people; shares are made of them."
    wide = replace(sheet, fields=fields, notes=(*sheet.notes, told))
    below = with_columns_below(sheet.path, wide, columns, called, "answer")
    task, *others, option = below.fields
    people = np.repeat(values.sum(axis=1), len(columns))
    what = f"{shown(called, 4)} of each {task.name}"
    below = replace(below, fields=(task, *others))
    return Published(below, task, option, values.ravel() / people, what, people)


def _describes(
    field: Field, task: Field, plain: dict[str, np.ndarray], called: Sequence[str]
) -> bool:
    """Whether a column describes tasks: it is none of numbers, which are made of the counts, and no
    label of the tasks themselves."""
    return field.name not in plain and field != task and not {*field.column.distinct} <= {*called}


def _counts(field: Field) -> np.ndarray | None:
    """(R,) whole numbers, 0 where there is none; None if a column holds others."""
    read = [0.0 if is_no_answer(text) else number(text) for text in field.column.distinct]
    whole = all(value is not None and value >= 0 and value.is_integer() for value in read)
    if not read or not whole or field.labels or field.use is not None:
        return None
    values: np.ndarray = np.array([*read, 0.0], float)[field.column.codes]
    return values


def _of_a_record(sheet: Sheet, plain: dict[str, np.ndarray]) -> list[Field]:
    """Columns of a record that is called counts (`label_counter.e`, `label_counter.n`)."""
    records: dict[str, list[Field]] = defaultdict(list)
    for field in sheet.fields:
        record, dot, _ = field.name.rpartition(".")
        if dot and _COUNTED.fullmatch(folded(record.rpartition(".")[2])):
            records[record].append(field)
    whole = [own for own in records.values() if len(own) > 1 and all(f.name in plain for f in own)]
    return whole[0] if len(whole) == 1 and _counted(whole[0], plain) else []


def _beside_texts(sheet: Sheet, plain: dict[str, np.ndarray]) -> list[Field]:
    """Columns side by side, called in words, that add up to one number, or to that of another
    column, in rows that are texts and nobody's."""
    texts = [f for f in sheet.fields if folded(f.name) in _TEXTS and _reads(f)]
    people = [f for f in sheet.fields if names.names_people(f.name) or names.is_contact(f.name)]
    if not texts or people:
        return []
    bases = [own for name, own in plain.items() if is_base(name)]
    for run in runs_of(sheet.fields, plain):
        called = [name for name in run if not names.is_person(name)]
        told = [name for name in called if is_base(name)]
        may = [[n for n in called if n not in told]]
        may += [[n for n in called if n != name] for name in told] + [called]  # `n` may be neutral
        for own in may:
            for many in range(len(own), 1, -1):
                columns = [f for f in sheet.fields if f.name in own[:many]]
                if _add_up(columns, plain, bases):
                    return columns
    return []


def _add_up(
    columns: Sequence[Field], plain: dict[str, np.ndarray], bases: Sequence[np.ndarray]
) -> bool:
    """Whether columns that are called in words add up to one number, or to one that is told."""
    if any(map(str.isdecimal, "".join(f.name for f in columns))) or not _counted(columns, plain):
        return False
    sums = np.sum([plain[f.name] for f in columns], axis=0)
    return len(np.unique(sums)) == 1 or any(np.array_equal(sums, own) for own in bases)


def _counted(columns: Sequence[Field], plain: dict[str, np.ndarray]) -> bool:
    """Whether each row counts several people, who do not all agree everywhere."""
    values = np.stack([plain[field.name] for field in columns])
    several = np.min(np.sum(values, axis=0)) >= FEWEST_PEOPLE
    return bool(several and np.any(np.sum(values > 0, axis=0) > 1) and np.all(values.any(axis=1)))


def _reads(field: Field) -> bool:
    words = sum(len(text.split()) for text in field.column.distinct)
    return words >= FEWEST_WORDS * len(field.column.distinct)


def _tasks(sheet: Sheet, others: Sequence[Field]) -> tuple[Field, Field | None]:
    """What names each row, and what was shown: all texts together."""
    texts = [f for f in others if folded(f.name.rpartition(".")[2]) in _TEXTS and _reads(f)]
    whole = [f for f in others if unique(f) and names.is_person(f.name)]
    whole += [f for f in texts if unique(f)]
    rows = [str(row + 2) for row in sheet.fields[0].cells.in_file(np.arange(sheet.rows))]
    task = whole[0] if whole else Field("row", column_of(sheet.path, "row", rows))
    if not texts:
        return task, None
    told = [" | ".join(filter(None, own)) for own in zip(*map(texts_of, texts), strict=True)]
    return task, Field("texts", column_of(sheet.path, "texts", told), use="text")
