"""Tables that count people, or what they said, with nobody's own answers: a column per answer, a
column with the sum of others, or every crossing of a few levels once."""

import math
import re
from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.numerals import number
from crowdllm_jax.study.draft import names, profile_names
from crowdllm_jax.study.draft.draft import Choices, shown
from crowdllm_jax.study.draft.row_people import MOST_GROUPS, counts_up, unique
from crowdllm_jax.study.draft.word_lists import folded
from crowdllm_jax.study.draft.words import in_order, is_no_answer
from crowdllm_jax.study.formats.sheet import Field, Sheet, runs_of

FEWEST_ROWS, FEWEST_CELLS, MOST_LEVELS = 3, 8, 21
LARGE = 10.0
_TOTALS = {
    *("total", "totals", "sum", "n", "base", "count", "counts", "gesamt", "summe", "somme", "suma"),
    *("totale", "totaal", "razem", "all", "total votes", "total responses", "valid votes"),
}
_NAMES = ("name", "full name", "first name", "last name", "vorname", "nachname", "nom", "nombre")
PAIRS = (
    *({"yes", "no"}, {"agree", "disagree"}, {"approve", "disapprove"}, {"support", "oppose"}),
    *({"for", "against"}, {"favor", "oppose"}, {"satisfied", "dissatisfied"}, {"ja", "nein"}),
    *({"oui", "non"}, {"si", "no"}, {"correct", "incorrect"}, {"right", "wrong"}, {"y", "n"}),
    *({"positive", "negative"}, {"true", "false"}, {"pass", "fail"}, {"leave", "remain"}),
)


def refuse_tallies(sheet: Sheet, choices: Choices) -> None:
    """Raise CrowdError if rows hold how many people gave each answer, or are alike, and not who."""
    fields = [f for f in sheet.fields if f.column.distinct and f.name not in choices.out]
    said = choices.person or choices.task or choices.response
    if said or sheet.rows < 2 or any(f.use or f.labels for f in fields):
        return
    fields = [f for f in fields if not counts_up(f)]
    if any(map(holds_people, fields)):
        return
    plain = {f.name: own for f in fields if (own := _amounts(f)) is not None}
    _refuse_answers_as_names(sheet, fields, plain)
    _refuse_parts_of_total(sheet, fields, plain)
    _refuse_crossing(sheet, fields, plain)
    _refuse_places(sheet, fields, plain)
    _refuse_percentages(sheet, fields, plain)


def holds_people(field: Field) -> bool:
    """Whether a column is called after people and holds more than a few words: `Who` may be the
    husband, the wife, or both."""
    if names.is_contact(field.name) or folded(field.name) in _NAMES:
        return True
    if not names.is_person(field.name) or folded(field.name) in ("no", "n"):
        return False
    texts = field.column.distinct
    few = len(texts) <= MOST_GROUPS and not any(map(str.isdecimal, "".join(texts)))
    return not few or names.is_rater(field.name)


def _amounts(field: Field) -> np.ndarray | None:
    """The number of each row, 0 where there is none; None if some are below 0, or texts."""
    read = [0.0 if is_no_answer(text) else number(text) for text in field.column.distinct]
    if None in read or min(value or 0.0 for value in read) < 0:
        return None
    values: np.ndarray = np.array([*read, 0.0], float)[field.column.codes]
    return values


def _refuse_answers_as_names(
    sheet: Sheet, fields: Sequence[Field], plain: dict[str, np.ndarray]
) -> None:
    """Columns side by side that are called after the answers of one scale, with other numbers than
    of who ticks them."""
    for run in runs_of(fields, plain):
        called = [n for n in run if folded(n) not in _TOTALS and not is_no_answer(n)]
        if len(called) < 2 or any(map(str.isdecimal, "".join(called))):
            continue
        values = np.stack([plain[name] for name in called])
        words = {folded(name) for name in called}
        scale = words in PAIRS or (len(called) > 2 and in_order(called) is not None)
        others = [f for f in fields if f.name not in run]
        if scale and len(np.unique(values)) > 2 and others and _differ(others):
            _say(sheet, called, others[0].name)


def _refuse_parts_of_total(
    sheet: Sheet, fields: Sequence[Field], plain: dict[str, np.ndarray]
) -> None:
    """A column that is called a total and is the sum of those before or behind it, in rows that are
    places, groups or texts; somebody's points for questions 1 to 9 may have a total, too."""
    rows = [f for f in fields if f.name not in plain and unique(f) and _is_no_person(f)]
    whole = [name for name, own in plain.items() if np.all(own == np.round(own))]
    for place, total in enumerate(whole):
        if folded(total) not in _TOTALS or not rows or sheet.rows < FEWEST_ROWS:
            continue
        for parts in (whole[:place][::-1], whole[place + 1 :]):
            sums = np.cumsum([plain[name] for name in parts], axis=0)[1:]
            found = [many for many, own in enumerate(sums, 2) if np.array_equal(own, plain[total])]
            if found and not all(name[-1].isdecimal() for name in parts[: found[0]]):
                _say(sheet, parts[: found[0]], rows[0].name)


def _is_no_person(field: Field) -> bool:
    """Whether a column is called after what describes people, after tasks, or holds texts."""
    words = sum(len(text.split()) for text in field.column.distinct)
    told = profile_names.is_profile(field.name, field.text) or names.is_task(field.name)
    return told or names.is_option(field.name) or words >= 3 * len(field.column.distinct)


