"""From scores to answers: exact level chances, and ballots that always keep their rule."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import norm

from crowdllm_jax.model.response import (
    level_dtype,
    nearest_level,
    score_cuts,
    thresholds,
)
from crowdllm_jax.model.scales.kinds import fill_ballots
from crowdllm_jax.study import scales
from crowdllm_jax.study.scales import Approval, Continuous, KApproval, Ordinal, Points, Ranking

EVERY_DRAW = np.arange(2**16)


def level_of(draw: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """(D, T) levels of draws (D,) under thresholds (K - 1, T), as `thresholds` says."""
    above = np.maximum(draw, 1)[:, None] > np.asarray(threshold, int)[:, None]
    return above.sum(0)


@pytest.mark.parametrize("mean", [-3.0, -0.2, 0.1, 0.37, 0.5, 0.99, 4.0])
@pytest.mark.parametrize("sd", [0.0, 0.01, 0.3, 2.0])
@pytest.mark.parametrize("k", [2, 3, 5, 11])
def test_level_chances_are_exact_to_one_draw_in_65536(mean, sd, k):
    scale = Ordinal(levels=tuple(range(k)))
    cut = score_cuts(scale)
    threshold = thresholds(
        jnp.full((1, 1), mean), jnp.full((1, 1), sd), jnp.asarray(cut, jnp.float32)[:, None]
    )
    level = level_of(EVERY_DRAW, threshold[:, 0])
    count = np.bincount(level[:, 0], minlength=k)
    edges = np.concatenate([[-np.inf], cut, [np.inf]])
    chance = np.diff(norm.cdf((edges - mean) / max(sd, 1e-9)))
    # Both ends of a level are rounded to a whole number of draws, and draw 0 counts as draw 1: the
    # count is off by half a draw at each end and by float32's error of the normal CDF.
    assert np.abs(count - chance * 2**16).max() <= 1.1
    # Below a quarter of a draw both ends round to the same number (or nearly so).
    assert not count[chance < 2.0**-24].any(), "an impossible level was drawn"


def test_tasks_with_fewer_levels_never_draw_beyond_them():
    cut = np.full((4, 2), np.inf, np.float32)
    cut[:, 0], cut[:1, 1] = score_cuts(Ordinal(levels=(1, 2, 3, 4, 5))), score_cuts(Approval())
    for mean in (0.5, 5.0):
        threshold = thresholds(jnp.full((1, 2), mean), jnp.full((1, 2), 0.4), jnp.asarray(cut))
        assert level_of(EVERY_DRAW, threshold[:, 0]).max(0).tolist() == [4, 1]


def test_cuts_lie_halfway_between_uneven_levels():
    scale = Ordinal(levels=(0, 1, 10))
    np.testing.assert_allclose(score_cuts(scale), [0.05, 0.55])
    score = jnp.array([-1.0, 0.04, 0.06, 0.54, 0.56, 2.0])
    assert nearest_level(scale, score).tolist() == [0, 0, 1, 1, 2, 2]


SCORES = hnp.arrays(
    np.float32,
    # Two shapes: each is compiled anew.
    st.sampled_from([(4, 3), (3, 8)]),
    # Ties, values beyond the ends, and numbers that differ hugely in size.
    elements=st.one_of(
        st.sampled_from([0.0, 0.5, 1.0, -1.0]),
        st.floats(-1e6, 1e6, width=32, allow_subnormal=False),
    ),
)


@given(SCORES, st.integers(1, 3))
def test_k_approval_approves_the_k_highest(score, k):
    ballot = np.asarray(fill_ballots(KApproval(k=k), jnp.asarray(score)))
    assert set(np.unique(ballot)) <= {0, 1}
    assert (ballot.sum(1) == k).all()
    for row, own in zip(score, ballot, strict=True):
        assert row[own == 1].min() >= row[own == 0].max(initial=-np.inf)


@given(SCORES, st.integers(1, 3))
def test_rankings_give_each_rank_once_and_the_best_the_highest(score, k):
    ballot = np.asarray(fill_ballots(Ranking(k=k), jnp.asarray(score)))
    for row, own in zip(score, ballot, strict=True):
        assert sorted(own[own > 0]) == list(range(1, k + 1))
        assert (np.diff(row[np.argsort(-own, kind="stable")][: k + 1]) <= 0).all() or k == len(row)
    assert not scales.ballot_fault(Ranking(k=k), ballot.astype(int)).any()


@given(SCORES, st.integers(1, 1000))
def test_points_spend_the_whole_budget(score, budget):
    ballot = np.asarray(fill_ballots(Points(budget=budget), jnp.asarray(score)))
    assert (ballot >= 0).all()
    assert (ballot.sum(1) == budget).all()
    for row, own in zip(score, ballot, strict=True):
        if (row > 0).any():
            assert not own[row <= 0].any() or own[row <= 0].sum() <= len(row)
            order = np.argsort(row, kind="stable")
            # A higher score gets at most one point less (its remainder was smaller).
            assert (np.diff(own[order]) >= -1).all()
        else:
            assert own.max() == budget


def test_points_are_shared_in_proportion():
    ballot = fill_ballots(Points(budget=10), jnp.array([[0.5, 0.3, 0.2, -1.0], [1.0, 1, 1, 0]]))
    assert ballot.tolist() == [[5, 3, 2, 0], [4, 3, 3, 0]]


def test_the_smallest_type_that_fits():
    assert level_dtype((Approval(), Points(budget=100))) == np.int8
    assert level_dtype((Points(budget=1000),)) == np.int16
    assert level_dtype((Approval(), Continuous(low=0, high=1))) == np.float32
