"""A table with a row per answer as a study."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime import numerals
from crowdllm_jax.study.draft import names
from crowdllm_jax.study.draft.crossed import crossed_keys, one_of_equals, said_responses
from crowdllm_jax.study.draft.draft import Choices, Draft, Task, as_flag, shown
from crowdllm_jax.study.draft.guess import Guess, guess
from crowdllm_jax.study.draft.people import cells_of, one_of, profile_of, weight_of
from crowdllm_jax.study.draft.scales_of import ScaleNames
from crowdllm_jax.study.draft.stacked import stacked
from crowdllm_jax.study.draft.wide_table import answered, reversed_ids, told_silent, unique
from crowdllm_jax.study.draft.words import is_no_answer
from crowdllm_jax.study.formats.sheet import Field, Sheet
from crowdllm_jax.study.scales import Binary, Continuous, Ordinal, Scale
from crowdllm_jax.study.spec import AttributeSpec

MOST_TASK_LEVELS = 20
FEW_PEOPLE = 8


@dataclass(frozen=True)
class Keys:
    """The columns that make a table one of answers; no responses: to be found."""

    person: Field
    task: Field
    responses: tuple[Field, ...]


def keys_of(sheet: Sheet, choices: Choices) -> Keys | None:
    """The columns of people and tasks where a row is an answer; None where a row is a person.

    Raises:
      CrowdError: rows are answers, but it is not clear to what.
    """
    by_use = {field.use: field for field in sheet.fields}
    if {"person", "task", "response"} <= by_use.keys():
        return Keys(by_use["person"], by_use["task"], (by_use["response"],))
    if (plain := _by_name(sheet, choices)) is not None:
        return plain
    responses = said_responses(sheet, choices)
    if choices.person is not None and choices.task is not None:
        person, task = sheet.field(choices.person, "--id"), sheet.field(choices.task, "--task")
        return Keys(person, task, responses)
    if (pair := crossed_keys(sheet, choices)) is not None:
        return Keys(pair.person, pair.task, responses)
    return _by_some_names(sheet, choices, responses)


def _by_some_names(sheet: Sheet, choices: Choices, responses: tuple[Field, ...]) -> Keys | None:
    """The keys of a table that is too small, or holds too many mistakes, to tell by its rows."""
    person = _person(sheet, choices)
    if person is None:
        _ask_whose(sheet, choices)
    if person is None or not _repeats(person):
        return None
    if choices.task is not None:
        return Keys(person, sheet.field(choices.task, "--task"), responses)
    others = [f for f in sheet.fields if f not in (person, *responses) and _may_be_task(f, choices)]
    pairs = [f for f in others if _keyed(person, f)]
    # By its name a column is that of tasks though a row of it is a mistake, which is then told.
    named = [f for f in others if names.is_task(f.name) and _keyed(person, f, 0.9)]
    answered = responses or any(names.is_response(f.name) for f in sheet.fields)
    candidates = one_of_equals(named or (pairs if answered else []), sheet)
    if not candidates:
        return None
    return Keys(person, one_of("the ids of tasks", "--task", candidates), responses)


MOST_COLUMNS = 12
FEWEST_ROWS = 3


def _ask_whose(sheet: Sheet, choices: Choices) -> None:
    """Raise CrowdError if rows hold answers to tasks, by what their columns are called, but none is
    called after people."""
    told = choices.questions or choices.profile or choices.person
    if told or len(sheet.fields) > MOST_COLUMNS or any(f.use for f in sheet.fields):
        return
    fields = [f for f in sheet.fields if f.name not in choices.out]
    tasks = [f for f in fields if names.is_task(f.name) and not names.counts_tasks(f.name)]
    tasks = [
        f for f in tasks if FEWEST_ROWS * len(f.column.distinct) <= sheet.rows and not f.labels
    ]
    answers = [f for f in fields if names.is_plain_response(f.name)]
    if len(tasks) != 1 or len(answers) != 1 or any(names.is_person(f.name) for f in fields):
        return
    task = tasks[0].name
    raise CrowdError(
        f"{sheet.path}: its rows look like answers ('{answers[0].name}') to what '{task}' says, "
        "but no column says whose; say it with --id COLUMN (if two hold first and last names, "
        f"write both into one); --leave-out '{task}' takes each row for a person"
    )


def _by_name(sheet: Sheet, choices: Choices) -> Keys | None:
    """The keys of a table whose columns are called participant, task and response, or the like.

    That somebody answers a task twice, or an id is missing, does not make it another table."""
    if choices.questions or choices.profile or len(sheet.fields) > 12:
        return None
    kinds = (names.is_person, names.is_task, names.is_response)
    said = (choices.person, choices.task, choices.response)
    fields = [f for f in sheet.fields if f.name not in choices.out]
    found = [
        [f for f in fields if (f.name == name if name else is_so(f.name) and f.name not in said)]
        for is_so, name in zip(kinds, said, strict=True)
    ]
    if [len(own) for own in found] != [1, 1, 1] or any(f.use for own in found for f in own):
        return None
    ((person,), (task,), (response,)) = found
    if names.counts_tasks(task.name) and choices.task is None:
        return None  # another column may say what was shown
    repeat = _repeats(person) or _repeats(task)
    return Keys(person, task, (response,)) if repeat and _keyed(person, task, 0.5) else None


def _may_be_task(field: Field, choices: Choices) -> bool:
    """Whether a column is none that has another meaning by its name: answers, times, weights."""
    known = names.is_own(field.name) or names.is_response(field.name)
    known = known or names.is_weight(field.name, field.text)
    left = field.use == "out" or field.name in (*choices.out, *choices.questions, *choices.profile)
    return not known and not left


def _person(sheet: Sheet, choices: Choices) -> Field | None:
    """The column of people's ids, that come back in several rows."""
    if choices.person is not None:
        return sheet.field(choices.person, "--id")
    if told := [f for f in sheet.fields if f.use == "person"]:
        return told[0]
    known = (choices.task, choices.response)
    found = [f for f in sheet.fields if names.is_person(f.name) and f.name not in known]
    found = [f for f in found if f.name not in choices.out]
    if choices.task is None and any(names.numbers_people(f.name) and unique(f) for f in found):
        return None
    found = [f for f in found if _repeats(f)]
    if len(found) > 1 and (people := [f for f in found if names.names_people(f.name)]):
        found = people
    if not found and choices.task is not None:
        raise CrowdError("which column holds the ids of people? Say it with --id COLUMN")
    return one_of("the ids of people", "--id", found) if found else None


