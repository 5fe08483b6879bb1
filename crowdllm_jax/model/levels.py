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

from crowdllm_jax.runtime.randomness import Pair, Stream, blocks

LANES = 4
MOST_CUTS = 16
"""Comparisons per decision in the fused loop."""

Above = Callable[[int, jax.Array], Callable[[Any], jax.Array]]
"""above(lane, word)(k): (N, B) bool, whether the lane's draws, the upper 16 bits of words (N, B)
uint32, lie above the k-th end between levels."""


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
      ids: (N,), or (G, A) of agents in groups, on scales of up to MOST_CUTS ends.
      cuts: K - 1, ends between levels.
    Returns:
      (N, B) uint32, four levels to a word (see `unpack`, `to_host`), of groups (G, B, A); with more
      than MOST_CUTS ends (N, T) int16.
    """
    pair = blocks(seed, ids, Stream.LEVEL, block_count(tasks))
    if cuts > MOST_CUTS:
        pair = jax.lax.optimization_barrier(pair)
    lanes: list[jax.Array] = []
    for lane in range(LANES):
        word = jnp.asarray(pair[lane // 2])
        beyond = above(lane, word if lane % 2 else word << 16)
        if cuts > MOST_CUTS:
            start = jnp.zeros(word.shape, jnp.int16)
            lanes.append(jax.lax.fori_loop(0, cuts, lambda k, n, b=beyond: n + b(k), start))
        else:
            level = sum((beyond(k).astype(jnp.uint32) for k in range(cuts)), jnp.uint32(0))
            lanes.append(level << (8 * lane))
    if cuts > MOST_CUTS:
        return jnp.stack(lanes, axis=2).reshape(len(lanes[0]), -1)[:, :tasks]
    return lanes[0] | lanes[1] | lanes[2] | lanes[3]


def take_rows(table: jax.Array, at: jax.Array | np.ndarray) -> jax.Array:
    """(N, B) rows of a table (M, B) that are known to be there, numbered from 0.

    JAX's own indexing spends as much on looking whether they are as a few draws cost.
    """
    return table.at[at].get(mode="promise_in_bounds", wrap_negative_indices=False)


def unpack(drawn: jax.Array, tasks: int) -> jax.Array:
    """(N, T) levels on the device of what `draw_levels` returned."""
    if drawn.dtype != jnp.uint32:
        return drawn
    # Without the barrier XLA fuses the draws into the conversion and makes them once per byte.
    bytes_of = jax.lax.bitcast_convert_type(jax.lax.optimization_barrier(drawn), jnp.int8)
    return bytes_of.reshape(len(drawn), -1)[:, :tasks]


def count_words(drawn: jax.Array, counted: jax.Array, levels: int) -> jax.Array:
    """(4 B, K) int32 how many of the `counted` agents (N,) have each level in (N, B) words.

    Four bytes are compared at a time: one that equals a level leaves a 1 in its place, and up to
    255 such words add up before they are taken apart.
    """
    stretches = -(-len(drawn) // 255)
    missing = (0, stretches * 255 - len(drawn))
    words = jnp.pad(drawn, (missing, (0, 0))).reshape(stretches, 255, -1)
    counted = jnp.pad(counted, (missing,)).reshape(stretches, 255, 1)
    ones, tops = jnp.uint32(0x01010101), jnp.uint32(0x80808080)

    def count(level: int) -> jax.Array:
        difference = words ^ (ones * jnp.uint32(level))
        # Levels are below 128: taking 1 away clears the top bit of a byte of 0, and of no other.
        equal = (~((difference | tops) - ones) & tops) >> 7
        byte_counts = jnp.where(counted, equal, 0).sum(1, dtype=jnp.uint32)
        lanes = [
            ((byte_counts >> (8 * lane)) & 0xFF).sum(0, dtype=jnp.uint32) for lane in range(LANES)
        ]
        return jnp.stack(lanes, axis=1).reshape(-1).astype(jnp.int32)

    return jnp.stack([count(level) for level in range(levels)], axis=1)


def to_host(drawn: jax.Array | np.ndarray, tasks: int) -> np.ndarray:
    """(N, T) answers on the host: words of `draw_levels` as bytes, other answers as they are."""
    host = np.asarray(drawn)
    return host.view(np.int8)[:, :tasks] if host.dtype == np.uint32 else host


def signed_ends(threshold: jax.Array) -> jax.Array:
    """Thresholds on draws from 1 to 65535 (uint16, see `response.thresholds`) as ends for `beyond`.

    A draw is compared as the signed 32-bit number that it is the upper half of, because a CPU does
    that in one operation, straight from memory.
    """
    end = (threshold.astype(jnp.int32) - 32768) << 16 | 0xFFFF
    return jnp.where(threshold == 0, jnp.int32(-(2**31)), end)


def beyond(word: jax.Array, end: jax.Array) -> jax.Array:
    """Whether the draws in words lie above `signed_ends`: always above one of 0."""
    return jax.lax.bitcast_convert_type(word | 1, jnp.int32) > end


def logit(word: jax.Array) -> jax.Array:
    """Logistic quantile at (draw + 1/2) / 65536 of the draws in the upper 16 bits of words.

    The logarithm of the odds, whose exponent is read off its bits and whose mantissa (from 2/3 to
    4/3) goes through a minimax polynomial: off by at most 2e-6, which is less than 2**-20 in
    probability. Two `log` cost more than the random bits.
    """
    odd = (word >> 15 | 1).astype(jnp.int32).astype(jnp.float32)
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
