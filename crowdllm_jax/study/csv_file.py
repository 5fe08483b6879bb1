"""Read a CSV's named columns as text, however the file is written; what is ambiguous is refused.

What a file says of itself is heeded: a byte order mark, a first line `sep=;`. Quotes that are
escaped by a backslash are read as such if the file makes sense in no other way.
"""

import codecs
import csv
import itertools
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from crowdllm_jax.errors import CrowdError, CrowdWarning

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins like UTF-16's
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LARGEST_BLOCK = 2**31 - 1
_CHUNK = 1 << 24


@dataclass(frozen=True)
class Dialect:
    """How CSV files are written, where they do not say so themselves.

    Attributes:
      delimiter: one character between the cells.
      encoding: Python's name of it.
      decimal: the sign before decimals, "." or ",".
      settable: the study file's keys apply to the file; a message may name them as the remedy.
    """

    delimiter: str = ","
    encoding: str = "utf-8"
    decimal: str = "."
    settable: bool = False


@dataclass(frozen=True)
class Layout:
    """How one CSV is written: `lines` come before its header, `escape` before a quote within a
    quoted cell; `names` are its columns', `first` the cells of its first rows. Where cells are not
    `quoted`, a quote is a sign like any other."""

    path: Path
    delimiter: str
    encoding: str
    lines: int
    escape: str | None
    names: list[str]
    first: list[list[str]]
    quoted: bool = True


def layout_of(path: Path, dialect: Dialect) -> Layout:
    """Find out how a file is written, but for escapes (see `with_escapes`).

    Raises:
      CrowdError: it holds nothing but blank lines.
    """
    encoding = _encoding_of(path, dialect.encoding)
    with path.open(encoding=encoding, errors="replace", newline=None) as file:
        line = file.readline(16).strip().strip('"').lower()
    delimiter, lines = dialect.delimiter, 0
    if len(line) == 5 and line.startswith("sep="):
        delimiter, lines = line[4], 1
    elif line == "sep=":  # a tab, which was stripped
        delimiter, lines = "\t", 1
    if encoding == dialect.encoding and not encoding.startswith("utf-") and _is_utf8(path):
        warnings.warn(
            f"{path}: is read as {encoding.upper()} (study.encoding), but is valid UTF-8; see "
            "whether its accents are right",
            CrowdWarning,
            stacklevel=2,
        )
    layout = Layout(path, delimiter, encoding, lines, None, [], [])
    with _rows(layout, strict=False) as rows:
        top = [*itertools.islice(rows, 4)]
    if not top:
        raise CrowdError(f"{path}: holds nothing but blank lines")
    return replace(layout, names=top[0], first=top[1:])


def with_escapes(layout: Layout) -> Layout:
    r"""Find out what stands before a quote within a quoted cell: a quote, or \ .

    Readers guess differently at a quote where none can be, and none of them says so. The file is
    read strictly: with doubled quotes, and if that makes no sense, with a backslash; and between
    tabs without quoted cells, if all rows are then as long as the header.

    Raises:
      CrowdError: it makes no sense in either way; the row.
    """
    if not _odd_quotes(layout):
        return layout
    faults = []
    ways = [replace(layout, escape=None), replace(layout, escape="\\")]
    for tried in [*ways, replace(layout, quoted=False)] if layout.delimiter == "\t" else ways:
        top: list[list[str]] = []
        row = 0
        with _rows(tried, strict=True) as rows:
            try:
                for row, cells in enumerate(rows, start=1):
                    if row <= 4:
                        top.append(cells)
                    if not tried.quoted and (len(cells) != len(top[0]) or _is_quoted(cells)):
                        raise csv.Error("quotes are no signs like any other")
                return replace(tried, names=top[0], first=top[1:])
            except csv.Error:
                faults.append(row + 1)
    raise CrowdError(
        f"{layout.path}: row {max(faults[:2])}: a quote stands within a quoted cell, or one is not "
        'closed; write a quote within a cell twice ("")'
    )


def _is_quoted(cells: list[str]) -> bool:
    """Whether a row is one of a file whose cells are quoted."""
    return any(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in cells)


