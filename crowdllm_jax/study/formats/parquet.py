"""Parquet (https://parquet.apache.org/docs/file-format/), and Arrow tables of data frames."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crowdllm_jax.errors import CrowdError, first_line
from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.study.formats.sheet import Field, Sheet, check_size, column_of
from crowdllm_jax.study.tables import Column, text_column


def read_parquet(path: Path) -> Sheet:
    """Read a Parquet file.

    Raises:
      CrowdError: it is damaged, or too large.
    """
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        check_size(path, file.metadata.num_rows, len(file.schema_arrow.names))
        table = file.read()
    except (pa.ArrowException, OSError) as error:
        raise CrowdError(f"{path}: cannot be read as Parquet: {first_line(error)}") from error
    return sheet_of(path, "a Parquet table", table)


def sheet_of(path: Path, what: str, table: pa.Table) -> Sheet:
    """An Arrow table; an ordered dictionary (a pandas Categorical, a polars Enum) says its levels.

    Raises:
      CrowdError: two columns have one name, or there are none.
    """
    check_size(path, table.num_rows, table.num_columns)
    names = [tidy_name(str(name)) for name in table.column_names]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise CrowdError(f"{path}: column '{twice}' stands there twice; rename one")
    fields, notes = [], []
    for name, cells in zip(names, table.columns, strict=True):
        if pa.types.is_nested(cells.type) or pa.types.is_binary(cells.type):
            notes.append(f"Column {name} holds {cells.type}, which is no answer; it is left out.")
            continue
        labels: tuple[tuple[str, str], ...] = ()
        if pa.types.is_dictionary(cells.type):
            if cells.type.ordered and cells.num_chunks:
                levels = cells.unify_dictionaries().chunk(0).dictionary
                labels = tuple((str(level), str(level)) for level in levels.to_pylist())
            cells = cells.cast(cells.type.value_type)
        ordered = True if labels else None
        fields.append(Field(name, _cells(path, name, cells), labels=labels, ordered=ordered))
    return Sheet(path, what, table.num_rows, tuple(fields), tuple(notes))


def _cells(path: Path, name: str, cells: pa.ChunkedArray) -> Column:
    kind = cells.type
    if pa.types.is_floating(kind):
        # Not a number is how data frames write that there is none; inf is told as it is in a CSV.
        cells = pc.if_else(pc.is_nan(cells), pa.scalar(None, kind), cells)
    if pa.types.is_temporal(kind) or pa.types.is_decimal(kind):
        return column_of(path, name, cells.cast(pa.string()).to_pylist())
    return text_column(path, name, cells)
