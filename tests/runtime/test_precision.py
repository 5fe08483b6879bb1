"""A device that rounds the factors of products, emulated: nothing that decides answers changes."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import jax._src.lax.lax as traced_from
import jax.numpy as jnp
import numpy as np
import pytest
from crowds import make_crowd

from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.population.sample import sample

KEPT = {"TF32": 10, "bfloat16": 7}
"""Bits after the point."""

CONFIGS = {
    "cvae": CvaeConfig(hidden=32, latent=4),
    "persistent": PersistentConfig(latent=12),
}


def rounded(number: jax.Array, bits: int) -> jax.Array:
    """To the nearest float32 with so many bits after the point."""
    lost = 23 - bits
    word = jax.lax.bitcast_convert_type(number, jnp.uint32)
    word = (word + jnp.uint32(1 << (lost - 1))) >> lost << lost
    return jax.lax.bitcast_convert_type(word, jnp.float32)


@contextmanager
def device_that_rounds(bits: int) -> Iterator[None]:
    """As a GPU or TPU does wherever it is not told to be exact."""
    usual = traced_from.dot_general

    def product(a, b, dimension_numbers, precision=None, *args, **more):
        told = precision if precision is not None else jax.config.jax_default_matmul_precision
        if told is None and a.dtype == b.dtype == jnp.float32:
            a, b = rounded(a, bits), rounded(b, bits)
        return usual(a, b, dimension_numbers, precision, *args, **more)

    jax.clear_caches()
    traced_from.dot_general = jax.lax.dot_general = product
    try:
        yield
    finally:
        traced_from.dot_general = jax.lax.dot_general = usual
        jax.clear_caches()


@pytest.fixture(scope="module", params=CONFIGS, ids=str)
def crowd(request) -> Crowd:
    return make_crowd(CONFIGS[request.param], tasks=60, features=16, profiles=30)


@pytest.mark.parametrize("kind", KEPT)
def test_rounded_factors_change_no_answer(crowd: Crowd, kind):
    expected = sample(crowd, 8192, seed=1).answers
    with device_that_rounds(KEPT[kind]):
        np.testing.assert_array_equal(sample(crowd, 8192, seed=1).answers, expected)


def test_they_would_if_they_were_allowed(crowd: Crowd):
    """The emulation reaches the products: told to round, it changes answers, but few."""
    expected = sample(crowd, 8192, seed=1).answers
    with device_that_rounds(KEPT["bfloat16"]), pytest.MonkeyPatch.context() as patch:
        usual = jax.default_matmul_precision
        patch.setattr(jax, "default_matmul_precision", lambda _: usual(None))
        differ = (sample(crowd, 8192, seed=1).answers != expected).mean()
    assert 0 < differ < 0.02
