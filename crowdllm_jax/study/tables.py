"""Read a user's CSV or Parquet as text columns, so that nothing is guessed on the way.

Type inference is where data is lost quietly: `007` becomes 7, an id past 2**63 a float, `1e999`
infinity. Every column is therefore read as text, coded by its distinct values, and turned into
ids, levels or numbers by whoever knows its role.
"""

import os
import re
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crowdllm_jax.errors import CrowdError, CrowdWarning, first_line
from crowdllm_jax.runtime import numerals
from crowdllm_jax.runtime.names import as_shown, did_you_mean, tidy_name, tidy_text
from crowdllm_jax.study.archive import unpacked
from crowdllm_jax.study.csv_file import (
    Dialect,
    Layout,
    check_encoding,
    layout_of,
    read_columns,
    with_escapes,
)
from crowdllm_jax.study.file_kind import foreign, is_parquet
from crowdllm_jax.study.wide import import_ids, keep_one_heading, may_be_heading

MAX_ROWS = 100_000_000
"""A larger table is refused: a small Parquet file can claim billions of rows."""

_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?", re.IGNORECASE)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")
_GROUPED = {
    sign: re.compile(rf"[+-]?[1-9]\d{{0,2}}({re.escape(sign)}\d{{3}})") for sign in (".", ",")
}
_BELOW = re.compile(r"[+-]?\d{1,3}")
_POINT = re.compile(r"[+-]?\d*\.\d+")


_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "|", ",": "commas"}


class AbsentColumnError(CrowdError):
    """A table lacks a column.

    Attributes:
      names: those it has. layout: how it is written if it is a CSV. told: the message says why.
      separated: it is separated by another sign than was said.
    """

    def __init__(
        self,
        message: str,
        names: list[str],
        layout: Layout | None,
        *,
        told: bool,
        separated: bool = False,
    ):
        super().__init__(message)
        self.names, self.layout, self.told, self.separated = names, layout, told, separated


@dataclass(frozen=True)
class Column:
    """One text column: rows point at its distinct values.

    Attributes:
      codes: (R,) int32 index into `distinct`; -1 where the cell is missing.
      distinct: the different texts, in order of first appearance.
      where: "FILE: column 'NAME'", to begin an error message with.
      decimal: the sign before decimals in its numbers.
      emptied: texts that count as missing here because of a list that is not for this column alone.
      places: (R,) which rows of the file these are, from 0, if not all of them in turn.
    """

    codes: np.ndarray
    distinct: tuple[str, ...]
    where: str
    decimal: str = "."
    emptied: tuple[str, ...] = ()
    places: np.ndarray | None = None

    def in_file(self, numbers: np.ndarray) -> np.ndarray:
        """Which rows of the file some rows are; both numbered from 0."""
        return numbers if self.places is None else self.places[numbers]

    def rows_of(self, code: int) -> str:
        """The first rows that hold a value, for an error message."""
        return rows(self.in_file(np.flatnonzero(self.codes == code)))

    def numeral(self, code: int) -> str:
        """A text in which decimals stand after a point, if it is a number.

        Raises:
          CrowdError: decimals stand after a comma in this file, but here after a point.
        """
        text = self.distinct[code]
        if self.decimal == ".":
            return text
        if _POINT.fullmatch(text):
            raise CrowdError(
                f"{self.where}: '{text}' ({self.rows_of(code)}) has a point, but study.decimal "
                "says that decimals stand after a comma; write all numbers alike"
            )
        return text.replace(",", ".") if _DECIMAL_COMMA.fullmatch(text) else text

    def number(self, code: int) -> float | None:
        """The finite number that a text is; None if it is none."""
        return numerals.number(self.numeral(code))

    def warn_of_thousands(self) -> None:
        """Warn if a sign among the numbers seems to set thousands apart: where there is one, three
        digits follow it, and numbers without it stay below a thousand."""
        grouped = [text for text in self.distinct if _GROUPED[self.decimal].fullmatch(text)]
        others = {text for text in self.distinct if text not in grouped}
        if len(grouped) > 1 and others and all(_BELOW.fullmatch(text) for text in others):
            sign = "point" if self.decimal == "." else "comma"
            warnings.warn(
                f"{self.where}: '{grouped[0]}' is read with decimals after its {sign}; if it sets "
                f"thousands apart, as in {', '.join(grouped[:3])}, write all numbers without it",
                CrowdWarning,
                stacklevel=3,
            )

    def hint(self, code: int) -> str:
        """What a text may be that cannot be read: a number with a decimal comma, or a heading."""
        text = self.distinct[code]
        if _THOUSANDS.fullmatch(text):
            told = "; if the comma sets thousands apart, write all numbers without it"
            decimals = " (if decimals stand after it, set study.decimal: ',')"
            return told + (decimals if self.decimal == "." else "")
        if self.decimal == "." and _DECIMAL_COMMA.fullmatch(text):
            return "; if decimals stand after a comma, set study.decimal: ','"
        return may_be_heading(text, np.flatnonzero(self.codes == code), len(self.codes))

    def no_id(self) -> str:
        """What to say where a column of ids has gaps."""
        listed = ", ".join(f"'{text}'" for text in self.emptied)
        hint = f" ({listed} counts as missing: list it for the columns it is for)" if listed else ""
        return f"{self.where}: no id in {self.rows_of(-1)}; every row needs one{hint}"


