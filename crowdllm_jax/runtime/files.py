"""Files that appear whole or not at all, and the folders that belong to one run or population."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crowdllm_jax.errors import CrowdError


def write_whole(path: Path, data: bytes) -> None:
    """Write a small file so that it appears whole or not at all."""
    temporary = path.with_name(f".tmp-{path.name}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):  # a disk that is full, or no longer there
            temporary.unlink(missing_ok=True)
        raise CrowdError(f"{path}: cannot be written: {error.strerror or error}") from error


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a table whole or not at all, in a folder that is made if it is not there."""
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CrowdError(f"{path}: cannot be written: {error.strerror or error}") from error
    write_whole(path, buffer.getvalue().to_pybytes())


def about(path: Path) -> dict[str, Any]:
    """What a table that was written here says of itself; empty of any other file."""
    try:
        told = json.loads((pq.read_schema(path).metadata or {}).get(b"crowdllm", b"{}"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def vectors(rows: np.ndarray) -> pa.Array:
    """The rows of a matrix as a column of lists of float32."""
    flat = pa.array(rows.astype(np.float32).ravel())
    offsets = pa.array(np.arange(0, len(flat) + 1, rows.shape[1]), pa.int32())
    return pa.ListArray.from_arrays(offsets, flat)


def make_folder(folder: Path, what: str, mark: str, before_mark: tuple[str, ...] = ()) -> None:
    """Make a folder for a run or a population, or make sure that it is one.

    Args:
      mark: the file by which the folder is known; it is written first, but for the files in
        `before_mark`.
    Raises:
      CrowdError: something else lies there, or the folder cannot be made.
    """
    if folder.exists() and not folder.is_dir():
        raise CrowdError(f"{folder}: is a file; give --out another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A run killed at its very beginning leaves a file that is not yet whole.
        begun = {mark, f".tmp-{mark}", *before_mark}
        foreign = not (folder / mark).exists() and any(
            p.name not in begun for p in folder.iterdir()
        )
    except OSError as error:
        raise CrowdError(f"{folder}: cannot be used: {error.strerror}") from error
    if foreign:
        raise CrowdError(
            f"{folder}: is not empty and holds no {what}; nothing was written. Give --out another "
            "folder"
        )


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Fill a new folder that appears whole or not at all: gives the hidden one to write into.

    Raises:
      CrowdError: the folder holds something, or the disk does not take it.
    """
    try:
        check_new(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        hidden = folder.parent / f".tmp-{folder.absolute().name}"
        shutil.rmtree(hidden, ignore_errors=True)
        hidden.mkdir()
        try:
            yield hidden
            hidden.rename(folder)
            sync_folder(folder.parent)
        finally:
            shutil.rmtree(hidden, ignore_errors=True)
    except OSError as error:
        raise CrowdError(f"{folder}: cannot be written: {error.strerror or error}") from error


def check_new(folder: Path) -> None:
    """Raise CrowdError if a folder that is to be made holds something; asked before long work."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CrowdError(
            f"{folder}: is there already; nothing was written. Give --out another folder"
        )


def sync_folder(folder: Path) -> None:
    """Make sure that names which appeared in a folder outlive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
