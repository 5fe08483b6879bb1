"""Data frames of pandas (https://pandas.pydata.org) and polars (https://docs.pola.rs)."""

from collections import Counter
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
        why = _hindered(frame) or f"cannot be read: {first_line(error)}"
        raise CrowdError(f"data frame: {why}") from error
    return sheet_of(Path("data frame"), "a data frame", table)


def _hindered(frame: Any) -> str | None:
    """What hinders reading a data frame of pandas: a name of several columns, or a column of
    several kinds of values, as spreadsheets have (3 and "refused"); None where neither does."""
    if not hasattr(frame, "iloc"):
        return None
    twice = [name for name, own in Counter(map(str, frame.columns)).items() if own > 1]
    if twice:
        return f"several columns are called '{twice[0]}'; call each by a name of its own"
    for name in frame.columns:
        try:
            pa.Array.from_pandas(frame[name])
        except (pa.ArrowException, TypeError, ValueError):
            return (
                f"column '{name}' holds values of several kinds, or neither texts nor numbers; "
                f"make them texts: frame['{name}'] = frame['{name}'].astype('string')"
            )
    return None
