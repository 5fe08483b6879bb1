"""Published shares as a study: a scale for each set of answers, and no people."""

import re
from collections import defaultdict
from collections.abc import Sequence, Set
from dataclasses import replace

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.numerals import number
from crowdllm_jax.study.draft.crossed import told_by
from crowdllm_jax.study.draft.draft import Choices, Draft, Shares, shown
from crowdllm_jax.study.draft.guess import MOST_NAMES, Answered, Guess, guess
from crowdllm_jax.study.draft.long_scales import Scaled
from crowdllm_jax.study.draft.long_table import tasks_of
from crowdllm_jax.study.draft.people import profile_of
from crowdllm_jax.study.draft.published import (
    FEWEST_SAID,
    ROUNDED,
    Published,
    adds_up,
    cells_of_rows,
)
from crowdllm_jax.study.draft.published_groups import without_overlap
from crowdllm_jax.study.draft.published_several import with_options_apart
from crowdllm_jax.study.draft.scales_of import ScaleNames
from crowdllm_jax.study.draft.word_lists import folded
from crowdllm_jax.study.draft.words import is_no_answer, seems_ordered
from crowdllm_jax.study.formats.sheet import Field, only_rows
from crowdllm_jax.study.scales import Binary, Continuous, Nominal, Ordinal, written
from crowdllm_jax.study.spec import Missing

FEWEST_QUESTIONS = 3
SORTED = 0.9
"""The part of the questions whose answers stand by the alphabet, or by their shares, where a table
was sorted so."""
OFTEN = 1000
"""As how many answers a share of 1 counts where a scale is guessed."""
UNSAID = "(not published)"
"""The answer of those whose share is missing from a sum of 1."""


def from_published(published: Published, choices: Choices) -> Draft:
    """Make a study of published shares.

    Raises:
      CrowdError: groups overlap, or there are too few questions to learn from.
    """
    task = published.task
    others = [f for f in published.sheet.fields if f.name != task.name]
    groups = [f for f in others if not told_by(task, f)]
    published = _some(published, without_overlap(groups, published.sheet.rows))
    names = {f.name for f in groups}
    names = {f.name for f in _fields(published, names) if len(f.column.distinct) > 1}
    reasons = [_first(published), *published.sheet.notes]
    published = _whole(with_options_apart(published, names, reasons), names, reasons)
    scaled, guesses = _scales(published, choices, reasons)
    known = np.array([name is not None for name in scaled.names])[scaled.group]
    published, group = _some(published, known), scaled.group[known]
    asked, place = np.unique(published.task.column.codes, return_inverse=True)
    _refuse_few(published, len(asked))
    told = [f for f in published.sheet.fields if f.name not in {task.name, *names}]
    scaled = replace(scaled, group=group)
    records, attributes = tasks_of(asked, published.task, told, scaled, choices, reasons)
    rows = np.arange(len(place))
    profile = profile_of(_fields(published, names), rows, reasons, choices.missing)
    _refuse_other_groups(published, names - {*profile}, reasons)
    if profile:
        reasons.append(f"Profile: {shown(profile, 12)}.")
    return Draft(
        published.sheet.what,
        tuple(map(str, rows)),
        profile,
        None,
        records,
        rows,
        place,
        published.option.column.codes,
        published.option.column.distinct,
        scaled.by_name,
        attributes,
        tuple(reasons),
        shares=Shares(
            tuple(f"{share:.6g}" for share in published.share),
            _people(published),
            _missing(guesses, scaled),
        ),
    )


def _refuse_few(published: Published, questions: int) -> None:
    """Raise CrowdError if a crowd cannot learn from so few questions."""
    if questions < FEWEST_QUESTIONS:
        raise CrowdError(
            f"{published.sheet.path}: holds shares of answers ({published.what}) to {questions} "
            f"question(s) alone, and nobody's own; a crowd learns from {FEWEST_QUESTIONS} and "
            "more: write their tables below each other, with a column 'question'; if a row is a "
            "person, name the questions: --questions 'A,B'"
        )


def _refuse_other_groups(published: Published, names: Set[str], reasons: Sequence[str]) -> None:
    """Raise CrowdError if a column parts the shares of a question and is no attribute of people."""
    for field in _fields(published, names):
        why = next((own for own in reasons if own.startswith(f"Left out: {field.name},")), "")
        raise CrowdError(
            f"{published.sheet.path}: '{field.name}' parts the shares of one question, but cannot "
            f"describe groups of people ({why.partition(', since ')[2].rstrip('.') or 'one value'})"
            "; keep the rows of one of its values"
        )


