"""Published shares: how many people gave each answer to each question, whoever they are.

A table of them may have a row per question and answer, a column per answer, or one per group of
people; all become rows of a question, an answer and a share.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from crowdllm_jax.runtime.numerals import number
from crowdllm_jax.study.draft import names
from crowdllm_jax.study.draft.draft import shown
from crowdllm_jax.study.draft.multiple import says_several
from crowdllm_jax.study.draft.word_lists import folded
from crowdllm_jax.study.draft.words import is_no_answer
from crowdllm_jax.study.formats.sheet import Field, Sheet, only_rows

ROUNDED, FEWEST_SAID = 0.0299, 0.9
"""By how much rounded shares may miss their sum, and how much of it has to be published: the rest
gave no answer."""
MOSTLY = 0.9
"""The part of the questions whose shares have to add up; those of the others are left out."""
_SMALL = {*("*", "**", "-", "–", "—", "<1", "<0.5", "<.5", "< 1", "<0.1")}
"""What stands for a share that is rounded to nothing."""
_BASES = {
    *("base", "n", "sample", "sample size", "unweighted base", "weighted base", "unweighted n"),
    *("weighted n", "total n", "n size", "nsize", "base size", "basis", "asked", "n asked"),
    *("unweighted", "unweighted count", "unweighted sample", "fallzahl", "number of respondents"),
    *("base unweighted", "base weighted", "respondents", "number of interviews", "interviews"),
}
TOTALS = {
    *("total", "totals", "all", "overall", "sum", "gesamt", "summe", "insgesamt", "ensemble"),
    *(
        "all adults",
        "u s adults",
        "us adults",
        "all respondents",
        "everyone",
        "toplines",
        "topline",
    ),
    *("national", "total adults", "all voters", "totale", "totaal", "adults", "full sample"),
}
_NET = re.compile(
    r"(sub ?|grand )?total\b.*|net\b.*|.*\bnet|(any|all) (agree|disagree|favou?r|oppose)|"
    r"(top|bottom) (2|3|two|three)( box)?|[tb]\d ?b"
)
_MEASURE = re.compile(
    r"(.* )?(mean|average|avg|median|sd|std|std dev|std deviation|standard deviation|"
    r"standard error|se|moe|margin of error|mode|variance)( score)?"
)


@dataclass(frozen=True)
class Published:
    """Shares, a row each.

    Attributes:
      sheet: what rows say beside; its notes say how shares are read.
      task: the question, one of its columns. option: the answer.
      share: (R,) of the people asked. what: which columns hold them, for a sentence.
      people: (R,) how many were asked, or None.
    """

    sheet: Sheet
    task: Field
    option: Field
    share: np.ndarray
    what: str
    people: np.ndarray | None = None


def numbers(field: Field) -> np.ndarray | None:
    """(R,) the shares (or counts) in a column, nan where there is none; None if it holds others."""
    if field.labels or field.use is not None:
        return None
    texts = [_plain(text) for text in field.column.distinct]
    read = [0.0 if text in _SMALL else _number(text) for text in texts]
    real = [value for value, text in zip(read, texts, strict=True) if text not in _SMALL]
    if None in read or not any(value is not None and not np.isnan(value) for value in real):
        return None
    if min((value for value in read if value is not None), default=0.0) < 0:
        return None
    values: np.ndarray = np.array([*read, np.nan], float)[field.column.codes]
    return values


_TESTED = re.compile(r"(?P<share>\d+([.,]\d+)?) ?%? ?[A-Z](,? ?[A-Z])*")
"""A share beside the letters of the groups from which it differs (`41% BC`)."""


def _plain(text: str) -> str:
    tested = _TESTED.fullmatch(text)
    return (text if tested is None else tested["share"]).removesuffix("%").strip()


def _number(text: str) -> float | None:
    if re.fullmatch(r"\d+,\d{1,2}", text):
        text = text.replace(",", ".")
    elif re.fullmatch(r"\d{1,3}(,\d{3})+", text):
        text = text.replace(",", "")
    plain = number(text)
    return np.nan if plain is None and is_no_answer(text) else plain


def is_base(name: str) -> bool:
    """Whether a name says how many people were asked."""
    return folded(name) in _BASES or names.counts_people(name)


def is_no_option(name: str) -> bool:
    """Whether a name is that of a base, a sum or an average, and of no answer."""
    return is_base(name) or _is_sum(name) or _MEASURE.fullmatch(folded(name)) is not None


def cells_of_rows(fields: Sequence[Field], rows: int) -> np.ndarray:
    """(R,) a number for what some columns say together."""
    if not fields:
        return np.zeros(rows, np.int64)
    codes = np.stack([field.column.codes for field in fields])
    return np.unique(codes, axis=1, return_inverse=True)[1].ravel()


def adds_up(cell: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(C,) whether the numbers of each cell are shares of a whole (1 or 100), of which a little may
    not be published."""
    sums = np.bincount(cell, np.nan_to_num(values))
    part = sums / whole_of(sums)
    several = np.bincount(cell, ~np.isnan(values)) > 1
    return several & (part >= FEWEST_SAID - 1e-9) & (part <= 1 + ROUNDED)


