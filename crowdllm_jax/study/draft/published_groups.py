"""Whose published shares are: of everybody, or of groups of people, which may overlap."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.draft import profile_names
from crowdllm_jax.study.draft.draft import Choices, as_flag, shown
from crowdllm_jax.study.draft.published import TOTALS
from crowdllm_jax.study.draft.word_lists import folded
from crowdllm_jax.study.formats.sheet import Field, Sheet

_GENDERS = {
    *("men", "women", "males", "females", "manner", "frauen", "hommes", "femmes", "mujeres"),
    *("hombres", "man", "woman", "nonbinary", "non binary", "m", "f"),
}
_PARTIES = {
    *("republican", "republicans", "democrat", "democrats", "independent", "independents", "rep"),
    *("dem", "ind", "rep lean rep", "dem lean dem", "gop", "conservative", "liberal", "moderate"),
}
_AGE = re.compile(
    r"(aged? )?\d{1,2}( ?[-–to]+ ?\d{1,3}| ?\+| and (over|older)| ?or (over|older))( years?)?|"
    r"(under|below|over) \d\d|gen z|millennials?|gen x|(baby )?boomers?"
)
_PREFIX = re.compile(
    r"(?P<kind>[^:|\[]+?)\s*(?::|\||\s[-–]\s)\s*(?P<level>.+)|(?P<over>.+?) \[(?P<below>.+)\]"
)
"""`Sex: Male`, or `Sex [Male]`, as two rows of headings are read."""


def kind_of(name: str) -> str:
    """How a group of people is told from others: by gender, age, party, when they were asked;
    `total`: it is not."""
    plain = folded(name)
    if plain in TOTALS:
        return "total"
    if plain in _GENDERS or profile_names.is_one_gender(name):
        return "gender"
    if _AGE.fullmatch(name.casefold().strip()):
        return "age"
    if re.fullmatch(r"(19|20)\d\d", plain):
        return "year"
    return "party" if plain in _PARTIES else "group"


def one_grouping(columns: Sequence[str], choices: Choices) -> tuple[dict[str, str], str, str]:
    """Columns of groups that do not overlap, and what each is called; the attribute they are levels
    of ("" if they are everybody); and a sentence.

    Raises:
      CrowdError: there are several ways of grouping people, and no column of everybody.
    """
    apart = {name: own for name in columns if (own := _parted(name)) is not None}
    said = {*choices.profile}
    chosen = [name for name in columns if name in said or apart.get(name, ("", ""))[0] in said]
    others = chosen or [name for name in columns if kind_of(name) != "total"]
    totals = [name for name in columns if kind_of(name) == "total"]
    if all(name in apart for name in others):
        kinds = dict.fromkeys(apart[name][0] for name in others)
        level = {name: apart[name][1] for name in others}
    else:
        kinds = dict.fromkeys(map(kind_of, others))
        level = {name: name for name in others}
    if chosen or (len(kinds) == 1 and len(others) > 1):
        kind = next(iter(kinds)) if len(kinds) == 1 else "group"
        told = f"Groups of people ({kind}): {shown(others)}; their shares are read apart"
        left = [name for name in columns if name not in others]
        return level, kind, told + (f", and not those of {shown(left, 4)}." if left else ".")
    if not totals:
        one = [next(iter(kinds))] if all(name in apart for name in others) else others[:2]
        raise CrowdError(
            f"its columns of shares are of groups that overlap ({shown(others)}); say which are "
            f"one way of grouping people: --profile {as_flag(one)} (or others)"
        )
    told = f"Shares are those of {totals[0]}"
    if others:
        told += (
            f"; left out, groups that overlap: {shown(others)} (--profile A,B reads some that do "
            "not)"
        )
    return {totals[0]: totals[0]}, "", f"{told}."


def _parted(name: str) -> tuple[str, str] | None:
    """How people are grouped, and the group, where a name tells both."""
    match = _PREFIX.fullmatch(name)
    if match is None or kind_of(name) == "total":
        return None
    return match["kind"] or match["over"], match["level"] or match["below"]


def without_overlap(groups: Sequence[Field], rows: int) -> np.ndarray:
    """(R,) bool: rows of people who are in one group alone, which columns name.

    Raises:
      CrowdError: groups overlap, and none is everybody.
    """
    kept = np.ones(rows, bool)
    for field in groups:
        texts = field.column.distinct
        kinds = [kind_of(text) for text in texts]
        total = np.array([kind == "total" for kind in kinds] + [False])[field.column.codes]
        several = len({*kinds} - {"total"}) > 1 or any(map(_names_groups, texts))
        if several and not total.any():
            raise CrowdError(
                f"'{field.name}' groups people in several ways, which overlap "
                f"({shown(field.column.distinct)}); keep the rows of one of them"
            )
        if total.any() and not total.all():
            kept &= total if several else ~total
    return kept if kept.any() else np.ones(rows, bool)


def _names_groups(text: str) -> bool:
    return len(text.split()) < 3 and profile_names.is_profile(text, "")


def with_columns_below(
    path: Path, sheet: Sheet, columns: Sequence[Field], called: Sequence[str], name: str
) -> Sheet:
    """A sheet with a row for each of some columns, which a new last column names instead."""
    many = len(columns)
    rows = np.repeat(np.arange(sheet.rows), many)
    named = np.tile(np.arange(many, dtype=np.int32), sheet.rows)
    left = tuple(field for field in sheet.fields if field not in columns)
    again = _again(replace(sheet, fields=left), rows)
    index = {text: place for place, text in enumerate(dict.fromkeys(called))}
    codes = np.array([index[text] for text in called], np.int32)[named]
    cells = replace(columns[0].cells, codes=codes, distinct=tuple(index), places=None)
    cells = replace(cells, where=f"{path}: column '{name}'")
    return replace(again, fields=(*again.fields, Field(name, cells)))


def _again(sheet: Sheet, rows: np.ndarray) -> Sheet:
    """Some rows (R,) of a sheet, each as often as it comes."""
    fields = []
    for field in sheet.fields:
        cells = replace(
            field.cells, codes=field.cells.codes[rows], places=field.cells.in_file(rows)
        )
        fields.append(replace(field, cells=cells))
    return replace(sheet, rows=len(rows), fields=tuple(fields))
