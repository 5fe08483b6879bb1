"""How much nearer all raters lie to the truth than two halves of them to each other."""

import numpy as np


def shrink(group: np.ndarray, weight: np.ndarray, count: np.ndarray, first: np.ndarray) -> float:
    """What turns a distance between two halves into that of all raters from the truth.

    The means of two halves of n raters differ by twice the standard error of all n, so it is 1/2
    where they count alike. The variance of a weighted mean grows with sum w^2 / (sum w)^2, so 1/2
    is multiplied by how much nearer than twice as far these halves are for their weights.

    Args:
      group: (R,) what is averaged within, such as the task. first: (R,) bool, one of the halves.
      weight, count: (R,) what each rater counts with and without survey weights.
    """
    return 0.5 * _nearer(group, weight, first) / _nearer(group, count, first)


def _nearer(group: np.ndarray, weight: np.ndarray, first: np.ndarray) -> float:
    """The standard errors of all raters over those of the difference of two halves."""

    def variance(of_rater: np.ndarray) -> np.ndarray:
        total = np.bincount(group, of_rater)
        square = np.bincount(group, of_rater**2)
        return np.where(total > 0, square / np.where(total > 0, total, 1.0) ** 2, np.inf)

    every, apart = variance(weight), variance(weight * first) + variance(weight * ~first)
    defined = np.isfinite(apart)
    return float(np.sqrt(every[defined]).sum() / np.sqrt(apart[defined]).sum())
