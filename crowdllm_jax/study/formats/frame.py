"""Data frames of pandas (https://pandas.pydata.org) and polars (https://docs.pola.rs)."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from crowdllm_jax.errors import CrowdError, first_line
from crowdllm_jax.study.formats.parquet import sheet_of
from crowdllm_jax.study.formats.sheet import Sheet


def read_frame(frame: Any) -> Sheet:
    """A data frame (or an Arrow table) as a sheet; an index of pandas is read where it has a name.

    Raises:
      CrowdError: it is none, or a column holds several kinds of values.
    """
    try:
        if isinstance(frame, pa.Table):
            table = frame
        elif hasattr(frame, "to_arrow") and hasattr(frame, "columns"):
            table = frame.to_arrow()
        elif hasattr(frame, "iloc") and hasattr(frame, "columns"):
            # Ids often stand there; an index without a name numbers the rows.
            named = [n for n in frame.index.names if n is not None and n not in frame.columns]
            frame = frame.reset_index(level=named) if named else frame
            table = pa.Table.from_pandas(frame, preserve_index=False)
        else:
            raise CrowdError(
                f"study: {type(frame).__name__} is no data frame; give one of pandas or polars, "
                "or the path of a file"
            )
    except CrowdError:
        raise
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise CrowdError(f"data frame: cannot be read: {first_line(error)}") from error
    return sheet_of(Path("data frame"), "a data frame", table)
