"""Ordinal, binary and approval answers: a cumulative logit.

P(level <= k) = logistic((cut_k - location) / scale), with cuts such that at location 0 and scale 1
the levels have the task's base probabilities.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from crowdllm_jax.model.levels import draw_levels, logit
from crowdllm_jax.model.scales.standpoint import Given, Standpoint
from crowdllm_jax.runtime.randomness import Pair


def log_prob(given: Given, at: Standpoint) -> jax.Array:
    """(R, J, M) log probability of levels."""
    assert at.cuts is not None
    low, high = at.cuts[given.task, given.level], at.cuts[given.task, given.level + 1]
    return log_logistic_between(
        (low[..., None] - at.location) / at.scale, (high[..., None] - at.location) / at.scale
    )


def log_logistic_between(a: jax.Array, b: jax.Array) -> jax.Array:
    """log(logistic(b) - logistic(a)) for a < b, without cancellation."""
    gap = jnp.minimum(a - b, -1e-6)
    return jax.nn.log_sigmoid(b) + jax.nn.log_sigmoid(-a) + jnp.log(-jnp.expm1(gap))


def draw(
    seed: Pair,
    ids: Pair,
    tasks: int,
    location: Callable[[int], jax.Array],
    scale: jax.Array,
    ends: jax.Array,
) -> jax.Array:
    """Levels of N agents: where each stands, plus logistic noise, between which ends.

    Args:
      location: location(lane) gives (N, B), where they stand on a lane's tasks (see `levels`).
      scale: (N, 1) personal scales. ends: (4, K - 1, 1, B) between levels, by lane.
      Of agents in groups (G, B, A), (G, 1, A) and (4, K - 1, 1, B, 1).
    Returns:
      Packed words or levels, see `levels.draw_levels`.
    """

    def above(lane: int, word: jax.Array) -> Callable[[Any], jax.Array]:
        stand = location(lane) + scale * logit(word)
        return lambda k: stand > ends[lane, k]

    return draw_levels(seed, ids, tasks, ends.shape[1], above)
