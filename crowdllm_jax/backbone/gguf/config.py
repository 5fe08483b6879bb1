"""What a GGUF file's metadata say about a decoder, in the words of a Hugging Face config.json.

As there, nothing falls through: an architecture that is not computed is refused by name, and so is
a key that would change the arithmetic.
"""

import warnings
from dataclasses import replace
from math import isfinite
from typing import Any, NoReturn

import numpy as np

from crowdllm_jax.backbone.architecture import Architecture, Rope, read_architecture
from crowdllm_jax.backbone.gguf.header import Header
from crowdllm_jax.backbone.gguf.tensors import LAYER, OUTER, ROPE_FACTORS
from crowdllm_jax.errors import CrowdError, CrowdWarning

_FAMILIES = {
    "llama": "llama",  # Mistral is called so too
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gemma2": "gemma2",
    "gemma3": "gemma3_text",
}
_COUNTS = {  # config.json's word -> the key behind the architecture's name
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "max_position_embeddings": "context_length",
    "sliding_window": "attention.sliding_window",
    "sliding_window_pattern": "attention.sliding_window_pattern",
}
_NUMBERS = {
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "rope_theta": "rope.freq_base",
    "rope_local_base_freq": "rope.freq_base_swa",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
}
_NEEDED = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "max_position_embeddings",
    "rms_norm_eps",
)
_READ_ELSEWHERE = (
    "vocab_size",  # the embedding's rows are counted instead
    "tensor_data_layout",
    "attention.scale",
    "attention.value_length",
    "rope.dimension_count",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.finetuned",
    "rope.scale_linear",
)
# Keys that change the arithmetic in a way the decoder does not follow, and their harmless values.
_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "expert_count": (0,),
    "expert_used_count": (0,),
    "attention.causal": (True,),
    "rope.scaling.attn_factor": (0.0, 1.0),
    "use_parallel_residual": (False,),
}
# Gemma's largest models scale queries by the width of a head that they do not have. The files do
# not say so: as in llama.cpp they are known by their number of layers.
_WIDE_QUERIES = {"gemma2": 46, "gemma3_text": 62}


