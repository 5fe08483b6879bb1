"""Two columns that make rows answers, whatever they are called: whose, and to what.

Nobody answers a task twice, so that no two rows agree both in people and in tasks. Of two columns
that have nothing to do with each other (age and income), or that go together, some rows do; how
many of them would by chance, the columns themselves tell. Names, and what the ids look like, then
say which of the two holds people.
"""

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NoReturn

import numpy as np
from scipy import stats

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.runtime.numerals import number
from crowdllm_jax.study.draft import names, own_names, profile_names
from crowdllm_jax.study.draft.draft import Choices, as_flag, shown
from crowdllm_jax.study.draft.guess import Guess, guess
from crowdllm_jax.study.draft.row_people import (
    counts_up,
    is_member,
    is_persons_id,
    unique,
    words_before,
)
from crowdllm_jax.study.draft.tallies import holds_people, refuse_tallies
from crowdllm_jax.study.draft.wide_table import answered
from crowdllm_jax.study.draft.word_lists import folded
from crowdllm_jax.study.formats.sheet import Field, Sheet

MOST_COLUMNS = 60
MOST_ANSWERS = 3
"""Columns of answers beside two keys without telling names; with more, rows are people who live
together or go to one school (household and member)."""
CHANCES = ((5.0, -7.0), (2.0, -12.0), (0.0, -18.0))
"""By how much columns look like people and tasks (both, one, neither), and how small the log of the
chance must then be that two unrelated columns cut rows so finely.

A table has up to some thousand pairs of columns: exp(-18) times a thousand is below 1e-4."""
SAID = 4.0
NEARLY = 0.95
"""The share of rows that two keys tell apart: a few answers are given twice by mistake."""


@dataclass(frozen=True)
class Pair:
    """Columns of people and tasks; `told`: by how much they look like that rather than the other
    way round; `score`: by how much at all."""

    person: Field
    task: Field
    told: float
    score: float


def crossed_keys(sheet: Sheet, choices: Choices) -> Pair | None:
    """The columns of people and tasks; None where rows are people.

    Raises:
      CrowdError: rows are answers, but several columns may hold the people or the tasks.
    """
    if choices.questions or choices.profile or _one_person_per_row(sheet, choices):
        return None
    _refuse_toplines(sheet)
    _refuse_averages(sheet, choices)
    _refuse_counts(sheet, choices)
    refuse_tallies(sheet, choices)
    pairs = _pairs(sheet, choices)
    if not pairs:
        return None
    best = max(pair.score for pair in pairs)
    found = _without_counts([pair for pair in pairs if pair.score == best])
    first = found[0]
    answers = _answers(sheet, first, choices)
    if not answers:
        return None
    if len(answers) > MOST_ANSWERS and not _both_named(first, choices):
        if len(answers) <= FEW_COLUMNS and _crossed_at_large(first):
            raise CrowdError(_which(sheet, first))
        return None
    _refuse_shares(sheet, first, answers)
    if first.told == 0:
        raise CrowdError(_which(sheet, first))
    for what, flag, keys in (
        ("the ids of people", "--id", {pair.person.name for pair in found}),
        ("the ids of tasks", "--task", {pair.task.name for pair in found}),
    ):
        if len(keys) > 1:
            listed = [field.name for field in sheet.fields if field.name in keys]
            raise CrowdError(
                f"{sheet.path}: its rows are answers; which column holds {what}: {shown(listed, 8)}"
                f"? Say it with {flag} '{listed[0]}' (or another)"
            )
    if len(answers) > 1 and not _both_named(first, choices):
        raise CrowdError(_which(sheet, first))
    return first


MANY_IDS, OFTEN = 20, 4
FEW_COLUMNS = 8
"""How many ids of either kind a table of answers has at least that describes much of both, how
often each comes back on average, and how many columns describe them at most."""


def _crossed_at_large(pair: Pair) -> bool:
    """Whether so many people and tasks come back so often, never together, that they cannot be
    pupils of schools (who are numbered within each) or what people are asked."""
    keys = (pair.person, pair.task)
    rows = len(pair.person.column.codes)
    sizes = [len(key.column.distinct) for key in keys]
    if min(sizes) <= MANY_IDS or OFTEN * max(sizes) > rows:
        return False
    if any(names.is_of_several(k.name) or profile_names.is_profile(k.name, k.text) for k in keys):
        return False
    return not (_counts_within(*keys) or _counts_within(*keys[::-1]))