def _repeats(field: Field) -> bool:
    """Whether most ids stand in several rows."""
    return len(field.column.distinct) * 1.5 <= len(field.column.codes)


def _keyed(person: Field, task: Field, share: float = 1.0) -> bool:
    """Whether a column tells the rows of a person apart, or at least a share of all rows, and comes
    back with other people."""
    known = (task.column.codes >= 0) & (person.column.codes >= 0)
    if len(task.column.distinct) < 2 or unique(task):
        return False
    pairs = person.column.codes.astype(np.int64) * len(task.column.distinct) + task.column.codes
    return len(np.unique(pairs[known])) >= share * len(pairs)


@dataclass(frozen=True)
class Scaled:
    """The scales of a table of answers.

    Attributes:
      group: (R,) of each row, index into `names`.
      names: each group's scale, None where it has none.
      code: (R,) each row's answer among the texts of its column, -1 where there is none.
    """

    group: np.ndarray
    names: tuple[str | None, ...]
    code: np.ndarray
    by_name: dict[str, Scale]


def from_long(sheet: Sheet, keys: Keys, choices: Choices) -> Draft:
    """Make a study of a long table.

    Raises:
      CrowdError: what has to be said before, or somebody answers a task twice.
    """
    reasons = list(sheet.notes)
    person, task = keys.person, keys.task
    weight = weight_of(sheet, choices)
    others = [f for f in sheet.fields if f not in (person, task, *keys.responses, weight)]
    own = [f.name for f in others if f.use == "out" and f.column.distinct]
    others = [f for f in others if f.use not in ("group", "out") and f.column.distinct]
    of_person = [f for f in others if _told_by(person, f)]
    of_task = [f for f in others if f not in of_person and _told_by(task, f)]
    free = [f for f in others if f not in (*of_person, *of_task)]
    responses = keys.responses or _responses(sheet, free, choices)
    if len(responses) > 1:
        return _from_several(sheet, Keys(person, task, responses), of_task, choices)
    (response,) = responses
    reasons.append(
        f"A row is an answer: {person.name} says whose, {task.name} to what, {response.name} which."
    )
    _check_rows(person, task, response, free)
    reasons += _told_of_rows(task, response, free)
    scaled = _scales(sheet, task, response, choices, reasons)
    rows = np.flatnonzero(scaled.code >= 0)
    if not len(rows):
        raise CrowdError(f"{response.cells.where}: holds no answer on a scale; {reasons[-1]}")
    people, persons = np.unique(person.column.codes[rows], return_inverse=True)
    kept = [f for f in of_person if f.name not in choices.out and not _no_profile(person, f)]
    profile = profile_of(kept, _first_rows(person, people), reasons)
    if profile:
        reasons.append(f"Profile: {shown(profile, 12)}.")
    if weight is not None:
        reasons.append(f"Weights: {weight.name}.")
    if own:
        reasons.append(f"Left out, since they are the program's own: {shown(own, 10)}.")
    left = [f.name for f in (*free, *of_person) if f is not response and f not in kept]
    if left:
        reasons.append(f"Left out: {shown(left, 10)} (--response A,B asks several).")
    asked, tasks = np.unique(task.column.codes[rows], return_inverse=True)
    kept = [f for f in of_task if f.name not in choices.out and not names.is_own(f.name)]
    records, attributes = _tasks(asked, task, kept, scaled, choices, reasons)
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


