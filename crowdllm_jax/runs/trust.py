"""How far to trust a crowd's answers to new questions: as far as they held on questions that were
held out from its fit.

People's shares of a held-out question are compared with what the crowd made of it before. This says
how far the crowd's intervals are to be widened (or may be narrowed) to hold, and which part of the
way from knowing nothing to people's own shares it comes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri

from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.persistent.design import Design
from crowdllm_jax.model.persistent.forecast import Outlook, unsure_of
from crowdllm_jax.population.panel import panel_of
from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.split import Split
from crowdllm_jax.study.statistics import level_shares, task_means, unit

CONFIDENCE = 0.9
NORMAL = 1.6448536
"""Of a standard normal number, 90% lie within so much of 0."""
FEWEST = 10
"""Held-out questions without which nothing is said of intervals."""
AS_MUCH = 5
"""Held-out questions on a scale that say as much of its intervals as those on all scales do. Of 7
on a scale, the log of their own stretch varies by 0.3 to 0.6, and between scales by 0.3: at 5 to
10 intervals of all scales come nearest to 90% in simulated studies, and at 5 they are narrower."""
MOST = 300
"""Held-out questions that are looked at, spread over all."""
PANEL, DRAWS = 256, 64
"""Agents, and places of each held-out question, that its shares are worked out of."""
EDGE = 1e-4
PLACES = 200
"""Where a question may be, when intervals are held against people's answers."""


@dataclass(frozen=True)
class Held:
    """Held-out questions and what the crowd made of them.

    Attributes:
      middle, sd: (Q,) of the logit of a level's share (or of a continuous task's mean, as a share
        of the range), a row per question and level. people: (Q,) what was found; n: (Q,) how many
        answers of yes or no would tell as much of it as those there are.
      way: (T, 2) of each question, squared distances from people's shares, less what chance makes
        of it: of the crowd, and of the shares pooled over all questions of the scale.
      scale: (T,) on which of the study's scales each question is; levels: (T,) how many rows it
        has. () where all are on one.
    """

    middle: np.ndarray
    sd: np.ndarray
    people: np.ndarray
    n: np.ndarray
    way: np.ndarray
    scale: np.ndarray | tuple[()] = ()
    levels: np.ndarray | tuple[()] = ()

    @property
    def questions(self) -> int:
        """How many were held out."""
        return len(self.way)


@dataclass(frozen=True)
class Trust:
    """Attributes:
    questions: held out, on which the rest is measured; 0 of none.
    stretch: by which the deviations of logits are multiplied so that 90% intervals of another
      question hold: of all scales together, and so of one no question of which was held out.
    way: part of the way from knowing nothing to people's own shares; NaN where that is not known:
      of fewer than FEWEST questions, or where people's shares are no farther from the pooled ones
      than chance takes them.
    low, high: its 90% interval over questions.
    of_scale: the stretch of each of the study's scales of which questions were held out, where
      these are several.
    """

    questions: int
    stretch: float
    way: float
    low: float
    high: float
    of_scale: Mapping[int, float] = field(default_factory=dict)

    def on(self, scale: int) -> float:
        """The stretch of questions on one of the study's scales."""
        return self.of_scale.get(scale, self.stretch)


