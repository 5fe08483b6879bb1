"""The belief generator: a conditional VAE over tasks, given a participant's profile.

CrowdLLM (arXiv 2512.07890): q(z | x, c) is Gaussian given one hidden layer, and a decoder
reconstructs the task from the belief. The semi-implicit variant (Yin & Zhou 2018) feeds noise into
the network of the mean, so that q is a mixture without a closed density.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx


class KnownTasks(NamedTuple):
    """Features of B tasks that end with who a task is: one column for each of T tasks.

    Attributes:
      dense: (B, F - T) the features before these. number: (B,) the column, of the T, that is 1.
    """

    dense: jax.Array
    number: jax.Array


Features = jax.Array | KnownTasks
"""(..., F) features, or the same without their zeros."""


def written_out(x: Features, features: int) -> jax.Array:
    """(..., F) features as numbers."""
    if isinstance(x, KnownTasks):
        ones = jax.nn.one_hot(x.number, features - x.dense.shape[-1], dtype=x.dense.dtype)
        return jnp.concatenate([x.dense, ones], axis=-1)
    return x


class BeliefGenerator(nnx.Module):
    """Beliefs z of L numbers for a task x of F numbers and a profile c of C numbers.

    Args:
      hidden: units of each hidden layer (ELU).
      injected: numbers of noise fed into the mean; 0 is the plain Gaussian encoder.
    """

    def __init__(
        self,
        features: int,
        profile: int,
        hidden: int,
        latent: int,
        injected: int,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        self.hidden = nnx.Linear(features + profile, hidden, rngs=rngs)
        self.mean = nnx.Linear(hidden, latent, rngs=rngs)
        self.log_variance = nnx.Linear(hidden, latent, rngs=rngs)
        self.mixing = (
            nnx.Linear(features + profile + injected, hidden, rngs=rngs) if injected else None
        )
        self.decoder = nnx.Linear(latent + profile, hidden, rngs=rngs)
        self.output = nnx.Linear(hidden, features, rngs=rngs)

    def encode(
        self, x: Features, c: jax.Array, injected: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Mean and log variance of z, each (..., L).

        Args:
          x: (..., F). c: (..., C). injected: (..., J) noise of the semi-implicit variant.
        """
        h = nnx.elu(_first_layer(self.hidden, x, c))
        if self.mixing is None:
            return self.mean(h), self.log_variance(h)
        assert injected is not None
        rest = jnp.concatenate([c, injected], axis=-1)
        mixed = nnx.elu(_first_layer(self.mixing, x, rest))
        return self.mean(mixed), self.log_variance(h)

    def decode(self, z: jax.Array, c: jax.Array) -> jax.Array:
        """Reconstruct the task: (..., L) and (..., C) -> (..., F) in [-1, 1]."""
        h = nnx.elu(self.decoder(jnp.concatenate([z, c], axis=-1)))
        return jnp.tanh(self.output(h))


def _first_layer(layer: nnx.Linear, x: Features, rest: jax.Array) -> jax.Array:
    """A linear layer of [x; rest]; who a task is looks up a row of its weights."""
    if not isinstance(x, KnownTasks):
        return layer(jnp.concatenate([x, rest], axis=-1))
    assert layer.bias is not None
    kernel, bias = layer.kernel[...], layer.bias[...]
    before, after = x.dense.shape[-1], rest.shape[-1]
    others = jnp.concatenate([kernel[:before], kernel[len(kernel) - after :]])
    return (
        jnp.concatenate([x.dense, rest], axis=-1) @ others + kernel[before + x.number] + bias[None]
    )
