"""What the machine can do at most: random words, memory traffic, matrix products per second.

Each ceiling is a job with a known amount of work, to be run in turns with what it is a ceiling of.
"""

import time
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from crowdllm_jax.runtime.prefetch import ahead
from crowdllm_jax.runtime.randomness import Pair, Stream, blocks, seed_halves, split_ids

Job = Callable[[], float]
"""Does the work once and returns its rate per second."""


def on_cpu() -> bool:
    return jax.default_backend() == "cpu"


@partial(jax.jit, static_argnums=2)
def _make_words(seed: Pair, ids: Pair, count: int) -> jax.Array:
    one, other = blocks(seed, ids, Stream.LEVEL, count)
    return one ^ other


def random_words(count: int = 80, rounds: int = 12) -> Job:
    """32-bit words of our threefry. Both words of a block are made and folded into one that is
    stored, as a sampler that uses 16 bits a decision stores four answers of a byte."""
    agents = 1 << (13 if on_cpu() else 19)  # as many as a block has
    seed, ids = jax.device_put((seed_halves(1), split_ids(np.arange(agents))))

    def job() -> float:
        began = time.perf_counter()
        for made in ahead(lambda _: _make_words(seed, ids, count), range(rounds)):
            made.block_until_ready()
        return rounds * agents * count * 2 / (time.perf_counter() - began)

    return job


def jax_words(rounds: int = 8) -> Job:
    """32-bit words of `jax.random.bits`."""
    count = 1_300_000 if on_cpu() else 1 << 27
    make = jax.jit(lambda key: jax.random.bits(key, (count,), jnp.uint32))
    keys = [jax.random.key(i) for i in range(rounds)]

    def job() -> float:
        began = time.perf_counter()
        for made in ahead(make, keys):
            made.block_until_ready()
        return rounds * count / (time.perf_counter() - began)

    return job


def bandwidth(rounds: int = 4) -> Job:
    """Bytes read and written by a sum of two long vectors."""
    n = 1 << (25 if on_cpu() else 29)
    a = jnp.ones(n, jnp.float32)
    add = jax.jit(lambda a: a + 1, donate_argnums=0)

    def job() -> float:
        nonlocal a
        began = time.perf_counter()
        for _ in range(rounds):
            a = add(a)
        a.block_until_ready()
        return rounds * 8 * n / (time.perf_counter() - began)

    return job


def matmul(dtype: str = "float32", rounds: int = 2) -> Job:
    """Operations of a product of square matrices."""
    n = 1536 if on_cpu() else 8192
    a = jax.random.normal(jax.random.key(0), (n, n), jnp.dtype(dtype))
    product = jax.jit(lambda a: a @ a)

    def job() -> float:
        began = time.perf_counter()
        for _ in range(rounds):
            result = product(a)
        result.block_until_ready()
        return rounds * 2 * n**3 / (time.perf_counter() - began)

    return job
