"""A table with a row per person and a column per question as a study."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime import numerals
from crowdllm_jax.study.draft import names, own_names, profile_names
from crowdllm_jax.study.draft.derived import without_derived
from crowdllm_jax.study.draft.draft import Choices, Draft, Task, shown
from crowdllm_jax.study.draft.guess import Answered, Guess, guess
from crowdllm_jax.study.draft.multiple import options_of, split, ticked
from crowdllm_jax.study.draft.paradata import not_asked
from crowdllm_jax.study.draft.people import cells_of, profile_of, weight_of
from crowdllm_jax.study.draft.rankings import (
    ranking_by_places,
    ranking_in_cells,
    ranking_in_columns,
)
from crowdllm_jax.study.draft.row_people import (
    MOST_GROUPS,
    about_somebody,
    comes_back,
    hold_people,
    numbers_rows,
    people_ids,
    people_of_rows,
)
from crowdllm_jax.study.draft.scales_of import ScaleNames
from crowdllm_jax.study.draft.sharing import sharing_in_columns
from crowdllm_jax.study.draft.words import in_order, is_no_answer
from crowdllm_jax.study.formats.sheet import Field, Sheet
from crowdllm_jax.study.scales import Binary, Continuous, Ordinal, Ranking, Scale, is_ballot

MOST_ANSWERS = 20_000_000
FEW_ANSWERS = 50


def from_wide(sheet: Sheet, choices: Choices) -> Draft:
    """Make a study of a wide table.

    Raises:
      CrowdError: what has to be said before; or there is no question in it.
    """
    reasons = list(sheet.notes)
    people = people_of_rows(sheet, choices, reasons)
    weight = weight_of(sheet, choices)
    profile, questions = _parted(sheet, choices, people, weight, reasons)
    if not questions:
        raise CrowdError(
            f"{sheet.path}: no column looks like a question; name those that are with --questions "
            f"'A,B' (it has: {shown((f.name for f in sheet.fields), 12)})"
        )
    questions = without_derived(questions, (*choices.questions, *choices.reverse), reasons)
    guesses = _guesses(questions, choices, reasons)
    if not guesses:
        raise CrowdError(
            f"{sheet.path}: no question has answers on a scale, which are numbers, or texts "
            f"that several people give; {reasons[-1]}"
        )
    if sheet.rows * len(guesses) > MOST_ANSWERS:
        raise CrowdError(f"{sheet.path}: more than {MOST_ANSWERS:,} answers; keep fewer questions")
    if weight is not None:
        reasons.append(f"Weights: {weight.name}.")
    attributes = profile_of(profile, np.arange(sheet.rows), reasons, choices.missing)
    if attributes:
        reasons.append(f"Profile: {shown(attributes, 12)}.")
    scales, tasks = _tasks(guesses, choices, reasons)
    reasons += told_silent((f.name, f.labels, found.dropped) for f, found in guesses)
    person, task, answer, answers = _answers(guesses)
    ids = people_ids(sheet, people)
    keep = np.unique(person)
    if len(keep) < sheet.rows:
        reasons.append(f"Left out, people who answer nothing: {sheet.rows - len(keep):,}.")
    weights = None if weight is None else cells_of(weight, keep)
    return Draft(
        sheet.what,
        tuple(ids[row] for row in keep),
        {name: (kind, [cells[row] for row in keep]) for name, (kind, cells) in attributes.items()},
        weights,
        tasks,
        np.searchsorted(keep, person),
        task,
        answer,
        answers,
        scales,
        {},
        tuple(reasons),
    )


def _parted(
    sheet: Sheet,
    choices: Choices,
    people: Field | None,
    weight: Field | None,
    reasons: list[str],
) -> tuple[list[Field], list[Field]]:
    """The columns that describe people, and those that are questions."""
    for flag in ("profile", "questions", "out"):
        for name in getattr(choices, flag):
            sheet.field(name, {"out": "--leave-out"}.get(flag, f"--{flag}"))
    profile, questions = [], []
    left: dict[str, list[str]] = defaultdict(list)
    about, noted = about_somebody(sheet.fields), not_asked(sheet.fields)
    columns = [f for f in sheet.fields if f is not people and f is not weight]
    columns = [replace(f, use="profile") if _a_role(f, people) else f for f in columns]
    columns = [_as_part(f) if _names_several(f, people) else f for f in columns]
    if apart := _parts_apart(columns):
        columns = [f for f in columns if f.name not in apart]
        reasons.append(f"Left out, since their options have columns: {shown(apart, 8)}.")
    made = ticked(columns)
    if boxes := [f.name for f, own in zip(made, columns, strict=True) if f is not own]:
        reasons.append(
            f"Options that people tick, chosen or not, of those who ticked any: {shown(boxes, 8)}."
        )
    ranked = ranking_by_places(ranking_in_columns(made, reasons), reasons)
    for field in sharing_in_columns(ranked, reasons):
        use, why = _use(field, choices, about, noted)
        if use == "profile":
            profile.append(field)
        elif use == "question":
            if (options := ranking_in_cells(field, reasons)) is not None:
                questions += options
                continue
            found = options_of(field)
            if found is None:
                questions.append(field)
                continue
            reasons.append(
                f"Column {field.name} holds several answers per cell; each of its {len(found[1])} "
                "options is a question of its own: chosen or not."
            )
            questions += split(field, *found)
        else:
            left[why].append(field.name)
    reasons += [f"Left out, {why}: {shown(out, 10)}." for why, out in left.items()]
    return profile, questions


def _a_role(field: Field, people: Field | None) -> bool:
    """Whether a column tells people of a couple or household apart."""
    group, member = _halves(people)
    several = names.is_of_several(group) or names.may_be_household(group)
    return several and field.name == member


def _names_several(field: Field, people: Field | None) -> bool:
    """Whether a column holds ids of households that are half of people's ids."""
    return names.may_be_household(field.name) and field.name == _halves(people)[0]


