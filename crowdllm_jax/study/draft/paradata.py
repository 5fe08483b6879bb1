"""What stands beside the answers of a table with a row per person and was asked of nobody: numbers
of rows, times for an answer, what a program says of its forms, ids of schools and clusters.

A name alone does not tell most of them (a `commute_time` is an answer); what stands in the column,
or beside it, does.
"""

import re
from collections.abc import Sequence

import numpy as np

from crowdllm_jax.runtime.numerals import number
from crowdllm_jax.study.draft import names
from crowdllm_jax.study.draft.missing_codes import MOST_LEVELS
from crowdllm_jax.study.draft.row_people import MOST_GROUPS, counts_up
from crowdllm_jax.study.draft.word_lists import folded
from crowdllm_jax.study.formats.sheet import Field

FEWEST_ROWS = 5


def not_asked(fields: Sequence[Field]) -> dict[str, str]:
    """Columns that nobody was asked, and why they are none.

    Args:
      fields: all columns of a table with a row per person.
    """
    called = {folded(field.name) for field in fields}
    redcap = "record id" in called or any(name.startswith("redcap") for name in called)
    found = {}
    for field in fields:
        if field.labels or not field.column.distinct:
            continue
        if _counts_up(field):
            found[field.name] = "since it numbers the rows (--questions keeps it)"
        elif _is_time_of(field, called) or (_says_complete(field) and redcap):
            found[field.name] = "since it is no answer"
        elif _is_cluster(field):
            found[field.name] = "since it may hold ids (--questions keeps it)"
    return found


def _counts_up(field: Field) -> bool:
    """Whether a column holds 1, 2, 3 (or 0, 1, 2) and so on, as the rows stand in the file."""
    if len(field.column.codes) < FEWEST_ROWS or field.amount or not counts_up(field):
        return False
    numbers = np.array([number(text) for text in field.column.distinct])[field.column.codes]
    return bool(np.all(np.diff(numbers) == 1))


_ALWAYS = "rts?|latency|clicks|click count|ms|msecs?|millis(econds)?"
_OF_NUMBERED = "times?|timing|durations?|secs?|seconds"
_TIME = re.compile(rf"(.+?) (?:({_ALWAYS})|({_OF_NUMBERED}))")


def _is_time_of(field: Field, called: set[str]) -> bool:
    """Whether numbers are called after another column and the time that it took: `q1_time`, where
    that column is numbered, and `mood_rt`."""
    match = _TIME.fullmatch(folded(field.name))
    if match is None or match[1] not in called:
        return False
    told = match[2] is not None or re.search(r"\d", match[1]) is not None
    return told and None not in [number(text) for text in field.column.distinct]


_COMPLETE = {"complete", "incomplete", "unverified"}


def _says_complete(field: Field) -> bool:
    """Whether a column says of a form of REDCap how far it is filled in."""
    texts = {folded(text) for text in field.column.distinct}
    name = folded(field.name)
    numbers = name.endswith(" complete") and texts <= {"0", "1", "2"}
    return numbers or (re.match(r".*\bcomplete( \d+)?$", name) is not None and texts <= _COMPLETE)


def _is_cluster(field: Field) -> bool:
    """Whether a column holds ids of what people were drawn from, or belong to: clusters and strata
    by their names, else codes of more than a few; a few numbers may be a scale (`national_id`)."""
    texts = field.column.distinct
    coded = all(re.search(r"\d", text) for text in texts)
    if names.is_cluster(field.name):
        return coded and len(texts) > 1
    many = len(texts) > (MOST_LEVELS if names.is_party(field.name) else MOST_GROUPS)
    return names.ends_in_id(field.name) and coded and many
