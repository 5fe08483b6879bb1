"""Whose a row is, in a table with a row per person: what columns of ids hold."""

import re
from collections import Counter
from collections.abc import Sequence, Set

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime import numerals
from crowdllm_jax.study.draft import names, own_names, profile_names
from crowdllm_jax.study.draft.draft import Choices, as_flag
from crowdllm_jax.study.draft.missing_codes import MOST_LEVELS
from crowdllm_jax.study.draft.people import cells_of
from crowdllm_jax.study.draft.word_lists import folded
from crowdllm_jax.study.draft.words import in_order, is_no_answer
from crowdllm_jax.study.formats.sheet import Field, Sheet, column_of

MOST_GROUPS = 10
"""Ids that come back in several rows are those of people, if there are more of them than that."""
FEW_NUMBERS = 20


def people_of_rows(sheet: Sheet, choices: Choices, reasons: list[str]) -> Field | None:
    """The column of ids; None where people are numbered by their rows."""
    if choices.person is not None:
        field = sheet.field(choices.person, "--id")
    elif known := [f for f in sheet.fields if f.use == "person" and f.name not in choices.out]:
        field = known[0]
    else:
        named = [f for f in sheet.fields if f.use is None and names.is_person(f.name)]
        said = {*choices.questions, *choices.profile, *choices.out, *about_somebody(sheet.fields)}
        named = [f for f in named if f.name not in said]
        if not any(map(unique, named)) and (both := _of_couples(sheet, said)) is not None:
            reasons.append(f"People: one per row, with ids of columns {both.name} together.")
            return both
        if not any(map(unique, named)) and (both := _within_groups(sheet, named)) is not None:
            reasons.append(f"People: one per row, with ids of columns {both.name} together.")
            return both
        settled = any(unique(f) and names.numbers_people(f.name) for f in named)
        _refuse_several_rows([] if settled else named)
        # A few ids that stand twice are a mistake; many are no ids (PID may be a party).
        named = [f for f in named if len(f.column.distinct) * 2 > sheet.rows]
        whole = [f for f in named if unique(f)]
        if not whole and named:
            _refuse_twice(named[0])
        if not whole:
            _ask_of_even(sheet, said)
            reasons.append("No column holds ids; people are numbered by their rows.")
            reasons += _told_twice(sheet)
            return None
        # Each of them tells the rows apart.
        field = next((f for f in whole if names.names_people(f.name)), whole[0])
    _refuse_twice(field)
    reasons.append(f"People: one per row, with ids of column {field.name}.")
    return field


FEWEST_EVEN = 20


def _ask_of_even(sheet: Sheet, said: Set[str]) -> None:
    """Raise CrowdError if whole numbers come back equally often, each of many: no answers do, but
    ids of people who were asked several times, or of villages of which so many were asked."""
    for field in sheet.fields:
        numbers = [numerals.number(text) for text in field.column.distinct]
        whole = all(n is not None and n.is_integer() for n in numbers)
        often = np.bincount(field.column.codes[field.column.codes >= 0])
        even = len(often) > FEWEST_EVEN and len({*often.tolist()}) == 1 < often[0]
        known = field.use is not None or field.labels or field.amount or field.name in said
        known = (
            known
            or profile_names.is_profile(field.name, field.text)
            or own_names.is_own(field.name)
        )
        known = known or names.is_cluster(field.name)
        if known or not whole or not even or (field.column.codes < 0).any():
            continue
        raise CrowdError(
            f"{field.cells.where}: each of its {len(often):,} numbers stands in {often[0]} rows, "
            "as no answers do. If they are ids of people who answer several times, keep one row of "
            f"each, or name the tasks: --id '{field.name}' --task COLUMN; if they number groups of "
            f"people, say --leave-out {as_flag([field.name])}"
        )


def _told_twice(sheet: Sheet) -> list[str]:
    """A sentence on each column of addresses or names of which one stands in two rows."""
    told = []
    for field in sheet.fields:
        often = np.bincount(field.column.codes[field.column.codes >= 0])
        if names.is_contact(field.name) and 0 < np.sum(often > 1) < len(often) / 2:
            twice = field.column.distinct[int(np.argmax(often > 1))]
            told.append(
                f"Somebody may have answered twice: in {field.name} {np.sum(often > 1):,} stand in "
                f"several rows, such as '{twice}'."
            )
    return told


