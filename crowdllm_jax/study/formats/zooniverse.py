"""Classifications of a Zooniverse project: CSV with a volunteer's answers to a subject in a cell of
JSON (https://help.zooniverse.org/next-steps/data-exports)."""

import json
from collections.abc import Iterator
from typing import Any

from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.study.formats.answers import Answer, answers_sheet, asked_apart
from crowdllm_jax.study.formats.delimited import Rows
from crowdllm_jax.study.formats.sheet import Sheet

_COLUMNS = ("user_name", "annotations", "subject_ids")


def is_zooniverse(rows: Rows) -> bool:
    """Whether the header names Zooniverse's own columns."""
    names = {tidy_name(name) for name in (rows.rows or [[]])[0]}
    return {"classification_id", *_COLUMNS} <= names


def read_zooniverse(rows: Rows) -> Sheet:
    """Read classifications: each question about a subject is a task.

    Marks that volunteers draw are no answers on a scale, and are counted; of what one volunteer
    says twice of a subject the first is kept.
    """
    header, *body = rows.rows
    names = [tidy_name(name) for name in header]
    places = [names.index(name) for name in _COLUMNS]
    first: dict[tuple[str, str, str], Answer] = {}
    twice = drawn = 0
    for row in body:
        person, cell, subject = (row[place] for place in places)
        for answer in _answers(person, subject, cell):
            if answer is None:
                drawn += 1
            elif first.setdefault((person, subject, answer.group), answer) is not answer:
                twice += 1
    notes = list(rows.notes)
    if twice:
        notes.append(f"Left out, what volunteers say of a subject once more: {twice:,}.")
    if drawn:
        notes.append(f"Left out, marks and other results that are no choices: {drawn:,}.")
    what = "classifications of Zooniverse"
    return answers_sheet(rows.path, what, asked_apart(first.values()), tuple(notes))


def _answers(person: str, subject: str, cell: str) -> Iterator[Answer | None]:
    """What a cell says of a subject; None for what is no choice, text or number."""
    try:
        parsed: Any = json.loads(cell)
    except (ValueError, RecursionError):
        parsed = []
    for told in parsed if isinstance(parsed, list) else [parsed]:
        if not isinstance(told, dict):
            continue
        value = told.get("value")
        group = str(told.get("task_label") or told.get("task") or "")
        if isinstance(value, str | int | float) and value != "":
            yield Answer(person, subject, str(value), "", group)
        elif isinstance(value, list) and value and all(isinstance(v, str) for v in value):
            yield Answer(person, subject, tuple(value), "", group)
        elif value not in (None, "", []):
            yield None
