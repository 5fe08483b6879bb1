"""From scores to answers, in the data's own scale.

A score lives on [0, 1]. A level is answered when the score lies nearer to its value than to any
other's; scores beyond the ends count as the ends. On the ballots that share something among their
tasks the scores of one agent are compared with each other (`scales.kinds.fill_ballots`).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from crowdllm_jax.study import scales
from crowdllm_jax.study.scales import Scale


def score_cuts(scale: Scale) -> np.ndarray:
    """(K - 1,) scores at which the answer goes up one level."""
    values = scales.values(scale)
    unit = (values - values[0]) / (values[-1] - values[0])
    return (unit[1:] + unit[:-1]) / 2


def thresholds(mean: jax.Array, sd: jax.Array, cut: jax.Array) -> jax.Array:
    """Integer thresholds that turn 16 random bits into a level of a normal score.

    The level of a draw u (from 1 to 65535; 0 counts as 1) is the number of thresholds below u. A
    level's chance is exact to 2**-16, and a level of chance 0 is never drawn.

    Args:
      mean, sd: (P, T) of the score. cut: (K - 1, T), infinite where a task has fewer levels.
    Returns:
      (K - 1, P, T) uint16.
    """
    below = norm.cdf((cut[:, None] - mean[None]) / jnp.maximum(sd, 1e-9)[None])
    return jnp.clip(jnp.round(below * 65536) - 1, 0, 65535).astype(jnp.uint16)


def nearest_level(scale: Scale, score: jax.Array) -> jax.Array:
    """Levels of scores (...,) on a scale whose tasks are answered one at a time."""
    return jnp.searchsorted(jnp.asarray(score_cuts(scale), jnp.float32), score)


def level_dtype(task_scales: tuple[Scale, ...]) -> np.dtype:
    """The smallest type that holds answers on all these scales."""
    if any(map(scales.is_continuous, task_scales)):
        return np.dtype(np.float32)
    most = max(scales.size(scale) for scale in task_scales)
    return np.dtype(np.int8 if most <= 127 else np.int16)
