"""Options described by attributes, as in conjoint analysis: read from a table, and as columns.

A choice task's options are the levels of its nominal scale. Where a table says what each of them
is (its price, its brand), what people think of prices and brands tells what they choose in any
other set of options.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.names import as_shown, did_you_mean
from crowdllm_jax.study import scale_text, scales
from crowdllm_jax.study.coding import Coding, encode, fit_coding
from crowdllm_jax.study.ids import Entities, attribute_behind, attribute_of
from crowdllm_jax.study.records import Alternatives
from crowdllm_jax.study.scales import Nominal, Scale
from crowdllm_jax.study.spec import AttributeSpec
from crowdllm_jax.study.tables import Column, rows


def alternatives_of(
    task: np.ndarray,
    level: Column,
    attributes: dict[str, tuple[AttributeSpec, Column]],
    ids: Sequence[str],
    several: Sequence[Scale],
    scale_of: np.ndarray,
) -> Alternatives:
    """What a table says of options. A row that says nothing is of an option that is what it is,
    such as "none of these".

    Args:
      task: (A,) indices of the tasks that its rows are about, among the T `ids`. level: its column
        of options. attributes: kind and column of each. scale_of: (T,) the tasks' scales, indices
        of `several`.
    Raises:
      CrowdError: a task without options to choose from, an option it does not have, one that stands
        twice, or options of which some tasks say what they are and others do not.
    """
    if not attributes:
        raise CrowdError("study.alternatives.attributes: name at least one")
    place = np.zeros(len(task), np.int32)
    for index in np.unique(scale_of[task]):
        of_scale = np.flatnonzero(scale_of[task] == index)
        place[of_scale] = _levels(level, of_scale, task, several[index], ids)
    size = max(map(scales.size, several))
    key = task.astype(np.int64) * size + place
    _, first, count = np.unique(key, return_index=True, return_counts=True)
    if (count > 1).any():
        at = first[np.argmax(count > 1)]
        same = np.flatnonzero((task == task[at]) & (place == place[at]))
        raise CrowdError(
            f"{level.where}: option '{level.distinct[level.codes[at]]}' of task '{ids[task[at]]}' "
            f"stands twice ({rows(level.in_file(same))}); keep one"
        )
    said = np.any([column.codes >= 0 for _, column in attributes.values()], axis=0)
    if not said.any():
        names = ", ".join(map(as_shown, attributes))
        raise CrowdError(f"{level.where}: nothing is said of any option; fill in {names}")
    at = np.flatnonzero(said)
    described = np.zeros((len(ids), size), bool)
    described[task[at], place[at]] = True
    _check_whole(level.where, described, ids, several, scale_of)
    names_of = tuple(f"{ids[task[row]]}, {level.distinct[level.codes[row]]}" for row in at)
    each = Entities(names_of, np.arange(len(at), dtype=np.int32))
    return Alternatives(
        task[at].astype(np.int32),
        place[at],
        tuple(
            attribute_of(name, kind, _only(column, at), each, "alternative")
            for name, (kind, column) in attributes.items()
        ),
    )


def _levels(
    column: Column, at: np.ndarray, task: np.ndarray, scale: Scale, ids: Sequence[str]
) -> np.ndarray:
    """The levels that some rows `at` of a column name, all of tasks on one scale."""
    if not isinstance(scale, Nominal):
        raise CrowdError(
            f"{column.where}: task '{ids[task[at[0]]]}' ({rows(column.in_file(at[:1]))}) has no "
            f"options to choose among: its scale is {scales.kind(scale)}; alternatives describe "
            "the levels of nominal scales"
        )
    read = scale_text.reader(scale)
    found = np.full(len(column.distinct) + 1, -1, np.int32)
    for code in np.unique(column.codes[at]):
        of_code = at[column.codes[at] == code]
        if code < 0:
            where = rows(column.in_file(of_code))
            raise CrowdError(f"{column.where}: {where} is empty; name the option")
        text = column.distinct[code]
        if (level := read(text)) is None:
            raise CrowdError(
                f"{column.where}: '{text}' ({rows(column.in_file(of_code))}) is no option of task "
                f"'{ids[task[of_code[0]]]}'; it has: "
                f"{', '.join(map(as_shown, scales.labels(scale)))}"
                f"{did_you_mean(text, scales.labels(scale))}"
            )
        found[code] = int(level)
    return found[column.codes[at]]


def _check_whole(
    where: str,
    described: np.ndarray,
    ids: Sequence[str],
    several: Sequence[Scale],
    scale_of: np.ndarray,
) -> None:
    """Refuse a task of which less is described (T, K) than of the others on its scale: whether an
    option was there would not be known."""
    for index, scale in enumerate(several):
        tasks = np.flatnonzero(scale_of == index)
        of_scale = described[tasks]
        lacks = ~of_scale & np.any(of_scale, axis=0, keepdims=True)
        if lacks.any():
            row, level = np.argwhere(lacks)[0].tolist()
            raise CrowdError(
                f"{where}: nothing is said of option '{scales.labels(scale)[level]}' of task "
                f"'{ids[tasks[row]]}', and of others' it is; add a row, or where other options "
                "were offered give the task a scale of its own (study.tasks.scale)"
            )


def _only(column: Column, at: np.ndarray) -> Column:
    """Some rows of a column, told of as they stand in the table."""
    return replace(column, codes=column.codes[at], places=column.in_file(at))


def codings_of(alternatives: Alternatives, seen: np.ndarray) -> tuple[Coding, ...]:
    """How attributes become columns; fixed on the options of the tasks `seen` (T,) bool."""
    of_seen = np.flatnonzero(seen[alternatives.task])
    return tuple(fit_coding(attribute, of_seen) for attribute in alternatives.attributes)


class Options(NamedTuple):
    """What describes the K levels of T tasks.

    Attributes:
      columns: (T, K, Q) float32, zeros where nothing is said, and of what is average.
      described: (T, K) bool, where something is.
    """

    columns: np.ndarray
    described: np.ndarray


def options_of(
    alternatives: Alternatives, codings: tuple[Coding, ...], tasks: int, levels: int
) -> Options:
    """What describes the levels of tasks, as columns."""
    coded = encode(codings, alternatives.attributes)
    columns = np.zeros((tasks, levels, coded.shape[1]), np.float32)
    described = np.zeros((tasks, levels), bool)
    columns[alternatives.task, alternatives.level] = coded
    described[alternatives.task, alternatives.level] = True
    return Options(columns, described)


def only_tasks(alternatives: Alternatives, kept: np.ndarray) -> Alternatives:
    """What describes the options of some tasks (T,) bool alone."""
    rows = kept[alternatives.task]
    attributes = tuple(replace(a, cells=a.cells[rows]) for a in alternatives.attributes)
    return Alternatives(alternatives.task[rows], alternatives.level[rows], attributes)


def behind(
    known: Alternatives, new: Alternatives, tasks: int, questions: Sequence[str]
) -> Alternatives:
    """The options of a study's tasks and those of questions that stand behind these.

    Args:
      tasks: how many the study has. questions: their ids.
    Raises:
      CrowdError: a new option has what no known one has.
    """
    whose = [questions[task] for task in new.task]
    return Alternatives(
        np.concatenate([known.task, new.task + np.int32(tasks)]),
        np.concatenate([known.level, new.level]),
        tuple(
            attribute_behind(own, other, whose)
            for own, other in zip(known.attributes, new.attributes, strict=True)
        ),
    )
