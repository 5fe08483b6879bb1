"""Read a user's CSV or Parquet as text columns, so that nothing is guessed on the way.

Type inference is where data is lost quietly: `007` becomes 7, an id past 2**63 a float, `1e999`
infinity. Every column is therefore read as text, coded by its distinct values, and turned into
ids, levels or numbers by whoever knows its role.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from crowdllm_jax.errors import CrowdError

MAX_ROWS = 100_000_000
"""A larger table is refused: a small Parquet file can claim billions of rows."""


@dataclass(frozen=True)
class Column:
    """One text column: rows point at its distinct values.

    Attributes:
      codes: (R,) int32 index into `distinct`; -1 where the cell is missing.
      distinct: the different texts, in order of first appearance.
      where: "FILE: column 'NAME'", to begin an error message with.
    """

    codes: np.ndarray
    distinct: tuple[str, ...]
    where: str

    def rows_of(self, code: int) -> str:
        """The first rows that hold a value, for an error message."""
        return rows(np.flatnonzero(self.codes == code))


def rows(found: np.ndarray) -> str:
    """Name some rows as people count them: the header is row 1."""
    shown = ", ".join(str(int(row) + 2) for row in found[:3])
    more = f" and {len(found) - 3:,} more" if len(found) > 3 else ""
    return f"row {shown}{more}"


def read_table(
    path: Path, columns: list[str], *, missing: tuple[str, ...] = (), delimiter: str = ","
) -> dict[str, Column]:
    """Read the named columns of a CSV (UTF-8, header row) or Parquet file.

    Args:
      path: the file; Parquet if its name ends in .parquet or .pq, else CSV.
      columns: names to read.
      missing: texts that mean "no value", besides an empty cell and a Parquet null.
      delimiter: between the cells of a CSV.
    Raises:
      CrowdError: names the file and what is wrong with it.
    """
    table = _open(path, columns, delimiter)
    if table.num_rows == 0:
        raise CrowdError(f"{path}: has a header but no rows")
    return {name: _column(path, name, table.column(name), missing) for name in columns}


def read_vectors(path: Path, key: str, column: str) -> tuple[Column, np.ndarray]:
    """Read (R, F) float32 vectors and the text key beside them from a Parquet file."""
    table = _open(path, [key, column], ",")
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
    return _column(path, key, table.column(key), ()), vectors


def _open(path: Path, columns: list[str], delimiter: str) -> pa.Table:
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "no such file"
        raise CrowdError(f"{path}: {what}")
    if not os.access(path, os.R_OK):
        raise CrowdError(f"{path}: may not be read (permissions)")
    if path.stat().st_size == 0:
        raise CrowdError(f"{path}: is empty")
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return _open_parquet(path, columns)
        return _open_csv(path, columns, delimiter)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0][:300]
        raise CrowdError(f"{path}: cannot be read: {reason}") from error


def _open_csv(path: Path, columns: list[str], delimiter: str) -> pa.Table:
    parse = pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    with pyarrow.csv.open_csv(path, parse_options=parse) as reader:
        names = reader.schema.names
    _check_names(path, names, columns, delimiter)
    convert = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(columns, pa.string()),
        include_columns=columns,
        strings_can_be_null=False,
        quoted_strings_can_be_null=False,
    )
    table = pyarrow.csv.read_csv(path, parse_options=parse, convert_options=convert)
    if table.num_rows > MAX_ROWS:
        raise CrowdError(f"{path}: {table.num_rows:,} rows; {MAX_ROWS:,} are taken at most")
    return table


def _open_parquet(path: Path, columns: list[str]) -> pa.Table:
    file = pq.ParquetFile(path, page_checksum_verification=True)
    _check_names(path, file.schema_arrow.names, columns, None)
    # Asked before a byte is unpacked: 200 million rows fit into less than a megabyte.
    if file.metadata.num_rows > MAX_ROWS:
        raise CrowdError(f"{path}: {file.metadata.num_rows:,} rows; {MAX_ROWS:,} are taken at most")
    return file.read(columns=columns)


def _check_names(path: Path, names: list[str], wanted: list[str], delimiter: str | None) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CrowdError(f"{path}: column '{twice[0]}' stands there twice; rename one")
    absent = [name for name in wanted if name not in names]
    if absent:
        hint = ""
        if len(names) == 1 and delimiter is not None:
            other = next((d for d in ";\t|" if d != delimiter and d in names[0]), None)
            if other:
                hint = f"; the file seems to be separated by {other!r}: set study.delimiter"
        found = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
        raise CrowdError(f"{path}: no column '{absent[0]}' (it has: {found}){hint}")


def _column(path: Path, name: str, cells: pa.ChunkedArray, missing: tuple[str, ...]) -> Column:
    where = f"{path}: column '{name}'"
    kind = cells.type
    if pa.types.is_dictionary(kind):
        cells, kind = cells.cast(kind.value_type), kind.value_type
    if pa.types.is_boolean(kind):
        cells = cells.cast(pa.int8())
    elif pa.types.is_floating(kind):
        # Whole numbers that a data frame stored as floats are written the way people write them.
        whole = pc.all(pc.equal(pc.floor(cells), cells)).as_py()
        small = pc.all(pc.less(pc.abs(cells), 2.0**53)).as_py()
        if whole and small:
            cells = cells.cast(pa.int64())
    elif not (
        pa.types.is_integer(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_null(kind)
    ):
        raise CrowdError(f"{where}: holds {kind}; text or numbers are needed")
    coded = cells.cast(pa.string()).combine_chunks().dictionary_encode()
    codes = np.asarray(coded.indices.fill_null(-1), np.int32)
    distinct = coded.dictionary.to_pylist()
    absent = np.array([text == "" or text in missing for text in distinct] + [True])
    keep = np.cumsum(~absent) - 1
    # Index -1 picks the last entry of both arrays, which stands for a null.
    codes = np.where(absent[codes], -1, keep[codes]).astype(np.int32)
    return Column(
        codes, tuple(t for t, gone in zip(distinct, absent[:-1], strict=True) if not gone), where
    )
