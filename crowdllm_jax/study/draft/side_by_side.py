"""Choice sets in a row each: what describes their options stands side by side (`price_A`,
`price_B`), and a column says which was chosen (`A`)."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.numerals import number
from crowdllm_jax.study.draft import names
from crowdllm_jax.study.draft.choice_sets import Sets, is_mark, marks_of, numeric, varies
from crowdllm_jax.study.draft.crossed import together, told_by
from crowdllm_jax.study.draft.draft import Choices, shown
from crowdllm_jax.study.draft.pairs import Pairs, pairs_of
from crowdllm_jax.study.draft.row_people import unique, words_before
from crowdllm_jax.study.draft.stacked import again, below
from crowdllm_jax.study.draft.word_lists import folded
from crowdllm_jax.study.draft.words import in_order, is_no_answer
from crowdllm_jax.study.formats.sheet import Field, Sheet, check_size, only_rows
from crowdllm_jax.study.tables import Column

MOST_OPTIONS, MOST_LEVELS = 12, 40
FEWEST_SETS = 5
_BEHIND = re.compile(r"(?P<stem>.+?)[._\s-]+(?P<option>[^\W_]+)")
_JOINED = re.compile(r"(?P<stem>.*[a-z])(?P<option>[A-Z]|\d{1,2})")
_BEFORE = re.compile(r"(?P<option>[^\W_]+?)[._\s-]+(?P<stem>.+)")
_NEITHER = re.compile(
    r"none|neither|no choice|opt ?out|status quo|tie|draw|equal|no preference|tie both ?bad|"
    r"keine[rs]?|aucun|ninguno|nessuno"
)
"""What may be chosen though nothing describes it."""


@dataclass(frozen=True)
class _Sided:
    """What stands side by side: per attribute the column of each option, by the option's key."""

    chosen: Field
    stems: Mapping[str, Mapping[str, Field]]
    labels: Mapping[str, str]


def side_by_side(sheet: Sheet, choices: Choices) -> tuple[Sheet, Sets] | None:
    """A sheet with a row per option, and its choice sets; None where rows are no choice sets.

    Raises:
      CrowdError: numbers say which option was chosen, and names what options are called.
    """
    if (
        choices.questions
        or choices.reverse
        or any(f.use not in (None, "out") for f in sheet.fields)
    ):
        return None
    fields = [f for f in sheet.fields if f.name not in choices.out and f.column.distinct]
    _refuse_program(fields)
    sheet, fields = _with_winner(sheet, fields)
    person = _person(fields, choices)
    if person is not None and (pairs := _pairs(fields, person, choices)) is not None:
        return _in_rows(*_with_pairs(sheet, pairs), person, choices)
    marked = [f for f in fields if _may_say(f, choices)]
    if person is None or not marked:
        return None
    rows = _rows_of(fields, person, choices)
    for chosen in marked:
        for pattern in (_BEHIND, _BEFORE, _JOINED):
            others = [f for f in fields if f not in (person, chosen)]
            found = _sided(others, chosen, pattern, rows)
            if found is not None and _is_shown(found, person):
                return _in_rows(sheet, found, person, choices)
    return None


_SHOWN = re.compile(r"F-\d+-\d+-\d+")


def _refuse_program(fields: Sequence[Field]) -> None:
    """Raise CrowdError if columns say what a survey program showed of several sets in one row."""
    shown_there = [field.name for field in fields if _SHOWN.fullmatch(field.name)]
    if len(shown_there) > 1:
        raise CrowdError(
            f"{shown(shown_there, 3)} say what a conjoint showed (F-set-option-attribute), and a "
            "row holds several sets; write a row for every option, with a mark at the one that was "
            "chosen (docs/conjoint.md), or name the other questions with --questions"
        )


def _with_winner(sheet: Sheet, fields: list[Field]) -> tuple[Sheet, list[Field]]:
    """A sheet with one column that says who won, in place of a mark at each (`winner_model_a`,
    `winner_tie`); as it is, where there are no such columns."""
    marks = [f for f in fields if re.match(r"winner[_. ]", f.name) and is_mark(f)]
    if len(marks) < 2 or any(f.name == "winner" for f in fields):
        return sheet, fields
    taken = np.stack([marks_of(field) for field in marks])
    if not np.all(np.sum(taken, axis=0) == 1):
        return sheet, fields
    texts = tuple(field.name[len("winner") + 1 :] for field in marks)
    codes = np.argmax(taken, axis=0).astype(np.int32)
    winner = Field("winner", replace(marks[0].cells, codes=codes, distinct=texts))
    rest = tuple(f for f in sheet.fields if f not in marks)
    return replace(sheet, fields=(*rest, winner)), [*(f for f in fields if f not in marks), winner]


