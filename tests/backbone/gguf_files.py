"""GGUF files written in the test, as llama.cpp's converter would write the same checkpoint."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import families
import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, TokenType
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import quantize
from safetensors.numpy import load_file

from crowdllm_jax.backbone.gguf.packing import TYPES

ARCHITECTURES = {
    "llama": "llama",
    "mistral": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gemma2": "gemma2",
    "gemma3_text": "gemma3",
}
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
GEMMA_NAMES = NAMES | {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
OUTER = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
Change = Callable[[GGUFWriter], None]


def convert(folder: Path, path: Path, change: Change = lambda w: None, **how: Any) -> Path:
    """Write the checkpoint in `folder` to `path`; `how` is `kind`, the type of the matrices,
    and `tokens` of write_tokenizer. `change` may add keys."""
    config = json.loads((folder / "config.json").read_text())
    architecture = ARCHITECTURES[config["model_type"]]
    writer = GGUFWriter(path, architecture, split_max_tensors=how.get("split", 0))
    write_shape(writer, config)
    (how.get("tokens") or byte_vocabulary(config["vocab_size"]))(writer)
    change(writer)
    kind = how.get("kind", GGMLQuantizationType.F32)
    for name, values in converted(folder, config).items():
        sort = kind if values.ndim == 2 else GGMLQuantizationType.F32
        writer.add_tensor(name, quantize(values, sort), raw_dtype=sort)
    finish(writer)
    return path


def finish(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_shape(w: GGUFWriter, config: dict[str, Any]) -> None:
    head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    w.add_block_count(config["num_hidden_layers"])
    w.add_context_length(config["max_position_embeddings"])
    w.add_embedding_length(config["hidden_size"])
    w.add_feed_forward_length(config["intermediate_size"])
    w.add_head_count(config["num_attention_heads"])
    w.add_head_count_kv(config["num_key_value_heads"])
    w.add_key_length(head)
    w.add_value_length(head)
    w.add_layer_norm_rms_eps(config["rms_norm_eps"])
    w.add_vocab_size(config["vocab_size"])
    rope = config["rope_parameters"]
    w.add_rope_freq_base(rope.get("full_attention", rope)["rope_theta"])
    w.add_rope_dimension_count(head)
    if config["model_type"].startswith("gemma"):
        w.add_sliding_window(config["sliding_window"])
        w.add_attention_scale(config["query_pre_attn_scalar"] ** -0.5)
    if config["model_type"] == "gemma3_text":
        w.add_float32("gemma3.rope.freq_base_swa", rope["sliding_attention"]["rope_theta"])
        w.add_uint32("gemma3.attention.sliding_window_pattern", pattern(config["layer_types"]))
    if config["model_type"] == "gemma2":
        w.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        w.add_final_logit_softcapping(config["final_logit_softcapping"])
    full = rope.get("full_attention", rope)
    if full["rope_type"] == "linear":
        w.add_string(f"{w.arch}.rope.scaling.type", "linear")
        w.add_rope_scaling_factor(full["factor"])
    if full["rope_type"] == "llama3":
        w.add_tensor("rope_freqs.weight", rope_factors(full, head))


def pattern(kinds: list[str]) -> int:
    return kinds.index("full_attention") + 1


def rope_factors(rope: dict[str, Any], head: int) -> np.ndarray:
    """As the converter computes them: wave by wave, with a formula of its own."""
    factors = []
    low = rope["original_max_position_embeddings"] / rope["low_freq_factor"]
    high = rope["original_max_position_embeddings"] / rope["high_freq_factor"]
    for i in range(0, head, 2):
        wave = 2 * np.pi * rope["rope_theta"] ** (i / head)
        if wave < high:
            factors.append(1.0)
        elif wave > low:
            factors.append(rope["factor"])
        else:
            smooth = rope["original_max_position_embeddings"] / wave - rope["low_freq_factor"]
            smooth /= rope["high_freq_factor"] - rope["low_freq_factor"]
            factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(factors, np.float32)


def converted(folder: Path, config: dict[str, Any]) -> dict[str, np.ndarray]:
    """The tensors by llama.cpp's names, with its order of queries and keys and its norms."""
    gemma = config["model_type"].startswith("gemma")
    found = {}
    for name, values in load_file(folder / "model.safetensors").items():
        stem, end = name.rsplit(".", 1)
        values = values.astype(np.float32)
        if gemma and stem.endswith("norm"):
            values = values + np.float32(1)
        if ARCHITECTURES[config["model_type"]] == "llama":
            if stem.endswith("q_proj"):
                values = permuted(values, config["num_attention_heads"])
            if stem.endswith("k_proj"):
                values = permuted(values, config["num_key_value_heads"])
        if stem in OUTER:
            found[f"{OUTER[stem]}.{end}"] = values
        else:
            layer, inner = stem.removeprefix("model.layers.").split(".", 1)
            found[f"blk.{layer}.{(GEMMA_NAMES if gemma else NAMES)[inner]}.{end}"] = values
    return found


