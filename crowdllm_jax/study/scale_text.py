"""How an answer is written: levels parsed from text, scales checked and described."""

import math
from collections.abc import Callable

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.numerals import increasing, leading_number, number, numbers_of
from crowdllm_jax.study.scales import (
    Approval,
    Binary,
    Continuous,
    KApproval,
    Nominal,
    Ordinal,
    Points,
    Ranking,
    Scale,
    _negated,
    _shuffled,
    kind,
    labels,
    size,
    values,
    written,
)


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