def _within_groups(sheet: Sheet, named: Sequence[Field]) -> Field | None:
    """Ids of people who are numbered within groups that describe them (countries, schools), if
    groups and numbers together are different in every row."""
    for field in named:
        for group in sheet.fields:
            few = len(group.column.distinct) < len(field.column.distinct)
            # Somebody may be asked at several ages.
            time = names.is_time(group.name) or profile_names.is_age(group.name)
            time = time or names.is_condition(group.name)
            if not few or time or not profile_names.is_profile(group.name, group.text):
                continue
            if (both := _both(sheet, group, field)) is not None:
                return both
    return None


MOST_MEMBERS = 12


def _of_couples(sheet: Sheet, said: Set[str]) -> Field | None:
    """Ids of people in couples or households with what tells these people apart, a role rather
    than what describes them."""
    fields = [f for f in sheet.fields if f.name not in said]
    for group in fields:
        if not _of_several(group) or unique(group):
            continue
        members = [f for f in fields if f is not group and is_member(sheet, group, f)]
        members.sort(key=lambda f: profile_names.is_profile(f.name, f.text))
        for member in members:
            if (both := _both(sheet, group, member)) is not None:
                return both
    return None


def _of_several(field: Field) -> bool:
    """Whether a column is called after ids of households, and holds many."""
    several = names.may_be_household(field.name) and len(field.column.distinct) > MOST_GROUPS
    return several or names.is_of_several(field.name)


def members_in_rows(sheet: Sheet, said: Set[str]) -> Field | None:
    """Ids of the people of couples or households, who have several rows each; None where two
    columns do not tell them."""
    fields = [f for f in sheet.fields if f.name not in said and f.use is None]
    for group in filter(_of_several, fields):
        for member in fields:
            if member is group or not is_member(sheet, group, member):
                continue
            both = _together(sheet, group, member)
            if both is not None and 1.5 * len(both.column.distinct) <= sheet.rows:
                return both
    return None


MOST_ALIKE = 4


def is_member(sheet: Sheet, group: Field, member: Field) -> bool:
    """Whether a column tells the people of each household apart, by its name and since these are
    few; more than there are households, or as many in all whom somebody rated, are raters."""
    many, groups = len(member.column.distinct), len(group.column.distinct)
    called = names.tells_members(member.name) and not own_names.is_own(member.name)
    if not called or not 1 < many <= min(MOST_MEMBERS, groups):
        return False
    rated = many > MOST_ALIKE and any(names.is_response(f.name) for f in sheet.fields)
    return not rated or many * groups > sheet.rows


def _both(sheet: Sheet, group: Field, member: Field) -> Field | None:
    """Two columns as ids; None unless together they are different in every row."""
    both = _together(sheet, group, member)
    return both if both is not None and unique(both) else None


def _together(sheet: Sheet, group: Field, member: Field) -> Field | None:
    """Two columns as one; None where a cell is empty."""
    texts = [f"{g} {own}" for g, own in zip(*map(texts_of, (group, member)), strict=True)]
    if "" in (*texts_of(group), *texts_of(member)):
        return None
    name = f"{group.name} and {member.name}"
    return Field(name, column_of(sheet.path, name, texts))


def texts_of(field: Field) -> list[str]:
    """The texts of all rows."""
    return cells_of(field, np.arange(len(field.column.codes)))


def counts_up(field: Field) -> bool:
    """Whether a column numbers the rows, from 0 or 1, in any order."""
    numbers, rows = (
        {numerals.number(text) for text in field.column.distinct},
        len(field.column.codes),
    )
    return numbers in ({*map(float, range(rows))}, {*map(float, range(1, rows + 1))})


def unique(field: Field) -> bool:
    """Whether every row has another text."""
    return len(field.column.distinct) == len(field.column.codes)


def _refuse_twice(field: Field) -> None:
    codes = field.column.codes
    if np.any(codes < 0):
        raise CrowdError(
            f"{field.cells.where}: no id in {field.column.rows_of(-1)}; give every "
            "row one, or name another column with --id"
        )
    if not unique(field):
        twice = int(np.argmax(np.bincount(codes) > 1))
        raise CrowdError(
            f"{field.cells.where}: '{field.column.distinct[twice]}' stands in "
            f"{field.column.rows_of(twice)}; keep one row per person, or name another column with "
            "--id (or, if rows are answers, the columns of tasks and answers with --task and "
            f"--response); --leave-out '{field.name}' numbers people by their rows"
        )


