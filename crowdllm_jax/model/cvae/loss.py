"""The published loss, term by term."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from crowdllm_jax.model.cvae.belief import Features, written_out
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.cvae.decision import Cvae, DecisionDraw, Noise, answer_scores

Terms = dict[str, jax.Array]
Number = float | jax.Array


class LossNumbers(NamedTuple):
    """The numbers of a configuration that the loss depends on.

    They are arguments of a compiled step, so runs that differ in nothing else share it.
    """

    noise_scale: Number
    diversity: Number
    reconstruction: Number
    kl: Number
    decision: Number


def loss_numbers(config: CvaeConfig) -> LossNumbers:
    """The numbers of a configuration that the loss depends on."""
    weights = config.loss
    return LossNumbers(
        config.noise_scale,
        config.training_diversity,
        weights.reconstruction,
        weights.kl,
        weights.decision,
    )


def cvae_loss(
    model: Cvae,
    x: Features,
    c: jax.Array,
    reference: jax.Array,
    answer: jax.Array,
    weight: jax.Array,
    noise: Noise,
    numbers: LossNumbers,
) -> tuple[jax.Array, Terms]:
    """Reconstruction + KL + squared error of the decision, each averaged over a batch of B.

    The decision is the clipped score: what the ends of the scale cut off is part of its error.

    Args:
      x: (B, F). c: (B, C). reference, answer: (B,) in [0, 1]. weight: (B,), 0 where padded.
    Returns:
      The weighted sum, and each term by name (unweighted).
    """
    draw = answer_scores(model, x, c, reference, noise, numbers.noise_scale, numbers.diversity)
    decoded = model.belief.decode(draw.z, c)
    error = ((decoded - written_out(x, decoded.shape[-1])) ** 2).sum(-1)
    terms = {
        "reconstruction": error,
        "kl": kl_to_prior(model, x, c, draw, noise, numbers.noise_scale),
        "decision": (jnp.clip(draw.score, 0, 1) - answer) ** 2,
    }
    share = weight / weight.sum()
    averages = {name: term @ share for name, term in terms.items()}
    total = sum(getattr(numbers, name) * value for name, value in averages.items())
    return jnp.asarray(total), averages


def kl_to_prior(
    model: Cvae, x: Features, c: jax.Array, draw: DecisionDraw, noise: Noise, noise_scale: Number
) -> jax.Array:
    """(B,) KL(q(z | x, c) || N(0, 1)).

    Closed form for the plain model. For the semi-implicit one the surrogate of Yin & Zhou (2018,
    eq. 9): log q is that of the mixture over the noise that made z and `auxiliary` more draws.
    """
    if noise.injected is None:
        mean, log_variance = draw.mean, draw.log_variance
        return 0.5 * (mean**2 + jnp.exp(log_variance) - 1 - log_variance).sum(-1)
    means = jax.vmap(lambda injected: model.belief.encode(x, c, injected)[0])(noise.injected)
    # The same scale of noise that drew z.
    sd = noise_scale * jnp.exp(0.5 * draw.log_variance)
    log_parts = _log_normal((draw.z[None] - means) / sd[None]) - jnp.log(sd).sum(-1)[None]
    log_q = logsumexp(log_parts, axis=0) - jnp.log(len(means))
    return log_q - _log_normal(draw.z)


def _log_normal(z: jax.Array) -> jax.Array:
    return -0.5 * (z**2 + jnp.log(2 * jnp.pi)).sum(-1)
