"""Columns of answers one below the other: a row that answers several questions becomes several."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.draft import names
from crowdllm_jax.study.draft.draft import Choices
from crowdllm_jax.study.draft.guess import Guess, guess
from crowdllm_jax.study.draft.row_people import unique
from crowdllm_jax.study.draft.wide_table import answered
from crowdllm_jax.study.formats.sheet import Field, Sheet, Use, check_size, unique_names
from crowdllm_jax.study.scales import Continuous
from crowdllm_jax.study.tables import Column


def below(path: Path, name: str, columns: Sequence[Field], use: Use | None) -> Field:
    """Columns of R rows as one of their number times R rows."""
    index: dict[str, int] = {}
    codes = []
    for column in columns:
        place = [index.setdefault(text, len(index)) for text in column.column.distinct]
        codes.append(np.array([*place, -1], np.int32)[column.column.codes])
    cells = Column(np.concatenate(codes), tuple(index), f"{path}: column '{name}'")
    first = columns[0]
    alike = all(column.labels == first.labels for column in columns)
    labels, ordered = (first.labels, first.ordered) if alike else ((), None)
    missing = frozenset[str]().union(*(column.missing for column in columns))
    return Field(name, cells, "", labels, missing, use, ordered)


def stacked(sheet: Sheet, answers: Sequence[Field], task: Field, text: Field | None) -> Sheet:
    """A sheet in which each row answers one question: columns `answers` below each other.

    A task is then a task of before with a question (`wine 3 [aroma]`), and each question has a
    scale of its own.
    """
    many = len(answers)
    check_size(sheet.path, sheet.rows * many, len(sheet.fields))
    group = np.repeat(np.arange(many, dtype=np.int32), sheet.rows)
    asked = tuple(field.text or field.name for field in answers)
    where = f"{sheet.path}: column '"
    fields = [
        replace(
            _asked(field, asked) if field in (task, text) else again(field, many),
            use="task" if field is task else "text" if field is text else field.use,
        )
        for field in sheet.fields
        if field not in answers
    ]
    response = below(sheet.path, "answer", answers, "response")
    kind = Field("question", Column(group, asked, f"{where}question'"), use="group")
    taken = [field.name for field in fields]
    called = unique_names([*taken, response.name, kind.name])[len(taken) :]
    fields += [replace(f, name=n) for f, n in zip((response, kind), called, strict=True)]
    return replace(sheet, rows=sheet.rows * many, fields=tuple(fields))


def again(field: Field, many: int) -> Field:
    """A column below itself, as often as is said."""
    codes = np.tile(field.cells.codes, many)
    return replace(field, cells=replace(field.cells, codes=codes, places=_places(field, many)))


def _places(field: Field, many: int) -> np.ndarray:
    """Which rows of the file stand below each other."""
    return np.tile(field.cells.in_file(np.arange(len(field.cells.codes))), many)


def _asked(field: Field, asked: Sequence[str]) -> Field:
    """Ids (or texts) with each of the questions."""
    column = field.column
    texts = tuple(f"{text} [{question}]" for question in asked for text in column.distinct)
    size = len(column.distinct)
    codes = [
        np.where(column.codes >= 0, column.codes + size * place, -1) for place in range(len(asked))
    ]
    cells = replace(
        column,
        codes=np.concatenate(codes).astype(np.int32),
        distinct=texts,
        places=_places(field, len(asked)),
    )
    return replace(field, cells=cells, labels=())


FEWEST_RATERS, FEWEST_PEOPLE = 3, 5


def people_in_rows(sheet: Sheet, choices: Choices) -> Sheet:
    """A sheet with a row per answer of one in which columns are called after people (`rater_1`,
    `rater_2`) and rows are tasks; any other as it is."""
    said = (choices.person, choices.task, choices.response)
    if any(said) or choices.questions or choices.profile or any(f.use for f in sheet.fields):
        return sheet
    fields = [f for f in sheet.fields if f.name not in choices.out]
    people = [f for f in fields if _a_rater(f)]
    if len(people) < FEWEST_RATERS:
        people = [f for f in fields if _a_person(f)]
        # Beside what describes people, `Player 3` is what they are asked about.
        profile = any(names.is_profile(f.name, f.text) for f in fields if f not in people)
        people = people if len(people) >= FEWEST_PEOPLE and not profile else []
    if any(unique(f) and _holds_people(f.name) for f in fields if f not in people):
        return sheet
    tasks = [f for f in sheet.fields if f not in people and unique(f)]
    tasks = [f for f in tasks if names.is_task(f.name)] or tasks
    if not people or not tasks or not _alike(people, choices):
        return sheet
    told = f"A column is a person, and a row is a task, named by {tasks[0].name}."
    sheet = replace(sheet, notes=(*sheet.notes, told))
    sheet = _turned(sheet, people)
    return replace(
        sheet,
        fields=tuple(
            replace(f, use="task") if f.name == tasks[0].name else f for f in sheet.fields
        ),
    )


def _holds_people(name: str) -> bool:
    """Whether a name is that of ids of which each row has its own, as a row is a person."""
    return names.is_contact(name) or (names.is_person(name) and names.numbers_people(name))


def _a_person(field: Field) -> bool:
    """Whether a column is called after one of several people: `Person 7`."""
    return names.numbers_people(field.name) and names.numbers_somebody(field.name)


def _a_rater(field: Field) -> bool:
    """Whether a column is called after one of several people who answer about things."""
    short = re.fullmatch(r"(?i)ann(ot|otator)?[\W_]?\d{1,2}", field.name)
    named = names.is_rater(field.name) and re.search(r"[\W_\d]\w{0,3}$", field.name)
    return bool(short or named)


def _alike(people: Sequence[Field], choices: Choices) -> bool:
    """Whether columns are answered on scales that have levels, and nobody is left out."""
    try:
        guesses = [guess(answered(field, len(people)), choices) for field in people]
    except CrowdError:
        return True  # what is not clear is asked for later
    scaled = [found.scale for found in guesses if isinstance(found, Guess)]
    return 2 * len(scaled) > len(people) and not any(isinstance(s, Continuous) for s in scaled)


def _turned(sheet: Sheet, people: Sequence[Field]) -> Sheet:
    called = tuple(field.name for field in people)
    codes = np.repeat(np.arange(len(called), dtype=np.int32), sheet.rows)
    fields = [again(field, len(called)) for field in sheet.fields if field not in people]
    person = Column(codes, called, f"{sheet.path}: columns of people")
    fields.append(Field("participant", person, use="person"))
    fields.append(below(sheet.path, "response", people, "response"))
    return replace(sheet, rows=sheet.rows * len(called), fields=tuple(fields))
