"""Choice sets in a table with a row for every option, as conjoint analysis has it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime import numerals
from crowdllm_jax.study.draft import names, own_names, profile_names
from crowdllm_jax.study.draft.crossed import together
from crowdllm_jax.study.draft.draft import Choices
from crowdllm_jax.study.draft.row_people import numbers_rows
from crowdllm_jax.study.draft.word_lists import folded
from crowdllm_jax.study.draft.words import is_no_answer
from crowdllm_jax.study.formats.sheet import Field, Sheet
from crowdllm_jax.study.tables import rows as named_rows

MOST_OPTIONS = 50
FEWEST_SETS = 5
MOSTLY, NEARLY = 0.5, 0.95
"""Shares of the sets of which an option is chosen."""
MANY = 0.8
"""Share of the sets that are right, where the others are mistakes."""
_CHOSEN = {"1", "1.0", "true", "yes", "chosen", "x", "ja", "oui", "sí", "si", "sì", "sim", "tak"}
_NOT = {"0", "0.0", "false", "no", "not chosen", "-", "nein", "non", "não", "nee", "nie"}


@dataclass(frozen=True)
class Sets:
    """The columns that make a row an option of a set.

    Attributes:
      person, task, chosen: its columns; no task where everybody has one set. option: what options
        are called, None where they are only counted. group: (R,) the set of a person that each
        row is of.
    """

    person: Field
    task: Field | None
    option: Field | None
    chosen: Field
    attributes: tuple[Field, ...]
    group: np.ndarray


def sets_of(sheet: Sheet, choices: Choices) -> Sets | None:
    """The columns of a table whose rows are options of choice sets, of each of which one or none is
    chosen; None where they are something else."""
    if any(field.use not in (None, "out") for field in sheet.fields):
        return None
    if choices.questions or choices.reverse:
        return None
    fields = [f for f in sheet.fields if f.name not in choices.out and f.column.distinct]
    marks = [f for f in fields if _may_be_chosen(f, choices)]
    if not marks:
        return None
    marks.sort(key=lambda f: (not names.says_chosen(f.name), not names.is_plain_response(f.name)))
    keys = list(_keys(fields, choices))
    for chosen in marks:
        for person, task, group in keys:
            if chosen in (person, task):
                continue
            if (found := _sets(fields, person, task, chosen, group)) is not None:
                return found
    for person, task, group in keys:
        _refuse_mistakes(fields, person, task, marks[0], group)
    return None


def _keys(
    fields: list[Field], choices: Choices
) -> Iterator[tuple[Field, Field | None, np.ndarray]]:
    """The columns that may say whose a set is, and which of that person's, with the (R,) sets that
    they make: by their names, or where none is called after people any, of whom each has one."""
    whole = [f for f in fields if (f.column.codes >= 0).all() and 2 * _count(f) <= _rows(f)]
    if choices.person is not None:
        people = [f for f in whole if f.name == choices.person]
    else:
        people = [f for f in whole if names.is_person(f.name) or names.is_rater(f.name)]
        people = people or [f for f in whole if names.names_people(f.name)]
    tasks = [f for f in whole if choices.task in (None, f.name)]
    tasks.sort(key=lambda f: (not names.is_task(f.name), _count(f)))
    anybody = [f for f in whole if not own_names.is_own(f.name)]
    known = tasks if people else [f for f in tasks if names.is_task(f.name)]
    pairs = [(p, task) for p in people or anybody for task in known if task is not p]
    alone = [(p, None) for p in people or anybody] if choices.task is None else []
    for person, task in (*pairs, *alone):
        codes = person.column.codes if task is None else together(person, task)
        group = np.unique(codes, return_inverse=True)[1]
        # What is the same in all rows of a person tells no sets apart.
        if task is None or group.max() + 1 > _count(person):
            yield person, task, group


def _sets(
    fields: list[Field], person: Field, task: Field | None, chosen: Field, group: np.ndarray
) -> Sets | None:
    """The sets that a person and a task make, if they do."""
    rows, taken = np.bincount(group), np.bincount(group, marks_of(chosen))
    if len(rows) < FEWEST_SETS or rows.min() < 2 or rows.max() > MOST_OPTIONS or taken.max() > 1:
        return None
    left = [f for f in fields if f not in (person, task, chosen)]
    called = any(names.is_alternative(f.name) for f in left)
    if not called and (not names.says_chosen(chosen.name) or _of_tasks(left, person)):
        return None
    # Rows of which few are marked may be anything, unless they are called options.
    if taken.mean() < (MOSTLY if called else NEARLY):
        return None
    option = _option_of(left, group)
    said = [f for f in left if f is not option and not _no_attribute(f)]
    said = [f for f in said if not _gives_away(f, chosen, group)]
    varied = tuple(f for f in said if varies(f, group))
    # Rows that have an age and a sex are people, unless they are called options.
    if not varied or (not called and any(profile_names.is_profile(f.name, f.text) for f in varied)):
        return None
    return Sets(person, task, option, chosen, varied, group)


def _of_tasks(fields: list[Field], person: Field) -> bool:
    """Whether rows are answers to tasks of their own, which come back with other people."""
    pairs = [np.unique(together(person, f)) for f in fields if names.is_task(f.name)]
    return any(len(one) == len(person.column.codes) for one in pairs)


def _refuse_mistakes(
    fields: list[Field], person: Field, task: Field | None, chosen: Field, group: np.ndarray
) -> None:
    """Raise CrowdError if rows are options of tasks, by their names, and a few sets are none: of
    one option, or with several chosen."""
    if task is None or not names.is_task(task.name):
        return
    if not any(names.is_alternative(f.name) for f in fields):
        return
    rows, taken = np.bincount(group), np.bincount(group, marks_of(chosen))
    wrong = np.flatnonzero((taken > 1) | (rows < 2))
    if not len(wrong) or len(wrong) > (1 - MANY) * len(rows) or (taken == 1).mean() < MOSTLY:
        return
    at = np.flatnonzero(group == wrong[0])
    named = person.column.distinct[person.column.codes[at[0]]]
    what = "one option alone" if rows[wrong[0]] < 2 else "several options that are chosen"
    raise CrowdError(
        f"'{chosen.name}': a set of '{named}' has {what} "
        f"({named_rows(chosen.column.in_file(at))}); correct these rows, or leave them out"
    )


def _no_attribute(field: Field) -> bool:
    return names.has_id(field.name) or numbers_rows(field)


def _gives_away(field: Field, chosen: Field, group: np.ndarray) -> bool:
    """Whether a column repeats the choice, or the chosen option has the highest number of its set
    always, or the lowest: a rank or a rating, which was given as the choice was."""
    if names.says_chosen(field.name) or np.array_equal(marks_of(field), marks_of(chosen)):
        return True
    if not numeric(field) or (field.column.codes < 0).any():
        return False
    number = np.array([numerals.number(text) or 0.0 for text in field.column.distinct])
    value = number[field.column.codes]
    marked = marks_of(chosen)
    ends = []
    for sign in (1, -1):
        best = np.full(group.max() + 1, -np.inf)
        np.maximum.at(best, group[~marked], (sign * value)[~marked])
        ends.append(bool(((sign * value)[marked] > best[group[marked]]).all()))
    return any(ends)


def _may_be_chosen(field: Field, choices: Choices) -> bool:
    """Whether a column marks rows as chosen or not, and may be the one that is looked for."""
    marked = is_mark(field)
    if choices.response is not None:
        return marked and field.name == choices.response
    named = names.says_chosen(field.name) or names.is_response(field.name)
    return marked and (named or folded(field.name) in ("y", "outcome", "dv"))


def is_mark(field: Field) -> bool:
    """Whether a column marks some rows, and others not."""
    texts = {text.casefold() for text in field.column.distinct}
    return bool(texts & _CHOSEN) and texts <= _CHOSEN | _NOT and len(texts) <= 2


def marks_of(field: Field) -> np.ndarray:
    """(R,) bool, the rows that are chosen."""
    marked = [text.casefold() in _CHOSEN for text in field.column.distinct]
    return np.array([*marked, False])[field.column.codes]


def _count(field: Field) -> int:
    return len(field.column.distinct)


def _rows(field: Field) -> int:
    return len(field.column.codes)


def varies(field: Field, group: np.ndarray) -> bool:
    """Whether a column says different things of options of one set."""
    pairs = np.unique(np.stack([group, field.column.codes]), axis=1)
    return len(np.unique(group)) < pairs.shape[1]


def _option_of(fields: list[Field], group: np.ndarray) -> Field | None:
    """The column of options' names, all of which differ in every set: called so, or in words of
    which every set has all."""
    found = []
    for field in fields:
        pairs = np.unique(np.stack([group, field.column.codes]), axis=1)
        apart = pairs.shape[1] == len(group) and (field.column.codes >= 0).all()
        called = names.is_alternative(field.name) and _count(field) <= MOST_OPTIONS
        always = _count(field) * len(np.unique(group)) == len(group) and not numeric(field)
        if apart and (called or always):
            found.append((not called, _count(field), field))
    return min(found, key=lambda one: one[:2])[2] if found else None


def numeric(field: Field) -> bool:
    """Numbers, of which there are more than two; prices may then be others than were shown."""
    texts = [text for text in field.column.distinct if not is_no_answer(text)]
    plain = not field.labels and all(numerals.number(text) is not None for text in texts)
    return plain and len(texts) > 2
