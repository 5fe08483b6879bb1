"""A table with a row per answer as a study."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime import numerals
from crowdllm_jax.study.draft import names, own_names, profile_names
from crowdllm_jax.study.draft.crossed import (
    cut,
    together,
    told_by,
)
from crowdllm_jax.study.draft.draft import Choices, Draft, Task, as_flag, shown
from crowdllm_jax.study.draft.guess import Guess, guess
from crowdllm_jax.study.draft.long_keys import Keys
from crowdllm_jax.study.draft.long_scales import FEWEST_ANSWERS, Scaled, scales_of_tasks
from crowdllm_jax.study.draft.multiple import options_of, split
from crowdllm_jax.study.draft.people import cells_of, no_profile, profile_of, weight_of
from crowdllm_jax.study.draft.row_people import numbers_rows
from crowdllm_jax.study.draft.stacked import stacked
from crowdllm_jax.study.draft.summed_up import summed_up
from crowdllm_jax.study.draft.told_of_people import rows_in_columns, spread
from crowdllm_jax.study.draft.wide_table import answered, reversed_ids
from crowdllm_jax.study.draft.word_lists import folded
from crowdllm_jax.study.formats.sheet import Field, Sheet
from crowdllm_jax.study.scales import Binary, Nominal, Ordinal, Scale
from crowdllm_jax.study.spec import AttributeSpec

MOST_TASK_LEVELS = 20


def from_long(sheet: Sheet, keys: Keys, choices: Choices) -> Draft:
    """Make a study of a long table.

    Raises:
      CrowdError: what has to be said before, or somebody answers a task twice.
    """
    person, task = keys.person, keys.task
    sheet = spread(sheet, person)
    reasons = list(sheet.notes)
    weight = weight_of(sheet, choices)
    others = [f for f in sheet.fields if f not in (person, task, *keys.responses, weight)]
    own = [f.name for f in others if f.use == "out" and f.column.distinct]
    others = [f for f in others if f.use not in ("group", "out") and f.column.distinct]
    of_person = [f for f in others if told_by(person, f)]
    of_task = [f for f in others if f not in of_person and told_by(task, f)]
    free = [f for f in others if f not in (*of_person, *of_task)]
    responses = keys.responses or _responses(sheet, task, free, choices)
    sheet, responses = _opened(sheet, task, responses)
    if len(responses) > 1:
        return _from_several(sheet, Keys(person, task, responses), of_task, choices)
    (response,) = responses
    if (told := _told_in_rows(sheet, (person, task, response), of_task, choices)) is not None:
        return told
    reasons.append(
        f"A row is an answer: {person.name} says whose, {task.name} to what, {response.name} which."
    )
    _check_rows(person, task, response, (*free, *of_task))
    reasons += _told_of_rows(task, response, free)
    _ask_of_zeros(response, choices)
    scaled = scales_of_tasks(sheet, task, response, choices, reasons)
    rows = np.flatnonzero(scaled.code >= 0)
    if not len(rows):
        raise CrowdError(f"{response.cells.where}: holds no answer on a scale; {reasons[-1]}")
    people, persons = np.unique(person.column.codes[rows], return_inverse=True)
    kept = [f for f in of_person if f.name not in choices.out and not no_profile(person, f)]
    profile = profile_of(kept, _first_rows(person, people), reasons, choices.missing)
    if profile:
        reasons.append(f"Profile: {shown(profile, 12)}.")
    reasons += _told_of_columns(weight, own)
    left = [f for f in (*free, *of_person) if f is not response and f not in kept]
    reasons += _told_of_left(person, left)
    asked, tasks = np.unique(task.column.codes[rows], return_inverse=True)
    about = [f for f in of_task if f.name not in choices.out and not own_names.is_own(f.name)]
    about = _without_summaries(about, task, response, scaled, reasons)
    records, attributes = tasks_of(asked, task, about, scaled, choices, reasons)
    reversed_ids(records, choices, reasons)
    return Draft(
        sheet.what,
        tuple(person.column.distinct[i] for i in people),
        profile,
        None if weight is None else cells_of(weight, _first_rows(person, people)),
        records,
        persons,
        tasks,
        scaled.code[rows],
        response.column.distinct,
        scaled.by_name,
        attributes,
        tuple(reasons),
    )


def _without_summaries(
    fields: list[Field], task: Field, response: Field, scaled: Scaled, reasons: list[str]
) -> list[Field]:
    """What tells of tasks without what sums up the answers to them; `reasons` tells of it."""
    if not (summed := summed_up(task, response, scaled.code, fields)):
        return fields
    reasons.append(f"Left out, since they sum up the answers to each task: {shown(summed, 8)}.")
    return [field for field in fields if field.name not in summed]


def _told_in_rows(
    sheet: Sheet, keys: tuple[Field, Field, Field], of_task: Sequence[Field], choices: Choices
) -> Draft | None:
    """The study of a table some of whose rows tell of people (`age`, 34); None if none do."""
    if any(field.use == "group" for field in sheet.fields):
        return None
    found = rows_in_columns(sheet, keys, _text_of(keys[1], of_task), choices)
    if found is None:
        return None
    return from_long(found.sheet, Keys(found.person, found.task, (found.response,)), choices)


MANY_ZEROS, FEWEST_RATED = 0.25, 5


def _ask_of_zeros(response: Field, choices: Choices) -> None:
    """Raise CrowdError if ratings are 0 so much more often than 1 that it may say that somebody
    read or bought a thing without rating it."""
    numbers = [numerals.number(text) for text in response.column.distinct]
    if not names.is_starred(response.name) or None in numbers or 0 not in numbers:
        return
    often = np.bincount(response.column.codes[response.column.codes >= 0])
    count = dict(zip(numbers, often.tolist(), strict=True))
    many = count[0] >= MANY_ZEROS * sum(often) and count[0] >= 3 * count.get(1, 0)
    whole = max(n or 0.0 for n in numbers) >= FEWEST_RATED and len(numbers) >= FEWEST_RATED
    if many and whole and not {"0", "none"} & {*choices.missing}:
        raise CrowdError(
            f"'{response.name}': {100 * count[0] / sum(often):.0f}% are 0; is that an answer, or "
            "does it stand for none, as of those who read or bought a thing and did not rate it? "
            "Say --missing 0, or --missing none"
        )


def _opened(
    sheet: Sheet, task: Field, responses: tuple[Field, ...]
) -> tuple[Sheet, tuple[Field, ...]]:
    """A sheet with a column per option of answers that hold several, and all columns of answers."""
    if any(field.use == "group" for field in sheet.fields):
        return sheet, responses  # answers to questions of several kinds, below each other
    columns: list[Field] = []
    for response in responses:
        found = options_of(response)
        parts = [] if found is None else [replace(f, use=None) for f in split(response, *found)]
        if not parts or _of_some_tasks(task, parts):
            columns.append(response)
            continue
        columns += parts
        others = [field for field in sheet.fields if field is not response]
        told = (
            f"Column {response.name} holds several answers per cell; each of its {len(parts)} "
            "options is a question of its own: chosen or not."
        )
        sheet = replace(sheet, fields=(*others, *parts), notes=(*sheet.notes, told))
    return sheet, tuple(columns)


def _of_some_tasks(task: Field, options: Sequence[Field]) -> bool:
    """Whether a task that many people answered has nothing to do with several answers: nobody gave
    it several, nor one that stands beside others elsewhere."""
    chosen = np.array([option.cells.codes == 1 for option in options])
    several = np.sum(chosen, axis=0) > 1
    linked = np.any(chosen[np.any(chosen & several, axis=1)], axis=0)
    rows = np.flatnonzero(np.any(chosen, axis=0) & (task.column.codes >= 0))
    given = np.bincount(task.column.codes[rows])
    return bool(
        np.any(
            (given >= FEWEST_ANSWERS) & (np.bincount(task.column.codes[rows], linked[rows]) == 0)
        )
    )


def _told_of_rows(task: Field, response: Field, free: Sequence[Field]) -> list[str]:
    """Sentences on rows without an answer, and on tasks that are only counted."""
    told = []
    if silent := int(np.sum(response.column.codes < 0)):
        told.append(f"Left out, rows without an answer: {silent:,}.")
    varied = [f.name for f in free if f is not response and not own_names.is_own(f.name)]
    if varied and names.counts_tasks(task.name):
        told.append(
            f"{task.name} counts what was shown; if everybody saw it in another order, say with "
            f"--task which column tells what it was ({shown(varied, 6)})."
        )
    return told


def _told_of_columns(weight: Field | None, own: Sequence[str]) -> list[str]:
    """Sentences on the weights, and on columns that are a program's own."""
    told = [] if weight is None else [f"Weights: {weight.name}."]
    more = f"Left out, since they are the program's own: {shown(own, 10)}."
    return [*told, more] if own else told


