"""Pieces that several processes take as they come to them, and what comes together of them; here by
a stand-in for the network (`tests/runtime/test_processes.py` has a real one)."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from crowdllm_jax.runtime import counting, processes


@pytest.fixture
def told(monkeypatch):
    """What `work` gives where several processes, here threads, each call it with their own rank;
    the same to all of them."""

    def call(work, size):
        sent, all_there, here = [b""] * size, threading.Barrier(size, timeout=10), threading.local()
        queue = itertools.count()

        def exchange(_, data):
            sent[here.rank] = data
            all_there.wait()
            told = list(sent)
            all_there.wait()
            return told

        def one(rank):
            here.rank = rank
            return list(work(rank))

        with monkeypatch.context() as patch, ThreadPoolExecutor(size) as threads:
            patch.setattr(processes, "size", lambda: size)
            patch.setattr(processes, "exchange", exchange)
            patch.setattr(processes, "next_in", lambda _: next(queue))
            found = list(threads.map(one, range(size)))
        for other in found[1:]:
            assert [str(arrays) for arrays in other] == [str(arrays) for arrays in found[0]]
        return found[0]

    return call


@pytest.mark.parametrize("together", [2, 64])
@pytest.mark.parametrize("size", [1, 2, 3, 6, 8])
def test_what_comes_of_pieces_stands_in_their_order(told, monkeypatch, size, together):
    """However many processes have made it, of whatever pieces; with more processes than pieces,
    some have none."""
    pieces = [(np.arange(piece, piece + 3.0), np.full((2, 1), piece)) for piece in range(6)]
    monkeypatch.setattr(counting, "ROUND", together)
    turns = np.random.default_rng(size).permutation(6).tolist()

    def work(rank):
        return counting.in_order("a", ((n, pieces[n]) for n in sorted(turns[rank::size])))

    found = told(work, size)
    assert len(found) == len(pieces)
    for one, other in zip(found, pieces, strict=True):
        for array, expected in zip(one, other, strict=True):
            np.testing.assert_array_equal(array, expected)
            assert array.dtype == expected.dtype


def test_a_slow_process_does_not_hold_its_share_of_all(told):
    """It has its first piece while the other one does all that are left."""
    pieces, made = "abcdef", ([], [])
    slow_has_one, the_others_are_made = threading.Event(), threading.Event()

    def work(rank):
        if rank == 0:
            assert slow_has_one.wait(10)
        for number, piece in counting.handed_out("a", pieces):
            if rank == 1:
                slow_has_one.set()
                assert the_others_are_made.wait(10)
            made[rank].append((number, (np.array(piece),)))
        the_others_are_made.set()
        return counting.in_order("b", made[rank])

    found = told(work, 2)
    assert [number for number, _ in made[1]] == [0]
    assert "".join(str(piece) for (piece,) in found) == pieces


def test_whole_numbers_are_added_and_other_things_told_apart(told):
    own = [(np.array([1, 2]), np.array([[5.0]])), (np.array([10, 20]), np.array([[0.5]]))]
    numbers, others = told(lambda rank: counting.added("a step", own[rank]), 2)
    assert numbers.tolist() == [11, 22]
    assert others.tolist() == [[5.5]]
    own = [(np.zeros((0, 3), np.int16),), (np.ones((2, 3), np.int16),)]
    ballots = told(lambda rank: counting.from_all("a step", own[rank]), 2)
    assert [rows.shape for (rows,) in ballots] == [(0, 3), (2, 3)]
    assert [rows.dtype for (rows,) in ballots] == [np.int16, np.int16]