def held_out_outlook(crowd: Crowd, study: Study, split: Split) -> Held:
    """What a crowd made of the questions its split held out; of none where people are held out."""
    nothing = np.zeros(0)
    none = Held(nothing, nothing, nothing, nothing, np.zeros((0, 2)))
    if split.by != "tasks" or not isinstance(crowd.inputs, Design) or not split.test.any():
        return none
    n = task_means(study, split.test)[2]
    rows = np.flatnonzero((n >= 2) & (crowd.inputs.tasks.known == 0))
    in_order = tuple(study.scales.values())
    # Where no task of a scale was in training, there is no pooled share to compare with.
    trained = np.unique(study.tasks.scale[study.task[split.seen]])
    rows = rows[np.isin(study.tasks.scale[rows], trained)]
    # Neither ballots whose projects hang together, nor questions that only some people were asked:
    # the shares of all agents are not those of the agents who would be.
    rows = np.array(
        [
            r
            for r in rows
            if not scales.is_joint(in_order[study.tasks.scale[r]])
            and study.tasks.ids[r] not in study.tasks.ask_if
        ],
        int,
    )
    if not len(rows):
        return none
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, MOST).round().astype(int))]
    outlook = Outlook(crowd, panel_of(crowd, PANEL, 0))
    unsure = unsure_of(crowd, rows, [in_order[study.tasks.scale[r]] for r in rows])
    of_scale = np.unique(study.tasks.scale[rows])
    people = {i: _found(study, split, i) for i in of_scale}
    vary = {i: _variation(study, split, i) for i in of_scale}
    parts, way = [], []
    for task, row in zip(unsure, rows, strict=True):
        found, pooled = people[study.tasks.scale[row]]
        shares, mean = outlook.draws(task, DRAWS)
        if shares is None:
            low, high = scales.values(task.scale)
            shares = ((mean - low) / (high - low))[:, None]
        share, size = found[row], n[row] / vary[study.tasks.scale[row]]
        middle, sd = on_logits(shares)
        parts.append(np.stack([middle, sd, share, np.full(len(sd), size)]))
        way.append(_way(shares.mean(0), share, pooled, size, ordered=scales.is_ordered(task.scale)))
    middles, sds, found_shares, sizes = np.concatenate(parts, axis=1)
    levels = np.array([part.shape[1] for part in parts])
    scale = study.tasks.scale[rows]
    return Held(middles, sds, found_shares, sizes, np.array(way), scale, levels)


