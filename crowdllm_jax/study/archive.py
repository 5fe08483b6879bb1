"""Files that are compressed - in gzip, bzip2, xz, zstd, or alone in a ZIP archive - read as if they
were not."""

import bz2
import gzip
import lzma
import re
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, cast

import pyarrow as pa

from crowdllm_jax.errors import CrowdError, first_line

MAX_UNPACKED = 1_000_000_000
"""Bytes that a file may unpack to: a few kilobytes can claim terabytes."""
_PIECE = 1 << 24
_SUFFIXES = (".gz", ".bz2", ".xz", ".zst", ".zip")
_FAULTS = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
_TABLES = {
    *(".csv", ".tsv", ".tab", ".json", ".jsonl", ".ndjson", ".parquet", ".pq", ".xlsx", ".sav"),
    *(".zsav", ".por", ".dta", ".pb", ".soc", ".soi", ".toc", ".toi", ".cat"),
}
_DOCUMENTS = ({"[Content_Types].xml"}, {"mimetype", "content.xml"}, {"Index/Document.iwa"})
"""What an archive holds that a program writes as one file of its own: those of Microsoft, of
OpenDocument and of Apple."""


def bare_name(path: Path) -> str:
    """What a file is called without the mark of its compression: `a.csv` of `a.csv.gz`."""
    return path.stem if path.suffix.lower() in _SUFFIXES and path.stem else path.name


def _content(path: Path, head: bytes) -> AbstractContextManager[IO[bytes]] | None:
    """What a file of one compressed stream holds; None for others."""
    if head.startswith(b"\x1f\x8b"):
        return cast(AbstractContextManager[IO[bytes]], gzip.open(path))
    if head.startswith(b"BZh"):
        return bz2.open(path)
    if head.startswith(b"\xfd7zXZ"):
        return lzma.open(path)
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return cast(AbstractContextManager[IO[bytes]], pa.input_stream(str(path), "zstd"))
    return None


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A file as it is without its compression: itself, or a copy that is there as long as the
    context. Errors and warnings from within name the file that was given.

    Raises:
      CrowdError: it is cut off or damaged, encrypted, holds several tables, or more than
        `MAX_UNPACKED` bytes.
    """
    with path.open("rb") as file:
        head = file.read(6)
    stream = _content(path, head)
    if stream is None and not head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            if stream is None:
                plain = _from_zip(path, Path(folder))
            else:
                plain = Path(folder) / bare_name(path)
                with stream as content:
                    _copy(path, content, plain)
        except CrowdError:
            raise
        except _FAULTS as error:
            raise CrowdError(
                f"{path}: cannot be unpacked ({first_line(error)}); if it is cut off or damaged, "
                "fetch it again"
            ) from error
        with _told_of(path, plain) if plain != path else nullcontext():
            yield plain


def _from_zip(path: Path, folder: Path) -> Path:
    """The one table of an archive as a file; the archive itself, if it is a document."""
    with zipfile.ZipFile(path) as archive:
        held = [part for part in archive.infolist() if not part.is_dir()]
        if any(parts <= {part.filename for part in held} for parts in _DOCUMENTS):
            return path
        # macOS adds what it knows of each file.
        held = [p for p in held if not re.search(r"(^|/)(\.[^./]|__MACOSX/)", p.filename)]
        tables = [part for part in held if Path(part.filename).suffix.lower() in _TABLES] or held
        if len(tables) != 1:
            listed = ", ".join(part.filename for part in tables[:5])
            more = f" and {len(tables) - 5:,} more" if len(tables) > 5 else ""
            told = f"several files ({listed}{more})" if tables else "no file"
            raise CrowdError(
                f"{path}: is a ZIP archive that holds {told}; unpack it and name the one to be read"
            )
        part = tables[0]
        if part.flag_bits & 1:
            raise CrowdError(f"{path}: is encrypted; unpack it with its password")
        plain = folder / Path(part.filename).name
        try:
            with archive.open(part) as content:
                _copy(path, content, plain)
        except NotImplementedError as error:
            raise CrowdError(
                f"{path}: is compressed in a way that is not read ({first_line(error)}); unpack it"
            ) from error
    return plain


def _copy(path: Path, content: IO[bytes], plain: Path) -> None:
    """Write what a compressed file holds, piece by piece."""
    size = 0
    with plain.open("wb") as out:
        while piece := content.read(_PIECE):
            size += len(piece)
            if size > MAX_UNPACKED:
                raise CrowdError(
                    f"{path}: unpacks to more than {MAX_UNPACKED:,} bytes; if it is meant to, "
                    "unpack it and name what is in it"
                )
            out.write(piece)


@contextmanager
def _told_of(path: Path, plain: Path) -> Iterator[None]:
    """Let errors and warnings that name a copy name the file that it was made of."""

    def told(what: object) -> str:
        text = str(what).replace(str(plain), str(path))
        alone = rf"(?<![\w./-]){re.escape(plain.name)}(?![\w.])"
        return re.sub(alone, path.name.replace("\\", r"\\"), text) if plain.suffix else text

    caught: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    except CrowdError as error:
        error.args = (told(error),)
        raise
    finally:
        for warning in caught:
            warnings.warn(told(warning.message), warning.category, stacklevel=2)
