"""A table as a program for surveys wrote it: its columns, and what the file says of each."""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.names import tidy_name, tidy_text
from crowdllm_jax.study.scales import Continuous, Ordinal, Points, Ranking
from crowdllm_jax.study.tables import Column, as_names

Use = Literal["person", "task", "response", "group", "weight", "profile", "question", "text", "out"]
"""What a column is for: ids of people and tasks, answers, what was asked, texts, or nothing."""

MAX_COLUMNS = 5_000
MAX_CELLS = 100_000_000


@dataclass(frozen=True)
class Field:
    """One column of a file.

    Attributes:
      cells: its texts.
      text: what people were asked, if the file says.
      labels: (code, label) in the file's order, where its cells are codes; (text, text) where the
        file says which answers there are, and in which order.
      missing: codes that the file declares to be no answer.
      use: what the format knows it to be; None is to be guessed.
      ordered: whether the file says that its levels have an order.
      grid: the question of which this is one item; items of a grid are answered on one scale.
      several: the sign between answers, where the file says that a cell holds several.
      scale: of an option that people rank or give points, together with those beside it.
      amount: whether its numbers were written with a sign or a unit, so that they count no rows.
      why: why it is left out, where the format leaves it out.
    """

    name: str
    cells: Column
    text: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    missing: frozenset[str] = frozenset()
    use: Use | None = None
    ordered: bool | None = None
    grid: str = ""
    several: str = ""
    scale: Ranking | Points | Continuous | Ordinal | None = None
    amount: bool = False
    why: str = ""

    @cached_property
    def column(self) -> Column:
        """Its cells as names, which are compared."""
        return as_names(self.cells)


@dataclass(frozen=True)
class Sheet:
    """A file as a table of columns.

    Attributes:
      what: what the file is, for people: "an SPSS file".
      rows: R. notes: what was done in reading it, in sentences.
    """

    path: Path
    what: str
    rows: int
    fields: tuple[Field, ...]
    notes: tuple[str, ...] = ()

    def field(self, name: str, flag: str) -> Field:
        """The column of a name that `flag` gives.

        Raises:
          CrowdError: there is none.
        """
        for field in self.fields:
            if field.name == tidy_name(name):
                return field
        listed = ", ".join(field.name for field in self.fields[:20])
        more = ", ..." if len(self.fields) > 20 else ""
        comma = next((field.name for field in self.fields if "," in field.name), None)
        if comma is not None:
            more += f" (a name with a comma needs double quotes: {flag} '\"{comma}\"')"
        raise CrowdError(f"{flag}: {self.path} has no column '{name}'; it has: {listed}{more}")


def only_rows(sheet: Sheet, kept: np.ndarray) -> Sheet:
    """Some rows (R,) bool of a sheet, which are still named by their places in the file; texts that
    stand in none of them are forgotten."""
    fields = tuple(replace(field, cells=_only(field.cells, kept)) for field in sheet.fields)
    return replace(sheet, rows=int(np.sum(kept)), fields=fields)


def _only(cells: Column, kept: np.ndarray) -> Column:
    codes = cells.codes[kept]
    used = np.unique(codes[codes >= 0])
    place = np.full(len(cells.distinct) + 1, -1, np.int32)
    place[used] = np.arange(len(used))
    distinct = tuple(cells.distinct[i] for i in used)
    places = cells.in_file(np.flatnonzero(kept))
    return replace(cells, codes=place[codes], distinct=distinct, places=places)


def column_of(path: Path, name: str, texts: Iterable[str | None]) -> Column:
    """A column of texts; an empty one, or None, is a missing cell."""
    cells = [tidy_text(text) or None if text else None for text in texts]
    coded = pa.array(cells, pa.large_string()).dictionary_encode()
    codes = np.asarray(coded.indices.fill_null(-1), np.int32)
    return Column(codes, tuple(coded.dictionary.to_pylist()), f"{path}: column '{name}'")


def runs_of(fields: Sequence[Field], names: Container[str]) -> list[list[str]]:
    """The columns of some names, those together that stand side by side."""
    runs: list[list[str]] = [[]]
    for field in fields:
        if field.name in names:
            runs[-1].append(field.name)
        else:
            runs.append([])
    return runs


def unique_names(names: Sequence[str]) -> list[str]:
    """Names, tidy and different: an empty one is told by its place, a second one is numbered."""
    taken: set[str] = set()
    result = []
    for place, name in enumerate(map(tidy_name, names), start=1):
        base = name or f"column {place}"
        new, number = base, 2
        while new in taken:
            new, number = f"{base}_{number}", number + 1
        taken.add(new)
        result.append(new)
    return result


def check_size(path: Path, rows: int, columns: int) -> None:
    """Raise CrowdError if a table is larger than can be looked at, or holds nothing."""
    if columns > MAX_COLUMNS:
        raise CrowdError(
            f"{path}: has {columns:,} columns; {MAX_COLUMNS:,} are looked at at most. Keep the "
            "questions, and what is known of people"
        )
    if rows == 0:
        raise CrowdError(f"{path}: has a header but no rows of answers")
    if rows * columns > MAX_CELLS:
        raise CrowdError(
            f"{path}: has {rows:,} rows of {columns:,} columns; {MAX_CELLS:,} cells are looked at "
            "at most"
        )
