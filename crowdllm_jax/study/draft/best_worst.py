"""Best-worst scaling (MaxDiff): of a set of items the best and the worst are named."""

import re
from collections import Counter

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.draft import names
from crowdllm_jax.study.draft.choice_sets import is_mark, marks_of
from crowdllm_jax.study.draft.draft import Choices, as_flag, shown
from crowdllm_jax.study.draft.row_people import MOST_GROUPS, texts_of, unique
from crowdllm_jax.study.draft.word_lists import folded
from crowdllm_jax.study.formats.sheet import Field, Sheet

_OTHER = {"best": "worst", "most": "least", "beste": "schlechteste", "bester": "schlechtester"}
_BEST = re.compile(r"\b(best|most|beste|bester)\b")
_NEITHER = {"neither", "none", "not chosen", "0", "no", "unchosen", "not selected", "other"}
FEWEST_ITEMS = 3
FEW = 0.05
"""The share of rows in which one item may be both by mistake."""


def refuse_best_worst(sheet: Sheet, choices: Choices) -> None:
    """Raise CrowdError if columns hold the best and the worst of sets, which no task is yet.

    Of everybody's one row, one such pair is a question for the best and another for the worst.
    """
    if choices.questions or choices.response is not None:
        return
    fields = [f for f in sheet.fields if f.name not in choices.out and f.column.distinct]
    called = {folded(field.name): field for field in fields}
    found: list[Field] = []
    for name, best in called.items():
        word = _BEST.search(name)
        worst = called.get(_BEST.sub(_OTHER[word[1]], name, count=1)) if word else None
        if worst is not None and (_named(best, worst) or _marked(best, worst)):
            found += [best, worst]
    found = found or [field for field in fields if _names_both(field)]
    if found and (_sets_come_back(fields) or _are_numbered(found[::2])):
        raise CrowdError(
            f"{shown((f.name for f in found), 4)} hold the best and the worst of sets (MaxDiff), "
            "for which there is no kind of task yet. Leave them out with --leave-out "
            f"{as_flag(f.name for f in found)}; or take the best alone for choices, in a table "
            "with a row for every item that was shown and a mark at the best (docs/conjoint.md); "
            "if they are ordinary questions, name all questions with --questions"
        )


def _names_both(field: Field) -> bool:
    """Whether a column says of few items of each set that they are the best, and of as many that
    they are the worst."""
    texts = [folded(text) for text in field.column.distinct]
    best = [text for text in texts if _OTHER.get(text) in texts]
    others = {*texts} - {*best, *map(_OTHER.get, best)}
    if len(best) != 1 or not others <= _NEITHER:
        return False
    often = np.bincount(field.column.codes[field.column.codes >= 0], minlength=len(texts))
    one, other = (often[texts.index(text)] for text in (best[0], _OTHER[best[0]]))
    return bool(one == other and 2 * one < len(field.column.codes))


def _sets_come_back(fields: list[Field]) -> bool:
    """Whether people answered several sets in a row each, or sets stand in several rows."""
    back = [f for f in fields if 2 * len(f.column.distinct) <= len(f.column.codes)]
    if any(names.is_person(f.name) and len(f.column.distinct) > MOST_GROUPS for f in back):
        return True
    one_row = any(names.is_person(f.name) and unique(f) for f in fields)
    return not one_row and any(names.is_task(f.name) or folded(f.name) == "set" for f in back)


def _are_numbered(best: list[Field]) -> bool:
    """Whether there are columns for the best of the first, second, third set."""
    called = Counter(re.sub(r"\d+", "", f.name) for f in best if re.search(r"\d", f.name))
    return any(many > 1 for many in called.values())


def _named(best: Field, worst: Field) -> bool:
    """Whether two columns name items, the same ones, and hardly ever one in both."""
    one, other = set(best.column.distinct), set(worst.column.distinct)
    common = one & other
    if len(common) < FEWEST_ITEMS or 2 * len(common) < len(one | other):
        return False
    pairs = [pair for pair in zip(texts_of(best), texts_of(worst), strict=True) if all(pair)]
    return sum(a == b for a, b in pairs) <= FEW * len(pairs)


def _marked(best: Field, worst: Field) -> bool:
    """Whether two columns mark rows, as many, and hardly ever one in both."""
    if not (is_mark(best) and is_mark(worst)):
        return False
    one, other = marks_of(best), marks_of(worst)
    return np.sum(one) == np.sum(other) and np.sum(one & other) <= FEW * np.sum(one)