def _refuse_crossing(sheet: Sheet, fields: Sequence[Field], plain: dict[str, np.ndarray]) -> None:
    """The first columns hold every crossing of their levels once, and several others whole numbers;
    one alone may be what each of a few people counted."""
    crossed: list[Field] = []
    while math.prod(len(f.column.distinct) for f in crossed) < sheet.rows:
        if len(crossed) == len(fields) or len(fields[len(crossed)].column.distinct) > MOST_LEVELS:
            return
        crossed.append(fields[len(crossed)])
    counts = [field.name for field in fields[len(crossed) :]]
    exact = math.prod(len(f.column.distinct) for f in crossed) == sheet.rows >= FEWEST_CELLS
    known = len(crossed) > 2 or any(profile_names.is_profile(f.name, f.text) for f in crossed)
    if not (exact and known and len(crossed) > 1 and len(counts) > 1 and _differ(crossed)):
        return
    if any(
        name not in plain or not np.all(plain[name] == np.round(plain[name])) for name in counts
    ):
        return
    if max(np.max(plain[name]) for name in counts) > LARGE:
        _say(sheet, counts, shown((f.name for f in crossed), 4))


_PLACES = {
    *("precinct", "ward", "district", "county", "municipality", "constituency", "polling station"),
    *("tract", "census tract", "borough", "state", "country", "region", "province", "city", "town"),
    *("gemeinde", "wahlkreis", "bezirk", "bundesland", "kanton", "canton", "land", "stadt"),
    *("commune", "departement", "pays", "ville", "local authority", "electoral district", "parish"),
    *("nation", "prefecture", "municipio", "provincia", "comune", "county name", "state name"),
    *("country name", "precinct name", "polling place", "polling district", "riding", "electorate"),
}
FEWEST_PLACES, SMALL, MOST_SMALL = 8, 11, 10


def _refuse_places(sheet: Sheet, fields: Sequence[Field], plain: dict[str, np.ndarray]) -> None:
    """A column called after places is different in every row, and all others hold numbers, none of
    them those of a scale: so many votes, inhabitants, an index."""
    named = [f for f in fields if folded(f.name) in _PLACES and f.name not in plain]
    for place in named:
        times = [f for f in fields if names.is_time(f.name) and _differ([place, f])]
        rest = [f for f in fields if f is not place and f not in times]
        few = len(place.column.distinct)  # a code of a country, or where it lies
        numbers = rest and all(f.name in plain or len(f.column.distinct) <= few for f in rest)
        if times and not unique(place) and numbers and sheet.rows >= FEWEST_PLACES:
            _say_places(sheet, f"{place.name} at one {times[0].name}", rest)
    places = [field for field in named if unique(field)]
    others = [f for f in fields if (f not in places and not unique(f)) or f.name in plain]
    if not places or sheet.rows < FEWEST_PLACES or len(others) < 2:
        return
    if any(f.name not in plain or _may_be_scale(plain[f.name]) for f in others):
        return
    _say_places(sheet, places[0].name, others)


def _say_places(sheet: Sheet, what: str, others: Sequence[Field]) -> NoReturn:
    raise CrowdError(
        f"{sheet.path}: each row is a {what}, and nobody's answers "
        f"({shown((f.name for f in others), 4)}); give a table with a row per person; if a row is "
        "a person, name the questions: --questions 'A,B'"
    )


_PERCENT = re.compile(
    r"(?i).*(%|\b(percent|percentage|pct|prozent|share|anteil|net|total|top ?[23])\b).*|"
    r"([a-z]{3,9}\.? )?(19|20)\d\d"
)


def _refuse_percentages(
    sheet: Sheet, fields: Sequence[Field], plain: dict[str, np.ndarray]
) -> None:
    """A column of texts that were asked is different in every row, and all others hold numbers up
    to 100 that are called percentages or after years, none of them those of a scale."""
    asked = [f for f in fields if names.is_task(f.name) and unique(f) and f.name not in plain]
    others = [f for f in fields if f not in asked]
    if len(asked) != 1 or not others or sheet.rows < FEWEST_ROWS:
        return
    if any(f.name not in plain or np.max(plain[f.name]) > 100 for f in others):
        return
    shares = [f for f in others if _PERCENT.fullmatch(f.name)]
    if 2 * len(shares) <= len(others) or any(_may_be_scale(plain[f.name]) for f in shares):
        return
    raise CrowdError(
        f"{sheet.path}: seems to hold percentages ({shown((f.name for f in others), 4)}) of each "
        f"{asked[0].name}, and nobody's answers; give the shares of all answers to each, with a "
        "row per question and answer; if a row is a person, name the questions: --questions 'A,B'"
    )


def _may_be_scale(values: np.ndarray) -> bool:
    few = len(np.unique(values)) <= SMALL and np.max(values) <= MOST_SMALL
    return bool(few and np.all(values == np.round(values)))


def _differ(fields: Sequence[Field]) -> bool:
    """Whether columns together differ in every row."""
    cells = np.stack([field.column.codes for field in fields])
    return len(np.unique(cells, axis=1).T) == cells.shape[1]


def _say(sheet: Sheet, counts: Sequence[str], rows: str) -> NoReturn:
    raise CrowdError(
        f"{sheet.path}: seems to hold how many people gave each answer, or are alike "
        f"({shown(counts, 4)} of each {rows}), and nobody's own; give a table with a row per "
        "person, or per person and question; published shares need a row per question and answer, "
        "with a column 'share'; if a row is a person, name the questions: --questions 'A,B'"
    )
