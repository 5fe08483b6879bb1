"""Which of a person's answers are known, and which are held out from that person's twin.

What is held out of a person depends on the seed, the person's id and the tasks that the person
answered: not on other people, nor on the order of a table's rows (unless that is asked for). A
ballot whose tasks limit each other stays whole and known, and everybody keeps at least one answer.
"""

from collections.abc import Iterator

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.randomness import key_of
from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Study


def hold_out_share(study: Study, known: float, seed: int) -> np.ndarray:
    """(R,) bool, the answers held out so that a share of each person's is known.

    A share of 2.4 answers is 2 or 3, at random, so that it is met on average.
    """
    held = np.zeros(len(study.task), bool)
    for rows, random in _by_person(study, seed):
        count = int((1 - known) * len(rows) + random.random())
        held[random.permutation(rows)[: min(count, len(rows) - 1)]] = True
    return held


def hold_out_fold(study: Study, folds: int, fold: int, seed: int) -> np.ndarray:
    """(R,) bool, one of several parts that every person's answers are cut into; a person's only
    answer is in none."""
    held = np.zeros(len(study.task), bool)
    for rows, random in _by_person(study, seed):
        if len(rows) > 1:
            # Begun anywhere, so that short cuts do not fill the first folds alone.
            place = np.arange(len(rows)) + random.integers(folds)
            held[random.permutation(rows)[place % folds == fold]] = True
    return held


def hold_out_later(study: Study, first: int) -> np.ndarray:
    """(R,) bool, the answers held out so that everybody's first ones in the table are known.

    Raises:
      CrowdError: the study came without a table.
    """
    if study.row is None:
        raise CrowdError(
            "split.first: the study comes without a table, so its answers have no order"
        )
    rows = np.flatnonzero(may_be_held(study))
    # What was left out of a ballot stands in no row: it comes last, as the voter's last word.
    order = np.where(study.row < 0, np.iinfo(study.row.dtype).max, study.row)
    rows = rows[np.lexsort((order[rows], study.person[rows]))]
    _, start, count = np.unique(study.person[rows], return_index=True, return_counts=True)
    held = np.zeros(len(study.task), bool)
    held[rows] = np.arange(len(rows)) - np.repeat(start, count) >= first
    return held


def hold_out_told(study: Study, column: str) -> np.ndarray:
    """(R,) bool, the answers held out that the study's own column says are not known.

    Raises:
      CrowdError: the study was read without the column, or an answer of a ballot is held out.
    """
    if study.known is None:
        raise CrowdError(
            f"split.column: the study was read without a column '{column}' of its answers; it is "
            "read with a configuration's study"
        )
    held: np.ndarray = ~study.known
    if np.any(held & ~may_be_held(study)):
        row = int(np.argmax(held & ~may_be_held(study)))
        raise CrowdError(
            f"split.column: '{column}' holds out an answer to task "
            f"'{study.tasks.ids[study.task[row]]}', one of a ballot, which stays whole and known"
        )
    return held


def may_be_held(study: Study) -> np.ndarray:
    """(R,) bool: answers to tasks that are answered one at a time."""
    return ~scales.which(scales.is_joint, study.scales.values())[study.tasks.scale[study.task]]


def _by_person(study: Study, seed: int) -> Iterator[tuple[np.ndarray, np.random.Generator]]:
    """Each person's answers that may be held out, in the order of the tasks' ids, with randomness
    of that person's own."""
    rows = np.flatnonzero(may_be_held(study))
    rows = rows[np.lexsort((study.task[rows], study.person[rows]))]
    people, first, count = np.unique(study.person[rows], return_index=True, return_counts=True)
    for person, start, length in zip(people, first, count, strict=True):
        of_person = rows[start : start + length]
        key = key_of(study.participants.ids[person])
        yield of_person, np.random.default_rng([seed, 4, key])
