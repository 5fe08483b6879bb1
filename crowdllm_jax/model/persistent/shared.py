"""What tasks on one scale have in common, where too few are known to learn the scale's levels from.

The known tasks' own parts, of which nothing else tells, are taken to be a part that the scale's
tasks share and the rest (a one-way random-effects model). How large the shared part is, all such
scales tell together; where it is on one scale, its known tasks tell as far as they are many (the
best linear predictor, Robinson 1991).
"""

import numpy as np

from crowdllm_jax.model.persistent.effects import TaskColumns

USUAL, PAIRS = 0.5, 2.0
"""The intraclass correlation before any pair of tasks, and how many pairs this counts as."""


def shared_by_scales(own: np.ndarray, tasks: TaskColumns) -> tuple[np.ndarray, np.ndarray]:
    """What unanswered tasks share with the known ones on scales whose levels are not learnt.

    Args:
      own: (T, ...) the tasks' own parts.
    Returns:
      (T, ...) where they are expected, 0 of all others; and (T,) which part of their deviation this
      leaves, 1 of all others.
    """
    expected, left = np.zeros_like(own), np.ones(len(own))
    if tasks.levelled is None:
        return expected, left
    few = tasks.levelled == 0
    known = few & (tasks.known > 0)
    count = np.bincount(tasks.scale[known], minlength=int(tasks.scale.max()) + 1)
    total = np.zeros((len(count), *own.shape[1:]))
    np.add.at(total, tasks.scale[known], own[known])
    flat = own.reshape(len(own), int(np.prod(own.shape[1:])))
    alike = _correlation(flat[known], tasks.scale[known])
    trust = alike / (1 + (count - 1).clip(0) * alike)
    new = few & ~known
    at = tasks.scale[new]
    expected[new] = trust[at].reshape(-1, *[1] * (own.ndim - 1)) * total[at]
    left[new] = np.sqrt(1 - count[at] * alike * trust[at])
    return expected, left


def _correlation(own: np.ndarray, scale: np.ndarray) -> float:
    """Of the own parts (N, D) of two tasks on the same of some scales (N,): moments, over pairs."""
    square = (own**2).sum(1)
    if not square.any():
        return 0.0
    count, each = np.bincount(scale), np.bincount(scale, square)
    total = np.zeros((len(count), own.shape[1]))
    np.add.at(total, scale, own)
    several = count > 1
    pairs = (count * (count - 1) / 2)[several].sum()
    product = (((total**2).sum(1) - each) / 2)[several].sum() / square.mean()
    return float(np.clip((product + PAIRS * USUAL) / (pairs + PAIRS), 0, 1))
