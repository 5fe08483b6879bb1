"""What a command shows while it works: bars on a terminal, a log anywhere else."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from crowdllm_jax.runtime.progress import Progress, name_of, silent

EVERY = 60.0
"""Seconds between two lines about one stage."""


@contextmanager
def shown(err: Console, quiet: bool) -> Iterator[Progress]:
    """A progress that is shown on a console."""
    if quiet:
        yield silent
    elif err.is_interactive and err.file.isatty():
        with _bars(err) as report:
            yield report
    else:
        yield Log(lambda line: err.print(line, markup=False, soft_wrap=True))


@contextmanager
def _bars(err: Console) -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description:<28}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=err) as bars:
        rows: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int) -> None:
            name = name_of(stage)
            if name not in rows:
                rows[name] = bars.add_task(stage, total=total)
            bars.update(rows[name], description=stage, completed=done, total=total)

        yield report


@dataclass
class _Open:
    """A stage that goes on: when it began and was last reported (s), and where it began."""

    begun: float
    reported: float
    first: int


class Log:
    """A line when a stage begins, one when it ends, and one a minute between."""

    def __init__(
        self, say: Callable[[str], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Say each line to `say`; `clock` counts seconds."""
        self._say, self._clock = say, clock
        self._open: dict[str, _Open] = {}
        self._ended: set[str] = set()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Report progress; see `Progress`."""
        name, now, ended = name_of(stage), self._clock(), done >= total
        if name not in self._open:
            if ended and name in self._ended:
                return
            self._open[name] = _Open(now, now, done)
            self._line(name)
        stretch = self._open[name]
        if ended:
            del self._open[name]
            self._ended.add(name)
            self._line(f"{stage}: done in {duration(now - stretch.begun)}")
        elif now - stretch.reported >= EVERY:
            stretch.reported = now
            left = ""
            if done > stretch.first:
                rest = (now - stretch.begun) * (total - done) / (done - stretch.first)
                left = f", about {duration(rest)} left"
            self._line(f"{stage}: {done / total:.0%}{left}")

    def _line(self, text: str) -> None:
        self._say(f"{time.strftime('%H:%M:%S')} {text}")


def duration(seconds: float) -> str:
    """A length of time in the two units that matter."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    minutes, seconds = divmod(rounded, 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    return f"{minutes // 60} h {minutes % 60} min"
