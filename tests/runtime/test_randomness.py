"""Draws: the cipher itself, their layout, and their distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.extend.random import threefry2x32_p
from scipy import stats

from crowdllm_jax.runtime.randomness import (
    Stream,
    normal,
    seed_halves,
    split_ids,
    threefry,
    uniform,
    words,
)

WORD = st.integers(0, 2**32 - 1)
ALPHA = 1e-6


@given(WORD, WORD, WORD, WORD)
def test_threefry_is_jax_s_own(k0, k1, c0, c1):
    args = [jnp.full(1, word, jnp.uint32) for word in (k0, k1, c0, c1)]
    expected = threefry2x32_p.bind(*args)
    assert [int(x[0]) for x in threefry(tuple(args[:2]), tuple(args[2:]))] == [
        int(x[0]) for x in expected
    ]


def test_threefry_matches_the_published_vectors():
    """Known-answer tests of Random123 (Salmon et al. 2011) for Threefry-2x32 with 20 rounds."""
    full = 0xFFFFFFFF
    for key, counter, out in (
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((full, full), (full, full), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ):
        pair = threefry(tuple(map(jnp.uint32, key)), tuple(map(jnp.uint32, counter)))
        assert (int(pair[0]), int(pair[1])) == out


@given(st.integers(0, 2**63 - 1))
def test_ids_and_seeds_are_split_without_loss(number):
    high, low = split_ids(np.array([number]))
    assert (int(high[0]) << 32) + int(low[0]) == number
    high, low = seed_halves(number)
    assert (int(high) << 32) + int(low) == number


@pytest.mark.parametrize("count", [1, 2, 3, 5, 14, 15, 31])
def test_an_agents_draws_depend_on_its_id_alone(count):
    """Few draws are laid out otherwise than many."""
    seed = seed_halves(7)
    ids = np.array([0, 1, 5, 2**31, 2**32, 2**33 + 1, 2**62], np.int64)
    together = np.asarray(words(seed, split_ids(ids), Stream.LEVEL, count))
    assert together.shape == (len(ids), count)
    for i, one in enumerate(ids):
        alone = np.asarray(words(seed, split_ids(np.array([one])), Stream.LEVEL, count))
        np.testing.assert_array_equal(alone[0], together[i])
        key = threefry(seed, split_ids(np.array(one)))
        half = -(-count // 2)
        pair = threefry(key, (jnp.uint32(Stream.LEVEL), jnp.arange(half, dtype=jnp.uint32)))
        np.testing.assert_array_equal(alone[0], np.concatenate(pair)[:count])


def test_seeds_streams_and_ids_give_different_draws():
    ids = np.arange(2000)
    drawn = [
        np.asarray(words(seed_halves(seed), split_ids(part), stream, 4)).ravel()
        for seed in (0, 1, 2**32)
        for stream in Stream
        for part in (ids, ids + 2**32)
    ]
    # 192,000 words of 32 bits: 4.3 equal pairs are expected among them, and 40 have chance 1e-25.
    every = np.concatenate(drawn)
    assert len(every) - len(np.unique(every)) < 40


def test_every_bit_is_fair():
    """Each bit of each of 8 draws is 1 for half of the agents: binomial, over 8 * 32 tests."""
    n, count, bits = 20_000, 8, 32
    drawn = np.asarray(words(seed_halves(3), split_ids(np.arange(n)), Stream.LEVEL, count))
    ones = np.array([[(column >> bit & 1).sum() for bit in range(bits)] for column in drawn.T])
    far = stats.norm.isf(ALPHA / (2 * count * bits)) * np.sqrt(n / 4)
    assert np.abs(ones - n / 2).max() < far


def test_draws_of_one_agent_are_uncorrelated():
    """Correlation of independent draws has standard deviation 1 / sqrt(n)."""
    n, count = 20_000, 6
    drawn = np.asarray(words(seed_halves(3), split_ids(np.arange(n)), Stream.LEVEL, count))
    r = np.corrcoef(drawn.T.astype(float))[np.triu_indices(count, 1)]
    assert np.abs(r).max() < stats.norm.isf(ALPHA / (2 * len(r))) / np.sqrt(n)


def test_uniform_is_strictly_inside_and_evenly_spread():
    ends = uniform(jnp.array([0, 2**32 - 1], jnp.uint32))
    assert 0 < float(ends[0]) < float(ends[1]) < 1
    drawn = words(seed_halves(0), split_ids(np.arange(50_000)), Stream.SCORE, 1)
    assert stats.kstest(np.asarray(uniform(drawn))[:, 0], "uniform").pvalue > ALPHA


def test_normal_numbers_are_normal():
    ends = np.asarray(normal(jnp.array([0, 2**32 - 1], jnp.uint32)))
    np.testing.assert_allclose(ends, stats.norm.ppf([2.0**-24, 1 - 2.0**-24]), rtol=1e-5)
    every = np.arange(2**12, 2**32, 2**13, dtype=np.uint32)
    # float32 has 2**-24 of 1: in the middle of the range that is all that is off.
    gap = stats.norm.cdf(np.asarray(normal(jnp.asarray(every)), float)) - (every / 2**32)
    assert np.abs(gap).max() < 2.0**-20


def test_a_block_is_traced_once():
    traces = 0

    @jax.jit
    def draw(ids):
        nonlocal traces
        traces += 1
        return words(seed_halves(0), ids, Stream.LEVEL, 5)

    for start in range(0, 64, 16):
        draw(split_ids(start + np.arange(16)))
    assert traces == 1
