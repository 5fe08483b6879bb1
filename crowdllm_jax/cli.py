"""The `crowdllm` command.

Exit codes: 0 done, 1 our fault, 2 the user's input, 3 another process of the run has failed,
130 interrupted, 143 terminated.
"""

import argparse
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from crowdllm_jax.command_line import parser
from crowdllm_jax.commands import COMMANDS, Outcome
from crowdllm_jax.errors import CrowdError, CrowdWarning, PeerError

if TYPE_CHECKING:
    from crowdllm_jax.fitting import Progress as Report


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = parser().parse_args(argv)
    out, err = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False)
    several = getattr(arguments, "distributed", False)
    code = 0
    try:
        if several:
            out.quiet = arguments.quiet = not _join(arguments)
        with _warnings(err), _interruptible():
            with _progress(err, arguments.quiet) as progress:
                outcome = COMMANDS[arguments.command](arguments, progress)
            _show(out, outcome)
            if outcome.then is not None:
                _show(out, outcome.then())
    except CrowdError as error:
        err.print(f"crowdllm: {error}", style="bold red", markup=False, soft_wrap=True)
        code = 3 if isinstance(error, PeerError) else 2
    except KeyboardInterrupt:
        what, code = ("terminated", 143) if _stopped == [signal.SIGTERM] else ("interrupted", 130)
        # Studies leave nothing until they are done.
        again = "begins anew" if arguments.command == "study" else "continues"
        err.print(f"crowdllm: {what}; the same command {again}", style="bold red")
    except Exception:
        if not several:
            raise
        err.print_exception()
        code = 1
    if several and code:
        # Taking leave of the others, as JAX does at exit, would wait for those that hang.
        sys.stdout.flush()
        os._exit(code)
    return code


def _join(arguments: argparse.Namespace) -> bool:
    """Become one of several processes; whether it is the first, which speaks for all."""
    from crowdllm_jax import cluster

    cluster.join(arguments.coordinator, arguments.processes, arguments.process, arguments.wait)
    return cluster.rank() == 0


_stopped: list[int] = []
"""The signal that asked to stop, once one has."""


@contextmanager
def _interruptible() -> Iterator[None]:
    """Make sure that Ctrl-C, and a scheduler's request to end, are heeded.

    A KeyboardInterrupt that is raised inside a callback of a library (a checkpoint being written,
    an array being freed) can be swallowed there, so the request is also noted, and the next report
    of progress raises it again.
    """
    _stopped.clear()
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def note(number: int, frame: object) -> None:
        _stopped[:] = [number]
        raise KeyboardInterrupt

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
        if _stopped:
            raise KeyboardInterrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show(out: Console, outcome: Outcome) -> None:
    if outcome.text and outcome.table is None:
        out.print(outcome.text, markup=False)
    if outcome.table is not None:
        # A table cut at the terminal's edge would hide columns.
        wide = Console(width=max(out.width, 190), highlight=False, quiet=out.quiet)
        wide.print(outcome.table)
        if outcome.text:
            out.print(outcome.text, markup=False)
        if outcome.written:
            out.print()
    for what, path in outcome.written.items():
        out.print(f"{what:<11} {path}", markup=False)


@contextmanager
def _warnings(err: Console) -> Iterator[None]:
    """Show our own warnings as one line without a place in the code, and each of them once."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", CrowdWarning)
        usual, shown = warnings.showwarning, set()

        def show(message, category, *place, **more) -> None:  # type: ignore[no-untyped-def]
            if not issubclass(category, CrowdWarning):
                usual(message, category, *place, **more)
            elif str(message) not in shown:
                shown.add(str(message))
                err.print(f"warning: {message}", style="yellow", markup=False, soft_wrap=True)

        warnings.showwarning = show
        yield


@contextmanager
def _progress(err: Console, quiet: bool) -> Iterator["Report"]:
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, disable=quiet, transient=not err.is_terminal) as bar:
        rows: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int) -> None:
            if _stopped:
                raise KeyboardInterrupt
            # A stage's name may carry a figure in brackets that changes as it goes.
            key = stage.split(" (loss")[0]
            if key not in rows:
                rows[key] = bar.add_task(stage, total=total)
            bar.update(rows[key], description=stage, completed=done, total=total)

        yield report


if __name__ == "__main__":
    sys.exit(main())
