"""The decoder-only transformer of every supported family, in one file of Flax NNX.

Shapes are named in suffixes: B rows, S positions, P positions of the shared prefix, D width,
G key-value heads, R query heads per key-value head, H head size, L layers, V vocabulary.

A row is a prompt with its answer options packed behind it. `segment` says what each position is:
-1 padding, 0 the prompt, k >= 1 the k-th option. A token sees the prompt and its own option only,
and positions restart for each option, so that every option is scored as if it stood alone. Rows
may share a prefix, which is computed once and stored without a batch axis.

The layers' weights are stacked and scanned: one layer is compiled whatever the depth. Matrices
keep the (out, in) orientation of the files, so that loading is a copy.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import PartitionSpec

from crowdllm_jax.backbone.architecture import Architecture, inverse_frequencies
from crowdllm_jax.backbone.packed import PackedMatrix, Packing

_FULL = 2**30  # a window that no sequence outgrows
SCORES = 2**26
"""Attention scores (of float32) of a layer that are there at once, about."""
_MASKED = -1e30  # finite, so that a row of padding gives no nan

# How weights lie on a mesh with the axis "model": what makes heads or inner features is split by
# its output, what consumes them by its input, the vocabulary by its entries. Layers come first.
_COLUMN, _ROW, _EACH = (None, "model", None), (None, None, "model"), (None, "model")
PARTITION = {
    **dict.fromkeys(("q", "k", "v", "gate", "up"), PartitionSpec(*_COLUMN)),
    **dict.fromkeys(("q_bias", "k_bias", "v_bias", "gate_bias", "up_bias"), PartitionSpec(*_EACH)),
    **dict.fromkeys(("o", "down"), PartitionSpec(*_ROW)),
    **dict.fromkeys(("embed", "head"), PartitionSpec("model", None)),
}


class Prefix(NamedTuple):
    """Keys and values (L, P, G, H) of a prefix shared by all rows; `used` of the P are real."""

    k: jax.Array
    v: jax.Array
    used: jax.Array


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters (Hu et al. 2021) beside some of a block's matrices: y = Wx + alpha / rank
    B(Ax), with A (rank, in) and B (out, rank) in float32."""

    rank: int
    alpha: float
    targets: tuple[str, ...]

    @property
    def scale(self) -> float:
        """What the product is multiplied by."""
        return self.alpha / self.rank


Packed = tuple[tuple[str, Packing], ...]
"""The matrices of a block that stay quantised, and how."""


