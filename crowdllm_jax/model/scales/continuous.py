"""Continuous answers: a normal clipped to the range, so that the ends have mass (Tobin 1958)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr
from jax.scipy.stats import norm

from crowdllm_jax.model.scales.standpoint import Given, Standpoint
from crowdllm_jax.runtime.randomness import normal
from crowdllm_jax.study.scales import Scale, values

MIDDLE = 0.5
"""Of the range [0, 1], where location 0 is."""


def log_prob(given: Given, at: Standpoint) -> jax.Array:
    """(R, J, M) log density of values."""
    sd = jnp.exp(at.log_residual[given.task])[..., None] * at.scale
    return log_clipped_normal(given.value[..., None], MIDDLE + at.location, sd)


def log_clipped_normal(value: jax.Array, mean: jax.Array, sd: jax.Array) -> jax.Array:
    """Log density of a normal clipped to [0, 1]: mass at the ends, density between."""
    # An answer is at one end at most, and the mass there is what costs most to compute.
    beyond = log_ndtr(jnp.where(value <= 0, 0 - mean, mean - 1) / sd)
    return jnp.where((value <= 0) | (value >= 1), beyond, norm.logpdf(value, mean, sd))


def words(_levels: int) -> int:
    """32-bit draws per answer."""
    return 1


def draw(at: Standpoint, word: jax.Array, scales: Sequence[Scale]) -> jax.Array:
    """(N, J) values of agents in the data's own numbers, from draws (N, J)."""
    sd = jnp.exp(at.log_residual)[None] * at.scale
    unit = jnp.clip(MIDDLE + at.location + sd * normal(word), 0, 1)
    low, high = np.array([values(scale) for scale in scales], np.float32).T[:, None]
    return low + (high - low) * unit
