"""The scales of a table of answers: one for all tasks, or one for each kind of them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime import numerals
from crowdllm_jax.study.draft.draft import Choices, shown
from crowdllm_jax.study.draft.guess import Guess, guess
from crowdllm_jax.study.draft.scales_of import ScaleNames
from crowdllm_jax.study.draft.wide_table import answered, told_silent
from crowdllm_jax.study.draft.words import is_no_answer
from crowdllm_jax.study.formats.sheet import Field, Sheet
from crowdllm_jax.study.scales import Continuous, Scale

MANY_RANGES = 6
FEWEST_ANSWERS = 10
MOST_SCALES = 1_000
"""Tasks whose answers are looked at one by one."""


@dataclass(frozen=True)
class Scaled:
    """The scales of a table of answers.

    Attributes:
      group: (R,) of each row, index into `names`.
      names: each group's scale, None where it has none.
      code: (R,) each row's answer among the texts of its column, -1 where there is none.
    """

    group: np.ndarray
    names: tuple[str | None, ...]
    code: np.ndarray
    by_name: dict[str, Scale]


def scales_of_tasks(
    sheet: Sheet, task: Field, response: Field, choices: Choices, reasons: list[str]
) -> Scaled:
    """One scale for all answers, if they are of one kind; else one for each group or task."""
    by_use = {field.use: field for field in sheet.fields}
    cut = by_use.get("group")
    if cut is None:
        many = len(task.column.distinct) > MOST_SCALES
        try:
            pooled = guess(answered(response, 1), choices)
        except CrowdError:
            if many:
                raise
            pooled = "tasks may have answers of their own"
        one = np.zeros(len(task.column.codes), np.int32)
        kinds = _vocabularies(task, response, choices)
        if kinds is None and (many or _of_one_kind(task, response, pooled)):
            return _scaled(response, one, ("all tasks",), [pooled], reasons)
        group, called = kinds or (task.column.codes, task.column.distinct)
    else:
        group, called = cut.column.codes, cut.column.distinct
    order = np.argsort(group, kind="stable")
    ends = np.searchsorted(group[order], np.arange(len(called) + 1))
    guesses = [
        guess(
            replace(
                answered(response, 1, order[ends[i] : ends[i + 1]]),
                name=response.name if cut is None else name,
            ),
            choices,
        )
        for i, name in enumerate(called)
    ]
    return _scaled(response, group, called, guesses, reasons)


def _vocabularies(
    task: Field, response: Field, choices: Choices
) -> tuple[np.ndarray, tuple[str, ...]] | None:
    """Tasks in groups that share no answer with each other, such as questions with words of their
    own: each row's group, and its tasks for a sentence. None where all answers are numbers, all
    tasks are linked, or a group has too few answers to be one."""
    answers = len(response.column.distinct)
    silent = np.array([_no_answer(response, text, choices) for text in response.column.distinct])
    spoken = [text for text, no in zip(response.column.distinct, silent, strict=True) if not no]
    if all(numerals.number(text) is not None for text in spoken):
        return None
    rows = np.flatnonzero((task.column.codes >= 0) & (response.column.codes >= 0))
    rows = rows[~silent[response.column.codes[rows]]]
    size = len(task.column.distinct) + answers
    links = (task.column.codes[rows], len(task.column.distinct) + response.column.codes[rows])
    joined = sparse.coo_array((np.ones(len(rows)), links), shape=(size, size))
    of_node = csgraph.connected_components(joined, directed=False)[1]
    kinds, of_task = np.unique(of_node[: len(task.column.distinct)], return_inverse=True)
    texts = [np.sum(of_node[len(task.column.distinct) :] == kind) for kind in kinds]
    given = np.bincount(of_task[task.column.codes[rows]], minlength=len(kinds))
    if not 1 < len(kinds) <= MOST_SCALES or min(texts) < 2 or np.min(given) < FEWEST_ANSWERS:
        return None
    group = np.array([*of_task, -1], np.int32)[task.column.codes]
    called = tuple(
        shown([task.column.distinct[i] for i in np.flatnonzero(of_task == kind)], 4)
        for kind in range(len(kinds))
    )
    return group, called


def _no_answer(response: Field, text: str, choices: Choices) -> bool:
    label = dict(response.labels).get(text, text)
    return text in response.missing or text in choices.missing or is_no_answer(label)


def _of_one_kind(task: Field, response: Field, pooled: Guess | str) -> bool:
    """Whether tasks that many people answered use at least half of the answers that there are."""
    if isinstance(pooled, str):
        return False
    texts = [i for i, text in enumerate(response.column.distinct) if text not in pooled.dropped]
    if isinstance(pooled.scale, Continuous):
        spans = _spans(task, response)
        return len(spans) < 2 or float(np.min(spans)) * 4 >= float(np.max(spans))
    asked = (response.column.codes >= 0) & (task.column.codes >= 0)
    pairs = np.unique(
        task.column.codes[asked].astype(np.int64) * len(response.column.distinct)
        + response.column.codes[asked]
    )
    given = np.bincount(task.column.codes[asked], minlength=len(task.column.distinct))
    used = np.bincount(pairs // len(response.column.distinct), minlength=len(given))
    many = given >= max(10, 4 * len(texts))
    # One task in ten may be answered by all alike.
    wide = not many.any() or float(np.mean(2 * used[many] >= len(texts))) >= 0.9
    return wide or (4 * int(np.min(used[many])) >= len(texts) and _overlapping(task, response))


def _overlapping(task: Field, response: Field) -> bool:
    """Whether tasks are answered with numbers of many different ranges (2 to 6, 3 to 7, 1 to 6):
    parts of one scale; of several scales, many tasks would share each."""
    low, high = _ranges(task, response)
    return len(low) >= MANY_RANGES and 2 * len({*zip(low, high, strict=True)}) > len(low)


def _spans(task: Field, response: Field) -> np.ndarray:
    """How far the numbers reach that each task was answered with, of those with ten and more."""
    low, high = _ranges(task, response)
    return high - low


def _ranges(task: Field, response: Field) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest number of each task with ten answers and more; no task, where
    answers are words."""
    read = [numerals.number(text) for text in response.column.distinct]
    numbers = np.array([np.nan if number is None else number for number in read] + [np.nan])
    value = np.where(task.column.codes >= 0, numbers[response.column.codes], np.nan)
    known = np.flatnonzero(~np.isnan(value))
    size = len(task.column.distinct)
    low, high = np.full(size, np.inf), np.full(size, -np.inf)
    np.minimum.at(low, task.column.codes[known], value[known])
    np.maximum.at(high, task.column.codes[known], value[known])
    given = np.bincount(task.column.codes[known], minlength=size)
    return low[given >= 10], high[given >= 10]


