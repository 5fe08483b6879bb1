"""Label Studio's exported JSON and JSON-MIN (https://labelstud.io/guide/export).

A task has annotations by several people; each of an annotation's results answers one control of
the labelling interface (`from_name`): choices, ratings, numbers. Other results (boxes, spans,
texts) are no answers on a scale, and are counted.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crowdllm_jax.errors import CrowdError, first_line
from crowdllm_jax.study.formats.answers import Answer, answers_sheet
from crowdllm_jax.study.formats.sheet import Sheet

_OWN = {"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time"}


def read_label_studio(path: Path) -> Sheet:
    """Read an export.

    Raises:
      CrowdError: it is other JSON, or holds no choices, ratings or numbers.
    """
    try:
        tasks = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CrowdError(f"{path}: cannot be read as JSON: {first_line(error)}") from error
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise CrowdError(f"{path}: is JSON, but no list of tasks as Label Studio exports it")
    left: Counter[str] = Counter()
    if any("annotations" in task or "completions" in task for task in tasks):
        answers = [answer for task in tasks for answer in _annotated(task, left)]
    elif any("annotator" in task for task in tasks):
        answers = [answer for task in tasks for answer in _flat(task)]
    else:
        raise CrowdError(
            f"{path}: is JSON, but not as Label Studio exports it (its tasks have no annotations); "
            "write its records as CSV"
        )
    if not answers:
        raise CrowdError(f"{path}: holds no choices, ratings or numbers")
    told = ", ".join(f"{often} {kind}" for kind, often in sorted(left.items()))
    notes = (f"Results that are no answers on a scale are left out: {told}.",) if left else ()
    return answers_sheet(path, "an export of Label Studio (JSON)", _named(answers), notes)


def _named(answers: list[Answer]) -> list[Answer]:
    """Where one thing is asked of each task, the task's id says it all."""
    if len({answer.group for answer in answers}) == 1:
        return [answer._replace(group="") for answer in answers]
    return [answer._replace(task=f"{answer.task} {answer.group}") for answer in answers]


def _annotated(task: dict[str, Any], left: Counter[str]) -> Iterator[Answer]:
    identity, text = str(task.get("id", task.get("inner_id", ""))), _shown(task.get("data"))
    for annotation in task.get("annotations") or task.get("completions") or ():
        if annotation.get("was_cancelled"):
            left["skipped annotations"] += 1
            continue
        person = annotation.get("completed_by", "")
        if isinstance(person, dict):
            person = person.get("email") or person.get("id", "")
        for result in annotation.get("result") or ():
            kind, value = result.get("type", ""), result.get("value", {})
            given = value.get(kind) if isinstance(value, dict) else None
            given = given[0] if isinstance(given, list) and len(given) == 1 else given
            spans = isinstance(value, dict) and ("start" in value or "x" in value)
            if kind not in ("choices", "rating", "number") or spans or given is None:
                left[kind or "others"] += 1
                continue
            if isinstance(given, list):
                given = ";".join(map(str, given))
            yield Answer(str(person), identity, _text(given), text, str(result.get("from_name")))


def _flat(task: dict[str, Any]) -> Iterator[Answer]:
    """A row of JSON-MIN, in which names of the data and of controls stand side by side: what is one
    short text or number is taken for a control."""
    texts = {k: v for k, v in task.items() if k not in _OWN}
    for name, value in texts.items():
        value = value.get("choices") if isinstance(value, dict) else value
        if isinstance(value, list) and value and isinstance(value[0], dict):
            value = value[0].get("rating", value[0].get("number"))
        if isinstance(value, int | float) or (isinstance(value, str) and len(value) <= 40):
            yield Answer(
                str(task["annotator"]), str(task.get("id", "")), _text(value), _shown(texts), name
            )


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _shown(data: Any) -> str:
    """What a person was shown: the longest text of a task."""
    texts = [v for v in data.values() if isinstance(v, str)] if isinstance(data, dict) else []
    return max(texts, key=len, default="")
