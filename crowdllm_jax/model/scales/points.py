"""Points: Dirichlet-multinomial over the budget; the shares are the softmax of the utilities."""

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from crowdllm_jax.model.scales.plackett_luce import ranks
from crowdllm_jax.runtime.randomness import uniform
from crowdllm_jax.study.scales import Points


def log_prob(
    _scale: Points,
    utility: jax.Array,
    levels: jax.Array,
    log_concentration: jax.Array,
) -> jax.Array:
    """(B, M) log probability of how points are shared."""
    alpha = _alpha(utility, log_concentration)
    known = levels[:, None] >= 0
    given = jnp.where(known, levels[:, None], 0).astype(alpha.dtype)
    budget, all_alpha = given.sum(2), jnp.where(known, alpha, 0.0).sum(2)
    return (
        gammaln(budget + 1.0)
        - gammaln(given + 1).sum(2)
        + gammaln(all_alpha)
        - gammaln(budget + all_alpha)
        + jnp.where(known, gammaln(given + alpha) - gammaln(alpha), 0.0).sum(2)
    )


def _alpha(utility: jax.Array, log_concentration: jax.Array) -> jax.Array:
    return jnp.exp(log_concentration) * jax.nn.softmax(utility, axis=-1) + 1e-6


def words(scale: Points, _tasks: int) -> int:
    """32-bit draws per ballot: one a point."""
    return scale.budget


def draw(
    _scale: Points,
    utility: jax.Array,
    word: jax.Array,
    log_concentration: jax.Array,
) -> jax.Array:
    """(N, T) ballots of agents, one point after the other (a Polya urn)."""
    alpha = _alpha(utility, log_concentration)

    def give(points: jax.Array, chance: jax.Array) -> tuple[jax.Array, None]:
        below = jnp.cumsum(alpha + points, axis=1)
        task = (chance[:, None] * below[:, -1:] > below).sum(1)
        return points + jax.nn.one_hot(task, alpha.shape[1], dtype=points.dtype), None

    points, _ = jax.lax.scan(give, jnp.zeros_like(utility), uniform(word).T)
    return points


def from_scores(scale: Points, score: jax.Array) -> jax.Array:
    """(N, T) ballots in proportion to the scores above 0, rounded by largest remainder (all to the
    highest if none is above 0)."""
    wish = jnp.maximum(score, 0.0)
    first = (ranks(score) == 0).astype(wish.dtype)
    wish = jnp.where(wish.sum(1, keepdims=True) > 0, wish, first)
    quota = scale.budget * wish / wish.sum(1, keepdims=True)
    floor = jnp.floor(quota)
    # Rounding may leave the floors one point over the budget's share; compare as integers.
    rest = scale.budget - floor.sum(1, keepdims=True).astype(jnp.int32)
    return (floor + (ranks(quota - floor) < rest)).astype(jnp.int16)