def _refuse_several_rows(named: Sequence[Field]) -> None:
    """Raise CrowdError if ids come back in most rows; a few may be a party's (PID), unless they are
    called after who rates."""
    several = [field for field in named if _in_several_rows(field)]
    if not several:
        return
    ids, rows = len(several[0].column.distinct), len(several[0].column.codes)
    listed = as_flag(field.name for field in several)
    raise CrowdError(
        f"{several[0].cells.where}: its {ids:,} ids come back in several of the {rows:,} rows. If "
        "a row is a person at one time, keep one row of each; if it is an answer, name the "
        f"column of tasks with --task; --leave-out {listed} takes each row for a person"
    )


def _in_several_rows(field: Field) -> bool:
    ids, rows = len(field.column.distinct), len(field.column.codes)
    raters = names.is_rater(field.name) and ids > 1 and in_order(field.column.distinct) is None
    return (raters or ids > MOST_GROUPS) and ids <= rows / 2 and not field.labels


def people_ids(sheet: Sheet, people: Field | None) -> list[str]:
    """The id of each row's person."""
    if people is None:
        rows = sheet.fields[0].cells.in_file(np.arange(sheet.rows))
        return [str(row + 2) for row in rows]
    return cells_of(people, np.arange(sheet.rows))


_ID = re.compile(r"\S+@\S+\.\S+|A(?=[A-Z]*\d)[0-9A-Z]{12,14}|[0-9a-f]{24}")
"""An address, a worker of Mechanical Turk, a participant of Prolific."""


def is_persons_id(text: str) -> bool:
    """Whether a text is such as only people's ids are."""
    return _ID.fullmatch(text) is not None


_NUMBERED = re.compile(r"([^\W\d]+)[\s_.-]*\d+")


def words_before(field: Field) -> str:
    """What stands before the numbers of all ids: the `user` of `user_7`."""
    found = [_NUMBERED.fullmatch(text) for text in field.column.distinct[:200]]
    words = {match[1].strip("_").casefold() for match in found if match is not None}
    return words.pop() if len(words) == 1 and None not in found else ""


def hold_people(field: Field) -> bool:
    """Whether the texts of a column are ids of many people: `player7`."""
    return len(field.column.distinct) > MOST_GROUPS and names.names_people(words_before(field))


def comes_back(field: Field) -> bool:
    """Whether a column holds a few texts, which come back."""
    few = 1 < len(field.column.distinct) <= MOST_GROUPS
    return few and 3 * len(field.column.distinct) <= len(field.column.codes)


def about_somebody(fields: Sequence[Field]) -> set[str]:
    """Columns that are called after one of several people (`Player 3`) and hold what is said of
    them, which comes back: numbers, answers in an order, or those of another such column. Ids of
    somebody, or of who rates, would be no answers."""
    held = {field.name: _said_of_somebody(field) for field in fields}
    one = sum(map(bool, held.values())) == 1
    whose = Counter(text for texts in held.values() for text in texts)
    held = {
        name: texts
        for name, texts in held.items()
        # Of two people other ids are known; answers of both would be some of the same.
        if len(texts) <= MOST_GROUPS or one or any(whose[t] > 1 for t in texts)
    }
    called = {folded(field.name): field.name for field in fields}
    beside = {called["no"]} if {"yes", "no"} <= called.keys() else set()  # no number of anybody
    often = Counter(frozenset(texts) for texts in held.values())
    numbers = {name for name, texts in held.items() if None not in map(numerals.number, texts)}
    return beside | {
        name
        for name, texts in held.items()
        if texts and (name in numbers or often[frozenset(texts)] > 1 or in_order(texts) is not None)
    }


def _said_of_somebody(field: Field) -> list[str]:
    """The answers of a column that is called after one of several people, if they come back."""
    if not names.numbers_somebody(field.name) or names.is_rater(field.name):
        return []
    texts = [text for text in field.column.distinct if not is_no_answer(text)]
    repeat = 1 < len(texts) <= MOST_LEVELS and 3 * len(texts) <= len(field.column.codes)
    return texts if repeat else []


def numbers_rows(field: Field) -> bool:
    """Whether a column numbers many rows: by one after another, or by large numbers."""
    texts = field.column.distinct
    if field.labels or field.amount or len(texts) <= FEW_NUMBERS or not unique(field):
        return False
    numbers = [numerals.number(text) for text in texts]
    whole = [n for n in numbers if n is not None and n.is_integer()]
    if len(whole) < len(texts):
        return False
    low, high = min(whole), max(whole)
    # A slider from 0 to 100 may have been set differently by each of a few people.
    return high - low == len(texts) - 1 or low < 0 or high > 100