def _counts_within(member: Field, group: Field) -> bool:
    """Whether numbers count the members of most groups: 1, 2, 3."""
    plain = np.array([*(number(text) or 0.0 for text in member.column.distinct), 0.0])
    of, codes = plain[member.column.codes], group.column.codes
    sizes = np.bincount(codes[codes >= 0], minlength=len(group.column.distinct))
    highest = np.zeros(len(sizes))
    np.maximum.at(highest, codes[codes >= 0], of[codes >= 0])
    return bool(np.mean(highest == sizes) > 0.5)


def _refuse_shares(sheet: Sheet, pair: Pair, answers: Sequence[Field]) -> None:
    """Raise CrowdError if a table tells how many people gave each answer, and not who."""
    keys = [key for key in (pair.person, pair.task) if names.is_option(key.name)]
    shares = [field for field in answers if names.is_share(field.name)]
    if keys and shares:
        _say_shares(sheet, keys[0], shares[0])


def _say_shares(sheet: Sheet, option: Field, share: Field) -> NoReturn:
    raise CrowdError(
        f"{sheet.path}: holds shares of answers ('{share.name}' of each '{option.name}'), and "
        "nobody's own; give a table with a row per person, or per person and question; published "
        "shares are to add up to 1 or 100 for each question; if a row is a person, name the "
        "questions: --questions 'A,B'"
    )


MOST_TOPLINE_COLUMNS = 6


def _refuse_toplines(sheet: Sheet) -> None:
    """Raise CrowdError if columns are called after options, and others after how often these were
    given (or add up to 100 percent), none after people, and no option of a question comes back."""
    if any(f.use for f in sheet.fields) or any(names.is_person(f.name) for f in sheet.fields):
        return
    called = {folded(field.name) for field in sheet.fields}
    if {"comment id", "agrees", "disagrees"} <= called:
        raise CrowdError(
            f"{sheet.path}: holds comments and how many people agreed with each (Pol.is), but not "
            "who; give the file of votes of the same export (participants-votes.csv or votes.csv)"
        )
    options = [f for f in sheet.fields if names.is_option(f.name) and not _numeric(f)]
    numbers = [f for f in sheet.fields if _numeric(f) and f.column.distinct]
    shares = [f for f in numbers if names.is_share(f.name)]
    if len(sheet.fields) > MOST_TOPLINE_COLUMNS or not shares:
        added = [f for f in numbers if _adds_up(sheet, f)]
        whole = [f for f in added if _whole(f) and not names.is_share(f.name)]
        # One column of whole numbers may be points of options.
        shares = added if len(whole) != 1 else [f for f in added if f not in whole]
    texts = [f for f in sheet.fields if names.is_task(f.name) or not _numeric(f)]
    if options and shares and _differ(texts):
        _say_shares(sheet, options[0], shares[0])


def _refuse_averages(sheet: Sheet, choices: Choices) -> None:
    """Raise CrowdError if each row is a thing with averages of what people said of it, beside how
    many these are, and nothing is called after people (of whom averages may be known, too)."""
    fields = [f for f in sheet.fields if f.column.distinct and f.name not in choices.out]
    people = any(names.is_person(f.name) or names.is_contact(f.name) for f in fields)
    if people or any(f.use for f in fields) or not any(map(unique, fields[:1])):
        return
    counts = [f for f in fields if names.counts_people(f.name) and _numeric(f) and _whole(f)]
    means = [f for f in fields if _numeric(f) and _may_be_averages(f)]
    if counts and means:
        raise CrowdError(
            f"{sheet.path}: holds averages of answers ('{means[0].name}', of as many people as "
            f"'{counts[0].name}' says), and nobody's own; give a table with a row per person, or "
            "per person and question; if a row is a person, name the questions: --questions 'A,B'"
        )


def _may_be_averages(field: Field) -> bool:
    """Whether numbers are called averages, or answers that are no whole or half numbers."""
    values = [number(text) or 0.0 for text in field.column.distinct]
    if names.is_average(field.name):
        return not _whole(field)
    return names.is_response(field.name) and not all((2 * v).is_integer() for v in values)


