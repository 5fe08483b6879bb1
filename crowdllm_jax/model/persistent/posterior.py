"""Where one person's belief is, given that person's answers.

A belief is made of W standard normal numbers u (see `belief`), or of such numbers moved by one of J
noises: a mixture of normals, so that injected noise need not be found itself. Their posterior is
found by Newton steps to its mode, and represented by points around it: most from the normal with
the curvature there (Tierney & Kadane 1986), some from the population, all weighed by what the
posterior is over the mixture they come from (importance sampling with a defensive mixture,
Hesterberg 1995). So the average of the weights is the probability of the answers without bias (its
logarithm is low by half the weights' relative variance over their number), however many answers
there are: few leave the belief where the population's is, and hundreds leave next to nothing of it.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp, ndtr
from scipy.stats import qmc

POPULATION = 0.25
"""Share of the points that come from the population, so that no weight is large."""
WIDER = 1.1
"""How much wider than the curvature says the other points lie."""
LONGEST = 2.0
"""Length of a Newton step, in population deviations."""

SETTLED = 8
"""Newton steps that lead from the population's middle to a person's posterior."""

LogChance = Callable[[jax.Array], jax.Array]
"""log_chance(u): (B, M) log probability of B people's answers under beliefs u (B, M, W)."""


class Bell(NamedTuple):
    """A normal distribution per person.

    Attributes:
      mode: (B, W). axes: (B, W, W) whose columns are its axes; precision: (B, W) along them.
    """

    mode: jax.Array
    axes: jax.Array
    precision: jax.Array


def log_density(u: jax.Array, moved: jax.Array | None = None) -> jax.Array:
    """(...,) of the population at beliefs u (..., W), but for a standard normal's constant.

    Args:
      moved: (J, W) where noises, each as likely as another, move the middle.
    """
    of_nobody = -0.5 * (u**2).sum(-1)
    if moved is None:
        return of_nobody
    # A product, since differences would take an array of all noises at all beliefs, times W.
    nearer = u @ moved.T - jnp.broadcast_to(0.5 * (moved**2).sum(1), (*u.shape[:-1], len(moved)))
    return of_nobody + logsumexp(nearer, axis=-1) - jnp.log(len(moved))


def find(
    log_chance: LogChance, start: jax.Array, steps: int, moved: jax.Array | None = None
) -> Bell:
    """The posterior's mode and curvature, by Newton steps from `start` (B, W).

    The curvature is that where the last step began. A person's answers may bend the posterior the
    other way far from its mode; it counts as at least as sharp as the population around its middle.
    """

    def log_posterior(u: jax.Array) -> jax.Array:
        return log_chance(u[:, None]).sum() + log_density(u, moved).sum()

    slope = jax.grad(log_posterior)

    basis = jnp.eye(start.shape[1])

    def step(bell: Bell, _: None) -> tuple[Bell, None]:
        gradient, along = jax.linearize(slope, bell.mode)
        columns = jax.vmap(lambda one: along(jnp.broadcast_to(one[None], start.shape)))(basis)
        curvature = -columns.transpose(1, 2, 0)
        precision, axes = jnp.linalg.eigh((curvature + curvature.swapaxes(1, 2)) / 2)
        precision = jnp.maximum(precision, 1.0)
        move = _times(axes, _times(axes.swapaxes(1, 2), gradient) / precision)
        length = jnp.sqrt((move**2).sum(1, keepdims=True))
        return Bell(bell.mode + move / jnp.maximum(1.0, length / LONGEST), axes, precision), None

    flat = jnp.broadcast_to(basis[None], (*start.shape, start.shape[1]))
    return jax.lax.scan(step, Bell(start, flat, jnp.ones(start.shape)), length=steps)[0]


def _times(matrix: jax.Array, vector: jax.Array) -> jax.Array:
    """(..., W) in full precision."""
    return (matrix * vector[..., None, :]).sum(-1)


def sobol(nodes: int, width: int) -> np.ndarray:
    """(nodes, width) scrambled Sobol points inside the unit cube, always the same."""
    points = qmc.Sobol(width, rng=0).random(nodes).astype(np.float32)
    return points.clip(1e-6, 1 - 1e-6)


def points(
    bell: Bell, base: jax.Array, moved: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Points (B, M, W), and the log density (B, M) of the mixture that they come from.

    Args:
      base: (B, M, W) standard normal numbers; where the population is moved, one more says by which
        noise.
    """
    count, width = base.shape[1], bell.mode.shape[1]
    few = round(POPULATION * count)
    sd = WIDER / jnp.sqrt(bell.precision)
    axes, along = bell.axes[:, None], bell.axes.swapaxes(1, 2)[:, None]
    # There and back along the axes: where two are alike, rounding may turn them, but not this.
    along_axes = _times(along, base[:, few:, :width])
    around = bell.mode[:, None] + _times(axes, sd[:, None] * along_axes)
    of_anybody = base[:, :few, :width]
    if moved is not None:
        which = jnp.minimum(ndtr(base[:, :few, width]) * len(moved), len(moved) - 1)
        of_anybody = of_anybody + moved[which.astype(int)]
    u = jnp.concatenate([of_anybody, around], axis=1)
    away = _times(along, u - bell.mode[:, None]) / sd[:, None]
    of_bell = -0.5 * (away**2).sum(2) - jnp.log(sd).sum(1)[:, None]
    share = few / count
    return u, jnp.logaddexp(jnp.log(share) + log_density(u, moved), jnp.log1p(-share) + of_bell)


def weighed(
    log_chance: LogChance, bell: Bell, base: jax.Array, moved: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Points (B, M, W) that stand for people's posteriors, and their log weights (B, M).

    The points themselves do not move with what is fitted: the average of weights is right wherever
    they are.
    """
    u, log_mixture = jax.lax.stop_gradient(points(bell, base, moved))
    return u, log_chance(u) + (log_density(u, moved) - log_mixture)


def evidence(
    log_chance: LogChance, bell: Bell, base: jax.Array, moved: jax.Array | None = None
) -> jax.Array:
    """(B,) log probability of people's answers, the belief integrated out."""
    return likely(weighed(log_chance, bell, base, moved)[1])


def likely(log_weight: jax.Array) -> jax.Array:
    """(B,) log probability of people's answers, from points' log weights (B, M)."""
    return logsumexp(log_weight, axis=1) - jnp.log(log_weight.shape[1])
