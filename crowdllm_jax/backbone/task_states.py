"""What a decoder makes of a text: its hidden states after some layers, each averaged over the
text's own tokens.

Layers in the middle say more of what a text is about than the last ones do, which turn to the next
word. So a pass ends at the deepest layer that is asked for. A text stands in a user's message,
because a decoder's first tokens carry large states that say nothing of it, and behind the question
that is asked about it, if there is one: then its states are about what is asked.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from crowdllm_jax.backbone.questions import shorten
from crowdllm_jax.backbone.scoring import padded
from crowdllm_jax.backbone.tokens import encode_texts
from crowdllm_jax.backbone.weights import Backbone
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.precision import float32_products


def task_states(
    backbone: Backbone,
    texts: Sequence[str],
    layers: Sequence[int],
    *,
    before: str = "",
    batch: int = 32,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> np.ndarray:
    """Mean hidden states (L, T, D) float32 of T texts after each of L ascending numbers of layers.

    Args:
      before: stands in front of every text, such as the question that is asked about it.
      batch: rows of a forward pass, which has one fixed shape per bucket of lengths.
      progress: called with (done, all) after every batch.
    Raises:
      CrowdError: the model has fewer layers, a text is longer than its context or holds one of its
        control tokens, or the states are not finite.
    """
    a = backbone.architecture
    if wrong := [layer for layer in layers if not 1 <= layer <= a.layers]:
        raise CrowdError(f"layer {wrong[0]} of {backbone.name}: it has layers 1 to {a.layers}")
    encoded = list(encode_texts(backbone.tokenizer, texts, before))
    for text, (tokens, _) in zip(texts, encoded, strict=True):
        if len(tokens) > a.context:
            raise CrowdError(
                f"text {shorten(text)!r}: {len(tokens)} tokens exceed the model's context of "
                f"{a.context}; shorten the text"
            )
    states = np.zeros((len(layers), len(texts), a.width), np.float32)
    order = sorted(range(len(texts)), key=lambda i: len(encoded[i][0]))
    for begin in range(0, len(order), batch):
        part = order[begin : begin + batch]
        longest = padded(len(encoded[part[-1]][0]))
        token = np.zeros((batch, longest), np.int32)
        segment, counted = np.full((batch, longest), -1, np.int32), np.zeros((batch, longest))
        for row, i in enumerate(part):
            tokens, (first, last) = encoded[i]
            token[row, : len(tokens)], segment[row, : len(tokens)] = tokens, 0
            counted[row, first:last] = 1 / (last - first)
        states_of_batch = run_states(
            backbone.graph,
            backbone.weights,
            token,
            segment,
            counted.astype(np.float32),
            tuple(layers),
        )
        states[:, part] = np.asarray(states_of_batch)[:, : len(part)]
        progress(begin + len(part), len(texts))
    bad = np.flatnonzero(~np.isfinite(states).all((0, 2)))
    if len(bad):
        raise CrowdError(
            f"{backbone.name}: the hidden states of {shorten(texts[bad[0]])!r} are not finite"
        )
    return states


@partial(jax.jit, static_argnums=(0, 5))
@float32_products()
def run_states(
    graph: nnx.GraphDef[Any],
    weights: nnx.State[Any, Any],
    token_BxS: jax.Array,
    segment_BxS: jax.Array,
    share_BxS: jax.Array,
    layers: tuple[int, ...],
) -> jax.Array:
    """(L, B, D) float32 sums of the hidden states after some numbers of layers, each position
    counted by its share."""
    place_BxS = jnp.broadcast_to(jnp.arange(token_BxS.shape[1]), token_BxS.shape)
    states = nnx.merge(graph, weights).states(token_BxS, place_BxS, segment_BxS, layers)
    mean = partial(jnp.einsum, "bs,bsd->bd", precision="highest")
    return jnp.stack([mean(share_BxS, x.astype(jnp.float32)) for x in states])
