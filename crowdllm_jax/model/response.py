"""From scores to answers, in the data's own scale.

A score lives on [0, 1]. A level is answered when the score lies nearer to its value than to any
other's; scores beyond the ends count as the ends. On the ballots that share something among their
tasks (k-approval, ranking, points) the scores of one agent are compared with each other.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from crowdllm_jax.study import scales
from crowdllm_jax.study.scales import Continuous, Joint, KApproval, Points, Ranking, Scale


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


def fill_ballots(scale: Joint, score: jax.Array) -> jax.Array:
    """Valid ballots from scores: (N, T) float -> (N, T) levels, T all tasks of the ballot.

    k-approval approves the k highest scores, a ranking ranks them; points are shared in proportion
    to the scores above 0, rounded by largest remainder (all to the highest if none is above 0).
    """
    place = _place(score)
    match scale:
        case KApproval(k=k):
            return (place < k).astype(jnp.int16)
        case Ranking(k=k):
            return jnp.maximum(k - place, 0).astype(jnp.int16)
        case Points(budget=budget):
            wish = jnp.maximum(score, 0.0)
            wish = jnp.where(wish.sum(1, keepdims=True) > 0, wish, (place == 0).astype(wish.dtype))
            quota = budget * wish / wish.sum(1, keepdims=True)
            whole = jnp.floor(quota)
            # Rounding may leave the floors one point over the budget's share; compare as integers.
            rest = budget - whole.sum(1, keepdims=True).astype(jnp.int32)
            return (whole + (_place(quota - whole) < rest)).astype(jnp.int16)


def _place(score: jax.Array) -> jax.Array:
    """0 for the highest of each row, 1 for the next, ...; equal scores go by position."""
    order = jnp.argsort(-score, axis=1)
    return jnp.argsort(order, axis=1)


def level_dtype(task_scales: tuple[Scale, ...]) -> np.dtype:
    """The smallest type that holds answers on all these scales."""
    if any(isinstance(scale, Continuous) for scale in task_scales):
        return np.dtype(np.float32)
    most = max(scales.size(scale) for scale in task_scales)
    return np.dtype(np.int8 if most <= 127 else np.int16)
