"""Adapters in the format of PEFT, which transformers, vLLM and llama.cpp's converter read.

The head of a model that is left early, which PEFT knows nothing of, lies beside them.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from crowdllm_jax.backbone.decoder import Lora
from crowdllm_jax.backbone.hub import read_json
from crowdllm_jax.backbone.weights import LAYER
from crowdllm_jax.errors import CrowdError

CONFIG, WEIGHTS, HEAD = "adapter_config.json", "adapter_model.safetensors", "head.safetensors"


@dataclass(frozen=True)
class Adapter:
    """Adapters as they are kept; `arrays` as in `adapter`."""

    lora: Lora
    arrays: dict[str, np.ndarray]
    digest: str = ""

    @property
    def layers(self) -> int:
        """How many layers have adapters."""
        return len(next(iter(self.arrays.values())))


def write_adapter(folder: Path, base: str, lora: Lora, arrays: dict[str, np.ndarray]) -> None:
    """Write adapters of the model `base` (a path or hub id) into a folder that is there."""
    layers = len(arrays[f"{lora.targets[0]}_lora_a"])
    tensors = {
        _name(target, layer, part): np.ascontiguousarray(arrays[f"{target}_lora_{part}"][layer])
        for target in lora.targets
        for layer in range(layers)
        for part in "ab"
    }
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "target_modules": [_module(target).rpartition(".")[2] for target in lora.targets],
        "layers_to_transform": list(range(layers)),
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n")
    # With what transformers writes; PEFT asks for it.
    (folder / WEIGHTS).write_bytes(save(tensors, {"format": "pt"}))
    if "head" in arrays:
        head = {name: np.ascontiguousarray(arrays[name]) for name in ("head", "bias")}
        (folder / HEAD).write_bytes(save(head))


def read_adapter(folder: Path) -> Adapter:
    """Read what `write_adapter` wrote.

    Raises:
      CrowdError: a file is missing or damaged.
    """
    config = read_json(folder / CONFIG)
    names = {_module(target).rpartition(".")[2]: target for target in LAYER if _is_matrix(target)}
    try:
        targets = tuple(names[module] for module in config["target_modules"])
        lora = Lora(int(config["r"]), float(config["lora_alpha"]), targets)
        layers = len(config["layers_to_transform"])
        tensors = load_file(folder / WEIGHTS)
        arrays = {
            f"{target}_lora_{part}": np.stack(
                [tensors[_name(target, layer, part)] for layer in range(layers)]
            )
            for target in targets
            for part in "ab"
        }
        if (folder / HEAD).exists():
            arrays |= load_file(folder / HEAD)
    except (KeyError, TypeError, ValueError, OSError, SafetensorError) as error:
        raise CrowdError(
            f"{folder}: the adapters are damaged ({error}); delete the folder and tune anew"
        ) from None
    digest = hashlib.sha256()
    for name in (CONFIG, WEIGHTS, HEAD):
        if (folder / name).exists():
            digest.update((folder / name).read_bytes())
    return Adapter(lora, arrays, digest.hexdigest())


def _is_matrix(target: str) -> bool:
    return not target.endswith(("bias", "norm"))


def _module(target: str) -> str:
    return LAYER[target].removesuffix(".weight")


def _name(target: str, layer: int, part: str) -> str:
    letter = part.upper()
    return f"base_model.model.model.layers.{layer}.{_module(target)}.lora_{letter}.weight"
