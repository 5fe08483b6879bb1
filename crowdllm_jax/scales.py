"""Answer formats: how a decision is written, and which numbers it stands for.

Inside the package an answer on a discrete scale is a *level*, an integer from 0 to K - 1; `values`
says which number each level stands for, and `written` how the data writes it. A written answer is
a level by its text, its label or its number; no text means two levels (`check`). A continuous
answer is its own value. A *ballot* groups all tasks of its scale: what a voter may give to one
project depends on what they gave to the others (`ballots`).
"""

import math
from collections.abc import Callable
from typing import Literal

import msgspec
import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.level_numbers import increasing, leading_number, number, numbers_of


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
            if isinstance(scale, Ordinal) and (fault := _odd_numbers(levels)):
                fail(fault)
            if fault := _ambiguous(scale) or _shuffled(scale):
                fail(fault)
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


def _odd_numbers(levels: tuple[int | float | str, ...]) -> str | None:
    """What is wrong with the numbers of an ordinal scale's levels, and the remedy."""
    own = [leading_number(str(level)) for level in levels]
    known = [found for found in own if found is not None]
    plain = any(number(str(level)) is not None for level in levels)
    if len(known) < len(levels):
        if not plain:
            return None
        word = next(level for level, found in zip(levels, own, strict=True) if found is None)
        numbers = ", ".join("?" if found is None else f"{found:g}" for found in own)
        words = ", ".join(f'"{level}"' for level in levels)
        return (
            f"levels mix numbers and words, and '{word}' has no number; give every level its number"
            f" (in place of each ?) and the words as labels: levels: [{numbers}], labels: [{words}]"
        )
    falls = increasing([-found for found in known])
    if not increasing(known) and (plain or falls):
        negated = {0 - found for found in known}
        return "the numbers of an ordinal scale's levels must increase; list the lowest first" + (
            ""
            if negated & set(known) - {0.0}
            else "; if a lower number means more, give negative numbers as levels and what stands "
            f"here as labels: {_negated(levels, known)}"
        )
    return None


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


def _ambiguous(scale: "Ordinal | Nominal | Binary") -> str | None:
    """A text that would be two levels, and the remedy."""
    codes = [str(level) for level in scale.levels]
    own = numbers_of(scale.levels, ordered=isinstance(scale, Ordinal))
    by_text: dict[str, int] = {}
    by_number = {found: level for level, found in enumerate(own)}
    for texts in (codes, labels(scale)):
        for level, text in enumerate(texts):
            plain = number(text)
            also = level if plain is None else by_number.get(plain, level)
            for other in (by_text.setdefault(text, level), also):
                if other != level:
                    return (
                        f"'{text}' would be an answer of level '{codes[level]}' and of level "
                        f"'{codes[other]}'; change the label (or level) that is written so"
                    )
    return None


def parse(scale: Scale, token: str) -> float | None:
    """Read one written answer; see `reader`."""
    return reader(scale)(token)


def reader(scale: Scale) -> Callable[[str], float | None]:
    """What reads written answers on a scale.

    Returns:
      a function from a text to the level (discrete) or the value (continuous); to None if the text
      is no answer on this scale. A level's text, its label and its number (`7.0` for 7) are one.
    """
    if isinstance(scale, Continuous):
        low, high = scale.low, scale.high

        def read_number(token: str) -> float | None:
            found = number(token)
            return found if found is not None and low <= found <= high else None

        return read_number
    by_text: dict[str, int] = {}
    by_number: dict[float | None, int] = {}
    own = numbers_of(written(scale), ordered=isinstance(scale, Ordinal))
    for level, (code, label) in enumerate(zip(written(scale), labels(scale), strict=True)):
        by_text |= {label: level, str(code): level}
        by_number[own[level]] = level

    def read_level(token: str) -> float | None:
        if token in by_text:
            return by_text[token]
        found = number(token)
        return None if found is None else by_number.get(found)

    return read_level


def describe(scale: Scale) -> str:
    """One line for people."""
    match scale:
        case Continuous(low=low, high=high):
            return f"continuous, {low:g} to {high:g}"
        case KApproval(k=k):
            return f"k_approval ballot, exactly {k} approved"
        case Ranking(k=k):
            return f"ranking ballot, best {k} ranked (1 for the best to {k}, 0 for the others)"
        case Points(budget=budget):
            return f"points ballot, {budget} to share"
        case Approval():
            return "approval ballot"
        case _:
            codes = tuple(str(level) for level in written(scale))
            named = "" if labels(scale) == codes else f" (labels: {', '.join(labels(scale))})"
            return f"{kind(scale)}, {size(scale)} levels: {', '.join(codes)}{named}"


def counted(scale: Scale) -> tuple[str, ...]:
    """Each level for people: as it is written, its label, and the number it counts as; empty for a
    continuous scale."""
    shown = []
    for code, label, value in zip(written(scale), labels(scale), values(scale), strict=True):
        name = str(code) if label == str(code) else f"{code} ({label})"
        plain = isinstance(scale, Nominal) or number(str(code)) == value
        shown.append(name if plain else f"{name} = {value:g}")
    return tuple(shown)


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