def _told_of_left(person: Field, fields: Sequence[Field]) -> list[str]:
    """Sentences on columns that are neither answers nor profile."""
    differing = _differing(person, fields)
    left = [field.name for field in fields if field.name not in differing]
    more = [f"Left out: {shown(left, 10)} (--response A,B asks several)."] if left else []
    return [*differing.values(), *more]


def _differing(person: Field, fields: Sequence[Field]) -> dict[str, str]:
    """Sentences on columns that by their names describe people, of whom a few have several things
    said of them: a slip takes the attribute from everybody."""
    told, ids = {}, person.column.distinct
    for field in fields:
        pairs = np.unique(np.stack([person.column.codes, field.column.codes]), axis=1)
        several = np.flatnonzero(np.bincount(pairs[0]) > 1)
        few = 0 < 2 * len(several) <= len(ids)
        if not few or not profile_names.is_profile(field.name, field.text):
            continue
        rows = np.flatnonzero(person.column.codes == several[0])
        said = dict.fromkeys(text or "nothing" for text in cells_of(field, rows))
        told[field.name] = (
            f"Left out: {field.name}, since rows of {len(several):,} of {len(ids):,} people differ "
            f"in it, such as those of {ids[several[0]]} ({shown(said, 3)}); make them one in the "
            "file."
        )
    return told


