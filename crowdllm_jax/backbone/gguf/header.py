"""What a GGUF file says about itself: metadata, and where its tensors lie.

Every count, length and offset of the header is checked against the file before it is believed, so
that a damaged or forged one costs neither memory nor time. (The reader of the `gguf` package
trusts them, and takes a minute for a vocabulary of 262,144 tokens; its tables of types are used.)
"""

import mmap
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from crowdllm_jax.errors import CrowdError

MAGIC = b"GGUF"
_LONGEST = 64 << 20  # bytes of a header; those of the largest vocabularies have a tenth
_MOST_DIMENSIONS = 4
_SCALARS = dict(enumerate(("B", "b", "H", "h", "I", "i", "f", "?"))) | {10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_SPLIT = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf")


@dataclass(frozen=True)
class TensorInfo:
    """Where a tensor lies: `kind` is the number of its type, `shape` has the rows first, and
    `bytes` of `path` begin at `offset`."""

    path: Path
    kind: int
    shape: tuple[int, ...]
    offset: int
    bytes: int


@dataclass(frozen=True)
class Header:
    """The metadata (of the first part, if there are several) and the tensors of all parts.

    Values are numbers, texts, lists of texts, and arrays of numbers.
    """

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, TensorInfo]


def is_gguf(path: Path) -> bool:
    """Whether the file begins as a GGUF file does, whatever its name (Ollama's have none)."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def parts_of(path: Path) -> list[Path]:
    """All files of a model of which `path` is one part, in order; most models have one."""
    match = _SPLIT.fullmatch(path.name)
    if match is None:
        return [path]
    stem, count = match[1], int(match[3])
    parts = []
    for i in range(1, count + 1):
        parts.append(path.with_name(f"{stem}-{i:05d}-of-{count:05d}.gguf"))
        if not parts[-1].is_file():
            raise CrowdError(f"{path}: part {i} of {count} is missing; put {parts[-1].name} beside")
    if not parts:
        raise CrowdError(f"{path}: a file of a model in 0 parts; use the name it was published by")
    return parts


def read_header(path: Path) -> Header:
    """Metadata and tensors of the model of which `path` is the file, or one of the files.

    Raises CrowdError naming the file: not GGUF, cut short, damaged, of a version or byte order that
    is not read, or one of its parts is missing.
    """
    first: Header | None = None
    parts = parts_of(path)
    for number, part in enumerate(parts):
        header = _read_part(part)
        said = (header.metadata.get("split.no", 0), header.metadata.get("split.count") or 1)
        if said != (number, len(parts)):
            raise CrowdError(
                f"{part}: by what it holds it is part {_plain(said[0], 1)} of {_plain(said[1])}, "
                f"by its name {number + 1} of {len(parts)}; give the files the names they were "
                "published by"
            )
        if first is None:
            first = header
            continue
        twice = first.tensors.keys() & header.tensors.keys()
        if twice:
            raise CrowdError(f"{part}: tensor {min(twice)} is in an earlier part too")
        first.tensors.update(header.tensors)
    assert first is not None
    return first


def _plain(value: Any, add: int = 0) -> str:
    return str(value + add) if isinstance(value, int) else "?"


def _read_part(path: Path) -> Header:
    with _Reader.open(path) as r:
        if r.take(4) != MAGIC:
            raise CrowdError(f"{path}: not a GGUF file, which begins with the letters GGUF")
        version = r.scalar("I")
        if version not in (2, 3):
            big = version.to_bytes(4, "big") in (b"\2\0\0\0", b"\3\0\0\0")
            kind = "of a big-endian machine" if big else f"of version {version}"
            raise CrowdError(
                f"{path}: a GGUF file {kind}; little-endian ones of versions 2 and 3 are read"
            )
        tensors, keys = r.scalar("Q"), r.scalar("Q")
        metadata: dict[str, Any] = {}
        for _ in range(keys):
            name = r.string()
            if name in metadata:
                r.refuse(f"it has the key {name[:80]!r} twice")
            metadata[name] = r.value(r.scalar("I"))
        alignment = metadata.get("general.alignment", 32)
        if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
            r.refuse(f"general.alignment is {alignment!r}, not a power of two")
        listed = [(r.string(), r.tensor()) for _ in range(tensors)]
        begin = -(-r.at // alignment) * alignment
        return Header(path, metadata, _place(r, listed, begin))


def _place(
    r: "_Reader", listed: list[tuple[str, tuple[int, tuple[int, ...], int]]], begin: int
) -> dict[str, TensorInfo]:
    """The tensors, none of which may overlap another or reach beyond the file's end."""
    placed: dict[str, TensorInfo] = {}
    for name, (kind, shape, offset) in listed:
        if name in placed:
            r.refuse(f"it has the tensor {name[:80]!r} twice")
        size = _bytes_of(r, name, kind, shape)
        if begin + offset + size > r.size:
            raise CrowdError(
                f"{r.path}: tensor {name[:80]!r} reaches to byte {begin + offset + size:,} of a "
                f"file of {r.size:,}: the file is cut short or damaged; download it again"
            )
        placed[name] = TensorInfo(r.path, kind, shape, begin + offset, size)
    end, before = 0, ""
    for name, info in sorted(placed.items(), key=lambda item: item[1].offset):
        if info.offset < end:
            r.refuse(f"its tensors {before[:80]!r} and {name[:80]!r} overlap")
        end, before = info.offset + info.bytes, name
    return placed


