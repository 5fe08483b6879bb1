"""Codes that mean "no answer": 9, 99, -1, "Prefer not to say", each where the study file lists it.

Surveys use another code by variable, so that a list for all columns may swallow what is an answer
in one of them. Where that looks so, a warning says it.
"""

import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np

from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.runtime import numerals
from crowdllm_jax.runtime.names import as_shown
from crowdllm_jax.study.spec import Codes, StudySpec
from crowdllm_jax.study.tables import Column, without

Role = Literal["responses", "tasks", "participants", "alternatives"]


def drop_missing(spec: StudySpec, role: Role, name: str, column: Column) -> Column:
    """A column of one of the study's tables in which the codes listed for it are missing."""
    for_all, for_column = codes(spec, role, name)
    # What is listed for the column itself is taken first: it is meant.
    column = without(column, lambda text: is_among(text, for_column), broad=False)
    return without(column, lambda text: is_among(text, for_all), broad=True)


def codes(spec: StudySpec, role: Role, *names: str) -> tuple[Codes, Codes]:
    """The codes listed for the whole study or table, and for one column (or scale) alone."""
    listed = getattr(spec, role).missing
    if not isinstance(listed, dict):
        return (*spec.missing, *listed), ()
    return spec.missing, tuple(code for name in names for code in listed.get(name, ()))


def is_among(text: str, listed: Codes) -> bool:
    """Whether a cell's text is listed: as a text, or as a number of its value."""
    if not listed:
        return False
    number = numerals.number(text)
    return any(text == c if isinstance(c, str) else number == c for c in listed)


def check_lists(spec: StudySpec, role: Role, columns: Sequence[str]) -> None:
    """Raise CrowdError if codes are listed for a column that the role does not read."""
    listed = getattr(spec, role).missing
    if not isinstance(listed, dict):
        return
    columns_read = [*columns, *(spec.scales if role == "responses" else ())]
    odd = [name for name in listed if name not in columns_read]
    if odd:
        what = "column or scale" if role == "responses" else "column"
        raise CrowdError(
            f"study.{role}.missing.{odd[0]}: the study reads no such {what} here; it reads: "
            f"{', '.join(map(as_shown, columns_read))}"
        )


def warn_of_numbers(column: Column, numbers: np.ndarray, key: str) -> None:
    """Warn if a code listed for many columns might be a value of this one.

    It might if it lies among the other values, or at most an eighth of their range beyond, and is
    not negative where none of them is.

    Args:
      numbers: the column's other values. key: the study file's key of codes for it alone.
    """
    if not len(numbers):
        return
    low, high = numbers.min(), numbers.max()
    near = (high - low) / 8
    floor = max(low - near, 0.0) if low >= 0 else low - near
    for text in column.emptied:
        value = numerals.number(text)
        if value is not None and floor <= value <= high + near:
            warn_of_level(column, text, f"the other values are {low:g} to {high:g}", key)


def warn_of_level(column: Column, text: str, what: str, key: str) -> None:
    """Warn that a code listed for many columns may be an answer in this one; `what` says why."""
    warnings.warn(
        f"{column.where}: '{text}' counts as missing, but might be an answer ({what}); list it for "
        f"the columns (or scales) alone in which it means that there is none: {key}",
        CrowdWarning,
        stacklevel=3,
    )
