"""Response heads: how likely each answer is, given where an agent stands on a task.

- ordinal, binary, approval: cumulative logit. P(level <= k) = logistic((cut_k - location) / scale),
  with cuts such that at location 0 and scale 1 the levels have the task's base probabilities.
- nominal: softmax of (base + level loadings . z + level profile effects) / scale.
- continuous: a normal answer clipped to the range, so that the two ends have mass (Tobin 1958).
- k-approval, ranking: Plackett-Luce utilities; a k-approval ballot is the unordered top k.
- points: Dirichlet-multinomial over the budget; its shares are the softmax of the utilities.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln, log_ndtr, logsumexp
from jax.scipy.stats import norm

from crowdllm_jax.model.persistent.effects import Effects, Items
from crowdllm_jax.model.persistent.layout import Layout, level_mask
from crowdllm_jax.study import scales
from crowdllm_jax.study.scales import Joint, KApproval, Points, Ranking

FAR = 1e4
"""Beyond any cut: stands for infinity without making gradients undefined."""


class AnswerTable(NamedTuple):
    """B people's answers, padded; every head finds its own. Host or device arrays.

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


def logistic_cuts(base: jax.Array, layout: Layout, task_scale: np.ndarray) -> jax.Array:
    """(T, K + 1) ends of the levels on the logistic axis, from log probabilities (T, K)."""
    below = jnp.cumsum(jnp.exp(base), axis=1)[:, :-1].clip(1e-6, 1 - 1e-6)
    cut = jnp.log(below) - jnp.log1p(-below)
    size = np.array([max(2, scales.size(scale)) for scale in layout.scales])[task_scale]
    beyond = np.arange(1, layout.levels)[None] >= size[:, None]
    ends = jnp.full((len(base), 1), FAR)
    return jnp.concatenate([-ends, jnp.where(beyond, FAR, cut), ends], axis=1)


def log_likelihood(
    items: Items,
    effects: Effects,
    log_residual: jax.Array,
    log_concentration: jax.Array,
    layout: Layout,
    task_scale: np.ndarray,
    answers: AnswerTable,
    standing: Standing,
) -> jax.Array:
    """(B, M) log probability of all of a person's answers under each belief.

    Args:
      log_residual: (T,) log deviation of answers on continuous tasks. log_concentration: (S,).
    """
    by_profile = items.location[None] + answers.profile @ items.profile
    by_belief = standing.z @ items.loading.T
    total = jnp.zeros((len(answers.profile), len(standing.z)))
    head = np.zeros(len(task_scale), np.int32)
    head[list(layout.nominal)], head[list(layout.continuous)] = 1, 2
    own = jnp.asarray(head)[answers.task]
    location = (
        jnp.take_along_axis(by_profile, answers.task, axis=1)[..., None] + by_belief.T[answers.task]
    )
    if layout.ordered:
        cut = logistic_cuts(items.base, layout, task_scale)
        low, high = cut[answers.task, answers.level], cut[answers.task, answers.level + 1]
        a = (low[..., None] - location) / standing.scale[None, None]
        b = (high[..., None] - location) / standing.scale[None, None]
        log_chance = log_logistic_between(a, b)
        total += (log_chance * (answers.present * (own == 0))[..., None]).sum(1)
    if layout.nominal:
        scale_of = jnp.asarray(task_scale)[answers.task]
        logits = (
            items.base[answers.task][:, :, None]
            + jnp.einsum("ml,bjkl->bjmk", standing.z, effects["level_loading"][scale_of])
            + jnp.einsum("bc,bjck->bjk", answers.profile, effects["level_profile"][scale_of])[
                :, :, None
            ]
        ) / standing.scale[None, None, :, None]
        own_level = jnp.asarray(level_mask(layout) == 0)[scale_of][:, :, None]
        logits = jnp.where(own_level, logits, -jnp.inf)
        chosen = jnp.take_along_axis(
            jax.nn.log_softmax(logits, axis=-1), answers.level[..., None, None], axis=-1
        )[..., 0]
        total += (chosen * (answers.present * (own == 1))[..., None]).sum(1)
    if layout.continuous:
        sd = jnp.exp(log_residual[answers.task])[..., None] * standing.scale[None, None]
        log_density = log_clipped_normal(answers.value[..., None], 0.5 + location, sd)
        total += (log_density * (answers.present * (own == 2))[..., None]).sum(1)
    for (index, tasks), (levels, present) in zip(layout.ballots, answers.ballots, strict=True):
        here = np.array(tasks)
        utility = by_profile[:, None, here] + by_belief[None, :, here]
        utility = utility / standing.scale[None, :, None]
        scale = layout.scales[index]
        assert isinstance(scale, Joint)
        log_chance = log_ballot(scale, utility, levels, log_concentration[index])
        total += log_chance * present[:, None]
    return total