def _first_rows(key: Field, codes: np.ndarray) -> np.ndarray:
    """The first row of each id."""
    present, first = np.unique(key.column.codes, return_index=True)
    rows: np.ndarray = first[np.searchsorted(present, codes)]
    return rows


def _from_several(sheet: Sheet, keys: Keys, of_task: list[Field], choices: Choices) -> Draft:
    """Make a study of a table whose rows answer several questions each."""
    listed = shown((field.name for field in keys.responses), 8)
    told = f"A row answers several questions, each of which is asked of every {keys.task.name}: "
    sheet = replace(sheet, notes=(*sheet.notes, f"{told}{listed}."))
    sheet = stacked(sheet, keys.responses, keys.task, _longest(keys.task, of_task))
    response = next(field for field in sheet.fields if field.use == "response")
    person, task = sheet.field(keys.person.name, "--id"), sheet.field(keys.task.name, "--task")
    return from_long(sheet, Keys(person, task, (response,)), replace(choices, response=None))


def _responses(
    sheet: Sheet, task: Field, free: Sequence[Field], choices: Choices
) -> tuple[Field, ...]:
    """The columns of answers: one by its name, or those that hold answers on a scale, as all do
    that people were asked in each wave.

    Raises:
      CrowdError: there is none, or of several some hold no levels.
    """
    candidates = [f for f in free if not own_names.is_own(f.name) and f.name not in choices.out]
    candidates = [f for f in candidates if not names.counts_tasks(f.name)]
    candidates = [f for f in candidates if not names.is_condition(f.name)] or candidates
    answering = [f for f in candidates if names.is_response(f.name) or not numbers_rows(f)]
    candidates = answering or candidates
    named = [f for f in candidates if names.is_response(f.name)]
    waves = names.is_time(task.name)
    if len(named) == 1 and not waves:
        return (named[0],)
    if waves:
        named = [f for f in candidates if not profile_names.is_profile(f.name, f.text)]
    guesses = [
        # Each of several options in a cell is chosen or not.
        (f, Guess(Binary(), frozenset(), "") if options_of(f) else guess(answered(f, 1), choices))
        for f in named or candidates
    ]
    scaled = [(f, found.scale) for f, found in guesses if isinstance(found, Guess)]
    scaled = _without_coarser(_without_codes(scaled))
    if not scaled:
        raise CrowdError(
            f"{sheet.path}: which column holds the answers? Say it with --response COLUMN (it has: "
            f"{shown((f.name for f in sheet.fields), 12)})"
        )
    fields = tuple(field for field, _ in scaled)
    levels = Ordinal | Binary | Nominal if waves else Ordinal | Binary
    if len(fields) == 1 or all(isinstance(scale, levels) for _, scale in scaled):
        return fields
    listed = as_flag(field.name for field in fields)
    raise CrowdError(
        f"{sheet.path}: which column holds the answers: {shown((f.name for f in fields), 8)}? Say "
        f"it with --response '{fields[0].name}' (or another), or, if each does, --response {listed}"
    )