def _refuse_counts(sheet: Sheet, choices: Choices) -> None:
    """Raise CrowdError if a column says how many people are alike in all others, whose levels are
    crossed, as R's tables are written."""
    fields = [f for f in sheet.fields if f.column.distinct and f.name not in choices.out]
    if any(f.use or holds_people(f) for f in fields) or choices.weight is not None:
        return
    counts = [f for f in fields if names.counts_rows(f.name) and _numeric(f) and _whole(f)]
    others = [f for f in fields if f not in counts and not counts_up(f)]
    sizes = [len(f.column.distinct) for f in others]
    # Half of all crossings are there, and none twice.
    crossed = len(others) > 1 and sheet.rows >= 4 and math.prod(sizes) <= 2 * sheet.rows
    crossed = crossed and max(sizes) < sheet.rows
    ballots = [f for f in others if unique(f) and all(">" in t for t in f.column.distinct)]
    if len(counts) != 1 or not (crossed or ballots) or not _differ(others):
        return
    name, told = counts[0].name, shown((f.name for f in others), 4)
    raise CrowdError(
        f"{sheet.path}: seems to count people ('{name}' of each {told}), and a row is none; give a "
        f"table in which each row comes as often as '{name}' says; if a row is a person, name the "
        "questions: --questions 'A,B'; if it is an answer, its columns: --id A --task B"
    )


def _adds_up(sheet: Sheet, field: Field) -> bool:
    """Whether numbers are percentages of the answers to each question (or to the only one)."""
    tasks = [f.column.codes for f in sheet.fields if names.is_task(f.name) and f is not field]
    task = tasks[0] if tasks else np.zeros(sheet.rows, int)
    plain = np.array([*(number(text) or 0.0 for text in field.column.distinct), 0.0])
    values = plain[field.column.codes]
    sums = np.bincount(task + 1, values)[np.unique(task) + 1]
    return bool(values.min() >= 0 and np.all(np.abs(sums - 100) <= ROUNDED))


def _whole(field: Field) -> bool:
    return all((number(text) or 0.0).is_integer() for text in field.column.distinct)


ROUNDED = 3.0
"""By how much rounded percentages may miss 100."""


def _differ(fields: Sequence[Field]) -> bool:
    """Whether columns together differ in every row."""
    cells = np.stack([field.column.codes for field in fields])
    return len(np.unique(cells, axis=1).T) == cells.shape[1]


def _numeric(field: Field) -> bool:
    return all(number(text) is not None for text in field.column.distinct)


def _which(sheet: Sheet, pair: Pair) -> str:
    one, other = pair.person.name, pair.task.name
    return (
        f"{sheet.path}: its rows look like answers, since '{one}' and '{other}' come back, but "
        "hardly ever together; which are the people's, and which the tasks'? Say it with --id "
        f"'{one}' --task '{other}', or the other way round; --leave-out {as_flag([one, other])} "
        "takes each row for a person"
    )


def _both_named(pair: Pair, choices: Choices) -> bool:
    """Whether a pair's names say what they are; who rates (a juror) is known to do so of things."""
    if names.is_rater(pair.person.name) and not names.is_task(pair.person.name):
        return True
    person = choices.person is not None or names.is_person(pair.person.name)
    return person and (choices.task is not None or names.is_task(pair.task.name))


def _one_person_per_row(sheet: Sheet, choices: Choices) -> bool:
    """Whether a column called after people is different in every row."""
    if choices.person is not None or choices.task is not None or choices.response is not None:
        return False
    fields = [f for f in sheet.fields if f.name not in choices.out and names.is_person(f.name)]
    return any(names.numbers_people(f.name) and unique(f) for f in fields)


def _pairs(sheet: Sheet, choices: Choices) -> list[Pair]:
    """Columns that together tell rows apart, each in the direction that is the more likely."""
    fields = [f for f in sheet.fields if _may_be_key(f, sheet, choices)]
    said = [sheet.field(name, flag) for name, flag in _said(choices)]
    fields = one_of_equals([*said, *(f for f in fields if f not in said)])
    whose = {f.name for f in fields}
    if len(fields) > MOST_COLUMNS:
        # Of so many, people and tasks have to look like what they are.
        whose = {f.name for f in fields if f in said or _person_alone(f) >= 2}
        fields = [f for f in fields if f.name in whose or _task_alone(f) >= 2]
    pairs = []
    for one, other in combinations(fields, 2):
        known = one.name in whose or other.name in whose
        if known and (pair := _pair(sheet, one, other, choices)) is not None:
            pairs.append(pair)
    return pairs


def _said(choices: Choices) -> list[tuple[str, str]]:
    told = ((choices.person, "--id"), (choices.task, "--task"))
    return [(name, flag) for name, flag in told if name is not None]