def whole_of(sums: np.ndarray) -> float:
    """What shares are parts of: 100 or 1."""
    return 100.0 if np.median(sums[sums > 0]) > 10 else 1.0


def settled(
    sheet: Sheet, cell: np.ndarray, option: Field, values: np.ndarray, *, counts: bool
) -> tuple[Sheet, Field, np.ndarray, np.ndarray | None] | None:
    """Rows of shares without those of bases, sums and averages: the sheet of those that are left
    (its notes tell of the others), their answers, shares and numbers of people; None if the numbers
    are no shares.

    Args:
      cell: (R,) of each row's question (and group). counts: whether they may count people.
    """
    texts = option.column.distinct
    # Beside Y, an N is an answer.
    base = None if "y" in {*map(folded, texts)} else _which(option, is_base)
    kept = ~np.isnan(values) & (True if base is None else ~base)
    if not kept.any():
        return None
    sums = _sums(cell, values, kept, _which(option, is_no_option) & kept)
    kept &= ~sums
    people = None if base is None or not base.any() else _of_cell(cell, values, base)
    several = np.any([says_several(field) for field in sheet.fields], axis=0)
    parted = kept & ~(several & (values <= 100))  # of several answers shares are no parts
    quality = _quality(cell, values, parted) if parted.any() else 1.0
    share = values / whole_of(np.bincount(cell[kept], values[kept]))
    if quality < MOSTLY and counts and not np.any(values[kept] % 1) and np.max(values[kept]) > 10:
        whole = np.bincount(cell[kept], values[kept], int(np.max(cell)) + 1)
        share, people = values / np.maximum(whole, 1)[cell], whole[cell]
        told = "Numbers count people; shares are made of them"
        told += "." if not several.any() else ", but for questions with several answers: left out."
        kept &= ~several
        sheet = replace(sheet, notes=(*sheet.notes, told))
    elif quality <= 0.5:
        return None
    gone = [texts[i] for i in np.unique(option.column.codes[sums])]
    if gone:
        told = f"Left out, as they are sums or averages and no answers: {shown(gone)}."
        sheet = replace(sheet, notes=(*sheet.notes, told))
    answers = only_rows(replace(sheet, fields=(option,)), kept).fields[0]
    left = None if people is None else people[kept]
    return only_rows(sheet, kept), answers, share[kept], left


def _sums(cell: np.ndarray, values: np.ndarray, kept: np.ndarray, may: np.ndarray) -> np.ndarray:
    """(R,) which of the rows that may be sums (or averages) are such: without them the others of
    their cell come nearer to a whole, or add up to them; elsewhere they are answers."""
    size = int(np.max(cell)) + 1
    others = np.bincount(cell[kept & ~may], values[kept & ~may], size)
    together = np.bincount(cell[kept], values[kept], size)
    if not np.any(others > 0) or _quality(cell, values, kept) >= MOSTLY:
        return np.zeros(len(may), bool)
    whole = whole_of(others)
    nearer = np.abs(others / whole - 1) < np.abs(together / whole - 1)
    equal = np.isclose(values, others[cell], rtol=0.02) & (others[cell] > 0)
    off = np.abs(together / whole - 1) > ROUNDED
    sums: np.ndarray = may & off[cell] & (nearer[cell] | equal)
    return sums


def _is_sum(text: str) -> bool:
    return folded(text) in TOTALS or _NET.fullmatch(folded(text)) is not None


def _which(option: Field, told: Callable[[str], bool]) -> np.ndarray:
    """(R,) whether each row's answer is one of which something is so."""
    return np.array([*map(told, option.column.distinct), False], bool)[option.column.codes]


def _quality(cell: np.ndarray, values: np.ndarray, kept: np.ndarray) -> float:
    """The part of the cells whose numbers add up to a whole."""
    if not kept.any():
        return 0.0
    used = np.unique(cell[kept], return_inverse=True)[1]
    return float(np.mean(adds_up(used, values[kept])))


def _of_cell(cell: np.ndarray, values: np.ndarray, base: np.ndarray) -> np.ndarray | None:
    """(R,) the base of each row's cell; None where one has none."""
    people = np.full(int(np.max(cell)) + 1, np.nan)
    people[cell[base]] = values[base]
    return None if np.isnan(people[cell]).any() else people[cell]
