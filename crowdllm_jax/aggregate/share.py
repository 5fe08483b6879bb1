"""Counting by one process or several: each goes through its own parts of a population.

What comes out is the same to the last bit, however many they are: whole numbers may be added up in
any order, and other sums are added part by part, in the parts' order. People's answers are a single
part.
"""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from crowdllm_jax.population.read import Answers
from crowdllm_jax.runtime import processes

Pass = Callable[[], Iterator[np.ndarray]]
Arrays = tuple[np.ndarray, ...]


def own_parts(answers: Answers) -> Sequence[Pass]:
    """Passes over this process's parts of the answers."""
    return answers.passes[processes.rank() :: processes.size()]


def added(step: str, numbers: Arrays) -> Arrays:
    """The sums over all processes of whole numbers (or of what one process alone has).

    Raises:
      PeerError: another process has ended.
    """
    several = _exchanged(step, numbers)
    return tuple(np.sum(np.stack(each), axis=0) for each in zip(*several, strict=True))


def in_order(step: str, own: Iterable[Arrays]) -> Iterator[Arrays]:
    """What all processes make of each of their parts (see `own_parts`), in the parts' order, one
    part of every process at a time: memory does not grow with the parts.

    Args:
      own: at least one array of each part.
    Raises:
      PeerError: another process has ended.
    """
    left = iter(own)
    if processes.size() == 1:
        yield from left
        return
    while True:
        told = [arrays for arrays in _exchanged(step, next(left, ())) if arrays]
        yield from told
        if len(told) < processes.size():  # one of them has no part left
            return


def from_all(step: str, arrays: Arrays) -> list[Arrays]:
    """Some arrays of each process, process by process; their shapes may differ.

    Raises:
      PeerError: another process has ended.
    """
    return _exchanged(step, arrays)


def _exchanged(step: str, arrays: Arrays) -> list[Arrays]:
    if processes.size() == 1:
        return [arrays]
    sink = io.BytesIO()
    np.savez(sink, *arrays)
    several = []
    for told in processes.exchange(step, sink.getvalue()):
        with np.load(io.BytesIO(told)) as stored:
            several.append(tuple(stored[f"arr_{i}"] for i in range(len(stored.files))))
    return several
