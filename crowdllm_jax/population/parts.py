"""Work that is written in parts, into a folder that survives being killed.

`plan.json` says what is being written; whoever goes on must mean the same. A part's files appear
whole or not at all and carry the plan's identity, so that a resumed run keeps the parts that are
there and makes the others. Several processes (`runtime.processes`) each take the next parts that
nobody has taken, so that a slow one does not hold its share of all.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime import handing_out, processes
from crowdllm_jax.runtime.files import make_folder, sync_folder, write_whole

BATCH = 1_000_000
"""Rows that are read at once to see whether a file is whole."""


class Part(NamedTuple):
    """Some of all agents (or people), and the files that hold what is made of them."""

    first: int
    size: int
    names: tuple[str, ...]


def parts_of(total: int, per_part: int, names: Callable[[int], tuple[str, ...]]) -> list[Part]:
    """The parts of so many agents, the last with the rest; names: of the files of each number."""
    return [
        Part(first, min(per_part, total - first), names(number))
        for number, first in enumerate(range(0, total, per_part))
    ]


def identity_of(plan: dict[str, Any]) -> str:
    """What a part's files say of the plan that they belong to."""
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()


def meta_of(part: Part, identity: str) -> dict[str, str]:
    """What the Parquet files of a part say of themselves."""
    return {
        "crowdllm.plan": identity,
        "crowdllm.start": str(part.first),
        "crowdllm.count": str(part.size),
        "crowdllm.synthetic": "true",
    }


def adopt(folder: Path, plan: dict[str, Any], what: str) -> None:
    """Make the folder, or make sure that it holds this very plan's parts; by the first process,
    before the others look into it."""
    path = folder / "plan.json"
    make_folder(folder, what, path.name)
    if path.exists():
        check_plan(folder, plan, what)
    else:
        write_whole(path, json.dumps(plan, indent=1).encode())
    sweep(folder)


def sweep(folder: Path) -> None:
    """Take away what was half written, and the marks of who has taken what."""
    for left in folder.glob(".tmp-*"):
        left.unlink()


def changed(folder: Path, plan: dict[str, Any]) -> list[str]:
    """In what a plan differs from the one of which the folder holds parts.

    Raises:
      CrowdError: that one cannot be read.
    """
    path = folder / "plan.json"
    try:
        written = msgspec.json.decode(path.read_bytes(), type=dict[str, object])
    except (OSError, msgspec.MsgspecError) as error:
        raise CrowdError(f"{path}: cannot be read ({error}); write to another folder") from error
    keys = [key for key in {**written, **plan} if written.get(key) != plan.get(key)]
    # Agents of others come of another crowd for that reason alone, which need not be told, too.
    return [key for key in keys if key != "crowd" or not {"where", "margins"} & {*keys}]


def check_plan(folder: Path, plan: dict[str, Any], what: str) -> None:
    """Make sure that the folder holds parts of this very plan.

    Raises:
      CrowdError: it is another one's.
    """
    if keys := changed(folder, plan):
        raise CrowdError(
            f"{folder}: holds another {what} (differs in {', '.join(keys)}); "
            "write to another folder"
        )


def taken(folder: Path, parts: Sequence[Part], identity: str) -> Iterator[Part]:
    """The parts that are this process's to make, as it comes to them."""
    for number, part in enumerate(parts):
        if handing_out.take(folder, f"{number:05d}") and not is_written(folder, part, identity):
            yield part


def is_written(folder: Path, part: Part, identity: str) -> bool:
    """Whether all files of a part stand there whole, from this very plan."""
    wanted = meta_of(part, identity)
    return all(_is_whole(folder / name, wanted) for name in part.names)


def _is_whole(path: Path, wanted: dict[str, str]) -> bool:
    """Whether a Parquet file can be read to its end, and says this of itself."""
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        meta = file.metadata.metadata or {}
        if any(meta.get(key.encode()) != value.encode() for key, value in wanted.items()):
            return False
        for _ in file.iter_batches(BATCH):
            pass  # a page that has changed raises
    except (OSError, pa.ArrowException):
        return False
    return True


def hidden(name: str) -> str:
    """What a file is called while it is written."""
    return f".tmp-{name}"


def appear(folder: Path, names: Sequence[str]) -> None:
    """Give files that were written under their hidden names their own."""
    for name in names:
        with (folder / hidden(name)).open("rb+") as file:
            os.fsync(file.fileno())
        (folder / hidden(name)).rename(folder / name)
    sync_folder(folder)


def progress_in(folder: Path, parts: Sequence[Part]) -> tuple[int, int]:
    """How many agents stand in the folder, whoever wrote them, and how many shall."""
    there = {path.name for path in folder.glob("*.parquet")}
    done = sum(part.size for part in parts if part.names[-1] in there)
    return done, sum(part.size for part in parts)


def check_shared(folder: Path, parts: Sequence[Part]) -> None:
    """Make sure that what other processes wrote is here.

    Raises:
      CrowdError: it is not.
    """
    if processes.size() == 1:
        return
    absent = [name for part in parts for name in part.names if not (folder / name).is_file()]
    if absent:
        raise CrowdError(
            f"{folder / absent[0]}: another process wrote it, but it is not here; "
            "give --out a folder that all machines share"
        )


@contextmanager
def to_be_continued(folder: Path, names: Sequence[str] = ()) -> Iterator[None]:
    """Where the disk takes no more: take away what was half written of these files (others may be
    another process's), and say how to go on."""
    try:
        yield
    except OSError as error:
        for name in names:
            (folder / hidden(name)).unlink(missing_ok=True)
        raise CrowdError(
            f"{folder}: cannot be written: {error.strerror or error}; what is whole "
            "stays, so the same command continues there"
        ) from error
