"""Sentence embeddings from encoders of the BERT family (BERT, RoBERTa, XLM-RoBERTa).

The same conventions as in `decoder`: layers are stacked and scanned, matrices keep the files'
(out, in) orientation, weights are arguments of compiled code. Pooling and normalisation follow the
sentence-transformers files of the folder where it has them, and are a plain mean otherwise.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from crowdllm_jax.backbone.decoder import ACTIVATE
from crowdllm_jax.backbone.hub import load_tokenizer, locate, read_json
from crowdllm_jax.backbone.weights import Tensors, stack
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.precision import float32_products

_BUCKET = 32
_ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}
_FAMILIES = ("bert", "roberta", "xlm-roberta")
_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "o": "attention.output.dense",
    "o_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "down_norm": "output.LayerNorm",
}
_EMBED = {
    "words": "embeddings.word_embeddings",
    "positions": "embeddings.position_embeddings",
    "types": "embeddings.token_type_embeddings",
    "norm": "embeddings.LayerNorm",
}
# Heads for other purposes, and a constant that old files carry.
_UNUSED = ("pooler.", "cls.", "lm_head.", "classifier.", "embeddings.position_ids")


@dataclass(frozen=True)
class EncoderShape:
    """An encoder's shape and arithmetic; `first` is the position of the first token."""

    vocab: int
    width: int
    inner: int
    layers: int
    heads: int
    positions: int
    types: int
    eps: float
    activation: str
    first: int


@dataclass(frozen=True)
class SentenceEncoder:
    """A loaded encoder; `length` in tokens, beyond which texts are cut as its authors cut them."""

    shape: EncoderShape
    tokenizer: Any
    graph: nnx.GraphDef[Any]
    weights: nnx.State[Any, Any]
    length: int
    first_token: bool
    normalise: bool


