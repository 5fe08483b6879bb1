"""Answer formats: how a decision is written, and which numbers it stands for.

Inside the package an answer on a discrete scale is a *level*, an integer from 0 to K - 1; `values`
says which number each level stands for, and `written` how the data writes it. A written answer is
a level by its text, its label or its number; no text means two levels (`check`). A continuous
answer is its own value. A *ballot* groups all tasks of its scale: what a voter may give to one
project depends on what they gave to the others (`ballots`).
"""

from typing import Literal

import msgspec
import numpy as np

from crowdllm_jax.runtime.numerals import leading_number, numbers_of


class _Scale(msgspec.Struct, frozen=True, tag_field="kind", forbid_unknown_fields=True):
    """What the kinds have in common as entries of a study file."""


class Ordinal(_Scale, frozen=True, kw_only=True, tag="ordinal"):
    """K ordered levels. Levels that are numbers, quoted or not, or all begin with theirs
    ("0 - never") count as these; words count 1, 2, ... K."""

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


Joint = KApproval | Ranking | Points
"""Ballots whose tasks cannot be answered one at a time."""

Ballot = Approval | Joint
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
            own = numbers_of(levels, ordered=True)
            return np.asarray(range(1, len(levels) + 1) if None in own else own, np.float64)
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
    """What a person is shown for each level, in level order; empty for a continuous scale.

    A level without a label (an empty one) is shown as it is written.
    """
    codes = tuple(str(level) for level in written(scale))
    named = getattr(scale, "labels", ()) or codes
    return tuple(label or code for label, code in zip(named, codes, strict=True))


def size(scale: Scale) -> int:
    """K, the number of levels; 0 for a continuous scale."""
    return len(written(scale))


def _negated(levels: tuple[int | float | str, ...], numbers: list[float]) -> str:
    """The same levels for a study file, counting the other way round."""
    turned = sorted(zip(numbers, levels, strict=True), key=lambda one: one[0], reverse=True)
    counts = ", ".join(f"{0 - number:g}" for number, _ in turned)
    words = ", ".join(f'"{level}"' for _, level in turned)
    return f"levels: [{counts}], labels: [{words}]"


def _shuffled(scale: "Ordinal | Nominal | Binary") -> str | None:
    """Labels that begin with the levels' own numbers in another order, and the remedy: a table of
    codes would then be read as the contrary."""
    own = numbers_of(scale.levels, ordered=isinstance(scale, Ordinal))
    begin = [leading_number(label) for label in labels(scale)]
    if None in own or set(begin) != set(own) or begin == own:
        return None
    level, label = next(
        (level, label)
        for level, label, begins in zip(own, labels(scale), begin, strict=True)
        if level != begins
    )
    return (
        f"level {level:g} has the label '{label}', which begins with another level's number; give "
        "each level the label of its own number"
    )


def ballot_fault(scale: Scale, ballots: np.ndarray) -> np.ndarray:
    """Which ballots break their rule.

    Args:
      scale: a ballot scale.
      ballots: (N, T) levels, every task of the ballot.
    Returns:
      (N,) bool.
    """
    match scale:
        case KApproval(k=k):
            return ballots.sum(1) != k
        case Ranking(k=k):
            ranked = np.sort(ballots, axis=1)[:, -k:] if ballots.shape[1] >= k else None
            if ranked is None:
                return np.ones(len(ballots), bool)
            wrong = np.any(ranked != np.arange(1, k + 1), axis=1)
            return wrong | ((ballots > 0).sum(1) != k)
        case Points(budget=budget):
            return ballots.sum(1) != budget
        case _:
            return np.zeros(len(ballots), bool)
