"""A Hugging Face folder, hub id or GGUF file -> a decoder's arrays on the device or mesh.

Tensors stream from the files one layer at a time, and of each only the slice that a
local device holds, so the host never keeps more than one of them. Every tensor of the files is
either used or known to be of no use here; any other is refused, and so is a missing one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding
from safetensors import SafetensorError, safe_open

from crowdllm_jax.backbone.architecture import Architecture
from crowdllm_jax.backbone.decoder import PARTITION, Decoder, Packed
from crowdllm_jax.backbone.gguf.packing import Part
from crowdllm_jax.backbone.gguf.tensors import GgufTensors
from crowdllm_jax.backbone.hub import (
    fingerprint,
    header_of,
    load_architecture,
    load_tokenizer,
    locate,
    read_json,
)
from crowdllm_jax.backbone.packed import bytes_of
from crowdllm_jax.errors import CrowdError

# Our name of a stacked weight -> its name within a layer of the files. The families give the same
# norm name to different places, hence the two tables.
LAYER = {
    "q": "self_attn.q_proj.weight",
    "k": "self_attn.k_proj.weight",
    "v": "self_attn.v_proj.weight",
    "o": "self_attn.o_proj.weight",
    "q_bias": "self_attn.q_proj.bias",
    "k_bias": "self_attn.k_proj.bias",
    "v_bias": "self_attn.v_proj.bias",
    "o_bias": "self_attn.o_proj.bias",
    "q_norm": "self_attn.q_norm.weight",
    "k_norm": "self_attn.k_norm.weight",
    "gate": "mlp.gate_proj.weight",
    "up": "mlp.up_proj.weight",
    "down": "mlp.down_proj.weight",
    "gate_bias": "mlp.gate_proj.bias",
    "up_bias": "mlp.up_proj.bias",
    "down_bias": "mlp.down_proj.bias",
    "attn_norm": "input_layernorm.weight",
    "mlp_norm": "post_attention_layernorm.weight",
}
_POST_NORM_LAYER = LAYER | {
    "attn_post_norm": "post_attention_layernorm.weight",
    "mlp_norm": "pre_feedforward_layernorm.weight",
    "mlp_post_norm": "post_feedforward_layernorm.weight",
}
# Where the text model begins: plain, or inside a multimodal Gemma 3 (new and old layout).
_ROOTS = ("model.", "model.language_model.", "language_model.model.")
_UNUSED = (
    "vision_tower.",
    "multi_modal_projector.",
    "model.vision_tower.",
    "model.multi_modal_projector.",
)


@dataclass(frozen=True)
class Outline:
    """A decoder without its weights. `name` and `revision` (a commit, or a hash of a local folder's
    files) identify it in a cache wherever it lies; `tokenizer` is transformers' own."""

    name: str
    revision: str
    architecture: Architecture
    tokenizer: Any


@dataclass(frozen=True)
class Backbone(Outline):
    """A loaded decoder: `graph` and `weights` are what `nnx.split` gives. `mesh` is None on a
    single device."""

    graph: nnx.GraphDef[Any]
    weights: nnx.State[Any, Any]
    mesh: Mesh | None = None


def load(
    source: str | Path,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    mesh: Mesh | None = None,
    quantised: bool = False,
) -> Backbone:
    """Load a decoder and its tokenizer.

    Args:
        source: a folder with config.json, safetensors and tokenizer files, a GGUF file (or a folder
            that holds one), or a hub id "org/name".
        revision: branch, tag or commit of a hub id.
        dtype: "bfloat16" or "float32"; logits are float32 either way. "auto" is what is fastest:
            see `chosen_dtype`.
        mesh: a mesh with the axes "data" and "model" over which to lay the weights out.
        quantised: the layers' matrices of a GGUF file stay so on the device; each is made dense,
            of type `dtype`, while it is used.

    Raises:
        CrowdError: the folder, a file, a key or a tensor is missing, unknown or of a wrong shape.
    """
    dtype = chosen_dtype(dtype)
    o = outline(source, revision=revision, dtype=dtype)
    place, _ = locate(source, revision)
    packed = packings(place, o.architecture) if quantised else ()
    graph, weights = load_weights(place, o.architecture, jnp.dtype(dtype), mesh, packed)
    return Backbone(o.name, o.revision, o.architecture, o.tokenizer, graph, weights, mesh)


