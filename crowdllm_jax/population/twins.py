"""Digital twins: know a few of a person's answers, sample that person's other answers.

The posterior of a person's belief given their answers is represented exactly up to Monte Carlo: a
large set of beliefs from the population, weighted by how likely each makes the answers. Where too
few of them come near an unusual person, or one with many answers, they are moved to where the
weights are and weighed anew (adaptive importance sampling, Oh & Berger 1992). A twin is an agent
whose belief is drawn from the posterior.

A person's twins depend on the crowd, the seed, the person's id, profile and answers, and on nothing
else: each person is computed alone, in tiles of one shape, and has random draws keyed by their id.
"""

import hashlib
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.scipy.special import ndtri

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.levels import to_host
from crowdllm_jax.model.persistent.decision import AnswerTable, Standing, log_likelihood
from crowdllm_jax.model.persistent.design import Design, gather_answers, profile_matrix
from crowdllm_jax.model.persistent.draw import Ready, draw_answers, ready_profiles, ready_to_draw
from crowdllm_jax.model.persistent.effects import Effects, Items
from crowdllm_jax.model.persistent.fit import sobol
from crowdllm_jax.model.persistent.layout import Layout
from crowdllm_jax.runtime.randomness import seed_halves, split_ids, threefry
from crowdllm_jax.study.coding import recode
from crowdllm_jax.study.records import Study

NODES = 8192
"""Beliefs that represent a posterior."""

ENOUGH, MOST_MOVES = 400, 4
"""Effective number of beliefs below which they are moved, and how often they may be."""

WIDER, NARROWEST = 1.3, 0.05
"""Beliefs are moved to a normal so much wider than the posterior (an importance sampler must reach
its tails), and at least so wide (in population deviations) while but one or two say where it is."""

TILE = 8
"""Answers of a person that are weighed at once; the last tile is filled up."""

MOST_DRAWS = 1_000_000


@dataclass(frozen=True)
class Twins:
    """Twins of H people.

    Attributes:
      ids: the people. answers: (H, draws, T) levels (values of continuous tasks) of their twins.
      belief: (H, L + 1) posterior mean of each belief and of the log of the personal scale.
      belief_sd: (H, L + 1) posterior standard deviations.
      effective: (H,) effective number of the posterior's weighted beliefs; below about 50 the
        intervals of that person are rough.
    """

    ids: tuple[str, ...]
    answers: np.ndarray
    belief: np.ndarray
    belief_sd: np.ndarray
    effective: np.ndarray


def make_twins(
    crowd: Crowd, study: Study, known: np.ndarray | None = None, *, draws: int = 200, seed: int = 0
) -> Twins:
    """Sample twins of everyone in a study, given (part of) their answers.

    Args:
      crowd: a fitted persistent crowd that answers the study's tasks.
      study: the people and their answers; people who answered nothing get the population's belief.
      known: (R,) bool, the responses that may be used; None uses all.
      draws: twins per person.
    Raises:
      CrowdError: the crowd is not persistent, or knows other tasks, scales or profile attributes.
    """
    if not isinstance(crowd.inputs, Design):
        raise CrowdError(
            "twins need the persistent model (model.kind: persistent): agents of the "
            "published model are nobody in particular"
        )
    design = crowd.inputs
    if study.tasks.ids != crowd.task_ids or dict(study.scales) != crowd.scales:
        raise CrowdError("the answers are about other tasks or scales than the crowd was fitted on")
    if not 1 <= draws <= MOST_DRAWS:
        raise CrowdError(f"draws: {draws} is not a number of twins from 1 to {MOST_DRAWS:,}")
    if not 0 <= seed < 2**63:
        raise CrowdError(f"seed: {seed} is not from 0 to 2**63 - 1")
    profile = recode(crowd.codings, study.participants.profile)
    study = replace(study, participants=replace(study.participants, profile=profile))
    part = np.ones(len(study.task), bool) if known is None else known
    # In one order, since the sum of floats depends on it.
    order = np.lexsort((study.task, study.person))
    order = order[part[order]]
    study = replace(
        study, person=study.person[order], task=study.task[order], answer=study.answer[order]
    )
    model = nnx.merge(crowd.graph, crowd.params)
    ready = ready_to_draw(crowd.graph, crowd.params, design)
    base = ndtri(jnp.asarray(sobol(NODES, model.belief.width)))
    population = Standing(*model.belief(base))
    people, answers = gather_answers(study, crowd.codings, design, np.ones(len(order), bool))
    row_of = {int(person): row for row, person in enumerate(people)}
    ids = study.participants.ids
    c = (profile_matrix(crowd.codings, profile, len(ids)) - design.centre).astype(np.float32)
    drawn, moments = [], []
    for person, name in enumerate(ids):
        u, standing, prior = base, population, jnp.zeros(NODES)
        row = row_of.get(person)
        for moves in range(MOST_MOVES + 1):
            chance = prior
            if row is not None:
                chance = chance + _log_chance(design, ready, answers, row, standing)
            weight, *found = _posterior(chance, standing)
            if found[-1] >= ENOUGH or moves == MOST_MOVES:
                break
            u, prior = _moved(base, u, weight)
            standing = Standing(*model.belief(u))
        moments.append(found)
        key = _key(name)
        node = _resample(np.asarray(weight), draws, np.random.default_rng([seed, key]))
        drawn.append(_draw_one(design, ready, c[person], node, standing, seed, key))
    mean, sd, effective = (np.stack(part) for part in zip(*moments, strict=True))
    return Twins(ids, np.stack(drawn), mean, sd, effective)


