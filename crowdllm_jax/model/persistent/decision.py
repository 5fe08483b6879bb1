"""How likely a person's answers are, given where the person stands; each scale says it in its own
file (`model/scales`)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from crowdllm_jax.model.persistent.answers import AnswerTable
from crowdllm_jax.model.persistent.effects import Items
from crowdllm_jax.model.persistent.layout import Layout, level_mask
from crowdllm_jax.model.persistent.witness import Said
from crowdllm_jax.model.scales import nominal
from crowdllm_jax.model.scales.kinds import log_ballot
from crowdllm_jax.model.scales.standpoint import Given, Standpoint
from crowdllm_jax.study import scales
from crowdllm_jax.study.scales import Joint

FAR = 1e4
"""Beyond any cut: stands for infinity without making gradients undefined."""


class Standing(NamedTuple):
    """Beliefs: z (..., L) and the personal scale (...,); M possible ones of each of B people are
    (B, M, L) and (B, M)."""

    z: jax.Array
    scale: jax.Array


class Responses(NamedTuple):
    """What answers depend on besides people.

    Attributes:
      items: see `effects`.
      log_residual: (T,) log deviation of answers on continuous tasks.
      log_concentration: (S,) of shared points.
    """

    items: Items
    log_residual: jax.Array
    log_concentration: jax.Array


def logistic_cuts(base: jax.Array, layout: Layout, task_scale: np.ndarray) -> jax.Array:
    """(T, K + 1) ends of the levels on the logistic axis, from log probabilities (T, K)."""
    below = jnp.cumsum(jnp.exp(base), axis=1)[:, :-1].clip(1e-6, 1 - 1e-6)
    cut = jnp.log(below) - jnp.log1p(-below)
    size = np.array([max(2, scales.size(scale)) for scale in layout.scales])[task_scale]
    beyond = np.arange(1, layout.levels)[None] >= size[:, None]
    ends = jnp.full((len(base), 1), FAR)
    return jnp.concatenate([-ends, jnp.where(beyond, FAR, cut), ends], axis=1)


def log_likelihood(
    responses: Responses, layout: Layout, answers: AnswerTable, standing: Standing
) -> jax.Array:
    """(B, M) log probability of all of a person's answers under each of that person's beliefs.

    Costs an evaluation per answer and belief, and a product of profiles with all tasks.
    """
    items, task_scale = responses.items, np.array(layout.task_scale)
    owner = answers.person
    at = standpoint(responses, layout, answers, standing)
    kind_of = np.zeros(len(task_scale), np.int32)
    for index, (_, tasks) in enumerate(layout.single):
        kind_of[list(tasks)] = index
    kind_asked = jnp.asarray(kind_of)[answers.task]
    given = Given(answers.task, answers.level, answers.value)
    by_row = jnp.zeros((len(owner), standing.z.shape[1]))
    for index, (kind, _) in enumerate(layout.single):
        counted = answers.present * (kind_asked == index)
        by_row += (kind.log_prob(given, at) * counted[..., None]).sum(1)
    total = jax.ops.segment_sum(
        by_row, owner, len(answers.profile), indices_are_sorted=True, mode="promise_in_bounds"
    )
    for (index, tasks), (levels, present) in zip(layout.ballots, answers.ballots, strict=True):
        shared = np.array(tasks)
        location = _by_profile(items, answers)[:, None, shared] + _along(
            items.loading[shared][None, None], standing.z[:, :, None]
        )
        ballot = layout.scales[index]
        assert isinstance(ballot, Joint)
        log_chance = log_ballot(
            ballot,
            location / standing.scale[..., None],
            levels,
            responses.log_concentration[index],
        )
        total += log_chance * present[:, None]
    return total


def standpoint(
    responses: Responses, layout: Layout, answers: AnswerTable, standing: Standing
) -> Standpoint:
    """Where people stand on the tasks that they answer one at a time, row by row: (R, J, M)."""
    items, owner = responses.items, answers.person
    z, scale = standing.z[owner], standing.scale[owner]
    by_belief = _along(items.loading[answers.task][:, :, None], z[:, None])
    location = _by_profile(items, answers)[owner[:, None], answers.task]
    if answers.said is not None:
        assert items.trust is not None
        location += (items.trust[answers.task] * answers.said.number).sum(-1)
    return Standpoint(
        location=location[..., None] + by_belief,
        scale=scale[:, None],
        utility=_utility(responses, layout, answers, z) if layout.tasks_of(nominal) else None,
        cuts=logistic_cuts(items.base, layout, np.array(layout.task_scale)),
        log_residual=responses.log_residual,
    )


def _by_profile(items: Items, answers: AnswerTable) -> jax.Array:
    """(B, T) where people of these profiles stand on average."""
    return items.location[None] + answers.profile @ items.profile


def _along(loading: jax.Array, z: jax.Array) -> jax.Array:
    """Sum over the last axis of the product. A dimension is added after the other, inside the loop
    that uses the sum and in full precision."""
    total = loading[..., 0] * z[..., 0]
    for dimension in range(1, z.shape[-1]):
        total += loading[..., dimension] * z[..., dimension]
    return total


def _utility(responses: Responses, layout: Layout, answers: AnswerTable, z: jax.Array) -> jax.Array:
    """(R, J, M, K) of each level, `nominal.ABSENT` of those that a scale lacks.

    Args:
      z: (R, M, L) beliefs of the rows' owners.
    """
    slopes = responses.items.levels
    assert slopes is not None
    scale_of = jnp.asarray(np.array(layout.task_scale))[answers.task]
    profile = answers.profile[answers.person]
    moved, loading = slopes.moved(z, profile[:, None]), slopes.of_tasks(answers.task, scale_of)
    by_level = (
        responses.items.base[answers.task][:, :, None]
        + jnp.einsum("rml,rjkl->rjmk", moved, loading)
        + jnp.einsum("rc,rjck->rjk", profile, slopes.profile[scale_of])[:, :, None]
    )
    if answers.said is not None:
        by_level += by_witnesses(responses.items, answers.task, answers.said)[:, :, None]
    exists = jnp.asarray(level_mask(layout) == 0)[scale_of][:, :, None]
    return jnp.where(exists, by_level, nominal.ABSENT)


def by_witnesses(items: Items, task: jax.Array, said: Said) -> jax.Array:
    """(..., K) how far witnesses raise each level of nominal tasks (...,): those that they name, as
    far as they do not name them of everybody."""
    assert items.trust is not None
    # None of a crowd fitted before it was kept, or without nominal tasks, where no level counts.
    usual = 0.0 if items.usual is None else jnp.asarray(items.usual)[task]
    named = jax.nn.one_hot(said.level, items.base.shape[1]) - usual
    return ((items.trust[task] * said.number)[..., None] * named).sum(-2)