def _pair(sheet: Sheet, one: Field, other: Field, choices: Choices) -> Pair | None:
    chance = _chance(one, other)
    if chance is None:
        return None
    if _within_household(sheet, one, other) or _within_household(sheet, other, one):
        return None
    profiles = sum(profile_names.is_profile(f.name, f.text) for f in (one, other))
    if profiles == 1:
        return None  # people are numbered within a school
    ways = [(one, other), (other, one)]
    ways = [(p, t) for p, t in ways if choices.person in (None, p.name)]
    ways = [(p, t) for p, t in ways if choices.task in (None, t.name)]
    ways = [(p, t) for p, t in ways if not names.is_time(t.name) and not names.is_time(p.name)]
    if not ways:
        return None
    scores = [_as_person(p, sheet) + _as_task(t, sheet) for p, t in ways]
    best = int(np.argmax(scores))
    score = scores[best]
    # With one way round, the user has said which is which.
    told = abs(scores[0] - scores[1]) if len(ways) == 2 else SAID
    if chance > next(most for least, most in CHANCES if max(score, told) >= least):
        return None
    return Pair(*ways[best], told, score)


def _within_household(sheet: Sheet, group: Field, member: Field) -> bool:
    """Whether columns are ids of households (or couples) and what tells their people apart, and
    not who rated couples, nor what each household was asked."""
    if not names.is_of_several(group.name) or names.is_task(member.name):
        return False
    rated = names.is_person(member.name) or any(names.is_response(f.name) for f in sheet.fields)
    return not rated or is_member(sheet, group, member)


def _may_be_key(field: Field, sheet: Sheet, choices: Choices) -> bool:
    """Whether a column comes back in several rows, and its name is none of answers and times."""
    if field.use not in (None, "person", "task") or field.name in choices.out or field.labels:
        return False
    if names.is_response(field.name) or field in said_responses(sheet, choices):
        return False
    if names.is_weight(field.name, field.text):
        return False
    if own_names.is_own(field.name) and not names.is_contact(field.name):
        return False
    return len(field.column.distinct) > 1 and not unique(field)


def one_of_equals(fields: Sequence[Field]) -> list[Field]:
    """Of columns that cut the rows alike (an id and a name), the one that looks most like people's
    or tasks' ids, and then that with the shortest texts."""

    def rank(field: Field) -> tuple[float, int]:
        looks = max(_person_alone(field), _task_alone(field))
        return -looks, sum(map(len, field.column.distinct))

    kept: dict[bytes, str] = {}
    for field in sorted(fields, key=rank):
        kept.setdefault(cut(field), field.name)
    names_kept = set(kept.values())
    return [field for field in fields if field.name in names_kept]


