"""What bars the answers on a scale are shown in, what stands beside each, and what lies in them."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from crowdllm_jax.study import scales
from crowdllm_jax.study.scales import (
    Approval,
    Binary,
    Continuous,
    KApproval,
    Nominal,
    Points,
    Ranking,
    Scale,
)

MOST = 30
"""Levels of an ordered scale that get a bar each; of more, about STRETCHES stretches of levels."""

STRETCHES = 20


@dataclass(frozen=True)
class Bars:
    """The bars of a scale's picture.

    Attributes:
      of_level: (K,) which bar a level is in; None where the scale is continuous and the bars are
        stretches of equal width.
    """

    labels: tuple[str, ...]
    of_level: np.ndarray | None


def bars(
    scale: Scale, most: int = MOST, stretches: int = STRETCHES, *, numbered: bool = True
) -> Bars:
    """What bars a scale's answers are shown in, and what stands beside each.

    Args:
      most: levels of an ordered scale that get a bar each; of more, about `stretches` of levels.
      numbered: whether a level's label is followed by the number it counts as.
    """
    if isinstance(scale, Continuous):
        edges = np.linspace(scale.low, scale.high, stretches + 1)
        pairs = pairwise(edges)
        return Bars(tuple(f"{low:g} to {high:g}" for low, high in pairs), None)
    k = scales.size(scale)
    levels = np.arange(k)
    width = 1 if k <= most or not scales.is_ordered(scale) else -(-k // stretches)
    # Nobody's points are a stretch of their own.
    of_level = (levels + (width - 1 if isinstance(scale, Points) else 0)) // width
    named = [_label(scale, level, numbered) for level in range(k)]
    labels = []
    for bar in range(of_level[-1] + 1):
        inside = np.flatnonzero(of_level == bar)
        first, last = named[inside[0]], named[inside[-1]]
        labels.append(first if len(inside) == 1 else f"{first} to {last}")
    return Bars(tuple(labels), of_level)


def _label(scale: Scale, level: int, numbered: bool) -> str:
    match scale:
        case Approval() | KApproval():
            return ("not approved", "approved")[level]
        case Ranking():
            return f"ranked {scales.written(scale)[level]}" if level else "not ranked"
        case Points():
            return f"{level}"
        case Nominal() | Binary():
            return scales.labels(scale)[level]
        case _:
            # A mean can only be read where the numbers it is made of are shown.
            label, value = scales.labels(scale)[level], f"{scales.values(scale)[level]:g}"
            return label if label == value or not numbered else f"{label} ({value})"


def meaning_of_mean(scale: Scale) -> str:
    """What the mean of a scale's answers is; empty where it has none."""
    match scale:
        case Nominal():
            return ""
        case Binary():
            return f"share who answer “{scales.labels(scale)[1]}”"
        case Approval() | KApproval():
            return "share who approve"
        case Ranking(k=k):
            return f"mean Borda points ({k} for the best, 0 if not ranked)"
        case Points(budget=budget):
            return f"mean points of {budget}"
        case _:
            return "mean answer"


def tally(
    scale: Scale, shown: Bars, answers: np.ndarray, weight: np.ndarray | None = None
) -> tuple[np.ndarray, float | None]:
    """Answers (n,) in each bar, weighted, and their mean in the scale's numbers."""
    size = len(shown.labels)
    if isinstance(scale, Continuous):
        position = (answers - scale.low) * (size / (scale.high - scale.low))
        cell = np.clip(position, 0, size - 1).astype(np.uint8)
        counts = np.bincount(cell, weight, size)
        mean = np.average(answers.astype(np.float64), weights=weight) if len(answers) else None
        return counts, None if mean is None else float(mean)
    assert shown.of_level is not None
    levels = np.bincount(answers, weight, scales.size(scale))
    total = levels.sum()
    mean = levels @ scales.values(scale) / total if total and meaning_of_mean(scale) else None
    return np.bincount(shown.of_level, levels, size), None if mean is None else float(mean)