def _no_profile(person: Field, field: Field) -> bool:
    """Whether a column tells of people what a program notes, or is another id of theirs."""
    if names.is_own(field.name):
        return True
    texts = field.column.distinct
    apart = len(texts) == len(person.column.distinct) > FEW_PEOPLE
    return apart and (
        names.is_person(field.name) or any(numerals.number(text) is None for text in texts)
    )


def _told_of_rows(task: Field, response: Field, free: Sequence[Field]) -> list[str]:
    """Sentences on rows without an answer, and on tasks that are only counted."""
    told = []
    if silent := int(np.sum(response.column.codes < 0)):
        told.append(f"Left out, rows without an answer: {silent:,}.")
    varied = [f.name for f in free if f is not response and not names.is_own(f.name)]
    if varied and names.counts_tasks(task.name):
        told.append(
            f"{task.name} counts what was shown; if everybody saw it in another order, say with "
            f"--task which column tells what it was ({shown(varied, 6)})."
        )
    return told


def _told_by(key: Field, field: Field) -> bool:
    """Whether a column says one thing of each id."""
    pairs = (
        key.column.codes.astype(np.int64) * (len(field.column.distinct) + 1) + field.column.codes
    )
    return len(np.unique(pairs)) == len(np.unique(key.column.codes))


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


def _responses(sheet: Sheet, free: Sequence[Field], choices: Choices) -> tuple[Field, ...]:
    """The columns of answers: one by its name, or those that hold answers on a scale.

    Raises:
      CrowdError: there is none, or of several some hold no levels.
    """
    candidates = [f for f in free if not names.is_own(f.name) and f.name not in choices.out]
    candidates = [f for f in candidates if not names.counts_tasks(f.name)]
    named = [f for f in candidates if names.is_response(f.name)]
    if len(named) == 1:
        return (named[0],)
    guesses = [(f, guess(answered(f, 1), choices)) for f in named or candidates]
    scaled = [(f, found.scale) for f, found in guesses if isinstance(found, Guess)]
    if not scaled:
        raise CrowdError(
            f"{sheet.path}: which column holds the answers? Say it with --response COLUMN (it has: "
            f"{shown((f.name for f in sheet.fields), 12)})"
        )
    fields = tuple(field for field, _ in scaled)
    if len(fields) == 1 or all(isinstance(scale, Ordinal | Binary) for _, scale in scaled):
        return fields
    listed = as_flag(field.name for field in fields)
    raise CrowdError(
        f"{sheet.path}: which column holds the answers: {shown((f.name for f in fields), 8)}? Say "
        f"it with --response '{fields[0].name}' (or another), or, if each does, --response {listed}"
    )


def _check_rows(person: Field, task: Field, response: Field, others: Sequence[Field]) -> None:
    """Raise CrowdError if an answer lacks an id, or somebody answers a task twice."""
    given = response.column.codes >= 0
    for field in (person, task):
        if np.any((field.column.codes < 0) & given):
            silent = replace(field.column, codes=np.where(given, field.column.codes, 0))
            raise CrowdError(silent.no_id())
    pairs = person.column.codes.astype(np.int64) * len(task.column.distinct) + task.column.codes
    rows = np.flatnonzero(given)
    order = rows[np.argsort(pairs[rows], kind="stable")]
    same = np.flatnonzero(np.diff(pairs[order]) == 0)
    if len(same):
        first, second = sorted(order[same[0] : same[0] + 2])
        raise CrowdError(
            f"{person.cells.where}: '{person.column.distinct[person.column.codes[first]]}' answers "
            f"'{task.column.distinct[task.column.codes[first]]}' twice (rows {first + 2} and "
            f"{second + 2}, {len(same):,} such pairs); keep one, or name other columns with --id "
            f"and --task{_told_apart(pairs[rows], [f.column.codes[rows] for f in others], others)}"
        )


