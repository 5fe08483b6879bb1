"""A pool of references: what several models answer, weighted by what people answered.

    log p(level of a task) = sum over models: weight * log p_model(level)
                             + what the level's words, its place (where levels have an order) and
                               its set of options are worth

up to a constant of the task. It is a log-linear opinion pool (Genest & Zidek 1986) and a
conditional logit (McFadden 1974) under a ridge penalty, of the tasks of all scales at once: where
every question has options of its own, no scale has enough tasks to learn from, and all together
have. "Very confident" is learnt from what people say who may be very worried.

As with `fitted`, a training task's forecast comes from a pool that has not seen the task
(cross-fitting), and the penalty is the one that forecasts left-out training tasks best.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
from scipy import sparse
from scipy.optimize import minimize

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.reference.backbone import BackboneReference
from crowdllm_jax.reference.column import ColumnReference
from crowdllm_jax.reference.endpoint import EndpointReference
from crowdllm_jax.reference.record import Reference, from_levels
from crowdllm_jax.reference.ridge import Head
from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.split import Split
from crowdllm_jax.study.statistics import level_shares, task_means, unit
from crowdllm_jax.study.toplines import MOST_SURE

PENALTIES = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
"""Tried in turn, in units of one task's answers."""
WORDS = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
LONGEST = 3
"""Words in a run that counts as one."""
FLOOR = 0.005
"""Added to what a model gives an option: what it rules out is rarely nobody's answer."""
LOG_SIZE, MEAN_SIZE = 0.3, 2.0
"""Sizes of models' logarithms, and of their average, at which one penalty suits both and words."""


class PooledReference(
    msgspec.Struct, frozen=True, tag_field="kind", tag="pooled", forbid_unknown_fields=True
):
    """Attributes:
    of: the references that are pooled; without any, the options' words speak alone.
    folds: parts the training tasks are cut into for cross-fitting.
    """

    of: tuple[ColumnReference | BackboneReference | EndpointReference, ...] = ()
    folds: Annotated[int, msgspec.Meta(ge=2, le=50)] = 5


class _Options(NamedTuple):
    """All O options of T tasks, one behind the other.

    Attributes:
      task, level: (O,). ordered: (O,) whether the levels have an order. label: (O,) in words. own:
      (O,) the set of options it is one of. x: (O, M) what models say.
    """

    task: np.ndarray
    level: np.ndarray
    ordered: np.ndarray
    label: tuple[str, ...]
    own: tuple[tuple[str, ...], ...]
    x: np.ndarray


def pool_references(
    study: Study, split: Split, config: PooledReference, models: Sequence[Reference]
) -> Reference:
    """Cross-fit a pool on the training responses alone.

    Args:
      models: what is pooled, as `config.of` names them.
    Raises:
      CrowdError: a scale has no listed options, there are too few training tasks, or nothing tells
        tasks apart.
    """
    options = _options(study, models)
    share, weight = _people(study, split)
    _check(study, config, int((weight > 0).sum()), len(set(options.own)))
    columns = _columns(options)
    seen = np.flatnonzero(weight > 0)
    # A fixed cut: neighbours in the study's order go to different folds.
    fold = np.full(len(weight), -1)
    fold[seen] = np.arange(len(seen)) % config.folds
    held = np.zeros((len(PENALTIES), *share.shape))
    for one in range(config.folds):
        worth = _path(columns, options, share, np.where(fold == one, 0.0, weight), len(PENALTIES))
        for number, slopes in enumerate(worth):
            held[number, fold == one] = _chances(columns, options, share.shape, slopes)[fold == one]
    likely = (share * np.log(held.clip(1e-9))).sum(2) @ weight
    best = int(np.argmax(likely))
    probs = held[best]
    if len(seen) < len(weight):
        slopes = _path(columns, options, share, weight, best + 1)[-1]
        new = weight == 0
        probs[new] = _chances(columns, options, share.shape, slopes)[new]
    reference = from_levels(study, "pooled", probs)
    return _with_first(replace(reference, heads=(Head(0.0, best),)), models)


