"""Tasks that no training person answered: a task drawn at random from those like the known ones.

What the reference and the features say of such a task is where it probably is. How far it may be
from there has been learned from the known tasks, and agents' answers are spread by that much: where
nothing is said of it, an unanswered task gets the answers of the known tasks pooled.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from crowdllm_jax.model.design import Design
from crowdllm_jax.model.heads import Layout, cuts, level_mask
from crowdllm_jax.model.persistent import COLUMNS, Items, Persistent, posterior, regressions
from crowdllm_jax.model.regression import regress

LOGISTIC = 16 * np.sqrt(3) / (15 * np.pi)
"""A logistic plus a normal number of deviation s is close to sqrt(1 + (s * this)**2) times a
logistic one (Zeger, Liang & Albert 1988); off by less than 0.01 in probability up to s = 2."""
DRAWS = 1000
"""Of an unanswered task's levels, over which they are averaged."""


def settled(graph: nnx.GraphDef, params: nnx.State, design: Design) -> nnx.State:
    """A fit's parameters, told apart: what columns say of tasks, what known tasks have of their
    own, and how far the others may be from what is said (as the deviation of their effects)."""
    model: Persistent = nnx.merge(graph, jax.tree.map(jnp.asarray, params))
    effects, tasks = model.effects, design.tasks
    known = np.asarray(tasks.known) > 0
    spread = {}
    for name, around in regressions(model, design.groups, tasks).items():
        of_columns = COLUMNS[name]
        shape = effects.mean[name][...].shape
        theta = around.x @ posterior(model, of_columns).mean + posterior(model, name).mean
        mean, covariance = regress(around, theta)
        own = np.where(around.known > 0, theta - around.x @ mean, 0.0).reshape(shape)
        sd = np.sqrt(around.apart**2 + ((around.x @ covariance) * around.x).sum(1))
        spread[name] = np.asarray(sd).reshape(shape)
        effects.mean[of_columns][...] = mean
        effects.log_sd[of_columns][...] = 0.5 * jnp.log(jnp.diagonal(covariance))
        effects.mean[name][...] = jnp.asarray(own, jnp.float32)
        here = known.reshape(-1, *(1,) * (len(shape) - 1))
        log_sd = np.where(here, effects.log_sd[name][...], np.log(spread[name]))
        effects.log_sd[name][...] = jnp.asarray(log_sd, jnp.float32)
    if not known.all():
        level = np.asarray(effects.mean["task_level"][...]).copy()
        level[~known] = _averaged(model, design, spread)[~known]
        effects.mean["task_level"][...] = jnp.asarray(level)
    return nnx.state(model, nnx.Param)


def _averaged(model: Persistent, design: Design, spread: dict[str, np.ndarray]) -> np.ndarray:
    """(T, K) level effects that give the levels' average shares, however far a task is from what
    is said of it."""
    layout, tasks = design.layout, design.tasks
    trust = np.asarray(model.effects.mean["trust"][...])[tasks.scale, None]
    base = np.asarray(model.level[...])[tasks.scale] + trust * tasks.reference
    open_ = level_mask(layout)[tasks.scale]
    noise = np.random.default_rng(0).standard_normal((DRAWS // 2, layout.levels))
    share = np.zeros(base.shape)
    for one in np.concatenate([noise, -noise]):
        share += _softmax(base + open_ + spread["task_level"] * one) / DRAWS
    ordered = np.array(layout.ordered, int)
    wider = dilution(spread["task"])[:, None]
    cut = np.asarray(cuts(jnp.log(share), layout, tasks.scale))[ordered] / wider[ordered]
    below = 1 / (1 + np.exp(-cut.clip(-30, 30)))
    share[ordered] = np.diff(below, axis=1)
    return np.log(share.clip(1e-9)) - base


def _softmax(logit: np.ndarray) -> np.ndarray:
    rate = np.exp(logit - logit.max(1, keepdims=True))
    return rate / rate.sum(1, keepdims=True)


def explained(graph: nnx.GraphDef, params: nnx.State, design: Design) -> np.ndarray:
    """(S,) share of the differences between a scale's known tasks that columns explain: of their
    locations or, where that is more, of their levels; 0 without columns, NaN without known tasks.
    """
    model: Persistent = nnx.merge(graph, params)
    share = np.full((2, len(design.layout.scales)), np.nan)
    for row, (name, around) in enumerate(regressions(model, design.groups, design.tasks).items()):
        said = np.asarray(around.x @ posterior(model, COLUMNS[name]).mean)
        per_task = len(said) // len(design.tasks.scale)
        for index in range(share.shape[1]):
            here = (design.tasks.scale == index) & (design.tasks.known > 0)
            if here.any():
                variance = said.reshape(-1, per_task)[here].var(0).sum()
                own = float((np.asarray(around.apart).reshape(-1, per_task)[here][0] ** 2).sum())
                share[row, index] = variance / (variance + own)
    return share.max(0)


def dilution(spread: np.ndarray) -> np.ndarray:
    """How much wider answers are of tasks that may be so far from where they are expected."""
    return np.sqrt(1 + (LOGISTIC * spread) ** 2)


def spread_out(
    model: Persistent, made: Items, layout: Layout, scale: np.ndarray, known: np.ndarray
) -> tuple[Items, jnp.ndarray]:
    """Items with unanswered tasks spread out, and (T,) log deviations of continuous answers."""
    residual = model.log_residual[...][scale]
    if known.all():
        return made, residual
    spread = np.where(known > 0, 0.0, np.exp(np.asarray(model.effects.log_sd["task"][...])))
    wider = dilution(spread)
    wider[list(layout.continuous)] = 1.0
    return made._replace(
        location=made.location / wider,
        loading=made.loading / wider[:, None],
        profile=made.profile / wider,
    ), 0.5 * jnp.log(jnp.exp(2 * residual) + spread**2)