def _without_codes(scaled: Sequence[tuple[Field, Scale]]) -> list[tuple[Field, Scale]]:
    """Of columns that say the same (a code and its label) the one whose answers have an order, and
    then that with the longer texts."""

    def rank(pair: tuple[Field, Scale]) -> tuple[bool, int]:
        return isinstance(pair[1], Nominal), -sum(map(len, pair[0].column.distinct))

    best: dict[bytes, str] = {}
    for field, _ in sorted(scaled, key=rank):
        best.setdefault(cut(field), field.name)
    return [(field, scale) for field, scale in scaled if field.name in best.values()]


FEWEST_GIVEN = 20


def _without_coarser(scaled: list[tuple[Field, Scale]]) -> list[tuple[Field, Scale]]:
    """Of columns of answers those that no other tells in every row: `yes`, `perhaps` and `no` were
    asked, and not whether it was a yes, too."""
    columns = [field for field, _ in scaled]
    return [pair for pair in scaled if not any(_coarser(pair[0], other) for other in columns)]


def _coarser(field: Field, other: Field) -> bool:
    """Whether a column says less than another, and what that one tells, each of whose answers is
    given often enough for chance not to have done so."""
    both = (field.column.codes >= 0) & (other.column.codes >= 0)
    own, theirs = field.column.codes[both], other.column.codes[both]
    kinds, given = np.unique(theirs, return_counts=True)
    fewer = 1 < len(np.unique(own)) < len(kinds)
    told = len(np.unique(np.stack([theirs, own]), axis=1).T) == len(kinds)
    return bool(fewer and told and np.min(given) >= FEWEST_GIVEN)


def _check_rows(person: Field, task: Field, response: Field, others: Sequence[Field]) -> None:
    """Raise CrowdError if an answer lacks an id, or somebody answers a task twice."""
    given = response.column.codes >= 0
    for field in (person, task):
        if np.any((field.column.codes < 0) & given):
            silent = replace(field.column, codes=np.where(given, field.column.codes, 0))
            raise CrowdError(f"{silent.no_id()}{_kinds_of_trials(field, others)}")
    pairs = together(person, task)
    rows = np.flatnonzero(given)
    order = rows[np.argsort(pairs[rows], kind="stable")]
    same = np.flatnonzero(np.diff(pairs[order]) == 0)
    if len(same):
        first, second = sorted(order[same[0] : same[0] + 2])
        one, other = task.column.in_file(np.array([first, second])) + 2
        raise CrowdError(
            f"{person.cells.where}: '{person.column.distinct[person.column.codes[first]]}' answers "
            f"'{task.column.distinct[task.column.codes[first]]}' twice (rows {one} and "
            f"{other}, {len(same):,} such pairs); keep one, or name other columns with --id "
            f"and --task{_told_apart(pairs[rows], [f.column.codes[rows] for f in others], others)}"
        )


