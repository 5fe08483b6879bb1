"""Tasks that no training person answered: a task drawn at random from those like the known ones.

What the reference and the features say of such a task is where it probably is. How far it may be
from there has been learned from the known tasks, and agents' answers are spread by that much: where
nothing is said of it, an unanswered task gets the answers of the known tasks pooled. So are answers
to a known task, by what its own answers leave open.
"""

from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from scipy.stats import qmc

from crowdllm_jax.model.persistent.decision import logistic_cuts
from crowdllm_jax.model.persistent.design import Design
from crowdllm_jax.model.persistent.effects import (
    COLUMNS,
    Items,
    Persistent,
    Rows,
    TaskColumns,
    by_columns,
    expected_of,
    mean_effects,
    of_columns,
    posterior,
    regressions,
    units,
)
from crowdllm_jax.model.persistent.layout import Layout, level_mask
from crowdllm_jax.model.persistent.regression import regress
from crowdllm_jax.model.persistent.shared import shared_by_scales
from crowdllm_jax.model.scales import continuous, nominal, ordered
from crowdllm_jax.model.scales.kinds import SINGLE
from crowdllm_jax.runtime.precision import SAME_BITS, float32_products
from crowdllm_jax.study import scales

LOGISTIC = 16 * np.sqrt(3) / (15 * np.pi)
"""A logistic plus a normal number of deviation s is close to sqrt(1 + (s * this)**2) times a
logistic one (Zeger, Liang & Albert 1988); off by less than 0.01 in probability up to s = 2."""
DRAWS = 256
"""Quasi-random, of where a new task's levels may be, over which they are averaged."""
LOOKED_AT = 400
"""Known tasks of a scale, at most, whose average is met."""
ROUNDS, CLOSE = 50, 1e-4
"""At most, until average shares are off by no more."""


Spread = TypeVar("Spread", np.ndarray, jax.Array)


class _Told(NamedTuple):
    """An effect told apart: coefficients' means and deviations (D,), what tasks have of their own
    and its deviations (M,), and how far new ones may be from what columns say (M,)."""

    mean: jax.Array
    sd: jax.Array
    own: jax.Array
    own_sd: jax.Array
    spread: jax.Array


@partial(jax.jit, static_argnums=0, compiler_options=SAME_BITS)
def _told_apart(
    graph: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    groups: dict[str, np.ndarray],
    tasks: TaskColumns,
) -> dict[str, _Told]:
    model: Persistent = nnx.merge(graph, params)
    told = {}
    for name, around in regressions(model, groups, tasks).items():
        deviation = posterior(model, name)
        theta = around.x @ of_columns(model, name).mean + deviation.mean
        mean, covariance = regress(around, theta)
        said = ((around.x @ covariance) * around.x).sum(1)
        told[name] = _Told(
            mean,
            jnp.sqrt(jnp.diagonal(covariance)),
            around.known * (theta - around.x @ mean),
            deviation.sd,
            jnp.sqrt(around.apart**2 + said),
        )
    return told