def without(column: Column, gone: Callable[[str], bool], *, broad: bool) -> Column:
    """A column in which some texts count as missing.

    Args:
      broad: they are listed for more than this column.
    """
    out = np.array([gone(text) for text in column.distinct], bool)
    if not out.any():
        return column
    texts = tuple(text for text, dropped in zip(column.distinct, out, strict=True) if dropped)
    kept = tuple(text for text, dropped in zip(column.distinct, out, strict=True) if not dropped)
    new_code = np.append(np.where(out, -1, np.cumsum(~out) - 1), -1).astype(np.int32)
    emptied = (*column.emptied, *texts) if broad else column.emptied
    return replace(column, codes=new_code[column.codes], distinct=kept, emptied=emptied)


def as_names(column: Column) -> Column:
    """A column of texts as one of names, which are the same where they look the same."""
    return _retold(column, tidy_name)


def _retold(column: Column, tell: Callable[[str], str]) -> Column:
    """Change the texts; those that become one are one, and an empty one is missing."""
    told = [tell(text) for text in column.distinct]
    if "" not in told and tuple(told) == column.distinct:
        return column
    index = {text: code for code, text in enumerate(dict.fromkeys(t for t in told if t))}
    new_code = np.array([index.get(text, -1) for text in told] + [-1], np.int32)
    return replace(column, codes=new_code[column.codes], distinct=tuple(index))


def rows(numbers: np.ndarray) -> str:
    """Name some rows, numbered from 0, as people count them: the header is row 1."""
    shown = ", ".join(str(int(row) + 2) for row in numbers[:3])
    more = f" and {len(numbers) - 3:,} more" if len(numbers) > 3 else ""
    return f"row {shown}{more}"


def read_table(
    path: Path,
    columns: list[str],
    *,
    prose: Collection[str] = (),
    dialect: Dialect = Dialect(),  # noqa: B008
) -> dict[str, Column]:
    """Read the named columns of a CSV (with a header row) or Parquet file.

    Texts are brought into one form (see `names`); a cell of blanks is an empty one.

    Args:
      path: the file; which of both it is, its content says.
      columns: names to read, tidy.
      prose: those of them that hold texts to be read by people, whose inside is left as it is.
      dialect: of a CSV.
    Raises:
      CrowdError: names the file and what is wrong with it.
    """
    table, decimal = _open(path, columns, dialect)
    if table.num_rows == 0:
        raise CrowdError(f"{path}: has a header but no rows")

    def read(name: str) -> Column:
        column = replace(text_column(path, name, table.column(name)), decimal=decimal)
        return _retold(column, tidy_text if name in prose else tidy_name)

    return {name: read(name) for name in columns}


