"""CrowdLLM as published: one agent, one task, one score.

Scores live on [0, 1]: each scale's lowest answer is 0 and its highest 1. The agent's decision is
the level nearest to its score. A fresh belief is drawn for every (agent, task).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from crowdllm_jax.model.cvae.belief import BeliefGenerator, Features
from crowdllm_jax.model.cvae.blender import Blender
from crowdllm_jax.model.cvae.config import CvaeConfig


class Cvae(nnx.Module):
    """Belief generator and blender."""

    def __init__(self, features: int, profile: int, config: CvaeConfig, *, rngs: nnx.Rngs) -> None:
        injected = config.injected if config.semi_implicit else 0
        self.belief = BeliefGenerator(
            features, profile, config.hidden, config.latent, injected, rngs=rngs
        )
        self.blender = Blender(config.latent, profile, rngs=rngs)


class Noise(NamedTuple):
    """Standard normal draws for B decisions.

    Attributes:
      latent: (B, L). decision: (B,).
      injected: (1 + auxiliary, B, J), the first for the belief itself; None unless semi-implicit.
    """

    latent: jax.Array
    decision: jax.Array
    injected: jax.Array | None


class DecisionDraw(NamedTuple):
    """What one pass through the model gives: (B, L) moments and belief, (B,) unclipped score."""

    mean: jax.Array
    log_variance: jax.Array
    z: jax.Array
    score: jax.Array


def draw_noise(key: jax.Array, batch: int, config: CvaeConfig) -> Noise:
    """The first rows are the same in every batch size (JAX's threefry counts its draws)."""
    others, mixing = jax.random.split(key)
    # One call for both: every call is a threefry and an inverse error function to compile.
    normal = jax.random.normal(others, (batch, config.latent + 1))
    shape = (batch, 1 + config.auxiliary, config.injected)
    injected = jax.random.normal(mixing, shape).swapaxes(0, 1) if config.semi_implicit else None
    return Noise(normal[:, :-1], normal[:, -1], injected)


def answer_scores(
    model: Cvae,
    x: Features,
    c: jax.Array,
    reference: jax.Array,
    noise: Noise,
    noise_scale: float | jax.Array,
    diversity: float | jax.Array,
) -> DecisionDraw:
    """Score B decisions the plain way: draw a belief, blend it with the reference, add noise.

    Args:
      x: (B, F). c: (B, C). reference: (B,) in [0, 1].
    """
    injected = None if noise.injected is None else noise.injected[0]
    mean, log_variance = model.belief.encode(x, c, injected)
    z = mean + noise_scale * jnp.exp(0.5 * log_variance) * noise.latent
    score = reference + model.blender(z, c) + diversity * noise.decision
    return DecisionDraw(mean, log_variance, z, score)


def score_moments(
    model: Cvae, x: jax.Array, c: jax.Array, reference: jax.Array, config: CvaeConfig
) -> tuple[jax.Array, jax.Array]:
    """Mean and standard deviation of the unclipped score, for every profile and task.

    The blender is affine and the belief Gaussian, so the score is exactly normal; and the first
    layer is linear in [x; c], so its products are needed once per task and once per profile.
    Only of the plain model: the semi-implicit score is a mixture.

    Args:
      x: (T, F). c: (P, C). reference: (T,) in [0, 1].
    Returns:
      Two (P, T) arrays.
    """
    belief = model.belief
    vector, constant = model.blender.folded()
    to_z, to_c = vector[: config.latent], vector[config.latent :]
    no_profile = jnp.zeros((len(x), c.shape[1]))
    by_task = belief.hidden(jnp.concatenate([x, no_profile], axis=1))
    by_profile = c @ belief.hidden.kernel[...][x.shape[1] :]
    mean_vector = belief.mean.kernel[...] @ to_z
    mean_constant = belief.mean(jnp.zeros(config.hidden)) @ to_z + constant

    def one_profile(by_profile: jax.Array, bias: jax.Array) -> tuple[jax.Array, jax.Array]:
        h = nnx.elu(by_task + by_profile[None])
        variance = jnp.exp(belief.log_variance(h)) @ to_z**2
        mean = reference + h @ mean_vector + mean_constant + bias
        return mean, jnp.sqrt(config.noise_scale**2 * variance + config.diversity**2)

    return jax.lax.map(lambda pair: one_profile(*pair), (by_profile, c @ to_c))
