"""Means and variances of answers that come block by block, exact but for float64's rounding."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Moments:
    """Sums over some answers; arrays of one shape, a cell for each set of answers.

    Attributes:
      weight: sum of the weights, or the number of answers.
      total: weighted sum of the answers. spread: weighted sum of their squared distances from the
        mean; unlike a sum of squares it loses nothing where the mean is far from 0.
    """

    weight: np.ndarray
    total: np.ndarray
    spread: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """NaN where nobody answered."""
        return _over(self.total, self.weight)

    @property
    def variance(self) -> np.ndarray:
        """NaN where nobody answered."""
        return _over(self.spread, self.weight)

    def joined(self, other: "Moments") -> "Moments":
        """Of both sets of answers (Chan, Golub & LeVeque 1983)."""
        weight = self.weight + other.weight
        gap = np.nan_to_num(other.mean - self.mean)
        between = np.nan_to_num(_over(self.weight * other.weight, weight)) * gap**2
        return Moments(weight, self.total + other.total, self.spread + other.spread + between)


def no_moments(shape: tuple[int, ...]) -> Moments:
    """Of no answers."""
    return Moments(np.zeros(shape), np.zeros(shape), np.zeros(shape))


def stacked(several: list[Moments]) -> Moments:
    """One of them in each row."""
    fields = zip(*((each.weight, each.total, each.spread) for each in several), strict=True)
    return Moments(*(np.stack(sums) for sums in fields))


def moments_of(values: np.ndarray, weight: np.ndarray | None = None) -> Moments:
    """Moments (C,) of the columns of answers (N, C), NaN where there is none; weights are (N,)."""
    given = ~np.isnan(values)
    each = given if weight is None else given * weight[:, None]
    filled = np.where(given, values, 0).astype(np.float64, copy=False)
    count, total = each.sum(0, dtype=np.float64), (each * filled).sum(0)
    away = filled - _over(total, count)
    return Moments(count, total, np.where(given, each * away**2, 0).sum(0))


def _over(total: np.ndarray, weight: np.ndarray) -> np.ndarray:
    average: np.ndarray = np.divide(
        total, weight, out=np.full(np.shape(weight), np.nan), where=weight > 0
    )
    return average
