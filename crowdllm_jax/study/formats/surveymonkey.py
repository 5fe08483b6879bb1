"""SurveyMonkey's exported CSV (or Excel) with two rows of headings: questions, and items.

Columns of one question stand side by side, the question over the first of them alone
(https://help.surveymonkey.com/en/surveymonkey/analyze/exports/).
"""

import re
from dataclasses import replace

from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.runtime.numerals import number
from crowdllm_jax.study.formats.delimited import Rows
from crowdllm_jax.study.formats.sheet import Field, Sheet, check_size, column_of, unique_names

_OWN = frozenset(
    [
        "respondent id",
        "respondentid",
        "collector id",
        "collectorid",
        "start date",
        "startdate",
        "end date",
        "enddate",
        "date created",
        "date modified",
        "ip address",
        "email address",
        "email",
        "first name",
        "firstname",
        "last name",
        "lastname",
        "custom data 1",
        "custom data",
        "custom value",
        "collector nm",
    ]
)
_PLAIN = {"", "response", "open-ended response", "antwort", "réponse", "respuesta"}


_TYPED = re.compile(
    r"(?i)(other|sonstige|andere|autre|otr[oa]|altro|outr[oa]|anders|inne)\w*\b.*[(:]"
)
"""An option beside which people write what they mean."""


def is_surveymonkey(rows: Rows) -> bool:
    """Whether the first column is SurveyMonkey's id over an empty cell."""
    if len(rows.rows) < 2:
        return False
    header, below = rows.rows[:2]
    first = tidy_name(header[0]).casefold().replace(" ", "").replace("_", "")
    return first == "respondentid" and not tidy_name(below[0]) and any(below)


def has_two_headings(rows: Rows) -> bool:
    """Whether names are missing in the header as under merged cells, and words stand below."""
    if len(rows.rows) < 3:
        return False
    header, below = rows.rows[:2]
    # A last column without a name is what a delimiter at the end of each row leaves.
    merged = [c for c, name in enumerate(header) if c and not tidy_name(name)]
    merged = [c for c in merged if c < len(header) - 1 or below[c]]
    worded = [c for c in merged if any(map(str.isalpha, below[c]))]
    worded = worded or [c for c in merged if below[c] and _above_numbers(rows, c)]
    told = bool(worded) and ("" in below or len(worded) > 1 or not tidy_name(header[0]))
    told = told or _names_again(rows)
    return told and not any(number(cell) is not None for cell in below)


FEWEST_AGAIN = 2


def _above_numbers(rows: Rows, column: int) -> bool:
    """Whether a text such as `18-34` stands above nothing but numbers."""
    cells = [row[column].removesuffix("%") for row in rows.rows[2:] if row[column]]
    return bool(cells) and all(number(cell) is not None for cell in cells)


def _names_again(rows: Rows) -> bool:
    """Whether names that stand several times side by side have each another text below, which no
    row below that has."""
    header, below, *body = ([*map(tidy_name, row)] for row in rows.rows)
    again = [
        place
        for place, name in enumerate(header)
        if name and name in (*header[max(place - 1, 0) : place], *header[place + 1 : place + 2])
    ]
    pairs = [(header[place], below[place]) for place in again]
    held = all(below[place] and below[place] not in {row[place] for row in body} for place in again)
    own = not below[0] or below[0] == header[0]  # a person has an id
    return own and len(again) >= FEWEST_AGAIN and held and len({*pairs}) == len(pairs)


def read_two_headings(rows: Rows) -> Sheet:
    """Read a table that has questions in one row, and their items in the next."""
    sheet = read_surveymonkey(rows)
    return replace(sheet, what="a table with two rows of headings")


def read_surveymonkey(rows: Rows) -> Sheet:
    """Read an export."""
    header, below, *body = rows.rows
    check_size(rows.path, len(body), len(header))
    questions, question = [], ""
    for name, item in zip(header, below, strict=True):
        question = tidy_name(name) or (question if tidy_name(item) else "")
        questions.append(question)
    names = [
        q if tidy_name(item).casefold() in _PLAIN else f"{q} [{tidy_name(item)}]" if q else item
        for q, item in zip(questions, below, strict=True)
    ]
    fields = []
    for place, name in enumerate(unique_names(names)):
        cells = column_of(rows.path, name, (row[place] for row in body))
        lower, item = questions[place].casefold(), tidy_name(below[place])
        grid = questions[place] if questions.count(questions[place]) > 1 and item else ""
        if lower in ("respondent id", "respondentid", "respondent_id"):
            fields.append(Field(name, cells, use="person"))
        elif lower in _OWN:
            fields.append(Field(name, cells, use="out", why="SurveyMonkey's own"))
        elif _TYPED.match(item):
            fields.append(Field(name, cells, use="out", why="typed text"))
        else:
            fields.append(Field(name, cells, name, grid=grid))
    return Sheet(rows.path, "an export of SurveyMonkey", len(body), tuple(fields), rows.notes)
