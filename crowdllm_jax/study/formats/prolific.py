"""Prolific's table of a study's submissions: who took part, without their answers
(https://researcher-help.prolific.com/en/articles/445191-how-do-i-export-my-data).
"""

from dataclasses import replace

from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.study.formats.delimited import Rows
from crowdllm_jax.study.formats.excel import table_of
from crowdllm_jax.study.formats.sheet import Sheet

_OWN = frozenset(
    [
        "submission id",
        "session_id",
        "status",
        "custom study tncs accepted at",
        "started at",
        "completed at",
        "reviewed at",
        "archived at",
        "started_datetime",
        "completed_date_time",
        "reviewed_at_datetime",
        "time taken",
        "time_taken",
        "completion code",
        "entered_code",
        "total approvals",
        "num_approvals",
        "num_rejections",
        "prolific_score",
        "fluent languages",
    ]
)
_GONE = {"RETURNED", "TIMED-OUT", "TIMED_OUT", "REJECTED", "REVOKED"}
_UNKNOWN = frozenset({"CONSENT_REVOKED", "DATA_EXPIRED"})


def is_prolific(rows: Rows) -> bool:
    """Whether the header names Prolific's own columns."""
    names = {tidy_name(name).casefold() for name in (rows.rows or [[]])[0]}
    return bool(names & {"participant id", "participant_id"}) and len(names & _OWN) >= 3


def read_prolific(rows: Rows) -> Sheet:
    """Read the table; who returned the study or was rejected is left out, and said."""
    header, *body = rows.rows
    lower = [tidy_name(name).casefold() for name in header]
    notes = list(rows.notes)
    if "status" in lower:
        place = lower.index("status")
        kept = [row for row in body if row[place].upper() not in _GONE]
        if len(kept) < len(body):
            notes.append(f"Left out, returned or rejected submissions: {len(body) - len(kept)}.")
        body = kept
    sheet = table_of(Rows(rows.path, [header, *body], tuple(notes)), "Prolific's table of people")
    fields = []
    for field in sheet.fields:
        name = field.name.casefold()
        if name in ("participant id", "participant_id"):
            fields.append(replace(field, use="person"))
        elif name in _OWN:
            fields.append(replace(field, use="out", why="Prolific's own"))
        else:
            fields.append(replace(field, use="profile", missing=_UNKNOWN))
    return replace(sheet, fields=tuple(fields))
