"""How likely a person's answers are, given where the person stands; each scale says it in its own
file (`model/scales`)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from crowdllm_jax.model.persistent.effects import Effects, Items
from crowdllm_jax.model.persistent.layout import Layout, level_mask
from crowdllm_jax.model.scales import nominal
from crowdllm_jax.model.scales.kinds import log_ballot
from crowdllm_jax.model.scales.standpoint import Given, Standpoint
from crowdllm_jax.study import scales
from crowdllm_jax.study.scales import Joint

FAR = 1e4
"""Beyond any cut: stands for infinity without making gradients undefined."""


class AnswerTable(NamedTuple):
    """B people's answers, padded; every kind of answer finds its own. Host or device arrays.

    Attributes:
      task, level, value, present: (B, J) answers given one at a time; value in [0, 1].
      ballots: per ballot of the layout, (B, Tb) levels, -1 where a task is held out, and (B,)
        whether there is one.
      profile: (B, C). weight: (B,).
    """

    task: Any
    level: Any
    value: Any
    present: Any
    ballots: tuple[tuple[Any, Any], ...]
    profile: Any
    weight: Any


class Standing(NamedTuple):
    """M possible beliefs: z (M, L) and personal scale (M,)."""

    z: jax.Array
    scale: jax.Array


class Responses(NamedTuple):
    """What answers depend on besides people.

    Attributes:
      items, effects: see `effects`.
      log_residual: (T,) log deviation of answers on continuous tasks.
      log_concentration: (S,) of shared points.
    """

    items: Items
    effects: Effects
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
    """(B, M) log probability of all of a person's answers under each belief."""
    items, scale = responses.items, standing.scale[None]
    task_scale = np.array(layout.task_scale)
    by_profile = items.location[None] + answers.profile @ items.profile
    by_belief = standing.z @ items.loading.T
    total = jnp.zeros((len(answers.profile), len(standing.z)))
    given = Given(answers.task, answers.level, answers.value)
    at = Standpoint(
        location=jnp.take_along_axis(by_profile, answers.task, axis=1)[..., None]
        + by_belief.T[answers.task],
        scale=scale[:, None],
        utility=_utility(responses, layout, answers, standing)
        if layout.tasks_of(nominal)
        else None,
        cuts=logistic_cuts(items.base, layout, task_scale),
        log_residual=responses.log_residual,
    )
    kind_of = np.zeros(len(task_scale), np.int32)
    for index, (_, tasks) in enumerate(layout.single):
        kind_of[list(tasks)] = index
    kind_asked = jnp.asarray(kind_of)[answers.task]
    for index, (kind, _) in enumerate(layout.single):
        counted = answers.present * (kind_asked == index)
        total += (kind.log_prob(given, at) * counted[..., None]).sum(1)
    for (index, tasks), (levels, present) in zip(layout.ballots, answers.ballots, strict=True):
        shared = np.array(tasks)
        utility = (by_profile[:, None, shared] + by_belief[None, :, shared]) / scale[..., None]
        ballot = layout.scales[index]
        assert isinstance(ballot, Joint)
        log_chance = log_ballot(ballot, utility, levels, responses.log_concentration[index])
        total += log_chance * present[:, None]
    return total


def _utility(
    responses: Responses, layout: Layout, answers: AnswerTable, standing: Standing
) -> jax.Array:
    """(B, J, M, K) of each level, -inf of those that a scale lacks."""
    effects = responses.effects
    scale_of = jnp.asarray(np.array(layout.task_scale))[answers.task]
    by_level = (
        responses.items.base[answers.task][:, :, None]
        + jnp.einsum("ml,bjkl->bjmk", standing.z, effects["level_loading"][scale_of])
        + jnp.einsum("bc,bjck->bjk", answers.profile, effects["level_profile"][scale_of])[
            :, :, None
        ]
    )
    exists = jnp.asarray(level_mask(layout) == 0)[scale_of][:, :, None]
    return jnp.where(exists, by_level, -jnp.inf)