def on_logits(shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Middle and deviation (K,) of the logits of shares (D, K)."""
    clipped = shares.clip(EDGE, 1 - EDGE)
    logit = np.log(clipped) - np.log1p(-clipped)
    return logit.mean(0), logit.std(0)


def _found(study: Study, split: Split, index: int) -> tuple[np.ndarray, np.ndarray]:
    """(T, K) people's held-out shares of each task of a scale, and (K,) the training people's
    shares over all its tasks; of a continuous scale, means as a share of the range."""
    scale = tuple(study.scales.values())[index]
    if not scales.size(scale):
        mean, (seen, weight, _) = task_means(study, split.test)[0], task_means(study, split.seen)
        on_scale = (study.tasks.scale == index) & (weight > 0)
        return mean[:, None], np.array([np.average(seen[on_scale], weights=weight[on_scale])])
    seen_rows = split.seen & (study.tasks.scale[study.task] == index)
    count = np.bincount(
        study.answer[seen_rows].astype(int), study.weight[seen_rows], scales.size(scale)
    )
    return level_shares(study, split.test, index), count / max(count.sum(), 1e-9)


def _variation(study: Study, split: Split, index: int) -> float:
    """How people's held-out answers to one task vary, as a share of what they would if all were at
    the ends of the range: 1 on discrete scales, where each share is one of yes and no."""
    if scales.size(tuple(study.scales.values())[index]):
        return 1.0
    part = split.test & (study.tasks.scale[study.task] == index)
    mean, weight, n = task_means(study, part)
    task = study.task[part]
    gap = unit(study, study.value[part], task) - mean[task]
    square = np.bincount(task, study.weight[part] * gap**2, len(mean))
    several = n >= 2
    mean, n, square = mean[several], n[several], square[several] / weight[several]
    # Both without bias: each is found around a mean of so few answers.
    most = mean * (1 - mean) + square / (n - 1)
    return float(np.clip((square * n / (n - 1)).sum() / max(most.sum(), 1e-9), 1e-4, 1.0))


def _way(
    crowd: np.ndarray, share: np.ndarray, pooled: np.ndarray, n: float, *, ordered: bool
) -> tuple[float, float]:
    """Squared distances of the crowd's shares, and of the pooled ones, from people's."""
    total = (lambda x: x.cumsum()[:-1]) if ordered and len(share) > 1 else (lambda x: x)
    people = total(share)
    chance = (people * (1 - people)).sum() / (n - 1)
    return (
        float(((total(crowd) - people) ** 2).sum() - chance),
        float(((total(pooled) - people) ** 2).sum() - chance),
    )


def trust_of(parts: Sequence[Held]) -> Trust:
    """What several folds' held-out questions say together."""
    questions = sum(part.questions for part in parts)
    if not questions:
        return Trust(0, 1.0, np.nan, np.nan, np.nan)
    way = np.concatenate([part.way for part in parts])
    crowd, nothing = way.sum(0)
    if questions < FEWEST:
        return Trust(questions, 1.0, np.nan, np.nan, np.nan)
    columns = [
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("middle", "sd", "people", "n")
    ]
    # Those of the questions at hand, which take part in choosing it, are rather more than those of
    # others (split conformal prediction: Lei et al. 2018, section 2.2).
    wanted = CONFIDENCE * (1 + 1 / questions)
    stretch = _stretch(*columns, wanted=wanted)
    of_scale = _of_scales(parts, columns, stretch)
    if nothing <= 0:
        return Trust(questions, stretch, np.nan, np.nan, np.nan, of_scale)
    random = np.random.default_rng(0)
    drawn = way[random.integers(0, questions, (1000, questions))].sum(1)
    low, high = np.quantile(1 - drawn[:, 0] / np.maximum(drawn[:, 1], 1e-9), [0.05, 0.95])
    return Trust(questions, stretch, 1 - crowd / nothing, float(low), float(high), of_scale)


def _of_scales(
    parts: Sequence[Held], columns: Sequence[np.ndarray], stretch: float
) -> dict[int, float]:
    """The stretch of each scale's questions; none where they are on one scale.

    Intervals of one scale may be the model's own, and those of another half as wide as they should
    be: with one stretch, the latter held 80% in simulated studies. Few questions hardly tell, so
    each scale's is drawn towards that of all; and all of them are then stretched alike, to hold for
    questions that took no part in it.
    """
    scale = np.concatenate([np.asarray(part.scale, int) for part in parts])
    levels = np.concatenate([np.asarray(part.levels, int) for part in parts])
    names, of_question = np.unique(scale, return_inverse=True)
    if len(names) < 2:
        return dict.fromkeys(names.tolist(), stretch)
    middle, sd, people, n = columns
    row = np.repeat(of_question, levels)
    together = _stretch(middle, sd, people, n, wanted=CONFIDENCE)
    apart = np.ones(len(names))
    for i, several in enumerate(np.bincount(of_question).tolist()):
        of_one = row == i
        own = _stretch(middle[of_one], sd[of_one], people[of_one], n[of_one], wanted=CONFIDENCE)
        apart[i] = (own / together) ** (several / (several + AS_MUCH))
    wanted = CONFIDENCE * (1 + 1 / len(scale))
    stretch = _stretch(middle, sd * apart[row], people, n, wanted=wanted)
    return dict(zip(names.tolist(), (stretch * apart).tolist(), strict=True))


def _stretch(
    middle: np.ndarray, sd: np.ndarray, people: np.ndarray, n: np.ndarray, *, wanted: float
) -> float:
    """By which deviations are multiplied so that intervals, and the noise of so many answers, hold
    a `wanted` share of these questions' shares."""
    places = ndtri((np.arange(PLACES) + 0.5) / PLACES)[:, None]
    tie = np.random.default_rng(1).random(len(middle))
    n = np.maximum(n.round(), 1).astype(int)

    def inside(log_stretch: float) -> float:
        share = 1 / (1 + np.exp(-(middle + np.exp(log_stretch) * sd * places)))
        found = np.random.default_rng(2).binomial(n, share) / n
        # Among whole numbers of people ties are frequent: they fall on either side by chance.
        close = np.abs(found - people) * n < 0.5
        below = ((found < people) & ~close).mean(0) + tie * close.mean(0)
        return float(((below >= 0.05) & (below <= 0.95)).mean()) - wanted

    low, high = np.log(1 / 3), np.log(4)
    if inside(low) >= 0:
        return float(np.exp(low))
    if inside(high) <= 0:
        return float(np.exp(high))
    return float(np.exp(brentq(inside, low, high, xtol=0.01)))


def stretched_interval(draws: np.ndarray, stretch: float) -> tuple[np.ndarray, np.ndarray]:
    """Ends (K,) of the 90% intervals of shares (D, K), whose logits are spread by `stretch`.

    Each holds the mean of its shares, which is what is told: nearer to 0 and 1 than logits go, and
    where few draws are far from all others, quantiles alone would leave it out.
    """
    clipped = draws.clip(EDGE, 1 - EDGE)
    logit = np.log(clipped) - np.log1p(-clipped)
    middle = np.median(logit, axis=0)
    low, high = np.quantile(middle + stretch * (logit - middle), [0.05, 0.95], axis=0)
    mean = draws.mean(0)
    return np.minimum(1 / (1 + np.exp(-low)), mean), np.maximum(1 / (1 + np.exp(-high)), mean)
