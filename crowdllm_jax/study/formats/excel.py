"""Excel workbooks (.xlsx, ECMA-376, https://ecma-international.org/publications-and-standards/standards/ecma-376/).

Read by openpyxl, which gives of a formula the value that Excel last computed.
"""

import datetime
import re
import zipfile
from pathlib import Path
from typing import Any

from crowdllm_jax.errors import CrowdError, first_line
from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.study.formats.delimited import Rows, without_titles
from crowdllm_jax.study.formats.extra import needed
from crowdllm_jax.study.formats.sheet import Field, Sheet, check_size, column_of, unique_names

MAX_UNPACKED = 1_000_000_000
"""Bytes that a workbook's parts may unpack to: a few kilobytes can claim terabytes."""


def is_excel(path: Path) -> bool:
    """Whether a file is a workbook, by its content."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.startswith("xl/") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def excel_rows(path: Path, sheet: str | None) -> Rows:
    """The rows of one sheet of a workbook.

    Args:
      sheet: its name; None takes the only one that holds something.
    Raises:
      CrowdError: several hold something, the workbook is damaged, or a formula has no value.
    """
    openpyxl = needed("openpyxl", "Excel workbooks")
    with zipfile.ZipFile(path) as archive:
        if sum(part.file_size for part in archive.infolist()) > MAX_UNPACKED:
            raise CrowdError(f"{path}: unpacks to more than {MAX_UNPACKED:,} bytes")
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        held = {ws.title: ws for ws in book.worksheets if _holds_a_table(ws)}
        if sheet is not None and sheet not in held:
            raise CrowdError(
                f"--sheet: {path} has no sheet '{sheet}' with a table; it has: {', '.join(held)}"
            )
        if not held:
            raise CrowdError(f"{path}: holds no sheet with a table")
        name = sheet or _the_answers(path, held)
        beside = [title for title in held if title != name and sheet is None]
        notes = [f"Left out, no answers by their names: sheets {', '.join(beside)}."]
        rows = []
        for row in held[name].iter_rows(values_only=True):
            if any(cell is not None for cell in row):
                rows.append([_text(cell) for cell in row])
            check_size(path, len(rows) or 1, len(row))
        book.close()
    except CrowdError:
        raise
    except Exception as error:  # openpyxl lets through whatever a damaged part makes of it
        raise CrowdError(f"{path}: cannot be read as a workbook: {first_line(error)}") from error
    while rows and rows[0] and not any(row[-1] for row in rows):
        rows = [row[:-1] for row in rows]
    told = f"The answers are those of sheet '{name}'."
    read = without_titles(Rows(path, rows, (told, *(notes if beside else ()))))
    _refuse_uncomputed(path, name, read)
    return read


_BESIDE = re.compile(
    r"(?i)codebook|code ?plan|read ?me|legend|dictionary|variables?\b|labels?\b|about|info|"
    r"notes?\b|meta|instruction|summary|documentation|hinweis|erläuterung|übersicht|methodik|kodebuch"
)
"""Sheets that tell of answers and hold none."""


def _the_answers(path: Path, held: dict[str, Any]) -> str:
    """The only sheet whose name is not that of a codebook or the like.

    Raises:
      CrowdError: there is not one.
    """
    named = [title for title in held if not _BESIDE.search(title)] if len(held) > 1 else [*held]
    if len(named) == 1:
        return named[0]
    largest = max(named or held, key=lambda title: held[title].max_row or 0)
    raise CrowdError(
        f"{path}: which sheet holds the answers: {', '.join(held)}? Say it with --sheet '{largest}'"
    )


def _holds_a_table(sheet: object) -> bool:
    rows = sheet.iter_rows(max_row=50, values_only=True)  # type: ignore[attr-defined]
    return sum(sum(cell is not None for cell in row) > 1 for row in rows) > 1


def _text(cell: object) -> str:
    """A cell as people see it: whole numbers without decimals, dates as ISO 8601."""
    match cell:
        case None:
            return ""
        case bool():
            return str(int(cell))
        case float() if cell.is_integer() and abs(cell) < 2**53:
            return str(int(cell))
        case datetime.date() | datetime.time():
            return cell.isoformat()
        case _:
            return str(cell)


def _refuse_uncomputed(path: Path, name: str, read: Rows) -> None:
    """Formulas that no program has computed have no value: a column of them seems to be empty."""
    rows = read.rows
    columns = range(len(rows[0]) if rows else 0)
    empty = [c for c in columns if rows[0][c] and not any(row[c] for row in rows[1:])]
    if not empty:
        return
    openpyxl = needed("openpyxl", "Excel workbooks")
    book = openpyxl.load_workbook(path, read_only=True)
    for row in book[name].iter_rows(max_row=40, values_only=True):
        for column in empty:
            if column < len(row) and str(row[column] or "").startswith("="):
                raise CrowdError(
                    f"{path}: column '{rows[0][column]}' holds formulas that were never computed; "
                    "open the workbook in Excel and save it"
                )


def table_of(rows: Rows, what: str) -> Sheet:
    """Rows under one row of names as a sheet."""
    header, *body = rows.rows or [[]]
    check_size(rows.path, len(body), len(header))
    names = unique_names(header)
    plain = [tidy_name(name) for name in header]
    twice = sorted({name for name in plain if name and plain.count(name) > 1})
    notes = (
        (f"Columns of one name are told apart by numbers: {', '.join(twice)}.",) if twice else ()
    )
    fields = tuple(
        Field(name, column_of(rows.path, name, (row[place] for row in body)))
        for place, name in enumerate(names)
    )
    return Sheet(rows.path, what, len(body), fields, (*rows.notes, *notes))
