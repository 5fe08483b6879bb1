"""Answer formats: how a decision is written, and which numbers it stands for.

Inside the package an answer on a discrete scale is a *level*, an integer from 0 to K - 1; `values`
says which number each level stands for, and `written` how the data writes it. A written answer is
a level by its text, its label or its number; no text means two levels (`check`). A continuous
answer is its own value. A *ballot* groups all tasks of its scale: what a voter may give to one
project depends on what they gave to the others (`ballots`).
"""

from collections.abc import Callable, Iterable

import msgspec
import numpy as np

from crowdllm_jax.runtime.numerals import numbers_of


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


Categorical = Ordinal | Nominal | Binary
"""Scales whose levels the study file lists; each task is answered by itself, with one of them."""

Joint = KApproval | Ranking | Points
"""Ballots whose tasks cannot be answered one at a time."""

Ballot = Approval | Joint
Scale = Categorical | Continuous | Ballot


def kind(scale: Scale) -> str:
    """The scale's name in a study file."""
    return str(scale.__struct_config__.tag)


def is_ballot(scale: Scale) -> bool:
    """Whether the scale's tasks are one ballot."""
    return isinstance(scale, Ballot)


def is_joint(scale: Scale) -> bool:
    """Whether what is answered to one task limits what may be answered to the others."""
    return isinstance(scale, Joint)


def is_continuous(scale: Scale) -> bool:
    """Whether an answer is a value of its own, not one of K levels."""
    return isinstance(scale, Continuous)


def is_ordered(scale: Scale) -> bool:
    """Whether answers have an order, so that their numbers have a mean."""
    return not isinstance(scale, Nominal)


def which(holds: Callable[[Scale], bool], several: Iterable[Scale]) -> np.ndarray:
    """(S,) bool: of which of some scales something holds, such as `is_continuous`."""
    return np.fromiter(map(holds, several), bool)


def values(scale: Scale) -> np.ndarray:
    """Numbers the levels stand for, increasing; of a continuous scale, its two ends.

    Returns:
      (K,) float64.
    """
    match scale:
        case Ordinal(levels=levels):
            numbers = numbers_of(levels, ordered=True)
            return np.asarray(range(1, len(levels) + 1) if None in numbers else numbers, np.float64)
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


def numbers(scale: Scale, answers: np.ndarray) -> np.ndarray:
    """The numbers that answers stand for: those of levels (NaN of -1, no answer), and values as
    they are; same shape."""
    if is_continuous(scale):
        return answers
    number: np.ndarray = values(scale)[answers.astype(np.int64)]
    none = answers < 0
    return np.where(none, np.nan, number) if none.any() else number


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
    named = (scale.labels if isinstance(scale, Categorical) else ()) or codes
    return tuple(label or code for label, code in zip(named, codes, strict=True))


def size(scale: Scale) -> int:
    """K, the number of levels; 0 for a continuous scale."""
    return len(written(scale))


def fewest_tasks(scale: Scale) -> int:
    """Tasks without which a ballot cannot keep its rule."""
    return scale.k if isinstance(scale, KApproval | Ranking) else 0


def ballot_fault(scale: Scale, ballots: np.ndarray) -> np.ndarray:
    """Which ballots break their rule.

    Args:
      scale: a ballot scale.
      ballots: (N, T) levels, every task of the ballot.
    Returns:
      (N,) bool.
    """
    fault: np.ndarray = np.zeros(len(ballots), bool)
    match scale:
        case KApproval(k=k):
            fault = ballots.sum(1) != k
        case Ranking(k=k) if ballots.shape[1] < k:
            fault = np.ones(len(ballots), bool)
        case Ranking(k=k):
            ranked = np.sort(ballots, axis=1)[:, -k:]
            fault = np.any(ranked != np.arange(1, k + 1), axis=1) | ((ballots > 0).sum(1) != k)
        case Points(budget=budget):
            fault = ballots.sum(1) != budget
    return fault
