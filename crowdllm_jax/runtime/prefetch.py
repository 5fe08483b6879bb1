"""Work on the next items while the last ones are being used."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    work: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None
) -> Iterator[Result]:
    """work(item) for each item, in order, computed by threads up to `workers` items ahead.

    XLA lets go of Python while a program runs, so what surrounds it (recruiting, copying, whatever
    runs on one core) overlaps with the next one. The first item is worked on alone, so that what
    it compiles is there for the others.

    Args:
      workers: threads; as many as there are cores if None.
    """
    workers = cores() if workers is None else workers
    left = iter(items)
    for item in left:
        yield work(item)
        break
    pending: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for item in left:
            pending.append(pool.submit(work, item))
            if len(pending) > workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
