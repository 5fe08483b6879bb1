"""A table with a row for every option of a choice set, as conjoint analysis has it, as a study."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime import numerals
from crowdllm_jax.study.draft import names
from crowdllm_jax.study.draft.crossed import together, told_by
from crowdllm_jax.study.draft.draft import Choices, Draft, Options, Task, shown
from crowdllm_jax.study.draft.people import cells_of, profile_of, weight_of
from crowdllm_jax.study.draft.wide_table import numbers_rows
from crowdllm_jax.study.draft.words import is_no_answer
from crowdllm_jax.study.formats.sheet import Field, Sheet
from crowdllm_jax.study.scales import Nominal
from crowdllm_jax.study.tables import rows as named_rows

NONE = "none"
"""The level of who chose no option of a set."""
MOST_OPTIONS, FEW_LEVELS = 50, 4
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
    anybody = [f for f in whole if not names.is_own(f.name)]
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
    rows, taken = np.bincount(group), np.bincount(group, _marks(chosen))
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
    varied = tuple(f for f in said if _varies(f, group))
    # Rows that have an age and a sex are people, unless they are called options.
    if not varied or (not called and any(names.is_profile(f.name, f.text) for f in varied)):
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
    rows, taken = np.bincount(group), np.bincount(group, _marks(chosen))
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
    if names.says_chosen(field.name) or np.array_equal(_marks(field), _marks(chosen)):
        return True
    if not _numeric(field) or (field.column.codes < 0).any():
        return False
    number = np.array([numerals.number(text) or 0.0 for text in field.column.distinct])
    value = number[field.column.codes]
    marked = _marks(chosen)
    ends = []
    for sign in (1, -1):
        best = np.full(group.max() + 1, -np.inf)
        np.maximum.at(best, group[~marked], (sign * value)[~marked])
        ends.append(bool(((sign * value)[marked] > best[group[marked]]).all()))
    return any(ends)


def _may_be_chosen(field: Field, choices: Choices) -> bool:
    """Whether a column marks rows as chosen or not."""
    texts = {text.casefold() for text in field.column.distinct}
    marked = bool(texts & _CHOSEN) and texts <= _CHOSEN | _NOT and len(texts) <= 2
    if choices.response is not None:
        return marked and field.name == choices.response
    return marked and (names.says_chosen(field.name) or names.is_response(field.name))


def _marks(field: Field) -> np.ndarray:
    """(R,) bool, the rows that are chosen."""
    marked = [text.casefold() in _CHOSEN for text in field.column.distinct]
    return np.array([*marked, False])[field.column.codes]


def _count(field: Field) -> int:
    return len(field.column.distinct)


def _rows(field: Field) -> int:
    return len(field.column.codes)


def _varies(field: Field, group: np.ndarray) -> bool:
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
        always = _count(field) * len(np.unique(group)) == len(group) and not _numeric(field)
        if apart and (called or always):
            found.append((not called, _count(field), field))
    return min(found, key=lambda one: one[:2])[2] if found else None


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
    reasons = [*sheet.notes, *_reasons(sets, len(several), len(tasks), silent)]
    options = _options(sets, [several[at] for at in shown_in], choices, reasons)
    weight = weight_of(replace(sheet, fields=_of_people(sheet, sets)), choices)
    used = (sets.person, sets.task, sets.option, sets.chosen, *sets.attributes, weight)
    rest = [f for f in sheet.fields if f not in used and f.name not in choices.out]
    own = [f for f in rest if told_by(sets.person, f) and not names.is_own(f.name)]
    if choices.profile:
        own = [f for f in own if f.name in choices.profile]
    if left := [f.name for f in rest if f not in own and f.column.distinct]:
        reasons.append(f"Left out, since they describe neither options nor people: {shown(left)}.")
    answers = tuple(dict.fromkeys(one.chosen for one in several))
    return Draft(
        sheet.what,
        tuple(sets.person.column.distinct[code] for code in people),
        profile_of(own, first[seen], reasons),
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
    names_of = _texts(sets.option) if sets.option is not None else None
    marks = _marks(sets.chosen)
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


def _texts(field: Field) -> list[str]:
    return cells_of(field, np.arange(len(field.column.codes)))


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
    said = {f.name: _texts(f) for f in sets.attributes}
    whose, called = _texts(sets.person), _texts(sets.task or sets.person)
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
                name = f"{whose[row]} {name}"
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
    numeric = [f for f in sets.attributes if _numeric(f)]
    others = [f for f in sets.attributes if f not in numeric]
    said = profile_of(others, rows, reasons)
    for field in numeric:
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
    for row in np.flatnonzero(silent[rows]):
        same = labels == labels[row]
        if not silent[rows[same]].all():
            where = named_rows(sets.chosen.column.in_file(rows[row : row + 1]))
            raise CrowdError(
                f"nothing is said of option '{labels[row]}' in {where}, but elsewhere it is; fill "
                f"in {shown(f.name for f in sets.attributes)}, or leave the set out"
            )


def _numeric(field: Field) -> bool:
    """Numbers, of which there are more than two; prices may then be others than were shown."""
    texts = [text for text in field.column.distinct if not is_no_answer(text)]
    plain = not field.labels and all(numerals.number(text) is not None for text in texts)
    return plain and len(texts) > 2


def _reasons(sets: Sets, shown_sets: int, different: int, silent: int) -> list[str]:
    named = "" if sets.option is None else f", {sets.option.name} what it is called"
    told = [
        f"A row is an option of a choice set: {sets.person.name} says who chose"
        f"{'' if sets.task is None else f', {sets.task.name} in which set'}{named}, "
        f"{sets.chosen.name} whether it was chosen.",
        f"{shown_sets:,} sets were answered, {different:,} of them different; an option is told "
        f"by {shown(f.name for f in sets.attributes)}.",
    ]
    if silent:
        told.append(
            f"In {silent:,} sets no option was chosen, which is taken for '{NONE}'; if they went "
            "unanswered, delete their rows."
        )
    return told