def chosen_dtype(dtype: str) -> str:
    """The type that "auto" stands for: float32 on a CPU, where XLA's products of bfloat16 are no
    faster, and bfloat16 on accelerators."""
    if dtype not in ("auto", "bfloat16", "float32"):
        raise CrowdError(f"dtype is {dtype!r}; it may be 'auto', 'bfloat16' or 'float32'")
    if dtype != "auto":
        return dtype
    return "float32" if jax.default_backend() == "cpu" else "bfloat16"


def outline(source: str | Path, *, revision: str | None = None, dtype: str = "auto") -> Outline:
    """What `load` with the same arguments would load, without the weights; a hub's are not even
    downloaded."""
    dtype = chosen_dtype(dtype)
    place, commit = locate(source, revision, weights=False)
    return Outline(
        name=str(source) if commit else place.resolve().name,
        revision=f"{commit or fingerprint(place)}:{dtype}",
        architecture=load_architecture(place),
        tokenizer=load_tokenizer(place),
    )


def packings(place: Path, a: Architecture) -> Packed:
    """How the matrices of a GGUF file stay quantised; raises CrowdError where they cannot."""
    if not place.is_file():
        raise CrowdError(
            f"{place}: reference.weights: quantised ones are kept of a GGUF file; name one in "
            "reference.model, or leave weights out"
        )
    return GgufTensors(header_of(place), a).packings()


def device_bytes(a: Architecture, dtype: str, packed: Packed = ()) -> int:
    """What the weights take on the devices together; nothing is allocated."""
    make = partial(Decoder, a, jnp.dtype(chosen_dtype(dtype)), None, packed)
    return bytes_of(nnx.state(nnx.eval_shape(make)))


def load_weights(
    place: Path, a: Architecture, dtype: jnp.dtype, mesh: Mesh | None = None, packed: Packed = ()
) -> tuple[nnx.GraphDef[Any], nnx.State[Any, Any]]:
    """The decoder's graph and its weights, read from a folder's safetensors or a GGUF file."""
    _, dense = nnx.split(nnx.eval_shape(partial(Decoder, a, dtype)))
    graph, weights = nnx.split(nnx.eval_shape(partial(Decoder, a, dtype, None, packed)))
    flat = [(path, leaf, leaf.get_value()) for path, leaf in nnx.to_flat_state(weights)]
    with _open(place, a) as files:
        sources = {path: files.sources(path) for path, _ in nnx.to_flat_state(dense)}
        # All shapes before any memory: what config.json asks for may not be in the files.
        for path, leaf in nnx.to_flat_state(dense):
            shape = leaf.get_value().shape
            for source in sources[path]:
                files.check(source, shape[1:] if path[0] == "block" else shape)

        def fill(path: tuple[Any, ...], array: jax.ShapeDtypeStruct) -> jax.Array:
            if path[0] == "block":
                matrix, *part = path[1:]
                sharding = _sharding(mesh, PARTITION.get(matrix, PartitionSpec()), array.shape)
                of: Any = files
                if part and isinstance(files, GgufTensors):
                    of = files.packed(part[0], dict(packed)[matrix])
                return stack(of, sources[path[:2]], array, sharding)
            sharding = _sharding(mesh, PARTITION.get(path[-1], PartitionSpec()), array.shape)
            return files.array(sources[path][0], array.shape, array.dtype, sharding)

        filled = [(path, leaf.replace(fill(path, array))) for path, leaf, array in flat]
        files.refuse_leftovers({s for used in sources.values() for s in used} | files.unused())
    return graph, nnx.from_flat_state(filled)


def _open(place: Path, a: Architecture) -> "DecoderTensors | GgufTensors":
    return GgufTensors(header_of(place), a) if place.is_file() else DecoderTensors(place, a)


def stack(
    files: "Tensors | GgufTensors | Part",
    sources: list[str],
    leaf: jax.ShapeDtypeStruct,
    sharding: Any,
) -> jax.Array:
    """One layer after another into one donated buffer: the host holds a single layer's tensor."""
    inner = sharding
    if isinstance(sharding, NamedSharding):
        inner = NamedSharding(sharding.mesh, PartitionSpec(*sharding.spec[1:]))
    buffer = jnp.zeros(leaf.shape, leaf.dtype, device=sharding)
    for layer, source in enumerate(sources):
        values = files.array(source, leaf.shape[1:], leaf.dtype, inner)
        # Waiting keeps the bound: dispatched but unfinished copies hold their host memory.
        buffer = jax.block_until_ready(_place(buffer, layer, values))
    return buffer