def _first(published: Published) -> str:
    return (
        f"The table holds published shares ({published.what}): how many people gave an answer to a "
        f"question (of {published.task.name}), and not who; if rows are people, name the "
        "questions: --questions 'A,B'."
    )


def _some(published: Published, kept: np.ndarray) -> Published:
    """Some rows (R,) bool of them."""
    own = replace(
        published.sheet, fields=(*published.sheet.fields, published.task, published.option)
    )
    *fields, task, option = only_rows(own, kept).fields
    people = None if published.people is None else published.people[kept]
    sheet = replace(published.sheet, rows=int(np.sum(kept)), fields=tuple(fields))
    return Published(sheet, task, option, published.share[kept], published.what, people)


def _fields(published: Published, names: Set[str]) -> list[Field]:
    return [field for field in published.sheet.fields if field.name in names]


def _whole(published: Published, groups: Set[str], reasons: list[str]) -> Published:
    """Shares without those of questions that do not add up, and with the part that was not
    published as an answer of its own."""
    task = published.task
    cell = cells_of_rows([task, *_fields(published, groups)], published.sheet.rows)
    right = adds_up(cell, published.share)
    wrong = np.unique(task.column.codes[~right[cell]])
    if len(wrong):
        called = shown((task.column.distinct[i] for i in wrong), 6)
        reasons.append(
            "Left out, questions whose shares do not add up to a whole (several answers may be "
            f"given, or some are not published): {called}."
        )
    published = _some(published, ~np.isin(task.column.codes, wrong))
    if not published.sheet.rows:
        raise CrowdError(
            f"{published.sheet.path}: holds shares of answers that add up to no whole "
            f"({called}), and nobody's own; give the shares of all answers to each question, also "
            "of those who gave none"
        )
    keys = [published.task, *_fields(published, groups)]
    cell = cells_of_rows(keys, published.sheet.rows)
    sums = np.bincount(cell, published.share)
    short = np.flatnonzero(sums < 1 - ROUNDED)
    if not len(short):
        return published
    first = np.unique(cell, return_index=True)[1][short]
    told = shown(
        (
            published.task.column.distinct[i]
            for i in dict.fromkeys(published.task.column.codes[first].tolist())
        ),
        6,
    )
    reasons.append(
        f"Shares of some questions add up to no whole, but to {100 * FEWEST_SAID:.0f}% and more; "
        f"the rest is taken for no answer: {told}."
    )
    return _with_rest(published, first, 1 - sums[short])


def _with_rest(published: Published, rows: np.ndarray, rest: np.ndarray) -> Published:
    """Shares with one more row for what is not published beside some rows."""
    again = np.append(np.arange(published.sheet.rows), rows)

    def more(field: Field, text: str = "") -> Field:
        codes, distinct = field.column.codes[again], field.column.distinct
        if text:
            codes[-len(rows) :], distinct = len(distinct), (*distinct, text)
        places = field.column.in_file(again)
        return replace(
            field, cells=replace(field.column, codes=codes, distinct=distinct, places=places)
        )

    fields = tuple(map(more, published.sheet.fields))
    sheet = replace(published.sheet, rows=len(again), fields=fields)
    people = None if published.people is None else published.people[again]
    share = np.append(published.share, rest)
    option = more(published.option, UNSAID)
    return Published(sheet, more(published.task), option, share, published.what, people)


def _scales(
    published: Published, choices: Choices, reasons: list[str]
) -> tuple[Scaled, list[Guess | str]]:
    """The scale of each question; `reasons` gets sentences on them."""
    task, option = published.task.column, published.option
    order = np.argsort(task.codes, kind="stable")
    ends = np.searchsorted(task.codes[order], np.arange(len(task.distinct) + 1))
    asked = [
        _shares_of(option, order[ends[i] : ends[i + 1]], published.share)
        for i in range(len(task.distinct))
    ]
    as_asked = _as_asked(asked)
    guesses = [_scale_of(option, shares, choices, as_asked=as_asked) for shares in asked]
    book = ScaleNames()
    called = [None if isinstance(own, str) else book.name(own.scale) for own in guesses]
    told: dict[str, list[str]] = defaultdict(list)
    for place, (found, name) in enumerate(zip(guesses, called, strict=True)):
        if isinstance(found, str):
            told[f"Left out, since {found}"].append(task.distinct[place])
        elif name not in told[f"Scales ({found.why})"]:
            told[f"Scales ({found.why})"].append(name or "")
    reasons += [f"{what}: {shown(which, 8)}." for what, which in told.items()]
    silent = {text for found in guesses if isinstance(found, Guess) for text in found.dropped}
    label_of = dict(option.labels)
    if silent := {label_of.get(text, text) for text in silent} - {UNSAID}:
        reasons.append(f"Taken for no answer: {shown(sorted(silent), 12)}.")
    return Scaled(task.codes, tuple(called), option.column.codes, book.by_name), guesses


