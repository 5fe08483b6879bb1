"""JSON with a record per row: a list of objects, or one object per line (https://jsonlines.org), as
Prodigy (https://prodi.gy/docs/api-interfaces) and Doccano write them."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from crowdllm_jax.errors import CrowdError, first_line
from crowdllm_jax.study.draft import names
from crowdllm_jax.study.formats.sheet import Field, Sheet, Use, check_size, column_of, unique_names

Record = dict[str, Any]
MOST_WITHIN = 2
"""How deep an object within a record is looked into."""


def records_in(path: Path) -> list[Record]:
    """The records that a file holds: as a list, in one object, or on a line each.

    Raises:
      CrowdError: it is no JSON, or holds none.
    """
    try:
        held = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        if "Extra data" not in first_line(error):
            raise CrowdError(f"{path}: cannot be read as JSON: {first_line(error)}") from error
        held = _lines(path)
    found = _records_of(held) if isinstance(held, dict) else _under_names(held)
    if not found or not all(isinstance(record, dict) for record in found):
        raise CrowdError(
            f"{path}: is JSON, but no list of records; make it a list of objects, one per answer "
            "or per person, or write its records as CSV"
        )
    return found


def _lines(path: Path) -> list[Any]:
    """The objects of a file with one per line.

    Raises:
      CrowdError: a line is none.
    """
    found = []
    for number, line in enumerate(path.read_text("utf-8-sig", "replace").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            found.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise CrowdError(
                f"{path}: line {number} cannot be read as JSON: {first_line(error)}"
            ) from error
    return found


def _records_of(held: dict[str, Any]) -> list[Any]:
    """The records of one object: its only list; its columns, as pandas writes them (`{"q": {"0": 1,
    "1": 5}}`, `{"q": [1, 5]}`, `{"columns": ["q"], "data": [[1], [5]]}`); or its objects, whose
    keys are their ids."""
    lists = [value for value in held.values() if isinstance(value, list)]
    if isinstance(held.get("columns"), list) and isinstance(held.get("data"), list):
        return _under_names([held["columns"], *held["data"]])
    nested = any(isinstance(cell, dict | list) for column in lists for cell in column)
    if len(lists) == len(held) > 1 and len({*map(len, lists)}) == 1 and not nested:
        return _under_names([list(held), *map(list, zip(*lists, strict=True))])
    if len(lists) == 1:
        return lists[0]
    if len(held) == 1 and isinstance(only := next(iter(held.values())), dict):
        return _records_of(only)
    inner = [value for value in held.values() if isinstance(value, dict)]
    if len(inner) < max(len(held), 2):
        return [held]
    keys = list(inner[0])
    if all(key.isdecimal() for key in keys) and all(list(value) == keys for value in inner):
        return [{name: column[key] for name, column in held.items()} for key in keys]
    return [{"id": key, **value} for key, value in held.items()]


def _under_names(rows: list[Any]) -> list[Any]:
    """Lists of cells under a list of names as objects; others as they are."""
    lists = len(rows) > 1 and all(isinstance(row, list) for row in rows)
    if not lists or {*map(len, rows)} != {len(rows[0])}:
        return rows
    if not all(isinstance(name, str) for name in rows[0]):
        return rows
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def read_records(path: Path, records: list[Record]) -> Sheet:
    """Records as a table with a column per key; `a.b` is the b of an object a.

    Raises:
      CrowdError: it is too large.
    """
    if any("_task_hash" in record or "_input_hash" in record for record in records):
        return _prodigy(path, records)
    rows, notes = _opened([dict(_leaves(record)) for record in records])
    texts = [{key: _text(value) for key, value in row.items()} for row in rows]
    return _sheet(path, "a table in JSON", texts, notes=notes)


def _opened(rows: list[Record]) -> tuple[list[Record], tuple[str, ...]]:
    """A row per object of a list of objects that each record holds (`{"user": 1, "ratings":
    [{"item": "a", "stars": 5}]}`, or a task's annotations by users), if only one key holds such,
    and these are answers (else they may be its options, or members of a household); sentences that
    say so, or that they are not read."""
    held = {key for row in rows for key, value in row.items() if _objects(value)}
    key = held.pop() if len(held) == 1 else ""
    if not key or any(row.get(key) and not _objects(row[key]) for row in rows):
        return rows, ()
    inner_of = [[dict(_leaves(inner)) for inner in row.get(key) or []] for row in rows]
    within = {name for several in inner_of for inner in several for name in inner}
    outside = {name for row in rows for name in row} - {key}
    if not _answers_within(within, outside):
        return rows, (f"The objects in {key} are not read: they are no answers to tasks.",)
    opened = []
    for row, several in zip(rows, inner_of, strict=True):
        about = {name: value for name, value in row.items() if name != key}
        for inner in several:
            own = {f"{key}.{n}" if n in about else n: v for n, v in inner.items()}
            opened.append({**about, **own})
    notes = [f"A row is one of the objects in {key}."]
    if empty := sum(not several for several in inner_of):
        notes.append(f"Left out, since their {key} holds nothing: {empty:,} records.")
    return opened, tuple(notes)


def _answers_within(within: set[str], outside: set[str]) -> bool:
    """Whether keys of inner objects tell answers, and with them tasks or (of a task) people, and
    those of the record do not."""

    def only_within(told: Callable[[str], bool]) -> bool:
        return any(map(told, within)) and not any(map(told, outside))

    people = any(map(names.is_task, outside)) and only_within(names.names_people)
    return only_within(_is_answer) and (only_within(names.is_task) or people)


def _is_answer(name: str) -> bool:
    """Whether a key is that of an answer, and not of the id of what was sent (`responseId`)."""
    sent = re.fullmatch(r"(?i)(response|submission)[\W_]?id", name)
    return names.is_response(name) and sent is None


_PLACES = {"start", "end", "start_offset", "x", "bbox", "points"}
"""Keys of objects that mark a part of a text or picture."""


def _objects(value: Any) -> bool:
    """Whether a value is a list of objects that say several things, and mark no parts."""
    if not isinstance(value, list) or not value or not all(isinstance(v, dict) for v in value):
        return False
    return all(len(inner) > 1 and not _PLACES & inner.keys() for inner in value)


def _sheet(
    path: Path,
    what: str,
    rows: list[dict[str, str]],
    uses: dict[str, Use] | None = None,
    notes: tuple[str, ...] = (),
) -> Sheet:
    keys = list(dict.fromkeys(key for row in rows for key in row))
    check_size(path, len(rows), len(keys))
    fields = tuple(
        Field(
            name, column_of(path, name, (row.get(key) for row in rows)), use=(uses or {}).get(key)
        )
        for key, name in zip(keys, unique_names(keys), strict=True)
    )
    return Sheet(path, what, len(rows), fields, notes)


def _leaves(record: Record, before: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    for key, value in record.items():
        name = f"{before}{key}"
        if isinstance(value, dict) and depth < MOST_WITHIN:
            yield from _leaves(value, f"{name}.", depth + 1)
        else:
            yield name, value


def _text(value: Any) -> str:
    """A value as a cell: nothing for null, the parts of a list with semicolons between."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case list() if all(isinstance(part, str | int | float) for part in value):
            return "; ".join(map(str, value))
        case list() | dict():
            return ""  # spans and boxes, which are no answers on a scale
        case _:
            return str(value)


def _prodigy(path: Path, records: list[Record]) -> Sheet:
    """Annotations of Prodigy: the chosen option, or whether a label was accepted."""
    kept = [record for record in records if record.get("answer") in ("accept", "reject")]
    if not kept:
        raise CrowdError(f"{path}: is an export of Prodigy in which nothing was answered")
    options = any(record.get("options") for record in kept)
    if options:
        kept = [record for record in kept if record.get("accept")]
    rows = []
    for record in kept:
        task = str(record.get("_input_hash", record.get("_task_hash")))
        label = "" if options else _text(record.get("label"))
        rows.append(
            {
                "annotator": str(record.get("_annotator_id") or record.get("_session_id") or ""),
                "task": f"{task} {label}".strip(),
                "text": " - ".join(filter(None, (_text(record.get("text")), label))),
                "answer": _text(record["accept"]) if options else str(record["answer"]),
            }
        )
    uses: dict[str, Use] = {"annotator": "person", "task": "task", "answer": "response"}
    ignored = len(records) - len(kept)
    notes = (f"Left out, ignored or without a choice: {ignored:,} annotations.",) if ignored else ()
    return _sheet(path, "an export of Prodigy", rows, {**uses, "text": "text"}, notes)
