"""The columns that make a table one of answers, a row each: who answers what."""

from dataclasses import dataclass

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.draft import names, own_names, profile_names
from crowdllm_jax.study.draft.crossed import (
    crossed_keys,
    one_of_equals,
    said_responses,
    together,
    told_by,
)
from crowdllm_jax.study.draft.draft import Choices, as_flag, shown
from crowdllm_jax.study.draft.people import one_of
from crowdllm_jax.study.draft.row_people import members_in_rows, unique
from crowdllm_jax.study.draft.two_columns import task_of_two, with_condition
from crowdllm_jax.study.draft.word_lists import folded
from crowdllm_jax.study.formats.sheet import Field, Sheet


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
    if (several := _of_households(sheet, choices, responses)) is not None:
        return several
    if choices.person is not None and choices.task is not None:
        person, task = sheet.field(choices.person, "--id"), sheet.field(choices.task, "--task")
        return Keys(person, task, responses)
    if (pair := crossed_keys(sheet, choices)) is not None:
        task = pair.task
        if names.counts_tasks(task.name) and choices.task is None:
            may = [f for f in sheet.fields if f not in responses and _may_be_task(f, choices)]
            task = task_of_two(sheet, pair.person, may) or task
        return Keys(pair.person, task, responses)
    return _by_some_names(sheet, choices, responses)


def _of_households(sheet: Sheet, choices: Choices, responses: tuple[Field, ...]) -> Keys | None:
    """The keys of a table in which only a household and who of it tell whose an answer is."""
    if choices.person is not None or choices.questions or choices.profile:
        return None
    person = members_in_rows(sheet, {*choices.out})
    if person is None:
        return None
    halves = [f for f in sheet.fields if f.name in person.name.split(" and ")]
    fields = [f for f in sheet.fields if f not in (*halves, *responses)]
    tasks = [f for f in fields if choices.task == f.name or names.is_task(f.name)]
    tasks = [f for f in tasks if choices.task in (None, f.name) and _keyed(person, f, 0.95)]
    tasks = [f for f in tasks if not any(_keyed(half, f, 0.95) for half in halves)]
    return Keys(person, tasks[0], responses) if len(tasks) == 1 else None


def _by_some_names(sheet: Sheet, choices: Choices, responses: tuple[Field, ...]) -> Keys | None:
    """The keys of a table that is too small, or holds too many mistakes, to tell by its rows."""
    person = _person(sheet, choices)
    if person is None:
        _ask_whose(sheet, choices)
        _ask_of_texts(sheet, choices)
    if person is None or not _repeats(person) or _several_people(sheet, person):
        return None
    if choices.task is not None:
        return Keys(person, sheet.field(choices.task, "--task"), responses)
    others = [f for f in sheet.fields if f not in (person, *responses) and _may_be_task(f, choices)]
    pairs = [f for f in others if _keyed(person, f)]
    # By its name a column is that of tasks though a row of it is a mistake, which is then told.
    named = [f for f in others if names.is_task(f.name) and _keyed(person, f, 0.9)]
    answered = responses or any(names.is_response(f.name) for f in sheet.fields)
    candidates = one_of_equals(named or (pairs if answered else []))
    # Somebody's age tells waves apart, too.
    candidates = [f for f in candidates if not profile_names.is_age(f.name)] or candidates
    if not candidates:
        both = task_of_two(sheet, person, [f for f in others if f not in named])
        return None if both is None else Keys(person, both, responses)
    return Keys(person, one_of("the ids of tasks", "--task", candidates), responses)


def _several_people(sheet: Sheet, person: Field) -> bool:
    """Whether ids stand for several people, by their age and gender, as those that are numbered
    anew in every country."""
    known = [
        f for f in sheet.fields if profile_names.is_age(f.name) or profile_names.is_gender(f.name)
    ]
    keys = [person, *(f for f in sheet.fields if names.is_task(f.name))]
    return len(known) > 1 and not any(told_by(key, field) for key in keys for field in known)


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


_LABELS = (
    *("label", "labels", "annotation", "sentiment", "emotion", "toxicity", "stance", "polarity"),
    *("airline sentiment", "hate speech", "sarcasm", "topic label", "gold label", "true label"),
)
_TEXTS = ("text", "sentence", "tweet", "document", "headline", "passage", "post", "utterance")


def _ask_of_texts(sheet: Sheet, choices: Choices) -> None:
    """Raise CrowdError if each row is a text of its own that was labelled, and nothing tells of
    people: neither their names nor what describes them."""
    told = choices.questions or choices.profile or choices.person
    fields = [f for f in sheet.fields if f.name not in choices.out and f.column.distinct]
    if told or len(fields) > MOST_COLUMNS or any(f.use for f in fields):
        return
    texts = [f for f in fields if folded(f.name) in _TEXTS and unique(f) and _reads(f)]
    if not texts or any(_of_people(field) for field in fields):
        return
    others = [f for f in fields if f is not texts[0] and not _repeats(f) and not unique(f)]
    labels = [f for f in fields if _repeats(f) and not own_names.is_own(f.name)]
    called = any(folded(f.name) in _LABELS for f in labels)
    words = {frozenset(f.column.distinct) for f in labels}
    if others or not called or len(words) > 1:
        return  # a survey may ask for a text, too
    raise CrowdError(
        f"{sheet.path}: each row is a text ('{texts[0].name}') with answers "
        f"({shown(f.name for f in labels)}), and no column says whose. Give a table with a row per "
        "person and text; or, if columns are people, call them rater_1, rater_2 and so on; "
        f"--leave-out {as_flag([texts[0].name])} takes each row for a person"
    )


def _of_people(field: Field) -> bool:
    named = names.names_people(field.name) or names.is_contact(field.name)
    return named or profile_names.is_profile(field.name, field.text)


def _reads(field: Field) -> bool:
    """Whether texts are of three words and more, on average."""
    texts = field.column.distinct
    return sum(len(text.split()) for text in texts) >= 3 * len(texts)


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
    alone = len(person.column.distinct) == 1 and unique(task)
    keyed = alone or (repeat and _keyed(person, task, 0.5))
    task = with_condition(sheet, person, task, choices)
    return Keys(person, task, (response,)) if keyed else None


def _may_be_task(field: Field, choices: Choices) -> bool:
    """Whether a column is none that has another meaning by its name: answers, times, weights."""
    known = own_names.is_own(field.name) or names.is_response(field.name)
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
    if len(found) > 1:  # groups of people, of whom none has tasks
        tasks = [f for f in sheet.fields if f not in found and _may_be_task(f, choices)]
        found = [f for f in found if any(_keyed(f, task, 0.9) for task in tasks)]
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
    return len(np.unique(together(person, task)[known])) >= share * len(known)
