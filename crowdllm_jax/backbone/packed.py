"""Matrices that stay quantised on the device: small whole numbers, and what they are multiplied by.

A number is factor * scale * code - low * low_scale, where all numbers of a group share a scale and
those of a block of several groups a factor. Every type of GGUF that is kept so (see
`gguf.packing`) is a case of it, exactly: the products have fewer digits than float32, so that the
numbers are those of a dense load bit for bit. A decoder's scan over its layers makes one layer's
matrices dense at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx


@dataclass(frozen=True)
class Packing:
    """How a matrix is kept.

    Attributes:
      bits: of a code, 4 (two in a byte, the first and the second half of a group) or 8.
      group, block: how many numbers of a row share a scale, and a factor.
      scaled: whether there are scales.
      low: whether something is subtracted.
      zero: what a code of 4 bits is more than it counts.
    """

    bits: int
    group: int
    block: int
    low: bool
    zero: int = 0
    scaled: bool = False

    def parts(self, rows: int, width: int) -> dict[str, tuple[tuple[int, int], Any]]:
        """Shape and type of each array of a matrix (rows, width)."""
        codes = ((rows, width), jnp.int8) if self.bits == 8 else ((rows, width // 2), jnp.uint8)
        parts: dict[str, Any] = {"codes": codes}
        for factor, scale in (("factor", "scale"), ("low", "low_scale"))[: 1 + self.low]:
            parts[factor] = ((rows, width // self.block), jnp.float16)
            if self.scaled:
                parts[scale] = ((rows, width // self.group), jnp.int8)
        return parts


def joint(packings: Sequence[Packing]) -> Packing:
    """One that holds matrices of all of these exactly: a scan needs all layers alike."""
    zeros = {p.zero for p in packings}
    bits = max(p.bits for p in packings) if len(zeros) == 1 else 8
    return Packing(
        bits,
        min(p.group for p in packings),
        min(p.block for p in packings),
        any(p.low for p in packings),
        max(zeros) if bits == 4 else 0,
        any(p.scaled for p in packings),
    )


class PackedMatrix(nnx.Module):
    """All L layers' matrices of one name, stacked; made dense on one layer's slice of them."""

    def __init__(self, layers: int, rows: int, width: int, packing: Packing) -> None:
        self.packing = packing
        for name, (shape, dtype) in packing.parts(rows, width).items():
            setattr(self, name, nnx.Param(jnp.zeros((layers, *shape), dtype)))

    def dense(self, dtype: jnp.dtype) -> jax.Array:
        """One layer's matrix (out, in)."""
        p = self.packing
        codes: jax.Array = getattr(self, "codes")[...]  # noqa: B009 (set by name, as all parts are)
        rows = codes.shape[0]
        codes = codes.reshape(rows, -1, p.group * p.bits // 8)
        if p.bits == 4:
            halves = jnp.concatenate([codes & 15, codes >> 4], axis=-1)
            codes = halves.astype(jnp.int8) - jnp.int8(p.zero)
        values = self._scaled("factor", "scale") * codes.astype(jnp.float32)
        if p.low:
            values -= self._scaled("low", "low_scale")
        return values.reshape(rows, -1).astype(dtype)

    def _scaled(self, factor: str, scale: str) -> jax.Array:
        """(out, groups, 1) what a group's codes are multiplied by, or what is subtracted."""
        scaled = getattr(self, factor)[...].astype(jnp.float32)[..., None]
        if self.packing.scaled:
            scales = getattr(self, scale)[...].astype(jnp.float32)
            scaled *= scales.reshape(*scaled.shape[:2], -1)
        return scaled.reshape(scaled.shape[0], -1, 1)


def fold(codes: np.ndarray, packing: Packing) -> np.ndarray:
    """int8 codes (rows, width) as they are kept."""
    if packing.bits == 8:
        return codes
    rows, width = codes.shape
    halves = (codes + packing.zero).astype(np.uint8).reshape(rows, -1, 2, packing.group // 2)
    return (halves[:, :, 0] | halves[:, :, 1] << 4).reshape(rows, width // 2)


def bytes_of(tree: Any) -> int:
    """What the arrays of a tree take, or those that its shapes stand for."""
    return sum(prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
