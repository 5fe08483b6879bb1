"""Histograms of answers: the bins of each scale."""

import numpy as np

from crowdllm_jax.study import scales
from crowdllm_jax.study.scales import Continuous, Scale

BINS = 200
"""A continuous scale is cut into as many, as wide as each other."""


def bins(scale: Scale) -> np.ndarray:
    """(K,) the value of each bin: of a level, or the middle of each of BINS stretches."""
    if not isinstance(scale, Continuous):
        return scales.values(scale)
    width = (scale.high - scale.low) / BINS
    return scale.low + width * (np.arange(BINS) + 0.5)


def cells_of(value: np.ndarray, support: np.ndarray) -> np.ndarray:
    """The bin of each value: the one whose own value lies nearest."""
    return np.searchsorted((support[1:] + support[:-1]) / 2, value, side="right")