def _bytes_of(r: "_Reader", name: str, kind: int, shape: tuple[int, ...]) -> int:
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    try:
        block, size = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
    except (ValueError, KeyError):
        raise CrowdError(
            f"{r.path}: tensor {name[:80]!r} is of type number {kind}, which is unknown to the "
            "installed gguf package; update it (pip install -U gguf), or download the file again"
        ) from None
    if shape[-1] % block:
        r.refuse(f"tensor {name[:80]!r} has rows of {shape[-1]} numbers in blocks of {block}")
    return prod(shape) // block * size


class _Reader:
    """Reads a header from front to end, and nothing that is not there."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.size, self.at = path, data, len(data), 0
        self.end = min(self.size, _LONGEST)

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> "Iterator[_Reader]":
        try:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as m:
                yield cls(path, m)
        except CrowdError:
            raise
        except (OSError, ValueError) as error:  # unreadable, or empty
            raise CrowdError(f"{path}: cannot be read ({error}); download it again") from None

    def refuse(self, what: str) -> NoReturn:
        raise CrowdError(f"{self.path}: damaged, for {what}; download it again")

    def take(self, count: int) -> bytes:
        begin, self.at = self.at, self.at + count
        if self.at > self.end:
            if self.end < self.size:
                self.refuse(f"its header is longer than {_LONGEST >> 20} MiB")
            self.refuse("it ends within its header: it is cut short, or a length in it is wrong")
        return self.data[begin : self.at]

    def scalar(self, code: str) -> Any:
        return struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0]

    def string(self) -> str:
        try:
            return self.take(self.scalar("Q")).decode("utf-8")
        except UnicodeDecodeError:
            self.refuse("a text in its header is not UTF-8")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.string()
        if kind != _ARRAY:
            return self.scalar(self._code(kind))
        inner, count = self.scalar("I"), self.scalar("Q")
        if inner == _STRING:
            return self._strings(count)
        code = np.dtype(self._code(inner)).newbyteorder("<")
        return np.frombuffer(self.take(count * code.itemsize), code)

    def _strings(self, count: int) -> list[str]:
        # A text has eight bytes at least: a count beyond that is a lie, told before it is believed.
        if count * 8 > self.end - self.at:
            self.take(count * 8)
        return [self.string() for _ in range(count)]

    def _code(self, kind: int) -> str:
        if kind not in _SCALARS:
            self.refuse(f"a value in its header is of the unknown type {kind}")
        return _SCALARS[kind]

    def tensor(self) -> tuple[int, tuple[int, ...], int]:
        """Its type, its shape with the rows first, and where it begins among the tensors."""
        count = self.scalar("I")
        if not 1 <= count <= _MOST_DIMENSIONS:
            self.refuse(f"a tensor in its header has {count} dimensions")
        shape = tuple(self.scalar("Q") for _ in range(count))[::-1]
        if 0 in shape:
            self.refuse(f"a tensor in its header has the shape {shape}")
        return self.scalar("I"), shape, self.scalar("Q")
