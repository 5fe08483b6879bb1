"""Digital twins: know a few of a person's answers, sample that person's other answers.

The posterior of a person's belief given their answers is represented exactly up to Monte Carlo: a
large set of beliefs from the population, weighted by how likely each makes the answers. A twin is
an agent whose belief is drawn from it.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.scipy.special import ndtri

from crowdllm_jax.encode import recode
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.design import Design, gather_answers, profile_matrix
from crowdllm_jax.model.draw import draw_answers, ready_to_draw
from crowdllm_jax.model.heads import Answers, Standing, log_likelihood
from crowdllm_jax.model.marginal import sobol
from crowdllm_jax.randomness import seed_halves, split_ids
from crowdllm_jax.study import Study

NODES = 8192
"""Beliefs that represent a posterior."""

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
        raise CrowdError("twins need the persistent model (model.kind: persistent): agents of the "
                         "published model are nobody in particular")  # fmt: skip
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
    model = nnx.merge(crowd.graph, crowd.params)
    ready = ready_to_draw(crowd.graph, crowd.params, design)
    nodes = ndtri(jnp.asarray(sobol(NODES, model.belief.width)))
    standing = Standing(*model.belief(nodes))
    weight = np.full((len(study.participants.ids), NODES), 1 / NODES, np.float32)
    if part.any():
        people, answers = gather_answers(study, crowd.codings, design, part)
        for first in range(0, len(people), 32):
            some = jax.tree.map(lambda a, first=first: a[first : first + 32], answers)
            weight[people[first : first + 32]] = _posterior(ready, design, some, standing)
    state = np.concatenate([standing.z, np.log(standing.scale)[:, None]], axis=1)
    mean = weight @ state
    spread = np.sqrt(np.maximum(weight @ state**2 - mean**2, 0))
    c = profile_matrix(crowd.codings, profile, len(study.participants.ids)) - design.centre
    drawn = np.stack([
        _draw_one(design, ready, c[h].astype(np.float32), weight[h], standing, draws, seed, h)
        for h in range(len(c))
    ])  # fmt: skip
    return Twins(study.participants.ids, drawn, mean, spread, 1 / (weight**2).sum(1))


def _posterior(ready, design: Design, answers: Answers, standing: Standing) -> np.ndarray:  # type: ignore[no-untyped-def]
    """(B, M) posterior weight of each belief."""
    found = log_likelihood(
        ready.items, ready.effects, ready.log_residual, ready.log_concentration, design.layout,
        np.asarray(design.tasks.scale), answers, standing,
    )  # fmt: skip
    return np.asarray(jax.nn.softmax(found, axis=1))


def _draw_one(  # type: ignore[no-untyped-def]
    design: Design, ready, profile: np.ndarray, weight: np.ndarray, standing: Standing,
    draws: int, seed: int, person: int,
) -> np.ndarray:  # fmt: skip
    """(draws, T) answers of one person's twins."""
    random = np.random.default_rng([seed, person])
    # Systematic resampling: beliefs appear as often as their weight says, to within one.
    at = (np.arange(draws) + random.random()) / draws
    node = np.minimum(np.searchsorted(np.cumsum(weight, dtype=np.float64), at), NODES - 1)
    ids = np.int64(person) * draws + np.arange(draws)
    return np.asarray(
        draw_answers(
            design.layout,
            ready,
            np.repeat(profile[None], draws, 0),
            standing.z[node],
            standing.scale[node],
            seed_halves(seed),
            split_ids(ids),
        )
    )
