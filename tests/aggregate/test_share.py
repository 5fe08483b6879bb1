"""What several processes have counted comes together in the parts' order; here by a stand-in for
the network (`tests/runtime/test_processes.py` has a real one)."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from crowdllm_jax.aggregate import share
from crowdllm_jax.runtime import processes


@pytest.fixture
def told(monkeypatch):
    """What `share`'s functions give where several processes, here threads, each call one with its
    own; the same to all of them."""

    def call(function, *of_each):
        size, here = len(of_each), threading.local()
        sent, all_there = [b""] * size, threading.Barrier(size, timeout=10)

        def exchange(_, data):
            sent[here.rank] = data
            all_there.wait()
            told = list(sent)
            all_there.wait()
            return told

        def one(rank):
            here.rank = rank
            return list(function("a step", of_each[rank]))

        with monkeypatch.context() as patch, ThreadPoolExecutor(size) as threads:
            patch.setattr(processes, "size", lambda: size)
            patch.setattr(processes, "exchange", exchange)
            found = list(threads.map(one, range(size)))
        for other in found[1:]:
            assert [str(arrays) for arrays in other] == [str(arrays) for arrays in found[0]]
        return found[0]

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
