"""The tensors of a GGUF file as the decoder's weights: renamed, turned and dequantised.

They are read by memory map, some rows at a time: the host keeps one tensor of the target type
beside what lies on the device.
"""

from functools import lru_cache, partial
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from crowdllm_jax.backbone.architecture import Architecture
from crowdllm_jax.backbone.gguf.header import Header, TensorInfo
from crowdllm_jax.backbone.gguf.packing import TYPES, Part
from crowdllm_jax.backbone.packed import Packing, joint
from crowdllm_jax.errors import CrowdError

# Our name of a stacked weight -> its name within a layer of the file.
LAYER = {
    "q": "attn_q.weight",
    "k": "attn_k.weight",
    "v": "attn_v.weight",
    "o": "attn_output.weight",
    "q_bias": "attn_q.bias",
    "k_bias": "attn_k.bias",
    "v_bias": "attn_v.bias",
    "o_bias": "attn_output.bias",
    "q_norm": "attn_q_norm.weight",
    "k_norm": "attn_k_norm.weight",
    "gate": "ffn_gate.weight",
    "up": "ffn_up.weight",
    "down": "ffn_down.weight",
    "gate_bias": "ffn_gate.bias",
    "up_bias": "ffn_up.bias",
    "down_bias": "ffn_down.bias",
    "attn_norm": "attn_norm.weight",
    "mlp_norm": "ffn_norm.weight",
    "attn_post_norm": "post_attention_norm.weight",
    "mlp_post_norm": "post_ffw_norm.weight",
}
OUTER = {"embed": "token_embd.weight", "norm": "output_norm.weight", "head": "output.weight"}
ROPE_FACTORS = "rope_freqs.weight"  # part of the architecture, see config.py
MATRICES = ("q", "k", "v", "o", "gate", "up", "down")
_FLOATS = ("F32", "F16", "BF16")
_CHUNK = 1 << 22  # numbers dequantised at once


