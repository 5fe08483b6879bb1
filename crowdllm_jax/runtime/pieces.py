"""Long computations in pieces of about a second, between which a request to stop is heeded.

A compiled program cannot be interrupted, and whoever sends SIGTERM soon sends SIGKILL (schedulers
give a minute or less). So a fit goes piece by piece, and looks after each whether it was asked to
stop. Of several processes that share a fit all stop after the same piece, whichever was asked: they
save their state together. Those that have fits of their own each stop after their present piece.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NamedTuple

from crowdllm_jax.runtime import handing_out, processes

PIECE = 1.0
"""Seconds that a piece should take."""

SAVED = 60.0
"""Seconds of work that may be lost where a process is killed without a word."""

FASTER = 8
"""How many times larger than the last a piece may be: the first ones also compile."""

LARGEST = 2**30


class Verdict(NamedTuple):
    """After a piece: whether to stop (once saved), and whether it is time to save."""

    stop: bool
    save: bool


class Pieces:
    """The pieces of one computation.

    Attributes:
      size: how much the next piece should do, in whatever the computation counts; the same in
        all processes. What is computed must not depend on it.
    """

    def __init__(self, held: list[object]) -> None:
        self.size = 1
        self._held = held
        self._began = self._saved = time.monotonic()

    def after(self, done: int) -> Verdict:
        """Tell that a piece has ended, and how much it did; sizes the next one.

        Raises:
          PeerError: another process has ended.
        """
        now = time.monotonic()
        size = done * PIECE / max(now - self._began, 1e-6)
        size = max(1, min(size, FASTER * self.size, LARGEST))
        stop = bool(self._held) or handing_out.others_stop()
        late = now - self._saved > SAVED
        if processes.size() > 1:
            told = processes.gather("a piece", (stop, late, size))
            stop, late = bool(told[:, 0].any()), bool(told[:, 1].any())
            size = float(told[:, 2].min())
        self.size, self._began = int(size), time.monotonic()
        if late:
            self._saved = self._began
        return Verdict(stop, late)

    def tell(self, report: Callable[..., None], *what: object) -> None:
        """Report something between two pieces. If that asks to stop (as a progress report may,
        with a KeyboardInterrupt), one process of several stops after the next, with the others."""
        try:
            report(*what)
        except KeyboardInterrupt as request:
            if processes.size() == 1:
                raise
            self._held.append(request)


@contextmanager
def in_pieces() -> Iterator[Pieces]:
    """Do something in pieces; requests to stop (Ctrl-C, SIGTERM) wait for the end of one.

    Whoever listens to these signals hears them as before, but the KeyboardInterrupt that they
    would raise in the midst of things is held back: `Pieces.after` tells of it, and so does the
    end of the block. A signal that ends the process without Python's doing still does.

    Raises:
      KeyboardInterrupt: at the end, where a request was held back.
    """
    held: list[object] = []
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if callable(handler):
                before[number] = handler
                signal.signal(number, _holding_back(handler, held))
    try:
        yield Pieces(held)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if held:
        raise KeyboardInterrupt


def _holding_back(
    handler: Callable[[int, FrameType | None], object], held: list[object]
) -> Callable[[int, FrameType | None], None]:
    def hear(number: int, frame: FrameType | None) -> None:
        try:
            handler(number, frame)
        except KeyboardInterrupt:
            held.append(number)

    return hear
