"""Qualtrics: exported CSV (or TSV, or Excel) with three rows of headings, and the survey's .qsf.

Headings are names, texts and import ids
(https://www.qualtrics.com/support/survey-platform/data-and-analysis-module/data/download-data/understanding-your-dataset/);
the .qsf is JSON that holds the questions, not the answers
(https://www.qualtrics.com/support/survey-platform/survey-module/survey-tools/import-and-export-surveys/).
"""

import html
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crowdllm_jax.errors import CrowdError, first_line
from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.study.formats.delimited import Rows
from crowdllm_jax.study.formats.sheet import Field, Sheet, Use, check_size, column_of, unique_names

_OWN = frozenset(
    [
        "startdate",
        "enddate",
        "status",
        "ipaddress",
        "progress",
        "duration (in seconds)",
        "finished",
        "recordeddate",
        "recipientlastname",
        "recipientfirstname",
        "recipientemail",
        "externalreference",
        "externaldatareference",
        "locationlatitude",
        "locationlongitude",
        "distributionchannel",
        "userlanguage",
        "q_recaptchascore",
        "q_relevantidduplicate",
        "q_relevantidduplicatescore",
        "q_relevantidfraudscore",
        "q_relevantidlaststartdate",
        "q_totalduration",
        "q_ballotboxstuffing",
        "q_terminateflag",
        "q_language",
        "q_url",
        "q_chl",
        "q_datapolicyviolations",
        "q_unansweredpercentage",
        "q_unansweredquestions",
        "q_straightliningcount",
        "q_straightliningpercentage",
        "q_straightliningquestions",
    ]
)


def is_qualtrics(rows: Rows) -> bool:
    """Whether the third row (or the second, of an older export) holds import ids, or the header
    names Qualtrics' own columns."""
    held = any(sum('"ImportId"' in c for c in row) > len(row) / 2 for row in rows.rows[1:3] if row)
    names = {tidy_name(name).casefold() for name in (rows.rows or [[]])[0]}
    return held or {"responseid", "startdate", "recordeddate"} <= names


def read_qualtrics(rows: Rows) -> Sheet:
    """Read an export; previews, and answers that were not finished, are kept out or told."""
    header, *body = rows.rows
    check_size(rows.path, len(body), len(header))
    ids = next(
        (n for n, row in enumerate(body[:2]) if sum('"ImportId"' in c for c in row) > len(row) / 2),
        None,
    )
    headings = 1 if ids is None else ids + 1
    texts = body[0] if headings > 1 or ids is None else header
    body = body[headings:]
    names = unique_names(header)
    notes = list(rows.notes)
    lower = [name.casefold() for name in names]
    if "status" in lower:
        place = lower.index("status")
        real = [
            row for row in body if row[place] not in ("Survey Preview", "Survey Test", "1", "2")
        ]
        if len(real) < len(body):
            notes.append(f"Left out, previews and tests of the survey: {len(body) - len(real)}.")
        body = real
    check_size(rows.path, len(body), len(names))
    person = "responseid" if "responseid" in lower else None
    fields = []
    for place, name in enumerate(names):
        text = _plain(texts[place])
        item = re.fullmatch(r"(.+?)_(\d+)(_TEXT)?", name)
        use: Use | None = "person" if lower[place] == person else None
        own = lower[place] in _OWN or re.search(
            r"_(First|Last|Page) (Click|Submit)$|_Click Count$|_DO(_\d+)?$|_NPS_GROUP$|^SC\d+$|"
            r" - (Parent Topics|Topics|Sentiment.*)$",
            name,
        )
        why = "Qualtrics' own" if own else "typed text" if name.endswith("_TEXT") else ""
        fields.append(
            Field(
                name,
                column_of(rows.path, name, (row[place] for row in body)),
                text="" if text == name else text,
                use="out" if why else use,
                grid=item[1] if item else "",
                several="," if _several([row[place] for row in body]) else "",
                why=why,
            )
        )
    return Sheet(rows.path, "an export of Qualtrics", len(body), tuple(fields), tuple(notes))