def read_vectors(path: Path, key: str, column: str) -> tuple[Column, np.ndarray]:
    """Read (R, F) float32 vectors and the text key beside them from a Parquet file."""
    table, _ = _open(path, [key, column], None)
    where = f"{path}: column '{column}'"
    cells = table.column(column).combine_chunks()
    numbers = getattr(cells.type, "value_type", pa.null())
    if not (pa.types.is_floating(numbers) or pa.types.is_integer(numbers)):
        raise CrowdError(f"{where}: holds {cells.type}, not a list of numbers per row")
    if cells.null_count or len(cells) == 0:
        raise CrowdError(f"{where}: {'a row is null' if len(cells) else 'no rows'}")
    lengths = np.unique(np.asarray(pc.list_value_length(cells)))
    if len(lengths) != 1 or lengths[0] < 1:
        raise CrowdError(
            f"{where}: rows have different lengths ({lengths.min()} to "
            f"{lengths.max()}); every task needs a vector of one length"
        )
    flat = np.asarray(cells.flatten().cast(pa.float32()), np.float32)
    vectors = flat.reshape(len(cells), -1)
    bad = np.flatnonzero(~np.isfinite(vectors).all(1))
    if len(bad):
        raise CrowdError(f"{where}: {rows(bad)} holds a number that is not finite")
    return as_names(text_column(path, key, table.column(key))), vectors


def find(folder: str | Path, path: str, key: str) -> Path:
    """A file that `key` names, relative to a study's folder.

    Raises:
      CrowdError: it is not there; how its place is made up.
    """
    file = Path(folder) / path
    if file.exists() or Path(path).is_absolute():
        return file
    raise CrowdError(
        f"{file}: no such file; {key} ('{path}') is looked for in study.folder ('{folder}'), "
        f"as seen from where the command runs ({Path.cwd()}), not from the study file; "
        "give the tables' folder with --data FOLDER, or as study.folder"
    )


def check_file(path: Path) -> None:
    """Raise CrowdError unless there is a file that can be read and holds something."""
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "no such file"
        raise CrowdError(f"{path}: {what}")
    if not os.access(path, os.R_OK):
        raise CrowdError(f"{path}: may not be read (permissions)")
    if path.stat().st_size == 0:
        raise CrowdError(f"{path}: is empty")


def _open(path: Path, columns: list[str], dialect: Dialect | None) -> tuple[pa.Table, str]:
    """The columns (under their tidy names), and the sign before decimals; no dialect: Parquet."""
    check_file(path)
    with unpacked(path) as plain:
        check_file(plain)
        return _open_plain(plain, columns, dialect)


def _open_plain(path: Path, columns: list[str], dialect: Dialect | None) -> tuple[pa.Table, str]:
    """The same of a file that is not compressed."""
    try:
        if is_parquet(path):
            return _open_parquet(path, columns), "."
        if (other := foreign(path, None if dialect is None else dialect.encoding)) is not None:
            raise CrowdError(f"{path}: is {other}")
        if dialect is None or path.suffix.lower() in (".parquet", ".pq"):
            raise CrowdError(
                f"{path}: is no Parquet file; a CSV needs another name, such as "
                f"{path.with_suffix('.csv').name}"
            )
        return _open_csv(path, columns, dialect), dialect.decimal
    except (pa.ArrowException, AbsentColumnError, OSError, UnicodeError) as error:
        if dialect is not None and not is_parquet(path):
            check_encoding(path, dialect)
        if isinstance(error, AbsentColumnError):
            raise
        reason = first_line(error)
        if told := re.search(r"(?:Row #(\d+): )?Expected (\d+) columns, got (\d+)", reason):
            row = f"row {told[1]}" if told[1] else "a row"
            more = int(told[3]) > int(told[2])
            quotes = " (a cell that holds the delimiter needs quotes around it)"
            remedy = quotes if more else " (if it is a note below the table, delete it)"
            reason = f"{row} has {told[3]} cells, the header {told[2]}{remedy}"
        raise CrowdError(f"{path}: cannot be read: {reason}") from error


def _open_csv(path: Path, columns: list[str], dialect: Dialect) -> pa.Table:
    layout = layout_of(path, dialect)
    # First the names: with another delimiter than the file's, its quotes make no sense either.
    _raw_names(path, layout.names, columns, layout, dialect)
    layout = with_escapes(layout)
    raw = _raw_names(path, layout.names, columns, layout, dialect)
    if extra := import_ids(layout):
        raise CrowdError(f"{path}: {keep_one_heading(path, extra)}")
    table = read_columns(layout, [raw[name] for name in columns])
    if table.num_rows > MAX_ROWS:
        raise CrowdError(f"{path}: {table.num_rows:,} rows; {MAX_ROWS:,} are taken at most")
    return table.rename_columns(columns)