def read_columns(layout: Layout, columns: list[str]) -> pa.Table:
    """Read some columns (names as the file has them) as text."""
    source: Path | pa.Buffer = layout.path
    if layout.escape:
        # Databases that escape quotes write \N where there is no value; it stays as it is written.
        text = layout.path.read_bytes().decode(layout.encoding)
        cell = rf"(^|{re.escape(layout.delimiter)})\\N(?={re.escape(layout.delimiter)}|\r?$)"
        source = pa.py_buffer(re.sub(cell, r"\1\\\\N", text, flags=re.MULTILINE).encode())
    parse = pyarrow.csv.ParseOptions(
        delimiter=layout.delimiter,
        newlines_in_values=True,
        escape_char=layout.escape or False,
        quote_char='"' if layout.quoted else False,
    )
    convert = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(columns, pa.string()),
        include_columns=columns,
        strings_can_be_null=False,
        quoted_strings_can_be_null=False,
    )
    plain = bool(layout.escape) or layout.encoding.startswith("utf-8")
    block, threads = 1 << 20, True
    while True:
        how = pyarrow.csv.ReadOptions(
            block_size=block,
            use_threads=threads,
            skip_rows=layout.lines,
            encoding="utf8" if plain else layout.encoding,
        )
        try:
            return pyarrow.csv.read_csv(
                pa.BufferReader(source) if layout.escape else source,
                read_options=how,
                parse_options=parse,
                convert_options=convert,
            )
        except pa.ArrowInvalid as error:
            # A row must fit into a block: one with a picture in a cell needs a larger one.
            if "straddl" in str(error) and block < _LARGEST_BLOCK:
                block = min(block * 16, _LARGEST_BLOCK)
            elif "CSV parse error" in str(error) and threads:
                threads = False  # then the message knows the row
            else:
                raise


def check_encoding(path: Path, dialect: Dialect) -> None:
    """Raise CrowdError if a file's bytes are not in its encoding."""
    encoding = _encoding_of(path, dialect.encoding)
    decoder = codecs.getincrementaldecoder(encoding)()
    line, before = 1, b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            try:
                text = decoder.decode(chunk)
            except UnicodeDecodeError as error:
                data, at = error.object, error.start
                line += data[:at].count(b"\n")
                raise CrowdError(
                    f"{path}: is not {encoding.upper()} (line {line}, byte 0x{data[at]:02X}); "
                    + _encoding_remedy(data, at, dialect)
                ) from error
            line += text.count("\n")
            before = chunk
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise CrowdError(
                f"{path}: is not {encoding.upper()}: it ends within a character; "
                + _encoding_remedy(before, len(before), dialect)
            ) from error


def _encoding_remedy(data: bytes, at: int, dialect: Dialect) -> str:
    if not dialect.settable:
        return "save it as 'CSV UTF-8'"
    near = data[max(0, at - 12) : at + 12].decode("cp1252", "replace").split("\n")
    # The word around the byte, as the usual encoding has it.
    line = len(data[max(0, at - 12) : at].decode("cp1252", "replace").split("\n")) - 1
    return (
        "save it as 'CSV UTF-8', or say how it is written: study.encoding: cp1252 is usual in "
        f"Western Europe, and reads here: {near[line].strip()!r}"
    )


def _encoding_of(path: Path, encoding: str) -> str:
    """The encoding that a byte order mark tells, or else the given one."""
    with path.open("rb") as file:
        head = file.read(4)
    return next((name for mark, name in _MARKS if head.startswith(mark)), encoding)


def _is_utf8(path: Path) -> bool:
    """Whether a file holds characters beyond ASCII, all of them in UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    beyond = False
    with path.open("rb") as file:
        try:
            while chunk := file.read(_CHUNK):
                beyond |= not decoder.decode(chunk).isascii()
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return beyond


@contextmanager
def _rows(layout: Layout, *, strict: bool) -> Iterator[Iterator[list[str]]]:
    """The rows of a file as Python reads them, from its header on; blank lines are skipped."""
    most = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        with layout.path.open(encoding=layout.encoding, errors="replace", newline="") as file:
            rows = csv.reader(
                file,
                delimiter=layout.delimiter,
                escapechar=layout.escape,
                strict=strict,
                quoting=csv.QUOTE_MINIMAL if layout.quoted else csv.QUOTE_NONE,
            )
            yield (row for row in itertools.islice(rows, layout.lines, None) if row)
    finally:
        csv.field_size_limit(most)


def _odd_quotes(layout: Layout) -> bool:
    r"""Whether there is a quote that may not be as the standard (RFC 4180) has it: after \ , amid
    text, or one too many."""
    if layout.encoding != "utf-8-sig" and '"\\'.encode(layout.encoding) != b'"\\':
        return True  # not to be seen in the bytes
    quote, count, before = ord('"'), 0, np.array([ord("\n")], np.uint8)
    edges = np.frombuffer((layout.delimiter + '\r\n"').encode(), np.uint8)
    with layout.path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            # Quotes at the end are looked at together with what follows them.
            data = np.concatenate([before, np.frombuffer(chunk, np.uint8)])
            at = np.flatnonzero(data[1:-1] == quote) + 1
            count += len(at)
            left, right = data[at - 1], data[at + 1]
            if np.any((left == ord("\\")) | ~(np.isin(left, edges) | np.isin(right, edges))):
                return True
            before = data[-2:]
    last = before[-1] == quote
    return bool(last and before[0] == ord("\\")) or (count + last) % 2 == 1
