"""How far a model's answers are from people's: forward divergence, and distance on the scale."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

from crowdllm_jax.backbone.scoring import TokenRows, option_log_probs
from crowdllm_jax.backbone.tune.adapter import Arrays, Form, with_adapters
from crowdllm_jax.backbone.tune.examples import Batch

_NONE = -1e30  # the logit of an option that there is not


class Terms(NamedTuple):
    """Weighted sums over a batch's examples.

    Attributes:
      divergence: Kullback-Leibler's, of people's shares from the model's, in nats.
      distance: the squared gaps between cumulative shares, times the steps between the options.
      weight: of the examples.
    """

    divergence: jax.Array
    distance: jax.Array
    weight: jax.Array

    def loss(self, ordinal: float) -> jax.Array:
        """Per example."""
        return (self.divergence + ordinal * self.distance) / self.weight


def terms(form: Form, base: nnx.State[Any, Any], arrays: Arrays, batch: Batch) -> Terms:
    """The terms of the loss of a model with some adapters, on a batch."""
    logq = log_shares(form, base, arrays, batch.rows, batch.scale, batch.offered)
    p, q = batch.shares, jnp.exp(logq)
    divergence = (jax.scipy.special.xlogy(p, p) - p * logq * batch.offered).sum(1)
    gap = jnp.cumsum(p - q, axis=1)[:, :-1]
    distance = (gap**2 * batch.steps).sum(1)
    w = batch.weight
    return Terms((w * divergence).sum(), (w * distance).sum(), w.sum())


def log_shares(
    form: Form,
    base: nnx.State[Any, Any],
    arrays: Arrays,
    rows: TokenRows,
    scale_B: ArrayLike,
    offered_BxK: ArrayLike,
) -> jax.Array:
    """(B, K) log-probabilities among the options: of their tokens, or those of the head."""
    model: Any = with_adapters(form, base, arrays)
    hidden = model(rows.token, rows.position, rows.segment)
    if "head" in arrays:
        # The head has as many options as the study's longest scale, these rows perhaps fewer.
        offered = jnp.shape(offered_BxK)[1]
        logits = _head(arrays, hidden, rows.task, scale_B)[:, :offered]
    else:
        logits = option_log_probs(model, hidden, rows)
    return jax.nn.log_softmax(jnp.where(jnp.asarray(offered_BxK) > 0, logits, _NONE), axis=-1)


def _head(arrays: Arrays, hidden: jax.Array, task: ArrayLike, scale_B: ArrayLike) -> jax.Array:
    """(B, K) linear in the mean state of the task's own text."""
    task = jnp.asarray(task)
    share = task / jnp.maximum(task.sum(1, keepdims=True), 1)
    state = jnp.einsum("bs,bsd->bd", share, hidden.astype(jnp.float32))
    logits = jnp.einsum("bkd,bd->bk", arrays["head"][scale_B], state)
    return logits + arrays["bias"][scale_B]