def _as_part(field: Field) -> Field:
    return replace(field, use="out", why="part of people's ids")


def _halves(people: Field | None) -> tuple[str, str]:
    """The two columns that make people's ids, if two do."""
    one, _, other = (people.name if people is not None else "").partition(" and ")
    return one, other


def _parts_apart(fields: Sequence[Field]) -> list[str]:
    """Questions whose options have columns of their own (`q`, and `q/a`, `q/b`; `q`, and `q (a)`,
    if its cells hold several answers)."""
    options = Counter(f.name[: bar.start()] for f in fields for bar in re.finditer("/", f.name))
    behind = Counter(
        (match[1], match[2])
        for f in fields
        if (match := re.fullmatch(r"(.+?)\s*[(\[](.+)[)\]]", f.name))
    )
    found = [field.name for field in fields if options[field.name] > 1]
    for field in fields:
        own = [option for name, option in behind if name == field.name]
        several = options_of(field) if len(own) > 1 and field.name not in found else None
        if several is not None and {*several[1]} <= {*own}:
            found.append(field.name)
    return found


def _use(
    field: Field, choices: Choices, about: Set[str], noted: Mapping[str, str]
) -> tuple[str, str]:
    """What a column is for, or why it is left out, as those are that are `noted` beside answers."""
    if field.name in choices.profile:
        return "profile", ""
    if field.name in choices.questions:
        return "question", ""
    if field.name in choices.out:
        return "out", "as you said"
    if not field.column.distinct:
        return "out", "since it is empty"
    if field.use in ("profile", "question"):
        return field.use, ""
    if field.use == "out":
        return "out", f"since it is {field.why}" if field.why else "as the file says"
    if choices.questions:
        named = profile_names.is_profile(field.name, field.text) and not choices.profile
        return ("profile", "") if named else ("out", "since it is not among --questions")
    if _a_group(field) and not choices.profile:
        return "profile", ""
    if (why := _no_answers(field, about) or noted.get(field.name)) is not None:
        return "out", why
    described = profile_names.is_profile(field.name, field.text) or _is_or_not(field)
    if described and not choices.profile:
        return "profile", ""
    if numbers_rows(field):
        return "out", "since its whole numbers are all different (--questions keeps it)"
    return "question", ""


