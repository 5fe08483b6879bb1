"""A ridge head on task features: the honest stand-in where no LLM is at hand.

It predicts each task's average answer and level shares from its features, or from how alike these
are to the training tasks' (kernel ridge), whichever predicts left-out training tasks better. For a
training task the prediction comes from a head that has not seen that task (cross-fitting), so a
training task's reference is as wrong as a held-out task's, and the model that reads it learns how
far to trust it.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Annotated, Literal

import msgspec
import numpy as np
from scipy.optimize import nnls

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.reference.column import ColumnReference
from crowdllm_jax.reference.record import Gain, Reference
from crowdllm_jax.reference.ridge import RATES, Head, cross_fit, cross_fitted, predict_new
from crowdllm_jax.study import scales
from crowdllm_jax.study.coding import feature_blocks
from crowdllm_jax.study.records import Block, Study
from crowdllm_jax.study.split import Split
from crowdllm_jax.study.statistics import ends, level_shares, task_means, unit

SPREAD = 5.0
"""Root mean square length of a source's features beside others: that of usual embeddings, so that
`ridge.PENALTIES` suit both."""

Case = Literal["all"] | tuple[Literal["only", "without"], str]


class FittedReference(
    msgspec.Struct, frozen=True, tag_field="kind", tag="fitted", forbid_unknown_fields=True
):
    """Attributes:
    folds: parts the training tasks are cut into for cross-fitting.
    answers: a language model's answers, as a further source beside the task features.
    """

    folds: Annotated[int, msgspec.Meta(ge=2, le=50)] = 5
    answers: ColumnReference | None = None


def fit_reference(
    study: Study, split: Split, config: FittedReference, sources: Mapping[str, np.ndarray]
) -> Reference:
    """Cross-fit ridge heads per scale on the training responses alone.

    Args:
      sources: (T, F) task features, by where they come from. Of several, each has a head of its
        own, all have one together and, of three or more, so have all but one; these are averaged
        (stacked).
    Raises:
      CrowdError: there are no task features, or too few training tasks on a scale.
    """
    if not any(x.any() for x in sources.values()):
        raise CrowdError(
            "reference.kind: fitted needs task features; give the study an embedding "
            "or task attributes, or use kind: marginal"
        )
    longest = max(scales.size(scale) for scale in study.scales.values())
    t = len(study.tasks.ids)
    count = task_means(study, split.of_reference)[2]
    forecasts: dict[Case, np.ndarray] = {}
    heads: list[Head] = []
    for index, name in enumerate(study.scales):
        on_scale = study.tasks.scale == index
        seen = on_scale & (count > 0)
        if seen.sum() < 2 * config.folds:
            raise CrowdError(
                f"reference.kind: fitted needs at least {2 * config.folds} training "
                f"tasks on scale '{name}', which has {seen.sum()}; use kind: pooled, which learns "
                "from all scales at once, marginal, or fewer folds"
            )
        target, answers = _target(study, split, index)[on_scale], count[on_scale]
        on_scale_x = {source: x[on_scale] for source, x in sources.items()}
        if len(sources) == 1:
            (x,) = on_scale_x.values()
            guess, head = cross_fitted(x, target, answers, config.folds)
            heads.append(head)
            of_scale: dict[Case, np.ndarray] = {"all": _proper(guess)}
        else:
            known = study.tasks.measured[on_scale]
            of_scale = _forecasts(on_scale_x, target, answers, config.folds, known)
        for case, forecast in of_scale.items():
            forecasts.setdefault(case, np.zeros((t, 1 + longest)))
            forecasts[case][on_scale, : target.shape[1]] = forecast
    low, width = ends(study)
    stacked = forecasts["all"]
    known = all(scales.size(scale) for scale in study.scales.values())
    reference = Reference("fitted", low + width * stacked[:, 0], stacked[:, 1:] if known else None)
    if len(sources) == 1:
        return replace(reference, heads=tuple(heads))
    fit = {case: forecast_fit(study, split, forecast) for case, forecast in forecasts.items()}
    gains = tuple(Gain(name, fit["only", name], fit["without", name]) for name in sources)
    return replace(reference, fitted=fit["all"], gains=gains)


def extend_reference(
    study: Study, split: Split, kept: Reference, sources: Mapping[str, np.ndarray]
) -> Reference:
    """The reference of a study to which tasks were joined, from what was kept of the others (and
    its `heads`): exactly as if it were fitted again, without the search for the best head."""
    (x,) = sources.values()
    base = study.tasks.base
    count = task_means(study, split.of_reference)[2]
    low, width = ends(study)
    mean = np.concatenate([kept.mean, np.zeros(study.tasks.asked)])
    probs = None
    if kept.probs is not None:
        probs = np.concatenate([kept.probs, np.zeros((study.tasks.asked, kept.probs.shape[1]))])
    for index, head in enumerate(kept.heads):
        on_scale = study.tasks.scale == index
        new = np.flatnonzero(on_scale & (np.arange(len(on_scale)) >= base))
        if not len(new):
            continue
        target = _target(study, split, index)[on_scale]
        guess = _proper(predict_new(x[on_scale], target, count[on_scale], head)[-len(new) :])
        mean[new] = low[new] + width[new] * guess[:, 0]
        if probs is not None:
            probs[new, : target.shape[1] - 1] = guess[:, 1:]
    return replace(kept, mean=mean, probs=probs)


def _forecasts(
    sources: Mapping[str, np.ndarray],
    target: np.ndarray,
    count: np.ndarray,
    folds: int,
    known: np.ndarray,
) -> dict[Case, np.ndarray]:
    """Forecasts of one scale's tasks from all sources, and from each of several alone and left
    out; units are those of known tasks (T,) bool."""
    heads = {name: cross_fit(x, target, count, folds) for name, x in sources.items()}

    @cache
    def together(names: tuple[str, ...]) -> list[np.ndarray]:
        x = _side_by_side({name: sources[name] for name in names}, known)
        return [cross_fit(x, target, count, folds, rates=(rate,)) for rate in RATES]

    def stacked(names: tuple[str, ...]) -> np.ndarray:
        """From some sources: one head of each, and of several two of all together. Of three or more
        also two of all but one: a source that says nothing spoils the heads that read it."""
        parts = [heads[name] for name in names]
        if len(names) > 2:
            parts += [head for name in names for head in together(_without(names, name))]
        if len(names) > 1:
            parts += together(names)
        return _stack(parts, target, count)

    every = tuple(sources)
    forecasts: dict[Case, np.ndarray] = {"all": stacked(every)}
    for name in every if len(every) > 1 else ():
        forecasts["only", name] = heads[name]
        # Built as the whole is, or the heads of all together would make any source look useful.
        forecasts["without", name] = stacked(_without(every, name))
    return {case: _proper(forecast) for case, forecast in forecasts.items()}


def _without(names: tuple[str, ...], one: str) -> tuple[str, ...]:
    return tuple(name for name in names if name != one)


def as_trained(study: Study, split: Split) -> Study:
    """The study as a fit reads it: which tasks are known, and one embedding of each table's
    alternatives, the one from which a ridge head predicts left-out training tasks best (by squared
    error, summed over scales)."""
    known = np.bincount(study.task[split.seen], minlength=len(study.tasks.ids)) > 0
    study = replace(study, tasks=replace(study.tasks, known=known))
    tables: dict[int, list[Block]] = {}
    for block in study.tasks.blocks:
        tables.setdefault(block.table, []).append(block)
    if all(len(alternatives) == 1 for alternatives in tables.values()):
        return study
    blocks = feature_blocks(study.tasks)

    def error(block: Block) -> float:
        return _left_out_error(study, split, blocks[block.name])

    chosen = [
        min(alternatives, key=error) if len(alternatives) > 1 else alternatives[0]
        for alternatives in tables.values()
    ]
    assert study.tasks.embedding is not None
    embedding = np.concatenate([study.tasks.embedding[:, b.begin : b.end] for b in chosen], axis=1)
    edges = pairwise(np.cumsum([0, *(b.end - b.begin for b in chosen)]).tolist())
    kept = tuple(
        replace(block, begin=begin, end=end)
        for block, (begin, end) in zip(chosen, edges, strict=True)
    )
    return replace(study, tasks=replace(study.tasks, embedding=embedding, blocks=kept))


def answer_features(study: Study, answers: Reference) -> np.ndarray:
    """(T, 1 + K) a language model's answers as task features: where its mean lies on the scale, and
    the centred log-probabilities of the levels."""
    t = len(study.tasks.ids)
    parts = [unit(study, answers.mean, np.arange(t))[:, None]]
    if answers.probs is not None:
        beyond = np.array([scales.size(s) for s in study.scales.values()])[study.tasks.scale]
        real = np.arange(answers.probs.shape[1]) < beyond[:, None]
        log = np.log(answers.probs.clip(1e-2))
        mean = (log * real).sum(1, keepdims=True) / real.sum(1, keepdims=True)
        parts.append(np.where(real, log - mean, 0.0) / np.log(100))
    return np.concatenate(parts, axis=1)


def forecast_fit(study: Study, split: Split, forecast: np.ndarray) -> tuple[float, float]:
    """RPS (Brier score on nominal scales; NaN on continuous ones) and correlation of forecasts
    (T, 1 + K), a mean in [0, 1] and level shares, with the training answers."""
    mean, _, count = task_means(study, split.of_reference)
    loss = np.zeros(len(mean))
    centred, people = forecast[:, 0].copy(), mean.copy()
    for index, scale in enumerate(study.scales.values()):
        rows = np.flatnonzero((study.tasks.scale == index) & (count > 0))
        k = scales.size(scale)
        p, shares = forecast[rows, 1 : 1 + k], _target(study, split, index)[rows, 1:]
        if not scales.is_ordered(scale):
            loss[rows] = (p**2 - 2 * p * shares + shares).sum(1)
        elif k:
            step = np.diff(scales.values(scale))
            below, gave = p.cumsum(1)[:, :-1], shares.cumsum(1)[:, :-1]
            loss[rows] = (below**2 - 2 * below * gave + gave) @ step
        else:
            loss[rows] = np.nan
        for numbers in (centred, people):
            numbers[rows] -= np.average(numbers[rows], weights=count[rows])
    seen = count > 0
    w, x, y = count[seen], centred[seen], people[seen]
    r = (w * x) @ y / np.sqrt(max((w @ x**2) * (w @ y**2), 1e-300))
    return float(np.average(loss[seen], weights=w)), float(r)


def _target(study: Study, split: Split, index: int) -> np.ndarray:
    """(T, 1 + K) the training answers' mean in [0, 1] and level shares on one scale."""
    mean = task_means(study, split.of_reference)[0][:, None]
    if not scales.size(tuple(study.scales.values())[index]):
        return mean
    return np.concatenate([mean, level_shares(study, split.of_reference, index)], axis=1)