def _told_apart(pairs: np.ndarray, codes: Sequence[np.ndarray], others: Sequence[Field]) -> str:
    """A hint at a column (of a session, say) that tells the rows of a pair apart."""
    for own, field in zip(codes, others, strict=True):
        few = 1 < len(field.column.distinct) <= MOST_ROUNDS
        if few and len({*zip(pairs.tolist(), own.tolist(), strict=True)}) == len(pairs):
            return f". '{field.name}' tells them apart: keep the rows of one of its values"
    return ""


MANY_RANGES = 6
FEWEST_ANSWERS = 10
MOST_ROUNDS = 12
MOST_SCALES = 1_000
"""Tasks whose answers are looked at one by one."""


def _scales(
    sheet: Sheet, task: Field, response: Field, choices: Choices, reasons: list[str]
) -> Scaled:
    """One scale for all answers, if they are of one kind; else one for each group or task."""
    by_use = {field.use: field for field in sheet.fields}
    cut = by_use.get("group")
    if cut is None:
        many = len(task.column.distinct) > MOST_SCALES
        try:
            pooled = guess(answered(response, 1), choices)
        except CrowdError:
            if many:
                raise
            pooled = "tasks may have answers of their own"
        one = np.zeros(len(task.column.codes), np.int32)
        kinds = _vocabularies(task, response, choices)
        if kinds is None and (many or _of_one_kind(task, response, pooled)):
            return _scaled(response, one, ("all tasks",), [pooled], reasons)
        group, called = kinds or (task.column.codes, task.column.distinct)
    else:
        group, called = cut.column.codes, cut.column.distinct
    order = np.argsort(group, kind="stable")
    ends = np.searchsorted(group[order], np.arange(len(called) + 1))
    guesses = [
        guess(answered(response, 1, order[ends[i] : ends[i + 1]]), choices)
        for i in range(len(called))
    ]
    return _scaled(response, group, called, guesses, reasons)


def _vocabularies(
    task: Field, response: Field, choices: Choices
) -> tuple[np.ndarray, tuple[str, ...]] | None:
    """Tasks in groups that share no answer with each other, such as questions with words of their
    own: each row's group, and its tasks for a sentence. None where all are linked, or a group has
    too few answers to be one."""
    answers = len(response.column.distinct)
    silent = np.array([_no_answer(response, text, choices) for text in response.column.distinct])
    rows = np.flatnonzero((task.column.codes >= 0) & (response.column.codes >= 0))
    rows = rows[~silent[response.column.codes[rows]]]
    size = len(task.column.distinct) + answers
    links = (task.column.codes[rows], len(task.column.distinct) + response.column.codes[rows])
    joined = sparse.coo_array((np.ones(len(rows)), links), shape=(size, size))
    of_node = csgraph.connected_components(joined, directed=False)[1]
    kinds, of_task = np.unique(of_node[: len(task.column.distinct)], return_inverse=True)
    texts = [np.sum(of_node[len(task.column.distinct) :] == kind) for kind in kinds]
    given = np.bincount(of_task[task.column.codes[rows]], minlength=len(kinds))
    if len(kinds) < 2 or min(texts) < 2 or np.min(given) < FEWEST_ANSWERS:
        return None
    group = np.array([*of_task, -1], np.int32)[task.column.codes]
    called = tuple(
        shown([task.column.distinct[i] for i in np.flatnonzero(of_task == kind)], 4)
        for kind in range(len(kinds))
    )
    return group, called


def _no_answer(response: Field, text: str, choices: Choices) -> bool:
    label = dict(response.labels).get(text, text)
    return text in response.missing or text in choices.missing or is_no_answer(label)


