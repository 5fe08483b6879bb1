"""Amazon Mechanical Turk's batch results: CSV with HITId, WorkerId, Input.* and Answer.*
(https://docs.aws.amazon.com/AWSMechTurk/latest/RequesterUI/ResultsofTasks.html).

Crowd HTML elements put all answers into one cell of JSON, `Answer.taskAnswers`.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.study.formats.answers import Answer, answers_sheet, asked_apart
from crowdllm_jax.study.formats.delimited import Rows
from crowdllm_jax.study.formats.sheet import Field, Sheet, column_of, unique_names


def is_mturk(rows: Rows) -> bool:
    """Whether the header names MTurk's own columns."""
    names = {tidy_name(name) for name in (rows.rows or [[]])[0]}
    return {"HITId", "WorkerId"} <= names and any(name.startswith("Answer.") for name in names)


def read_mturk(rows: Rows) -> Sheet:
    """Read a batch: each Answer.* of a HIT is a task, and a survey has a row per worker; rejected
    work is left out, and said.

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
    if _is_survey(names, kept):
        return _survey(rows.path, kept, tuple(notes))
    kept = _with_radios(kept)
    boxes = _boxes(kept)
    answers = [answer for record in kept for answer in _answers(record, boxes)]
    shown = [name.removeprefix("Input.") for name in names if name.startswith("Input.")]
    if shown:
        notes.append(f"A task is a HIT; its text is what it showed: {', '.join(shown)}.")
    return answers_sheet(
        rows.path, "results of Mechanical Turk", asked_apart(answers), tuple(notes)
    )


def _is_survey(names: list[str], records: list[dict[str, str]]) -> bool:
    """Whether a batch shows everybody the same, and asks several things once: a survey."""
    shown = {tuple(v for n, v in record.items() if n.startswith("Input.")) for record in records}
    asked = [name for name in names if name.startswith("Answer.")]
    workers = {record["WorkerId"] for record in records}
    return (
        len(shown) == 1
        and len(workers) == len(records) > 1
        and len(asked) > 1
        and "Answer.taskAnswers" not in asked
    )


def _survey(path: Path, records: list[dict[str, str]], notes: tuple[str, ...]) -> Sheet:
    """A row per worker and a column per Answer.*."""
    names = [name for name in records[0] if name.startswith("Answer.")]
    called = unique_names(["participant", *(name.removeprefix("Answer.") for name in names)])
    fields = [
        Field(name, column_of(path, name, (record[key] for record in records)))
        for name, key in zip(called, ["WorkerId", *names], strict=True)
    ]
    fields[0] = replace(fields[0], use="person")
    told = "Everybody saw the same HIT once: a row is a person, and each Answer a question."
    what = "results of Mechanical Turk"
    return Sheet(path, what, len(records), tuple(fields), (*notes, told))


def _with_radios(records: list[dict[str, str]]) -> list[dict[str, str]]:
    """Records with one answer for each set of radio buttons, which the batch has in a column per
    button, true for the one that was chosen (`Answer.mood.good`, `Answer.mood.bad`)."""
    stems: dict[str, list[str]] = defaultdict(list)
    for name in records[0]:
        stem, dot, button = name.rpartition(".")
        if stem.startswith("Answer.") and dot and button:
            stems[stem].append(name)
    radios = {
        stem: names
        for stem, names in stems.items()
        if len(names) > 1 and all(_one_is_on(record, names) for record in records)
    }
    return [_with_one_answer(record, radios) for record in records]


def _one_is_on(record: dict[str, str], names: list[str]) -> bool:
    """Whether buttons are off but for one, or none was shown."""
    held = [record[name].casefold() for name in names]
    return not any(held) or ({*held} <= {"true", "false"} and held.count("true") == 1)


def _with_one_answer(record: dict[str, str], radios: dict[str, list[str]]) -> dict[str, str]:
    buttons = {name for names in radios.values() for name in names}
    plain = {name: value for name, value in record.items() if name not in buttons}
    for stem, names in radios.items():
        on = [name for name in names if record[name].casefold() == "true"]
        plain[stem] = on[0].rpartition(".")[2] if on else ""
    return plain


def _boxes(records: list[dict[str, str]]) -> set[str]:
    """What people may tick several options of: where somebody ticked none, or more than one."""
    cells = [record.get("Answer.taskAnswers", "") for record in records]
    given = [pair for cell in cells for pair in _elements(cell)]
    return {name for name, held in given if isinstance(held, tuple) and len(held) != 1}


def _answers(record: dict[str, str], boxes: set[str]) -> Iterator[Answer]:
    text = " | ".join(v for n, v in record.items() if n.startswith("Input.") and v)
    person, task = record["WorkerId"], record["HITId"]
    for name, value in record.items():
        if not name.startswith("Answer.") or not value:
            continue
        if name == "Answer.taskAnswers":
            for group, given in _elements(value):
                alone = isinstance(given, tuple) and group not in boxes
                yield Answer(person, task, given[0] if alone else given, text, group)
        else:
            # Boxes that are ticked stand apart by bars.
            ticked = tuple(part.strip() for part in value.split("|") if part.strip())
            given = ticked if len(ticked) > 1 else value
            yield Answer(person, task, given, text, name.removeprefix("Answer."))


def _elements(cell: str) -> Iterator[tuple[str, str | tuple[str, ...]]]:
    """The answers in a cell of JSON: {"label": {"label": "Positive"}}; {"good": {"1": true, "2":
    false}} of radio buttons or boxes, as the options that are ticked; {"labels": ["a", "b"]}."""
    try:
        parsed: Any = json.loads(cell)
    except (ValueError, RecursionError):
        return
    for element in parsed if isinstance(parsed, list) else [parsed]:
        for name, given in element.items() if isinstance(element, dict) else ():
            given = given.get("labels", given) if isinstance(given, dict) else given
            if isinstance(given, dict) and "label" in given:
                yield name, str(given["label"])
            elif isinstance(given, dict):
                if given and all(isinstance(on, bool) for on in given.values()):
                    yield name, tuple(key for key, on in given.items() if on)
            elif isinstance(given, list) and all(isinstance(part, str) for part in given):
                yield name, tuple(given)
            elif isinstance(given, str | int | float):
                yield name, str(int(given) if isinstance(given, bool) else given)
