"""Counting by several processes: each takes the next piece that nobody has taken, and what all have
counted is added up.

What comes out is the same to the last bit, however many they are and whoever took what: whole
numbers may be added up in any order, and other sums are added piece by piece, in the pieces' order.
All go through the same passes, one after the other; who has no piece left waits where the sums come
together.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import TypeVar

import numpy as np

from crowdllm_jax.runtime import processes

Arrays = tuple[np.ndarray, ...]
Piece = TypeVar("Piece")

ROUND = 64
"""Pieces after which processes tell each other what they have made of them."""

_passes = count()
"""Numbers the passes of several processes, for each of which they have a queue."""


def handed_out(step: str, pieces: Sequence[Piece]) -> Iterator[tuple[int, Piece]]:
    """The pieces that are this process's, each with its number, as it comes to them; a slow process
    does not hold its share of all.

    Raises:
      PeerError: another process has ended.
    """
    if processes.size() == 1:
        yield from enumerate(pieces)
        return
    queue = f"{step} {next(_passes)}"
    while (number := processes.next_in(queue)) < len(pieces):
        yield number, pieces[number]


def added(step: str, numbers: Arrays) -> Arrays:
    """The sums over all processes of whole numbers (or of what one process alone has).

    Raises:
      PeerError: another process has ended.
    """
    several = from_all(step, numbers)
    return tuple(np.sum(np.stack(each), axis=0) for each in zip(*several, strict=True))


def in_order(step: str, own: Iterable[tuple[int, Arrays]]) -> Iterator[Arrays]:
    """What all processes make of their pieces, in the order of the pieces' numbers; memory holds
    what is made of ROUND pieces, however many there are.

    Args:
      own: the number of each of this process's pieces (see `handed_out`), ascending, and arrays,
        whose shapes are the same for all pieces.
    Raises:
      PeerError: another process has ended.
    """
    if processes.size() == 1:
        yield from (arrays for _, arrays in own)
        return
    left = iter(own)
    made, end, more = next(left, None), 0, True
    while more:
        end += ROUND
        kept = {}
        while made is not None and made[0] < end:
            kept[made[0]] = made[1]
            made = next(left, None)
        stacked = (np.stack(column) for column in zip(*kept.values(), strict=True))
        told = from_all(step, (np.array([*kept], np.int64), np.array(made is not None), *stacked))
        more = any(not_done for _, not_done, *_ in told)
        of_all: dict[int, Arrays] = {}
        for numbers, _, *stacks in told:
            of_all |= zip(numbers.tolist(), zip(*stacks, strict=True), strict=True)
        yield from (of_all[number] for number in sorted(of_all))


def from_all(step: str, arrays: Arrays) -> list[Arrays]:
    """Some arrays of each process, process by process; their shapes may differ.

    Raises:
      PeerError: another process has ended.
    """
    if processes.size() == 1:
        return [arrays]
    sink = io.BytesIO()
    np.savez(sink, *arrays)
    several = []
    for told in processes.exchange(step, sink.getvalue()):
        with np.load(io.BytesIO(told)) as stored:
            several.append(tuple(stored[f"arr_{i}"] for i in range(len(stored.files))))
    return several
