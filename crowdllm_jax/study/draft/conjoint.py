"""Choice sets as a study: a set is a task, and a table says what its options are."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime import numerals
from crowdllm_jax.study.draft.choice_sets import Sets, marks_of, numeric
from crowdllm_jax.study.draft.crossed import told_by
from crowdllm_jax.study.draft.draft import Choices, Draft, Options, Task, shown
from crowdllm_jax.study.draft.people import cells_of, no_profile, profile_of, weight_of
from crowdllm_jax.study.draft.row_people import texts_of
from crowdllm_jax.study.draft.words import is_no_answer
from crowdllm_jax.study.formats.sheet import Field, Sheet
from crowdllm_jax.study.scales import Nominal
from crowdllm_jax.study.tables import rows as named_rows

NONE = "none"
"""The level of who chose no option of a set."""
FEW_LEVELS = 4
"""So many name a scale."""


@dataclass(frozen=True)
class _Set:
    """One person's set.

    Attributes:
      rows: of its options. labels: their names. levels: those of its scale, in their order.
      chosen: a level.
    """

    rows: np.ndarray
    labels: tuple[str, ...]
    levels: tuple[str, ...]
    chosen: str


def from_sets(sheet: Sheet, sets: Sets, choices: Choices) -> Draft:
    """Make a study of choice sets: a set is a task, as often as somebody saw another one."""
    several, silent = _several(sets)
    first = np.array([one.rows[0] for one in several])
    people, seen, person = np.unique(
        sets.person.column.codes[first], return_index=True, return_inverse=True
    )
    name_of = _scale_names(several)
    tasks, task, shown_in = _tasks(sets, several, person, name_of)
    left_out: list[str] = []
    options = _options(sets, [several[at] for at in shown_in], choices, left_out)
    told = _reasons(sets, (len(several), len(tasks), silent), options)
    reasons = [*sheet.notes, *told, *left_out]
    weight = weight_of(replace(sheet, fields=_of_people(sheet, sets)), choices)
    used = (sets.person, sets.task, sets.option, sets.chosen, *sets.attributes, weight)
    rest = [f for f in sheet.fields if f not in used and f.name not in choices.out]
    own = [f for f in rest if told_by(sets.person, f) and not no_profile(sets.person, f)]
    if choices.profile:
        own = [f for f in own if f.name in choices.profile]
    if left := [f.name for f in rest if f not in own and f.column.distinct]:
        reasons.append(f"Left out, since they describe neither options nor people: {shown(left)}.")
    answers = tuple(dict.fromkeys(one.chosen for one in several))
    return Draft(
        sheet.what,
        tuple(sets.person.column.distinct[code] for code in people),
        profile_of(own, first[seen], reasons, choices.missing),
        cells_of(weight, first[seen]) if weight is not None else None,
        tuple(tasks),
        person.astype(np.int32),
        task,
        np.array([answers.index(one.chosen) for one in several], np.int32),
        answers,
        {name: Nominal(levels=levels) for levels, name in name_of.items()},
        {},
        tuple(reasons),
        options,
    )


def _of_people(sheet: Sheet, sets: Sets) -> tuple[Field, ...]:
    """The columns that are the same in all rows of a person."""
    return tuple(f for f in sheet.fields if told_by(sets.person, f))


def _several(sets: Sets) -> tuple[list[_Set], int]:
    """All sets, and of how many no option was chosen."""
    names_of = texts_of(sets.option) if sets.option is not None else None
    marks = marks_of(sets.chosen)
    found = []
    for rows in _by_set(sets):
        counted = map(str, range(1, len(rows) + 1))
        labels = tuple(counted if names_of is None else (names_of[row] for row in rows))
        taken = [label for label, row in zip(labels, rows, strict=True) if marks[row]]
        found.append((rows, labels, taken[0] if taken else NONE))
    silent = sum(chosen not in labels for _, labels, chosen in found)
    further = {NONE} if silent else set()
    return [
        _Set(rows, labels, (*_in_order(labels), *(further - {*labels})), chosen)
        for rows, labels, chosen in found
    ], silent


def _by_set(sets: Sets) -> list[np.ndarray]:
    """The rows of each set, options in the order of their names."""
    place = np.zeros(len(sets.group))
    if sets.option is not None:
        texts = sets.option.column.distinct
        rank = {text: at for at, text in enumerate(_in_order(texts))}
        place = np.array([rank[text] for text in texts])[sets.option.column.codes]
    row = np.lexsort([place, sets.group])
    starts = np.flatnonzero(np.diff(sets.group[row], prepend=-1))
    return np.split(row, starts[1:])


def _in_order(labels: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(labels, key=lambda text: (numerals.number(text) or 0.0, text)))


def _scale_names(several: list[_Set]) -> dict[tuple[str, ...], str]:
    """What the scales of sets with the same options are called."""
    found: dict[tuple[str, ...], str] = {}
    for levels in dict.fromkeys(one.levels for one in several):
        few = len(levels) <= FEW_LEVELS
        name = f"one of {', '.join(levels)}" if few else f"one of {len(levels)}"
        found[levels] = name if name not in found.values() else f"{name}, {len(found) + 1}"
    return found


def _tasks(
    sets: Sets, several: list[_Set], person: np.ndarray, scale_of: dict[tuple[str, ...], str]
) -> tuple[list[Task], np.ndarray, list[int]]:
    """The different sets; which of them each person's are; and where each is among all.

    One that somebody saw twice is another one the second time."""
    codes = np.stack([f.column.codes for f in sets.attributes], axis=1)
    said = {f.name: texts_of(f) for f in sets.attributes}
    whose, called = texts_of(sets.person), texts_of(sets.task or sets.person)
    tasks: dict[object, Task] = {}
    first_in: list[int] = []
    seen: Counter[object] = Counter()
    ids: set[str] = set()
    place: dict[object, int] = {}
    task = np.zeros(len(several), np.int32)
    for number, one in enumerate(several):
        content = (one.levels, one.labels, codes[one.rows].tobytes())
        seen[person[number], content] += 1
        key = (content, seen[person[number], content])
        if key not in tasks:
            row = one.rows[0]
            name = called[row]
            while name in ids:
                # Apart by more than a blank, or 1 11 and 11 1 would look alike.
                name = f"{whose[row]}: {name}"
            ids.add(name)
            place[key] = len(tasks)
            tasks[key] = Task(name, _text(one, said), scale_of[one.levels])
            first_in.append(number)
        task[number] = place[key]
    return list(tasks.values()), task, first_in


def _text(one: _Set, said: dict[str, list[str]]) -> str:
    """What somebody is asked: which of these, each with what is said of it."""
    told = []
    for label, row in zip(one.labels, one.rows, strict=True):
        about = ", ".join(f"{name} {texts[row]}" for name, texts in said.items() if texts[row])
        told.append(f"{label} ({about})" if about else label)
    return f"Which do you choose: {' or '.join(told)}?"


def _options(sets: Sets, several: list[_Set], choices: Choices, reasons: list[str]) -> Options:
    """What is said of the options of every task."""
    _refuse_blank(sets, several)
    rows = np.concatenate([one.rows for one in several])
    task = np.repeat(np.arange(len(several)), [len(one.rows) for one in several])
    numbers = [f for f in sets.attributes if numeric(f)]
    others = [f for f in sets.attributes if f not in numbers]
    said = profile_of(others, rows, reasons)
    for field in numbers:
        said[field.name] = "numeric", cells_of(field, rows)
    for name, (kind, cells) in said.items():
        silent = {text for text in cells if kind == "numeric" and is_no_answer(text)}
        gone = (text in silent or text in choices.missing for text in cells)
        said[name] = kind, ["" if no else text for no, text in zip(gone, cells, strict=True)]
    order = [f.name for f in sets.attributes if f.name in said]
    if not order:
        raise CrowdError(
            f"what differs within sets ({shown(f.name for f in sets.attributes)}) is told in texts "
            "that are nearly all different; describe options by columns of numbers or of levels"
        )
    level = [label for one in several for label in one.labels]
    return Options(task.astype(np.int32), level, {name: said[name] for name in order})


def _refuse_blank(sets: Sets, several: list[_Set]) -> None:
    """Raise CrowdError if nothing is said of an option that is described in other sets."""
    silent = np.all([f.column.codes < 0 for f in sets.attributes], axis=0)
    rows = np.concatenate([one.rows for one in several])
    labels = np.array([label for one in several for label in one.labels])
    described = {*labels[~silent[rows]]}
    for label, row in zip(labels[silent[rows]], rows[silent[rows]], strict=True):
        if label in described:
            where = named_rows(sets.chosen.column.in_file(np.array([row])))
            raise CrowdError(
                f"nothing is said of option '{label}' in {where}, but elsewhere it is; fill in "
                f"{shown(f.name for f in sets.attributes)}, or leave the set out"
            )


def _reasons(sets: Sets, counted: tuple[int, int, int], options: Options) -> list[str]:
    """Why it is so; `counted`: how many sets were answered, differ, had no option chosen."""
    answered, different, silent = counted
    named = "" if sets.option is None else f", {sets.option.name} what it is called"
    told = [
        f"A row is an option of a choice set: {sets.person.name} says who chose"
        f"{'' if sets.task is None else f', {sets.task.name} in which set'}{named}, "
        f"{sets.chosen.name} whether it was chosen.",
        f"{answered:,} sets were answered, {different:,} of them different; an option is told "
        f"by {shown(options.said)}.",
    ]
    if silent:
        told.append(
            f"In {silent:,} sets no option was chosen, which is taken for '{NONE}'; if they went "
            "unanswered, delete their rows."
        )
    return told
