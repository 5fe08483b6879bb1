"""Draw agents of the persistent model: a belief per agent, then an answer per task.

What a profile does to a task is worked out once per distinct profile. A decision then costs an
L-term product, one random draw and K - 1 comparisons.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from crowdllm_jax.model.levels import LANES, by_lane, draw_levels, logit, take_rows, unpack
from crowdllm_jax.model.persistent.decision import logistic_cuts
from crowdllm_jax.model.persistent.design import Design
from crowdllm_jax.model.persistent.effects import Effects, Items, Persistent, items, mean_effects
from crowdllm_jax.model.persistent.layout import Layout, level_mask
from crowdllm_jax.model.persistent.unanswered import spread_out
from crowdllm_jax.model.response import fill_ballots, level_dtype
from crowdllm_jax.runtime.randomness import Pair, Stream, normal, uniform, words
from crowdllm_jax.study.scales import Joint, Points, values

FEW = 8
"""Beliefs of up to so many numbers are multiplied out inside the loop that draws."""

RowIndex = jax.Array | np.ndarray


class Ready(NamedTuple):
    """A fitted model at its effects' posterior mean, as arrays.

    Attributes:
      ends: (4, K - 1, B) between levels, loading: (4, L, B), of ordered tasks by lane.
      items, effects: see `persistent`.
      task_scale: (T,). graph, params: the network of beliefs.
      log_residual: (T,) log deviations of continuous answers.
    """

    graph: nnx.GraphDef
    params: nnx.State
    items: Items
    effects: Effects
    ends: jax.Array
    loading: jax.Array
    task_scale: np.ndarray
    log_residual: jax.Array
    log_concentration: jax.Array


def ready_to_draw(graph: nnx.GraphDef, params: nnx.State, design: Design) -> Ready:
    """Work out, once per model, everything that does not depend on the agent."""
    model: Persistent = nnx.merge(graph, params)
    effects = mean_effects(model)
    made = items(model, effects, design.tasks, jnp.asarray(level_mask(design.layout)))
    made, log_residual = spread_out(
        model, made, design.layout, design.tasks.scale, design.tasks.known
    )
    ordered = np.array(design.layout.ordered, int)
    cut = logistic_cuts(made.base, design.layout, design.tasks.scale)[ordered, 1:-1].T
    belief = nnx.split(model.belief, nnx.Param)
    # By lane here, not where they are used: XLA would lay them out across the loop's steps.
    return Ready(
        *belief,
        made,
        effects,
        by_lane(cut),
        by_lane(made.loading[ordered].T),
        design.tasks.scale,
        log_residual,
        model.log_concentration[...],
    )


class ProfileTable(NamedTuple):
    """P distinct profiles: c (P, C) centred; ordered (P 4, B) where they stand on ordered tasks."""

    c: jax.Array
    ordered: jax.Array


@partial(jax.jit, static_argnums=0)
def ready_profiles(layout: Layout, made: Items, c: jax.Array) -> ProfileTable:
    """Work out, once per distinct profile (P, C), what does not depend on the agent."""
    own = np.array(layout.ordered, int)
    where = by_lane(made.location[own][None] + c @ made.profile[:, own])
    lanes, profiles, blocks = where.shape
    return ProfileTable(c, where.swapaxes(0, 1).reshape(profiles * lanes, blocks))


def draw_agents(
    layout: Layout, ready: Ready, profiles: ProfileTable, row: RowIndex, seed: Pair, ids: Pair
) -> jax.Array:
    """Answers of agents, each with one belief of its own (see `draw_answers`)."""
    z, scale = _beliefs(ready.graph, ready.params, seed, ids)
    return draw_answers(layout, ready, profiles, row, z, scale, seed, ids)


@partial(jax.jit, static_argnums=0)
def _beliefs(graph: nnx.GraphDef, params: nnx.State, seed: Pair, ids: Pair) -> Pair:
    belief = nnx.merge(graph, params)
    return belief(normal(words(seed, ids, Stream.LATENT, belief.width)))


def draw_answers(
    layout: Layout,
    ready: Ready,
    profiles: ProfileTable,
    row: RowIndex,
    z: jax.Array,
    scale: jax.Array,
    seed: Pair,
    ids: Pair,
) -> jax.Array:
    """Answers of agents whose beliefs z (N, L) and personal scales (N,) are given.

    Args:
      row: (N,) which of the profiles each agent has. ids: (N,) halves of the agents' ids.
    Returns:
      (N, T), or levels packed in words where all tasks are ordered (see `levels.to_host`).
    """
    return _draw_answers(
        layout,
        tuple(ready.task_scale.tolist()),
        ready.items,
        ready.effects,
        ready.ends,
        ready.loading,
        ready.log_residual,
        ready.log_concentration,
        profiles,
        row,
        z,
        scale,
        seed,
        ids,
    )


@partial(jax.jit, static_argnums=(0, 1))
def _draw_answers(
    layout: Layout,
    task_scale: tuple[int, ...],
    made: Items,
    effects: Effects,
    ends: jax.Array,
    loading: jax.Array,
    log_residual: jax.Array,
    log_concentration: jax.Array,
    profiles: ProfileTable,
    row: RowIndex,
    z: jax.Array,
    scale: jax.Array,
    seed: Pair,
    ids: Pair,
) -> jax.Array:
    scale_of = np.array(task_scale)
    dtype = level_dtype(tuple(layout.scales[i] for i in task_scale))
    parts: list[jax.Array] = []
    tasks: list[int] = []
    if layout.ordered:
        parts.append(_draw_ordered(layout, ends, loading, profiles, row, z, scale, seed, ids))
        if len(layout.ordered) == len(scale_of):
            return parts[0]
        parts[0] = unpack(parts[0], len(layout.ordered)).astype(dtype)
        tasks += layout.ordered
    profile = profiles.c[row]
    weights = jnp.concatenate([profile, z], axis=1)
    slopes = jnp.concatenate([made.profile, made.loading.T])

    def location(own: np.ndarray) -> jax.Array:
        return made.location[own][None] + weights @ slopes[:, own]

    # All other heads take 32-bit draws from one stream, one stretch after the other.
    needs = _draws_needed(layout)
    stretches = iter(
        jnp.split(words(seed, ids, Stream.SCORE, sum(needs)), np.cumsum(needs)[:-1], axis=1)
    )
    if layout.continuous:
        own = np.array(layout.continuous)
        sd = jnp.exp(log_residual[own])[None] * scale[:, None]
        unit = jnp.clip(0.5 + location(own) + sd * normal(next(stretches)), 0, 1)
        low, high = np.array([values(layout.scales[i]) for i in scale_of[own]]).T
        parts.append((low[None] + (high - low)[None] * unit).astype(dtype))
        tasks += layout.continuous
    if layout.nominal:
        own = np.array(layout.nominal)
        gumbel = _gumbel(next(stretches)).reshape(len(z), len(own), layout.levels)
        logits = (
            made.base[own][None]
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


def _draw_ordered(
    layout: Layout,
    ends: jax.Array,
    loading: jax.Array,
    profiles: ProfileTable,
    row: RowIndex,
    z: jax.Array,
    scale: jax.Array,
    seed: Pair,
    ids: Pair,
) -> jax.Array:
    """Levels on ordered tasks: where the agent stands, plus logistic noise, between which ends."""
    latent = z.shape[1]
    by_belief = jnp.einsum("nl,glb->gnb", z, loading) if latent > FEW else None

    def above(lane: int, word: jax.Array) -> Callable[[Any], jax.Array]:
        where = take_rows(profiles.ordered, row * LANES + lane)
        if by_belief is not None:
            where = where + by_belief[lane]
        else:
            for one in range(latent):
                where = where + z[:, one, None] * loading[lane, one][None]
        where = where + scale[:, None] * logit(word)
        return lambda k: where > ends[lane, k][None]

    return draw_levels(seed, ids, len(layout.ordered), ends.shape[1], above)


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