class Encoder(nnx.Module):
    """The bidirectional transformer. A linear layer or norm `x` is the pair x, x_bias."""

    def __init__(self, s: EncoderShape, dtype: jnp.dtype = jnp.float32) -> None:
        def zeros(*shape: int) -> nnx.Param[Any]:
            return nnx.Param(jnp.zeros(shape, dtype))

        self.s = s
        self.words, self.positions = zeros(s.vocab, s.width), zeros(s.positions, s.width)
        self.types = zeros(s.types, s.width)
        self.norm, self.norm_bias = zeros(s.width), zeros(s.width)
        outputs = dict.fromkeys(("q", "k", "v", "o", "down", "o_norm", "down_norm"), s.width)
        for name, n in (outputs | {"up": s.inner}).items():
            n_in = () if name.endswith("norm") else (s.inner if name == "down" else s.width,)
            setattr(self, f"layer_{name}", zeros(s.layers, n, *n_in))
            setattr(self, f"layer_{name}_bias", zeros(s.layers, n))

    def __call__(self, token_BxS: jax.Array, real_BxS: jax.Array) -> jax.Array:
        """Last hidden states (B, S, D); `real` is 0 on padding, which comes last."""
        s = self.s
        B, S = token_BxS.shape
        x = self.words[...][token_BxS] + self.types[...][0][None, None]
        x += self.positions[...][s.first : s.first + S][None]
        x = self._norm(x, self.norm[...], self.norm_bias[...])
        seen = (real_BxS > 0)[:, None, None, :]

        def layer(x: jax.Array, w: dict[str, jax.Array]) -> tuple[jax.Array, None]:
            def linear(name: str, x: jax.Array) -> jax.Array:
                return jnp.einsum("...i,oi->...o", x, w[name]) + w[f"{name}_bias"][None, None]

            q, k, v = (linear(n, x).reshape(B, S, s.heads, -1) for n in ("q", "k", "v"))
            scores = jnp.einsum("bshd,bthd->bhst", q, k, preferred_element_type=jnp.float32)
            scores = jnp.where(seen, scores * q.shape[-1] ** -0.5, -1e30)
            mixed = jnp.einsum("bhst,bthd->bshd", jax.nn.softmax(scores).astype(v.dtype), v)
            x = x + linear("o", mixed.reshape(B, S, -1))
            x = self._norm(x, w["o_norm"], w["o_norm_bias"])
            y = linear("down", ACTIVATE[s.activation](linear("up", x)))
            return self._norm(x + y, w["down_norm"], w["down_norm_bias"]), None

        names = [f"{n}{suffix}" for n in _LAYER for suffix in ("", "_bias")]
        stacked = {name: getattr(self, f"layer_{name}")[...] for name in names}
        return jax.lax.scan(layer, x, stacked)[0]

    def _norm(self, x: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
        y = x.astype(jnp.float32)
        y -= y.mean(axis=-1, keepdims=True)
        y *= jax.lax.rsqrt(jnp.mean(y * y, axis=-1, keepdims=True) + self.s.eps)
        return (y * weight[None, None] + bias[None, None]).astype(x.dtype)


def is_encoder(source: str | Path, *, revision: str | None = None) -> bool:
    """Whether a Hugging Face folder or hub id is a sentence encoder; a GGUF file is none."""
    place, _ = locate(source, revision, weights=False)
    return place.is_dir() and read_json(place / "config.json").get("model_type") in _FAMILIES


def load_encoder(source: str | Path, *, revision: str | None = None) -> SentenceEncoder:
    """Load an encoder in float32 from a Hugging Face folder or hub id.

    Raises CrowdError: a file, key or tensor is missing, unknown or of a wrong shape, or the folder
    asks for a pooling that is not the mean or the first token.
    """
    folder, _ = locate(source, revision)
    if folder.is_file():
        raise CrowdError(
            f"{folder}: sentence encoders are read from Hugging Face folders, not GGUF"
        )
    where = str(folder / "config.json")
    config = read_json(folder / "config.json")
    shape = read_shape(config, where)
    graph, weights = _load_weights(folder, shape)
    first_token, normalise = _pooling(folder)
    length = shape.positions - shape.first
    sizes = folder / "sentence_bert_config.json"
    if sizes.exists():
        length = min(length, int(read_json(sizes).get("max_seq_length") or length))
    tokenizer = load_tokenizer(folder)
    return SentenceEncoder(shape, tokenizer, graph, weights, length, first_token, normalise)


def embed(
    encoder: SentenceEncoder,
    texts: Sequence[str],
    *,
    batch: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Embeddings (T, D) float32 of T texts, in their order. Texts longer than the encoder's
    `length` are cut. `progress` is called with (done, all) after every batch."""
    if not texts:
        return np.zeros((0, encoder.shape.width), np.float32)
    tokens = encoder.tokenizer(list(texts), truncation=True, max_length=encoder.length)["input_ids"]
    result = np.zeros((len(texts), encoder.shape.width), np.float32)
    order = sorted(range(len(texts)), key=lambda i: len(tokens[i]))
    for begin in range(0, len(order), batch):
        part = order[begin : begin + batch]
        longest = -(-len(tokens[part[-1]]) // _BUCKET) * _BUCKET
        S = min(max(longest, _BUCKET), encoder.shape.positions - encoder.shape.first)
        token, real = np.zeros((batch, S), np.int32), np.zeros((batch, S), np.float32)
        for b, i in enumerate(part):
            token[b, : len(tokens[i])], real[b, : len(tokens[i])] = tokens[i], 1
        pooled = run_texts(encoder.graph, encoder.weights, token, real, encoder.first_token)
        result[part] = np.asarray(pooled)[: len(part)]
        if progress is not None:
            progress(begin + len(part), len(texts))
    if encoder.normalise:
        result /= np.linalg.norm(result, axis=1, keepdims=True).clip(1e-12)
    return result


@partial(jax.jit, static_argnums=(0, 4))
@float32_products()
def run_texts(
    graph: nnx.GraphDef[Any],
    weights: nnx.State[Any, Any],
    token_BxS: jax.Array,
    real_BxS: jax.Array,
    first_token: bool,
) -> jax.Array:
    """Pooled hidden states (B, D) float32; zero for a row of padding."""
    hidden = nnx.merge(graph, weights)(token_BxS, real_BxS).astype(jnp.float32)
    if first_token:
        return hidden[:, 0]
    summed = jnp.einsum("bs,bsd->bd", real_BxS, hidden, precision="highest")
    return summed / jnp.maximum(real_BxS.sum(axis=1, keepdims=True), 1)


def read_shape(config: dict[str, Any], where: str) -> EncoderShape:
    """The encoder that a parsed config.json describes; CrowdError for what is not supported."""

    def want(key: str, supported: Sequence[Any], default: Any = None) -> Any:
        value = config.get(key, default)
        if value not in supported:
            known = ", ".join(map(str, supported))
            raise CrowdError(f"{where}: `{key}` is {value!r}, not supported; it may be: {known}")
        return value

    family = want("model_type", _FAMILIES)
    want("position_embedding_type", ("absolute",), "absolute")
    want("is_decoder", (False,), False)
    activation = _ACTIVATIONS[want("hidden_act", list(_ACTIVATIONS), "gelu")]
    try:
        return EncoderShape(
            vocab=config["vocab_size"],
            width=config["hidden_size"],
            inner=config["intermediate_size"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            positions=config["max_position_embeddings"],
            types=config.get("type_vocab_size", 2),
            eps=config.get("layer_norm_eps", 1e-12),
            activation=activation,
            # RoBERTa counts positions from behind its padding's.
            first=0 if family == "bert" else config.get("pad_token_id", 1) + 1,
        )
    except KeyError as missing:
        raise CrowdError(f"{where}: {missing} is missing; is the download complete?") from None


def _load_weights(folder: Path, s: EncoderShape) -> tuple[nnx.GraphDef[Any], nnx.State[Any, Any]]:
    graph, weights = nnx.split(nnx.eval_shape(partial(Encoder, s)))
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    with Tensors(folder) as files:
        roots = (r for r in ("bert.", "roberta.") if f"{r}{_EMBED['words']}.weight" in files.names)
        root = next(roots, "")
        used: set[str] = set()

        def find(name: str, bias: bool) -> str:
            """The tensor's name; the oldest files call a norm's weight gamma, its bias beta."""
            plain, old = (".bias", ".beta") if bias else (".weight", ".gamma")
            full_name = name + (old if name + old in files.names else plain)
            used.add(full_name)
            return full_name

        def fill(name: str, leaf: jax.ShapeDtypeStruct) -> jax.Array:
            bias = name.endswith("_bias")
            name = name.removesuffix("_bias")
            if not name.startswith("layer_"):
                return files.array(find(root + _EMBED[name], bias), leaf.shape, leaf.dtype, device)
            part = _LAYER[name.removeprefix("layer_")]
            sources = [find(f"{root}encoder.layer.{i}.{part}", bias) for i in range(s.layers)]
            return stack(files, sources, leaf, device)

        flat = nnx.to_flat_state(weights)
        filled = [(p, leaf.replace(fill(str(p[-1]), leaf.get_value()))) for p, leaf in flat]
        unused = {n for n in files.names if n.removeprefix(root).startswith(_UNUSED)}
        files.refuse_leftovers(used | unused)
    return graph, nnx.from_flat_state(filled)


def _pooling(folder: Path) -> tuple[bool, bool]:
    """(take the first token instead of the mean, normalise), from sentence-transformers' files."""
    listed = folder / "modules.json"
    if not listed.exists():
        return False, False
    first_token = normalise = False
    try:
        modules = json.loads(listed.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CrowdError(f"{listed}: is no JSON ({error}); download it again") from None
    for module in modules:
        kind = str(module.get("type", "")).rsplit(".", 1)[-1]
        if kind == "Pooling":
            config = read_json(folder / module["path"] / "config.json")
            modes = {k.removeprefix("pooling_mode_") for k, v in config.items() if v is True}
            modes -= {"include_prompt"}
            if modes not in ({"cls_token"}, {"mean_tokens"}):
                raise CrowdError(f"{folder}: pooling {sorted(modes)} is not supported")
            first_token = modes == {"cls_token"}
        elif kind == "Normalize":
            normalise = True
        elif kind != "Transformer":
            raise CrowdError(f"{listed}: module {kind} is not supported")
    return first_token, normalise
