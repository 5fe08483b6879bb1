"""How many answers to gather to which question, and whom to ask.

Prediction-powered inference (`estimate`) rests on what the crowd gets wrong. Two things follow.
Questions of which it gets more wrong need more answers (Neyman's allocation). And within a question
an answer of a person whom the crowd does not know well tells more: people are drawn with a chance
that is proportional to the error expected of their prediction (active inference, Zrnic & Candès
2024, arXiv 2403.03208), mixed with equal chances, and weighted by its inverse, so that the estimate
stays unbiased however wrong the expected errors are.
"""

import heapq
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from crowdllm_jax.infer.estimate import FEWEST, RARE

MIXED = 0.2
"""The part of a draw that is by equal chances: nobody's answer weighs more than 1 / MIXED times
what it would in a sample of equal chances."""

ENOUGH = FEWEST + 1
"""Answers (Kish's effective number) below which a mean has no interval."""


@dataclass(frozen=True)
class Prospect:
    """What is expected of the interval of one question; in squared parts of its range.

    Attributes:
      answers: labelled answers that there are. open: people who may be asked.
      equal: the error's variance in an answer of somebody drawn by equal chances; drawn: (G,) the
        same of one who is drawn as planned, where no, ..., all people who are open are drawn.
      rest: the variance that no further answer takes away, as the people are a sample themselves.
      kish: (G,) how much of an answer is left of one that is drawn as planned, by Kish's number;
        even: of one that is drawn by equal chances.
      worth: Kish's number of the answers that there are; None: they all count the same.
      rare: people who gave the rarer of two answers, and rate: the share of those who are open
        that is expected to; without a limit where there are not two answers.
    """

    answers: int
    open: int
    equal: float
    drawn: tuple[float, ...]
    rest: float
    kish: tuple[float, ...] = (1.0,)
    even: float = 1.0
    worth: float | None = None
    rare: float = np.inf
    rate: float = 0.0

    def effective(self, more: int) -> float:
        """Kish's effective number of answers after so many more."""
        there = self.answers if self.worth is None else self.worth
        return there + more * self._at(self.kish, more)

    def enough(self, more: int) -> bool:
        """Whether there is an interval after so many more answers."""
        return self.effective(more) >= ENOUGH and self.rare + more * self.rate >= RARE

    def _at(self, values: tuple[float, ...], more: int) -> float:
        """Values that stand for parts of the open people, where so many are drawn."""
        place = (len(values) - 1) * more / max(1, self.open)
        low = min(int(place), len(values) - 1)
        high = min(low + 1, len(values) - 1)
        return values[low] + (place - low) * (values[high] - values[low])

    def width(self, more: int, level: float) -> float:
        """The expected width of the interval after so many more answers; infinite where there is
        none."""
        if not self.enough(more):
            return np.inf
        n = self.answers + more
        off = self.answers * self.equal + more * self._at(self.drawn, more)
        variance = off / n**2 + self.rest
        return float(2 * stdtrit(self.effective(more) - 2, 0.5 + level / 2) * np.sqrt(variance))


def shares_of(error: np.ndarray) -> np.ndarray:
    """(N,) how N people share in a draw, summing to 1, by the error that is expected of each."""
    equal = np.full(len(error), 1 / max(1, len(error)))
    total = error.sum()
    return equal if total <= 0 else (1 - MIXED) * error / total + MIXED * equal


def chances(share: np.ndarray, count: float) -> np.ndarray:
    """(N,) the chance that each of N people is among `count` drawn: as their shares, up to 1."""
    sure = np.zeros(len(share), bool)
    if count >= len(share):
        return np.ones(len(share))
    while True:
        left = share[~sure].sum()
        chance = np.where(sure, 1.0, (count - sure.sum()) * share / left)
        over = chance > 1
        if not over.any():
            return np.asarray(chance)
        sure |= over


def draw(chance: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Indices of those drawn, each with exactly its chance, always as many as chances sum to
    (systematic sampling in random order), in random order."""
    order = random.permutation(len(chance))
    # Rounded sums must end on the whole number that they are.
    upto = np.cumsum(chance[order])
    count = round(float(upto[-1])) if len(upto) else 0
    at = random.random() + np.arange(count)
    place = np.minimum(np.searchsorted(upto, at, side="right"), len(chance) - 1)
    return random.permutation(order[np.unique(place)])


def allocate(
    prospects: list[Prospect], budget: int, *, level: float, width: float | None = None
) -> list[int]:
    """How many answers each question gets, at most `budget` together and no more than people are
    open.

    First come questions that have too few answers for any interval, those that lack fewest
    before others. Then each answer goes where it narrows the intervals most, on average.

    Args:
      level: of the intervals. width: stop as soon as every interval is so narrow; answers then go
        to the widest.
    """
    more = [0] * len(prospects)
    for lack, i in sorted((_lacking(p), i) for i, p in enumerate(prospects)):
        if lack <= min(budget, prospects[i].open):
            more[i], budget = lack, budget - lack
    left = [i for i, p in enumerate(prospects) if np.isfinite(p.width(more[i], level))]
    if not left and (lacking := [(_lacking(p), i) for i, p in enumerate(prospects) if p.open]):
        # Too few for any interval, they are a beginning where fewest are lacking.
        _, i = min(lacking)
        more[i] = min(budget, prospects[i].open)

    def worth(i: int) -> float:
        now = prospects[i].width(more[i], level)
        if width is not None:
            return now if now > width else 0.0
        return now - prospects[i].width(more[i] + 1, level)

    # The most worthwhile first; an answer to one question changes no other's worth.
    heap = [(-worth(i), i) for i in left if more[i] < prospects[i].open]
    heapq.heapify(heap)
    while budget and heap and heap[0][0] < 0:
        _, i = heap[0]
        more[i], budget = more[i] + 1, budget - 1
        if more[i] < prospects[i].open:
            heapq.heapreplace(heap, (-worth(i), i))
        else:
            heapq.heappop(heap)
    return more


def _lacking(prospect: Prospect) -> int:
    """Answers that are lacking for an interval; one more than people are open if these are too
    few."""
    more = range(prospect.open + 1)
    return bisect_left(more, True, key=prospect.enough)
