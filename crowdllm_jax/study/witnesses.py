"""Witnesses: answers that something else, such as a language model, gave for the participants."""

from pathlib import Path

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime import numerals
from crowdllm_jax.study import reverse, scale_text, scales
from crowdllm_jax.study.missing import codes, is_among
from crowdllm_jax.study.records import Study, Witness
from crowdllm_jax.study.scales import Scale
from crowdllm_jax.study.spec import StudySpec
from crowdllm_jax.study.tables import Column, as_names, find, read_table, rows


def read_witnesses(spec: StudySpec, study: Study) -> tuple[Witness, ...]:
    """Read the tables under `witnesses`, a row per participant and task.

    A table may tell of more people and tasks than the study has, and of fewer. Answers to mirrored
    tasks are mirrored, as people's are.

    Raises:
      CrowdError: a table tells of nobody in the study, tells twice of the same, or of a task of a
        ballot, holds no answer, or a cell is neither one nor a number on the task's scale.
    """
    named = spec.witnesses
    if isinstance(named, str):
        named = {Path(named).stem: named}
    return tuple(_read(spec, study, name, path) for name, path in named.items())


def _read(spec: StudySpec, study: Study, name: str, path: str) -> Witness:
    r = spec.responses
    file = find(spec.folder, path, f"study.witnesses.{name}")
    table = read_table(file, [r.participant, r.task, r.response], dialect=spec.dialect())
    person = _places(as_names(table[r.participant]), study.participants.ids)
    task = _places(as_names(table[r.task]), study.tasks.ids)
    rows_of = np.flatnonzero((person >= 0) & (task >= 0))
    if not len(rows_of):
        raise CrowdError(
            f"{file}: tells nothing of the study's participants and tasks; its columns "
            f"'{r.participant}' and '{r.task}' must hold the ids of {r.path}"
        )
    value = np.full(len(person), np.nan)
    cells = as_names(table[r.response])
    mirrored = reverse.mirrored_tasks(
        spec.tasks.reverse, study.tasks.ids, tuple(study.scales.values()), study.tasks.scale
    )
    for index, (scale_name, scale) in enumerate(study.scales.items()):
        on_scale = rows_of[study.tasks.scale[task[rows_of]] == index]
        own = _values(spec, cells, scale_name, scale, on_scale)
        both_ends = scales.values(scale)[[0, -1]].sum()
        value[on_scale] = np.where(mirrored[task[on_scale]], both_ends - own, own)
    told = rows_of[np.isfinite(value[rows_of])]
    if not len(told):
        raise CrowdError(
            f"{file}: no row about the study's people and tasks holds an answer; fill its column "
            f"'{r.response}', or leave study.witnesses.{name} out"
        )
    told = told[np.lexsort((task[told], person[told]))]
    same = (np.diff(person[told]) == 0) & (np.diff(task[told]) == 0)
    if same.any():
        pair = told[int(np.argmax(same)) :][:2]
        who, what = study.participants.ids[person[pair[0]]], study.tasks.ids[task[pair[0]]]
        raise CrowdError(
            f"{file}: answers task '{what}' twice for participant '{who}' ({rows(np.sort(pair))}, "
            f"{int(same.sum())} such pair(s)); keep one, or their mean"
        )
    return Witness(name, person[told].astype(np.int32), task[told].astype(np.int32), value[told])


def _places(column: Column, ids: tuple[str, ...]) -> np.ndarray:
    """(R,) where each row's id stands among these, -1 where it does not."""
    if np.any(column.codes < 0):
        raise CrowdError(column.no_id())
    index = {name: place for place, name in enumerate(ids)}
    return np.array([index.get(text, -1) for text in column.distinct], int)[column.codes]


def _values(
    spec: StudySpec, cells: Column, name: str, scale: Scale, on_scale: np.ndarray
) -> np.ndarray:
    """What the cells in some rows say on a scale; NaN where they say nothing."""
    value = np.full(len(cells.distinct) + 1, np.nan)
    listed = sum(codes(spec, "responses", spec.responses.response, name), ())
    level_of, support = scale_text.reader(scale), scales.values(scale)
    for code in np.unique(cells.codes[on_scale]):
        if code < 0 or is_among(cells.distinct[code], listed):
            continue
        text = cells.numeral(code)
        where = on_scale[cells.codes[on_scale] == code]
        if scales.is_joint(scale):
            raise CrowdError(
                f"{cells.where}: {rows(where)} is about a task of scale '{name}' "
                f"({scale_text.describe(scale)}); leave a ballot's tasks out of a witness's table"
            )
        level = level_of(cells.distinct[code])
        level = level_of(text) if level is None else level
        if level is not None:
            value[code] = scales.numbers(scale, np.array([level]))[0]
            continue
        number = numerals.number(text)
        between = number is not None and support[0] <= number <= support[-1]
        if number is None or not between or not scales.is_ordered(scale):
            raise CrowdError(
                f"{cells.where}: '{cells.distinct[code]}' ({rows(where)}) is no answer on scale "
                f"'{name}' ({scale_text.describe(scale)}), nor a number within it; correct it or "
                "list it under study.responses.missing"
            )
        value[code] = number
    return value[cells.codes[on_scale]]
