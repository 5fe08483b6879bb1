"""How much an answer to each question would tell: how far the crowd's predictions are off.

The error of each person's prediction is expected from how uncertain it is, set right by how far
predictions of the same question were off in the answers that there are.
"""

from typing import NamedTuple

import numpy as np

from crowdllm_jax.infer.allocation import Prospect, chances, shares_of
from crowdllm_jax.infer.estimate import FEWEST
from crowdllm_jax.study.statistics import kish

SHRUNK = 40.0
"""How far predictions are off in one question is told by its own answers and those to all others,
which count as so many: that a few people answer alike must not look like certainty."""

STEPS = 8
"""Parts of the people who may be asked at which the worth of an answer is worked out; between them
it changes evenly."""


class Told(NamedTuple):
    """What is known of N people's answers to a question, in parts of its range.

    Attributes:
      task: its index. unit: the length of its range.
      answer: (N,) NaN where there is none. mean, variance: (N,) that are expected of each.
      gave: (N,) bool, whose labelled answer there is. may: (N,) bool, who may be asked.
      low: the lower of two answers; None where there are not two.
    """

    task: int
    unit: float
    answer: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    gave: np.ndarray
    may: np.ndarray
    low: float | None = None


class Question(NamedTuple):
    """A question to plan for.

    Attributes:
      task, unit: see `Told`. open: (M,) indices of people who may be asked. share: (M,) how they
        share in a draw. prospect: of its interval.
    """

    task: int
    unit: float
    open: np.ndarray
    share: np.ndarray
    prospect: Prospect


def questions_of(told: list[Told], weight: np.ndarray) -> list[Question]:
    """Questions to plan for, from what is known of each.

    Args:
      weight: (N,) survey weights.
    """
    errors = [_errors(one, weight) for one in told]
    squares = sum(float((error**2).sum()) for _, error in errors)
    variance = sum(float(one.variance[one.gave].sum()) for one in told)
    usual = squares / variance if variance > 0 else 1.0
    return [
        _question(one, slope, error, usual, weight)
        for one, (slope, error) in zip(told, errors, strict=True)
    ]


def _errors(told: Told, weight: np.ndarray) -> tuple[float, np.ndarray]:
    """How much of a difference in predictions is one in answers, and how far that is off in those
    who answered; of too few of them, all of it."""
    gave = told.gave
    if not gave.any():
        return 1.0, np.zeros(0)
    w = weight[gave]
    y = told.answer[gave] - np.average(told.answer[gave], weights=w)
    f = told.mean[gave] - np.average(told.mean[gave], weights=w)
    slope = 1.0
    if len(w) >= FEWEST and (spread := np.average(f**2, weights=w)) > 1e-12:
        slope = max(0.0, float(np.average(f * y, weights=w) / spread))
    return slope, y - slope * f


def _question(
    told: Told, slope: float, error: np.ndarray, usual: float, weight: np.ndarray
) -> Question:
    """One question, in which squared errors are `usual` times those expected, as far as its own
    answers do not say otherwise."""
    known, everybody = told.variance[told.gave], told.gave | told.may
    prior = SHRUNK * told.variance[everybody].mean()
    seen = prior + known.sum()
    ratio = ((error**2).sum() + usual * prior) / seen if seen > 0 else usual
    people, w = np.flatnonzero(told.may), weight[everybody]
    off = weight * np.sqrt(ratio * np.where(everybody, told.variance, 0.0))
    total = w.sum()
    equal = len(w) * (off[everybody] ** 2).sum() / total**2
    f = slope * told.mean[everybody]
    rest = ((w * (f - np.average(f, weights=w))) ** 2).sum() / total**2
    share = shares_of(off[people])
    drawn, left = _by_count(off[people], weight[people], share) if len(people) else ([equal], [1.0])
    count, even = int(told.gave.sum()), kish(weight[people]) / max(1, len(people))
    worth = kish(weight[told.gave])
    prospect = Prospect(
        count, len(people), equal, tuple(drawn), rest, tuple(left), even, worth, *_rare(told)
    )
    return Question(told.task, told.unit, people, share, prospect)


def _rare(told: Told) -> tuple[float, float]:
    """How many gave the rarer of two answers, and which share of the others is expected to."""
    if told.low is None:
        return np.inf, 0.0
    high = told.answer[told.gave] > told.low + 0.5
    rate = float(told.mean[told.may].mean()) - told.low if told.may.any() else 0.0
    fewer = min((int(high.sum()), rate), (int((~high).sum()), 1 - rate))
    return float(fewer[0]), float(np.clip(fewer[1], 0, 1))


def _by_count(
    off: np.ndarray, weight: np.ndarray, share: np.ndarray
) -> tuple[list[float], list[float]]:
    """(STEPS + 1,) the error's variance in an answer, and how much is left of an answer by Kish's
    number, where so many of (M,) people are drawn: of most, many are asked for sure."""
    drawn, left, total = [], [], weight.sum()
    for part in np.arange(STEPS + 1) / STEPS:
        count = part * len(share)
        each = chances(share, count) / count if count else share
        drawn.append(float((off**2 / each).sum() / total**2))
        left.append(min(1.0, float(total**2 / (weight**2 / each).sum())))
    return drawn, left
