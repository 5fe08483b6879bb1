"""Draw levels at the price of the random numbers they take: 16 bits each, four to a word.

A random block is two words, which make four draws. XLA computes every element of an output on its
own, so a program with a level per element would make each block four times. Here an element is a
word whose four bytes are the levels of four neighbouring tasks: task t is lane t % 4 of block
t // 4. One fused loop makes the block, compares, and stores the word; the host reads the words as
bytes. Scales of many levels, for which such a loop would grow too long, take a loop over levels.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from crowdllm_jax.randomness import Pair, Stream, blocks

LANES = 4
MOST_CUTS = 16
"""Comparisons per decision in the fused loop."""

Above = Callable[[int, jax.Array], Callable[[Any], jax.Array]]
"""above(lane, draw)(k): (N, B) bool, whether draws (N, B) int32 of the lane's tasks lie above the
k-th end between levels."""


def block_count(tasks: int) -> int:
    """B, the random blocks that serve T tasks.

    A CPU works on 8 of them at once and takes as long for a remainder of 3.
    """
    count = -(-tasks // LANES)
    return count if count <= 2 else -(-count // 8) * 8


def by_lane(table: jax.Array) -> jax.Array:
    """Columns (..., T) of tasks apart by lane: (4, ..., B), zeros beyond the last task."""
    tasks = table.shape[-1]
    wide = LANES * block_count(tasks)
    padded = jnp.pad(table, [(0, 0)] * (table.ndim - 1) + [(0, wide - tasks)])
    apart = padded.reshape(*table.shape[:-1], wide // LANES, LANES)
    return jnp.moveaxis(apart, -1, 0)


def draw_levels(seed: Pair, ids: Pair, tasks: int, cuts: int, above: Above) -> jax.Array:
    """One level per agent and task: the number of ends that the draw lies above.

    Args:
      cuts: K - 1, ends between levels.
    Returns:
      (N, B) uint32, four levels to a word (see `unpack`, `to_host`); with more than MOST_CUTS ends
      (N, T) int16.
    """
    pair = blocks(seed, ids, Stream.LEVEL, block_count(tasks))
    if cuts > MOST_CUTS:
        pair = jax.lax.optimization_barrier(pair)
    lanes: list[jax.Array] = []
    for lane in range(LANES):
        word = jnp.asarray(pair[lane // 2])
        draw = ((word >> (16 * (lane % 2))) & 0xFFFF).astype(jnp.int32)
        beyond = above(lane, draw)
        if cuts > MOST_CUTS:
            start = jnp.zeros(draw.shape, jnp.int16)
            lanes.append(jax.lax.fori_loop(0, cuts, lambda k, n, b=beyond: n + b(k), start))
        else:
            level = sum((beyond(k).astype(jnp.uint32) for k in range(cuts)), jnp.uint32(0))
            lanes.append(level << (8 * lane))
    if cuts > MOST_CUTS:
        return jnp.stack(lanes, axis=2).reshape(len(lanes[0]), -1)[:, :tasks]
    return lanes[0] | lanes[1] | lanes[2] | lanes[3]


def unpack(drawn: jax.Array, tasks: int) -> jax.Array:
    """(N, T) levels on the device of what `draw_levels` returned."""
    if drawn.dtype != jnp.uint32:
        return drawn
    # Without the barrier XLA fuses the draws into the conversion and makes them once per byte.
    bytes_of = jax.lax.bitcast_convert_type(jax.lax.optimization_barrier(drawn), jnp.int8)
    return bytes_of.reshape(len(drawn), -1)[:, :tasks]


def to_host(drawn: jax.Array | np.ndarray, tasks: int) -> np.ndarray:
    """(N, T) answers on the host: words of `draw_levels` as bytes, other answers as they are."""
    host = np.asarray(drawn)
    return host.view(np.int8)[:, :tasks] if host.dtype == np.uint32 else host


def logit(draw: jax.Array) -> jax.Array:
    """Logistic quantile at (draw + 1/2) / 65536 of 16-bit draws (int32), by a few cheap operations.

    The logarithm of the odds, whose exponent is read off its bits and whose mantissa (from 2/3 to
    4/3) goes through a minimax polynomial: off by at most 2e-6, which is less than 2**-20 in
    probability. Two `log` cost more than the random bits.
    """
    odd = (2 * draw + 1).astype(jnp.float32)
    bits = jax.lax.bitcast_convert_type(odd / (131072 - odd), jnp.int32)
    exponent = (bits - TWO_THIRDS) >> 23
    f = jax.lax.bitcast_convert_type(bits - (exponent << 23), jnp.float32) - 1
    series = jnp.float32(LOG1P[-1])
    for coefficient in LOG1P[-2::-1]:
        series = series * f + jnp.float32(coefficient)
    return exponent.astype(jnp.float32) * jnp.float32(np.log(2)) + f * series


TWO_THIRDS = 0x3F2AAAAB
LOG1P = (1.0000228459, -0.5000647499, 0.3316072169, -0.2472175896, 0.2307384515, -0.2017134461)
"""log(1 + f) / f for |f| <= 1/3, least greatest error of f times it (1.4e-6)."""
