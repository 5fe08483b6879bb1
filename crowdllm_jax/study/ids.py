"""People and tasks as a table names them, and what its columns say of each.

A long table repeats a person's profile in every row of theirs: here it becomes one value per id,
or an error where two rows disagree.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.names import as_shown, did_you_mean
from crowdllm_jax.study.missing import warn_of_level, warn_of_numbers
from crowdllm_jax.study.records import Attribute, AttributeKind
from crowdllm_jax.study.spec import AttributeSpec, OrdinalAttribute
from crowdllm_jax.study.tables import Column, without

MISSING = "(missing)"


@dataclass(frozen=True)
class Entities:
    """Ids in their order, and for each row of a table the position of its id."""

    ids: tuple[str, ...]
    of_row: np.ndarray


def code_of_each(column: Column, entities: Entities, what: str) -> np.ndarray:
    """(N,) the code each id has in a column; refuse an id that has two."""
    n = len(entities.ids)
    code = np.full(n, -2, np.int32)
    code[entities.of_row] = column.codes
    differs = np.flatnonzero(code[entities.of_row] != column.codes)
    if len(differs):
        row = differs[0]
        entity = entities.of_row[row]
        other = int(np.flatnonzero((entities.of_row == entity) & (column.codes == code[entity]))[0])
        texts = sorted(
            (r + 2, column.distinct[column.codes[r]] if column.codes[r] >= 0 else "")
            for r in (int(row), other)
        )
        raise CrowdError(
            f"{column.where}: {what} '{entities.ids[entity]}' has '{texts[0][1]}' in row "
            f"{texts[0][0]} but '{texts[1][1]}' in row {texts[1][0]}; make them agree"
        )
    return code


def attribute_of(
    name: str, spec: AttributeSpec, column: Column, entities: Entities, what: str
) -> Attribute:
    """A column as an attribute of every entity; `what` calls them in errors.

    Raises:
      CrowdError: a cell is no number or no level, there are too many levels, or an id has two.
    """
    if spec != "numeric":  # as populations write an empty cell
        column = without(column, lambda text: text == MISSING, broad=False)
    code = code_of_each(column, entities, what)
    table = {"task": "tasks", "alternative": "alternatives"}.get(what, "participants")
    own_list = f"study.{table}.missing: {{{name}: [...]}}"
    if spec == "numeric":
        numbers = np.full(len(column.distinct) + 1, np.nan)
        for i, text in enumerate(column.distinct):
            number = column.number(i)
            if number is None:
                raise CrowdError(
                    f"{column.where}: '{text}' ({column.rows_of(i)}) is no finite number; correct "
                    f"it, list it under `missing`, or call '{name}' categorical{column.hint(i)}"
                )
            numbers[i] = number
        cells = numbers[code]
        if np.isnan(cells).all():
            raise CrowdError(f"{column.where}: every cell is empty; drop '{name}'")
        column.warn_of_thousands()
        warn_of_numbers(column, numbers[:-1], own_list)
        return Attribute(name, "numeric", (), cells)
    if isinstance(spec, OrdinalAttribute):
        levels = tuple(str(level) for level in spec.levels)
        if len(set(levels)) < len(levels):
            raise CrowdError(f"{column.where}: its levels in the study file repeat one")
        kind: AttributeKind = "ordinal"
        for text in column.emptied:
            if text in levels:
                warn_of_level(column, text, f"it is a level of '{name}'", own_list)
    else:
        levels = tuple(sorted(column.distinct, key=_natural))
        kind = spec
    if len(levels) > 1000:
        raise CrowdError(
            f"{column.where}: {len(levels):,} different levels; a {kind} attribute "
            f"has at most 1,000 (is '{name}' numeric, or an id?)"
        )
    level = places(column, levels, "'{}' ({}) is not among its levels")
    cells = np.append(level, np.int32(len(levels)))[code]
    if np.any(code < 0):
        levels = (*levels, MISSING)
    return Attribute(name, kind, levels, cells)


def attribute_behind(known: Attribute, new: Attribute, whose: Sequence[str]) -> Attribute:
    """The cells of one attribute and those of another behind them, in the levels of the former.

    Args:
      whose: (N,) what the new cells are of, to tell of them.
    Raises:
      CrowdError: the latter has a level, or gaps, that the former does not have.
    """
    if known.kind == "numeric":
        cells = new.cells
        if np.isnan(cells).any() and not np.isnan(known.cells).any():
            raise CrowdError(
                f"ask: '{known.name}' of {as_shown(whose[int(np.argmax(np.isnan(cells)))])} is "
                "missing, and of nothing in the run; fill it in"
            )
        return replace(known, cells=np.concatenate([known.cells, cells]))
    place = {level: i for i, level in enumerate(known.levels)}
    names = [new.levels[cell] for cell in new.cells]
    odd = next((name for name in names if name not in place), None)
    if odd is not None:
        there = [level for level in known.levels if level != MISSING]
        raise CrowdError(
            f"ask: nothing in the run has '{known.name}' {odd}, as "
            f"{as_shown(whose[names.index(odd)])} has; there are: "
            f"{', '.join(map(as_shown, there))}{did_you_mean(odd, there)}"
        )
    cells = np.array([place[name] for name in names], known.cells.dtype)
    return replace(known, cells=np.concatenate([known.cells, cells]))


def places(column: Column, names: Sequence[str], fault: str) -> np.ndarray:
    """(distinct,) where each text of a column stands among `names`; refuse one that does not.

    Args:
      fault: what is wrong with a text and the rows it is in.
    """
    index = {name: i for i, name in enumerate(names)}
    for i, text in enumerate(column.distinct):
        if text not in index:
            told = fault.format(text, column.rows_of(i))
            hint = did_you_mean(text, names)
            raise CrowdError(f"{column.where}: {told}: {', '.join(map(as_shown, names))}{hint}")
    return np.array([index[text] for text in column.distinct], np.int32)


def _natural(text: str) -> tuple[int, int, str]:
    """Sort 2 before 10, and numbers before words."""
    return (0, int(text), text) if text.isdecimal() and len(text) < 19 else (1, 0, text)


def entities_of(column: Column, *, own_table: bool) -> Entities:
    """The ids in a column.

    Args:
      own_table: the table describes them, so that each may stand in one row alone.
    Raises:
      CrowdError: a row without an id, or a second row of one.
    """
    if np.any(column.codes < 0):
        raise CrowdError(column.no_id())
    if own_table and len(column.distinct) < len(column.codes):
        count = np.bincount(column.codes)
        twice = int(np.argmax(count > 1))
        raise CrowdError(
            f"{column.where}: id '{column.distinct[twice]}' stands in "
            f"{column.rows_of(twice)}; keep one row per id"
        )
    order = sorted(range(len(column.distinct)), key=lambda i: _natural(column.distinct[i]))
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return Entities(tuple(column.distinct[i] for i in order), rank[column.codes])


def as_they_stand(column: Column) -> Entities:
    """The ids in a column in the order in which they first stand there, each in any number of rows.

    Raises:
      CrowdError: a row without an id.
    """
    entities = entities_of(column, own_table=False)
    order = np.argsort(first_rows(entities))
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return Entities(tuple(entities.ids[i] for i in order), rank[entities.of_row])


def first_rows(entities: Entities) -> np.ndarray:
    """(N,) the row in which each id stands first."""
    return np.unique(entities.of_row, return_index=True)[1]