def _open_parquet(path: Path, columns: list[str]) -> pa.Table:
    file = pq.ParquetFile(path, page_checksum_verification=True)
    raw = _raw_names(path, file.schema_arrow.names, columns, None, None)
    # Asked before a byte is unpacked: 200 million rows fit into less than a megabyte.
    if file.metadata.num_rows > MAX_ROWS:
        raise CrowdError(f"{path}: {file.metadata.num_rows:,} rows; {MAX_ROWS:,} are taken at most")
    wanted = [raw[name] for name in columns]
    return file.read(columns=wanted).select(wanted).rename_columns(columns)


def _raw_names(
    path: Path,
    names: list[str],
    wanted: list[str],
    layout: Layout | None,
    dialect: Dialect | None,
) -> dict[str, str]:
    """The columns' names as the file has them."""
    tidy = [tidy_name(name) for name in names]
    for name in wanted:
        if tidy.count(name) > 1:
            raise CrowdError(f"{path}: column '{name}' stands there twice; rename one")
    absent = [name for name in wanted if name not in tidy]
    if absent:
        other = ""
        if layout is not None and dialect is not None:
            other = _delimiter_hint(layout, wanted, dialect)
        hint = other or did_you_mean(absent[0], tidy)
        listed = ", ".join(map(as_shown, tidy[:20])) + (", ..." if len(tidy) > 20 else "")
        message = f"{path}: no column '{absent[0]}' (it has: {listed}){hint}"
        raise AbsentColumnError(message, tidy, layout, told=bool(hint), separated=bool(other))
    return dict(zip(tidy, names, strict=True))


def _delimiter_hint(layout: Layout, wanted: list[str], dialect: Dialect) -> str:
    """What to do where another delimiter shows more of the columns."""

    def shows(header: list[str]) -> int:
        return sum(name in wanted for name in map(tidy_name, header))

    header = layout.delimiter.join(layout.names)
    split = {other: [name.strip('"') for name in header.split(other)] for other in ";\t|,"}
    best = max(split, key=lambda other: shows(split[other]))
    if shows(split[best]) <= shows(layout.names):
        return ""
    is_so = f"; the file is separated by {_DELIMITERS[best]}"
    if not dialect.settable:
        own = _DELIMITERS.get(layout.delimiter, f"'{layout.delimiter}'")
        return f"{is_so}; save it with {own} between the cells"
    cells = (c for row in layout.first for c in layout.delimiter.join(row).split(best))
    comma = any(_DECIMAL_COMMA.fullmatch(cell.strip('"')) for cell in cells)
    decimals = ", and study.decimal: ',' since decimals stand after a comma" if comma else ""
    shown_as = '"\\t"' if best == "\t" else f"'{best}'"
    return f"{is_so}: set study.delimiter: {shown_as}{decimals}"


def text_column(path: Path, name: str, cells: pa.ChunkedArray) -> Column:
    """Arrow's cells as texts.

    Raises:
      CrowdError: they are neither texts nor numbers.
    """
    where = f"{path}: column '{name}'"
    kind = cells.type
    if pa.types.is_dictionary(kind):
        cells, kind = cells.cast(kind.value_type), kind.value_type
    if pa.types.is_boolean(kind):
        cells = cells.cast(pa.int8())
    elif pa.types.is_floating(kind):
        # Whole numbers that a data frame stored as floats are written the way people write them.
        integral = pc.all(pc.equal(pc.floor(cells), cells)).as_py()
        small = pc.all(pc.less(pc.abs(cells), 2.0**53)).as_py()
        if integral and small:
            cells = cells.cast(pa.int64())
    elif not (
        pa.types.is_integer(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_null(kind)
    ):
        raise CrowdError(f"{where}: holds {kind}; text or numbers are needed")
    # Large texts, each of them once: all cells together may be more than one array holds.
    coded = cells.cast(pa.large_string()).dictionary_encode().combine_chunks()
    codes = np.asarray(coded.indices.fill_null(-1), np.int32)
    return Column(codes, tuple(coded.dictionary.to_pylist()), where)
