"""Scores over folds: everybody was held out once, each from a crowd that had not seen them.

An answer's score (rps) needs only that answer and its fold's crowd, so rps and skill are those of
all answers together, with intervals over all tasks (people). Any other measure compares crowd and
people of one fold, and is averaged over the folds by their answers: pooled over folds it would
flatter, for the folds' crowds together have seen everybody (rmse by the mean of its squares, or it
would be mae in folds of one task). Folds share no task (person), so their
intervals are combined as those of independent samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crowdllm_jax.score.ceiling import score_humans
from crowdllm_jax.score.held_out import Humans, held_out
from crowdllm_jax.score.metrics import Score, score_costs
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.split import Split

POOLED = ("rps", "skill")


@dataclass(frozen=True)
class ScoredFold:
    """One split: its scores, and per model the (held-out answers,) rps of each answer."""

    split: Split
    scores: list[Score]
    costs: dict[str, np.ndarray]


def held_out_of(study: Study, splits: Sequence[Split]) -> Humans:
    """All that some splits hold out."""
    test = np.any([split.test for split in splits], axis=0)
    nothing = np.zeros_like(test)
    return held_out(study, Split(splits[0].by, nothing, nothing, test))


def pool_folds(study: Study, folds: Sequence[ScoredFold], seed: int) -> list[Score]:
    """The scores of all folds together."""
    everyone = held_out_of(study, [fold.split for fold in folds])
    pooled = [score for score in score_humans(everyone, seed) if score.metric in POOLED]
    # People of weight 0 are nobody: no fold has scored their answers.
    counts = study.participants.weight[study.person] > 0
    scored = [fold.split.test & counts for fold in folds]
    of_anybody = np.any(scored, axis=0)
    costs = {}
    for name in folds[0].costs:
        cost = np.empty(len(study.task))
        for rows, fold in zip(scored, folds, strict=True):
            cost[rows] = fold.costs[name]
        costs[name] = cost[of_anybody]
    for name, cost in costs.items():
        pooled += score_costs(everyone, cost, costs["marginal"], name, seed)
    pooled_scores = {(score.model, score.metric): score for score in pooled}
    shares = np.array([rows.sum() for rows in scored]) / of_anybody.sum()
    scores: list[Score] = []
    for first in folds[0].scores:
        key = (first.model, first.metric)
        if first.metric in POOLED:
            scores += [pooled_scores[key]] if key in pooled_scores else []
        else:
            scores += _averaged([_named(fold.scores, *key) for fold in folds], shares)
    return scores


def _named(scores: list[Score], model: str, metric: str) -> Score | None:
    named = (score for score in scores if (score.model, score.metric) == (model, metric))
    return next(named, None)


def _averaged(scores: list[Score | None], shares: np.ndarray) -> list[Score]:
    """The average of one measure, not defined (or without an interval) where it is not in one
    fold."""
    defined = [score for score in scores if score is not None]
    if len(defined) < len(scores):
        return []
    value, low, high = np.array([(score.value, score.low, score.high) for score in defined]).T
    first = defined[0]
    mean, moves = float(shares @ value), shares
    if first.metric == "rmse":
        mean = float(np.sqrt(shares @ value**2))
        # To first order, how far it moves with each fold's.
        moves = shares * value / mean if mean > 0 else shares
    below, above = (float(np.sqrt((moves**2) @ (end - value) ** 2)) for end in (low, high))
    whys = [score.why for score in defined if np.isnan(score.value)]
    whys = whys or [score.why for score in defined if score.why]
    return [
        Score(
            first.model,
            first.split,
            first.seed,
            first.metric,
            mean,
            mean - below,
            mean + above,
            f"in a fold: {whys[0]}" if whys else "",
        )
    ]
