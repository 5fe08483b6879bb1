"""Tasks that two columns tell together: an emotion and an actor, two things that are compared, an
item and the condition in which it was shown."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from crowdllm_jax.study.draft import names, profile_names
from crowdllm_jax.study.draft.crossed import together, told_by
from crowdllm_jax.study.draft.draft import Choices
from crowdllm_jax.study.draft.row_people import texts_of
from crowdllm_jax.study.formats.sheet import Field, Sheet, column_of

MOST_VALUES, MOST_COLUMNS, FEWEST_TASKS = 200, 12, 4
FEWEST_PEOPLE, TWICE = 3, 1.5
MOSTLY = 0.5
"""The share of all tasks that a person answers, on average."""


def with_condition(sheet: Sheet, person: Field, task: Field, choices: Choices) -> Field:
    """The column of tasks; together with that of the condition in which they were shown, if only
    both tell the rows of a person apart, or everybody saw each in another one (a Latin square)."""
    if choices.task is not None:
        return task
    apart = _apart(person, task)
    for field in sheet.fields:
        shown = names.is_condition(field.name) and field.name not in choices.out
        if not shown or field in (person, task) or told_by(person, field):
            continue
        both = _both(sheet, task, field)
        if both is None or not _apart(person, both):
            continue
        if not apart or (_several_ways(task, field) and _often(both)):
            return both
    return task


def _several_ways(task: Field, condition: Field) -> bool:
    """Whether each task was shown in several conditions."""
    pairs = np.unique(together(task, condition))
    size = len(condition.column.distinct) + 1
    return bool(np.all(np.bincount(pairs // size, minlength=len(task.column.distinct)) > 1))


def _often(task: Field) -> bool:
    """Whether each task comes back with several people."""
    return bool(np.min(np.bincount(task.column.codes)) >= FEWEST_PEOPLE)


def task_of_two(sheet: Sheet, person: Field, fields: Sequence[Field]) -> Field | None:
    """Two columns that tell what was shown: together they are different in every row of a person,
    and come back with (nearly) everybody else. None unless two alone do so."""
    may = [f for f in fields if _may_be_half(person, f)][:MOST_COLUMNS]
    found = []
    for one, other in combinations(may, 2):
        both = _both(sheet, one, other)
        if both is not None and _apart(person, both) and _come_back(person, both):
            found.append(both)
    return found[0] if len(found) == 1 else None


def _may_be_half(person: Field, field: Field) -> bool:
    """Whether a column may be half of what names a task: by its name no answer, time or count."""
    known = names.is_time(field.name) or names.counts_tasks(field.name)
    # Members of households are people, and who has several ages may be several.
    known = (
        known or names.is_of_several(field.name) or profile_names.is_profile(field.name, field.text)
    )
    many = not 2 <= len(field.column.distinct) <= MOST_VALUES
    return not (known or many or told_by(person, field) or (field.column.codes < 0).any())


def _apart(person: Field, task: Field) -> bool:
    return len(np.unique(together(person, task))) == len(person.column.codes)


def _come_back(person: Field, task: Field) -> bool:
    people, tasks = len(person.column.distinct), len(task.column.distinct)
    rows = len(person.column.codes)
    several = people >= FEWEST_PEOPLE and rows >= TWICE * tasks
    return several and tasks >= FEWEST_TASKS and rows >= MOSTLY * people * tasks


def _both(sheet: Sheet, one: Field, other: Field) -> Field | None:
    """Two columns as one; None where a cell of either is empty."""
    cells = [texts_of(field) for field in (one, other)]
    if "" in cells[0] or "" in cells[1]:
        return None
    name = f"{one.name} and {other.name}"
    texts = [f"{first} / {second}" for first, second in zip(*cells, strict=True)]
    return Field(name, column_of(sheet.path, name, texts))