def permuted(values: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp's own: `LlamaModel.permute` of its converter."""
    shape = (heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return values.reshape(shape).swapaxes(1, 2).reshape(values.shape)


def byte_vocabulary(size: int) -> Change:
    """A SentencePiece vocabulary of `size` that can write anything: bytes, or a part of them."""

    def write(w: GGUFWriter) -> None:
        w.add_tokenizer_model("llama")
        tokens = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(size - 3))]
        kinds = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL]
        w.add_token_list(tokens)
        w.add_token_types([*kinds, *[TokenType.BYTE] * (size - 3)])
        w.add_token_scores([0.0] * size)
        w.add_bos_token_id(1)
        w.add_eos_token_id(2)

    return write


def tokenizer_of(raw: Any, pre: str, chat: str | None = None) -> Change:
    """A tokenizers.Tokenizer of byte-level BPE, whose added tokens are control tokens."""

    def write(w: GGUFWriter) -> None:
        model = json.loads(raw.to_str())
        tokens = sorted(model["model"]["vocab"], key=model["model"]["vocab"].get)
        special = {t["content"] for t in model["added_tokens"]}
        w.add_tokenizer_model("gpt2")
        w.add_tokenizer_pre(pre)
        w.add_token_list(tokens)
        w.add_token_types([TokenType.CONTROL if t in special else TokenType.NORMAL for t in tokens])
        w.add_token_merges([" ".join(m) for m in model["model"]["merges"]])
        w.add_bos_token_id(tokens.index("<s>"))
        w.add_eos_token_id(tokens.index("</s>"))
        if chat:
            w.add_chat_template(chat)

    return write


WIDE = {"hidden_size": 256, "intermediate_size": 512, "head_dim": 64}
"""The shape of a model whose rows are whole blocks of any type."""


def random_bytes(kind: str, rows: int, width: int, seed: int) -> np.ndarray:
    """Any bytes are weights, but for factors that are not finite; these are about 0.05 at most."""
    block, size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    random = np.random.default_rng(seed)
    stored = random.integers(0, 256, (rows, width // block, size), np.uint8)
    sort = TYPES[kind]
    factors = random.uniform(-0.002, 0.002, (rows, width // block, 2)).astype(np.float16)
    for place, begin in enumerate([sort.factor] + ([] if sort.low is None else [sort.low])):
        own = np.ascontiguousarray(factors[..., place : place + 1])
        stored[..., begin : begin + 2] = own.view(np.uint8)
    return stored.reshape(rows, -1)


def quantised(folder: Path, path: Path, kinds: list[str], **shape: Any) -> Path:
    """A random model as a file whose layers are of some types in turn."""
    families.make("qwen3", folder, num_hidden_layers=len(kinds), **WIDE | shape)

    def kind_of(name):
        return kinds[int(name.split(".")[1])] if name.split(".")[-2] in QUANTISED else None

    config = json.loads((folder / "config.json").read_text())
    writer = GGUFWriter(path, "qwen3")
    write_shape(writer, config)
    byte_vocabulary(config["vocab_size"])(writer)
    for seed, (name, values) in enumerate(converted(folder, config).items()):
        kind = kind_of(name)
        if kind is None:
            writer.add_tensor(name, values)
        else:
            stored = random_bytes(kind, *values.shape, seed)
            writer.add_tensor(name, stored, raw_dtype=GGMLQuantizationType[kind])
    finish(writer)
    return path


QUANTISED = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


class Forgetful(dict):
    """A writer's metadata, which may be given anew."""

    def __contains__(self, key: object) -> bool:
        return False
