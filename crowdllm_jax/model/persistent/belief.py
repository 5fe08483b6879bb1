"""An agent's belief: who it is, once for all tasks."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.scipy.special import ndtri
from scipy import special

from crowdllm_jax.model.persistent.posterior import sobol
from crowdllm_jax.runtime.precision import float32_products

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(32)
"""Of means over a standard normal number."""
FLAT = -5.0
"""Logarithm of a spread that is next to none."""
MIXED = 0.25
"""Share of a dimension's variance that injected noise makes where a fit starts."""


class Belief(nnx.Module):
    """p(z | profile): normal around 0, or a mixture of normals over injected noise.

    A belief is (L + 1) numbers: L dimensions and the logarithm of the personal scale. The profile
    moves the location through effects, not here, so that its part can be read off.

    A fit's mean is 0 however noise is mixed in: a dimension that is on one side for everybody would
    move tasks by what they load on, as an effect of features that has no prior. People whom the fit
    leaves on one side all the same move it in the end (`stand_at`).
    """

    def __init__(self, latent: int, injected: int, *, rngs: nnx.Rngs) -> None:
        # By numpy: JAX would compile a program for every shape.
        spread: Any = np.array([-0.5] * latent + [-1.5], np.float32)
        flat: Any = np.zeros((2, latent), np.float32)
        at: Any = np.zeros(latent + 1, np.float32)
        self.log_spread = nnx.Param(spread)
        self.tilt = nnx.Param(flat[0])
        self.middle = nnx.Param(flat[1])
        self.mean = nnx.Param(at)
        self.mixing = nnx.Linear(injected, 8, rngs=rngs) if injected else None
        self.shift = (
            nnx.Linear(8, latent, use_bias=False, kernel_init=nnx.initializers.zeros, rngs=rngs)
            if injected
            else None
        )

    @property
    def latent(self) -> int:
        """L, dimensions."""
        return int(self.tilt.shape[0])

    @property
    def usual_scale(self) -> jax.Array:
        """() the personal scale in the middle of people: how large the noise in answers is."""
        return jnp.exp(self.mean[self.latent])

    @property
    def width(self) -> int:
        """Standard normal numbers that make one belief."""
        injected = 0 if self.mixing is None else self.mixing.kernel.shape[0]
        return int(self.log_spread.shape[0] + injected)

    def centre(self) -> None:
        """Make the mean 0: `mean` is not fitted, nor is `middle`, which is worked out."""
        # Other ones: the parameters of whoever is fitted stay as they are.
        self.mean = nnx.Param(0 * self.mean[...])
        if self.mixing is None or self.shift is None:
            return
        assert self.mixing.bias is not None
        spread = jnp.sqrt((self.mixing.kernel[...] ** 2).sum(0))
        at = self.mixing.bias[...][None] + spread[None] * NODES[:, None].astype(np.float32)
        share = (WEIGHTS / WEIGHTS.sum()).astype(np.float32)
        self.middle = nnx.Param(self.shift((share[:, None] * jnp.tanh(at)).sum(0)))

    def mix(self, seed: int) -> None:
        """Let injected noise make some of the beliefs, which stay as far apart as they were.

        A fit starts so. Where noise moves nothing, moving a little to either side gains nothing,
        and a fit leaves this saddle late, however lopsided or two-humped the crowd of its people.
        """
        if self.mixing is None or self.shift is None:
            return
        assert self.mixing.bias is not None
        random, apart = np.random.default_rng(seed), self.deviation()
        for param in (self.mixing.kernel, self.mixing.bias, self.shift.kernel):
            param[...] = jnp.asarray(random.normal(size=param.shape).astype(np.float32))
        by = np.asarray(self.shift.kernel[...]) * (apart * np.sqrt(MIXED) / self._moves())
        self.shift.kernel[...] = jnp.asarray(by.astype(np.float32))
        log_spread = np.array(self.log_spread[...])
        log_spread[: self.latent] = np.log(apart * np.sqrt(1 - MIXED))
        self.log_spread[...] = jnp.asarray(log_spread)

    def deviation(self) -> np.ndarray:
        """(L,) of z in the population."""
        return np.hypot(np.exp(np.asarray(self.log_spread[...]))[: self.latent], self._moves())

    def _moves(self) -> np.ndarray:
        """(L,) deviation of what injected noise adds to z."""
        if self.mixing is None or self.shift is None:
            return np.zeros(self.latent)
        assert self.mixing.bias is not None
        kernel, bias, by = self.mixing.kernel, self.mixing.bias, self.shift.kernel
        noise = special.ndtri(sobol(1024, len(kernel[...])))
        units = np.tanh(noise @ np.asarray(kernel[...]) + np.asarray(bias[...]))
        return np.asarray((units @ np.asarray(by[...])).std(0))

    def stand_at(self, people: np.ndarray) -> None:
        """Move the mean to where a fit's people stand on average, in z and log scale (L + 1,).

        The fit's prior has it at 0. But where all tasks stand, and in which units, answers to
        hundreds of them say soon, and their people's prior among so many effects only late. Agents
        around 0 would then be steadier, or less steady, than nearly all of these people.
        """
        log_spread = np.array(self.log_spread[...])
        # What lies on one side counts as apart from 0, and is not apart from the mean.
        apart = np.exp(2 * log_spread) - people**2
        self.log_spread[...] = jnp.asarray(np.log(apart.clip(np.exp(2 * FLAT))) / 2)
        self.mean[...] = jnp.asarray(people)

    def __call__(self, u: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Turn standard normal numbers (..., L + 1 + injected) into z (..., L) and scale (...,)."""
        z, scale = self.placed(u)
        if self.mixing is not None and self.shift is not None:
            mixed = self.shift(jnp.tanh(self.mixing(u[..., self.latent + 1 :])))
            z = z + mixed - jnp.broadcast_to(self.middle[...], z.shape)
        return z, scale

    def _spread(self) -> jax.Array:
        """(L + 1,), never so small that what noise does, in its units, rounds away."""
        return jnp.exp(jnp.maximum(self.log_spread[...], FLAT))

    def moved(self, noise: jax.Array) -> jax.Array:
        """(J, L + 1) how far noises (J, injected) move what `placed` turns into a belief."""
        assert self.mixing is not None
        assert self.shift is not None
        spread, latent = self._spread(), self.latent
        mixed = self.shift(jnp.tanh(self.mixing(noise)))
        by = (mixed - self.middle[...][None]) / spread[None, :latent]
        # Noise moves no personal scale, which follows the first L numbers here.
        return jnp.concatenate([by, -(by @ self.tilt[...])[:, None] / spread[latent]], axis=1)

    def placed(self, u: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Turn numbers (..., L + 1 or more) that no noise has moved, or that `moved` has, into z
        (..., L) and scale (...,)."""
        latent = self.tilt.shape[0]
        spread = self._spread()
        base = u[..., :latent]
        mean = self.mean[...]
        at, by = (jnp.broadcast_to(one[:latent], base.shape) for one in (mean, spread))
        z = at + base * by
        # People at one end of the location may use the scale more widely than at the other.
        log_scale = spread[latent] * u[..., latent] + base @ self.tilt[...] + mean[latent]
        return z, jnp.exp(jnp.clip(log_scale, -3, 3))


class UnwitnessedBelief(nnx.Module):
    """A belief, and beside it what witnesses would say of the person: further standard normal
    numbers at its end."""

    def __init__(self, belief: Belief, further: int) -> None:
        self.belief, self.further = belief, further

    @property
    def latent(self) -> int:
        """L, dimensions of the belief itself."""
        return self.belief.latent

    @property
    def width(self) -> int:
        """Standard normal numbers that make one of these."""
        return self.belief.width + self.further

    def __call__(self, u: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Turn standard normal numbers (..., width) into z (..., L + further) and scale (...,)."""
        z, scale = self.belief(u[..., : self.belief.width])
        return jnp.concatenate([z, u[..., self.belief.width :]], axis=-1), scale


def even_beliefs(belief: Belief, people: int) -> np.ndarray:
    """(people, L) that cover evenly what agents' beliefs are drawn from; always the same."""
    return np.asarray(_beliefs_at(*nnx.split(belief, nnx.Param), sobol(people, belief.width)))


@partial(jax.jit, static_argnums=0)
@float32_products()
def _beliefs_at(
    graph: nnx.GraphDef[Any], params: nnx.State[Any, Any], uniform: jax.Array
) -> jax.Array:
    belief: Belief = nnx.merge(graph, params)
    return belief(ndtri(uniform))[0]
