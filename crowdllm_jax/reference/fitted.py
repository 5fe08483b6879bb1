"""A ridge head on task features: the honest stand-in where no LLM is at hand.

It predicts each task's average answer and level shares from its features, or from how alike these
are to the training tasks' (kernel ridge), whichever predicts left-out training tasks better. For a
training task the prediction comes from a head that has not seen that task (cross-fitting), so a
training task's reference is as wrong as a held-out task's, and the model that reads it learns how
far to trust it.
"""

from typing import Annotated

import msgspec
import numpy as np
from scipy.spatial.distance import cdist

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.reference.record import Reference
from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.split import Split
from crowdllm_jax.study.statistics import ends, level_shares, task_means

PENALTIES = np.logspace(-2, 4, 25)
RATES = (0.0, 2.0)
"""Tried in turn: 0, the features as they are; 2, the likeness of two tasks falls at that rate with
their squared distance, whose median counts as 1."""
LANDMARKS = 1500
"""Training tasks to which likeness is measured, at most; up to so many, kernel ridge is exact."""


class FittedReference(
    msgspec.Struct, frozen=True, tag_field="kind", tag="fitted", forbid_unknown_fields=True
):
    """Attributes: folds: parts the training tasks are cut into for cross-fitting."""

    folds: Annotated[int, msgspec.Meta(ge=2, le=50)] = 5


def fit_reference(study: Study, split: Split, config: FittedReference, x: np.ndarray) -> Reference:
    """Cross-fit one ridge head per scale on the training responses alone.

    Args:
      x: (T, F) task features.
    Raises:
      CrowdError: there are no task features, or too few training tasks on a scale.
    """
    if not x.any():
        raise CrowdError(
            "reference.kind: fitted needs task features; give the study an embedding "
            "or task attributes, or use kind: marginal"
        )
    t = len(study.tasks.ids)
    mean, _, count = task_means(study, split.of_reference)
    longest = max(scales.size(scale) for scale in study.scales.values())
    probs = np.zeros((t, longest))
    average = np.empty(t)
    for index, (name, scale) in enumerate(study.scales.items()):
        here = study.tasks.scale == index
        seen = here & (count > 0)
        if seen.sum() < 2 * config.folds:
            raise CrowdError(
                f"reference.kind: fitted needs at least {2 * config.folds} training "
                f"tasks on scale '{name}', which has {seen.sum()}; use kind: "
                "marginal, or fewer folds"
            )
        target = mean[:, None]
        k = scales.size(scale)
        if k:
            shares = level_shares(study, split.of_reference, index)
            target = np.concatenate([target, shares], axis=1)
        guess = _cross_fit(x[here], target[here], count[here], config.folds)
        average[here] = np.clip(guess[:, 0], 0, 1)
        if k:
            share = np.clip(guess[:, 1:], 1e-6, None)
            probs[here, :k] = share / share.sum(1, keepdims=True)
    low, width = ends(study)
    known = all(scales.size(scale) for scale in study.scales.values())
    return Reference("fitted", low + width * average, probs if known else None)


def _cross_fit(x: np.ndarray, y: np.ndarray, count: np.ndarray, folds: int) -> np.ndarray:
    """Predict every row of y; a row with answers by a head that has not seen it."""
    seen = np.flatnonzero(count > 0)
    # A fixed cut: neighbours in the study's order go to different folds.
    fold = np.arange(len(seen)) % folds
    least, guess = np.inf, np.empty_like(y)
    for rate in RATES:
        held = np.empty((len(PENALTIES), len(seen), y.shape[1]))
        for f in range(folds):
            rest, out = seen[fold != f], seen[fold == f]
            z = _features(x, rest, rate)
            held[:, fold == f] = _ridge(z[rest], y[rest], count[rest], z[out])
        error = ((held - y[seen]) ** 2 * count[seen][:, None]).sum((1, 2))
        best = int(np.argmin(error))
        if error[best] < least:
            least = error[best]
            guess[seen] = held[best]
            new = count == 0
            z = _features(x, seen, rate)
            guess[new] = _ridge(z[seen], y[seen], count[seen], z[new])[best]
    return guess


def _features(x: np.ndarray, train: np.ndarray, rate: float) -> np.ndarray:
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


def _ridge(x: np.ndarray, y: np.ndarray, weight: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Weighted ridge regression with an unpenalised intercept, for all PENALTIES at once.

    Returns:
      (len(PENALTIES), len(new), Y) predictions.
    """
    w = weight / weight.mean()
    x_mean, y_mean = np.average(x, 0, w), np.average(y, 0, w)
    root = np.sqrt(w)[:, None]
    u, s, vt = np.linalg.svd(root * (x - x_mean), full_matrices=False)
    uy = u.T @ (root * (y - y_mean))
    shrink = s / (s**2 + PENALTIES[:, None])
    return y_mean + (new - x_mean) @ vt.T @ (shrink[:, :, None] * uy)
