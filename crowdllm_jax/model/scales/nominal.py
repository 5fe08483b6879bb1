"""Nominal answers: the softmax of the levels' utilities, over the personal scale."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from crowdllm_jax.model.scales.plackett_luce import gumbel
from crowdllm_jax.model.scales.standpoint import Given, Standpoint
from crowdllm_jax.study.scales import Scale

ABSENT = -1e9
"""Utility of a level that a scale lacks: never chosen, whatever the personal scale. An infinite one
would have no gradient."""


def log_prob(given: Given, at: Standpoint) -> jax.Array:
    """(R, J, M) log probability of levels; those that a scale lacks have utility ABSENT."""
    assert at.utility is not None
    log_shares = jax.nn.log_softmax(at.utility / at.scale[..., None], axis=-1)
    return jnp.take_along_axis(log_shares, given.level[..., None, None], axis=-1)[..., 0]


def words(levels: int) -> int:
    """32-bit draws per answer."""
    return levels


def draw(at: Standpoint, word: jax.Array, _scales: Sequence[Scale]) -> jax.Array:
    """(N, J) levels of agents, from draws (N, J K)."""
    assert at.utility is not None
    noise = gumbel(word).reshape(at.utility.shape)
    return jnp.argmax(at.utility / at.scale[..., None] + noise, axis=2)
