"""How an answer is written: levels parsed from text, scales checked and described."""

import math
from collections.abc import Callable
from operator import itemgetter

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.numerals import increasing, leading_number, number, numbers_of
from crowdllm_jax.study.scales import (
    Approval,
    Binary,
    Categorical,
    Continuous,
    KApproval,
    Nominal,
    Ordinal,
    Points,
    Ranking,
    Scale,
    kind,
    labels,
    size,
    values,
    written,
)


def check(scale: Scale, where: str) -> None:
    """Raise CrowdError unless the scale's own numbers make sense; `where` names it."""
    if (fault := _fault(scale)) is not None:
        raise CrowdError(f"{where}: {fault}")


def _fault(scale: Scale) -> str | None:
    """What is wrong with a scale's entry in a study file."""
    match scale:
        case Ordinal() | Nominal() | Binary():
            return _fault_of_levels(scale)
        case Continuous(low=low, high=high):
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                return f"low ({low}) must be below high ({high}), both finite"
        case KApproval(k=k) | Ranking(k=k):
            if not 1 <= k <= 1000:
                return f"k is {k}; give 1 to 1000"
        case Points(budget=budget):
            if not 1 <= budget <= 1000:
                return f"budget is {budget}; give 1 to 1000 whole points"
    return None


def _fault_of_levels(scale: Categorical) -> str | None:
    levels = scale.levels
    if isinstance(scale, Binary) and len(levels) != 2:
        return f"a binary scale has 2 levels, not {len(levels)}"
    if not 2 <= len(levels) <= 1000:
        return f"{len(levels)} levels; give 2 to 1000"
    if any(isinstance(level, float) and not math.isfinite(level) for level in levels):
        return "levels must be finite numbers or words"
    if len({str(level) for level in levels}) < len(levels):
        return "a level stands there twice"
    if scale.labels and len(scale.labels) != len(levels):
        return f"{len(scale.labels)} labels for {len(levels)} levels; give one each, or none"
    order = _odd_numbers(levels) if isinstance(scale, Ordinal) else None
    return order or _ambiguous(scale) or _shuffled(scale)


def _odd_numbers(levels: tuple[int | float | str, ...]) -> str | None:
    """What is wrong with the numbers of an ordinal scale's levels, and the remedy."""
    leading = [leading_number(str(level)) for level in levels]
    numbers = [value for value in leading if value is not None]
    plain = any(number(str(level)) is not None for level in levels)
    if len(numbers) < len(levels):
        if not plain:
            return None
        word = next(level for level, value in zip(levels, leading, strict=True) if value is None)
        listed = ", ".join("?" if value is None else f"{value:g}" for value in leading)
        words = ", ".join(f'"{level}"' for level in levels)
        return (
            f"levels mix numbers and words, and '{word}' has no number; give every level its number"
            f" (in place of each ?) and the words as labels: levels: [{listed}], labels: [{words}]"
        )
    falls = increasing([-value for value in numbers])
    if not increasing(numbers) and (plain or falls):
        negated = {0 - value for value in numbers}
        return "the numbers of an ordinal scale's levels must increase; list the lowest first" + (
            ""
            if negated & set(numbers) - {0.0}
            else "; if a lower number means more, give negative numbers as levels and what stands "
            f"here as labels: {_negated(levels, numbers)}"
        )
    return None


def _ambiguous(scale: Categorical) -> str | None:
    """A text that would be two levels, and the remedy."""
    codes = [str(level) for level in scale.levels]
    by_text: dict[str, int] = {}
    by_number = {
        value: level
        for level, value in enumerate(numbers_of(scale.levels, ordered=isinstance(scale, Ordinal)))
    }
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


def _negated(levels: tuple[int | float | str, ...], numbers: list[float]) -> str:
    """The same levels for a study file, counting the other way round."""
    turned = sorted(zip(numbers, levels, strict=True), key=itemgetter(0), reverse=True)
    counts = ", ".join(f"{0 - number:g}" for number, _ in turned)
    words = ", ".join(f'"{level}"' for _, level in turned)
    return f"levels: [{counts}], labels: [{words}]"


def _shuffled(scale: Categorical) -> str | None:
    """Labels that begin with the levels' own numbers in another order, and the remedy: a table of
    codes would then be read as the contrary."""
    numbers = numbers_of(scale.levels, ordered=isinstance(scale, Ordinal))
    begin = [leading_number(label) for label in labels(scale)]
    if None in numbers or set(begin) != set(numbers) or begin == numbers:
        return None
    level, label = next(
        (number, label)
        for number, label, begins in zip(numbers, labels(scale), begin, strict=True)
        if number != begins
    )
    return (
        f"level {level:g} has the label '{label}', which begins with another level's number; give "
        "each level the label of its own number"
    )


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
            value = number(token)
            return value if value is not None and low <= value <= high else None

        return read_number
    by_text: dict[str, int] = {}
    by_number: dict[float | None, int] = {}
    numbers = numbers_of(written(scale), ordered=isinstance(scale, Ordinal))
    for level, (code, label) in enumerate(zip(written(scale), labels(scale), strict=True)):
        by_text |= {label: level, str(code): level}
        by_number[numbers[level]] = level

    def read_level(token: str) -> float | None:
        if token in by_text:
            return by_text[token]
        value = number(token)
        return None if value is None else by_number.get(value)

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
