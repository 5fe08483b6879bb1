"""Columns of answers one below the other: a row that answers several questions becomes several."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.numerals import number
from crowdllm_jax.study.draft import names, own_names, profile_names
from crowdllm_jax.study.draft.draft import Choices, as_flag, shown
from crowdllm_jax.study.draft.guess import Guess, guess
from crowdllm_jax.study.draft.row_people import is_persons_id, unique
from crowdllm_jax.study.draft.wide_table import answered
from crowdllm_jax.study.draft.words import is_no_answer
from crowdllm_jax.study.formats.sheet import (
    Field,
    Sheet,
    Use,
    check_size,
    column_of,
    unique_names,
)
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
MOST_TURNED = 1_000


def people_in_rows(sheet: Sheet, choices: Choices) -> Sheet:
    """A sheet with a row per answer of one in which columns are called after people (`rater_1`,
    `rater_2`) and rows are tasks, or with a row per person, if some rows describe people; any other
    as it is.
    """
    said = (choices.person, choices.response, *choices.questions, *choices.profile)
    if any(said) or any(f.use for f in sheet.fields):
        return sheet
    fields = [f for f in sheet.fields if f.name not in choices.out and f.column.distinct]
    if choices.task is not None:
        return _said_to_be_tasks(sheet, fields, choices.task)
    people = [f for f in sheet.fields if f.name not in choices.out and _a_rater(f)]
    raters = len(people) >= FEWEST_RATERS or (bool(_keys(fields)) and _a_pair(people))
    if not raters:
        people = _numbered(fields)
        # Beside what describes people, `Player 3` is what they are asked about.
        profile = any(profile_names.is_profile(f.name, f.text) for f in fields if f not in people)
        people = people if len(people) >= FEWEST_PEOPLE and not profile else []
    others = [f for f in fields if f not in people]
    rated = raters and len(others) == 1
    if any(unique(f) and _holds_people(f.name, rated=rated) for f in others):
        return sheet
    tasks = [f for f in others if unique(f)]
    tasks = [f for f in tasks if names.is_task(f.name)] or tasks
    if people and tasks and _describe_people(people, tasks[0]):
        return _turned_over(sheet, people, tasks[0])
    if not people or not tasks or not _alike(people, choices):
        return sheet
    return _with_tasks(sheet, people, tasks[0])


def _describe_people(people: Sequence[Field], key: Field) -> bool:
    """Whether a row is called after what people are, and says of them what no other row says: as
    a topic that people rate, age has their answers to other topics."""
    said = [
        {f.cells.distinct[f.cells.codes[row]] for f in people if f.cells.codes[row] >= 0}
        for row in range(len(key.column.codes))
    ]
    often = Counter(text for row in said for text in row)
    return any(
        profile_names.is_profile(key.column.distinct[code], "")
        and row
        and all(often[text] == 1 for text in row)
        for code, row in zip(key.column.codes, said, strict=True)
    )


def _with_tasks(sheet: Sheet, people: Sequence[Field], task: Field) -> Sheet:
    told = f"A column is a person, and a row is a task, named by {task.name}."
    sheet = _turned(replace(sheet, notes=(*sheet.notes, told)), people)
    fields = (replace(f, use="task") if f.name == task.name else f for f in sheet.fields)
    return replace(sheet, fields=tuple(fields))


def _said_to_be_tasks(sheet: Sheet, fields: Sequence[Field], name: str) -> Sheet:
    """A sheet with a row per answer, if each row is a task of its own: whose the others' columns
    are, these say themselves. What is a number in one and a word in another is no answer alike."""
    task = sheet.field(name, "--task")
    numbers = [f for f in fields if f is not task and _numeric(f)]
    words = [f for f in fields if f is not task and not _numeric(f) and not unique(f)]
    people = max(numbers, words, key=len)
    known = any(names.is_person(f.name) for f in fields if f is not task)
    if not unique(task) or known or len(people) < 2:
        return sheet
    return _with_tasks(sheet, people, task)


def _numeric(field: Field) -> bool:
    return all(number(text) is not None or is_no_answer(text) for text in field.column.distinct)


_QUESTION = re.compile(r"(?i)(q|qu|question|frage|item|v|var|x)[\W_]?\d+.*|.*\?")


_FIRST_NAME = re.compile(r"[A-Z][^\W\d_]*\.?")


def ask_whose_columns(sheet: Sheet, choices: Choices) -> None:
    """Raise CrowdError if rows are tasks, by the name of their first column, and nothing tells of
    people: those of a tasting may be what the other columns are called."""
    told = (
        choices.questions or choices.profile or choices.person or any(f.use for f in sheet.fields)
    )
    fields = [f for f in sheet.fields if f.name not in choices.out and f.column.distinct]
    tasks = _keys(fields)
    others = [f for f in fields if f not in tasks]
    about = any(_of_people(f) or own_names.is_own(f.name) or _a_rater(f) for f in others)
    if told or not tasks or about or any(_QUESTION.fullmatch(f.name) for f in others):
        return
    answers = [f for f in others if not unique(f) and _is_scaled(f, choices)]
    if not all(_FIRST_NAME.fullmatch(f.name) for f in answers):
        return
    texts = {frozenset(f.column.distinct) for f in answers if not _numeric(f)}
    if len(answers) < FEWEST_RATERS or len(answers) < len(others) - 1 or len(texts) > 1:
        return
    name = tasks[0].name
    raise CrowdError(
        f"each row is of another '{name}', and no column says whose answers "
        f"{shown((f.name for f in answers), 4)} hold. If each of these columns is a person, say "
        f"--task '{name}'; --leave-out {as_flag([name])} takes each row for a person"
    )


def _keys(fields: Sequence[Field]) -> list[Field]:
    """The first column, if it is that of tasks by its name and rows are one each; else none."""
    return [f for f in fields[:1] if unique(f) and names.is_task(f.name)]


def _of_people(field: Field) -> bool:
    named = names.is_person(field.name) or names.is_contact(field.name)
    return (
        named or profile_names.is_profile(field.name, field.text) or names.is_weight(field.name, "")
    )


def _is_scaled(field: Field, choices: Choices) -> bool:
    try:
        return isinstance(guess(answered(field, 1), choices), Guess)
    except CrowdError:
        return True


def _turned_over(sheet: Sheet, people: Sequence[Field], key: Field) -> Sheet:
    """A sheet with a row per person of one with a row per question."""
    rows = sheet.rows
    if rows > MOST_TURNED:
        return sheet
    cells = below(sheet.path, "answer", people, None).cells
    codes = cells.codes.reshape(len(people), rows)
    ids = tuple(field.name for field in people)
    person = Column(np.arange(len(ids), dtype=np.int32), ids, f"{sheet.path}: names of columns")
    fields = [Field("participant", person, use="person")]
    for row, text in enumerate(key.column.distinct[code] for code in key.column.codes):
        column = column_of(
            sheet.path, text, (cells.distinct[c] if c >= 0 else None for c in codes[:, row])
        )
        fields.append(Field(text, column))
    told = f"A column is a person, and a row a question, named by {key.name}."
    called = unique_names([field.name for field in fields])
    fields = [replace(field, name=name) for field, name in zip(fields, called, strict=True)]
    return replace(sheet, rows=len(people), fields=tuple(fields), notes=(*sheet.notes, told))


_RATED = re.compile(
    r"(?i)(patient|student|pupil|candidate|applicant|employee|subject|case|proband|athlete)s?"
)


def _holds_people(name: str, *, rated: bool) -> bool:
    """Whether a name is that of ids of which each row has its own, as a row is a person, who is not
    rated himself, as patients are."""
    about = rated and _RATED.match(name) is not None
    own = names.is_person(name) and names.numbers_people(name) and not about
    return names.is_contact(name) or own


_LABELLED = re.compile(
    r"(?i)(.*\D\d{1,3})[\W_]+(label|rating|answer|score|response|vote|judge?ment)"
)
_SHORT = re.compile(r"(?i)(p|j|vp|pp|ppt|subj?|resp)[\W_]?0\d{1,2}|(vp|pp|ppt|subj?)[\W_]?\d{1,3}")


def _a_pair(people: Sequence[Field]) -> bool:
    """Whether columns are those of two people, `reviewer_1` and `reviewer_2`."""
    stems = {re.sub(r"[\W_]*\d+$", "", _person_in(f.name)) for f in people}
    return len(people) == 2 and len(stems) == 1 and len(names.tokens(stems.pop())) == 1


def _person_in(name: str) -> str:
    """Whose a column is: the `worker3` of `worker3_label`."""
    return match[1] if (match := _LABELLED.fullmatch(name)) else name


def _numbered(fields: Sequence[Field]) -> list[Field]:
    """Columns that are called after one of several people (`Person 7`, `worker3_label`); also by a
    letter or two (`P01`), if rows are tasks by the name of their first column and nothing else
    stands beside."""
    found = []
    for field in fields:
        name = _person_in(field.name)
        if names.numbers_people(name) and names.numbers_somebody(name):
            found.append(field)
    short = [f for f in fields if _SHORT.fullmatch(f.name)]
    rest = [f for f in fields if f not in short]
    return short if rest == _keys(fields) and rest and not found else found


def _a_rater(field: Field) -> bool:
    """Whether a column is called after one of several people who answer about things, or by an id
    that is nothing else than a person's."""
    if is_persons_id(field.name):
        return True
    name = _person_in(field.name)
    short = re.fullmatch(r"(?i)ann(ot|otator)?[\W_]?\d{1,2}", name)
    named = names.is_rater(name) and re.search(r"[\W_\d]\w{0,3}$", name)
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