def _scaled(
    response: Field,
    group: np.ndarray,
    called: Sequence[str],
    guesses: Sequence[Guess | str],
    reasons: list[str],
) -> Scaled:
    """Answers with the scales that were guessed; `reasons` gets a sentence on each scale."""
    book = ScaleNames()
    scale_names: list[str | None] = []
    code = response.column.codes.copy()
    told: dict[str, list[str]] = defaultdict(list)
    for place, found in enumerate(guesses):
        if isinstance(found, str):
            scale_names.append(None)
            told[f"Left out, since {found}"].append(called[place])
            code[group == place] = -1
            continue
        name = book.name(found.scale)
        scale_names.append(name)
        told[f"Scale {name} ({found.why})"].append(called[place])
        gone = [i for i, text in enumerate(response.column.distinct) if text in found.dropped]
        if gone:
            code[(group == place) & np.isin(code, gone)] = -1
    reasons += [f"{what}: {shown(which, 8)}." for what, which in told.items()]
    reasons += told_silent(
        (name, response.labels, found.dropped & _given(response, group == place))
        for place, (name, found) in enumerate(zip(called, guesses, strict=True))
        if isinstance(found, Guess)
    )
    return Scaled(group, tuple(scale_names), code, book.by_name)


def _given(response: Field, rows: np.ndarray) -> frozenset[str]:
    codes = np.unique(response.column.codes[rows])
    return frozenset(response.column.distinct[code] for code in codes if code >= 0)
