"""What a Hugging Face `config.json` says about a decoder, as one frozen record.

Nothing falls through: a model type, a rope type, an activation or a layer type this package does
not compute is refused, because a decoder that ignores one key answers fluently and wrongly.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from crowdllm_jax.errors import CrowdError

# Keys that the families leave out of config.json when they equal the family's default, which is
# not the same in all of them (Gemma ties its embeddings, Llama does not).
_LLAMA = {
    "rope_theta": 1e4,
    "tie_word_embeddings": False,
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
}
_GEMMA = {
    "rope_theta": 1e4,
    "tie_word_embeddings": True,
    "hidden_activation": "gelu_pytorch_tanh",
    "query_pre_attn_scalar": 256,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "rms_norm_eps": 1e-6,
    "sliding_window": 4096,
    "max_position_embeddings": 8192,
}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": _LLAMA,
    "mistral": _LLAMA | {"sliding_window": 4096, "max_position_embeddings": 131072},
    "qwen2": _LLAMA | {"max_position_embeddings": 32768},
    "qwen3": _LLAMA | {"max_position_embeddings": 32768, "head_dim": 128},
    "gemma2": _GEMMA | {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0},
    "gemma3_text": _GEMMA
    | {
        "rope_theta": 1e6,
        "rope_local_base_freq": 1e4,
        "vocab_size": 262208,
        "sliding_window_pattern": 6,
        "max_position_embeddings": 131072,
    },
}
_ACTIVATIONS = {"silu": "silu", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu"}
_LAYER_TYPES = ("full_attention", "sliding_attention")
# Keys that change the arithmetic in a way the decoder does not follow, and their harmless values.
_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "quantization_config": (None,),
    "use_bidirectional_attention": (None, False),
    "partial_rotary_factor": (None, 1.0),
}


@dataclass(frozen=True)
class Rope:
    """Rotary positions: base `theta`, and how the frequencies are stretched for long contexts.

    `kind` is "default", "linear" (all divided by `factor`), "llama3" (only the slow ones; `low`,
    `high` and `original` are its low_freq_factor, high_freq_factor and trained context length) or
    "factors" (each divided by its own of `factors`, as GGUF files say the same).
    """

    theta: float
    kind: str = "default"
    factor: float = 1.0
    low: float = 1.0
    high: float = 4.0
    original: int = 8192
    factors: tuple[float, ...] = ()


@dataclass(frozen=True)
class Architecture:
    """A decoder's shape and arithmetic. `windows` and `ropes` hold one entry per layer; a window
    of None lets a token see everything before it. `context` is the longest text in tokens."""

    family: str
    vocab: int
    width: int
    inner: int
    heads: int
    kv_heads: int
    head_dim: int
    eps: float
    activation: str
    query_scale: float
    windows: tuple[int | None, ...]
    ropes: tuple[Rope, ...]
    tied: bool
    context: int
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    post_norms: bool = False
    norm_offset: float = 0.0
    embed_scale: float = 1.0
    attn_softcap: float | None = None
    final_softcap: float | None = None

    @property
    def layers(self) -> int:
        """How many there are."""
        return len(self.windows)


def read_architecture(config: Mapping[str, Any], where: str = "config.json") -> Architecture:
    """The architecture that `config` (the parsed config.json) describes.

    Both config styles are read: `rope_parameters` (transformers 5) and `rope_theta` with
    `rope_scaling` (before). Of a multimodal Gemma 3 only the text part is read.
    Raises CrowdError naming `where`, the key and what is supported.
    """
    family, c = _supported(config, where)
    gemma = family.startswith("gemma")
    if family == "gemma3_text" and c.get("attn_logit_softcapping") is not None:
        _refuse(where, "attn_logit_softcapping", c.get("attn_logit_softcapping"), "null")
    width, heads = c.integer("hidden_size"), c.integer("num_attention_heads")
    head_dim = int(c.get("head_dim") or width // heads)
    kv_heads = int(c.get("num_key_value_heads") or heads)
    if heads % kv_heads:
        _refuse(where, "num_key_value_heads", kv_heads, f"a divisor of {heads} heads")
    activation = str(c["hidden_activation" if gemma else "hidden_act"])
    if activation not in _ACTIVATIONS:
        _refuse(where, "hidden_act", activation, ", ".join(_ACTIVATIONS))
    kinds = _layer_types(c, family)
    bias = bool(c.get("attention_bias"))
    return Architecture(
        family=family,
        vocab=c.integer("vocab_size"),
        width=width,
        inner=c.integer("intermediate_size"),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        eps=float(c["rms_norm_eps"]),
        activation=_ACTIVATIONS[activation],
        query_scale=float(c["query_pre_attn_scalar"] if gemma else head_dim) ** -0.5,
        windows=tuple(c.integer("sliding_window") if k == _LAYER_TYPES[1] else None for k in kinds),
        ropes=_ropes(c, family, kinds),
        tied=bool(c["tie_word_embeddings"]),
        context=c.integer("max_position_embeddings"),
        qkv_bias=bias or family == "qwen2",  # Qwen2 has them without saying so
        out_bias=bias and family != "qwen2",
        mlp_bias=family == "llama" and bool(c.get("mlp_bias")),
        qk_norm=family in ("qwen3", "gemma3_text"),
        post_norms=gemma,
        norm_offset=1.0 if gemma else 0.0,
        embed_scale=width**0.5 if gemma else 1.0,
        attn_softcap=c.get("attn_logit_softcapping") if family == "gemma2" else None,
        final_softcap=c.get("final_logit_softcapping") if gemma else None,
    )


def _supported(config: Mapping[str, Any], where: str) -> tuple[str, "_Reader"]:
    """The family and its keys, none of which asks for what is not computed."""
    if config.get("model_type") == "gemma3":
        config = {"model_type": "gemma3_text"} | dict(config.get("text_config") or {})
    family = str(config.get("model_type"))
    if family not in _DEFAULTS:
        _refuse(where, "model_type", family, ", ".join(_DEFAULTS))
    c = _Reader(_DEFAULTS[family] | {k: v for k, v in config.items() if v is not None}, where)
    # An explicit null is a value where it switches something off.
    for key in ("sliding_window", "attn_logit_softcapping", "final_logit_softcapping"):
        if key in config and config[key] is None:
            c.values.pop(key, None)
    # transformers leaves this in the config.json of what it has dequantised from a GGUF file.
    if (c.get("quantization_config") or {}).get("quant_method") == "gguf":
        del c.values["quantization_config"]
    for key, harmless in _UNSUPPORTED.items():
        if c.get(key) not in harmless:
            _refuse(where, key, c.get(key), "checkpoints without it")
    return family, c


class _Reader:
    """Looks keys up and says which file lacks one."""

    def __init__(self, values: dict[str, Any], where: str) -> None:
        self.values, self.where = values, where

    def __getitem__(self, key: str) -> Any:
        if key not in self.values:
            raise CrowdError(f"{self.where}: `{key}` is missing; is the download complete?")
        return self.values[key]

    def integer(self, key: str) -> int:
        value = self[key]
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            _refuse(self.where, key, value, "a positive whole number")
        return int(value)

    def get(self, key: str) -> Any:
        return self.values.get(key)


def _refuse(where: str, key: str, value: object, supported: str) -> NoReturn:
    raise CrowdError(
        f"{where}: `{key}` is {value!r}, which is not supported; it may be: {supported}"
    )


def _layer_types(c: _Reader, family: str) -> list[str]:
    """Which layers see everything and which a sliding window."""
    n = c.integer("num_hidden_layers")
    full, sliding = _LAYER_TYPES
    windowed = c.get("sliding_window") is not None
    if family in ("qwen2", "qwen3"):
        windowed = windowed and bool(c.get("use_sliding_window"))
    if family == "llama" or not windowed:
        return [full] * n
    given = c.get("layer_types")
    if given is not None:
        if len(given) != n or set(given) - set(_LAYER_TYPES):
            _refuse(c.where, "layer_types", given, f"{n} entries out of {_LAYER_TYPES}")
        return list(given)
    if family == "mistral":
        return [sliding] * n
    if family == "gemma2":
        return [full if i % 2 else sliding for i in range(n)]
    if family == "gemma3_text":
        every = c.integer("sliding_window_pattern")
        return [sliding if (i + 1) % every else full for i in range(n)]
    first = c.integer("max_window_layers")
    return [sliding if i >= first else full for i in range(n)]


def _ropes(c: _Reader, family: str, kinds: list[str]) -> tuple[Rope, ...]:
    """One Rope per layer; Gemma 3 turns its sliding layers with another one."""
    new, old = c.get("rope_parameters"), c.get("rope_scaling")
    theta = float(c["rope_theta"])
    if family != "gemma3_text":
        rope = _rope(dict(old or {}) | dict(new or {}), theta, c)
        return tuple(rope for _ in kinds)
    nested = new is not None and any(k in new for k in _LAYER_TYPES)
    if new is not None and not nested:
        _refuse(c.where, "rope_parameters", new, f"one entry for each of {_LAYER_TYPES}")
    sets = new or {_LAYER_TYPES[0]: old}
    by_kind = {
        _LAYER_TYPES[0]: _rope(dict(sets.get(_LAYER_TYPES[0]) or {}), theta, c),
        _LAYER_TYPES[1]: _rope(
            dict(sets.get(_LAYER_TYPES[1]) or {}), float(c["rope_local_base_freq"]), c
        ),
    }
    return tuple(by_kind[k] for k in kinds)


def _rope(p: dict[str, Any], theta: float, c: _Reader) -> Rope:
    kind = p.get("rope_type") or p.get("type") or "default"
    theta = float(p.get("rope_theta") or theta)
    if p.get("partial_rotary_factor") not in _UNSUPPORTED["partial_rotary_factor"]:
        _refuse(c.where, "partial_rotary_factor", p["partial_rotary_factor"], "1.0")
    if kind == "default":
        return Rope(theta)
    try:
        if kind == "linear":
            return Rope(theta, kind, float(p["factor"]))
        if kind == "llama3":
            low, high = float(p["low_freq_factor"]), float(p["high_freq_factor"])
            original = int(p["original_max_position_embeddings"])
            return Rope(theta, kind, float(p["factor"]), low, high, original)
    except KeyError as missing:
        raise CrowdError(f"{c.where}: rope type {kind!r} needs {missing}") from None
    _refuse(c.where, "rope_type", kind, "default, linear, llama3")


def inverse_frequencies(rope: Rope, head_dim: int) -> np.ndarray:
    """Radians per position of each rotated pair, float32 (head_dim / 2,).

    "llama3" follows Llama 3.1: wavelengths longer than original / low are stretched by `factor`,
    those shorter than original / high are kept, and between them the two are blended.
    """
    inverse = 1.0 / rope.theta ** (np.arange(0, head_dim, 2) / head_dim)
    if rope.kind == "linear":
        inverse = inverse / rope.factor
    if rope.kind == "factors":
        inverse = inverse / np.array(rope.factors)
    if rope.kind == "llama3":
        turns = rope.original * inverse / (2 * np.pi)  # full turns within the trained context
        keep = np.clip((turns - rope.low) / (rope.high - rope.low), 0.0, 1.0)
        inverse = keep * inverse + (1 - keep) * inverse / rope.factor
    return inverse.astype(np.float32)
