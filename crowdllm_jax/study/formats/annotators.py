"""JSON with a record per text that holds what several people said of it: labels by annotators
(`{"ann1": "pos", "ann2": "neg"}`), lists of both side by side, or responses as Argilla has them
(https://docs.argilla.io)."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.draft.word_lists import folded
from crowdllm_jax.study.formats.answers import Answer, answers_sheet, asked_apart
from crowdllm_jax.study.formats.json_records import Record
from crowdllm_jax.study.formats.sheet import Sheet

_LABELS = ("annotations", "labels", "ratings", "votes", "judgments", "judgements", "scores")
_PEOPLE = (
    *("annotators", "annotator ids", "raters", "rater ids", "workers", "worker ids", "judges"),
    *("users", "user ids", "coders", "annotator", "labelers"),
)
_TASKS = ("id", "task id", "item id", "text id", "uid")
_NOT_SENT = ("draft", "discarded")


def is_annotated(records: list[Record]) -> bool:
    """Whether records hold several people's answers, and say whose each is."""
    return next(_all_answers(records), None) is not None


def read_annotated(path: Path, records: list[Record]) -> Sheet:
    """A row per answer of an annotator to a text.

    Raises:
      CrowdError: a record lists other numbers of annotators and of answers.
    """
    for row, record in enumerate(records, start=1):
        if (uneven := _uneven(record)) is not None:
            raise CrowdError(f"{path}: record {row} has {uneven}; each answer needs its annotator")
    answers = asked_apart(_all_answers(records))
    return answers_sheet(path, "annotations in JSON", answers)


def _all_answers(records: list[Record]) -> Iterator[Answer]:
    named = _named_people(records)
    for row, record in enumerate(records, start=1):
        task = next((str(record[key]) for key in record if folded(key) in _TASKS), str(row))
        text = _shown(record)
        for person, group, value in _said(record, named):
            if _is_one(value):
                yield Answer(person, task, _text(value), text, group)


def _said(record: Record, named: set[str]) -> Iterator[tuple[str, str, Any]]:
    """Who said what in a record, and to which question."""
    for key, value in record.items():
        if key in named and isinstance(value, dict):
            yield from ((person, "", label) for person, label in value.items())
    if (lists := _lists(record)) is not None:
        yield from ((person, "", label) for person, label in zip(*lists, strict=False))
    responses = record.get("responses")
    if isinstance(responses, list):
        yield from _of_users(responses)
    elif isinstance(responses, dict):
        for group, several in responses.items():
            for own in several if isinstance(several, list) else ():
                if isinstance(own, dict) and {"user_id", "value"} <= own.keys():
                    yield str(own["user_id"]), group, own["value"]


def _of_users(responses: list[Any]) -> Iterator[tuple[str, str, Any]]:
    for own in responses:
        if not isinstance(own, dict) or not {"user_id", "values"} <= own.keys():
            continue
        values = own["values"]
        if own.get("status") in _NOT_SENT or not isinstance(values, dict):
            continue
        for group, held in values.items():
            yield str(own["user_id"]), group, held.get("value") if isinstance(held, dict) else held


_PERSON = re.compile(
    r"(?i)(ann(ot(ator)?)?|user|u|worker|w|rater|r|coder|judge|labell?er|expert|person|p|a)?"
    r"[_ -]?\d+|[0-9a-f]{24}|[0-9a-f-]{36}|\S+@\S+"
)
"""How people are called in a table of labels, which aspects and films are not."""


def _named_people(records: list[Record]) -> set[str]:
    """Keys of objects whose own keys are people, since they are called so, and hold one answer
    each."""
    found = set()
    for key in {key for record in records for key in record if folded(key) in _LABELS}:
        held = [record[key] for record in records if record.get(key)]
        if not all(isinstance(own, dict) and all(map(_is_one, own.values())) for own in held):
            continue
        often = Counter(person for own in held for person in own)
        texts = all(map(_shown, records))
        if texts and len(often) > 1 and all(_PERSON.fullmatch(str(person)) for person in often):
            found.add(key)
    return found


def _lists(record: Record) -> tuple[list[str], list[Any]] | None:
    """The annotators of a record and their answers, as lists or as texts with commas."""
    people = next((record[key] for key in record if folded(key) in _PEOPLE), None)
    labels = next((record[key] for key in record if folded(key) in _LABELS), None)
    if isinstance(people, str) and isinstance(labels, str):
        people, labels = ([part.strip() for part in own.split(",")] for own in (people, labels))
    if not isinstance(people, list) or not isinstance(labels, list) or not people:
        return None
    return [str(person) for person in people], labels


def _uneven(record: Record) -> str | None:
    lists = _lists(record)
    if lists is None or len(lists[0]) == len(lists[1]):
        return None
    return f"{len(lists[0])} annotators and {len(lists[1])} answers"


def _is_one(value: Any) -> bool:
    """Whether a value is one answer, or a list of some."""
    several = isinstance(value, list) and all(isinstance(part, str | int) for part in value)
    return several or isinstance(value, str | int | float)


def _text(value: Any) -> str | tuple[str, ...]:
    if isinstance(value, list):
        return tuple(map(str, value)) if len(value) != 1 else str(value[0])
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shown(record: Record) -> str:
    """What was to be judged: a text of a record, or those of its fields."""
    fields = record.get("fields")
    if isinstance(fields, dict):
        return " / ".join(str(text) for text in fields.values() if isinstance(text, str))
    for key in ("text", "sentence", "comment", "tweet", "prompt", "document"):
        if isinstance(record.get(key), str):
            return str(record[key])
    return ""
