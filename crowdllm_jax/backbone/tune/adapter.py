"""A decoder with low-rank adapters, and with a head where it is left early: made, tuned weights put
in, and merged into the weights they stand beside.

What is tuned is a plain mapping from names to float32 arrays: `q_lora_a` (L, rank, in) and
`q_lora_b` (L, out, rank) for each target, `head` (H, K, D) and `bias` (H, K) for H scales.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from crowdllm_jax.backbone.architecture import Architecture
from crowdllm_jax.backbone.decoder import Decoder, Lora
from crowdllm_jax.backbone.weights import Backbone
from crowdllm_jax.errors import CrowdError

Arrays = Mapping[str, Any]
"""What is tuned, by name."""


@dataclass(frozen=True)
class Form:
    """Everything about a decoder to be tuned that is no array; see `Decoder`."""

    architecture: Architecture
    dtype: str
    lora: Lora
    recompute: bool


def dtype_of(backbone: Backbone) -> jnp.dtype:
    """The type of its weights."""
    embed: Any = backbone.weights["embed"]
    return embed[...].dtype


def form_of(backbone: Backbone, lora: Lora, recompute: bool = True) -> Form:
    """The form of a decoder that is to have adapters."""
    return Form(backbone.architecture, str(dtype_of(backbone)), lora, recompute)


def lower_layers(backbone: Backbone, layers: int | None) -> Backbone:
    """The decoder that ends after some of its layers (with the last norm); all of it for None."""
    a = backbone.architecture
    if layers is None:
        return backbone
    if layers > a.layers:
        raise CrowdError(f"reference.tune.exit: {layers}; {backbone.name} has {a.layers} layers")
    lower = replace(a, windows=a.windows[:layers], ropes=a.ropes[:layers])
    weights = nnx.from_flat_state(
        (path, leaf.replace(leaf[...][:layers]) if path[0] == "block" else leaf)
        for path, leaf in nnx.to_flat_state(backbone.weights)
    )
    dtype = dtype_of(backbone)
    graph = nnx.graphdef(nnx.eval_shape(partial(Decoder, lower, dtype)))
    return replace(backbone, architecture=lower, weights=weights, graph=graph)


def start(form: Form, seed: tuple[int, ...], bias: np.ndarray | None) -> dict[str, np.ndarray]:
    """Adapters that change nothing yet, and a head that answers as `bias` (H, K) does, if given.

    A is drawn as PEFT draws it, B is zero.
    """
    random = np.random.default_rng(seed)
    arrays = {}
    for path, leaf in nnx.to_flat_state(_parts(form)[1]):
        name, shape = str(path[-1]), leaf.shape
        edge = shape[-1] ** -0.5 if name.endswith("_a") else 0.0
        arrays[name] = random.uniform(-edge, edge, shape).astype(np.float32)
    if bias is not None:
        arrays["head"] = np.zeros((*bias.shape, form.architecture.width), np.float32)
        arrays["bias"] = bias.astype(np.float32)
    return arrays


def with_adapters(form: Form, base: nnx.State[Any, Any], arrays: Arrays) -> Decoder:
    """The decoder, with the arrays as its adapters; to be called where it is traced."""
    graph, abstract = _parts(form)
    adapters = nnx.from_flat_state(
        (path, leaf.replace(arrays[str(path[-1])])) for path, leaf in nnx.to_flat_state(abstract)
    )
    model: Decoder = nnx.merge(graph, adapters, base)
    return model


def merge(backbone: Backbone, lora: Lora, arrays: Arrays) -> Backbone:
    """The decoder whose weights have the adapters added: W + alpha / rank B A, in their type."""

    @jax.jit
    def added(weight: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
        change = lora.scale * jnp.einsum("lor,lri->loi", b, a, precision="highest")
        return (weight.astype(jnp.float32) + change).astype(weight.dtype)

    def merged(path: tuple[Any, ...], leaf: Any) -> Any:
        name = path[-1]
        if path[0] != "block" or name not in lora.targets:
            return leaf
        return leaf.replace(added(leaf[...], arrays[f"{name}_lora_a"], arrays[f"{name}_lora_b"]))

    flat = nnx.to_flat_state(backbone.weights)
    weights = nnx.from_flat_state((path, merged(path, leaf)) for path, leaf in flat)
    return replace(backbone, weights=weights)


def _parts(form: Form) -> tuple[nnx.GraphDef[Any], nnx.State[Any, Any]]:
    dtype = jnp.dtype(form.dtype)
    make = partial(Decoder, form.architecture, dtype, form.lora, recompute=form.recompute)
    parts: Any = nnx.split(nnx.eval_shape(make), nnx.LoRAParam, ...)
    return parts[0], parts[1]