def pool_questions(
    study: Study,
    split: Split,
    kept: Reference,
    models: Sequence[Reference],
    asked: Study,
    answers: Sequence[Reference],
) -> Reference:
    """What a pool that was fitted says of new questions.

    Args:
      kept: what `pool_references` made of the study and its `models`.
      asked: the questions, as a study without answers. answers: what the models say of them.
    """
    known, new = _options(study, models), _options(asked, answers)
    t = len(study.tasks.ids)
    both = _Options(
        np.concatenate([known.task, t + new.task]),
        np.concatenate([known.level, new.level]),
        np.concatenate([known.ordered, new.ordered]),
        known.label + new.label,
        known.own + new.own,
        np.concatenate([known.x, new.x]),
    )
    columns = _columns(both)
    share, weight = _people(study, split)
    longest = max(share.shape[1], int(both.level.max()) + 1)
    count = len(asked.tasks.ids)
    share = np.pad(share, ((0, count), (0, longest - share.shape[1])))
    weight = np.append(weight, np.zeros(count))
    slopes = _path(columns, both, share, weight, kept.heads[0].penalty + 1)[-1]
    probs = _chances(columns, both, share.shape, slopes)[t:]
    longest = max(scales.size(scale) for scale in asked.scales.values())
    return _with_first(from_levels(asked, "pooled", probs[:, :longest]), answers)


def _with_first(pooled: Reference, models: Sequence[Reference]) -> Reference:
    """What is told of a model beside its answers is told of the first."""
    if not models:
        return pooled
    first = models[0]
    return replace(
        pooled, mass=first.mass, embedding=first.embedding, order=first.order, spent=first.spent
    )


def _check(study: Study, config: PooledReference, tasks: int, sets: int) -> None:
    for name, scale in study.scales.items():
        if not scales.size(scale):
            raise CrowdError(
                f"reference.kind: pooled forecasts the shares of listed options; scale '{name}' is "
                "continuous and lists none; use kind: fitted, or name its model's answers as a "
                "reference by themselves"
            )
    if tasks < 2 * config.folds:
        raise CrowdError(
            f"reference.kind: pooled needs at least {2 * config.folds} training tasks; there are "
            f"{tasks}; use fewer folds, or one of `of` by itself"
        )
    if not config.of and sets == 1:
        raise CrowdError(
            "reference.kind: pooled has nothing to tell tasks apart by: all have the same options, "
            "and no model's answers are named under `of`"
        )


