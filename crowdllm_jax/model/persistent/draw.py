"""Draw agents of the persistent model: a belief per agent, then an answer per task.

What a profile does to a task is worked out once per distinct profile. A decision then costs an
L-term product, one random draw and K - 1 comparisons.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from crowdllm_jax.model.levels import LANES, by_lane, take_rows, unpack
from crowdllm_jax.model.persistent.belief import Belief, UnwitnessedBelief
from crowdllm_jax.model.persistent.decision import Responses, Standing, logistic_cuts
from crowdllm_jax.model.persistent.design import Design
from crowdllm_jax.model.persistent.effects import (
    Items,
    Persistent,
    TaskColumns,
    items,
    mean_effects,
)
from crowdllm_jax.model.persistent.layout import Layout, level_mask
from crowdllm_jax.model.persistent.unanswered import diluted, spread_out, widened
from crowdllm_jax.model.persistent.witness import Unwitnessed
from crowdllm_jax.model.response import level_dtype
from crowdllm_jax.model.scales import nominal, ordered
from crowdllm_jax.model.scales.kinds import BALLOT
from crowdllm_jax.model.scales.standpoint import Standpoint
from crowdllm_jax.runtime.precision import SAME_BITS, float32_products
from crowdllm_jax.runtime.randomness import Pair, Stream, normal, words

FEW = 8
"""Beliefs of up to so many numbers are multiplied out inside the loop that draws."""

RowIndex = jax.Array | np.ndarray


class Tables(NamedTuple):
    """A fitted model at its effects' posterior mean, as arrays.

    Attributes:
      responses: see `decision`.
      ends: (4, K - 1, B) between levels, loading: (4, L, B), of ordered tasks by lane.
    """

    responses: Responses
    ends: jax.Array
    loading: jax.Array


class Ready(NamedTuple):
    """A fitted model ready to draw; graph, params: the network of beliefs."""

    graph: nnx.GraphDef[Any]
    params: nnx.State[Any, Any]
    tables: Tables

    @property
    def items(self) -> Items:
        """The tasks at the effects' posterior mean."""
        return self.tables.responses.items


def ready_to_draw(
    graph: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    design: Design,
    *,
    witnessed: bool = True,
) -> Ready:
    """Work out, once per model, everything that does not depend on the agent.

    Args:
      witnessed: what witnesses say of the people is added elsewhere, where there are any; else
        people differ, as the training people do, by what would be said of them.
    """
    unwitnessed = None if witnessed else design.unwitnessed
    tables = _tables(graph, design.layout, params, design.tasks, unwitnessed)
    own: Belief = nnx.merge(graph, params).belief
    belief = own if unwitnessed is None else UnwitnessedBelief(own, unwitnessed.loading.shape[1])
    return Ready(*nnx.split(belief, nnx.Param), tables)


@partial(jax.jit, static_argnums=(0, 1), compiler_options=SAME_BITS)
@float32_products()
def _tables(
    graph: nnx.GraphDef[Any],
    layout: Layout,
    params: nnx.State[Any, Any],
    columns: TaskColumns,
    unwitnessed: Unwitnessed | None,
) -> Tables:
    """What does not depend on the agent, compiled once for each layout.

    Args:
      unwitnessed: how agents differ of whom no witness tells.
    """
    model: Persistent = nnx.merge(graph, params)
    fitted = items(model, mean_effects(model), columns, jnp.asarray(level_mask(layout)))
    log_residual = model.log_residual[...][columns.scale]
    fitted, log_residual = spread_out(model, fitted, log_residual, layout, columns.known)
    if unwitnessed is not None:
        spread = unwitnessed.spread / model.belief.usual_scale
        fitted = fitted._replace(
            location=fitted.location + unwitnessed.location,
            base=widened(fitted.base, layout, spread),
            profile=fitted.profile + unwitnessed.profile,
            loading=jnp.concatenate([fitted.loading, unwitnessed.loading], axis=1),
        )
        fitted, log_residual = diluted(fitted, log_residual, layout, spread)
    ordered_ones = np.array(layout.ordered, int)
    cut = logistic_cuts(fitted.base, layout, np.array(layout.task_scale))[ordered_ones, 1:-1].T
    responses = Responses(fitted, log_residual, model.log_concentration[...])
    # By lane here, not where they are used: XLA would lay them out across the loop's steps.
    return Tables(responses, by_lane(cut), by_lane(fitted.loading[ordered_ones].T))


