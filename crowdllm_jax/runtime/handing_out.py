"""Independent pieces of work that several processes hand out among themselves.

Each takes the next piece that nobody has taken, so that a slow one does not hold its share of all.
They share a folder, and leave marks there:

    .tmp-taken-PIECE     the process that makes this file does that piece
    .tmp-stopped-RANK    that process was asked to stop, and has
    .tmp-failed-RANK     that process ends because of an error

Marks hold for one start of the processes: the next one sweeps them away, and takes anew what has
not been finished.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from crowdllm_jax.errors import PeerError
from crowdllm_jax.runtime import processes
from crowdllm_jax.runtime.progress import Progress

TAKEN, STOPPED, FAILED = ".tmp-taken-", ".tmp-stopped-", ".tmp-failed-"

POLL = 0.1
"""Seconds between two looks at what the others have done."""

FAREWELL = 6.0
"""Seconds in which those who are told to stop should have come to the end of a piece."""

_marks: list[Path] = []
"""The folder of the marks, while this process works apart from the others."""


def take(folder: Path, piece: str) -> bool:
    """Whether a piece of work is this process's to do: no other one has taken it."""
    if processes.size() > 1:
        try:
            (folder / f"{TAKEN}{piece}").touch(exist_ok=False)
        except FileExistsError:
            return False
    return True


def sweep(folder: Path) -> None:
    """Take away the marks of an earlier start; before anything is taken, by one process."""
    for kind in (TAKEN, STOPPED, FAILED):
        for mark in folder.glob(f"{kind}*"):
            mark.unlink(missing_ok=True)


@contextmanager
def apart(folder: Path) -> Iterator[None]:
    """Work on different pieces, each process by itself (`processes.alone`). Where one is asked to
    stop, or fails, the others hear of it (`others_stop`) and stop, too.

    Raises:
      PeerError: this process has stopped because another has failed.
    """
    if processes.size() == 1:
        yield
        return
    _marks.append(folder)
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt)
        with suppress(OSError):  # a full disk
            (folder / f"{STOPPED if stopped else FAILED}{processes.rank()}").touch()
        _wait_to_leave(folder)
        if stopped and any(folder.glob(f"{FAILED}*")):
            raise PeerError("another process of this run has failed: see its message") from error
        raise
    finally:
        _marks.pop()


def others_stop() -> bool:
    """Whether another process of those that work apart has stopped or failed."""
    return any(_ended(folder) for folder in _marks)


def wait_for_all(done: Callable[[], int], total: int, progress: Progress, stage: str) -> None:
    """Wait until the pieces that others have taken are done as well.

    Args:
      done: how many are, of `total`.
    Raises:
      KeyboardInterrupt: another process has stopped.
    """
    while (count := done()) < total:
        if others_stop():
            raise KeyboardInterrupt
        progress(stage, count, total)
        time.sleep(POLL)
    if processes.size() > 1 and total:
        progress(stage, total, total)


def _ended(folder: Path) -> int:
    return sum(1 for kind in (STOPPED, FAILED) for _ in folder.glob(f"{kind}*"))


def _wait_to_leave(folder: Path) -> None:
    """Wait until all have stopped: JAX soon ends those whom another process leaves."""
    end = time.monotonic() + FAREWELL
    while _ended(folder) < processes.size() and time.monotonic() < end:
        time.sleep(POLL)
    if processes.rank() == 0:
        time.sleep(5 * POLL)  # it is the first whom the others miss at once