def architecture_of(header: Header) -> Architecture:
    """The architecture that a file's metadata describe.

    Raises CrowdError naming the file, the key and what is supported.
    """
    m = _Metadata(header)
    family = _FAMILIES[m.architecture]
    config: dict[str, Any] = {"model_type": family, "sliding_window": None}
    config |= {word: m.count(key) for word, key in _COUNTS.items() if key in m}
    config |= {word: m.number(key) for word, key in _NUMBERS.items() if key in m}
    for word in _NEEDED:
        if word not in config:
            m.missing((_COUNTS | _NUMBERS)[word])
    layers = config["num_hidden_layers"]
    if layers > len(header.tensors):  # before anything is as long as a file says
        m.refuse("block_count", layers, f"at most the file's {len(header.tensors)} tensors")
    head = config.setdefault("head_dim", config["hidden_size"] // config["num_attention_heads"])
    if head % 2 or not 2 <= head <= config["hidden_size"]:
        m.refuse("attention.key_length", head, "an even number up to the model's width")
    for key in ("attention.value_length", "rope.dimension_count"):
        if key in m and m.count(key) != head:
            m.refuse(key, m.count(key), f"the size of a head, {head}")
    tensors = header.tensors
    config |= {
        "vocab_size": _vocabulary(header),
        "tie_word_embeddings": OUTER["head"] not in tensors,
        "attention_bias": f"blk.0.{LAYER['q_bias']}" in tensors,
        "mlp_bias": f"blk.0.{LAYER['up_bias']}" in tensors,
        "query_pre_attn_scalar": _query_scalar(m, family, config),
        "rope_scaling": _rope_scaling(m),
    }
    m.warn_of_unknown()
    return _with_rope_factors(read_architecture(config, str(header.path)), header)


def _vocabulary(header: Header) -> int:
    embedding = header.tensors.get(OUTER["embed"])
    if embedding is None:
        raise CrowdError(
            f"{header.path}: tensor {OUTER['embed']} is missing; is this a whole model?"
        )
    return embedding.shape[0]


def _query_scalar(m: "_Metadata", family: str, config: dict[str, Any]) -> float:
    """What the scale of the queries is the inverse square root of."""
    if "attention.scale" in m:
        return float(m.number("attention.scale") ** -2)
    if config["num_hidden_layers"] == _WIDE_QUERIES.get(family):
        return float(config["hidden_size"] // config["num_attention_heads"])
    return float(config["head_dim"])


def _rope_scaling(m: "_Metadata") -> dict[str, Any] | None:
    kind = m.values.get("rope.scaling.type", "linear" if "rope.scale_linear" in m else "none")
    if not isinstance(kind, str):
        m.refuse("rope.scaling.type", kind, "a name")
    if kind == "none":
        return None
    old = "rope.scale_linear" if "rope.scale_linear" in m else "rope.scaling.factor"
    return {"rope_type": kind, "factor": m.number(old) if old in m else 1.0}


def _with_rope_factors(a: Architecture, header: Header) -> Architecture:
    """Llama 3.1's stretched frequencies come as a tensor, a divisor for each."""
    info = header.tensors.get(ROPE_FACTORS)
    if info is None:
        return a
    if info.kind != 0 or info.shape != (a.head_dim // 2,):
        raise CrowdError(
            f"{info.path}: tensor {ROPE_FACTORS} is {info.shape}, of type {info.kind}; float32 of "
            f"shape {(a.head_dim // 2,)} is expected; download the file again"
        )
    factors = np.fromfile(info.path, "<f4", a.head_dim // 2, offset=info.offset)
    if not (np.isfinite(factors) & (factors > 0)).all():
        raise CrowdError(f"{info.path}: tensor {ROPE_FACTORS} is damaged; download it again")
    rope = Rope(a.ropes[0].theta, "factors", factors=tuple(map(float, factors)))
    return replace(a, ropes=(rope,) * a.layers)


class _Metadata:
    """The keys behind the architecture's name, and which file lacks one."""

    def __init__(self, header: Header) -> None:
        self.path = header.path
        self.architecture = str(header.metadata.get("general.architecture"))
        if self.architecture not in _FAMILIES:
            raise CrowdError(
                f"{self.path}: `general.architecture` is {self.architecture!r}, which is not "
                f"supported; it may be: {', '.join(_FAMILIES)}"
            )
        begin = f"{self.architecture}."
        self.values = {
            key.removeprefix(begin): value
            for key, value in header.metadata.items()
            if key.startswith(begin)
        }
        for key, harmless in _UNSUPPORTED.items():
            if key in self.values and self._same(key) not in harmless:
                self.refuse(key, self.values[key], f"{harmless[-1]!r}")

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def count(self, key: str) -> int:
        value = self._same(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            self.refuse(key, value, "a positive whole number")
        return value

    def number(self, key: str) -> float:
        value = self._same(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.refuse(key, value, "a number")
        if not isfinite(value) or value <= 0:
            self.refuse(key, value, "a positive number")
        return float(value)

    def _same(self, key: str) -> Any:
        """A value; one for each layer is that value if they are all the same."""
        value = self.values[key]
        if not isinstance(value, np.ndarray):
            return value
        if value.size == 0 or (value != value[0]).any():
            self.refuse(key, "not the same in all layers", "one number")
        return value[0].item()

    def missing(self, key: str) -> NoReturn:
        raise CrowdError(
            f"{self.path}: `{self.architecture}.{key}` is missing; download the file again, or one "
            "of another author"
        )

    def refuse(self, key: str, value: object, supported: str) -> NoReturn:
        shown = repr(value)[:80]
        raise CrowdError(
            f"{self.path}: `{self.architecture}.{key}` is {shown}, which is not supported; it may "
            f"be: {supported}"
        )

    def warn_of_unknown(self) -> None:
        known = {*_COUNTS.values(), *_NUMBERS.values(), *_READ_ELSEWHERE, *_UNSUPPORTED}
        unknown = sorted(self.values.keys() - known)
        if unknown:
            warnings.warn(
                f"{self.path}: `{self.architecture}.{unknown[0][:80]}` "
                f"{f'and {len(unknown) - 1} more keys are' if unknown[1:] else 'is'} ignored; if "
                "the model answers oddly, this may be why",
                CrowdWarning,
                stacklevel=2,
            )
