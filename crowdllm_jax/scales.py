"""Answer formats: how a decision is written, and which numbers it stands for.

Inside the package an answer on a discrete scale is a *level*, an integer from 0 to K - 1; `values`
says which number each level stands for, and `label` how the data writes it. A continuous answer is
its own value. A *ballot* groups all tasks of its scale: what a voter may give to one project
depends on what they gave to the others (`check_ballots`).
"""

import math
from typing import Literal

import msgspec
import numpy as np

from crowdllm_jax.errors import CrowdError


class _Scale(msgspec.Struct, frozen=True, tag_field="kind", forbid_unknown_fields=True):
    """What the kinds have in common as entries of a study file."""


class Ordinal(_Scale, frozen=True, kw_only=True, tag="ordinal"):
    """K ordered levels. Numbers keep their own value; words count 1, 2, ... K."""

    levels: tuple[int | float | str, ...]
    labels: tuple[str, ...] = ()


class Nominal(_Scale, frozen=True, kw_only=True, tag="nominal"):
    """K levels without an order."""

    levels: tuple[int | float | str, ...]
    labels: tuple[str, ...] = ()


class Binary(_Scale, frozen=True, kw_only=True, tag="binary"):
    """Two levels; the first counts 0, the second 1."""

    levels: tuple[int | float | str, ...] = (0, 1)
    labels: tuple[str, ...] = ()


class Continuous(_Scale, frozen=True, kw_only=True, tag="continuous"):
    """Any number from low to high."""

    low: float
    high: float


class Approval(_Scale, frozen=True, kw_only=True, tag="approval"):
    """A ballot: each project is approved (1) or not (0), as many as one likes."""


class KApproval(_Scale, frozen=True, kw_only=True, tag="k_approval"):
    """A ballot: exactly k projects are approved (1), the others not (0)."""

    k: int


class Ranking(_Scale, frozen=True, kw_only=True, tag="ranking"):
    """A ballot: the k best projects are ranked 1 (best) to k; the others are 0 or left out.

    A level counts Borda points, so the best of k has level k and an unranked project level 0.
    """

    k: int


class Points(_Scale, frozen=True, kw_only=True, tag="points"):
    """A ballot: a budget of whole points, all of it shared among the projects."""

    budget: int


Ballot = Approval | KApproval | Ranking | Points
Scale = Ordinal | Nominal | Binary | Continuous | Ballot
Kind = Literal[
    "ordinal", "nominal", "binary", "continuous", "approval", "k_approval", "ranking", "points"
]


def kind(scale: Scale) -> Kind:
    """The scale's name in a study file."""
    return scale.__struct_config__.tag  # type: ignore[return-value]


def is_ballot(scale: Scale) -> bool:
    return isinstance(scale, Ballot)


def values(scale: Scale) -> np.ndarray:
    """Numbers the levels stand for, increasing; of a continuous scale, its two ends.

    Returns:
      (K,) float64.
    """
    match scale:
        case Ordinal(levels=levels):
            numeric = not any(isinstance(level, str) for level in levels)
            return np.asarray(levels if numeric else range(1, len(levels) + 1), np.float64)
        case Nominal(levels=levels):
            return np.arange(len(levels), dtype=np.float64)
        case Continuous(low=low, high=high):
            return np.array([low, high], np.float64)
        case Ranking(k=k):
            return np.arange(k + 1, dtype=np.float64)
        case Points(budget=budget):
            return np.arange(budget + 1, dtype=np.float64)
        case _:
            return np.array([0.0, 1.0])


def written(scale: Scale) -> tuple[int | float | str, ...]:
    """How the data writes each level, in level order; empty for a continuous scale."""
    match scale:
        case Ordinal(levels=levels) | Nominal(levels=levels) | Binary(levels=levels):
            return levels
        case Continuous():
            return ()
        case Ranking(k=k):
            return (0, *range(k, 0, -1))
        case _:
            return tuple(int(v) for v in values(scale))


def labels(scale: Scale) -> tuple[str, ...]:
    """What a person is shown for each level, in level order; empty for a continuous scale."""
    named = getattr(scale, "labels", ())
    return named or tuple(str(level) for level in written(scale))


def size(scale: Scale) -> int:
    """K, the number of levels; 0 for a continuous scale."""
    return len(written(scale))