class ProfileTable(NamedTuple):
    """P distinct profiles: c (P, C) centred; ordered (P 4, B) where they stand on ordered tasks."""

    c: jax.Array
    ordered: jax.Array


@partial(jax.jit, static_argnums=0, compiler_options=SAME_BITS)
@float32_products()
def ready_profiles(layout: Layout, fitted: Items, c: jax.Array) -> ProfileTable:
    """Work out, once per distinct profile (P, C), what does not depend on the agent."""
    tasks = np.array(layout.ordered, int)
    location = by_lane(fitted.location[tasks][None] + c @ fitted.profile[:, tasks])
    lanes, profiles, blocks = location.shape
    return ProfileTable(c, location.swapaxes(0, 1).reshape(profiles * lanes, blocks))


class Recruited(NamedTuple):
    """N agents whose beliefs are still to be drawn, or are known.

    Attributes:
      profiles: distinct ones; row: (N,) which of them each agent has.
      seed, ids: halves of the population's seed and of the (N,) agents' ids.
    """

    profiles: ProfileTable
    row: RowIndex
    seed: Pair
    ids: Pair


def draw_agents(layout: Layout, ready: Ready, agents: Recruited) -> jax.Array:
    """Answers of agents, each with one belief of its own (see `draw_answers`)."""
    standing = draw_beliefs(ready.graph, ready.params, agents.seed, agents.ids)
    return draw_answers(layout, ready.tables, agents, standing)


@partial(jax.jit, static_argnums=0, compiler_options=SAME_BITS)
@float32_products()
def draw_beliefs(
    graph: nnx.GraphDef[Any], params: nnx.State[Any, Any], seed: Pair, ids: Pair
) -> Standing:
    """One belief per agent: z (N, L) and the personal scale (N,)."""
    return _beliefs(graph, params, seed, ids)


def _beliefs(
    graph: nnx.GraphDef[Any], params: nnx.State[Any, Any], seed: Pair, ids: Pair
) -> Standing:
    belief = nnx.merge(graph, params)
    return Standing(*belief(normal(words(seed, ids, Stream.LATENT, belief.width))))


@partial(jax.jit, static_argnums=0, compiler_options=SAME_BITS)
@float32_products()
def draw_answers(
    layout: Layout, tables: Tables, agents: Recruited, standing: Standing
) -> jax.Array:
    """Answers of agents whose beliefs z (N, L) and personal scales (N,) are given.

    Returns:
      (N, T), or levels packed in words where all tasks are ordered (see `levels.to_host`).
    """
    responses = tables.responses
    dtype = level_dtype(tuple(layout.scales[index] for index in layout.task_scale))
    drawn: list[jax.Array] = []
    order: list[int] = []
    if layout.ordered:
        drawn.append(_draw_ordered(layout, tables, agents, standing))
        if len(layout.ordered) == len(layout.task_scale):
            return drawn[0]
        drawn[0] = unpack(drawn[0], len(layout.ordered)).astype(dtype)
        order += layout.ordered
    # All other kinds take 32-bit draws from one stream, one stretch after the other.
    needs = _draws_needed(layout)
    stretches = iter(
        jnp.split(
            words(agents.seed, agents.ids, Stream.SCORE, sum(needs)), np.cumsum(needs)[:-1], axis=1
        )
    )
    for kind, tasks in layout.single:
        if kind is not ordered:
            levels_too = kind is nominal
            at = _standpoint(layout, responses, agents, standing, np.array(tasks), levels_too)
            answers = kind.draw(at, next(stretches), tuple(map(layout.scale_of, tasks)))
            drawn.append(answers.astype(dtype))
            order += tasks
    for index, tasks in layout.ballots:
        ballot = layout.scales[index]
        location = _locations(responses, agents, standing, np.array(tasks))
        levels = BALLOT[type(ballot)].draw(
            ballot,
            location / standing.scale[:, None],
            next(stretches),
            responses.log_concentration[index],
        )
        drawn.append(levels.astype(dtype))
        order += tasks
    return jnp.concatenate(drawn, axis=1)[:, np.argsort(order)]


def _draw_ordered(
    layout: Layout, tables: Tables, agents: Recruited, standing: Standing
) -> jax.Array:
    z, latent = standing.z, standing.z.shape[1]
    by_belief = jnp.einsum("nl,glb->gnb", z, tables.loading) if latent > FEW else None

    def location(lane: int) -> jax.Array:
        of_profile = take_rows(agents.profiles.ordered, agents.row * LANES + lane)
        if by_belief is not None:
            return of_profile + by_belief[lane]
        for dimension in range(latent):
            of_profile = of_profile + z[:, dimension, None] * tables.loading[lane, dimension][None]
        return of_profile

    scale, ends = standing.scale[:, None], tables.ends[:, :, None]
    return ordered.draw(agents.seed, agents.ids, len(layout.ordered), location, scale, ends)