def _proper(guess: np.ndarray) -> np.ndarray:
    """Forecasts whose mean lies in [0, 1] and whose shares are positive and sum to 1."""
    share = np.clip(guess[:, 1:], 1e-6, None)
    share = share / share.sum(1, keepdims=True)
    return np.concatenate([np.clip(guess[:, :1], 0, 1), share], axis=1)


def _side_by_side(sources: Mapping[str, np.ndarray], known: np.ndarray) -> np.ndarray:
    """All features, each source as far spread (over known rows) as any other, so that none drowns
    the rest."""
    parts = []
    for x in sources.values():
        centred = x - x[known].mean(0)
        size = np.sqrt((centred[known] ** 2).sum(1).mean())
        parts.append(centred * (SPREAD / size if size > 0 else 0.0))
    return np.concatenate(parts, axis=1)


def _stack(heads: list[np.ndarray], y: np.ndarray, count: np.ndarray) -> np.ndarray:
    """The average of several heads' predictions (T, Y) that errs least on the training tasks, none
    of which the head that predicts it has seen (stacking: Wolpert 1992; with weights that are
    positive and sum to 1: Breiman 1996). Weights are pulled towards equal ones, as by a normal
    prior of variance 1/H for H heads: of few tasks, one that errs least is often so by chance."""
    if len(heads) == 1:
        return heads[0]
    seen = count > 0
    root = np.sqrt(count[seen] / count[seen].mean())[:, None]
    gap = np.stack([(root * (head - y)[seen]).ravel() for head in heads], axis=1)
    if not gap.any():  # all answers are equal, and foretold by every head
        return np.mean(heads, axis=0)
    weight = _weights(gap, 0.0)
    free = max(seen.sum() - np.count_nonzero(weight) + 1, 1)
    variance = ((gap @ weight) ** 2).sum() / free
    # Of deviations of .35, .5, .7 and 1 over the root of H this gains on all of docs/quality.md's
    # data sets, of which 16 to 960 tasks are known.
    weight = _weights(gap, variance * len(heads))
    return np.tensordot(weight, np.stack(heads), axes=1)


