"""Numbers of a question that stand for no answer: -9, 99, or an 8 beside 1 to 5."""

import math
from collections.abc import Iterable, Sequence, Set
from typing import NoReturn

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.numerals import number

MOST_LEVELS = 21
"""Of a scale of numbers; a wider range is counted, or measured."""
NEGATIVE = {-1.0, -2.0, -3.0, -7.0, -8.0, -9.0, -77.0, -88.0, -98.0, -99.0, -999.0}
CODES = {77.0, 88.0, 97.0, 98.0, 99.0, 777.0, 888.0, 997.0, 998.0, 999.0, 9999.0}


def digits_amid(texts: Iterable[str], listed: Set[float | None]) -> set[float]:
    """Of numbers that are said to mean no answer those of one digit that stand amid the others: the
    9 that is no answer from 1 to 4 is one from 0 to 10."""
    others = {value for text in texts if (value := number(text)) is not None} - listed
    if len(others) < 2:
        return set()
    return {n for n in listed if n is not None and 0 < n < 10 and min(others) < n < max(others)}


def missing_codes(name: str, numbers: Sequence[float]) -> set[float]:
    """Numbers far from all others that surveys use where there is no answer.

    Raises:
      CrowdError: one may be either.
    """
    usual = [n for n in numbers if 0 <= n < 77]
    whole = all(float(n).is_integer() for n in numbers)
    if whole and len(usual) >= 2 and max(usual) - min(usual) >= MOST_LEVELS:
        return _codes_beside_counts(numbers)
    if not whole:
        return _codes_beside_decimals(numbers)
    if len(usual) < 2:
        return _codes_beside_counts(numbers)
    negative = {n for n in numbers if n < 0}
    # Among heights from 60 to 75 inches a 77 is one of them.
    beyond = 2 * max(usual) - min(usual)
    far = {n for n in numbers if n in CODES and n > beyond} | negative
    usual = sorted(set(numbers) - far)
    if any(n >= 77 and n not in CODES for n in usual):
        return set()
    if negative and _from_below_zero(name, negative, usual):
        return far - negative  # -2, -1, 0, 1, 2
    codes = _last_codes(usual)
    if codes:
        _ask_of_codes(name, codes, [n for n in usual if n not in codes])
    return far


def _from_below_zero(name: str, negative: set[float], usual: Sequence[float]) -> bool:
    """Whether a scale goes from numbers below zero to those above, as a balance from -3 to 3 does;
    where all its numbers are above, those below are codes (-1 to -5, -32, -99).

    Raises:
      CrowdError: it may be either.
    """
    known, inside = negative <= NEGATIVE, min(negative) >= -max(usual)
    run = negative == set(range(-len(negative), 0))
    whole = run and 2 * len(negative) >= len(usual)
    near = {n for n in negative - NEGATIVE if -NEAR * max(usual) <= n < -9}
    strange = bool(near) and len(negative) > 1  # what a slider may say
    even = max(np.diff([*sorted(negative), 0.0])) <= MOST_STEP
    if min(usual) > 0:
        # The other half of a scale without a middle looks like three codes beside 1 to 3.
        mirrored = len(usual) > 2 and negative == {-n for n in usual}
        unsure = mirrored or (inside and not known and max(usual) > len(usual))
        unsure = unsure or strange or (run and len(negative) > 3)
        # Several codes begin at -1.
        first = -1.0 in negative or known or min(negative) < LOWEST_ANSWER
        unsure = unsure or (len(negative) > 1 and not first)
    else:
        steps = math.gcd(*(int(n) for n in (*negative, *usual)))
        if steps > 4 and len(negative) > 1:
            return True  # -20, -10, 0, 10: no codes lie so
        if whole or (inside and even and 2 * len(negative) >= max(usual)):
            return True
        unsure = strange or (not known and min(negative) > LOWEST_ANSWER)
    if not known and len(negative) > MOST_CODES:
        return True
    if unsure:
        _ask_of_codes(name, sorted(negative), usual)
    return False


def _ask_of_codes(name: str, codes: Sequence[float], others: Sequence[float]) -> NoReturn:
    """Raise CrowdError: numbers are answers, or the codes of none."""
    listed = ", ".join(f"{code:g}" for code in codes)
    between = "=" if codes[0] < 0 else " "  # what begins with a dash looks like a flag
    asked = f"is {listed} an answer, or the code" if len(codes) == 1 else ""
    asked = asked or f"are {listed} answers, or the codes"
    raise CrowdError(
        f"'{name}': {asked} of none (the others are {min(others):g} to {max(others):g})? Say "
        f"--missing{between}{listed.replace(' ', '')}, or --missing none"
    )


MOST_STEP, LOWEST_ANSWER, NEAR = 2, -21, 3
"""How far apart answers below zero lie; the lowest of a scale beside 0; how much farther than the
highest the lowest may lie."""
MOST_CODES = 5
FAR = {777.0, 888.0, 7777.0, 8888.0} | {
    float(10**digits - last) for digits in range(3, 10) for last in (1, 2, 3)
}
"""997 to 999, 9997 to 9999, and so on."""


def _codes_beside_counts(numbers: Sequence[float]) -> set[float]:
    """A few negative codes, and 999 or the like, beside a wide range of whole numbers from 0 on."""
    negative = {n for n in numbers if n < 0}
    if not negative <= NEGATIVE or len(negative) > MOST_CODES:
        negative = set()
    others = [n for n in numbers if n >= 0 and n not in FAR]
    far = {n for n in numbers if n in FAR and len(others) > 1 and n >= 3 * max(others)}
    return negative | far


MANY_AMOUNTS = 20
_NINES = {99.0, 999.0, 9999.0, -99.0, -999.0, -9999.0}


def _codes_beside_decimals(numbers: Sequence[float]) -> set[float]:
    """A 99 or the like, several times as large as all other numbers."""
    known = _NINES | FAR
    others = [abs(n) for n in numbers if n not in known]
    far = {n for n in numbers if n in known and len(others) > 1 and abs(n) > 5 * max(others)}
    # Beside many amounts, of which none is below 0, a -9 is none either.
    above = [n for n in numbers if n >= 0]
    below = {n for n in numbers if n < 0}
    coded = below <= {n for n in NEGATIVE if n <= -7} and len(above) >= MANY_AMOUNTS
    return far | below if coded else far


def _last_codes(numbers: Sequence[float]) -> list[float]:
    """The 7, 8, 9 after a gap, of which the last is given, that may be codes of no answer."""
    codes = [max(numbers)]
    while codes[0] - 1 >= 7 and codes[0] - 1 in numbers:
        codes.insert(0, codes[0] - 1)
    others = [n for n in numbers if n < codes[0]]
    if codes[-1] not in (8.0, 9.0) or len(others) < 2:
        return []
    gap = codes[0] - max(others)
    complete = len(others) > 2 and len(others) == max(others) - min(others) + 1
    return codes if gap >= 3 or (gap == 2 and complete) else []