def _kinds_of_trials(silent: Field, others: Sequence[Field]) -> str:
    """A hint at the kinds of trials in a log, of which some have no id."""
    for field in others:
        if folded(field.name) == "trial type":
            blank = np.unique(field.column.codes[silent.column.codes < 0])
            kinds = [field.column.distinct[code] for code in blank if code >= 0]
            return (
                f". The rows are trials of several kinds ('{field.name}'), of which {shown(kinds)} "
                f"have no '{silent.name}'; keep those that are answered alike, in a file of their "
                "own"
            )
    return ""


MOST_ROUNDS = 12


def _told_apart(pairs: np.ndarray, codes: Sequence[np.ndarray], others: Sequence[Field]) -> str:
    """A hint at a column (of a session, say) that tells the rows of a pair apart."""
    for own, field in zip(codes, others, strict=True):
        few = 1 < len(field.column.distinct) <= MOST_ROUNDS
        if few and len({*zip(pairs.tolist(), own.tolist(), strict=True)}) == len(pairs):
            return f". '{field.name}' tells them apart: keep the rows of one of its values"
    return ""


def tasks_of(
    asked: np.ndarray,
    task: Field,
    told: Sequence[Field],
    scaled: Scaled,
    choices: Choices,
    reasons: list[str],
) -> tuple[tuple[Task, ...], dict[str, AttributeSpec]]:
    """The tasks with their texts and attributes."""
    first = _first_rows(task, asked)
    text = _text_of(task, told)
    if text is not None:
        reasons.append(f"Texts of tasks: {text.name}.")
    attributes: dict[str, AttributeSpec] = {}
    cells: dict[str, list[str]] = {}
    for field in told:
        numeric = all(numerals.number(t) is not None for t in field.column.distinct)
        # What is another in each task, such as a number of its own, says nothing of new ones.
        few = 1 < len(field.column.distinct) <= min(MOST_TASK_LEVELS, len(asked) - 1)
        named = names.is_task(field.name) or names.is_person(field.name)
        numeric = numeric and not (named and len(field.column.distinct) >= len(asked))
        if field is not text and len(field.column.distinct) > 1 and (few or numeric):
            attributes[field.name] = "categorical" if few else "numeric"
            cells[field.name] = cells_of(field, first)
    if attributes:
        reasons.append(f"Attributes of tasks: {shown(attributes, 10)}.")
    left = [f.name for f in told if f is not text and f.name not in attributes]
    if left:
        reasons.append(f"Left out, since it tells little of tasks: {shown(left, 10)}.")
    texts = cells_of(text, first) if text is not None else [""] * len(asked)
    ids = [task.column.distinct[i] for i in asked]
    records = [
        Task(
            name,
            texts[i] or name,
            scaled.names[scaled.group[first[i]]] or "",
            name in choices.reverse,
            {attribute: cells[attribute][i] for attribute in attributes},
        )
        for i, name in enumerate(ids)
    ]
    return tuple(records), attributes


def _text_of(task: Field, told: Sequence[Field]) -> Field | None:
    """The column of tasks' texts, among those that tell of tasks."""
    return next((f for f in told if f.use == "text"), None) or _longest(task, told)


def _longest(task: Field, told: Sequence[Field]) -> Field | None:
    """The column with the longest texts, if these are longer than the ids."""

    def length(field: Field) -> float:
        return sum(map(len, field.column.distinct)) / max(len(field.column.distinct), 1)

    best = max(told, key=length, default=None)
    if best is None or length(best) <= max(length(task), 8):
        return None
    return best if any(" " in text for text in best.column.distinct) else None
