"""Label Studio's exported JSON, JSON-MIN and CSV (https://labelstud.io/guide/export).

A task has annotations by several people; each of an annotation's results answers one control of
the labelling interface (`from_name`): choices, ratings, numbers. Other results (boxes, spans,
texts) are no answers on a scale, and are counted.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.study.formats.answers import Answer, answers_sheet, asked_apart
from crowdllm_jax.study.formats.delimited import Rows
from crowdllm_jax.study.formats.json_records import Record
from crowdllm_jax.study.formats.sheet import Sheet

_ON_A_SCALE = ("choices", "rating", "number", "pairwise", "taxonomy")
_HELD_AS = {"pairwise": "selected"}
_ANNOTATED = {"annotations", "completions"}
_ANNOTATION = {"annotator", "annotation_id"}
_OWN = {"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time"}


def is_label_studio_json(tasks: list[Record]) -> bool:
    """Whether records are annotated tasks, or one per annotation (JSON-MIN)."""
    return any(
        task.keys() >= _ANNOTATION or (_has_annotations(task) and not _of_doccano(task))
        for task in tasks
    )


def _has_annotations(task: Record) -> bool:
    """Whether a task holds a list of annotations, which may be empty."""
    held = [task[key] for key in _ANNOTATED & task.keys()]
    return any(isinstance(own, list) and all(isinstance(a, dict) for a in own) for own in held)


def _of_doccano(task: Record) -> bool:
    """Whether a task's annotations are labels by users, as Doccano writes them, without results."""
    held = task.get("annotations")
    return isinstance(held, list) and any(isinstance(a, dict) and "label" in a for a in held)


def read_label_studio_json(path: Path, tasks: list[Record]) -> Sheet:
    """Read an export as JSON.

    Raises:
      CrowdError: it holds no choices, ratings or numbers.
    """
    left: Counter[str] = Counter()
    if any(_ANNOTATED & task.keys() for task in tasks):
        answers = [answer for task in tasks for answer in _annotated(task, left)]
    else:
        data = _data(tasks)
        answers = [answer for task in tasks for answer in _flat(task, data)]
    if not answers:
        raise CrowdError(f"{path}: holds no choices, ratings or numbers")
    told = ", ".join(f"{often} {kind}" for kind, often in sorted(left.items()))
    notes = (f"Results that are no answers on a scale are left out: {told}.",) if left else ()
    return answers_sheet(path, "an export of Label Studio (JSON)", asked_apart(answers), notes)


def is_label_studio(rows: Rows) -> bool:
    """Whether the header names Label Studio's own columns."""
    names = {tidy_name(name).casefold() for name in (rows.rows or [[]])[0]}
    return {"annotator", "annotation_id", "lead_time"} <= names


def read_label_studio_rows(rows: Rows) -> Sheet:
    """Read an export as CSV: a row per annotation, as JSON-MIN has it.

    Raises:
      CrowdError: it holds no choices, ratings or numbers.
    """
    header, *body = rows.rows
    names = [tidy_name(name) for name in header]
    tasks = [
        {name: _parsed(cell) for name, cell in zip(names, row, strict=True) if cell} for row in body
    ]
    data = _data(tasks)
    answers = [answer for task in tasks if "annotator" in task for answer in _flat(task, data)]
    what = "an export of Label Studio (CSV)"
    return answers_sheet(rows.path, what, asked_apart(answers), rows.notes)


def _parsed(cell: str) -> Any:
    try:
        return json.loads(cell) if cell[:1] in "[{" else cell
    except (ValueError, RecursionError):
        return cell


def _annotated(task: dict[str, Any], left: Counter[str]) -> Iterator[Answer]:
    identity, text = str(task.get("id", task.get("inner_id", ""))), _shown(task.get("data"))
    for annotation in task.get("annotations") or task.get("completions") or ():
        if not isinstance(annotation, dict):
            continue
        if annotation.get("was_cancelled"):
            left["skipped annotations"] += 1
            continue
        person = annotation.get("completed_by", "")
        if isinstance(person, dict):
            person = person.get("email") or person.get("id", "")
        for result in annotation.get("result") or ():
            kind, value = result.get("type", ""), result.get("value", {})
            given = value.get(_HELD_AS.get(kind, kind)) if isinstance(value, dict) else None
            spans = isinstance(value, dict) and ("start" in value or "x" in value)
            if kind not in _ON_A_SCALE or spans or given in (None, []):
                left[kind or "others"] += 1
                continue
            yield Answer(str(person), identity, _given(given), text, str(result.get("from_name")))


def _data(tasks: list[dict[str, Any]]) -> set[str]:
    """The names that hold what a task shows, in JSON-MIN where they stand beside controls: what is
    the same for all annotators of a task, in all tasks; and long texts."""
    values: dict[str, dict[str, set[str]]] = {}
    for task in tasks:
        for name in task.keys() - _OWN:
            seen = values.setdefault(name, {}).setdefault(str(task.get("id")), set())
            seen.add(repr(task[name]))
    several = len(tasks) > len({str(task.get("id")) for task in tasks})
    return {
        name
        for name, by_task in values.items()
        if (several and len(by_task) > 1 and all(len(seen) == 1 for seen in by_task.values()))
        or any(len(text) > 200 for seen in by_task.values() for text in seen)
    }


def _flat(task: dict[str, Any], data: set[str]) -> Iterator[Answer]:
    text = _shown({name: task[name] for name in task.keys() & data})
    for name, value in task.items():
        if name in _OWN or name in data:
            continue
        value = value.get("choices") if isinstance(value, dict) else value
        if isinstance(value, list) and value and isinstance(value[0], dict):
            value = value[0].get("rating", value[0].get("number"))
        if isinstance(value, int | float | str) or (isinstance(value, list) and value):
            person, identity = str(task["annotator"]), str(task.get("id", ""))
            yield Answer(person, identity, _given(value), text, name)


def _given(value: Any) -> str | tuple[str, ...]:
    """An answer: one text, or the options that were chosen; a path of a taxonomy is one option."""
    if not isinstance(value, list):
        return _text(value)
    parts = [" / ".join(map(str, v)) if isinstance(v, list) else _text(v) for v in value]
    return tuple(parts) if len(parts) > 1 else parts[0]


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _shown(data: Any) -> str:
    """What a person was shown: the longest text of a task."""
    texts = [v for v in data.values() if isinstance(v, str)] if isinstance(data, dict) else []
    return max(texts, key=len, default="")
