"""Assignments of Toloka: a TSV of INPUT:, OUTPUT:, GOLDEN:, HINT: and ASSIGNMENT: columns
(https://toloka.ai/docs/guide/result-of-eval)."""

from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.study.formats.answers import Answer, answers_sheet, asked_apart
from crowdllm_jax.study.formats.delimited import Rows
from crowdllm_jax.study.formats.sheet import Sheet

_PERSON, _TASK, _STATUS = "ASSIGNMENT:worker_id", "ASSIGNMENT:task_id", "ASSIGNMENT:status"


def is_toloka(rows: Rows) -> bool:
    """Whether the header names workers as Toloka does, and what they put out."""
    names = [tidy_name(name) for name in (rows.rows or [[]])[0]]
    return _PERSON in names and any(name.startswith("OUTPUT:") for name in names)


def read_toloka(rows: Rows) -> Sheet:
    """Read assignments: each OUTPUT: is an answer, and each INPUT: tells what was shown; rejected
    assignments and control tasks, whose right answer is known, are left out."""
    header, *body = rows.rows
    names = [tidy_name(name) for name in header]
    records = [dict(zip(names, row, strict=True)) for row in body]
    kept = [r for r in records if r.get(_STATUS, "").upper() not in ("REJECTED", "SKIPPED")]
    rejected = len(records) - len(kept)
    asked = [record for record in kept if not any(_begins(record, "GOLDEN:").values())]
    answers = []
    for record in asked:
        shown = list(filter(None, _begins(record, "INPUT:").values()))
        for name, response in _begins(record, "OUTPUT:").items():
            task = record.get(_TASK) or " - ".join(shown)
            answers.append(Answer(record[_PERSON], task, response, " - ".join(shown), name))
    notes = [*rows.notes]
    if rejected:
        notes.append(f"Left out, rejected or skipped assignments: {rejected:,}.")
    if gold := len(kept) - len(asked):
        notes.append(f"Left out, answers to control tasks: {gold:,}.")
    given = [answer for answer in answers if answer.response]
    return answers_sheet(rows.path, "assignments of Toloka", asked_apart(given), tuple(notes))


def _begins(record: dict[str, str], before: str) -> dict[str, str]:
    return {key.removeprefix(before): record[key] for key in record if key.startswith(before)}
