"""What a table with a row per answer tells of people: in rows of its own (`age`, 34), as if it had
been a task, or in a column that is filled where it was asked."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from crowdllm_jax.runtime.numerals import number
from crowdllm_jax.study.draft import own_names, profile_names
from crowdllm_jax.study.draft.draft import Choices, shown
from crowdllm_jax.study.draft.words import is_no_answer
from crowdllm_jax.study.formats.sheet import Field, Sheet, only_rows, unique_names

AGES, FEWEST_AGES = (10, 110), 5


@dataclass(frozen=True)
class Told:
    """A table without the rows that tell of people: `sheet` has columns in their place."""

    sheet: Sheet
    person: Field
    task: Field
    response: Field


def rows_in_columns(
    sheet: Sheet, keys: tuple[Field, Field, Field], text: Field | None, choices: Choices
) -> Told | None:
    """A table in which what its rows tell of people stands in columns; None if no row does.

    Args:
      keys: the columns of people, tasks and answers. text: what was asked, if a column says so.
    """
    person, task, response = keys
    asked = _texts(task, text)
    known = [
        code
        for code, name in enumerate(task.column.distinct)
        if name not in choices.questions and profile_names.is_profile(name, asked[code])
    ]
    noted = [
        code
        for code, name in enumerate(task.column.distinct)
        if name not in choices.questions and code not in known and own_names.is_own(name)
    ]
    given = {code: _answers(task, response, [code]) for code in (*known, *noted)}
    rest = [code for code in range(len(asked)) if code not in given]
    others = _answers(task, response, rest)
    found = _of_people({code: given[code] for code in known}, others, task, asked)
    noted = [code for code in noted if others and _apart(given[code], others)]
    if not found and not noted:
        return None
    called = [task.column.distinct[code] for code in found]
    fields = [_column(person, response, task.column.codes == code, asked[code]) for code in found]
    taken = [field.name for field in sheet.fields]
    new = unique_names([*taken, *called])[len(taken) :]
    fields = [replace(field, name=name) for field, name in zip(fields, new, strict=True)]
    whole = replace(
        sheet,
        fields=(*sheet.fields, *fields, *keys),
        notes=(*sheet.notes, *_notes(keys, called, noted)),
    )
    kept = only_rows(whole, ~np.isin(task.column.codes, [*found, *noted]))
    *own, person, task, response = kept.fields
    key = {field.name: field for field in (person, task, response)}
    own = [key.get(field.name, field) for field in own]
    return Told(replace(kept, fields=tuple(own)), person, task, response)


def _notes(keys: Sequence[Field], called: Sequence[str], noted: Sequence[int]) -> list[str]:
    """Sentences on the rows that tell of people, and on those that a program noted."""
    person, task, _ = keys
    keeps = f"(--id '{person.name}' --task '{task.name}' --questions A,B keeps some as questions)"
    told = (
        f"Rows of {shown(called, 8)} tell of people, and answer no question: the profile {keeps}."
    )
    own = shown((task.column.distinct[code] for code in noted), 8)
    left = f"Left out, rows of {own}, which no question is behind {keeps}."
    return [told] * bool(called) + [left] * bool(noted)


def _texts(task: Field, text: Field | None) -> list[str]:
    """What was asked in each task, its name where nothing says so."""
    if text is None:
        return [*task.column.distinct]
    told = dict(zip(task.column.codes.tolist(), text.column.codes.tolist(), strict=True))
    return [
        text.column.distinct[told[code]] if told.get(code, -1) >= 0 else name
        for code, name in enumerate(task.column.distinct)
    ]


def _answers(task: Field, response: Field, codes: Sequence[int]) -> frozenset[str]:
    rows = np.isin(task.column.codes, codes) & (response.column.codes >= 0)
    texts = (response.column.distinct[i] for i in np.unique(response.column.codes[rows]))
    return frozenset(text for text in texts if not is_no_answer(text))


def _of_people(
    given: dict[int, frozenset[str]], others: frozenset[str], task: Field, asked: Sequence[str]
) -> list[int]:
    """The tasks that tell of people, by their names and by being answered otherwise than others: of
    things that are rated (income, religion) none is."""
    if not others:
        return []
    apart = {code for code, own in given.items() if own and _apart(own, others)}
    called = [text for code in apart for text in (task.column.distinct[code], asked[code])]
    sure = any(profile_names.is_age(text) or profile_names.is_gender(text) for text in called)
    return [
        code for code, own in given.items() if code in apart or (sure and own and own != others)
    ]


def _apart(own: frozenset[str], others: frozenset[str]) -> bool:
    """Whether answers are given nowhere else, or are ages beside numbers that are none."""
    if not own & others:
        return True
    numbers = [number(text) for text in own]
    known = [value for value in numbers if value is not None]
    low = [value for text in others if (value := number(text)) is not None and value < AGES[0]]
    ages = len(known) == len(numbers) >= FEWEST_AGES and bool(low)
    return ages and min(known) >= AGES[0] and max(known) <= AGES[1]


def _column(person: Field, response: Field, rows: np.ndarray, text: str) -> Field:
    """What some rows (R,) bool say of people, in all rows of these."""
    said = np.full(len(person.column.distinct) + 1, -1, np.int32)
    said[person.column.codes[rows]] = response.column.codes[rows]
    codes = said[person.column.codes]
    used = np.unique(codes[codes >= 0])
    place = np.full(len(response.column.distinct) + 1, -1, np.int32)
    place[used] = np.arange(len(used))
    distinct = tuple(response.column.distinct[i] for i in used)
    cells = replace(response.column, codes=place[codes], distinct=distinct)
    return Field(text, cells, text)


def spread(sheet: Sheet, person: Field) -> Sheet:
    """A sheet in which columns that describe people, and are blank in most rows, are filled in all
    of a person's, where these say one thing."""
    return replace(sheet, fields=tuple(_spread(field, person) for field in sheet.fields))


def _spread(field: Field, person: Field) -> Field:
    own, who = field.column, person.column
    silent = (own.codes < 0) & (who.codes >= 0)
    named = profile_names.is_profile(field.name, field.text) and field is not person
    # A cell that is blank amid others is a slip, of which is told.
    if not named or field.use is not None or 2 * np.sum(silent) < len(silent):
        return field
    known = (own.codes >= 0) & (who.codes >= 0)
    pairs = np.unique(np.stack([who.codes[known], own.codes[known]]), axis=1)
    if len(np.unique(pairs[0])) < len(pairs[0]):
        return field
    said = np.full(len(who.distinct) + 1, -1, np.int32)
    said[pairs[0]] = pairs[1]
    codes = np.where(who.codes >= 0, said[who.codes], own.codes).astype(np.int32)
    return replace(field, cells=replace(own, codes=codes))
