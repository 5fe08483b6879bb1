"""Tiny random checkpoints of every family, made so that each part of the arithmetic matters:
large weights, norms away from one, biases away from zero, sequences longer than the window."""

import json
from pathlib import Path

import torch
import transformers as tf

VOCAB = 64
COMMON = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
FAMILIES = {
    "llama2": (tf.LlamaConfig, {"rms_norm_eps": 1e-3, "num_key_value_heads": 4}),
    "llama3": (
        tf.LlamaConfig,
        {"rms_norm_eps": 1e-3, "rope_parameters": LLAMA3, "attention_bias": True, "mlp_bias": True},
    ),
    "mistral": (tf.MistralConfig, {"rms_norm_eps": 1e-3, "sliding_window": 7, "head_dim": 16}),
    "qwen2": (
        tf.Qwen2Config,
        {
            "use_sliding_window": True,
            "sliding_window": 5,
            "max_window_layers": 2,
            "rms_norm_eps": 1e-3,
        },
    ),
    "qwen3": (tf.Qwen3Config, {"head_dim": 16, "rms_norm_eps": 1e-3, "tie_word_embeddings": True}),
    "gemma2": (
        tf.Gemma2Config,
        {
            "head_dim": 16,
            "sliding_window": 6,
            "query_pre_attn_scalar": 24,
            "attn_logit_softcapping": 5.0,
            "final_logit_softcapping": 3.0,
            "rms_norm_eps": 1e-3,
        },
    ),
    "gemma3": (
        tf.Gemma3TextConfig,
        {
            "head_dim": 16,
            "sliding_window": 6,
            "query_pre_attn_scalar": 24,
            "rms_norm_eps": 1e-3,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "rope_theta": 5000.0, "factor": 4.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
            },
        },
    ),
}
MODELS = {
    tf.LlamaConfig: tf.LlamaForCausalLM,
    tf.MistralConfig: tf.MistralForCausalLM,
    tf.Qwen2Config: tf.Qwen2ForCausalLM,
    tf.Qwen3Config: tf.Qwen3ForCausalLM,
    tf.Gemma2Config: tf.Gemma2ForCausalLM,
    tf.Gemma3TextConfig: tf.Gemma3ForCausalLM,
}


def randomise(model: torch.nn.Module, seed: int = 0) -> None:
    """Every parameter away from its neutral value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if "norm" in name.lower():
                centre = 0.0 if "Gemma" in type(model).__name__ else 1.0
                p.copy_(centre + 0.3 * noise)
            else:
                p.copy_(0.25 * noise)


def make(family: str, folder: Path, **changes: object) -> torch.nn.Module:
    """Save a tiny checkpoint of `family` in `folder`; returns the torch model in eval mode."""
    config_class, extra = FAMILIES[family]
    config = config_class(**{**COMMON, **extra, **changes})
    config._attn_implementation = "eager"  # Gemma 2's softcap needs it
    model = MODELS[config_class](config).eval()
    randomise(model)
    model.save_pretrained(folder)
    return model


def old_style(folder: Path) -> None:
    """Rewrite config.json as transformers 4 wrote it: rope_theta and rope_scaling."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    if "full_attention" in rope:
        config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        rope = rope["full_attention"]
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = rope if rope.get("rope_type", "default") != "default" else None
    path.write_text(json.dumps(config))
