"""Rankings of the k best: Plackett-Luce."""

import jax
import jax.numpy as jnp

from crowdllm_jax.model.scales.plackett_luce import gumbel, log_others, ranks
from crowdllm_jax.study.scales import Ranking


def log_prob(
    scale: Ranking,
    utility: jax.Array,
    levels: jax.Array,
    _log_concentration: jax.Array,
) -> jax.Array:
    """(B, M) log probability of rankings."""
    # Levels count Borda points: the best has k, so top_k lists the ranking in order.
    points, ranked = jax.lax.top_k(levels, scale.k)
    of_ranked = jnp.take_along_axis(utility, ranked[:, None], axis=2)
    rest = log_others(utility, levels)
    total = jnp.zeros(rest.shape)
    for place in range(scale.k - 1, -1, -1):
        known = points[:, place, None] > 0
        rest = jnp.where(known, jnp.logaddexp(rest, of_ranked[:, :, place]), rest)
        total += jnp.where(known, of_ranked[:, :, place] - rest, 0.0)
    return total


def words(_scale: Ranking, tasks: int) -> int:
    """32-bit draws per ballot."""
    return tasks


def draw(
    scale: Ranking,
    utility: jax.Array,
    word: jax.Array,
    _log_concentration: jax.Array,
) -> jax.Array:
    """(N, T) ballots of agents."""
    return from_scores(scale, utility + gumbel(word))


def from_scores(scale: Ranking, score: jax.Array) -> jax.Array:
    """(N, T) ballots that rank the k highest scores; the best gets level k."""
    return jnp.maximum(scale.k - ranks(score), 0).astype(jnp.int16)