def _of_one_kind(task: Field, response: Field, pooled: Guess | str) -> bool:
    """Whether tasks that many people answered use at least half of the answers that there are."""
    if isinstance(pooled, str):
        return False
    texts = [i for i, text in enumerate(response.column.distinct) if text not in pooled.dropped]
    if isinstance(pooled.scale, Continuous):
        spans = _spans(task, response)
        return len(spans) < 2 or float(np.min(spans)) * 4 >= float(np.max(spans))
    asked = (response.column.codes >= 0) & (task.column.codes >= 0)
    pairs = np.unique(
        task.column.codes[asked].astype(np.int64) * len(response.column.distinct)
        + response.column.codes[asked]
    )
    given = np.bincount(task.column.codes[asked], minlength=len(task.column.distinct))
    used = np.bincount(pairs // len(response.column.distinct), minlength=len(given))
    many = given >= max(10, 4 * len(texts))
    # One task in ten may be answered by all alike.
    wide = not many.any() or float(np.mean(2 * used[many] >= len(texts))) >= 0.9
    return wide or (4 * int(np.min(used[many])) >= len(texts) and _overlapping(task, response))


def _overlapping(task: Field, response: Field) -> bool:
    """Whether tasks are answered with numbers of many different ranges (2 to 6, 3 to 7, 1 to 6):
    parts of one scale; of several scales, many tasks would share each."""
    low, high = _ranges(task, response)
    return len(low) >= MANY_RANGES and 2 * len({*zip(low, high, strict=True)}) > len(low)


def _spans(task: Field, response: Field) -> np.ndarray:
    """How far the numbers reach that each task was answered with, of those with ten and more."""
    low, high = _ranges(task, response)
    return high - low


def _ranges(task: Field, response: Field) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest number of each task with ten answers and more; no task, where
    answers are words."""
    read = [numerals.number(text) for text in response.column.distinct]
    numbers = np.array([np.nan if number is None else number for number in read] + [np.nan])
    value = np.where(task.column.codes >= 0, numbers[response.column.codes], np.nan)
    known = np.flatnonzero(~np.isnan(value))
    size = len(task.column.distinct)
    low, high = np.full(size, np.inf), np.full(size, -np.inf)
    np.minimum.at(low, task.column.codes[known], value[known])
    np.maximum.at(high, task.column.codes[known], value[known])
    given = np.bincount(task.column.codes[known], minlength=size)
    return low[given >= 10], high[given >= 10]


def _scaled(
    response: Field,
    group: np.ndarray,
    called: Sequence[str],
    guesses: Sequence[Guess | str],
    reasons: list[str],
) -> Scaled:
    """Answers with the scales that were guessed; `reasons` gets a sentence on each scale."""
    book = ScaleNames()
    scale_names: list[str | None] = []
    code = response.column.codes.copy()
    told: dict[str, list[str]] = defaultdict(list)
    for place, found in enumerate(guesses):
        if isinstance(found, str):
            scale_names.append(None)
            told[f"Left out, since {found}"].append(called[place])
            code[group == place] = -1
            continue
        name = book.name(found.scale)
        scale_names.append(name)
        told[f"Scale {name} ({found.why})"].append(called[place])
        gone = [i for i, text in enumerate(response.column.distinct) if text in found.dropped]
        if gone:
            code[(group == place) & np.isin(code, gone)] = -1
    reasons += [f"{what}: {shown(which, 8)}." for what, which in told.items()]
    reasons += told_silent(
        (name, response.labels, found.dropped & _given(response, group == place))
        for place, (name, found) in enumerate(zip(called, guesses, strict=True))
        if isinstance(found, Guess)
    )
    return Scaled(group, tuple(scale_names), code, book.by_name)


def _given(response: Field, rows: np.ndarray) -> frozenset[str]:
    codes = np.unique(response.column.codes[rows])
    return frozenset(response.column.distinct[code] for code in codes if code >= 0)


def _tasks(
    asked: np.ndarray,
    task: Field,
    told: Sequence[Field],
    scaled: Scaled,
    choices: Choices,
    reasons: list[str],
) -> tuple[tuple[Task, ...], dict[str, AttributeSpec]]:
    """The tasks with their texts and attributes."""
    first = _first_rows(task, asked)
    text = next((f for f in told if f.use == "text"), None) or _longest(task, told)
    if text is not None:
        reasons.append(f"Texts of tasks: {text.name}.")
    attributes: dict[str, AttributeSpec] = {}
    cells: dict[str, list[str]] = {}
    for field in told:
        numeric = all(numerals.number(t) is not None for t in field.column.distinct)
        few = 1 < len(field.column.distinct) <= MOST_TASK_LEVELS
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


def _longest(task: Field, told: Sequence[Field]) -> Field | None:
    """The column with the longest texts, if these are longer than the ids."""

    def length(field: Field) -> float:
        return sum(map(len, field.column.distinct)) / max(len(field.column.distinct), 1)

    best = max(told, key=length, default=None)
    if best is None or length(best) <= max(length(task), 8):
        return None
    return best if any(" " in text for text in best.column.distinct) else None