class GgufTensors:
    """What `weights.Tensors` is to a folder of safetensors."""

    def __init__(self, header: Header, a: Architecture) -> None:
        self._header, self._a = header, a
        self.names = header.tensors

    def __enter__(self) -> "GgufTensors":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def sources(self, path: tuple[Any, ...]) -> list[str]:
        """The tensors that a weight of the decoder is made of: one, or one per layer."""
        if path[0] != "block":
            return [OUTER[path[-1]]]
        return [f"blk.{i}.{LAYER[path[-1]]}" for i in range(self._a.layers)]

    def unused(self) -> set[str]:
        """Tensors that may be there and are not weights of the decoder."""
        return {ROPE_FACTORS}

    def check(self, name: str, shape: tuple[int, ...]) -> None:
        """Raises CrowdError unless there is such a tensor of a type that can be read."""
        info = self.names.get(name)
        if info is None:
            raise CrowdError(
                f"{self._header.path}: tensor {name} is missing; download the file again, or one "
                "of another author"
            )
        if info.shape != tuple(shape):
            raise CrowdError(
                f"{info.path}: tensor {name} is {info.shape}; the file's metadata ask for "
                f"{tuple(shape)}"
            )
        if not _readable(info.kind):
            raise CrowdError(
                f"{info.path}: tensor {name} is stored as {type_name(info.kind)}, which the gguf "
                "package does not dequantise; take the model in Q4_K_M, Q8_0 or F16"
            )

    def array(
        self, name: str, shape: tuple[int, ...], dtype: jnp.dtype, sharding: Any
    ) -> jax.Array:
        """The tensor on the device(s): each device's part is read and dequantised on its own."""
        self.check(name, shape)
        info, order = self.names[name], self._row_order(name, shape[0])
        convert = partial(_dequantised, info, dtype=np.dtype(dtype), shift=self._shift(name))

        def read(at: Any) -> np.ndarray:
            if len(shape) == 1:  # a vector is a single row
                return convert(np.zeros(1, int))[0, order][at]
            return convert(order[at[0]])[:, at[1]]

        return jax.make_array_from_callback(shape, sharding, read)

    def _row_order(self, name: str, rows: int) -> np.ndarray:
        """Which row of the file is the decoder's i-th.

        The "llama" architecture pairs neighbours in rotary positions, the decoder the two halves of
        a head: within each head of queries and keys the even rows come first, then the odd ones.
        """
        order = np.arange(rows)
        if self._a.family != "llama" or name.split(".")[-2] not in ("attn_q", "attn_k"):
            return order
        return order.reshape(-1, self._a.head_dim // 2, 2).swapaxes(1, 2).reshape(-1)

    def _shift(self, name: str) -> float:
        """Norms are stored as they multiply; the decoder adds Gemma's one itself, which keeps them
        as exact as they were trained when they are rounded to bfloat16."""
        return -self._a.norm_offset if name.endswith("norm.weight") else 0.0

    def packings(self) -> tuple[tuple[str, Packing], ...]:
        """The matrices of the layers that can stay quantised, and how; the others are floats.

        Raises CrowdError: one is of a type that is not kept so, or none can.
        """
        found = []
        for name in MATRICES:
            sources = self.sources(("block", name))
            kinds = [type_name(self.names[s].kind) for s in sources if s in self.names]
            if all(kind in _FLOATS for kind in kinds):
                continue
            other = next((kind for kind in kinds if kind not in TYPES), None)
            if other is not None:
                raise CrowdError(
                    f"{self._header.path}: reference.weights: a tensor like {sources[0]} is stored "
                    f"as {other}, and quantised stay {', '.join(TYPES)}; take another file of the "
                    "model (Q4_K_M, Q8_0), or weights: dense"
                )
            found.append((name, joint([TYPES[kind].packing for kind in kinds])))
        if not found:
            raise CrowdError(
                f"{self._header.path}: reference.weights: nothing in the file is quantised; leave "
                "weights out, or take a file such as Q4_K_M or Q8_0"
            )
        return tuple(found)

    def packed(self, part: str, packing: Packing) -> Part:
        """One of the arrays of such a matrix, by tensor."""
        return Part(part, packing, self.names, self._row_order)

    def refuse_leftovers(self, used: set[str]) -> None:
        """Raises CrowdError if a tensor is not in `used`: the model would lack a part."""
        left = sorted(set(self.names) - used)
        if left:
            more = f" and {len(left) - 3} more" if len(left) > 3 else ""
            raise CrowdError(
                f"{self._header.path}: the decoder has no place for tensor "
                f"{', '.join(left[:3])}{more}; this model has a part that is not supported"
            )


def type_name(kind: int) -> str:
    """What a type of tensor is called, such as Q4_K."""
    from gguf.constants import GGMLQuantizationType

    return str(GGMLQuantizationType(kind).name)


@lru_cache
def _readable(kind: int) -> bool:
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
    from gguf.quants import dequantize

    sort = GGMLQuantizationType(kind)
    try:
        dequantize(np.zeros((1, GGML_QUANT_SIZES[sort][1]), np.uint8), sort)
    except NotImplementedError:
        return False
    return True


def _dequantised(info: TensorInfo, rows: np.ndarray, dtype: np.dtype, shift: float) -> np.ndarray:
    """The numbers of some rows plus `shift`, in `dtype`; a few rows at a time are float32.

    Raises CrowdError: some are not finite.
    """
    from gguf.constants import GGMLQuantizationType
    from gguf.quants import dequantize

    count, width = prod(info.shape[:-1]), info.shape[-1]
    stored = np.memmap(info.path, np.uint8, "r", info.offset, shape=(count, info.bytes // count))
    values = np.empty((len(rows), width), dtype)
    step = max(1, _CHUNK // width)
    for i in range(0, len(rows), step):
        with np.errstate(all="ignore"):  # what damaged scales give is refused below
            numbers = dequantize(stored[rows[i : i + step]], GGMLQuantizationType(info.kind))
        if not np.isfinite(numbers).all():
            raise CrowdError(
                f"{info.path}: a tensor holds numbers that are not finite: the file is damaged; "
                "download it again"
            )
        values[i : i + step] = numbers + np.float32(shift) if shift else numbers
    return values
