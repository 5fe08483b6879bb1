"""Columns that sum up what people answered to each task: what most of them said, their average, how
much they agree. Of a task that nobody answered yet they are not known, so they describe none."""

import re
from collections.abc import Sequence

import numpy as np

from crowdllm_jax.runtime.numerals import number
from crowdllm_jax.study.draft import names
from crowdllm_jax.study.draft.word_lists import folded
from crowdllm_jax.study.formats.sheet import Field

MOSTLY, FEWEST_TASKS = 0.95, 5
_LABEL = re.compile(
    r"(.* )?(majority|consensus|gold|golden|adjudicated|adjudication|aggregated?|aggregation|"
    r"ground ?truth|mode|most common|(true|final) label)( .*)?"
)
"""What everybody's answer to a task is called, where it is one of the answers."""
_SPREAD = re.compile(
    r"(.* )?(agreement|entropy|kappa|disagreement|variance|std|stdev|sd|controversy)( .*)?"
)
_FINAL = {"final", "class", "result", "verdict", "output"}
"""What it may be called, too."""


def summed_up(
    task: Field, response: Field, codes: np.ndarray, fields: Sequence[Field]
) -> list[str]:
    """Those of some columns that tell of tasks which sum up the answers to them.

    Args:
      codes: (R,) each row's answer among the texts of `response`, -1 where there is none.
    """
    rows = np.flatnonzero((codes >= 0) & (task.column.codes >= 0))
    if len(rows) <= len(np.unique(task.column.codes[rows])):
        return []
    return [f.name for f in fields if _sums_up(f, task, response, codes, rows)]


def _sums_up(
    field: Field, task: Field, response: Field, codes: np.ndarray, rows: np.ndarray
) -> bool:
    called = folded(field.name)
    numeric = all(number(text) is not None for text in field.column.distinct)
    if numeric and (_SPREAD.fullmatch(called) or names.counts_people(field.name)):
        return True
    if _is_average(field, task, response, codes, rows):
        return True
    given = {response.column.distinct[code] for code in np.unique(codes[rows])}
    if not {*field.column.distinct} <= given:
        return False
    told = names.is_response(field.name) or called in _FINAL
    return _LABEL.fullmatch(called) is not None or (told and _is_mode(field, task, response, codes))


def _is_average(
    field: Field, task: Field, response: Field, codes: np.ndarray, rows: np.ndarray
) -> bool:
    """Whether numbers are the averages of the answers to each task, up to how they are rounded."""
    own, answers = (_plain(f) for f in (field, response))
    if own is None or answers is None:
        return False
    of, many = task.column.codes[rows], np.bincount(task.column.codes[rows])
    asked = np.flatnonzero(many)
    means = np.bincount(of, answers[codes[rows]])[asked] / many[asked]
    first = np.unique(of, return_index=True)[1]
    told = own[field.column.codes[rows][first]]
    broken = np.ptp(means) > 0 and np.any(means % 1) and len(asked) >= FEWEST_TASKS
    return bool(broken and np.mean(np.abs(told - means) <= 0.0501) >= MOSTLY)


def _plain(field: Field) -> np.ndarray | None:
    """The numbers of a column's texts (and nan for none); None where some are no numbers."""
    read = [number(text) for text in field.column.distinct]
    return None if None in read else np.array([*read, np.nan], float)


def _is_mode(field: Field, task: Field, response: Field, codes: np.ndarray) -> bool:
    """Whether (nearly) every task's text is one that most people answered to it."""
    place = {text: code for code, text in enumerate(response.column.distinct)}
    own = np.array([*(place[text] for text in field.column.distinct), -1])[field.column.codes]
    rows = np.flatnonzero((codes >= 0) & (own >= 0) & (task.column.codes >= 0))
    often = np.zeros((len(task.column.distinct), len(response.column.distinct)), int)
    np.add.at(often, (task.column.codes[rows], codes[rows]), 1)
    asked, first = np.unique(task.column.codes[rows], return_index=True)
    told = often[asked, own[rows[first]]]
    return bool(len(asked) >= FEWEST_TASKS and np.mean(told == often[asked].max(axis=1)) >= MOSTLY)
