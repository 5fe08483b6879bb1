"""Tables of published shares with a row per question and answer, perhaps with a column of shares
for each of several groups of people."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.draft import names, profile_names
from crowdllm_jax.study.draft.draft import Choices
from crowdllm_jax.study.draft.published import (
    Published,
    cells_of_rows,
    is_base,
    numbers,
    settled,
)
from crowdllm_jax.study.draft.published_groups import one_grouping, with_columns_below
from crowdllm_jax.study.draft.word_lists import folded
from crowdllm_jax.study.formats.sheet import Field, Sheet, column_of

FEWEST_QUESTIONS = 3
Numbers = Mapping[str, np.ndarray]


def numbered(field: Field, first: np.ndarray) -> Field:
    """A column that says in each row what stands in the last of `first` (R,) bool, the texts of
    which are numbered where they come again."""
    column = field.column
    often: dict[str, int] = {}
    called = []
    for code in column.codes[np.flatnonzero(first)]:
        text = column.distinct[code]
        often[text] = often.get(text, 0) + 1
        called.append(text if often[text] == 1 else f"{text} ({often[text]})")
    codes = (np.cumsum(first) - 1).astype(np.int32)
    return replace(field, cells=replace(column, codes=codes, distinct=tuple(called)))


def long_shares(
    sheet: Sheet, read: Numbers, choices: Choices, answers: str | None
) -> Published | None:
    """Rows of a question and an answer; `answers` is the column of these, if it is known."""
    sheet = _filled_down(sheet, read, choices)
    option = _option(sheet, read, answers or choices.response)
    if option is None:
        return None
    keys = [f for f in sheet.fields if f.name not in read and f is not option]
    named = [f for f in keys if f.name == choices.task or names.is_task(f.name)]
    # What stands beside each answer, such as its number, parts no questions.
    keys = [f for f in keys if f in named or not _beside(f, option, keys)]
    cell = cells_of_rows(keys, sheet.rows)
    if np.any(option.column.codes < 0):
        return None
    if len(again_at := _again(cell, option)):
        _refuse_again(sheet, option, again_at, read, named)
        return None
    shares = [
        name
        for name, own in read.items()
        if not is_base(name) and settled(sheet, cell, option, own, counts=False) is not None
    ]
    called = [name for name in shares if names.is_share(name) and not names.counts_rows(name)]
    if not called and len(np.unique(cell)) < FEWEST_QUESTIONS:
        shares = []  # so few sums may be 100 by chance
    called.sort(key=lambda name: ("unweighted" in folded(name), "valid" not in folded(name)))
    if not called and len(shares) > 1:
        return _of_groups(sheet, keys, option, shares, choices)
    if not called and shares and not named and not np.any(read[shares[0]] % 1):
        return None  # whole numbers may be points of options
    counts = [name for name in read if names.counts_rows(name)]
    if len(counts) > 1:  # one of them says how many were asked, the same beside all answers
        counts = [name for name in counts if not _alike(cell, read[name])]
    if not (called or shares) and not (counts and named):
        return None
    if not (called or shares) and len(counts) > 1:
        return None
    share = (called or shares or counts)[0]
    sheet = replace(sheet, fields=tuple(f for f in sheet.fields if f in keys or f.name in read))
    return _published(sheet, cell, option, share, task_of(named or keys), counts=not shares)


def _alike(cell: np.ndarray, values: np.ndarray) -> bool:
    """Whether all rows of each cell hold one number."""
    return len(np.unique(np.stack([cell, values]), axis=1).T) == len(np.unique(cell))


def _again(cell: np.ndarray, option: Field) -> np.ndarray:
    """The first two rows of one answer to one question; none if there are no such."""
    pairs = np.stack([cell, option.column.codes])
    _, first, place = np.unique(pairs, axis=1, return_index=True, return_inverse=True)
    later = np.flatnonzero(first[place.ravel()] != np.arange(len(cell)))
    return np.array([first[place.ravel()[later[0]]], later[0]]) if len(later) else later


def _refuse_again(
    sheet: Sheet, option: Field, again_at: np.ndarray, read: Numbers, named: Sequence[Field]
) -> None:
    """Raise CrowdError if columns are called after questions, answers and shares, but an answer to
    a question has several."""
    shares = [name for name in read if names.is_share(name) and not names.counts_rows(name)]
    if not (shares and named and names.is_option(option.name)):
        return
    one, other = option.column.in_file(again_at) + 2
    answer = option.column.distinct[option.column.codes[again_at[0]]]
    raise CrowdError(
        f"{sheet.path}: seems to hold published shares ('{shares[0]}' of each '{option.name}'), "
        f"but '{answer}' has two for one question (rows {one} and {other}); give a column that "
        "tells them apart, such as a number of each question, or a group of people; if a row is a "
        "person, name the questions: --questions 'A,B'"
    )


def _filled_down(sheet: Sheet, read: Numbers, choices: Choices) -> Sheet:
    """A sheet in which a question that stands at the first of its answers alone stands at all."""
    fields = []
    for place, field in enumerate(sheet.fields):
        told = names.is_task(field.name) or field.name == choices.task or place == 0
        codes = field.column.codes
        if told and field.name not in read and codes[0] >= 0 and np.any(codes < 0):
            field = numbered(field, codes >= 0)
        fields.append(field)
    return replace(sheet, fields=tuple(fields))


def _option(sheet: Sheet, read: Numbers, said: str | None) -> Field | None:
    """The column of answers, by its name, or the one text beside questions and shares."""
    fields = [f for f in sheet.fields if f.name not in read]
    if said is not None:
        return next((f for f in fields if f.name == said), None)
    named = [f for f in fields if _named_option(f.name)]
    named = named or [f for f in fields if _called_option(f)]
    if not named:
        others = [f for f in fields if not names.is_task(f.name) and not _of_group(f)]
        tasks = [f for f in fields if names.is_task(f.name)]
        shares = [n for n in read if names.is_share(n) and not names.counts_rows(n)]
        named = others if len(others) == 1 and tasks and shares else _within(fields)

    def rank(field: Field) -> tuple[bool, float]:
        plain = sum(text.isdecimal() for text in field.column.distinct)
        texts = field.column.distinct
        return 2 * plain > len(texts) and not field.labels, -sum(map(len, texts)) / len(texts)

    return min(named, key=rank, default=None)


def _within(fields: Sequence[Field]) -> list[Field]:
    """The second of two columns of which the first says one thing in all rows of a block, and the
    second another in each of them, as answers stand beside their question; else none."""
    if len(fields) != 2 or any((f.column.codes < 0).any() for f in fields):
        return []
    one, other = (f.column.codes for f in fields)
    starts = np.append(True, np.diff(one) != 0)
    sizes = np.diff(np.append(np.flatnonzero(starts), len(one)))
    blocks = len(sizes) == len(np.unique(one)) >= FEWEST_QUESTIONS and np.min(sizes) > 1
    apart = len(np.unique(np.stack([one, other]), axis=1).T) == len(one)
    return [fields[1]] if blocks and apart else []


def _named_option(name: str) -> bool:
    """Whether a name is that of answers, and not of ids alone (`id`, `no`)."""
    option = names.is_option(name) and bool(names.plain(name) - names.ID)
    return option or names.is_plain_response(name)


def _called_option(field: Field) -> bool:
    """Whether a name ends as those of answers do: `answer_text`, `response option`."""
    words = folded(field.name).split()
    return len(words) > 1 and any(map(_named_option, words))


_GROUPS = {
    *("party", "partei", "parti", "partido", "segment", "subgroup", "demographic", "demographics"),
    *("breakdown", "audience", "community", "subgruppe", "banner", "category of people", "sample"),
}


def _of_group(field: Field) -> bool:
    known = names.is_time(field.name) or folded(field.name) in _GROUPS
    return known or profile_names.is_profile(field.name, field.text)


def _beside(field: Field, option: Field, keys: Sequence[Field]) -> bool:
    """Whether a column says one thing of each answer, and other columns part the rows without."""
    pairs = np.unique(np.stack([option.column.codes, field.column.codes]), axis=1)
    if len(pairs.T) != len(option.column.distinct) or len(field.column.distinct) == 1:
        return False
    left = [f for f in keys if f is not field]
    if not left and len(field.column.distinct) < len(option.column.codes):
        return False  # questions, each of which has answers of its own
    others = cells_of_rows(left, len(option.column.codes))
    return len(np.unique(np.stack([others, option.column.codes]), axis=1).T) == len(others)


def _of_groups(
    sheet: Sheet, keys: list[Field], option: Field, shares: list[str], choices: Choices
) -> Published | None:
    """Rows with a column of shares for each of several groups of people."""
    levels, kind, told = one_grouping(shares, choices)
    columns = [f for f in sheet.fields if f.name in levels]
    kept = tuple(f for f in sheet.fields if f in (*keys, option, *columns) or is_base(f.name))
    sheet = replace(sheet, fields=kept, notes=(*sheet.notes, told))
    values = np.stack([_numbers(f) for f in columns], axis=1).ravel()
    base = [f for f in kept if is_base(f.name)] if len(columns) == 1 else []
    called = [levels[f.name] for f in columns]
    below = with_columns_below(sheet.path, sheet, columns, called, kind or "shares of")
    group = below.fields[-1]
    (option,) = [f for f in below.fields if f.name == option.name]
    fields = [f for f in below.fields if f is not option and f is not group]
    fields = [f for f in fields if not is_base(f.name) or f in base]
    below = replace(below, fields=(*fields, *((group,) if kind else ())))
    parts = [f for f in below.fields if not is_base(f.name)]
    cell = cells_of_rows(parts, below.rows)
    found = settled(below, cell, option, values, counts=False)
    named = [f for f in parts if names.is_task(f.name) or f.name == choices.task]
    task = task_of(named or [f for f in parts if f is not group])
    what = f"'{shares[0]}' of each '{option.name}'"
    return None if found is None else found_shares(found, task, what)


def _numbers(field: Field) -> np.ndarray:
    own = numbers(field)
    assert own is not None
    return own


def task_of(keys: Sequence[Field]) -> str | None:
    """The column of questions: the one with the longest texts; of several called so, ids."""
    named = [f for f in keys if names.is_task(f.name)]
    if len(named) > 1:
        most = max(len(f.column.distinct) for f in named)
        named = [f for f in named if len(f.column.distinct) == most]
        return min(named, key=_length).name
    others = [f for f in keys if not _of_group(f)]
    return named[0].name if named else max(others, key=_length).name if others else None


def _length(field: Field) -> float:
    return sum(map(len, field.column.distinct)) / len(field.column.distinct)


def _published(
    sheet: Sheet, cell: np.ndarray, option: Field, share: str, task: str | None, *, counts: bool
) -> Published | None:
    """What a column of shares says, beside others that count people."""
    values = next(_numbers(f) for f in sheet.fields if f.name == share)
    found = settled(sheet, cell, option, values, counts=counts)
    what = f"'{share}' of each '{option.name}'"
    return None if found is None else found_shares(found, task, what, share)


def found_shares(
    found: tuple[Sheet, Field, np.ndarray, np.ndarray | None],
    task: str | None,
    what: str,
    share: str = "",
) -> Published:
    """Settled rows as shares of the answers to a question.

    Args:
      task: the column of questions; None if all are of one. what: see `Published`. share: the
        column that holds the shares, if it may be called as those of bases are.
    """
    sheet, option, values, people = found
    bases = [f for f in sheet.fields if is_base(f.name) and f.name != share]
    left = tuple(f for f in sheet.fields if numbers(f) is None or f.name == task or _timed(f))
    field = next((f for f in left if f.name == task), None)
    if field is None:
        field = Field("question", column_of(sheet.path, "question", ["question"] * sheet.rows))
    cell = cells_of_rows(left, sheet.rows)
    for base in bases if people is None else []:
        people = _people(_numbers(base), cell)
    return Published(replace(sheet, fields=left), field, option, values, what, people)


def _timed(field: Field) -> bool:
    return names.is_time(field.name) or names.is_task(field.name)


def _people(counts: np.ndarray, cell: np.ndarray) -> np.ndarray | None:
    """How many were asked: what is the same for all answers to a question, or their sum."""
    if np.isnan(counts).any():
        return None
    many = np.bincount(cell)
    sums = np.bincount(cell, counts)
    alike = np.allclose(counts, (sums / np.maximum(many, 1))[cell])
    return counts if alike else sums[cell]
