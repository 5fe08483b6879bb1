"""Real people of whom the profile is known, and the columns that it makes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.study.coding import recode
from crowdllm_jax.study.csv_file import Dialect
from crowdllm_jax.study.ids import MISSING, Entities, attribute_of, entities_of
from crowdllm_jax.study.missing import drop_missing
from crowdllm_jax.study.question_tables import columns_there
from crowdllm_jax.study.records import Attribute
from crowdllm_jax.study.spec import AttributeSpec, StudySpec, attribute_spec
from crowdllm_jax.study.tables import Column, read_table


@dataclass(frozen=True)
class KnownProfiles:
    """Real people of whom the profile is known: attributes of N cells, and (N,) weights."""

    attributes: tuple[Attribute, ...]
    weight: np.ndarray


def regressors(
    attributes: tuple[Attribute, ...], names: tuple[str, ...], people: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Columns of a regression and what they are called; without names, that of a mean.

    A number is a column in its own units, an ordinal attribute one that counts its levels from 1, a
    categorical one a column for each level but the first. NaN where a number or an ordinal level is
    missing.

    Returns:
      (people, k) float64, the first column all ones.
    """
    by_name = {attribute.name: attribute for attribute in attributes}
    columns, terms = [np.ones(people)], ["intercept"]
    for name in names:
        if name not in by_name:
            raise CrowdError(
                f"--regress: profiles have no attribute '{name}'; they have: "
                f"{', '.join(by_name) or 'none'}"
            )
        if names.count(name) > 1:
            raise CrowdError(f"--regress: '{name}' stands there twice")
        attribute = by_name[name]
        if attribute.kind == "categorical":
            for cell, level in enumerate(attribute.levels[1:], start=1):
                columns.append((attribute.cells == cell).astype(float))
                terms.append(f"{name}={level}")
            continue
        cells = attribute.cells.astype(float)
        if attribute.kind == "ordinal":
            absent = np.array([level == MISSING for level in attribute.levels])[attribute.cells]
            cells = np.where(absent, np.nan, cells + 1)
        columns.append(cells)
        terms.append(name)
    return np.stack(columns, axis=1), tuple(terms)


def read_profiles(
    path: Path, crowd: Crowd, study: StudySpec | str | None, weight: str | None = None
) -> KnownProfiles:
    """Read real people's profiles, a row each, in the columns of the study a crowd was fitted on.

    Raises:
      CrowdError: a column is not there, a cell is none that the crowd knows, or ids that the table
        has as the study has them stand in several rows.
    """
    specs, dialect = _columns(crowd, study)
    key = _key(study)
    if key in columns_there(path, [key], dialect):
        ids = read_table(path, [key], dialect=dialect)[key]
        count = np.bincount(ids.codes[ids.codes >= 0], minlength=1)
        if count.max() > 1:
            twice = int(np.argmax(count > 1))
            raise CrowdError(
                f"{ids.where}: '{ids.distinct[twice]}' stands in {ids.rows_of(twice)}; --profiles "
                "takes a row per person: keep one, or rename the column if these are several people"
            )
    names = [*specs, *([weight] if weight and weight not in specs else [])]
    if not specs:
        raise CrowdError("--profiles: the study knows nothing of people, so profiles say nothing")
    table = read_table(path, names, dialect=dialect)
    if isinstance(study, StudySpec):
        table = {n: drop_missing(study, "participants", n, table[n]) for n in names}
    n = len(table[names[0]].codes)
    rows = Entities(tuple(map(str, range(2, n + 2))), np.arange(n))
    attributes = tuple(
        attribute_of(name, spec, table[name], rows, "row") for name, spec in specs.items()
    )
    weights = np.ones(n)
    if weight:
        _check_numbers(table[weight])
        weights = attribute_of(weight, "numeric", table[weight], rows, "row").cells
        bad = np.isnan(weights) | (weights < 0)
        if bad.any():
            raise CrowdError(
                f"{table[weight].where}: row {rows.ids[int(np.argmax(bad))]} has no "
                "weight of 0 or more"
            )
    return KnownProfiles(_known(path, crowd, attributes), weights)


def _check_numbers(weight: Column) -> None:
    """Raise CrowdError if a column of weights holds words, which no other kind could make right."""
    for code, text in enumerate(weight.distinct):
        if weight.number(code) is None:
            raise CrowdError(
                f"--weight: {weight.where}: '{text}' ({weight.rows_of(code)}) is no number; name "
                "the column that holds people's weights"
            )


def read_people(
    path: Path, crowd: Crowd, study: StudySpec | str | None
) -> tuple[tuple[str, ...], tuple[Attribute, ...]]:
    """Read the ids and profiles of people who have answered nothing, a row each, in the columns of
    the study a crowd was fitted on.

    Returns:
      N ids, and attributes of N cells in the crowd's levels.
    Raises:
      CrowdError: a column is not there, somebody stands there twice, or a cell is none that the
        crowd knows.
    """
    specs, dialect = _columns(crowd, study)
    key = _key(study)
    table = read_table(path, [key, *specs], dialect=dialect)
    if isinstance(study, StudySpec):
        table |= {n: drop_missing(study, "participants", n, table[n]) for n in specs}
    people = entities_of(table[key], own_table=True)
    attributes = tuple(
        attribute_of(name, spec, table[name], people, "person") for name, spec in specs.items()
    )
    return people.ids, _known(path, crowd, attributes)


def _key(study: StudySpec | str | None) -> str:
    """What the study calls the column of people's ids."""
    if not isinstance(study, StudySpec):
        return "participant"
    return study.participants.participant or study.responses.participant


def _known(path: Path, crowd: Crowd, attributes: tuple[Attribute, ...]) -> tuple[Attribute, ...]:
    """Attributes of a table in the levels that the crowd knows."""
    try:
        return recode(crowd.codings, attributes)
    except CrowdError as error:
        raise CrowdError(f"{path}: {error}") from error


def _columns(
    crowd: Crowd, study: StudySpec | str | None
) -> tuple[Mapping[str, AttributeSpec], Dialect]:
    """The profile columns of the study a crowd was fitted on, and how its files are written."""
    if not isinstance(study, StudySpec):
        # A study that comes with a package has no columns; these are the defaults.
        return {c.name: attribute_spec(c.kind, c.levels) for c in crowd.codings}, Dialect()
    return study.participants.profile, study.later_dialect()
