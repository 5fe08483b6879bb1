"""Levels four to a word: which draw answers which task, and a logistic quantile that is exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logit as exact_logit

from crowdllm_jax.model.levels import (
    MOST_CUTS,
    beyond,
    by_lane,
    count_words,
    draw_levels,
    logit,
    signed_ends,
    to_host,
    unpack,
)
from crowdllm_jax.runtime.randomness import Stream, seed_halves, split_ids, threefry

EVERY_DRAW = np.arange(2**16)


def draws_of(seed: int, ids: np.ndarray, tasks: int) -> np.ndarray:
    """(N, T) 16-bit draws, put together from the cipher: four of each block, low halves first."""
    key = threefry(seed_halves(seed), split_ids(ids))
    out = np.zeros((len(ids), -(-tasks // 4) * 4), np.int64)
    for block in range(out.shape[1] // 4):
        pair = threefry(key, (jnp.uint32(Stream.LEVEL), jnp.uint32(block)))
        for lane in range(4):
            word = np.asarray(pair[lane // 2], np.int64)
            out[:, 4 * block + lane] = (word >> 16 * (lane % 2)) & 0xFFFF
    return out[:, :tasks]


@pytest.mark.parametrize("cuts", [1, 4, MOST_CUTS, MOST_CUTS + 1, 200])
@pytest.mark.parametrize("tasks", [1, 4, 7, 9, 37])
def test_a_level_counts_the_ends_below_a_draw(tasks, cuts):
    """Against numpy, for every number of tasks a last block may hold, and both kinds of loop."""
    random = np.random.default_rng(tasks)
    end = random.integers(0, 2**16, (cuts, tasks))
    ids = np.array([0, 1, 77, 2**33])

    @jax.jit
    def draw(end):
        ends = by_lane(end)
        above = lambda lane, word: lambda k: (word >> 16) > ends[lane, k][None]  # noqa: E731
        return draw_levels(seed_halves(5), split_ids(ids), tasks, cuts, above)

    drawn = draw(jnp.asarray(end, jnp.uint32))
    expected = (draws_of(5, ids, tasks)[None] > end[:, None]).sum(0)
    np.testing.assert_array_equal(to_host(drawn, tasks), expected)
    np.testing.assert_array_equal(unpack(drawn, tasks), expected)


@pytest.mark.parametrize("agents", [1, 254, 255, 256, 1000])
def test_packed_levels_are_counted_exactly(agents):
    """Against numpy, levels to the highest a byte holds; stretches of 255 may not carry over."""
    random = np.random.default_rng(agents)
    answers = random.choice([0, 0, 0, 1, 2, 126, 127], (agents, 8)).astype(np.uint8)
    answers[:, 0] = 0
    counted = random.random(agents) < 0.8
    found = count_words(jnp.asarray(answers.view(np.uint32)), jnp.asarray(counted), 128)
    expected = [[(answers[counted, t] == k).sum() for k in range(128)] for t in range(8)]
    np.testing.assert_array_equal(found, expected)


def test_a_draw_lies_above_as_many_thresholds_as_its_number():
    """Every draw against the smallest, the largest and some thresholds, with both fillings below.

    Thresholds count from signed draws: the lowest draw is -32768, and counts as one more.
    """
    threshold = np.array([0, 1, 2, 777, 32767, 32768, 65534, 65535])
    rank = np.maximum((EVERY_DRAW + 32768) % 65536, 1)
    for low in (0, 1, 0xFFFF):
        word = jnp.asarray(EVERY_DRAW << 16 | low, jnp.uint32)
        found = beyond(word[:, None], signed_ends(jnp.asarray(threshold, jnp.uint16))[None])
        np.testing.assert_array_equal(found, rank[:, None] > threshold)


def test_the_logistic_quantile_is_exact_for_every_draw():
    share = (EVERY_DRAW + 0.5) / 2**16
    found = np.asarray(logit(jnp.asarray(EVERY_DRAW << 16, jnp.uint32)), np.float64)
    # The polynomial is off by 1.4e-6, and float32 rounds numbers up to 11.8 by up to 5e-7.
    assert np.abs(found - exact_logit(share)).max() < 2e-6
    assert (np.diff(found) > 0).all()
    assert np.abs(1 / (1 + np.exp(-found)) - share).max() < 2.0**-20
