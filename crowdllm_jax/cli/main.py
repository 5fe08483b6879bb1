"""The `crowdllm` command.

Exit codes: 0 done, 1 our fault, 2 the user's input, 3 another process of the run has failed,
130 interrupted, 143 terminated.
"""

# What is slow to import is imported in the functions, where a request to stop is heeded already.
import argparse
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from crowdllm_jax.errors import CrowdError, CrowdWarning, PeerError

if TYPE_CHECKING:
    from rich.console import Console

    from crowdllm_jax.cli.outcome import Outcome
    from crowdllm_jax.runtime.progress import Progress


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    Args:
      argv: what stands behind `crowdllm`. None takes this process's own, and with it charge of the
        process: its streams, its environment and, at the end, its signals.
    """
    arguments = argparse.Namespace(command="")
    with _interruptible():
        try:
            if argv is None:
                from crowdllm_jax.cli.compiled import keep_compiled
                from crowdllm_jax.cli.console import hush, own_streams

                own_streams()
                hush()
                keep_compiled()
            from crowdllm_jax.cli.command_line import complete, parser

            if argv is None:
                complete()
            given = sys.argv[1:] if argv is None else argv
            parser().parse_args(given or ["--help"], arguments)
            _run(arguments)
            if _stopped:
                raise KeyboardInterrupt
            code = 0
        except BaseException as error:
            failure = _tell(error, arguments)
            if failure is None:
                raise
            code = failure
    several = getattr(arguments, "distributed", False)
    if (code and several) or (_stopped and argv is None):
        # Taking leave of the others, as JAX does at exit, would wait for those that hang; and what
        # still computes when Python ends can crash it.
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)
    if argv is None:
        # Whoever presses Ctrl-C while Python ends sees no traceback.
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
    return code


def _run(arguments: argparse.Namespace) -> None:
    from crowdllm_jax.cli.console import PlainConsole
    from crowdllm_jax.cli.display import shown

    out = PlainConsole(highlight=False, soft_wrap=True)
    err = PlainConsole(stderr=True, highlight=False)
    if getattr(arguments, "distributed", False):
        out.quiet = arguments.quiet = not _join(arguments)
    with _warnings(err):
        with shown(err, arguments.quiet) as progress:
            progress(START, 0, 1)
            outcome = arguments.handler(arguments, _heeding(progress))
        shows = _show_json if arguments.json else _show
        with _written():
            shows(out, outcome)
        if outcome.then is not None:
            ended = outcome.then()
            if not arguments.json:
                with _written():
                    _show(out, ended)


@contextmanager
def _written() -> Iterator[None]:
    """Raise CrowdError if what is printed cannot be written, as to a file on a full disk."""
    try:
        yield
    except OSError as error:
        # Nor could what is left of it, when Python ends.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise CrowdError(
            f"standard output cannot be written: {error.strerror}; files that were made are whole"
        ) from error


def _tell(error: BaseException, arguments: argparse.Namespace) -> int | None:
    """Say in a line why a command ends; returns the exit code, or None of what is our fault."""
    from crowdllm_jax.cli.console import PlainConsole

    err = PlainConsole(stderr=True, highlight=False, soft_wrap=True)
    # Libraries make other errors of an interruption that comes while they are imported.
    if _stopped or isinstance(error, KeyboardInterrupt):
        number = _stopped[0][0] if _stopped else signal.SIGINT
        ending = "terminated" if number == signal.SIGTERM else "interrupted"
        # Studies leave nothing until they are done.
        again = "begins anew" if arguments.command == "study" else "continues"
        err.print(f"crowdllm: {ending}; the same command {again}", style="bold red")
        return _SIGNALS[number]
    if isinstance(error, CrowdError):
        err.print(f"crowdllm: {error}", style="bold red", markup=False)
        return 3 if isinstance(error, PeerError) else 2
    if isinstance(error, UnicodeEncodeError) and error.encoding == sys.getfilesystemencoding():
        err.print(
            f"crowdllm: {error.object}: a file cannot be named so in this locale, whose "
            f"encoding is {error.encoding}; set PYTHONUTF8=1",
            style="bold red",
            markup=False,
        )
        return 2
    if isinstance(error, Exception) and getattr(arguments, "distributed", False):
        err.print_exception()
        return 1
    return None


START = "start"
"""The stage in which a command imports what it needs."""


def _heeding(progress: "Progress") -> "Progress":
    """The progress of a command, which ends its start and heeds a request to stop."""
    started = False

    def report(stage: str, done: int, total: int) -> None:
        nonlocal started
        if _stopped:
            raise KeyboardInterrupt
        if not started:
            progress(START, 1, 1)
            started = True
        progress(stage, done, total)

    return report


def _join(arguments: argparse.Namespace) -> bool:
    """Become one of several processes; whether it is the first, which speaks for all."""
    from crowdllm_jax.runtime import processes

    def alone() -> None:
        os.write(2, b"crowdllm: the other processes did not come in time; --wait waits longer\n")
        os._exit(3)

    # JAX, which would end the process where the first waits in vain, cannot be interrupted there.
    late = threading.Timer(arguments.wait + 3, alone)
    late.daemon = True
    late.start()
    try:
        processes.join(
            arguments.coordinator, arguments.processes, arguments.process, arguments.wait
        )
    finally:
        late.cancel()
    _listen()  # JAX has taken SIGTERM for itself
    return processes.rank() == 0


_SIGNALS: dict[int, int] = {signal.SIGINT: 130, signal.SIGTERM: 143}
"""Those that ask to stop, and the exit codes they lead to."""

_stopped: list[tuple[int, float]] = []
"""The signal that asked to stop, once one has, and when (s)."""

TWICE = 1.0
"""Seconds within which two signals are one request: `timeout` sends its signal twice."""


@contextmanager
def _interruptible() -> Iterator[None]:
    """Make sure that Ctrl-C, and a scheduler's request to end, are heeded.

    A KeyboardInterrupt that is raised inside a callback of a library (a checkpoint being written,
    an array being freed) can be swallowed there, so the request is also noted, and the next report
    of progress raises it again; where Python tells of it (`sys.unraisablehook`), it comes again in
    a moment.
    """
    _stopped.clear()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    usual = sys.unraisablehook

    def unraisable(event: "sys.UnraisableHookArgs") -> None:
        if _stopped and isinstance(event.exc_value, KeyboardInterrupt):
            threading.Timer(0.1, _ask_again).start()
        else:
            usual(event)

    sys.unraisablehook = unraisable
    _listen()
    try:
        yield
    finally:
        sys.unraisablehook = usual
        for number, handler in before.items():
            signal.signal(number, handler)


def _listen() -> None:
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            signal.signal(number, _note)


def _ask_again() -> None:
    number, _ = _stopped.pop()
    os.kill(os.getpid(), number)


def _note(number: int, _frame: object) -> None:
    now = time.monotonic()
    if not _stopped:
        _stopped.append((number, now))
        raise KeyboardInterrupt
    first, when = _stopped[0]
    # A scheduler asks again as soon as another process has ended, and kills those that do not end
    # in time; until then the rest is saved.
    if number == signal.SIGINT and now - when > TWICE:
        # Who presses Ctrl-C again does not wait for what is wound up; files are whole at any time.
        show_cursor = b"\x1b[?25h" if os.isatty(2) else b""
        os.write(2, show_cursor + b"crowdllm: ended at once\n")
        os._exit(_SIGNALS[first])


def _show_json(out: "Console", outcome: "Outcome") -> None:
    out.print(outcome.as_json, markup=False)


def _show(out: "Console", outcome: "Outcome") -> None:
    from crowdllm_jax.cli.console import PlainConsole
    from crowdllm_jax.cli.fitting import fitting

    if outcome.text and outcome.table is None:
        out.print(outcome.text, markup=False)
    if outcome.table is not None:
        hard = PlainConsole(width=out.width, highlight=False, quiet=out.quiet)
        for table in fitting(outcome.table, out.width):
            hard.print(table)
        if outcome.text:
            out.print(outcome.text, markup=False)
        if outcome.written:
            out.print()
    for heading, path in outcome.written.items():
        out.print(f"{heading:<11} {path}", markup=False)


@contextmanager
def _warnings(err: "Console") -> Iterator[None]:
    """Show our own warnings, and JAX's of the programs it keeps, as one line without a place in the
    code, and each of them once."""
    from crowdllm_jax.cli.compiled import told_of_cache

    with warnings.catch_warnings():
        warnings.simplefilter("always", CrowdWarning)
        usual, shown = warnings.showwarning, set()

        def show(message, category, *origin, **more) -> None:  # type: ignore[no-untyped-def]
            own = issubclass(category, CrowdWarning)
            told = str(message) if own else told_of_cache(str(message))
            if told is None:
                usual(message, category, *origin, **more)
            elif told not in shown:
                shown.add(told)
                err.print(f"warning: {told}", style="yellow", markup=False, soft_wrap=True)

        warnings.showwarning = show
        yield


if __name__ == "__main__":
    sys.exit(main())
