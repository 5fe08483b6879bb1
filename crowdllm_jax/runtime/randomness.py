"""Random draws keyed by (seed, agent id, stream, number), and by nothing else.

An agent's draws do not depend on the chunk, the order or the device in which it is computed: each
agent has its own threefry key and each purpose its own stream of `count` numbered draws. The count
(the number of a checkpoint's tasks, say) is part of the layout: ask for all draws of a stream.

Threefry-2x32 (Salmon et al. 2011, 20 rounds) is written out here because XLA then fuses it with
what consumes the words; JAX's primitive is a loop that is not fused and ran 4 to 10 times slower
on a CPU. `tests/runtime/test_randomness.py` holds it against the primitive.
"""

import hashlib
from collections.abc import Callable
from enum import IntEnum

import jax
import jax.numpy as jnp
import numpy as np

Word = jax.Array | np.ndarray
Pair = tuple[Word, Word]


_barrier: Callable[[Pair], Pair] = jax.lax.optimization_barrier
"""Keeps XLA from fusing what comes before with what comes after."""


class Stream(IntEnum):
    """What draws are spent on; each stream is independent of the others."""

    PROFILE = 0
    LEVEL = 1
    SCORE = 2
    LATENT = 3


def threefry(key: Pair, counter: Pair) -> Pair:
    """Two random words from two key words and two counter words; uint32, shapes broadcast."""
    k0, k1, x0, x1 = (jnp.asarray(word, jnp.uint32) for word in (*key, *counter))
    ks = (k0, k1, k0 ^ k1 ^ jnp.uint32(0x1BD11BDA))
    x0, x1 = x0 + ks[0], x1 + ks[1]
    for four in range(5):
        for turn in ((13, 15, 26, 6), (17, 29, 16, 24))[four % 2]:
            x0 = x0 + x1
            x1 = x0 ^ ((x1 << jnp.uint32(turn)) | (x1 >> jnp.uint32(32 - turn)))
        x0 = x0 + ks[(four + 1) % 3]
        x1 = x1 + ks[(four + 2) % 3] + jnp.uint32(four + 1)
    return x0, x1


def seed_halves(seed: int) -> Pair:
    """High and low 32 bits of a seed from 0 to 2**64 - 1."""
    return split_ids(np.array(seed, np.uint64))


def split_ids(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """High and low 32 bits of agent ids (made on the host: JAX has 32-bit integers)."""
    wide = np.asarray(ids, np.uint64)
    return (wide >> np.uint64(32)).astype(np.uint32), wide.astype(np.uint32)


def words(seed: Pair, ids: Pair, stream: Stream, count: int) -> jax.Array:
    """Draws of 32 bits: (N, count) uint32 for agent ids given as (N,) high and low halves."""
    half = -(-count // 2)
    # A CPU works on 8 numbers side by side: on those of 8 agents where an agent has too few.
    agents_last = half < 8
    # Without the barrier XLA fuses threefry into the concatenation and runs it once per part.
    pair = _barrier(blocks(seed, ids, stream, half, agents_last=agents_last))
    if agents_last:
        return jnp.concatenate(pair, axis=0)[:count].T
    return jnp.concatenate(pair, axis=1)[:, :count]


def blocks(seed: Pair, ids: Pair, stream: Stream, count: int, *, agents_last: bool = False) -> Pair:
    """Random blocks of two words, to be fused with what consumes them.

    Args:
      ids: (N,), or (G, A) of agents in groups.
    Returns:
      Two arrays (N, count), or (count, N) if `agents_last`; (G, count, A) of groups; uint32.
    """
    agent = _barrier(threefry(seed, ids))
    number = jnp.arange(count, dtype=jnp.uint32)
    if agent[0].ndim == 2:
        key = (agent[0][:, None], agent[1][:, None])
        return threefry(key, (jnp.uint32(stream), number[None, :, None]))
    if agents_last:
        return threefry((agent[0][None], agent[1][None]), (jnp.uint32(stream), number[:, None]))
    return threefry((agent[0][:, None], agent[1][:, None]), (jnp.uint32(stream), number[None]))


def uniform(word: jax.Array) -> jax.Array:
    """A float32 strictly between 0 and 1 from each 32-bit word (its upper 23 bits, centred)."""
    centred: jax.Array = ((word >> 9).astype(jnp.float32) + 0.5) * jnp.float32(2.0**-23)
    return centred


def normal(word: jax.Array) -> jax.Array:
    """A standard normal number from each 32-bit word."""
    quantile: jax.Array = jnp.float32(2**0.5) * jax.lax.erf_inv(2 * uniform(word) - 1)
    return quantile


def key_of(name: str) -> int:
    """64 bits that stand for a name, such as a person's id, in every table and every process."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())