def log_logistic_between(a: jax.Array, b: jax.Array) -> jax.Array:
    """log(logistic(b) - logistic(a)) for a < b, without cancellation."""
    gap = jnp.minimum(a - b, -1e-6)
    return jax.nn.log_sigmoid(b) + jax.nn.log_sigmoid(-a) + jnp.log(-jnp.expm1(gap))


def log_clipped_normal(value: jax.Array, mean: jax.Array, sd: jax.Array) -> jax.Array:
    """Log density of a normal clipped to [0, 1]: mass at the ends, density between."""
    inside = norm.logpdf(value, mean, sd)
    low, high = log_ndtr((0 - mean) / sd), log_ndtr((mean - 1) / sd)
    return jnp.where(value <= 0, low, jnp.where(value >= 1, high, inside))


def log_ballot(
    scale: Joint, utility: jax.Array, levels: jax.Array, log_concentration: jax.Array
) -> jax.Array:
    """(B, M) log probability of ballots (B, Tb) under utilities (B, M, Tb).

    Of a ballot that is known in part (-1: held out) it is that of the known tasks among themselves,
    given how much they got together: which of them are the best, or how points are shared.
    """
    match scale:
        case KApproval(k=k):
            return _log_top_set(utility, levels, *jax.lax.top_k(levels, k))
        case Ranking(k=k):
            # Levels count Borda points: the best has k, so top_k lists the ranking in order.
            points, ranked = jax.lax.top_k(levels, k)
            own = jnp.take_along_axis(utility, ranked[:, None], axis=2)
            rest = _log_others(utility, levels)
            total = jnp.zeros(rest.shape)
            for place in range(k - 1, -1, -1):
                known = points[:, place, None] > 0
                rest = jnp.where(known, jnp.logaddexp(rest, own[:, :, place]), rest)
                total += jnp.where(known, own[:, :, place] - rest, 0.0)
            return total
        case Points():
            concentration = jnp.exp(log_concentration)
            alpha = concentration * jax.nn.softmax(utility, axis=2) + 1e-6
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


def _log_others(utility: jax.Array, levels: jax.Array) -> jax.Array:
    """(B, M) log total weight of the tasks that got nothing; next to none where there are none."""
    return logsumexp(jnp.where(levels[:, None] == 0, utility, -1e30), axis=2)


def _log_top_set(
    utility: jax.Array, levels: jax.Array, top: jax.Array, chosen: jax.Array
) -> jax.Array:
    """(B, M) log probability that the Plackett-Luce best are this set, in any order.

    Args:
      top, chosen: (B, k) the highest levels, and which tasks have them; those above 0 are the set.

    With exponential clocks of rates w the set comes first if all of its clocks ring before any
    other: the integral over s of exp(-s) prod_i (1 - exp(-s w_i / W)), W the others' total rate.
    In x = log s the integrand is smooth and falls off doubly exponentially, so the trapezoid rule
    is exact to float32 (Trefethen & Weideman 2014).
    """
    others = _log_others(utility, levels)
    rate = jnp.take_along_axis(utility, chosen[:, None], axis=2) - others[..., None]
    # The integrand's bell is at its narrowest and farthest for an unlikely set, s^k exp(-s).
    k = chosen.shape[1]
    end, step = max(5.0, math.log(k + 10 * math.sqrt(k))), min(0.3, 0.9 / math.sqrt(k))
    x = jnp.linspace(-14.0, end, math.ceil((14 + end) / step) + 1)
    s = jnp.exp(x)[None, None]
    # A rate beyond exp(30) rings at once, one below exp(-30) never: clip, so that logs stay finite.
    each = jnp.log(-jnp.expm1(-jnp.exp(rate.clip(-30, 30)[..., None] + x[None, None, None])))
    each = jnp.where((top > 0)[:, None, :, None], each, 0.0)
    return logsumexp(each.sum(2) - s + x[None, None], axis=-1) + jnp.log(x[1] - x[0])