def settled(
    graph: nnx.GraphDef[Any], params: nnx.State[Any, Any], design: Design
) -> nnx.State[Any, Any]:
    """A fit's parameters, told apart: what columns say of tasks, what known tasks have of their
    own, and how far the others may be from what is said (as the deviation of their effects)."""
    told = jax.device_get(_told_apart(graph, params, design.groups, design.tasks))
    params = jax.tree.map(np.array, params)
    model: Persistent = nnx.merge(graph, params)
    effects, new = model.effects, np.asarray(design.tasks.known) == 0
    spread, expected = {}, {}
    for name, effect in told.items():
        mean, log_sd = effects.mean[name], effects.log_sd[name]
        shape = mean[...].shape
        own, own_sd = effect.own.reshape(shape), effect.own_sd.reshape(shape)
        if name == "task_level":
            own_sd = np.where(level_mask(design.layout)[design.tasks.scale] == 0, own_sd, 0)
        expected[name], left = shared_by_scales(own, own_sd, design.tasks)
        spread[name] = (effect.spread.reshape(shape).T * left).T
        mean[...] = own + (0 if name == "task_level" else expected[name])
        unsure = log_sd[...]
        unsure[new] = np.log(spread[name][new])
        log_sd[...] = unsure
        begin = 0
        for column in (one for one in COLUMNS[name] if one in effects.mean):
            end = begin + effects.mean[column][...].size
            effects.mean[column][...] = effect.mean[begin:end]
            sd = effect.sd[begin:end]
            if column == "part_worth":
                # Known choices tell what it is only as far as there are any.
                sd = np.hypot(sd, np.exp(effects.log_sd[column][...]))
            effects.log_sd[column][...] = np.log(sd)
            begin = end
    if new.any():
        _level_out(model, design, spread)
        level = effects.mean["task_level"][...]
        level[new] = averaged(model, design, spread, new, expected["task_level"][new])
        effects.mean["task_level"][...] = level
    return nnx.state(model, nnx.Param)