def _a_group(field: Field) -> bool:
    """Whether a column that is called after people holds no ids but a few groups: member or not; in
    `Player 3` is what is said of one of several."""
    named = names.is_person(field.name) and names.names_people(field.name)
    numbered = field.name[-1:].isdecimal()
    return comes_back(field) and named and not names.is_rater(field.name) and not numbered


def _is_or_not(field: Field) -> bool:
    """Whether a column is called after a gender and says of people whether they have it, as tables
    made ready for a regression do (`female`: 0 or 1); of several values it may hold ratings."""
    return profile_names.is_one_gender(field.name) and len(_spoken(field)) == 2


def _no_answers(field: Field, about: Set[str]) -> str | None:
    """Why a column's name is that of no question; None where it may be one, as those `about` people
    may."""
    if names.is_weight(field.name, field.text):
        return "since it is a weight"
    words = comes_back(field) and not any(map(str.isdecimal, "".join(field.column.distinct)))
    own = own_names.is_own(field.name) or own_names.is_check(field.text.rpartition(" - ")[2])
    if own and not (words and names.may_be_owned(field.name)):
        return "since it is no answer"
    party = names.is_party(field.name) and comes_back(field)
    named = names.is_person(field.name) and field.name not in about and not party
    whole = names.is_of_several(field.name) and len(field.column.distinct) > MOST_GROUPS
    if not field.labels and (named or whole or hold_people(field)):
        return "since it may hold ids (--questions keeps it)"
    return None


def _guesses(
    fields: Sequence[Field], choices: Choices, reasons: list[str]
) -> list[tuple[Field, Guess]]:
    """The scale of each question; `reasons` gets a sentence on each that has none."""
    words = Counter(frozenset(_spoken(field)) for field in fields)
    guesses = []
    left: dict[str, list[str]] = defaultdict(list)
    for field in fields:
        if field.scale is not None:
            places = isinstance(field.scale, Ranking | Ordinal)
            why = "a ranking" if places else "points that are shared"
            guesses.append((field, Guess(field.scale, frozenset(), why)))
            continue
        result = guess(answered(field, words[frozenset(_spoken(field))]), choices)
        if isinstance(result, str):
            left[result].append(field.name)
        else:
            guesses.append((field, result))
    reasons += [f"Left out, since {why}: {shown(out, 10)}." for why, out in left.items()]
    return _widened(guesses)


def _spoken(field: Field) -> list[str]:
    return [text for text in field.column.distinct if not is_no_answer(text)]


def answered(field: Field, alike: int, rows: np.ndarray | None = None) -> Answered:
    """What is known of the answers in a column, or in some of its rows."""
    codes = field.column.codes if rows is None else field.column.codes[rows]
    often = np.bincount(codes[codes >= 0], minlength=len(field.column.distinct))
    used = np.flatnonzero(often)
    return Answered(
        field.name,
        tuple(field.column.distinct[i] for i in used),
        tuple(int(often[i]) for i in used),
        field.labels,
        field.missing,
        field.ordered,
        alike,
    )


def _widened(guesses: list[tuple[Field, Guess]]) -> list[tuple[Field, Guess]]:
    """Questions of which nobody gave one of the answers share the scale of those beside them."""
    known = [g.scale for _, g in guesses if isinstance(g.scale, Ordinal) and not g.scale.labels]
    common = [scale for scale, often in Counter(known).items() if often > 1]
    result = []
    for field, found in guesses:
        beside = common
        if np.sum(field.column.codes >= 0) >= FEW_ANSWERS:
            # An answer that so many people did not give may be none of this question's.
            grid = [g.scale for f, g in guesses if field.grid and f.grid == field.grid]
            beside = [scale for scale in common if scale in grid or not _of_numbers(scale)]
        wider = _wider(found.scale, beside) if not field.labels else None
        result.append((field, found if wider is None else replace(found, scale=wider)))
    return _with_one_range(result)


FEWEST_RANGES = 3
MOSTLY = 0.75


