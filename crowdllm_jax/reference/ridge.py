"""Ridge regression, on features as they are or on how alike they are, cross-fitted.

A row with answers is predicted by a head that has not seen it; how much to shrink, and which of the
two kinds of features, is what predicts left-out rows best.
"""

from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist

PENALTIES = np.logspace(-2, 4, 25)
RATES = (0.0, 2.0)
"""Tried in turn: 0, the features as they are; 2, the likeness of two tasks falls at that rate with
their squared distance, whose median counts as 1."""
LANDMARKS = 1500
"""Training tasks to which likeness is measured, at most; up to so many, kernel ridge is exact."""


class Head(NamedTuple):
    """The head that predicts rows without answers: its `RATES` and which of the PENALTIES."""

    rate: float
    penalty: int


def cross_fit(
    x: np.ndarray,
    y: np.ndarray,
    count: np.ndarray,
    folds: int,
    rates: tuple[float, ...] = RATES,
) -> np.ndarray:
    """Predict every row of y; a row with answers by a head that has not seen it."""
    return cross_fitted(x, y, count, folds, rates)[0]


def predict_new(x: np.ndarray, y: np.ndarray, count: np.ndarray, head: Head) -> np.ndarray:
    """(N, Y) what a head, once chosen, says of the N rows without answers."""
    seen, new = np.flatnonzero(count > 0), count == 0
    z = kernel_features(x, seen, head.rate)
    predicted: np.ndarray = ridge(z[seen], y[seen], count[seen], z[new])[head.penalty]
    return predicted


def cross_fitted(
    x: np.ndarray,
    y: np.ndarray,
    count: np.ndarray,
    folds: int,
    rates: tuple[float, ...] = RATES,
) -> tuple[np.ndarray, Head]:
    """The same, and the head that predicts the rows without answers."""
    seen = np.flatnonzero(count > 0)
    # A fixed cut: neighbours in the study's order go to different folds.
    fold = np.arange(len(seen)) % folds
    least, guess, head = np.inf, np.empty_like(y), Head(rates[0], 0)
    for rate in rates:
        held = np.empty((len(PENALTIES), len(seen), y.shape[1]))
        for f in range(folds):
            rest, out = seen[fold != f], seen[fold == f]
            z = kernel_features(x, rest, rate)
            held[:, fold == f] = ridge(z[rest], y[rest], count[rest], z[out])
        error = ((held - y[seen]) ** 2 * count[seen][:, None]).sum((1, 2))
        best = int(np.argmin(error))
        if error[best] < least:
            least, head = error[best], Head(rate, best)
            guess[seen] = held[best]
    if (new := count == 0).any():
        guess[new] = predict_new(x, y, count, head)
    return guess, head


def kernel_features(x: np.ndarray, train: np.ndarray, rate: float) -> np.ndarray:
    """(T, F') features on which ridge regression is kernel ridge with a Gaussian kernel.

    The Nystroem map (Williams & Seeger 2001) of likeness to landmarks among the training tasks.
    """
    if not rate:
        return x
    every = train[:: -(-len(train) // LANDMARKS)]
    square = cdist(x, x[every], "sqeuclidean")
    typical = np.median(square[train])
    likeness = np.exp(-rate * square / (typical if typical > 0 else 1.0))
    values, vectors = np.linalg.eigh(likeness[every])
    kept = values > 1e-8 * values[-1]
    return likeness @ (vectors[:, kept] / np.sqrt(values[kept]))


def ridge(x: np.ndarray, y: np.ndarray, weight: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Weighted ridge regression with an unpenalised intercept, for all PENALTIES at once.

    Returns:
      (len(PENALTIES), len(new), Y) predictions.
    """
    w = weight / weight.mean()
    x_mean, y_mean = np.average(x, 0, w), np.average(y, 0, w)
    root = np.sqrt(w)[:, None]
    rows, y = root * (x - x_mean), root * (y - y_mean)
    # The smaller of the two squares: among features, or among tasks.
    if rows.shape[0] < rows.shape[1]:
        values, vectors = np.linalg.eigh(rows @ rows.T)
        known, ours = (new - x_mean) @ rows.T @ vectors, vectors.T @ y
    else:
        values, vectors = np.linalg.eigh(rows.T @ rows)
        known, ours = (new - x_mean) @ vectors, vectors.T @ (rows.T @ y)
    shrink = 1 / (values.clip(0) + PENALTIES[:, None])
    return y_mean + known @ (shrink[:, :, None] * ours)