class Block(nnx.Module):
    """All L layers' weights, stacked; called on one layer's slice of them."""

    def __init__(
        self, a: Architecture, dtype: jnp.dtype, lora: Lora | None = None, packed: Packed = ()
    ) -> None:
        def weight(*shape: int) -> nnx.Param[Any]:
            return nnx.Param(jnp.zeros((a.layers, *shape), dtype))

        queries, keys = a.heads * a.head_dim, a.kv_heads * a.head_dim
        self.a = a
        self.q, self.k, self.v = (weight(n, a.width) for n in (queries, keys, keys))
        self.o = weight(a.width, queries)
        self.gate, self.up = weight(a.inner, a.width), weight(a.inner, a.width)
        self.down = weight(a.width, a.inner)
        self.attn_norm, self.mlp_norm = weight(a.width), weight(a.width)
        if a.post_norms:
            self.attn_post_norm, self.mlp_post_norm = weight(a.width), weight(a.width)
        if a.qk_norm:
            self.q_norm, self.k_norm = weight(a.head_dim), weight(a.head_dim)
        if a.qkv_bias:
            self.q_bias, self.k_bias, self.v_bias = (weight(n) for n in (queries, keys, keys))
        if a.out_bias:
            self.o_bias = weight(a.width)
        if a.mlp_bias:
            self.gate_bias, self.up_bias = weight(a.inner), weight(a.inner)
            self.down_bias = weight(a.width)
        for name, packing in packed:
            L, out, inward = getattr(self, name).shape
            setattr(self, name, PackedMatrix(L, out, inward, packing))
        self.lora = lora
        if lora is not None:
            for name in lora.targets:
                L, out, inward = getattr(self, name).shape
                setattr(self, f"{name}_lora_a", nnx.LoRAParam(jnp.zeros((L, lora.rank, inward))))
                setattr(self, f"{name}_lora_b", nnx.LoRAParam(jnp.zeros((L, out, lora.rank))))

    def __call__(
        self,
        x_BxSxD: jax.Array,
        turn: tuple[jax.Array, jax.Array],
        masks: tuple[jax.Array, jax.Array | None],
        prefix: tuple[jax.Array, jax.Array] | None,
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        """One layer; also returns the keys and values it made."""
        a = self.a
        mixed, cached = self._attend(self._norm("attn_norm", x_BxSxD), turn, masks, prefix)
        x_BxSxD += self._norm("attn_post_norm", mixed) if a.post_norms else mixed
        h_BxSxD = self._norm("mlp_norm", x_BxSxD)
        gate = ACTIVATE[a.activation](self._linear("gate", h_BxSxD))
        mixed = self._linear("down", gate * self._linear("up", h_BxSxD))
        x_BxSxD += self._norm("mlp_post_norm", mixed) if a.post_norms else mixed
        return x_BxSxD, cached

    def _attend(
        self,
        h_BxSxD: jax.Array,
        turn: tuple[jax.Array, jax.Array],
        masks: tuple[jax.Array, jax.Array | None],
        prefix: tuple[jax.Array, jax.Array] | None,
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        a = self.a
        B, S, _ = h_BxSxD.shape
        q = self._linear("q", h_BxSxD).reshape(B, S, a.heads, a.head_dim)
        k = self._linear("k", h_BxSxD).reshape(B, S, a.kv_heads, a.head_dim)
        v = self._linear("v", h_BxSxD).reshape(B, S, a.kv_heads, a.head_dim)
        if a.qk_norm:
            q, k = self._norm("q_norm", q), self._norm("k_norm", k)
        q, k = _rotate(q, *turn), _rotate(k, *turn)
        q = q.reshape(B, S, a.kv_heads, a.heads // a.kv_heads, a.head_dim)

        mixed = self._mix(q, (k, v), masks, prefix)
        return self._linear("o", mixed.reshape(B, S, -1)), (k, v)

    def _mix(
        self,
        q: jax.Array,
        kv: tuple[jax.Array, jax.Array],
        masks: tuple[jax.Array, jax.Array | None],
        prefix: tuple[jax.Array, jax.Array] | None,
    ) -> jax.Array:
        """Values mixed for queries (B, S, G, R, H), some queries at a time: the scores of all would
        be the largest array by far where texts are long."""
        B, S, G, R, _ = q.shape
        T = kv[0].shape[1] + (0 if prefix is None else prefix[0].shape[0])
        parts = next((n for n in range(1, S) if S % n == 0 and n * SCORES >= B * G * R * S * T), S)
        own, shared = masks
        if parts == 1:
            return self._mix_block(q, own, shared, kv, prefix)

        def cut(x: jax.Array) -> jax.Array:
            return jnp.moveaxis(x.reshape(x.shape[0], parts, S // parts, *x.shape[2:]), 1, 0)

        @partial(jax.checkpoint, prevent_cse=False)
        def mix(block: tuple[jax.Array, jax.Array, jax.Array | None]) -> jax.Array:
            # Computed anew for the backward pass: kept, the scores of all would be there at once.
            return self._mix_block(*block, kv, prefix)

        mixed = jax.lax.map(mix, (cut(q), cut(own), None if shared is None else cut(shared)))
        return jnp.moveaxis(mixed, 0, 1).reshape(q.shape)

    def _mix_block(
        self,
        q: jax.Array,
        own_BxSxT: jax.Array,
        shared_BxSxP: jax.Array | None,
        kv: tuple[jax.Array, jax.Array],
        prefix: tuple[jax.Array, jax.Array] | None,
    ) -> jax.Array:
        a = self.a
        k, v = kv

        def scores(pattern: str, keys: jax.Array, mask_BxSxT: jax.Array) -> jax.Array:
            s = jnp.einsum(pattern, q, keys, preferred_element_type=jnp.float32) * a.query_scale
            s = _cap(s, a.attn_softcap)
            return jnp.where(mask_BxSxT[:, None, None], s, _MASKED)

        s = scores("bsgrh,btgh->bgrst", k, own_BxSxT)
        if prefix is None or shared_BxSxP is None:
            p = jax.nn.softmax(s, axis=-1).astype(v.dtype)
            return jnp.einsum("bgrst,btgh->bsgrh", p, v)
        # The prefix keeps no batch axis: its keys are read once for all rows.
        s = jnp.concatenate([scores("bsgrh,pgh->bgrsp", prefix[0], shared_BxSxP), s], axis=-1)
        p = jax.nn.softmax(s, axis=-1).astype(v.dtype)
        P = prefix[0].shape[0]
        mixed = jnp.einsum("bgrsp,pgh->bsgrh", p[..., :P], prefix[1])
        return mixed + jnp.einsum("bgrst,btgh->bsgrh", p[..., P:], v)

    def _linear(self, name: str, x: jax.Array) -> jax.Array:
        matrix = getattr(self, name)
        dense = matrix.dense(x.dtype) if isinstance(matrix, PackedMatrix) else matrix[...]
        y = jnp.einsum("...i,oi->...o", x, dense)
        if self.lora is not None and name in self.lora.targets:
            a, b = (getattr(self, f"{name}_lora_{part}")[...].astype(x.dtype) for part in "ab")
            low = jnp.einsum("...i,ri->...r", x, a)
            y += self.lora.scale * jnp.einsum("...r,or->...o", low, b)
        bias = getattr(self, f"{name}_bias", None)
        return y if bias is None else y + bias[...][None, None]

    def _norm(self, name: str, x: jax.Array) -> jax.Array:
        return _rms(x, getattr(self, name)[...], self.a)


class Decoder(nnx.Module):
    """Embedding, layers, final norm and vocabulary projection. Weights start at zero: they are
    loaded, see `weights.load`. With adapters it is made to be trained: with `recompute`, of each
    layer only the input is kept for the backward pass, which computes the layer anew."""

    def __init__(
        self,
        a: Architecture,
        dtype: jnp.dtype = jnp.float32,
        lora: Lora | None = None,
        packed: Packed = (),
        recompute: bool = True,
    ) -> None:
        self.a = a
        self.recompute = recompute
        self.embed = nnx.Param(jnp.zeros((a.vocab, a.width), dtype))
        self.block = Block(a, dtype, lora, packed)
        self.norm = nnx.Param(jnp.zeros((a.width,), dtype))
        if not a.tied:
            self.head = nnx.Param(jnp.zeros((a.vocab, a.width), dtype))

    def __call__(
        self,
        token_BxS: jax.Array,
        position_BxS: jax.Array,
        segment_BxS: jax.Array,
        prefix: Prefix | None = None,
    ) -> jax.Array:
        """Final hidden states (B, S, D), after the last norm."""
        return self._run(token_BxS, position_BxS, segment_BxS, prefix)[0]

    def states(
        self,
        token_BxS: jax.Array,
        position_BxS: jax.Array,
        segment_BxS: jax.Array,
        after: tuple[int, ...],
    ) -> tuple[jax.Array, ...]:
        """Hidden states (B, S, D) after each of some numbers of layers, in ascending order; those
        after all layers are normed. Layers beyond the last number are not computed."""
        x_BxSxD, layer, per_layer = self._layers(token_BxS, position_BxS, segment_BxS, None)
        states, begin = [], 0
        for end in after:
            part = jax.tree.map(lambda weight, b=begin, e=end: weight[b:e], per_layer)
            x_BxSxD, _ = jax.lax.scan(layer, x_BxSxD, part)
            last = end == self.a.layers
            states.append(_rms(x_BxSxD, self.norm[...], self.a) if last else x_BxSxD)
            begin = end
        return tuple(states)

    def prefix(self, token_P: jax.Array, used: jax.Array) -> tuple[jax.Array, Prefix]:
        """Hidden states (P, D) and the shareable keys and values of a padded prefix."""
        position_P = jnp.arange(token_P.shape[0])
        segment_P = jnp.where(position_P < used, 0, -1)
        hidden, (k, v) = self._run(token_P[None], position_P[None], segment_P[None], None)
        return hidden[0], Prefix(k[:, 0], v[:, 0], used)

    def logits(self, hidden: jax.Array) -> jax.Array:
        """Vocabulary logits of hidden states (..., D), accumulated and returned in float32:
        rounded to bfloat16, close options would tie."""
        head = self.embed if self.a.tied else self.head
        logits = jnp.einsum("...d,vd->...v", hidden, head[...], preferred_element_type=jnp.float32)
        return _cap(logits, self.a.final_softcap)

    def _run(
        self,
        token_BxS: jax.Array,
        position_BxS: jax.Array,
        segment_BxS: jax.Array,
        prefix: Prefix | None,
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        """Hidden states, and all layers' keys and values (which XLA drops where unused)."""
        x_BxSxD, layer, per_layer = self._layers(token_BxS, position_BxS, segment_BxS, prefix)
        x_BxSxD, cached = jax.lax.scan(layer, x_BxSxD, per_layer)
        return _rms(x_BxSxD, self.norm[...], self.a), cached

    def _layers(
        self,
        token_BxS: jax.Array,
        position_BxS: jax.Array,
        segment_BxS: jax.Array,
        prefix: Prefix | None,
    ) -> tuple[jax.Array, Callable[..., Any], tuple[Any, ...]]:
        """The embedded tokens, and what `lax.scan` takes to run the layers on them: the function of
        one layer, and everything that differs from layer to layer, stacked."""
        a = self.a
        # Gemma rounds its embedding scale to the weights' type; so do we.
        x_BxSxD = self.embed[...][token_BxS]
        x_BxSxD *= jnp.asarray(a.embed_scale, x_BxSxD.dtype)

        order = jnp.arange(token_BxS.shape[1])
        seg_q, seg_k = segment_BxS[:, :, None], segment_BxS[:, None, :]
        own_BxSxS = (
            (order[:, None] >= order[None])[None] & ((seg_k == 0) | (seg_k == seg_q)) & (seg_k >= 0)
        )
        back_BxSxS = position_BxS[:, :, None] - position_BxS[:, None, :]
        shared = shared_back = None
        if prefix is not None:
            place_P = jnp.arange(prefix.k.shape[1])
            shared = (place_P < prefix.used)[None, None]
            shared_back = position_BxS[:, :, None] - place_P[None, None]

        def layer(x: jax.Array, per_layer: tuple[Any, ...]) -> tuple[jax.Array, tuple[Any, ...]]:
            weights, window, frequency, shared_kv = per_layer
            angle = position_BxS[..., None].astype(jnp.float32) * frequency[None, None]
            turn = (jnp.cos(angle)[:, :, None], jnp.sin(angle)[:, :, None])
            near = None if shared_back is None else shared & (shared_back < window)
            masks = (own_BxSxS & (back_BxSxS < window), near)
            return nnx.merge(graph, weights)(x, turn, masks, shared_kv)

        graph, stacked = nnx.split(self.block)
        window_L = jnp.array([w or _FULL for w in a.windows])
        frequency_L = jnp.stack([jnp.array(inverse_frequencies(r, a.head_dim)) for r in a.ropes])
        kv = None if prefix is None else (prefix.k, prefix.v)
        if self.block.lora is not None and self.recompute:
            layer = jax.checkpoint(layer, prevent_cse=False)  # a scan needs no such prevention
        return x_BxSxD, layer, (stacked, window_L, frequency_L, kv)


ACTIVATE = {
    "silu": jax.nn.silu,
    "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
}


def _rms(x: jax.Array, weight: jax.Array, a: Architecture) -> jax.Array:
    """RMS norm in float32; Gemma stores its weights as the difference from one."""
    y = x.astype(jnp.float32)
    y *= jax.lax.rsqrt(jnp.mean(y * y, axis=-1, keepdims=True) + a.eps)
    factor = weight.astype(jnp.float32) + a.norm_offset
    return (y * jnp.broadcast_to(factor, y.shape)).astype(x.dtype)


def _rotate(x: jax.Array, cos: jax.Array, sin: jax.Array) -> jax.Array:
    """Rotary positions on (B, S, heads, H): element i is paired with i + H/2."""
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    turned = (first * cos - second * sin, second * cos + first * sin)
    return jnp.concatenate(turned, axis=-1).astype(x.dtype)


def _cap(x: jax.Array, cap: float | None) -> jax.Array:
    return x if cap is None else cap * jnp.tanh(x / cap)
