"""Tables as survey programs export them: a column per question, several rows of headings.

They are not read; what is said here is how to make a table of them with a row per answer.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.study.csv_file import Layout


def import_ids(layout: Layout) -> int:
    """How many rows of headings follow the header in a file of Qualtrics, where the last of them
    has an ImportId in each cell; else 0."""
    for row, cells in enumerate(layout.first, start=1):
        if cells and sum('"ImportId"' in cell for cell in cells) > len(cells) / 2:
            return row
    return 0


def heading_rows(layout: Layout) -> int:
    """How many rows of headings seem to follow the header: Qualtrics' own, or one row under merged
    cells, whose header is empty."""
    if (qualtrics := import_ids(layout)) or not layout.first:
        return qualtrics
    header, below = layout.names, layout.first[0]
    merged = [column for column, name in enumerate(header) if not tidy_name(name)]
    # A last column without a name is what a delimiter at the end of each row leaves; a first one
    # holds the names of rows.
    last = min(len(header) - 1, len(below))
    inner = [column for column in merged if 0 < column < last]
    worded = [column for column in inner if any(map(str.isalpha, below[column]))]
    empty = below.count("")
    return int(bool(worded) and empty > 0)


def keep_one_heading(path: Path, extra: int) -> str:
    """What to do about so many rows of headings below the header."""
    skipped = list(range(1, extra + 1))
    held = "row 2 holds" if extra == 1 else f"rows 2 to {extra + 1} hold"
    return (
        f"{held} headings, too; `crowdllm init {path.name}` reads what survey programs export, or "
        f"keep one row of headings, such as by pandas.read_csv('{path.name}'"
        f", skiprows={skipped}).to_csv('{path.stem}-data.csv', index=False)"
    )


def may_be_heading(text: str, rows: np.ndarray, total: int) -> str:
    """A hint where words cannot be read that are (`rows`, from 0) in the top rows alone."""
    if total > 3 and rows[0] == 0 and rows[-1] < 2 and any(map(str.isalpha, text)):
        return "; if it is a heading, keep one row of headings"
    return ""


def one_row_per_answer(
    path: Path, names: Sequence[str], layout: Layout | None, person: str, about: Sequence[str]
) -> str:
    """How to make a table with a row per answer of one with a column per question.

    Args:
      names: the table's columns; person: that of ids, if it is there; about: those that describe
        people.
    """
    kept = [name for name in (person, *about) if name in names] or [names[0]]
    reader = "read_parquet" if layout is None else "read_csv"
    options = ""
    if layout is not None:
        if extra := heading_rows(layout):
            options += f", skiprows={list(range(1, extra + 1))}"
        if layout.delimiter != ",":
            options += f", sep={layout.delimiter!r}"
        if not layout.encoding.startswith("utf-8"):
            options += f", encoding={layout.encoding!r}"
    headings = " and one row of headings" if "skiprows" in options else ""
    return (
        f"one row per answer{headings} is needed, with columns for participant, task and response "
        "(study.responses says what they are called); if each question has a column of its own, "
        f"`crowdllm init {path.name}` makes a study of it, or melt the table: "
        f"pandas.{reader}('{path.name}'{options}).melt(id_vars={kept}, "
        f"var_name='task', value_name='response').to_csv('{path.stem}-long.csv', index=False), and "
        "leave out columns that are no questions by value_vars=[...]"
    )
