"""From a file, or a data frame, to a draft of a study."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.given import told
from crowdllm_jax.runtime.numerals import number
from crowdllm_jax.study.draft import names
from crowdllm_jax.study.draft.amounts import plain_amounts
from crowdllm_jax.study.draft.ballots import from_election
from crowdllm_jax.study.draft.best_worst import refuse_best_worst
from crowdllm_jax.study.draft.choice_sets import sets_of
from crowdllm_jax.study.draft.coded import with_labels_in_order
from crowdllm_jax.study.draft.conjoint import from_sets
from crowdllm_jax.study.draft.draft import SAID, Choices, Draft, as_flag, with_said
from crowdllm_jax.study.draft.long_keys import keys_of
from crowdllm_jax.study.draft.long_table import from_long
from crowdllm_jax.study.draft.multiple import apart_by_blanks
from crowdllm_jax.study.draft.objects import with_objects_opened
from crowdllm_jax.study.draft.people import joined
from crowdllm_jax.study.draft.published_draft import from_published
from crowdllm_jax.study.draft.published_tables import published
from crowdllm_jax.study.draft.side_by_side import side_by_side
from crowdllm_jax.study.draft.spelling import one_spelling
from crowdllm_jax.study.draft.stacked import ask_whose_columns, people_in_rows
from crowdllm_jax.study.draft.totals import (
    with_texts_below,
    without_blank_rows,
    without_totals,
    without_units,
)
from crowdllm_jax.study.draft.wide_table import from_wide
from crowdllm_jax.study.draft.word_lists import folded
from crowdllm_jax.study.draft.write import study_of_draft
from crowdllm_jax.study.formats.delimited import with_points
from crowdllm_jax.study.formats.frame import read_frame
from crowdllm_jax.study.formats.open import read_file
from crowdllm_jax.study.formats.pabulib import Election
from crowdllm_jax.study.formats.qualtrics import read_questionnaire, with_questionnaire
from crowdllm_jax.study.formats.sheet import Field, Sheet
from crowdllm_jax.study.records import Study


def draft_of_file(
    path: Path,
    choices: Choices = Choices(),  # noqa: B008
    *,
    encoding: str | None = None,
    sheet: str | None = None,
    people: Path | None = None,
    questionnaire: Path | None = None,
) -> Draft:
    """Make a study of a file.

    Args:
      encoding: of a CSV that does not say so itself. sheet: of a workbook.
      people: a table of people, joined by their ids. questionnaire: a .qsf of Qualtrics.
    Raises:
      CrowdError: the file cannot be read, or what has to be said before.
    """
    table = read_file(path, encoding, sheet)
    if isinstance(table, Election):
        return from_election(table)
    if questionnaire is not None:
        table = with_questionnaire(table, read_questionnaire(questionnaire))
    if people is not None:
        table = _with_people(table, people, choices)
    return draft_of_sheet(table, choices)


def draft_of_sheet(sheet: Sheet, choices: Choices) -> Draft:
    """Make a study of a table: of rows that are answers, or people, or options of choice sets.

    Raises:
      CrowdError: what has to be said before.
    """
    uses = {field.use for field in sheet.fields}
    if uses <= {"person", "profile", "out"} and not choices.questions:
        raise CrowdError(
            f"{sheet.path}: is {sheet.what}, without answers; which file holds the answers? "
            f"crowdllm init ANSWERS.csv --people {sheet.path.name} (if some of its columns are "
            "answers, name them with --questions A,B)"
        )
    try:
        draft = _draft(sheet, choices)
        return replace(draft, reasons=(*draft.reasons, *_unheeded(sheet, choices)))
    except CrowdError as error:
        if str(sheet.path) in str(error) or str(error).startswith("--"):
            raise
        raise CrowdError(f"{sheet.path}: {error}") from error


def _unheeded(sheet: Sheet, choices: Choices) -> list[str]:
    """Sentences on what is said of answers that stand nowhere in a table, as misspelt ones do."""
    held = [{*f.column.distinct, *(label for _, label in f.labels)} for f in sheet.fields]
    texts = set[str]().union(*held)
    numbers = {number(text) for text in texts} - {None}
    # A cell may hold several answers.
    silent = [t for t in choices.missing if t != "none" and number(t) not in numbers]
    silent = [own for own in silent if not any(own in text for text in texts)]
    notes = [f"--missing {as_flag(silent)}: stands in no cell."] if silent else []
    words = [{*map(folded, own)} for own in held]
    for flag, orders in (("--order", choices.orders), ("--no-order", choices.unordered)):
        notes += [
            f"{flag} {as_flag(order)}: no column holds two of these answers."
            for order in orders
            if all(len(own.intersection(map(folded, order))) < 2 for own in words)
        ]
    return notes


def _draft(sheet: Sheet, choices: Choices, ids: tuple[str, ...] = ()) -> Draft:
    """Make a study of a table; columns `ids` are known to hold ids, which stay as written."""
    tidy = with_objects_opened(
        without_totals(with_texts_below(without_units(without_blank_rows(sheet))))
    )
    written = (*ids, *choices.out, choices.person)
    tidy = plain_amounts(with_points(tidy, sure=False), written)
    tidy = with_labels_in_order(one_spelling(apart_by_blanks(tidy), choices), choices)
    if (shares := published(tidy, choices)) is not None:
        return from_published(shares, choices)
    tidy = people_in_rows(tidy, choices)
    refuse_best_worst(tidy, choices)
    if (sided := side_by_side(tidy, choices)) is not None:
        return from_sets(*sided, choices)
    if (sets := sets_of(tidy, choices)) is not None:
        return from_sets(tidy, sets, choices)
    keys = keys_of(tidy, choices)
    if keys is None:
        ask_whose_columns(tidy, choices)
        return from_wide(tidy, choices)
    if amounts := tuple(key.name for key in (keys.person, keys.task) if key.amount):
        return _draft(sheet, choices, (*ids, *amounts))
    return from_long(tidy, keys, choices)


def _with_people(sheet: Sheet, path: Path, choices: Choices) -> Sheet:
    people = read_file(path)
    if isinstance(people, Election):
        raise CrowdError(f"--people: {path} is {people.what}, no table of people")
    keys = {key for field in people.fields for key in field.column.distinct}
    if choices.person is not None:
        return joined(sheet, people, sheet.field(choices.person, "--id"))

    def fit(field: Field) -> tuple[bool, bool, float]:
        own = field.column.distinct
        held = len(keys.intersection(own)) / max(len(own), 1)
        named = field.use == "person" or names.is_person(field.name)
        return held >= 0.5, named, held

    # Half of a column's texts may be ids of other people; more than one column may hold ids.
    place = max(range(len(sheet.fields)), key=lambda i: fit(sheet.fields[i]))
    field = sheet.fields[place]
    if not fit(field)[0]:
        raise CrowdError(
            f"--people: which column of {sheet.path} holds the ids of the people in {path}? Say it "
            "with --id COLUMN"
        )
    fields = tuple(
        replace(f, use="person" if f is field else None if f.use == "person" else f.use)
        for f in sheet.fields
    )
    sheet = replace(sheet, fields=fields)
    return joined(sheet, people, fields[place])


def study(
    frame: Any,
    *,
    name: str = "study",
    id: str | None = None,
    task: str | None = None,
    response: str | None = None,
    weight: str | None = None,
    choices: Choices = Choices(),  # noqa: B008
    **said: Any,
) -> Study:
    """A study of a data frame of pandas or polars, or of a file: long or wide.

    What its columns are for is guessed as by `crowdllm init`, as far as it is not said here.

    Args:
      frame: a data frame, an Arrow table, or the path of a file.
      name: of the study, for reports.
      id: the column of people's ids. task: in a long table that of the tasks.
      response: in a long table that of the answers. weight: that of survey weights ("none": none).
      choices: what else may be said (see `Choices`). said: the same as arguments, called as the
        flags of `crowdllm init` are: profile, questions, leave_out, reverse (lists of columns),
        missing (a list of texts that are no answers), order, no_order (a list of answers from the
        lowest to the highest, or without an order; a list of such lists for several scales).
    Returns:
      The study: T tasks, N participants, R responses; fit it with `fit(study, config)`.
    Raises:
      CrowdError: it cannot be told what a column is for; what to say.

    Examples:
      >>> import pandas as pd
      >>> answers = {"id": range(40), "owns_a_car": ["no", "yes"] * 20, "votes": ["yes", "no"] * 20}
      >>> cl.study(pd.DataFrame(answers), id="id", name="town")
      Study('town': 40 participants, 2 tasks, 80 responses; scales: no_to_yes)
    """
    choices = replace(
        with_said(choices, said),
        person=_column(id, "id") or choices.person,
        task=_column(task, "task") or choices.task,
        response=_column(response, "response") or choices.response,
        weight=_column(weight, "weight") or choices.weight,
    )
    try:
        if isinstance(frame, str | Path):
            draft = draft_of_file(Path(frame), choices)
        else:
            draft = draft_of_sheet(read_frame(frame), choices)
    except CrowdError as error:
        raise CrowdError(_in_python(str(error))) from error
    return study_of_draft(draft, name)


def _column(name: object, argument: str) -> str | None:
    """The name of a column, which may be a number in a data frame; None where none is given."""
    if name is None:
        return None
    if isinstance(name, str | int) and not isinstance(name, bool):
        return str(name)
    raise CrowdError(f"study: {argument}: give the name of a column, not {told(name)}")


def _in_python(message: str) -> str:
    """A question of `crowdllm init`, with the arguments that answer it in place of flags."""
    asked = dict.fromkeys(re.findall(r"(?<![\w-])--([a-z]+(?:-[a-z]+)*)", message))
    names = [name for flag in asked if (name := flag.replace("-", "_")) in (*KEYS, *SAID)]
    if not names:
        return message
    shown = ", ".join(f"{name}=..." for name in names)
    return f"{message} (in Python give cl.study the same texts as {shown})"


KEYS = ("id", "task", "response", "weight")
