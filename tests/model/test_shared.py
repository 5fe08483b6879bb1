"""What tasks of a scale have in common, held against a normal distribution worked out whole."""

import numpy as np
import pytest

from crowdllm_jax.model.persistent import shared
from crowdllm_jax.model.persistent.effects import TaskColumns
from crowdllm_jax.model.persistent.shared import shared_by_scales


def columns(scale: np.ndarray, known: np.ndarray, levelled: np.ndarray | None) -> TaskColumns:
    nothing = np.zeros((len(scale), 1), np.float32)
    return TaskColumns(scale, nothing, nothing, nothing, known, levelled=levelled)


def posteriors(random: np.random.Generator, noise: np.ndarray, dims: int = 1) -> tuple:
    """Means and deviations (T, dims) that answers with noise (T,) leave of numbers whose deviation
    is 1, such that the mean of all squares is 1 as it should be."""
    sd = np.repeat(noise / np.sqrt(1 + noise**2), dims).reshape(-1, dims)
    own = random.normal(size=sd.shape)
    return own * np.sqrt((1 - (sd**2).mean()) / (own**2).mean()), sd


@pytest.mark.parametrize("noise", [(1e-6,) * 4, (0.3, 0.5, 1.0, 2.0)])
def test_new_tasks_are_where_a_normal_distribution_has_them(monkeypatch, noise):
    """The conditional mean and variance given noisy answers, from the whole covariance matrix."""
    alike = 0.6
    monkeypatch.setattr(shared, "_correlation", lambda told: alike)
    scale = np.array([0, 0, 0, 1, 0, 1, 2, 2])
    old, noise = np.arange(8) < 4, np.array(noise)
    own, sd = np.zeros((8, 3)), np.ones((8, 3))
    own[old], sd[old] = posteriors(np.random.default_rng(0), noise, 3)
    expected, left = shared_by_scales(own, sd, columns(scale, 1.0 * old, np.zeros(8)))
    covariance = np.where(scale[:, None] == scale, alike, 0.0) + (1 - alike) * np.eye(8)
    answers = covariance[np.ix_(old, old)] + np.diag(noise**2)
    slope = np.linalg.solve(answers, covariance[np.ix_(old, ~old)]).T
    told = own[old] * (1 + noise**2)[:, None]
    np.testing.assert_allclose(expected[~old], slope @ told, atol=1e-9)
    variance = 1 - (slope * covariance[np.ix_(~old, old)]).sum(1)
    np.testing.assert_allclose(left[~old] ** 2, variance, atol=1e-9)
    assert not expected[old].any()
    assert (left[old] == 1).all()


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_how_alike_tasks_are_is_found(noise):
    """1,000 scales of three tasks, correlated .5, which answers tell exactly or with as much noise
    as they differ by. The product of two tasks' answers over two numbers has a variance of at most
    (.5**2 + (1 + noise**2)**2) / 2, and three of them are no worse than one of them, so that the
    mean of 1,000 scales is good to sqrt(4.25 / 2 / 1000) = .046; within 3."""
    random = np.random.default_rng(1)
    scale = np.repeat(np.arange(1000), 3)
    own = np.sqrt(0.5) * (random.normal(size=(1000, 2))[scale] + random.normal(size=(3000, 2)))
    told = (own + noise * random.normal(size=own.shape)) / (1 + noise**2)
    sd = np.full(own.shape, noise / np.sqrt(1 + noise**2)).clip(1e-9)
    found = shared._correlation(shared._known(told, sd, scale))
    assert found == pytest.approx(0.5, abs=0.14)
    by_hand = np.mean([told[a] @ told[b] / 2 for s in range(1000) for a, b in pairs_of(3 * s)])
    variance, drawn = (told**2 + sd**2).mean(), 1 - (sd**2).mean() / (told**2 + sd**2).mean()
    whole = 3000 * by_hand / variance + shared.PAIRS * shared.USUAL
    assert found == pytest.approx(whole / (3000 * drawn**2 + shared.PAIRS))


def test_levels_that_a_scale_does_not_have_count_for_nothing():
    """One scale of two levels beside two of four, whose second two are as the first."""
    scale, known = np.repeat([0, 1, 2], 3), np.tile([1.0, 1, 0], 3)
    own, sd = posteriors(np.random.default_rng(2), np.full(9, 0.5), 2)
    own[known == 0] = 0
    expected, left = shared_by_scales(own, sd, columns(scale, known, np.zeros(9)))
    wide = [
        np.concatenate([one, np.where(scale[:, None] > 0, one, 0)], axis=1) for one in (own, sd)
    ]
    padded, as_far = shared_by_scales(*wide, columns(scale, known, np.zeros(9)))
    np.testing.assert_allclose(padded[:, :2], expected, atol=1e-12)
    np.testing.assert_allclose(as_far, left, atol=1e-12)
    assert not padded[scale == 0, 2:].any()
    assert expected.any()


def pairs_of(first: int) -> list[tuple[int, int]]:
    return [(first, first + 1), (first, first + 2), (first + 1, first + 2)]


def test_without_pairs_the_usual_is_taken():
    told = shared._known(np.ones((4, 2)), np.full((4, 2), 0.1), np.arange(4))
    assert shared._correlation(told) == shared.USUAL


def test_scales_with_levels_of_their_own_are_left_alone():
    scale, known, own = np.array([0, 0, 1, 1]), np.array([1.0, 0, 1, 0]), np.eye(4)
    sd = np.full((4, 4), 0.1)
    for levelled in (None, np.ones(4)):
        expected, left = shared_by_scales(own, sd, columns(scale, known, levelled))
        assert not expected.any()
        assert (left == 1).all()
    expected, left = shared_by_scales(own, sd, columns(scale, known, np.array([1.0, 1, 0, 0])))
    assert expected[3].any()
    assert not expected[:3].any()
    assert left[1] == 1 > left[3]
