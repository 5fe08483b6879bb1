"""Agents' answers of which some are skipped (NaN): every measure is of those who were asked."""

import numpy as np
from numpy.typing import DTypeLike


def given(answers: np.ndarray) -> np.ndarray:
    """Those of (N,) answers that are there."""
    skipped = np.isnan(answers)
    return answers[~skipped] if skipped.any() else answers


def means(values: np.ndarray, dtype: DTypeLike = np.float64) -> np.ndarray:
    """(T,) mean of the answers (N, T) that are there; 0 where nobody was asked."""
    there = ~np.isnan(values)
    if there.all():
        return np.asarray(values.mean(0, dtype=dtype))
    total = np.where(there, values, 0).sum(0, dtype=dtype)
    return np.asarray(total / np.maximum(there.sum(0), 1))


def deviations(values: np.ndarray) -> np.ndarray:
    """(N, T) distances from the mean of the task's answers; 0 of those not asked, who say nothing
    of how agents differ."""
    there = ~np.isnan(values)
    if there.all():
        return np.asarray(values - values.mean(0))
    return np.where(there, values - means(values), 0.0)


def variances(values: np.ndarray) -> np.ndarray:
    """(T,) variance of the answers that are there; 0 where nobody was asked."""
    there = ~np.isnan(values)
    if there.all():
        return np.asarray(values.var(0))
    return np.asarray((deviations(values) ** 2).sum(0) / np.maximum(there.sum(0), 1))