def _shares_of(option: Field, rows: np.ndarray, share: np.ndarray) -> dict[str, float]:
    """The answers to a question in the table's order, and the share of each (in the last group)."""
    column = option.column
    return {column.distinct[column.codes[row]]: float(share[row]) for row in rows}


def _as_asked(asked: Sequence[dict[str, float]]) -> bool:
    """Whether answers stand as they were asked, and not by the alphabet or by their shares."""
    several = [
        own for own in ({t: n for t, n in one.items() if _says(t)} for one in asked) if len(own) > 2
    ]
    alphabet = [[*own] == sorted(own, key=str.casefold) for own in several]
    sizes = [[*own.values()] == sorted(own.values(), reverse=True) for own in several]
    return not (several and (np.mean(alphabet) >= SORTED or np.mean(sizes) >= SORTED))


_SYSTEM = {"system", "missing", "system missing", "missing system", "total missing"}
"""What SPSS calls those who gave no answer, in tables of frequencies."""


def _says(text: str) -> bool:
    return text != UNSAID and not is_no_answer(text) and folded(text) not in _SYSTEM


def _scale_of(
    option: Field, shares: dict[str, float], choices: Choices, *, as_asked: bool
) -> Guess | str:
    """The scale of a question by the answers that were published, in the table's order where words
    seem to have one that is not known."""
    texts = tuple(shares)
    often = tuple(1 + round(OFTEN * share) for share in shares.values())
    missing = option.missing | {text for text in texts if not _says(text)}
    question = Answered("answer", texts, often, option.labels, missing, option.ordered)
    try:
        found = guess(question, choices)
    except CrowdError:
        found = "its order is to be asked for"
    if isinstance(found, str) and len(texts) <= MOST_NAMES:
        # Long texts, and those of few people, are answers here, too.
        found = _in_the_tables_order(texts, choices, as_asked=as_asked)
    if isinstance(found, Guess) and isinstance(found.scale, Continuous):
        levels = sorted(n for t in texts if t not in found.dropped and (n := number(t)) is not None)
        plain = tuple(int(n) if n.is_integer() else n for n in levels)
        found = Guess(Ordinal(levels=plain), found.dropped, "numbers")
    return found


def _in_the_tables_order(texts: Sequence[str], choices: Choices, *, as_asked: bool) -> Guess | str:
    dropped = frozenset(t for t in texts if not _says(t) or t in choices.missing)
    kept = tuple(text for text in texts if text not in dropped)
    if len(kept) < 2:
        return "one answer alone was published"
    if len(kept) == 2:
        return Guess(Binary(levels=kept), dropped, "two answers")
    if as_asked and seems_ordered(kept):
        why = "in the table's order, as their words seem to have one; --no-order says otherwise"
        return Guess(Ordinal(levels=_with_middle(kept)), dropped, why)
    why = "choices whose order is not known; --order says it"
    return Guess(Nominal(levels=tuple(sorted(kept))), dropped, why)


_MIDDLE = re.compile(
    r"(about |just |stay(ed|s)? |remain(ed|s)? |roughly |much )*(the )?(same|right|equal|as)\b.*|"
    r"(both|neither|no (difference|change|effect|impact)|unchanged|equally|mixed)\b.*"
)


def _with_middle(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Answers of which the last stands in the middle, if it says so, as tables put it last."""
    half = len(texts) // 2
    if len(texts) % 2 == 0 or not _MIDDLE.fullmatch(folded(texts[-1])):
        return texts
    return (*texts[:half], texts[-1], *texts[half:-1])


def _people(published: Published) -> tuple[str, ...] | None:
    if published.people is None:
        return None
    return tuple(f"{people:.6g}" for people in published.people)


def _missing(guesses: Sequence[Guess | str], scaled: Scaled) -> Missing:
    """The answers that are none; by the names of scales, if some are answers on another scale."""
    missing: dict[str, set[str]] = defaultdict(set)
    for found, name in zip(guesses, scaled.names, strict=True):
        if isinstance(found, Guess) and name is not None and found.dropped:
            missing[name] |= found.dropped
    texts = set[str]().union(*missing.values())
    levels = {str(level) for scale in scaled.by_name.values() for level in written(scale)}
    if not texts & levels:
        return tuple(sorted(texts))
    return {name: tuple(sorted(own)) for name, own in missing.items()}