def _weights(gap: np.ndarray, pull: float) -> np.ndarray:
    """(H,) positive weights with the sum 1 of H columns of errors, whose average is to be small;
    `pull` times the squared distance from equal weights is added to its sum of squares."""
    heads = gap.shape[1]
    # As weights sum to 1, the error is that of the gaps' average: least squares with a heavy row.
    heavy = 1e3 * np.sqrt((gap**2).sum(0).max() + pull)
    system = np.concatenate(
        [gap, np.full((1, heads), heavy), np.diag(np.full(heads, np.sqrt(pull)))]
    )
    wanted = np.zeros(len(system))
    wanted[len(gap)] = heavy
    wanted[len(gap) + 1 :] = np.sqrt(pull) / heads
    weight, _ = nnls(system, wanted)
    found: np.ndarray = weight / weight.sum()
    return found


def _left_out_error(study: Study, split: Split, x: np.ndarray) -> float:
    count = task_means(study, split.of_reference)[2]
    error = 0.0
    for index in range(len(study.scales)):
        rows = (study.tasks.scale == index) & (count > 0)
        if rows.sum() < 10:
            continue
        target = _target(study, split, index)[rows]
        guess = cross_fit(x[rows], target, count[rows], 5, rates=(0.0,))
        error += float((((guess - target) ** 2).sum(1) * count[rows]).sum())
    return error