def _pairs(fields: Sequence[Field], person: Field, choices: Choices) -> Pairs | None:
    """Pairs of which a column names the better, unless the user names another one."""
    neither = {
        text for f in fields for text in f.column.distinct if _NEITHER.fullmatch(folded(text))
    }
    found = pairs_of([f for f in fields if f is not person], [*neither])
    if found is None or choices.response not in (None, found.chosen.name):
        return None
    return found if len(person.column.codes) >= FEWEST_SETS else None


def _with_pairs(sheet: Sheet, pairs: Pairs) -> tuple[Sheet, _Sided]:
    """A sheet that says which of two things was chosen, and these side by side."""
    one, other = pairs.things
    labels = {"1": one.name, "2": other.name}
    labels |= {_key(text): text for text in pairs.chosen.column.distinct[2:]}
    rest = [f for f in sheet.fields if f.name not in pairs.made]
    side = _Sided(pairs.chosen, {"item": {"1": one, "2": other}}, labels)
    return replace(sheet, fields=(*rest, one, other, pairs.chosen)), side


def _person(fields: Sequence[Field], choices: Choices) -> Field | None:
    """The column of people who chose in several rows each, or in one if it says who won."""
    named = [f for f in fields if f.name == choices.person or names.is_person(f.name)]
    whole = [f for f in named if (f.column.codes >= 0).all()]
    once = [f for f in whole if unique(f) and any(folded(w.name) == "winner" for w in fields)]
    whole = [f for f in whole if 1.5 * len(f.column.distinct) <= len(f.column.codes)] or once
    whole.sort(key=lambda f: (f.name != choices.person, not names.names_people(f.name)))
    return whole[0] if whole else None


MOST_SIDES = 4
_SIDES = ({"left", "right"}, {"links", "rechts"}, {"gauche", "droite"}, {"top", "bottom"})
"""What is said of one of two options, whatever the column is called, and of neither at most."""


def _may_say(field: Field, choices: Choices) -> bool:
    if choices.response is not None:
        return field.name == choices.response
    # Numbers that are called a rating are none of options 1 to 5.
    words = any(number(text) is None for text in field.column.distinct)
    called = names.says_chosen(field.name) or (words and names.is_plain_response(field.name))
    sides = {folded(text) for text in field.column.distinct}
    named = any(own <= sides and len(sides) <= MOST_SIDES for own in _SIDES)
    return called or named or folded(field.name) in ("winner", "preference", "better")


@dataclass(frozen=True)
class _Rows:
    """What tells the rows of a person apart.

    Attributes:
      alone: everybody has one row. tasks: columns of tasks that come back with other people.
      named: tasks are more than counted, or rows are those of several times.
    """

    alone: bool
    tasks: tuple[Field, ...]
    named: bool


def _rows_of(fields: Sequence[Field], person: Field, choices: Choices) -> _Rows:
    apart = [f for f in fields if f is not person and _tells_apart(person, f)]
    tasks = [f for f in apart if names.is_task(f.name) or f.name == choices.task]
    counted = [f for f in tasks if words_before(f) or None not in map(number, f.column.distinct)]
    named = len(tasks) > len(counted) or any(names.is_time(f.name) for f in apart)
    return _Rows(unique(person), tuple(tasks), named)


def _tells_apart(person: Field, field: Field) -> bool:
    """Whether a column tells the rows of a person apart, and comes back with other people."""
    rows = len(field.column.codes)
    back = 2 * len(field.column.distinct) <= rows
    return back and len(np.unique(together(person, field))) == rows


_ANSWERS = re.compile(
    r"(liked?|liking|likab|trust|helpful|conf(idence|ident)?$|mood|perf(ormance)?$|attract|sure$|"
    r"satisf|agree|feel|fear|rt$|rated?$|eval|judge?ment|prefer|enjoy|understand|certain|valence|"
    r"arousal|warmth|competen|believ|credib|fluen|correctness|accura|harm|coheren|relevan).*"
)
"""What people say of what they saw, rather than what was shown."""