def _people(study: Study, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """(T, K) training people's shares of each task's levels, and (T,) what a task counts; on
    average 1, of those without answers 0."""
    count = task_means(study, split.of_reference)[2]
    share = np.zeros((len(count), max(map(scales.size, study.scales.values()))))
    for index, scale in enumerate(study.scales.values()):
        if k := scales.size(scale):
            on_scale = (study.tasks.scale == index) & (count > 0)
            share[on_scale, :k] = level_shares(study, split.of_reference, index)[on_scale]
    weight = np.minimum(count, MOST_SURE)
    return share, weight / weight[weight > 0].mean() if weight.any() else weight


def _options(study: Study, models: Sequence[Reference]) -> _Options:
    every = tuple(study.scales.values())
    size = np.array([scales.size(scale) for scale in every])[study.tasks.scale]
    task = np.repeat(np.arange(len(size)), size)
    level = np.arange(size.sum()) - np.repeat(size.cumsum() - size, size)
    labels = [scales.labels(scale) for scale in every]
    of_task = [labels[index] for index in study.tasks.scale]
    return _Options(
        task,
        level,
        scales.which(scales.is_ordered, every)[study.tasks.scale][task],
        tuple(label for own in of_task for label in own),
        tuple(own for own in of_task for _ in own),
        _said(study, models, task, level),
    )


def _said(
    study: Study, models: Sequence[Reference], task: np.ndarray, level: np.ndarray
) -> np.ndarray:
    """(O, M) what models say of options: logarithms of their chances, and the average of these. Of
    a model that says no more than a mean, how far up the option is times how far up that is."""
    columns, chances = [], []
    for model in models:
        if model.probs is not None:
            chances.append(model.probs[task, level])
            columns.append(LOG_SIZE * np.log(chances[-1] + FLOOR))
            continue
        several = np.array([scales.size(s) for s in study.scales.values()])[study.tasks.scale] - 1
        ordered = scales.which(scales.is_ordered, study.scales.values())[study.tasks.scale]
        place = 2 * level / several.clip(1)[task] - 1
        mean = 2 * unit(study, model.mean, np.arange(len(several))) - 1
        columns.append(np.where(ordered, mean, 0.0)[task] * place)
    if chances:
        columns.append(MEAN_SIZE * np.mean(chances, axis=0))
    return np.stack(columns, axis=1) if columns else np.zeros((len(task), 0))


def _columns(options: _Options) -> sparse.csr_matrix:
    """(O, D) runs of words, places among so many, and places in sets of options, beside what models
    say. In which place a level without an order is listed says nothing of others."""
    runs = [_runs(label) for label in options.label]
    keys = [
        [("set", own, level), *([("place", len(own), level)] if ordered else [])]
        for own, level, ordered in zip(
            options.own, options.level.tolist(), options.ordered.tolist(), strict=True
        )
    ]
    number: dict[object, int] = {}
    row, column, value = [], [], []
    for at, (words, places) in enumerate(zip(runs, keys, strict=True)):
        # However long a label, its words together count as one column.
        sizes = [max(len(words), 1) ** -0.5] * len(words) + [1.0] * len(places)
        for key, size in zip((*words, *places), sizes, strict=True):
            row.append(at)
            column.append(number.setdefault(key, len(number)))
            value.append(size)
    shape = len(runs), len(number)
    named = sparse.csr_matrix((value, (row, column)), shape=shape)
    return sparse.hstack([named, sparse.csr_matrix(options.x)]).tocsr()


def _runs(label: str) -> list[str]:
    """All runs of up to `LONGEST` words, each once."""
    words = WORDS.findall(label.casefold())
    found = [
        " ".join(words[begin : begin + length])
        for length in range(1, LONGEST + 1)
        for begin in range(len(words) - length + 1)
    ]
    return list(dict.fromkeys(found))


def _path(
    columns: sparse.csr_matrix,
    options: _Options,
    share: np.ndarray,
    weight: np.ndarray,
    count: int,
) -> list[np.ndarray]:
    """Slopes (D,) under the first of the penalties, each found from the one before."""
    rows = np.flatnonzero(weight[options.task] > 0)
    x, task = columns[rows], options.task[rows]
    back = x.T.tocsr()
    begin, of_row = np.unique(task, return_index=True, return_inverse=True)[1:]
    heavy = weight[task]
    given = heavy * share[task, options.level[rows]]

    def loss(slopes: np.ndarray, penalty: float) -> tuple[float, np.ndarray]:
        log = _log_chances(x @ slopes, begin, of_row)
        gradient = back @ (heavy * np.exp(log) - given) + penalty * slopes
        return penalty / 2 * slopes @ slopes - given @ log, gradient

    found = [np.zeros(columns.shape[1])]
    for penalty in PENALTIES[:count]:
        found.append(minimize(loss, found[-1], (penalty,), jac=True, method="L-BFGS-B").x)
    return found[1:]


def _chances(
    columns: sparse.csr_matrix, options: _Options, shape: tuple[int, ...], slopes: np.ndarray
) -> np.ndarray:
    """(T, K) of every level of every task."""
    begin, of_row = np.unique(options.task, return_index=True, return_inverse=True)[1:]
    out = np.zeros(shape)
    log = _log_chances(columns @ slopes, begin, of_row)
    out[options.task, options.level] = np.exp(log)
    return out


def _log_chances(logit: np.ndarray, begin: np.ndarray, of_row: np.ndarray) -> np.ndarray:
    """(O,) within tasks, which begin at rows `begin`; `of_row` (O,) numbers them."""
    logit = logit - np.maximum.reduceat(logit, begin)[of_row]
    log: np.ndarray = logit - np.log(np.add.reduceat(np.exp(logit), begin))[of_row]
    return log
