"""Which of several is best: what the kinds of answers that compare utilities have in common."""

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from crowdllm_jax.runtime.randomness import uniform


def gumbel(word: jax.Array) -> jax.Array:
    """Gumbel noise from 32-bit draws: the largest of utility plus noise is a softmax draw."""
    return -jnp.log(-jnp.log(uniform(word)))


def ranks(score: jax.Array) -> jax.Array:
    """0 for the highest of each row, 1 for the next, ...; equal scores go by position."""
    order = jnp.argsort(-score, axis=1)
    return jnp.argsort(order, axis=1)


def log_others(utility: jax.Array, levels: jax.Array) -> jax.Array:
    """(B, M) log total weight of the tasks that got nothing; next to none where there are none."""
    return logsumexp(jnp.where(levels[:, None] == 0, utility, -1e30), axis=2)
