"""Published shares: how many people gave which answer, without the people.

A row of such a table, the share of a level in a task (perhaps in a group of people), stands for one
participant with the row's answer, whose weight is as many people as the share says. What they
answered to other tasks is unknown: models learn of tasks and groups, and nothing of persons.
"""

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.spec import StudySpec
from crowdllm_jax.study.tables import Column, rows

MOST_SURE = 200.0
"""People that the shares of a task in a group count as at most: a question asked in other words, in
another year, has other shares, however many people answered this one."""
ROUNDED = 0.03
"""Shares of a task may be so far from a sum of 1."""


def row_names(table: dict[str, Column]) -> Column:
    """A participant for every row."""
    column = next(iter(table.values()))
    count = len(column.codes)
    names = tuple(f"row {number}" for number in range(2, count + 2))
    where = column.where.partition(": column ")[0]
    return Column(np.arange(count, dtype=np.int32), names, where)


def check_toplines(spec: StudySpec) -> None:
    """Raise CrowdError if a study of shares names tables or columns of people."""
    if spec.responses.n is not None and spec.responses.share is None:
        raise CrowdError("study.responses.n: is the number of people behind shares; give `share`")
    if spec.responses.share is None:
        return
    for key, given in (
        ("participants.path", spec.participants.path),
        ("participants.weight", spec.participants.weight),
        ("witnesses", spec.witnesses),
    ):
        if given:
            raise CrowdError(
                f"study.{key}: with responses.share there are shares, and no people; leave it out"
            )


def check_people(study: Study) -> None:
    """Raise CrowdError if a study tells of published shares, and so of no persons."""
    if study.toplines:
        raise CrowdError(
            "the study holds published shares (study.responses.share) and tells of no persons, so "
            "nothing can be estimated of people, nor planned, beyond these shares themselves and "
            "the number of people behind each (study.responses.n); `crowdllm ask` says how the "
            "crowd answers, with intervals, and `crowdllm aggregate` what its agents decide"
        )


def people_behind(
    spec: StudySpec, table: dict[str, Column], groups: list[Column], task: np.ndarray
) -> np.ndarray:
    """(R,) how many people each row of a table of shares stands for.

    Args:
      groups: columns that together name the group of people. task: (R,) of each row.
    Raises:
      CrowdError: a share or number of people is none, or a task's shares do not sum to 1 (or 100).
    """
    share_of, n_of = spec.responses.share, spec.responses.n
    assert share_of is not None
    share = _numbers(table[share_of], "share")
    cell = np.unique(np.stack([task, *(g.codes for g in groups)]), axis=1, return_inverse=True)[1]
    cell = cell.ravel()
    total = np.bincount(cell, share)
    whole = np.where(np.abs(total - 100) <= 100 * ROUNDED, 100.0, 1.0)
    odd = np.abs(total / whole - 1) > ROUNDED
    if odd.any():
        first = np.flatnonzero(cell == int(np.argmax(odd)))
        raise CrowdError(
            f"{table[share_of].where}: the shares in {rows(first)} are of one task (and group) and "
            f"sum to {total[np.argmax(odd)]:g}; give the shares of all its levels, which sum to 1 "
            "or 100"
        )
    people = np.full(len(share), MOST_SURE)
    if n_of is not None:
        people = np.minimum(_numbers(table[n_of], "number of people"), MOST_SURE)
    return share / total[cell] * people


def _numbers(column: Column, what: str) -> np.ndarray:
    numbers = [column.number(code) for code in range(len(column.distinct))]
    for code, number in enumerate(numbers):
        if number is None or number < 0:
            raise CrowdError(
                f"{column.where}: '{column.distinct[code]}' ({column.rows_of(code)}) is no {what}"
            )
    if np.any(empty := column.codes < 0):
        raise CrowdError(f"{column.where}: {rows(np.flatnonzero(empty))} has no {what}")
    return np.array(numbers, float)[column.codes]
