"""What tasks of a scale have in common, held against a normal distribution worked out whole."""

import numpy as np
import pytest

from crowdllm_jax.model.persistent import shared
from crowdllm_jax.model.persistent.effects import TaskColumns
from crowdllm_jax.model.persistent.shared import shared_by_scales


def columns(scale: np.ndarray, known: np.ndarray, levelled: np.ndarray | None) -> TaskColumns:
    nothing = np.zeros((len(scale), 1), np.float32)
    return TaskColumns(scale, nothing, nothing, nothing, known, levelled=levelled)


def test_new_tasks_are_where_a_normal_distribution_has_them(monkeypatch):
    """The conditional mean and variance, from the whole covariance matrix of a scale's tasks."""
    alike = 0.6
    monkeypatch.setattr(shared, "_correlation", lambda own, scale: alike)
    scale = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    known = np.array([1.0, 1, 1, 0, 1, 0, 0, 0])
    own = np.where(known[:, None] > 0, np.random.default_rng(0).normal(size=(8, 3)), 0.0)
    expected, left = shared_by_scales(own, columns(scale, known, np.zeros(8)))
    covariance = np.where(scale[:, None] == scale, alike, 0.0) + (1 - alike) * np.eye(8)
    old, new = known > 0, known == 0
    slope = np.linalg.solve(covariance[np.ix_(old, old)], covariance[np.ix_(old, new)]).T
    np.testing.assert_allclose(expected[new], slope @ own[old], atol=1e-12)
    variance = 1 - (slope * covariance[np.ix_(new, old)]).sum(1)
    np.testing.assert_allclose(left[new] ** 2, variance, atol=1e-12)
    assert not expected[old].any()
    assert (left[old] == 1).all()


def test_how_alike_tasks_are_is_found():
    """400 scales of three tasks, correlated .5: each scale's average product of two has a standard
    deviation of about sqrt((.5**2 + 1 + 2 * .5) / 3 / 2) = .6 over two numbers a task, so that of
    the 400 has one of .03; within 4."""
    random = np.random.default_rng(1)
    scale = np.repeat(np.arange(400), 3)
    own = np.sqrt(0.5) * (random.normal(size=(400, 2))[scale] + random.normal(size=(1200, 2)))
    found = shared._correlation(own, scale)
    assert found == pytest.approx(0.5, abs=0.12)
    by_hand = np.mean([own[a] @ own[b] for s in range(400) for a, b in pairs_of(3 * s)])
    whole = 1200 * by_hand / (own**2).sum(1).mean() + shared.PAIRS * shared.USUAL
    assert found == pytest.approx(whole / (1200 + shared.PAIRS))


def pairs_of(first: int) -> list[tuple[int, int]]:
    return [(first, first + 1), (first, first + 2), (first + 1, first + 2)]


def test_without_pairs_the_usual_is_taken():
    assert shared._correlation(np.ones((4, 2)), np.arange(4)) == shared.USUAL
    assert shared._correlation(np.zeros((4, 2)), np.arange(4)) == 0


def test_scales_with_levels_of_their_own_are_left_alone():
    scale, known, own = np.array([0, 0, 1, 1]), np.array([1.0, 0, 1, 0]), np.eye(4)
    for levelled in (None, np.ones(4)):
        expected, left = shared_by_scales(own, columns(scale, known, levelled))
        assert not expected.any()
        assert (left == 1).all()
    expected, left = shared_by_scales(own, columns(scale, known, np.array([1.0, 1, 0, 0])))
    assert expected[3].any()
    assert not expected[:3].any()
    assert left[1] == 1 > left[3]
