"""Draw agents of the persistent model: a belief per agent, then an answer per task.

A decision costs an (L + C)-term product, one random draw and K - 1 comparisons.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.scipy.special import ndtri

from crowdllm_jax.model.design import Design
from crowdllm_jax.model.heads import Layout, cuts, level_mask
from crowdllm_jax.model.persistent import Effects, Items, Persistent, items, mean_effects
from crowdllm_jax.model.response import Joint, fill_ballots, level_dtype
from crowdllm_jax.randomness import Pair, Stream, half_words, uniform, words
from crowdllm_jax.scales import Points, values


class Ready(NamedTuple):
    """A fitted model at its effects' posterior mean, as arrays.

    Attributes:
      cut: (K - 1, ordered) ends between levels. items, effects: see `persistent`.
      task_scale: (T,). graph, params: the network of beliefs.
    """

    graph: nnx.GraphDef
    params: nnx.State
    items: Items
    effects: Effects
    cut: jax.Array
    task_scale: np.ndarray
    log_residual: jax.Array
    log_concentration: jax.Array


def ready_to_draw(graph: nnx.GraphDef, params: nnx.State, design: Design) -> Ready:
    """Work out, once per model, everything that does not depend on the agent."""
    model: Persistent = nnx.merge(graph, params)
    effects = mean_effects(model)
    made = items(model, effects, design.tasks, jnp.asarray(level_mask(design.layout)))
    ordered = np.array(design.layout.ordered, int)
    cut = cuts(made.base, design.layout, design.tasks.scale)[ordered, 1:-1].T
    belief = nnx.split(model.belief, nnx.Param)
    return Ready(
        *belief, made, effects, cut, design.tasks.scale, model.log_residual[...],
        model.log_concentration[...],
    )  # fmt: skip


def draw_agents(
    layout: Layout, ready: Ready, profile: np.ndarray, seed: Pair, ids: Pair
) -> jax.Array:
    """(N, T) answers of agents, each with one belief of its own.

    Args:
      profile: (N, C) centred profiles. ids: (N,) halves of the agents' ids.
    """
    z, scale = _beliefs(ready.graph, ready.params, seed, ids)
    return draw_answers(layout, ready, profile, z, scale, seed, ids)


@partial(jax.jit, static_argnums=0)
def _beliefs(graph: nnx.GraphDef, params: nnx.State, seed: Pair, ids: Pair) -> Pair:
    belief = nnx.merge(graph, params)
    return belief(ndtri(uniform(words(seed, ids, Stream.LATENT, belief.width))))


def draw_answers(
    layout: Layout,
    ready: Ready,
    profile: np.ndarray,
    z: jax.Array,
    scale: jax.Array,
    seed: Pair,
    ids: Pair,
) -> jax.Array:
    """(N, T) answers of agents whose beliefs z (N, L) and personal scales (N,) are given."""
    return _draw_answers(
        layout, tuple(ready.task_scale.tolist()), ready.items, ready.effects, ready.cut,
        ready.log_residual, ready.log_concentration, profile, z, scale, seed, ids,
    )  # fmt: skip


@partial(jax.jit, static_argnums=(0, 1))
def _draw_answers(
    layout: Layout,
    task_scale: tuple[int, ...],
    made: Items,
    effects: Effects,
    cut: jax.Array,
    log_residual: jax.Array,
    log_concentration: jax.Array,
    profile: jax.Array,
    z: jax.Array,
    scale: jax.Array,
    seed: Pair,
    ids: Pair,
) -> jax.Array:
    scale_of = np.array(task_scale)
    dtype = level_dtype(tuple(layout.scales[i] for i in task_scale))
    weights = jnp.concatenate([profile, z], axis=1)
    slopes = jnp.concatenate([made.profile, made.loading.T])
    parts: list[jax.Array] = []
    tasks: list[int] = []

    def location(own: np.ndarray) -> jax.Array:
        return made.location[own] + weights @ slopes[:, own]

    if layout.ordered:
        own = np.array(layout.ordered)
        bits = half_words(seed, ids, Stream.LEVEL, len(own)).astype(jnp.float32)
        share = (bits + 0.5) * jnp.float32(2.0**-16)
        where = location(own) + scale[:, None] * (jnp.log(share) - jnp.log1p(-share))
        level = jnp.zeros(where.shape, dtype)
        for one in cut:
            level = level + (where > one).astype(dtype)
        parts.append(level)
        tasks += layout.ordered
    # All other heads take 32-bit draws from one stream, one stretch after the other.
    needs = _draws_needed(layout)
    if sum(needs):
        stretches = iter(
            jnp.split(words(seed, ids, Stream.SCORE, sum(needs)), np.cumsum(needs)[:-1], axis=1)
        )
    if layout.continuous:
        own = np.array(layout.continuous)
        sd = jnp.exp(log_residual[scale_of[own]]) * scale[:, None]
        unit = jnp.clip(0.5 + location(own) + sd * ndtri(uniform(next(stretches))), 0, 1)
        low, high = np.array([values(layout.scales[i]) for i in scale_of[own]]).T
        parts.append((low + (high - low) * unit).astype(dtype))
        tasks += layout.continuous
    if layout.nominal:
        own = np.array(layout.nominal)
        gumbel = _gumbel(next(stretches)).reshape(len(z), len(own), layout.levels)
        logits = (
            made.base[own]
            + jnp.einsum("nl,jkl->njk", z, effects["level_loading"][scale_of[own]])
            + jnp.einsum("nc,jck->njk", profile, effects["level_profile"][scale_of[own]])
        ) / scale[:, None, None]
        own_level = (level_mask(layout) == 0)[scale_of[own]]
        chosen = jnp.argmax(jnp.where(own_level, logits + gumbel, -jnp.inf), axis=2)
        parts.append(chosen.astype(dtype))
        tasks += layout.nominal
    for index, members in layout.ballots:
        ballot = layout.scales[index]
        assert isinstance(ballot, Joint)
        utility = location(np.array(members)) / scale[:, None]
        if isinstance(ballot, Points):
            levels = _share_points(ballot, utility, log_concentration[index], next(stretches))
        else:
            levels = fill_ballots(ballot, utility + _gumbel(next(stretches)))
        parts.append(levels.astype(dtype))
        tasks += members
    return jnp.concatenate(parts, axis=1)[:, np.argsort(tasks)]


def _draws_needed(layout: Layout) -> list[int]:
    """32-bit draws per agent of the continuous tasks, the nominal tasks, and each ballot."""
    needs = []
    if layout.continuous:
        needs.append(len(layout.continuous))
    if layout.nominal:
        needs.append(len(layout.nominal) * layout.levels)
    for index, members in layout.ballots:
        scale = layout.scales[index]
        needs.append(scale.budget if isinstance(scale, Points) else len(members))
    return needs


def _gumbel(word: jax.Array) -> jax.Array:
    return -jnp.log(-jnp.log(uniform(word)))


def _share_points(
    scale: Points, utility: jax.Array, log_concentration: jax.Array, word: jax.Array
) -> jax.Array:
    """(N, T) points of a Dirichlet-multinomial, one point after the other (a Polya urn)."""
    alpha = jnp.exp(log_concentration) * jax.nn.softmax(utility, axis=1) + 1e-6

    def give(points: jax.Array, draw: jax.Array) -> tuple[jax.Array, None]:
        below = jnp.cumsum(alpha + points, axis=1)
        at = (draw[:, None] * below[:, -1:] > below).sum(1)
        return points + jax.nn.one_hot(at, alpha.shape[1], dtype=points.dtype), None

    start = jnp.zeros_like(utility)
    points, _ = jax.lax.scan(give, start, uniform(word).T)
    return points
