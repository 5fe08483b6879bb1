"""The forms that tables of published shares have: a row per question and answer (perhaps with a
column per group of people), questions above their answers, a column per answer, or per question."""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from crowdllm_jax.study.draft import names, own_names
from crowdllm_jax.study.draft.draft import Choices
from crowdllm_jax.study.draft.label_counts import label_counts
from crowdllm_jax.study.draft.published import (
    Published,
    is_base,
    numbers,
)
from crowdllm_jax.study.draft.published_lists import lists_below
from crowdllm_jax.study.draft.published_long import Numbers, long_shares, numbered
from crowdllm_jax.study.draft.published_wide import columns_of_answers, columns_of_questions, reads
from crowdllm_jax.study.draft.row_people import counts_up, unique
from crowdllm_jax.study.draft.stacked import again
from crowdllm_jax.study.draft.stacked import below as below_each_other
from crowdllm_jax.study.draft.tallies import holds_people
from crowdllm_jax.study.draft.word_lists import folded
from crowdllm_jax.study.formats.sheet import Field, Sheet, only_rows

FEWEST_QUESTIONS = 3


def published(sheet: Sheet, choices: Choices) -> Published | None:
    """The shares that a table holds; None where its rows may be people, or their answers."""
    fields = [f for f in sheet.fields if f.column.distinct and f.name not in choices.out]
    if choices.questions or choices.person or sheet.rows < 2 or any(f.use for f in fields):
        return None
    said = choices.task or choices.response
    if not said and (counted := label_counts(replace(sheet, fields=tuple(fields)))) is not None:
        return counted
    if any(_of_people(f, fields) for f in fields):
        return None
    if (opened := lists_below(replace(sheet, fields=tuple(fields)))) is not None:
        share = next(f for f in opened.fields if f.name == "share")
        own = numbers(share)
        return None if own is None else long_shares(opened, {share.name: own}, choices, "option")
    keys = (choices.task, choices.response)
    read = {f.name: own for f in fields if _may_count(f, keys) and (own := numbers(f)) is not None}
    if not read:
        return None
    sheet = replace(sheet, fields=tuple(fields))
    if (paired := _paired(sheet, read)) is not None:
        kept = [f for f in paired.fields if f.name == "share" or is_base(f.name)]
        read = {f.name: own for f in kept if (own := numbers(f)) is not None}
        return long_shares(paired, read, choices, "option")
    texts = [f for f in fields if f.name not in read]
    if len(texts) == 1 and (headed := _headed(sheet, texts[0], read)) is not None:
        sheet = headed
        read = {f.name: own for f in sheet.fields[2:] if (own := numbers(f)) is not None}
        return long_shares(sheet, read, replace(choices, task=sheet.fields[0].name), texts[0].name)
    return (
        columns_of_questions(sheet, texts, read)
        or long_shares(sheet, read, choices, None)
        or columns_of_answers(sheet, texts, read)
    )


def _of_people(field: Field, fields: Sequence[Field]) -> bool:
    """Whether a column holds people's ids; `id` alone may be that of questions."""
    if is_base(field.name) or (folded(field.name) == "no" and not counts_up(field)):
        return False
    tasks = [f for f in fields if f is not field and names.is_task(f.name)]
    # A question has several rows, or one with its text.
    asked = tasks and (not unique(field) or any(map(reads, tasks)))
    if asked and not names.names_people(field.name):
        return names.is_contact(field.name)
    return names.is_person(field.name) or holds_people(field)


def _may_count(field: Field, said: Sequence[str | None]) -> bool:
    """Whether a column's name tells neither of questions and answers nor of times."""
    if field.name in said or own_names.is_own(field.name):
        return False
    timed = names.is_time(field.name) and not re.search(
        r"\d", field.name
    )  # `1-5 years` is an answer
    known = names.is_task(field.name) or timed
    option = names.is_option(field.name) and folded(field.name) != "no"
    return not known and (not option or is_base(field.name))


_PLACE = re.compile(r"(?P<stem>.*?)[_ .]*(?P<place>\d{1,2})")


def _paired(sheet: Sheet, read: Numbers) -> Sheet | None:
    """A sheet with a row per answer of one with columns of answers and their shares, which are
    numbered alike (`option_1`, `share_1`); None if it is no such."""
    stems: dict[str, dict[str, Field]] = {}
    for field in sheet.fields:
        if (match := _PLACE.fullmatch(field.name)) is not None:
            stems.setdefault(match["stem"], {})[match["place"]] = field
    options = [
        own for stem, own in stems.items() if names.is_option(stem) or names.is_response(stem)
    ]
    shares = [own for stem, own in stems.items() if all(f.name in read for f in own.values())]
    shares = [own for own in shares if options and own.keys() == options[0].keys()]
    if len(shares) != 1 or len(options[:1]) != 1 or len(options[0]) < 2 or shares[0] is options[0]:
        return None
    columns = [*options[0].values()], [*shares[0].values()]
    left = [f for f in sheet.fields if f not in columns[0] and f not in columns[1]]
    many = len(columns[0])
    below = replace(sheet, rows=sheet.rows * many, fields=tuple(again(f, many) for f in left))
    option, share = (
        below_each_other(sheet.path, name, own, None)
        for name, own in zip(("option", "share"), columns, strict=True)
    )
    below = replace(below, fields=(*below.fields, option, share))
    return only_rows(below, option.column.codes >= 0)


def _headed(sheet: Sheet, text: Field, read: Numbers) -> Sheet | None:
    """A sheet in which questions stand above their answers, with a column of questions instead;
    None if it is no such."""
    blank = np.all([np.isnan(own) for own in read.values()], axis=0)
    head = blank & (text.column.codes >= 0)
    # Above the first question may stand how many people were asked in all.
    above = np.cumsum(head) == 0
    bases = [code >= 0 and is_base(text.column.distinct[code]) for code in text.column.codes[above]]
    if above.any() and all(bases):
        sheet = only_rows(sheet, ~above)
        text = next(f for f in sheet.fields if f.name == text.name)
        blank, head = blank[~above], head[~above]
    if np.sum(head) < FEWEST_QUESTIONS or not head[0]:
        return None
    block = np.cumsum(head) - 1
    if np.min(np.bincount(block[~blank], minlength=int(np.sum(head)))) < 2:
        return None
    task = replace(numbered(text, head), name="question")
    others = tuple(field for field in sheet.fields if field.name in read)
    return only_rows(replace(sheet, fields=(task, text, *others)), ~blank)