def _with_one_range(guesses: list[tuple[Field, Guess]]) -> list[tuple[Field, Guess]]:
    """Questions answered by numbers of nearly the same range share it."""
    ranges = [g.scale for _, g in guesses if isinstance(g.scale, Continuous)]
    if len(ranges) < FEWEST_RANGES:
        return guesses
    low, high = min(scale.low for scale in ranges), max(scale.high for scale in ranges)
    near = [scale for scale in ranges if scale.high - scale.low >= MOSTLY * (high - low)]
    if len(near) < FEWEST_RANGES:
        return guesses
    one = Continuous(low=min(s.low for s in near), high=max(s.high for s in near))
    return [
        (f, replace(g, scale=one) if g.scale in near and f.scale is None else g) for f, g in guesses
    ]


def _of_numbers(scale: Ordinal) -> bool:
    return all(numerals.number(str(level)) is not None for level in scale.levels)


def _wider(scale: object, common: Sequence[Ordinal]) -> Ordinal | None:
    if not isinstance(scale, Ordinal | Binary) or scale.labels:
        return None
    own = set(scale.levels)
    for other in sorted(common, key=lambda o: len(o.levels)):
        levels = set(other.levels)
        near = len(own) > 2 and len(levels) - len(own) <= 2
        if own < levels and (
            near or (not _of_numbers(other) and in_order(map(str, levels)) is not None)
        ):
            return other
    return None


def _tasks(
    guesses: list[tuple[Field, Guess]], choices: Choices, reasons: list[str]
) -> tuple[dict[str, Scale], tuple[Task, ...]]:
    """The questions, and their scales by name."""
    book = ScaleNames()
    tasks: list[Task] = []
    whys: dict[str, tuple[str, list[str]]] = {}
    for field, found in guesses:
        ballot = field.grid if is_ballot(found.scale) else ""
        name = book.name(found.scale, ballot)
        whys.setdefault(name, (found.why, []))[1].append(field.name)
        tasks.append(
            Task(field.name, field.text or field.name, name, field.name in choices.reverse)
        )
    for name, (why, asked) in whys.items():
        reasons.append(f"Scale {name} ({why}): {shown(asked, 8)}.")
    reversed_ids(tasks, choices, reasons)
    return book.by_name, tuple(tasks)


def told_silent(
    questions: Iterable[tuple[str, tuple[tuple[str, str], ...], frozenset[str]]],
) -> list[str]:
    """A sentence on what is taken for no answer.

    Args:
      questions: the name of each, its labels, and its texts that are no answer.
    """
    asked: dict[str, list[str]] = defaultdict(list)
    for name, labels, dropped in questions:
        label_of = dict(labels)
        for text in sorted(dropped):
            told = f"{text} ({label_of[text]})" if label_of.get(text, text) != text else text
            asked[told].append(name)
    if not asked:
        return []
    each = [f"{text} in {shown(names, 4)}" for text, names in list(asked.items())[:8]]
    return [f"Taken for no answer: {'; '.join(each)}{'; ...' if len(asked) > 8 else ''}."]


def reversed_ids(tasks: Sequence[Task], choices: Choices, reasons: list[str]) -> None:
    """Say which questions are mirrored, or look as if they should be.

    Raises:
      CrowdError: one that is to be mirrored is no question.
    """
    ids = [task.id for task in tasks]
    for name in choices.reverse:
        if name not in ids:
            raise CrowdError(f"--reverse: '{name}' is no question; there are: {shown(ids, 12)}")
    if choices.reverse:
        reasons.append(f"Mirrored, as you said: {shown(choices.reverse, 12)}.")
    like = [name for name in ids if names.seems_reversed(name) and name not in choices.reverse]
    if like:
        reasons.append(
            f"By their names, {shown(like)} may be reverse-keyed; they are taken as they are. "
            "--reverse mirrors those that you name."
        )


def _answers(
    guesses: list[tuple[Field, Guess]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    """Who answered what, and how; see `Draft`."""
    index: dict[str, int] = {}
    persons, tasks, answers = [], [], []
    for place, (field, found) in enumerate(guesses):
        code = [
            -1 if text in found.dropped else index.setdefault(text, len(index))
            for text in field.column.distinct
        ]
        own = np.array([*code, -1], np.int32)[field.column.codes]
        rows = np.flatnonzero(own >= 0)
        persons.append(rows)
        tasks.append(np.full(len(rows), place, np.int32))
        answers.append(own[rows])
    return np.concatenate(persons), np.concatenate(tasks), np.concatenate(answers), tuple(index)
