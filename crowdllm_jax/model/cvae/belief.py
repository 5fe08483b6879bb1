"""The belief generator: a conditional VAE over tasks, given a participant's profile.

CrowdLLM (arXiv 2512.07890): q(z | x, c) is Gaussian given one hidden layer, and a decoder
reconstructs the task from the belief. The semi-implicit variant (Yin & Zhou 2018) feeds noise into
the network of the mean, so that q is a mixture without a closed density.
"""

import jax
import jax.numpy as jnp
from flax import nnx


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
        self, x: jax.Array, c: jax.Array, injected: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Mean and log variance of z, each (..., L).

        Args:
          x: (..., F). c: (..., C). injected: (..., J) noise of the semi-implicit variant.
        """
        xc = jnp.concatenate([x, c], axis=-1)
        h = nnx.elu(self.hidden(xc))
        if self.mixing is None:
            return self.mean(h), self.log_variance(h)
        assert injected is not None
        mixed = nnx.elu(self.mixing(jnp.concatenate([xc, injected], axis=-1)))
        return self.mean(mixed), self.log_variance(h)

    def decode(self, z: jax.Array, c: jax.Array) -> jax.Array:
        """Reconstruct the task: (..., L) and (..., C) -> (..., F) in [-1, 1]."""
        h = nnx.elu(self.decoder(jnp.concatenate([z, c], axis=-1)))
        return jnp.tanh(self.output(h))