def _several(cells: list[str]) -> bool:
    """Whether codes of several answers stand in a cell."""
    held = {cell for cell in cells if cell}
    return any("," in cell for cell in held) and all(_CODES.fullmatch(cell) for cell in held)


_CODES = re.compile(r"-?\d{1,4}(,\d{1,4})*")


def _plain(text: str) -> str:
    """A text without HTML."""
    return tidy_name(html.unescape(re.sub(r"<[^>]*>", " ", text)))


@dataclass(frozen=True)
class Asked:
    """A question of a .qsf: its text, and the answers it offers, as (code, label) in their order;
    `ordered` where these are the columns of a matrix, a scale by their making, `several` where
    people may choose more than one."""

    text: str
    answers: tuple[tuple[str, str], ...]
    ordered: bool
    several: bool = False


def read_questionnaire(path: Path) -> dict[str, Asked]:
    """The questions of a .qsf by the names of the columns that an export has for them.

    Raises:
      CrowdError: it is no .qsf.
    """
    try:
        tree = json.loads(path.read_bytes())
        elements = tree["SurveyElements"]
        payloads = [e["Payload"] for e in elements if e.get("Element") == "SQ"]
        return {name: asked for payload in payloads for name, asked in _asked(payload)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CrowdError(f"{path}: cannot be read as a .qsf: {first_line(error)}") from error


def _asked(payload: dict[str, Any]) -> list[tuple[str, Asked]]:
    tag, text = payload["DataExportTag"], _plain(payload.get("QuestionText", ""))
    choices = _options(payload, "Choices", "ChoiceOrder", "RecodeValues")
    if payload.get("QuestionType") == "Matrix":
        scale = _options(payload, "Answers", "AnswerOrder", "RecodeValues")
        tags = payload.get("ChoiceDataExportTags") or {}
        tags = tags if isinstance(tags, dict) else {}
        keys = [str(k) for k in payload.get("ChoiceOrder") or payload["Choices"]]
        labels = [_plain(payload["Choices"][k]["Display"]) for k in keys]
        return [
            (tags.get(key) or f"{tag}_{key}", Asked(f"{text} - {label}", scale, True))
            for key, label in zip(keys, labels, strict=True)
        ]
    several = str(payload.get("Selector", "")).startswith("MA")
    return [(tag, Asked(text, choices, False, several))]


def _options(
    payload: dict[str, Any], key: str, order: str, recode: str
) -> tuple[tuple[str, str], ...]:
    options = payload.get(key) or {}
    if isinstance(options, list):
        options = {str(i): option for i, option in enumerate(options, start=1)}
    codes = payload.get(recode) or {}
    codes = codes if isinstance(codes, dict) else {}
    keys = [str(k) for k in payload.get(order) or options]
    return tuple(
        (str(codes.get(k, k)), _plain(options[k].get("Display", ""))) for k in keys if k in options
    )


def with_questionnaire(sheet: Sheet, asked: dict[str, Asked]) -> Sheet:
    """An export that takes texts, and the answers' order, from the survey."""
    fields = []
    for field in sheet.fields:
        if (question := asked.get(field.name)) is None:
            fields.append(field)
            continue
        texts = set(field.column.distinct)
        codes, labels = ({pair[i] for pair in question.answers} for i in (0, 1))
        answers = question.answers
        several = "," if question.several else field.several
        if several and not texts <= codes | labels:
            texts = {part for text in texts for part in text.split(several)}
        if not texts <= codes and texts <= labels:
            answers = tuple((label, label) for _, label in answers)
        elif not texts <= codes:
            answers = ()
        fields.append(
            replace(
                field,
                text=question.text,
                labels=answers,
                ordered=question.ordered or None,
                several=several,
            )
        )
    return replace(sheet, fields=tuple(fields))