def _key(name: str) -> int:
    """64 bits that stand for a person's id in every table and every process."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())


def _log_chance(
    design: Design, ready: Ready, answers: AnswerTable, row: int, standing: Standing
) -> jax.Array:
    """(M,) log probability of one person's answers under each belief, TILE answers at a time."""
    own: AnswerTable = jax.tree.map(lambda a: a[row : row + 1], answers)
    count = int(own.present.sum())
    total = jnp.zeros(len(standing.z))
    layout = design.layout
    for first in range(0, max(1, count), TILE):
        tile = own._replace(
            task=_tile(own.task, first),
            level=_tile(own.level, first),
            value=_tile(own.value, first),
            present=_tile(own.present, first),
        )
        total += _log_chance_of_tile(
            layout,
            tuple(design.tasks.scale.tolist()),
            ready.items,
            ready.effects,
            ready.log_residual,
            ready.log_concentration,
            tile,
            standing,
        )
        # Ballots count once, with the first tile.
        layout, own = replace(layout, ballots=()), own._replace(ballots=())
    return total


def _tile(column: np.ndarray, first: int) -> np.ndarray:
    """(1, TILE) entries of a (1, J) column from `first` on, filled up with zeros."""
    part = column[:, first : first + TILE]
    return np.pad(part, ((0, 0), (0, TILE - part.shape[1])))


@partial(jax.jit, static_argnums=(0, 1))
def _log_chance_of_tile(
    layout: Layout,
    task_scale: tuple[int, ...],
    made: Items,
    effects: Effects,
    log_residual: jax.Array,
    log_concentration: jax.Array,
    answers: AnswerTable,
    standing: Standing,
) -> jax.Array:
    return log_likelihood(
        made,
        effects,
        log_residual,
        log_concentration,
        layout,
        np.array(task_scale),
        answers,
        standing,
    )[0]


@jax.jit
def _moved(base: jax.Array, u: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Normal points (M, width) where weighted points u are, and the (M,) log density of the
    population over that of the points (up to a constant)."""
    mean = weight @ u
    sd = jnp.clip(WIDER * jnp.sqrt(weight @ (u - mean[None]) ** 2), NARROWEST)
    moved = mean[None] + sd[None] * base
    return moved, 0.5 * (base**2 - moved**2).sum(1)


@jax.jit
def _posterior(
    log_chance: jax.Array, standing: Standing
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """(M,) weights of the beliefs; mean and deviation (L + 1,) of these and their log scale under
    the weights; the weights' effective number."""
    state = jnp.concatenate([standing.z, jnp.log(standing.scale)[:, None]], axis=1)
    weight = jax.nn.softmax(log_chance)
    mean = weight @ state
    sd = jnp.sqrt(weight @ (state - mean[None]) ** 2)
    return weight, mean, sd, 1 / (weight**2).sum()


def _resample(weight: np.ndarray, draws: int, random: np.random.Generator) -> np.ndarray:
    """(draws,) beliefs, each as often as its weight says, to within one (systematic resampling)."""
    at = (np.arange(draws) + random.random()) / draws
    return np.minimum(np.searchsorted(np.cumsum(weight, dtype=np.float64), at), NODES - 1)


_own_seed = jax.jit(threefry)


def _draw_one(
    design: Design,
    ready: Ready,
    profile: np.ndarray,
    node: np.ndarray,
    standing: Standing,
    seed: int,
    key: int,
) -> np.ndarray:
    """(draws, T) answers of one person's twins, who are numbered from 0 under a seed of their own.

    Args:
      profile: (C,) centred. node: (draws,) the beliefs.
    """
    own_seed = _own_seed(seed_halves(seed), seed_halves(key))
    drawn = draw_answers(
        design.layout,
        ready,
        ready_profiles(design.layout, ready.items, profile[None]),
        np.zeros(len(node), np.int32),
        np.asarray(standing.z)[node],
        np.asarray(standing.scale)[node],
        own_seed,
        split_ids(np.arange(len(node))),
    )
    return to_host(drawn, len(design.tasks.scale))
