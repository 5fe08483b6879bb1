"""The blender: how a belief and a profile move an agent away from the reference decision."""

import jax
import jax.numpy as jnp
from flax import nnx


class Blender(nnx.Module):
    """Three linear layers (L, 10, 1) without a nonlinearity, so the bias is affine in [z; c]."""

    def __init__(self, latent: int, profile: int, *, rngs: nnx.Rngs) -> None:
        self.first = nnx.Linear(latent + profile, latent, rngs=rngs)
        self.second = nnx.Linear(latent, 10, rngs=rngs)
        self.third = nnx.Linear(10, 1, rngs=rngs)

    def __call__(self, z: jax.Array, c: jax.Array) -> jax.Array:
        """Personal bias (...,) of beliefs (..., L) and profiles (..., C)."""
        return self.third(self.second(self.first(jnp.concatenate([z, c], axis=-1))))[..., 0]

    def folded(self) -> tuple[jax.Array, jax.Array]:
        """The same map as a vector (L + C,) and a constant: bias = [z; c] @ vector + constant."""
        first, second, third = (
            layer.kernel[...] for layer in (self.first, self.second, self.third)
        )
        vector = first @ (second @ third)
        origin = jnp.zeros(len(first))
        return vector[:, 0], self(origin, origin[:0])