@partial(jax.jit, donate_argnums=0)
def _place(buffer: jax.Array, layer: int, values: jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_index_in_dim(buffer, values, layer, axis=0)


def _sharding(mesh: Mesh | None, spec: PartitionSpec, shape: tuple[int, ...]) -> Any:
    """The sharding of a weight; an axis that the mesh does not divide is kept whole."""
    if mesh is None:
        return SingleDeviceSharding(jax.local_devices()[0])
    fits = (
        axis if axis is None or size % mesh.shape[axis] == 0 else None
        for axis, size in zip(spec, shape, strict=False)
    )
    return NamedSharding(mesh, PartitionSpec(*fits))


class Tensors:
    """The safetensors of a folder, opened but not read; `names` are the tensors in them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[Path, Any] = {}
        index = folder / "model.safetensors.index.json"
        if index.exists():
            listed = read_json(index).get("weight_map", {})
            shards = sorted({folder / f for f in listed.values()})
        elif (folder / "model.safetensors").exists():
            shards = [folder / "model.safetensors"]
        else:
            raise CrowdError(
                f"{folder}: neither model.safetensors nor its index; convert the checkpoint to "
                "safetensors with transformers' save_pretrained"
            )
        self.names: dict[str, Path] = {}
        for shard in shards:
            try:
                handle = safe_open(str(shard), framework="numpy")
            except (OSError, SafetensorError) as error:
                raise CrowdError(f"{shard}: cannot be read ({error}); download it again") from None
            self._files[shard] = handle
            self.names |= dict.fromkeys(handle.keys(), shard)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.clear()

    def check(self, name: str, shape: tuple[int, ...]) -> None:
        """Raises CrowdError unless there is such a tensor of a type that can be read."""
        if name not in self.names:
            raise CrowdError(f"{self._folder}: tensor {name} is missing; is the download complete?")
        shard = self.names[name]
        tensor = self._files[shard].get_slice(name)
        if tuple(tensor.get_shape()) != tuple(shape):
            found = tuple(tensor.get_shape())
            raise CrowdError(f"{shard}: tensor {name} is {found}; config.json asks for {shape}")
        if tensor.get_dtype() not in ("F32", "F16", "BF16"):
            raise CrowdError(
                f"{shard}: tensor {name} is stored as {tensor.get_dtype()}; "
                "only float32, float16 and bfloat16 are read, so use an unquantised checkpoint"
            )

    def array(
        self, name: str, shape: tuple[int, ...], dtype: jnp.dtype, sharding: Any
    ) -> jax.Array:
        """The tensor on the device(s): each device's part is read and cast on its own."""
        self.check(name, shape)
        tensor = self._files[self.names[name]].get_slice(name)
        read: Callable[[Any], np.ndarray] = lambda at: tensor[at].astype(dtype)  # noqa: E731
        return jax.make_array_from_callback(shape, sharding, read)

    def refuse_leftovers(self, used: set[str]) -> None:
        """Raises CrowdError if a tensor is not in `used`: the model would lack a part."""
        left = sorted(set(self.names) - used)
        if left:
            more = f" and {len(left) - 3} more" if len(left) > 3 else ""
            raise CrowdError(
                f"{self._folder}: the decoder has no place for tensor {', '.join(left[:3])}{more}; "
                "config.json does not describe these weights, or the family has a part that is "
                "not supported"
            )


class DecoderTensors(Tensors):
    """The safetensors of a decoder, whose names differ between the families."""

    def __init__(self, folder: Path, a: Architecture) -> None:
        super().__init__(folder)
        self._a = a
        roots = (r for r in _ROOTS if f"{r}embed_tokens.weight" in self.names)
        self._root = next(roots, _ROOTS[0])

    def sources(self, path: tuple[Any, ...]) -> list[str]:
        """The tensors that a weight of the decoder is made of: one, or one per layer."""
        name, root = path[-1], self._root
        if path[0] == "block":
            table = _POST_NORM_LAYER if self._a.post_norms else LAYER
            return [f"{root}layers.{i}.{table[name]}" for i in range(self._a.layers)]
        if name == "head":
            head = "language_model.lm_head.weight"
            return [head if head in self.names else "lm_head.weight"]
        return [root + {"embed": "embed_tokens.weight", "norm": "norm.weight"}[name]]

    def unused(self) -> set[str]:
        """Tensors that may be there and are not weights of the decoder."""
        # Some files repeat a tied embedding as the head, and old ones carry rope's constants.
        unused = {n for n in self.names if n.endswith("rotary_emb.inv_freq")}
        if self._a.tied:
            unused |= {"lm_head.weight", "language_model.lm_head.weight"}
        return unused | {n for n in self.names if n.startswith(_UNUSED)}