def cut(field: Field) -> bytes:
    """How a column cuts the rows: the same for an id and what it stands for."""
    _, first, place = np.unique(field.column.codes, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[place].tobytes()


def together(one: Field, other: Field) -> np.ndarray:
    """(R,) a number for what each row says in both columns."""
    size = len(other.column.distinct) + 1
    both: np.ndarray = one.column.codes.astype(np.int64) * size + other.column.codes
    return both


def _chance(one: Field, other: Field) -> float | None:
    """The log of the chance that so few rows agree in both columns, if these had nothing to do with
    each other; None where more rows than a few do."""
    known = (one.column.codes >= 0) & (other.column.codes >= 0)
    rows = int(np.sum(known))
    sizes = len(one.column.distinct), len(other.column.distinct)
    if rows < 4 or 2 * rows < len(known) or sizes[0] * sizes[1] < NEARLY * rows:
        return None
    distinct, often = np.unique(together(one, other)[known], return_counts=True)
    if len(distinct) < NEARLY * rows:
        return None
    agree = float(np.sum(often * (often - 1)) / 2)
    ones, others = (_agreeing(f.column.codes[known]) for f in (one, other))
    expected = ones * others / (rows * (rows - 1) / 2)
    chance: float = stats.poisson.logcdf(agree, expected) if expected else 0.0
    return chance


def _agreeing(codes: np.ndarray) -> float:
    """Pairs of rows with one value."""
    often = np.bincount(codes).astype(np.float64)
    return float(np.sum(often * (often - 1)) / 2)


def _without_counts(pairs: list[Pair]) -> list[Pair]:
    """Pairs without those whose tasks are only counted (the first, second, third trial), if others
    say what was shown."""
    shown_tasks = [pair for pair in pairs if not names.counts_tasks(pair.task.name)]
    return shown_tasks or pairs


_SHOWN = re.compile(r"(?i).*\.(png|jpe?g|gif|bmp|svg|webp|wav|mp[34]|ogg|avi|mov|webm|txt|html?)")


def _as_person(field: Field, sheet: Sheet) -> float:
    """How much a column looks like people's ids, by itself or by what it tells."""
    if alone := _person_alone(field):
        return alone
    if names.votes_on_bills(field.name) and _holds_votes(sheet):
        return 3.0
    return float(
        any(profile_names.is_profile(f.name, f.text) and _tells(field, f) for f in sheet.fields)
    )


def _holds_votes(sheet: Sheet) -> bool:
    """Whether a table holds votes on bills, and no column is called after other people."""
    words = frozenset[str]().union(*(names.tokens(f.name) for f in sheet.fields))
    others = any(names.is_person(f.name) for f in sheet.fields)
    return bool(words & {"bill", "motion", "vote"}) and not others


def _person_alone(field: Field) -> float:
    texts = field.column.distinct[:200]
    if field.use == "person" or names.is_contact(field.name):
        return 4.0
    if names.is_person(field.name):
        return 4.0 if names.is_rater(field.name) else 3.0 if names.names_people(field.name) else 2.0
    if all(map(is_persons_id, texts)) or names.names_people(words_before(field) or "-"):
        return 2.5
    if names.names_people(field.name):
        return 1.5
    return 0.0


def _as_task(field: Field, sheet: Sheet) -> float:
    """How much a column looks like tasks' ids or texts, by itself or by what it tells."""
    if alone := _task_alone(field):
        return alone
    return float(any(_reads(f) and _tells(field, f) for f in sheet.fields))


def _task_alone(field: Field) -> float:
    texts = field.column.distinct[:200]
    if field.use == "task":
        return 4.0
    if names.is_task(field.name):
        return 2.0 if names.counts_tasks(field.name) else 3.0
    if all(map(_SHOWN.fullmatch, texts)) or names.is_task(words_before(field) or "-"):
        return 2.5
    if sum(len(text.split()) for text in texts) >= 4 * len(texts):
        return 2.0
    if names.names_tasks(field.name):
        return 1.5
    return 0.0


def _reads(field: Field) -> bool:
    texts = field.column.distinct[:50]
    return sum(len(text.split()) for text in texts) >= 4 * len(texts)


def _tells(key: Field, field: Field) -> bool:
    """Whether a column says one thing of each id, and not of all."""
    return key is not field and len(field.column.distinct) > 1 and told_by(key, field)


def told_by(key: Field, field: Field) -> bool:
    """Whether a column says one thing of each id."""
    return len(np.unique(together(key, field))) == len(np.unique(key.column.codes))


def _answers(sheet: Sheet, pair: Pair, choices: Choices) -> list[Field]:
    """Columns that may hold answers: on a scale, and told by neither the person nor the task."""
    if choices.response is not None:
        return [*said_responses(sheet, choices)]
    found = []
    for field in sheet.fields:
        if field in (pair.person, pair.task) or field.name in choices.out or field.use == "out":
            continue
        if own_names.is_own(field.name) or names.counts_tasks(field.name):
            continue
        if names.is_weight(field.name, field.text) or _one_told(pair, field):
            continue
        if _scaled(field, choices):
            found.append(field)
    named = [field for field in found if names.is_response(field.name)]
    return named if len(named) == 1 else found


def said_responses(sheet: Sheet, choices: Choices) -> tuple[Field, ...]:
    """The columns of answers that the user names; none if they are to be found.

    Raises:
      CrowdError: there is no column of a name.
    """
    if choices.response is None:
        return ()
    if any(field.name == tidy_name(choices.response) for field in sheet.fields):
        return (sheet.field(choices.response, "--response"),)
    said = next(csv.reader([choices.response], skipinitialspace=True), [])
    return tuple(sheet.field(name, "--response") for name in said)


def _one_told(pair: Pair, field: Field) -> bool:
    return not field.column.distinct or any(told_by(k, field) for k in (pair.person, pair.task))


def _scaled(field: Field, choices: Choices) -> bool:
    try:
        return isinstance(guess(answered(field, 1), choices), Guess)
    except CrowdError:
        return True  # its order, or a code, is to be asked for