def check(scale: Scale, where: str) -> None:
    """Raise CrowdError unless the scale's own numbers make sense; `where` names it."""

    def fail(what: str) -> None:
        raise CrowdError(f"{where}: {what}")

    match scale:
        case Ordinal(levels=levels) | Nominal(levels=levels) | Binary(levels=levels):
            if isinstance(scale, Binary) and len(levels) != 2:
                fail(f"a binary scale has 2 levels, not {len(levels)}")
            if not 2 <= len(levels) <= 1000:
                fail(f"{len(levels)} levels; give 2 to 1000")
            if any(isinstance(level, float) and not math.isfinite(level) for level in levels):
                fail("levels must be finite numbers or words")
            if len({str(level) for level in levels}) < len(levels):
                fail("a level stands there twice")
            named = scale.labels
            if named and len(named) != len(levels):
                fail(f"{len(named)} labels for {len(levels)} levels; give one each, or none")
            words = {isinstance(level, str) for level in levels}
            if len(words) == 2:
                fail("levels mix numbers and words; quote the numbers or drop the words")
            if isinstance(scale, Ordinal) and words == {False} and np.any(np.diff(levels) <= 0):
                fail("numeric levels of an ordinal scale must increase")
        case Continuous(low=low, high=high):
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                fail(f"low ({low}) must be below high ({high}), both finite")
        case KApproval(k=k) | Ranking(k=k):
            if not 1 <= k <= 1000:
                fail(f"k is {k}; give 1 to 1000")
        case Points(budget=budget):
            if not 1 <= budget <= 1000:
                fail(f"budget is {budget}; give 1 to 1000 whole points")
        case _:
            pass


def parse(scale: Scale, token: str) -> float | None:
    """Read one written answer.

    Returns:
      the level (discrete) or the value (continuous); None if the token is no answer on this scale.
    """
    found = number(token)
    if isinstance(scale, Continuous):
        return found if found is not None and scale.low <= found <= scale.high else None
    for level, text in enumerate(written(scale)):
        if token == str(text):
            return level
        if not isinstance(text, str) and found is not None and found == text:
            return level
    return None


def number(token: str) -> float | None:
    """Read a plain finite number; None for anything else."""
    try:
        found = float(token)
    except ValueError:
        return None
    # float() also takes "nan", "inf", "1_000" and blanks around; a data file that holds these
    # more likely holds a mistake than a number.
    plain = token.isascii() and "_" not in token and token == token.strip()
    return found if plain and math.isfinite(found) else None


def describe(scale: Scale) -> str:
    """One line for people."""
    match scale:
        case Continuous(low=low, high=high):
            return f"continuous, {low:g} to {high:g}"
        case KApproval(k=k):
            return f"k_approval ballot, exactly {k} approved"
        case Ranking(k=k):
            return f"ranking ballot, best {k} ranked"
        case Points(budget=budget):
            return f"points ballot, {budget} to share"
        case Approval():
            return "approval ballot"
        case _:
            return f"{kind(scale)}, {size(scale)} levels: {', '.join(labels(scale))}"


def ballot_fault(scale: Scale, ballots: np.ndarray) -> np.ndarray:
    """Which ballots break their rule.

    Args:
      scale: a ballot scale.
      ballots: (N, T) levels, every task of the ballot; -1 where a voter left a task out.
    Returns:
      (N,) bool.
    """
    given = np.maximum(ballots, 0)
    match scale:
        case KApproval(k=k):
            return given.sum(1) != k
        case Ranking(k=k):
            ranked = np.sort(given, axis=1)[:, -k:] if given.shape[1] >= k else None
            if ranked is None:
                return np.ones(len(given), bool)
            wrong = np.any(ranked != np.arange(1, k + 1), axis=1)
            return wrong | ((given > 0).sum(1) != k)
        case Points(budget=budget):
            return given.sum(1) != budget
        case _:
            return np.zeros(len(ballots), bool)


def codes(scale: Scale) -> np.ndarray | None:
    """The number that stands for each level in a population's files; None if continuous.

    It is the level's value, except that a ranking is written as ranks (0 for unranked).
    """
    if isinstance(scale, Continuous):
        return None
    if isinstance(scale, Ranking):
        return np.asarray(written(scale), np.float64)
    return values(scale)
