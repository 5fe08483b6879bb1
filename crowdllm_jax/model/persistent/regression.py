"""Task effects around what the reference and the features say of the tasks.

A task's effect is  theta = x @ b + r,  coefficients b ~ N(0, prior**2) of columns x and the task's
own deviation r ~ N(0, apart**2). Many answers to a task say well where it is, and leave open how
much of that is b's doing: only as many tasks as there are speak for a column, however many people
answered them. A posterior of b and r apart from each other would not know that, and trust a
meaningless column as surely as a good one. So b is integrated out of the prior, where theta is
normal with covariance x prior**2 x' + apart**2, and the posterior of theta is the normal one that
independent b and r imply. Everything is of the size of b, by the matrix inversion lemma.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve


class Regression(NamedTuple):
    """Effects of M tasks (or levels of tasks) on D columns.

    Attributes:
      x: (M, D). prior: (D,) deviation of each coefficient. apart: (M,) deviation of the tasks' own
      part. known: (M,) 1 where there are answers, 0 elsewhere: such tasks take no part.
    """

    x: jax.Array
    prior: jax.Array
    apart: jax.Array
    known: jax.Array


class Normal(NamedTuple):
    """Independent normal numbers."""

    mean: jax.Array
    sd: jax.Array


def divergence_around(regression: Regression, coefficient: Normal, deviation: Normal) -> jax.Array:
    """KL of theta's posterior, for independent coefficients (D,) and deviations (M,), from its
    prior."""
    p, products, root = _standardised(regression)
    w = regression.known * (regression.x @ coefficient.mean + deviation.mean) / regression.apart
    b = cho_solve((root, True), p.T @ w)
    square = ((w - p @ b) ** 2).sum() + (b**2).sum()
    spread = regression.known * deviation.sd / regression.apart
    inverse = cho_solve((root, True), jnp.eye(len(root)))
    # Products of columns, small beside the tasks: solving for every task takes many times as long.
    weighted = spread[:, None] * p
    trace = (spread**2).sum() - (inverse * (weighted.T @ weighted)).sum()
    # The diagonal of 1 - inverse, of which rounding would leave nothing where a prior is narrow.
    shrunk = (inverse * products).sum(1)
    trace += ((coefficient.sd / regression.prior) ** 2 * shrunk).sum()
    _, _, wide = _standardised(regression._replace(prior=coefficient.sd, apart=deviation.sd))
    entropy = (regression.known * jnp.log(deviation.sd / regression.apart)).sum() + _half_log_det(
        wide
    )
    return 0.5 * (square + trace - regression.known.sum()) - entropy + _half_log_det(root)


def regress(regression: Regression, theta: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Posterior mean (D,) of the coefficients given theta (M,), and covariance (D, D)."""
    p, _, root = _standardised(regression)
    mean = regression.prior * cho_solve(
        (root, True), p.T @ (regression.known * theta / regression.apart)
    )
    inverse = cho_solve((root, True), jnp.eye(len(root)))
    return mean, regression.prior[:, None] * inverse * regression.prior[None]


def _standardised(regression: Regression) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Columns (M, D) in units of both deviations, their products, and the Cholesky root of 1 +
    these."""
    p = (regression.known / regression.apart)[:, None] * regression.x * regression.prior[None]
    products = p.T @ p
    return p, products, jnp.linalg.cholesky(jnp.eye(p.shape[1]) + products)


def _half_log_det(root: jax.Array) -> jax.Array:
    return jnp.log(jnp.diagonal(root)).sum()