def _level_out(model: Persistent, design: Design, spread: dict[str, np.ndarray]) -> None:
    """Give the levels of each scale such logits (continuous scales such a middle) that its known
    tasks, were nobody's answers to them known, would be answered on average as they are; each known
    task's own move back by as much.

    A fit settles slowly what its tasks have in common, and never that they lie to one side: where
    most are near the middle and some far up, normal ones of their mean and deviation are answered
    higher up than they are.
    """
    layout, tasks = design.layout, design.tasks
    level, own = np.array(model.level[...]), np.array(model.effects.mean["task_level"][...])
    middle, task = np.array(model.middle[...]), np.array(model.effects.mean["task"][...])
    told = np.asarray(_by_columns(mean_effects(model), tasks))
    usual = float(model.belief.usual_scale)
    said = tasks.features @ np.asarray(model.effects.mean["task_features"][...])
    apart = _apart_by_beliefs(model, tasks)
    wide = np.hypot(apart, spread["task"])
    draws = qmc.MultivariateNormalQMC(np.zeros(layout.levels), rng=0).random(DRAWS // 4)
    for index, scale in enumerate(layout.scales):
        kind, k = SINGLE.get(type(scale)), scales.size(scale)
        known = np.flatnonzero((tasks.scale == index) & (tasks.known > 0))
        if not len(known) or (tasks.levelled is not None and not tasks.levelled[known[0]]):
            continue
        if kind is continuous:
            middle[index] += task[known].mean()
            task[known] -= task[known].mean()
        if kind not in (ordered, nominal):
            continue
        few = known[:: -(-len(known) // LOOKED_AT)]
        base = (level[index] + told[few])[:, :k]
        place = said + task if kind is ordered else None
        found = _answered(_softmax(base + own[few, :k]), place, apart / usual, few, usual)
        place = said if kind is ordered else None
        noise = spread["task_level"][few, None, :k] * draws[:, :k]
        move = np.zeros(k)
        for _ in range(ROUNDS):
            share = _softmax((base + move)[:, None] + noise).mean(1)
            now = _answered(share, place, wide / usual, few, usual)
            move += np.log(found.clip(1e-6)) - np.log(now.clip(1e-6))
            if np.abs(now - found).max() < CLOSE:
                break
        move -= move.mean()
        level[index, :k] += move
        own[known, :k] -= move
    model.level[...], model.middle[...] = level, middle
    model.effects.mean["task_level"][...], model.effects.mean["task"][...] = own, task


def _answered(
    share: np.ndarray, place: np.ndarray | None, sd: np.ndarray, few: np.ndarray, usual: float
) -> np.ndarray:
    """(K,) average shares of answers to a few tasks.

    Args:
      share: (N, K) of the levels at location 0 and scale 1. place: (T,) where all tasks are, None
        of those without a location. sd: (T,) how far agents, or where the task is, lie apart, in
        personal scales. few: (N,) which tasks. usual: the personal scale.
    """
    if place is not None:
        below = share.cumsum(1)[:, :-1].clip(1e-6, 1 - 1e-6)
        cut = np.log(below) - np.log1p(-below) - place[few, None]
        cut /= (usual * dilution(sd))[few, None]
        share = np.diff(1 / (1 + np.exp(-cut.clip(-30, 30))), axis=1, prepend=0, append=1)
    mean: np.ndarray = share.mean(0)
    return mean


def _apart_by_beliefs(model: Persistent, tasks: TaskColumns) -> np.ndarray:
    """(T,) deviation of where beliefs put people on tasks that are not known by their own."""
    loading = tasks.loading @ np.asarray(model.effects.mean["loading"][...])
    loading[:, 0] += np.asarray(model.first_loading[...])[tasks.scale]
    return np.asarray(np.sqrt(((loading * model.belief.deviation()) ** 2).sum(1)))


def averaged(
    model: Persistent,
    design: Design,
    spread: dict[str, np.ndarray],
    new: np.ndarray,
    middle: np.ndarray | float = 0.0,
) -> np.ndarray:
    """(N, K) level effects of N new tasks that give the levels' average shares, however far a task
    is from what is said of it, or from `middle` (N, K) beside that."""
    layout, scale = design.layout, design.tasks.scale[new]
    told = np.asarray(_by_columns(mean_effects(model), design.tasks))[new]
    base = np.asarray(model.level[...])[scale] + told
    own_levels = level_mask(layout)[scale]
    share = np.zeros(base.shape)
    for one in qmc.MultivariateNormalQMC(np.zeros(layout.levels), rng=0).random(DRAWS):
        share += _softmax(base + middle + own_levels + spread["task_level"][new] * one) / DRAWS
    ordered = np.isin(np.flatnonzero(new), layout.ordered)
    cut = (
        np.asarray(logistic_cuts(jnp.log(share), layout, scale))
        / dilution(spread["task"][new] / float(model.belief.usual_scale))[:, None]
    )
    below = 1 / (1 + np.exp(-cut.clip(-30, 30)))
    share[ordered] = np.diff(below, axis=1)[ordered]
    return np.log(share.clip(1e-9)) - base


_by_columns = jax.jit(float32_products()(by_columns))


def _softmax(logit: np.ndarray) -> np.ndarray:
    rate = np.exp(logit - logit.max(-1, keepdims=True))
    share: np.ndarray = rate / rate.sum(-1, keepdims=True)
    return share


def explained(graph: nnx.GraphDef[Any], params: nnx.State[Any, Any], design: Design) -> np.ndarray:
    """(S,) share of the differences between known tasks that columns explain, of a scale or of all
    that share how far a reference is trusted: of their locations and of how far two levels lie
    apart, together, since what the one has the other need not have; 0 without columns, NaN without
    known tasks."""
    share = np.full(len(design.layout.scales), np.nan)
    told_of = jax.device_get(_said(graph, params, design.groups, design.tasks))
    for index, scale in enumerate(design.layout.scales):
        tasks = with_trust_of(design.tasks, index) & (design.tasks.known > 0)
        if not tasks.any():
            continue
        kind, told, apart = SINGLE.get(type(scale)), 0.0, 0.0
        # Nominal tasks have no location, and levels none but these and ordered ones.
        parts = [("task", 1, 1)] if kind is not nominal else []
        most = max(
            scales.size(design.layout.scales[s]) for s in np.unique(design.tasks.scale[tasks])
        )
        parts += [("task_level", most, 2)] if kind in (nominal, ordered) else []
        for name, levels, ends in parts:
            per_task = (len(tasks), -1)
            said, left = (
                np.asarray(one).reshape(per_task)[tasks, :levels] for one in told_of[name]
            )
            told += ends * said.var(0).mean()
            apart += ends * (left[0] ** 2).mean()
        share[index] = told / (told + apart)
    return share


def with_trust_of(tasks: TaskColumns, scale: int) -> np.ndarray:
    """(T,) bool, tasks on a scale and on all others that share its trust in references."""
    own: np.ndarray = tasks.scale == scale
    return own if tasks.trusted is None else np.isin(tasks.trusted, tasks.trusted[own])


@partial(jax.jit, static_argnums=0)
@float32_products()
def _said(
    graph: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    groups: dict[str, np.ndarray],
    tasks: TaskColumns,
) -> dict[str, tuple[jax.Array, jax.Array]]:
    """What columns say of single tasks' effects, and how far these stand from it; flat."""
    model: Persistent = nnx.merge(graph, params)
    around = regressions(model, groups, tasks)
    said = {name: one.x @ of_columns(model, name).mean for name, one in around.items()}
    said["task_level"] += expected_of(tasks).ravel()
    return {name: (said[name], one.apart) for name, one in around.items()}


def dilution(spread: Spread) -> Spread:
    """How much wider answers are of tasks that may be so far from where they are expected."""
    return (1 + (LOGISTIC * spread) ** 2) ** 0.5


def widened(base: jax.Array, layout: Layout, spread: Rows) -> jax.Array:
    """(T, K) log probabilities of levels whose ends on the logistic axis lie closer together, so
    that what moves people there by deviations (T,) more, as `diluted` has it, spreads their answers
    by as much more. Levels of tasks that are not ordered stay."""
    scale = np.array(layout.task_scale)
    ordered = np.isin(np.arange(len(scale)), layout.ordered)
    cut = logistic_cuts(base, layout, scale) / dilution(jnp.asarray(spread))[:, None]
    share = jnp.diff(jax.nn.sigmoid(cut), axis=1).clip(1e-9)
    # Levels beyond a scale's own keep what masks them.
    own = jnp.asarray(ordered[:, None] & (level_mask(layout)[scale] == 0))
    return jnp.where(own, jnp.log(share), base)


def spread_out(
    model: Persistent, items: Items, residual: jax.Array, layout: Layout, known: Rows
) -> tuple[Items, jax.Array]:
    """Items, and (T,) log deviations of continuous answers, spread out by how unsure it is where
    each task is: known ones by what their answers leave open, so that few answers do not make
    agents of one mind, and new ones by how far they may be from what is said of them."""
    spread = jnp.exp(model.effects.log_sd["task"][...])
    # Choices have no location that answers would tell. Levels of new tasks are as wide already
    # (`averaged`).
    choices = np.isin(np.arange(len(layout.task_scale)), layout.tasks_of(nominal))
    old = jnp.asarray(known) > 0
    # In units of the noise in people's answers, as dilution has it.
    spread = jnp.where(old & choices, 0.0, spread) / model.belief.usual_scale
    unit = units(model, np.array(layout.task_scale))
    base = widened(items.base, layout, jnp.where(old, spread, 0.0))
    return diluted(items._replace(base=base), residual, layout, spread * unit)


def diluted(
    items: Items, residual: jax.Array, layout: Layout, spread: Rows
) -> tuple[Items, jax.Array]:
    """Items, and (T,) log deviations of continuous answers, of tasks that agents differ on by
    further normal numbers of deviations (T,), each task's on its own."""
    on_line = np.isin(np.arange(len(layout.task_scale)), layout.tasks_of(continuous))
    wider = jnp.where(on_line, 1.0, dilution(jnp.asarray(spread)))
    return items._replace(
        location=items.location / wider,
        loading=items.loading / wider[:, None],
        profile=items.profile / wider[None],
        trust=None if items.trust is None else items.trust / wider[:, None],
    ), 0.5 * jnp.log(jnp.exp(2 * residual) + spread**2)
