"""Which numbers texts stand for: `7`, `7.0`, and the 7 of a level `7 - very likely`."""

import math
import re
from itertools import pairwise
from numbers import Integral
from typing import Any

from crowdllm_jax.errors import CrowdError

BEGINS_WITH = re.compile(
    r"[(\[]?([+\-\u2212]?[0-9]+(?:\.[0-9]+)?)(?![^\W_])"
    r"(?:[^0-9]*|\s*[-\u2013\u2014:=.)\]]+\s*[^\W0-9_].*|\s*(?:[=)\]]|[:.](?=\s)).*)",
    re.DOTALL,
)
"""A number and words after it: `0 - never`, `1. low`, `5+`, `[3] often`, `4: the top 10%`.

A second number makes it an amount instead (`18-24`, `10 to 20 minutes`), unless a sign and a word
stand between the two, or a sign that ends a code: `2) 18-24`, `2 = 18-24`, `2: 18-24`."""


def number(token: str) -> float | None:
    """Read a plain finite number; None for anything else."""
    try:
        value = float(token)
    except ValueError:
        return None
    # float() also takes "nan", "inf", "1_000" and blanks around; a data file that holds these
    # more likely holds a mistake than a number.
    plain = token.isascii() and "_" not in token and token == token.strip()
    return value if plain and math.isfinite(value) else None


def check_seed(seed: Any, key: str = "seed") -> None:
    """Raise CrowdError unless it is a whole number (a truth value is none) that may be a seed."""
    whole = isinstance(seed, Integral) and not isinstance(seed, bool)
    if not whole or not 0 <= seed < 2**63:
        raise CrowdError(f"{key}: {seed} is not a whole number from 0 to 2**63 - 1")


def leading_number(text: str) -> float | None:
    """The number that a level is, or begins with; None where it has none."""
    plain = number(text)
    if plain is not None:
        return plain
    begins = BEGINS_WITH.fullmatch(text)
    return None if begins is None else number(begins[1].replace("\u2212", "-"))


def numbers_of(levels: tuple[int | float | str, ...], *, ordered: bool) -> list[float | None]:
    """The number that each level is known by, besides its text.

    The numbers that levels begin with are taken if all levels have one and the numbers differ (if
    the levels are ordered: increase), since only then are they codes; else those that are numbers
    and nothing more.
    """
    begin = [leading_number(str(level)) for level in levels]
    numbers = [leading for leading in begin if leading is not None]
    if len(numbers) == len(levels) and (
        increasing(numbers) if ordered else len(set(numbers)) == len(numbers)
    ):
        return list(begin)
    return [number(str(level)) for level in levels]


def increasing(numbers: list[float]) -> bool:
    """Whether each number is above the one before."""
    return all(low < high for low, high in pairwise(numbers))