def _attributes(
    stems: Mapping[str, Mapping[str, Field]], rows: _Rows
) -> Mapping[str, Mapping[str, Field]]:
    """Of columns that are called after options those that describe what was shown, and not what
    people said of it; nothing where this is not to be told.

    What a task shows is the same for everybody; else numbers as those of a rating (1 to 5) describe
    nothing by themselves, and other numbers only where sets are no more than counted.
    """
    plain = {stem: own for stem, own in stems.items() if _values(own) is not None}
    if rows.alone:
        return {stem: own for stem, own in stems.items() if stem not in plain}
    for task in rows.tasks:
        if all(told_by(task, field) for own in stems.values() for field in own.values()):
            return stems
    kept = {stem: own for stem, own in stems.items() if not _says_answers(stem, own)}
    if all(stem in plain for stem in kept) and rows.named:
        return {}
    return {} if all(_as_ratings(own) for own in kept.values()) else kept


def _values(columns: Mapping[str, Field]) -> list[float] | None:
    """The numbers that columns hold together; None where they hold texts."""
    texts = {text for field in columns.values() for text in field.column.distinct}
    found = [number(text) for text in texts if not is_no_answer(text)]
    values = [value for value in found if value is not None]
    return values if values and len(values) == len(found) else None


FEWEST_WORDS = 4
"""Of fewer words (low and high) an attribute may have its levels, whatever it is called."""


def _says_answers(stem: str, columns: Mapping[str, Field]) -> bool:
    """Whether columns are called after answers, and hold whole numbers or words in an order."""
    words = names.tokens(stem)
    if not names.is_response(stem) and not any(map(_ANSWERS.fullmatch, words)):
        return False
    values = _values(columns)
    if values is not None:
        return all(value.is_integer() for value in values) or "rt" in words
    texts = {text for field in columns.values() for text in field.column.distinct}
    texts = {text for text in texts if not is_no_answer(text)}
    return len(texts) >= FEWEST_WORDS and in_order([*texts]) is not None


HIGHEST_RATING = 10


def _as_ratings(columns: Mapping[str, Field]) -> bool:
    """Whether columns hold the whole numbers of a rating (1 to 5, 0 to 10), hardly any left out."""
    values = _values(columns)
    if values is None or not all(value.is_integer() for value in values):
        return False
    low, high = min(values), max(values)
    return abs(low) <= high <= HIGHEST_RATING and low <= 1 and 2 * len(values) > high - low + 1


_NUMBERED = re.compile(r"(?:choice|option|alt|alternative|concept|profile|card|plan)(\d{1,2})")


def _key(text: str) -> str:
    """What an option is known by: the last word of `Option A`, of `model_a`; the number of
    `choice2`."""
    word = folded(text).split()[-1]
    numbered = _NUMBERED.fullmatch(word)
    return numbered[1] if numbered else word


def _sided(
    fields: Sequence[Field], chosen: Field, pattern: re.Pattern[str], rows: _Rows
) -> _Sided | None:
    """Columns that are called after the options of which one is chosen, as a pattern cuts names."""
    stems: dict[str, dict[str, Field]] = defaultdict(dict)
    labels: dict[str, str] = {}
    for field in fields:
        if (match := pattern.fullmatch(field.name)) is not None:
            key = _key(match["option"])
            stems[match["stem"]][key] = field
            labels.setdefault(key, match["option"])
    often = Counter(frozenset(own) for own in stems.values() if 2 <= len(own) <= MOST_OPTIONS)
    texts = [text for text in chosen.column.distinct if not is_no_answer(text)]
    for options, _ in often.most_common(3):
        called = {stem: own for stem, own in stems.items() if own.keys() == options}
        whole = _attributes(called, rows)
        if not whole:
            continue
        many = len(whole)
        others = [text for text in texts if _key(text) not in options]
        named = all(_names(fields, text) for text in texts if text not in others)
        named = named or many > 1 or _same_things(whole)
        if not named or len(texts) - len(others) < 2:
            _refuse_numbers(chosen, texts, [labels[key] for key in labels if key in options], many)
            continue
        if all(_NEITHER.fullmatch(folded(text)) for text in others):
            kept = {key: label for key, label in labels.items() if key in options}
            return _Sided(chosen, whole, kept | {_key(text): text for text in others})
    return None


def _same_things(stems: Mapping[str, Mapping[str, Field]]) -> bool:
    """Whether the only columns called after options hold the same things now here, now there."""
    (columns,) = (own.values() for own in stems.values())
    held = [set(field.column.distinct) for field in columns]
    common, union = set.intersection(*held), set.union(*held)
    return len(common) > 2 and 2 * len(common) >= len(union)