@float32_products()
def draw_grouped(layout: Layout, ready: Ready, agents: Recruited) -> jax.Array:
    """(G, B, A) packed answers of agents (G, A) in groups with one profile (G,) each.

    The answers of `draw_agents`, where all tasks are ordered: a group reads its profile once.
    """
    tables, shape = ready.tables, agents.ids[0].shape
    flat = (agents.ids[0].reshape(-1), agents.ids[1].reshape(-1))
    standing = _beliefs(ready.graph, ready.params, agents.seed, flat)
    latent = standing.z.shape[1]
    z = standing.z.T.reshape(latent, shape[0], 1, shape[1])
    loading = tables.loading[:, :, None, :, None]
    blocks = tables.loading.shape[2]
    profiles = agents.profiles.ordered.reshape(-1, LANES * blocks)
    of_group = take_rows(profiles, agents.row).reshape(-1, LANES, blocks, 1)

    def added(lane: int) -> jax.Array:
        stand = of_group[:, lane]
        for dimension in range(latent):
            stand = stand + z[dimension] * loading[lane, dimension]
        return stand

    def product(lane: int) -> jax.Array:
        return of_group[:, lane] + jnp.einsum("lga,lb->gba", z[:, :, 0], tables.loading[lane])

    def location(lane: int) -> jax.Array:
        if latent <= FEW:
            return added(lane)
        # A GPU is as fast by terms, and chooses another product, with other last bits, for blocks
        # of another size.
        terms = partial(added, lane)
        return jax.lax.platform_dependent(cuda=terms, rocm=terms, default=partial(product, lane))

    scale, ends = standing.scale.reshape(shape[0], 1, shape[1]), tables.ends[:, :, None, :, None]
    return ordered.draw(agents.seed, agents.ids, len(layout.ordered), location, scale, ends)


def _locations(
    responses: Responses, agents: Recruited, standing: Standing, tasks: np.ndarray
) -> jax.Array:
    """(N, J) where agents stand on some tasks."""
    items = responses.items
    weights = jnp.concatenate([agents.profiles.c[agents.row], standing.z], axis=1)
    slopes = jnp.concatenate([items.profile, items.loading.T])
    slopes = slopes[:, tasks]

    def add(term: jax.Array, stand: jax.Array) -> jax.Array:
        return stand + weights[:, term, None] * slopes[term][None]

    # Term by term: some processors' products of matrices round otherwise in blocks of other sizes,
    # which answers on continuous scales would show.
    start = jnp.broadcast_to(items.location[tasks], (len(weights), len(tasks)))
    return jax.lax.fori_loop(0, len(slopes), add, start)


def _standpoint(
    layout: Layout,
    responses: Responses,
    agents: Recruited,
    standing: Standing,
    tasks: np.ndarray,
    levels_too: bool,
) -> Standpoint:
    """Where agents stand on J tasks of one kind, and on each of their levels."""
    slopes, utility = responses.items.levels, None
    if levels_too:
        assert slopes is not None
        scale_of, profile = np.array(layout.task_scale)[tasks], agents.profiles.c[agents.row]
        by_level = (
            responses.items.base[tasks][None]
            + jnp.einsum(
                "nl,jkl->njk", slopes.moved(standing.z, profile), slopes.of_tasks(tasks, scale_of)
            )
            + jnp.einsum("nc,jck->njk", profile, slopes.profile[scale_of])
        )
        exists = (level_mask(layout) == 0)[scale_of]
        utility = jnp.where(exists[None], by_level, nominal.ABSENT)
    return Standpoint(
        _locations(responses, agents, standing, tasks),
        standing.scale[:, None],
        utility,
        None,
        responses.log_residual[tasks],
    )


def _draws_needed(layout: Layout) -> list[int]:
    """32-bit draws per agent of each kind that is not ordered, and of each ballot."""
    single = [
        len(tasks) * kind.words(layout.levels)
        for kind, tasks in layout.single
        if kind is not ordered
    ]
    ballots = [
        BALLOT[type(layout.scales[index])].words(layout.scales[index], len(tasks))
        for index, tasks in layout.ballots
    ]
    return single + ballots
