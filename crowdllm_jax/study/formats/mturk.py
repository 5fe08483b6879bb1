"""Amazon Mechanical Turk's batch results: CSV with HITId, WorkerId, Input.* and Answer.*
(https://docs.aws.amazon.com/AWSMechTurk/latest/RequesterUI/ResultsofTasks.html).

Crowd HTML elements put all answers into one cell of JSON, `Answer.taskAnswers`.
"""

import json
from collections.abc import Iterator
from typing import Any

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.study.formats.answers import Answer, answers_sheet
from crowdllm_jax.study.formats.delimited import Rows
from crowdllm_jax.study.formats.sheet import Sheet


def is_mturk(rows: Rows) -> bool:
    """Whether the header names MTurk's own columns."""
    names = {tidy_name(name) for name in (rows.rows or [[]])[0]}
    return {"HITId", "WorkerId"} <= names and any(name.startswith("Answer.") for name in names)


def read_mturk(rows: Rows) -> Sheet:
    """Read a batch: each Answer.* of a HIT is a task; rejected work is left out, and said.

    A worker's second assignment of one HIT, which MTurk does not hand out, is refused later.
    """
    header, *body = rows.rows
    names = [tidy_name(name) for name in header]
    records = [dict(zip(names, row, strict=True)) for row in body]
    kept = [r for r in records if r.get("AssignmentStatus") not in ("Rejected",)]
    notes = list(rows.notes)
    if len(kept) < len(records):
        notes.append(f"Left out, rejected assignments: {len(records) - len(kept)}.")
    if not kept:
        raise CrowdError(f"{rows.path}: holds no assignments")
    answers = [answer for record in kept for answer in _answers(record)]
    groups = {answer.group for answer in answers}
    if len(groups) == 1:
        answers = [answer._replace(group="") for answer in answers]
    else:
        answers = [
            a._replace(task=f"{a.task} {a.group}", text=f"{a.text} [{a.group}]".strip())
            for a in answers
        ]
    shown = [name.removeprefix("Input.") for name in names if name.startswith("Input.")]
    if shown:
        notes.append(f"A task is a HIT; its text is what it showed: {', '.join(shown)}.")
    return answers_sheet(rows.path, "results of Mechanical Turk", answers, tuple(notes))


def _answers(record: dict[str, str]) -> Iterator[Answer]:
    text = " | ".join(v for n, v in record.items() if n.startswith("Input.") and v)
    person, task = record["WorkerId"], record["HITId"]
    for name, value in record.items():
        if not name.startswith("Answer.") or not value:
            continue
        if name == "Answer.taskAnswers":
            for group, given in _elements(value):
                yield Answer(person, task, given, text, group)
        else:
            yield Answer(person, task, value, text, name.removeprefix("Answer."))


def _elements(cell: str) -> Iterator[tuple[str, str]]:
    """The answers in a cell of JSON: {"label": {"label": "Positive"}}, or {"good": {"1": true, "2":
    false}} of radio buttons."""
    try:
        parsed: Any = json.loads(cell)
    except (ValueError, RecursionError):
        return
    for element in parsed if isinstance(parsed, list) else [parsed]:
        for name, given in element.items() if isinstance(element, dict) else ():
            if isinstance(given, dict) and "label" in given:
                yield name, str(given["label"])
            elif isinstance(given, dict):
                ticked = [key for key, on in given.items() if on is True]
                if len(ticked) == 1:
                    yield name, ticked[0]
            elif isinstance(given, str | int | float):
                yield name, str(int(given) if isinstance(given, bool) else given)
