"""k-approval ballots: the unordered top k of Plackett-Luce utilities."""

import math

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from crowdllm_jax.model.scales.plackett_luce import gumbel, log_others, ranks
from crowdllm_jax.study.scales import KApproval


def log_prob(
    scale: KApproval,
    utility: jax.Array,
    levels: jax.Array,
    _log_concentration: jax.Array,
) -> jax.Array:
    """(B, M) log probability that the best are this set, in any order.

    With exponential clocks of rates w the set comes first if all of its clocks ring before any
    other: the integral over s of exp(-s) prod_i (1 - exp(-s w_i / W)), W the others' total rate.
    In x = log s the integrand is smooth and falls off doubly exponentially, so the trapezoid rule
    is exact to float32 (Trefethen & Weideman 2014).
    """
    k = scale.k
    top, chosen = jax.lax.top_k(levels, k)
    others = log_others(utility, levels)
    rate = jnp.take_along_axis(utility, chosen[:, None], axis=2) - others[..., None]
    # The integrand's bell is at its narrowest and farthest for an unlikely set, s^k exp(-s).
    end, step = max(5.0, math.log(k + 10 * math.sqrt(k))), min(0.3, 0.9 / math.sqrt(k))
    x = jnp.linspace(-14.0, end, math.ceil((14 + end) / step) + 1)
    s = jnp.exp(x)
    # A rate beyond exp(30) rings at once, one below exp(-30) never: clip, so that logs stay finite.
    each = _log_rung(rate.clip(-30, 30)[..., None] + x[None, None, None])
    each = jnp.where((top > 0)[:, None, :, None], each, 0.0)
    return logsumexp(each.sum(2) - s[None, None] + x[None, None], axis=-1) + jnp.log(x[1] - x[0])


def _log_rung(t: jax.Array) -> jax.Array:
    """log(1 - exp(-exp(t))), the chance that a clock of rate exp(t) has rung, twice differentiable.

    Below -8 it is t - exp(t) / 2 to 5e-9; written as it stands, its second derivative there takes
    the square of a number too small for float32.
    """
    seldom = t < -8.0
    often = jnp.log(-jnp.expm1(-jnp.exp(jnp.where(seldom, 0.0, t))))
    return jnp.where(seldom, t - jnp.exp(jnp.where(seldom, t, 0.0)) / 2, often)


def words(_scale: KApproval, tasks: int) -> int:
    """32-bit draws per ballot."""
    return tasks


def draw(
    scale: KApproval,
    utility: jax.Array,
    word: jax.Array,
    _log_concentration: jax.Array,
) -> jax.Array:
    """(N, T) ballots of agents."""
    return from_scores(scale, utility + gumbel(word))


def from_scores(scale: KApproval, score: jax.Array) -> jax.Array:
    """(N, T) ballots that approve the k highest scores."""
    return (ranks(score) < scale.k).astype(jnp.int16)
