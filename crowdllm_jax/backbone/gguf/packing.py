"""The quantised matrices of a GGUF file as `backbone.packed` keeps them: codes, factors, scales.

The `gguf` package knows how each type packs its codes; it is asked for them by dequantising blocks
whose factors and scales are all 1.
"""

from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import jax
import numpy as np

from crowdllm_jax.backbone.gguf.header import TensorInfo
from crowdllm_jax.backbone.packed import Packing, fold
from crowdllm_jax.errors import CrowdError

_CHUNK = 1 << 22  # codes unpacked at once
_ONE = np.frombuffer(np.float16(1).tobytes(), np.uint8)
_K_ONES = np.repeat(np.array([1, 0, 1], np.uint8), 4)  # scales of 1 and minima of 0, of the K types


_NONE = slice(0, 0)


class _Type(NamedTuple):
    """A type of tensor: how it can be kept, and at which bytes of a block its factors stand."""

    packing: Packing
    factor: int = 0
    low: int | None = None
    scales: slice = _NONE


TYPES = {
    "Q8_0": _Type(Packing(8, 32, 32, False)),
    "Q4_0": _Type(Packing(4, 32, 32, False, zero=8)),
    "Q4_1": _Type(Packing(4, 32, 32, True), low=2),
    "Q5_0": _Type(Packing(8, 32, 32, False)),
    "Q5_1": _Type(Packing(8, 32, 32, True), low=2),
    "Q4_K": _Type(Packing(4, 32, 256, True, scaled=True), low=2, scales=slice(4, 16)),
    "Q5_K": _Type(Packing(8, 32, 256, True, scaled=True), low=2, scales=slice(4, 16)),
    "Q6_K": _Type(Packing(8, 16, 256, False, scaled=True), factor=208, scales=slice(192, 208)),
}
"""What can be kept quantised, by gguf's names."""


@dataclass(frozen=True)
class Part:
    """One of the arrays of a packed matrix, of tensors whose rows are read in some order."""

    name: str
    packing: Packing
    tensors: dict[str, TensorInfo]
    row_order: Any

    def array(self, name: str, shape: tuple[int, ...], dtype: Any, sharding: Any) -> jax.Array:
        """It of one tensor, on the device(s); see `weights.Tensors.array`."""
        info, order = self.tensors[name], self.row_order(name, shape[0])

        def read(at: Any) -> np.ndarray:
            return _part(info, order[at[0]], self.name, self.packing)[:, at[1]].astype(dtype)

        return jax.make_array_from_callback(shape, sharding, read)


def _part(info: TensorInfo, rows: np.ndarray, name: str, packing: Packing) -> np.ndarray:
    """An array of some rows of a tensor.

    Raises CrowdError: a factor is not finite.
    """
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    kind = GGMLQuantizationType(info.kind)
    sort, (block, size) = TYPES[kind.name], GGML_QUANT_SIZES[kind]
    count = prod(info.shape[:-1])
    stored = np.memmap(info.path, np.uint8, "r", info.offset, shape=(count, info.bytes // count))
    if name == "codes":
        step = max(1, _CHUNK // info.shape[-1])
        parts = [_codes(stored[rows[i : i + step]], kind) for i in range(0, len(rows), step)]
        return np.concatenate([fold(codes, packing) for codes in parts])
    blocks = stored[rows].reshape(len(rows), -1, size)
    if name in ("factor", "low"):
        return _spread(_factors(info, sort, blocks, name), block // packing.block)
    return _spread(_scales(sort, blocks, name), sort.packing.group // packing.group)


def _codes(stored: np.ndarray, kind: Any) -> np.ndarray:
    """int8 (rows, width) what the numbers count where factors are 1."""
    from gguf.constants import GGML_QUANT_SIZES
    from gguf.quants import dequantize

    sort, size = TYPES[kind.name], GGML_QUANT_SIZES[kind][1]
    blocks = stored.reshape(len(stored), -1, size).copy()
    blocks[..., sort.factor : sort.factor + 2] = _ONE
    if sort.low is not None:
        blocks[..., sort.low : sort.low + 2] = 0
    if sort.scales != _NONE:
        blocks[..., sort.scales] = _K_ONES if sort.packing.low else 1
    return dequantize(blocks.reshape(len(stored), -1), kind).astype(np.int8)


def _factors(info: TensorInfo, sort: _Type, blocks: np.ndarray, name: str) -> np.ndarray:
    """float16 (rows, blocks)."""
    begin = sort.factor if name == "factor" else sort.low
    if begin is None:
        return np.zeros(blocks.shape[:2], np.float16)
    factors = np.ascontiguousarray(blocks[..., begin : begin + 2]).view(np.float16)[..., 0]
    if not np.isfinite(factors).all():
        raise CrowdError(
            f"{info.path}: a tensor holds numbers that are not finite: the file is damaged; "
            "download it again"
        )
    added = name == "low" and sort.scales == _NONE  # by these types; it is to be subtracted
    return -factors if added else factors


def _scales(sort: _Type, blocks: np.ndarray, name: str) -> np.ndarray:
    """int8 (rows, groups of the type's own size)."""
    from gguf.quants import Q4_K

    rows, count = blocks.shape[:2]
    if sort.scales == _NONE:  # in company of a type that has some
        return np.ones((rows, count), np.int8)
    stored = np.ascontiguousarray(blocks[..., sort.scales])
    if not sort.packing.low:
        return stored.view(np.int8).reshape(rows, -1)
    scale, low = Q4_K.get_scale_min(stored.reshape(rows * count, -1))
    return (scale if name == "scale" else low).reshape(rows, -1).astype(np.int8)


def _spread(values: np.ndarray, times: int) -> np.ndarray:
    return np.repeat(values, times, axis=-1) if times > 1 else values
