"""What several processes have counted comes together in the parts' order; here by a stand-in for
the network (`tests/runtime/test_processes.py` has a real one)."""

import numpy as np
import pytest

from crowdllm_jax.aggregate import share
from crowdllm_jax.runtime import processes


@pytest.fixture
def told(monkeypatch):
    """What `share`'s functions give where several processes each call one with its own."""

    def call(function, *of_each):
        sent: list[bytes] = []
        with monkeypatch.context() as patch:
            patch.setattr(processes, "size", lambda: len(of_each))
            patch.setattr(processes, "exchange", lambda _, data: sent.append(data) or [data])
            for own in of_each:
                function("a step", own)
            patch.setattr(processes, "exchange", lambda *_: sent)
            return function("a step", of_each[0])

    return call


@pytest.mark.parametrize("size", [1, 2, 3, 6, 8])
def test_parts_stand_in_their_order(told, size):
    """However many processes have taken turns at them; with more processes than parts, some have
    none."""
    parts = [(np.arange(part, dtype=np.float64), np.full((2, 1), part)) for part in range(6)]
    found = told(share.in_order, *(parts[rank::size] for rank in range(size)))
    assert len(found) == len(parts)
    for one, other in zip(found, parts, strict=True):
        for array, expected in zip(one, other, strict=True):
            np.testing.assert_array_equal(array, expected)
            assert array.dtype == expected.dtype


def test_whole_numbers_are_added_and_other_things_told_apart(told):
    one, two = (np.array([1, 2]), np.array([[5.0]])), (np.array([10, 20]), np.array([[0.5]]))
    numbers, others = told(share.added, one, two)
    assert numbers.tolist() == [11, 22]
    assert others.tolist() == [[5.5]]
    ballots = told(share.from_all, (np.zeros((0, 3), np.int16),), (np.ones((2, 3), np.int16),))
    assert [rows.shape for (rows,) in ballots] == [(0, 3), (2, 3)]
    assert [rows.dtype for (rows,) in ballots] == [np.int16, np.int16]