def _names(fields: Sequence[Field], text: str) -> bool:
    return any(field.name == text for field in fields)


def _refuse_numbers(chosen: Field, texts: list[str], options: list[str], many: int) -> None:
    """Raise CrowdError if numbers stand for options that have names."""
    numbers = [number(text) for text in texts]
    plain = None not in numbers and len(numbers) == len(options) and many > 1
    if plain and names.says_chosen(chosen.name) and all(number(own) is None for own in options):
        listed = shown(sorted(texts, key=lambda text: number(text) or 0.0))
        raise CrowdError(
            f"'{chosen.name}': which of the options {shown(options)}, that columns are called "
            f"after, do {listed} stand for? Write the options' names there, such as "
            f"'{options[0]}'; if these columns are answers, name the questions with --questions"
        )


def _is_shown(found: _Sided, person: Field) -> bool:
    """Whether columns say what was shown: they differ from option to option and from set to set,
    and hold levels or numbers."""
    columns = [field for own in found.stems.values() for field in own.values()]
    differ = unique(person) or any(not told_by(person, field) for field in columns)
    levels = any(len(f.column.distinct) <= MOST_LEVELS or numeric(f) for f in columns)
    return differ and levels and len(person.column.codes) >= FEWEST_SETS


def _in_rows(
    sheet: Sheet, found: _Sided, person: Field, choices: Choices
) -> tuple[Sheet, Sets] | None:
    """A row per option of a sheet with a row per set."""
    silent = [is_no_answer(text) for text in found.chosen.column.distinct]
    answered = ~np.array([*silent, True])[found.chosen.column.codes]
    sheet = only_rows(sheet, answered)
    many, keys = sheet.rows, list(found.labels)
    check_size(sheet.path, many * len(keys), len(sheet.fields))
    group = np.tile(np.arange(many), len(keys))
    attributes = [field for field in _described(sheet, found) if varies(field, group)]
    if not attributes:
        return None
    described = {field.name for own in found.stems.values() for field in own.values()}
    rest = {f.name: again(f, len(keys)) for f in sheet.fields if f.name not in described}
    option = np.repeat(np.arange(len(keys), dtype=np.int32), many)
    where = f"{sheet.path}: options"
    marks = rest.pop(found.chosen.name).column
    place = {key: at for at, key in enumerate(keys)}
    own = np.array([place.get(_key(text), -1) for text in marks.distinct])
    chosen = (own[marks.codes] == option).astype(np.int32)
    task = _task(sheet, person, choices)
    sets = Sets(
        rest[person.name],
        rest[task.name] if task.name in rest else again(task, len(keys)),
        Field("option", Column(option, tuple(found.labels.values()), where)),
        Field(found.chosen.name, replace(marks, codes=chosen, distinct=("0", "1"))),
        tuple(attributes),
        group,
    )
    told = (
        f"A row is a choice set, whose options stand side by side: {shown(found.labels.values())}. "
        f"{found.chosen.name} says which was chosen (--questions A,B takes columns for answers)."
    )
    left = int(np.sum(~answered))
    notes = [told, f"Left out, sets without a choice: {left:,}."] if left else [told]
    fields = tuple(rest.values())
    return replace(sheet, rows=many * len(keys), fields=fields, notes=(*sheet.notes, *notes)), sets


def _described(sheet: Sheet, found: _Sided) -> list[Field]:
    """What describes options, those of each row below each other; nothing of those that only the
    answers name."""
    column = {field.name: field for field in sheet.fields}
    blank = Field("", Column(np.full(sheet.rows, -1, np.int32), (), ""))
    return [
        below(
            sheet.path,
            stem,
            [column[own[key].name] if key in own else blank for key in found.labels],
            None,
        )
        for stem, own in found.stems.items()
    ]


def _task(sheet: Sheet, person: Field, choices: Choices) -> Field:
    """The column that tells a person's sets apart; their number, if there is none."""
    who = sheet.field(person.name, "--id")
    for field in sheet.fields:
        named = field.name == choices.task if choices.task else names.is_task(field.name)
        if named and len(np.unique(together(who, field))) == sheet.rows:
            return field
    seen: Counter[int] = Counter()
    numbers = []
    for code in who.column.codes.tolist():
        numbers.append(seen[code])
        seen[code] += 1
    texts = tuple(str(i + 1) for i in range(max(numbers) + 1))
    return Field("set", Column(np.array(numbers, np.int32), texts, f"{sheet.path}: sets"))
