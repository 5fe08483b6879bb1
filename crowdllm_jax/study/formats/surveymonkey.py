"""SurveyMonkey's exported CSV (or Excel) with two rows of headings: questions, and items.

Columns of one question stand side by side, the question over the first of them alone
(https://help.surveymonkey.com/en/surveymonkey/analyze/exports/).
"""

from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.study.formats.delimited import Rows
from crowdllm_jax.study.formats.sheet import Field, Sheet, check_size, column_of, unique_names

_OWN = {
    "respondent id", "respondentid", "collector id", "collectorid", "start date", "startdate",
    "end date", "enddate", "date created", "date modified", "ip address", "email address", "email",
    "first name", "firstname", "last name", "lastname", "custom data 1", "custom data",
    "custom value", "collector nm",
}  # fmt: skip
_PLAIN = {"", "response", "open-ended response", "antwort", "réponse", "respuesta"}


def is_surveymonkey(rows: Rows) -> bool:
    """Whether the first column is SurveyMonkey's id over an empty cell."""
    if len(rows.rows) < 2:
        return False
    header, below = rows.rows[:2]
    first = tidy_name(header[0]).casefold().replace(" ", "").replace("_", "")
    return first == "respondentid" and not tidy_name(below[0]) and any(below)


def read_surveymonkey(rows: Rows) -> Sheet:
    """Read an export; a column per option of a question becomes a yes-or-no question."""
    header, below, *body = rows.rows
    check_size(rows.path, len(body), len(header))
    questions, question = [], ""
    for name, item in zip(header, below, strict=True):
        question = tidy_name(name) or (question if tidy_name(item) else "")
        questions.append(question)
    names = [
        q if tidy_name(item).casefold() in _PLAIN else f"{q} [{tidy_name(item)}]"
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
        elif item.casefold().startswith("other (please specify"):
            fields.append(Field(name, cells, use="out", why="typed text"))
        elif grid and cells.distinct == (item,):
            answered = [any(row[i] for i in _side_by_side(questions, place)) for row in body]
            ticks = (
                ("1" if row[place] else "0") if anything else None
                for row, anything in zip(body, answered, strict=True)
            )
            cells = column_of(rows.path, name, ticks)
            fields.append(Field(name, cells, name, CHOSEN, use="question", grid=grid))
        else:
            fields.append(Field(name, cells, name, grid=grid))
    return Sheet(rows.path, "an export of SurveyMonkey", len(body), tuple(fields), rows.notes)


def _side_by_side(questions: list[str], place: int) -> list[int]:
    """The columns of the question that a column belongs to."""
    return [i for i, question in enumerate(questions) if question == questions[place]]


CHOSEN = (("0", "not chosen"), ("1", "chosen"))
"""How an option is answered that people may choose beside others."""
