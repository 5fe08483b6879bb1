"""What tasks on one scale have in common, where too few are known to learn the scale's levels from.

The known tasks' own parts, of which nothing else tells, are taken to be a part that the scale's
tasks share and the rest (a one-way random-effects model). How large the shared part is, all such
scales tell together; where it is on one scale, its known tasks tell as far as they are many and
their answers say where they are (the best linear predictor, Robinson 1991).
"""

from typing import NamedTuple

import numpy as np

from crowdllm_jax.model.persistent.effects import TaskColumns

USUAL, PAIRS = 0.5, 2.0
"""The intraclass correlation before any pair of tasks, and how many pairs this counts as."""
LEAST = 0.05
"""Reliability of a task of which next to nothing is known."""


class _Known(NamedTuple):
    """Own parts of N known tasks on scales (N,), as their answers tell them: drawn towards 0.

    Attributes:
      own: (N, D) in units of their deviation before any answer, and of the root of how many of the
        D a task has. reliability: (N,) how far they are drawn, 1 if not at all.
    """

    own: np.ndarray
    reliability: np.ndarray
    scale: np.ndarray


def shared_by_scales(
    own: np.ndarray, sd: np.ndarray, tasks: TaskColumns
) -> tuple[np.ndarray, np.ndarray]:
    """What unanswered tasks share with the known ones on scales whose levels are not learnt.

    Args:
      own, sd: (T, ...) posterior means and deviations of the tasks' own parts; 0 of levels that a
        task does not have.
    Returns:
      (T, ...) where they are expected, 0 of all others; and (T,) which part of their deviation this
      leaves, 1 of all others.
    """
    expected, left = np.zeros_like(own), np.ones(len(own))
    few = np.zeros(len(own), bool) if tasks.levelled is None else tasks.levelled == 0
    known, new = few & (tasks.known > 0), few & (tasks.known == 0)
    if not own[known].any() or not new.any():
        return expected, left
    told = _known(own[known], sd[known], tasks.scale[known])
    alike = _correlation(told)
    # An own part is what the scale shares, of this variance, and the rest. Answers tell it with
    # noise, so that the known tasks say the shared part each as precisely as this.
    precision = alike / (1 / told.reliability - alike).clip(LEAST)
    count, flat = int(tasks.scale.max()) + 1, own[known].reshape(len(told.own), -1)
    total = np.zeros((count, flat.shape[1]))
    np.add.at(total, told.scale, flat * (precision / told.reliability)[:, None])
    sure = np.bincount(told.scale, precision, count)
    at = tasks.scale[new]
    expected[new] = (total / (1 + sure)[:, None])[at].reshape(-1, *own.shape[1:])
    left[new] = np.sqrt(1 - alike * (sure / (1 + sure))[at])
    return expected, left


def _known(own: np.ndarray, sd: np.ndarray, scale: np.ndarray) -> _Known:
    own, sd = own.reshape(len(own), -1), sd.reshape(len(sd), -1)
    levels = (sd > 0).sum(1).clip(1)
    square, unsure = (own**2).sum(1) / levels, (sd**2).sum(1) / levels
    variance = (square + unsure).mean()
    reliability = (1 - unsure / variance).clip(LEAST)
    return _Known(own / np.sqrt(levels * variance)[:, None], reliability, scale)


def _correlation(told: _Known) -> float:
    """Of the own parts of two tasks on the same scale: moments, over pairs."""
    total = np.zeros((int(told.scale.max()) + 1, told.own.shape[1]))
    np.add.at(total, told.scale, told.own)
    product = ((total**2).sum() - (told.own**2).sum()) / 2
    sure = np.bincount(told.scale, told.reliability)
    pairs = ((sure**2).sum() - (told.reliability**2).sum()) / 2
    return float(np.clip((product + PAIRS * USUAL) / (pairs + PAIRS), 0, 1))
