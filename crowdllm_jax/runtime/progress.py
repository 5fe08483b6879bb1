"""How library code tells how far it has come; what is made of it is the caller's business."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str, int, int], None]
"""Called with a stage's name, how much of it is done, and how much there is. A figure that changes
as it goes, such as a loss, stands in brackets behind the name (see `name_of`)."""


def silent(stage: str, done: int, total: int) -> None:
    """The progress that reports nothing."""


READ = "read the study"
"""A stage that many commands have."""


@contextmanager
def stage(progress: Progress, name: str) -> Iterator[None]:
    """A stage that is done as a whole."""
    progress(name, 0, 1)
    yield
    progress(name, 1, 1)


def name_of(stage: str) -> str:
    """What a stage is called throughout."""
    return stage.split(" (loss")[0]
