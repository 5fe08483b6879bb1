"""CSV in any encoding and with any sign between cells (RFC 4180, https://www.rfc-editor.org/rfc/rfc4180).

How a file is written is found out by its bytes and first rows, and said. Tables that other programs
for surveys export as CSV have modules of their own, which read the rows from here.
"""

import codecs
import csv
import importlib
import io
import itertools
import re
import sys
import warnings
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.runtime.numerals import number
from crowdllm_jax.study.archive import unpacked
from crowdllm_jax.study.csv_file import Dialect, Layout, check_encoding, layout_of
from crowdllm_jax.study.draft import profile_names
from crowdllm_jax.study.file_kind import foreign, is_parquet
from crowdllm_jax.study.formats.sheet import Field, Sheet, check_size, unique_names
from crowdllm_jax.study.tables import Column, check_file, read_table
from crowdllm_jax.study.wide import heading_rows

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_COMMA = re.compile(r"[+-]?([1-9]\d{0,2}(\.\d{3})+|\d+)(,\d+)?")
"""A number with decimals after a comma, whose thousands points may set apart."""
_HEAD = 1 << 17
TOP = 20
"""Rows by which a file is known."""
MAX_BYTES = 300_000_000
"""Of a file whose rows are read one by one."""


@dataclass(frozen=True)
class Rows:
    """The cells of a file's first sheet, row by row; `notes` say how it is written, and `titles`
    rows stood above them."""

    path: Path
    rows: list[list[str]]
    notes: tuple[str, ...] = ()
    titles: int = 0


def dialect_of(path: Path, encoding: str | None) -> tuple[Dialect, tuple[str, ...]]:
    """How a CSV is written, and sentences that say it where it is not the usual way.

    Args:
      encoding: given by the user, or None.
    Raises:
      CrowdError: its bytes fit no encoding that can be told.
    """
    notes = []
    if encoding is None:
        encoding = _encoding_of(path)
        if encoding == "cp1252":
            notes.append(
                "The file is not UTF-8; it is read as CP1252 (Windows, Western Europe). If "
                "accents come out wrong, say what it is with --encoding."
            )
        elif not encoding.startswith("utf-8"):
            told = "" if encoding.startswith("utf-") else ", by what its letters make; if accents "
            told += "come out wrong, say what it is with --encoding" if told else ""
            notes.append(f"The file is written in {encoding.upper()}{told}.")
    else:
        try:
            "".encode(encoding)
        except LookupError as error:
            raise CrowdError(f"--encoding: {encoding!r} is no encoding of text") from error
    dialect = Dialect(encoding=encoding)
    check_encoding(path, dialect)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CrowdWarning)
        layout = layout_of(path, dialect)
    with path.open("rb") as file:
        head = file.read(_HEAD)
    text = codecs.getincrementaldecoder(layout.encoding)("replace").decode(head)
    delimiter = layout.delimiter if layout.lines else _delimiter_of(text)
    if delimiter != ",":
        notes.append(f"Its cells are separated by {_DELIMITERS.get(delimiter, delimiter)}.")
    return replace(dialect, delimiter=delimiter), tuple(notes)


def _encoding_of(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(4096)
        if head.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-8"  # the mark tells, see `layout_of`
        zeros = [head[first::2].count(0) * 2 / max(len(head), 1) for first in (0, 1)]
        if max(zeros) > 0.4 and min(zeros) < 0.1:
            return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
        file.seek(0)
        fits = {name: codecs.getincrementaldecoder(name)() for name in ("utf-8", "cp1252")}
        strange = 0
        while chunk := file.read(1 << 24):
            for name, decoder in list(fits.items()):
                try:
                    text = decoder.decode(chunk)
                except UnicodeDecodeError:
                    del fits[name]
                    continue
                strange += len(_STRANGE.findall(text)) if name == "cp1252" else 0
    if "utf-8" in fits or ("cp1252" in fits and not strange):
        return next(iter(fits))
    return _told_encoding(path)


_STRANGE = re.compile(r"[^\W\d_][\xa1-\xbf\xd7\xf7](?<![ªº°·»«])[^\W\d_]|[^\x00-\x7f]{4}")
"""What no word of Western Europe holds: a sign amid letters, or four letters with accents."""


FEW_LETTERS = 8
"""Bytes beyond ASCII; fewer tell nothing."""
SURE = 0.01
"""Of what chardet calls confidence, which is below 0.5 where it is right."""


def _told_encoding(path: Path) -> str:
    """The encoding by what its letters make of the text.

    Raises:
      CrowdError: it cannot be told, or the package that tells is not installed.
    """
    try:
        chardet = importlib.import_module("chardet")
    except ImportError:
        found = None
    else:
        with path.open("rb") as file:
            head = file.read(_HEAD)
        many = sum(byte > 127 for byte in head) >= FEW_LETTERS
        told = chardet.detect(head)
        found = told["encoding"] if many and told["confidence"] >= SURE else None
    try:
        name = codecs.lookup(found or "").name
        check_encoding(path, Dialect(encoding=name))
    except (LookupError, CrowdError) as error:
        raise CrowdError(
            f"{path}: is neither UTF-8 nor CP1252; which encoding is it? Say it with --encoding, "
            "such as --encoding cp1250, gb18030 or shift_jis"
        ) from error
    return name


def _delimiter_of(text: str) -> str:
    """The sign that cuts the first rows into the same number of cells, the header too, and into the
    most."""

    def cells(delimiter: str) -> tuple[bool, bool, int]:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        try:
            counts = [len(row) for row in itertools.islice(rows, 40) if row]
        except csv.Error:
            return False, False, 0
        if len(counts) == 40 or len(text) < _HEAD // 4:
            common, often = Counter(counts).most_common(1)[0] if counts else (0, 0)
        else:  # the last row may be cut off
            common, often = Counter(counts[:-1] or counts).most_common(1)[0]
        even = common > 1 and often > 0.8 * len(counts)
        # Decimal commas cut the rows evenly, but not the header.
        return even, counts[:1] == [common], common

    return max(_DELIMITERS, key=cells)


def read_rows(path: Path, encoding: str | None, most: int | None = None) -> Rows:
    """The rows of a CSV, each as long as its header.

    Args:
      most: read no more rows than these.
    """
    dialect, notes = dialect_of(path, encoding)
    if most is None and path.stat().st_size > MAX_BYTES:
        raise CrowdError(f"{path}: is larger than {MAX_BYTES:,} bytes; export fewer columns")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CrowdWarning)
        layout = layout_of(path, dialect)
    limit = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        with path.open(encoding=layout.encoding, errors="replace", newline="") as file:
            reader = csv.reader(file, delimiter=dialect.delimiter)
            stop = None if most is None else layout.lines + most
            rows = [row for row in itertools.islice(reader, layout.lines, stop) if any(row)]
    except csv.Error as error:
        raise CrowdError(f"{path}: cannot be read as CSV: {error}") from error
    finally:
        csv.field_size_limit(limit)
    return without_titles(Rows(path, rows, notes))


def without_titles(read: Rows) -> Rows:
    """Rows from the header on, all as long as it; `notes` tell of titles that stand above it."""
    filled = [sum(map(bool, row)) for row in read.rows[:TOP]]
    usual = sorted(filled)[len(filled) // 2] if filled else 0
    # A title has a cell or two; a header has a name for most columns, the first too.
    at = next((i for i, n in enumerate(filled) if n > 2 and 2 * n > usual), 0)
    held = [cell for cell in read.rows[at] if cell] if at else []
    told_names = sum(number(cell) is None for cell in held) * 2 >= len(held)
    merged = at > 0 and _stands_over(read.rows[at - 1], read.rows[at])
    at -= merged
    merged = merged or (0 < at < len(read.rows) - 1 and _stands_over(*read.rows[at : at + 2]))
    above = max(filled[:at], default=0)
    if at and (above > min(2, usual / 2) or not (read.rows[at][0] or merged) or not told_names):
        at = 0
    titles = [" ".join(filter(None, row)) for row in read.rows[:at]]
    told = (f"Left out above the names of columns: {' / '.join(titles)[:200]}.",) if at else ()
    return Rows(read.path, even(read.path, read.rows[at:]), (*read.notes, *told), at)


def _stands_over(row: list[str], below: list[str]) -> bool:
    """Whether a row names several columns together (`Gender` over `Men` and `Women`), once as
    merged cells do or over each, and the row below names each; one alone may be a title."""
    names = [place for place, cell in enumerate(row) if cell]
    shared = [
        place
        for place in range(1, min(len(row), len(below)))
        if below[place] and row[place] in ("", row[place - 1]) and below[place] != below[place - 1]
    ]
    numbers = [cell for cell in (*row, *below) if cell and number(cell) is not None]
    grouped = len(names) > 1 or any(profile_names.is_profile(row[place], "") for place in names)
    return grouped and bool(shared) and max(shared) > names[0] and not numbers


def even(path: Path, rows: list[list[str]]) -> list[list[str]]:
    """Rows filled up to the length of the header.

    Raises:
      CrowdError: one is longer than that.
    """
    width = max(map(len, rows[:3]), default=0)
    for place, row in enumerate(rows, start=1):
        if len(row) > width and any(row[width:]):
            raise CrowdError(
                f"{path}: row {place} has {len(row)} cells, the header {width} (a cell that holds "
                "the delimiter needs quotes around it)"
            )
    return [[*row[:width], *[""] * (width - len(row))] for row in rows]


def read_delimited(path: Path, encoding: str | None) -> Sheet:
    """Read a CSV with one row of names.

    Raises:
      CrowdError: see `read_table`; or two columns have one name, or one has none.
    """
    dialect, notes = dialect_of(path, encoding)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CrowdWarning)
        layout = layout_of(path, dialect)
    check_size(path, 1, len(layout.names))
    if extra := heading_rows(layout):
        below = "row 2 holds" if extra == 1 else f"rows 2 to {extra + 1} hold"
        raise CrowdError(
            f"{path}: {below} headings, too, and not as a survey program exports them; keep one "
            "row of headings"
        )
    names = [name for name in map(tidy_name, layout.names) if name]
    if twice := [name for name, often in Counter(names).items() if often > 1]:
        raise CrowdError(f"{path}: column '{twice[0]}' stands there twice; rename one")
    if _texts_without_name(layout):
        names.insert(0, "")
    if len(names) < 2:
        title = any(len(row) > 1 for row in layout.first)
        remedy = "; delete what stands above the row of names" if title else ""
        if "::" in (names or [""])[0]:
            remedy = "; write a comma in place of each ::, and a row of names above"
        elif not title and _apart_by_blanks([layout.names, *layout.first]):
            remedy = "; if blanks stand between its cells, write a comma in place of each"
        raise CrowdError(
            f"{path}: has one column ('{(names or [''])[0][:80]}'); a table needs people, and "
            f"their answers in other columns{remedy}"
        )
    table = read_table(path, names, prose=names, dialect=dialect)
    rows = len(next(iter(table.values())).codes)
    check_size(path, rows, len(names))
    called = unique_names(list(table))
    fields = tuple(Field(name, cells) for name, cells in zip(called, table.values(), strict=True))
    sheet = Sheet(path, "a CSV table", rows, fields, notes)
    return sheet if dialect.delimiter == "," else with_points(sheet)


def read_separated(
    path: Path, columns: list[str], *, numbers: Collection[str]
) -> dict[str, Column]:
    """Read named columns of a CSV, whatever separates its cells, or of a Parquet file.

    Args:
      numbers: those of the columns that hold numbers, whose decimals may stand after a comma where
        no comma separates cells.
    Raises:
      CrowdError: see `read_table`.
    """
    check_file(path)
    with unpacked(path) as plain:
        other = is_parquet(plain) or foreign(plain, None) is not None
        dialect = Dialect() if other else dialect_of(plain, Dialect().encoding)[0]
    table = read_table(path, columns, dialect=dialect)
    if dialect.delimiter == ",":
        return table
    held = [name for name in numbers if _decimal_commas(Field(name, table[name]))]
    return table | {name: _pointed(table[name]) for name in held}


def _texts_without_name(layout: Layout) -> bool:
    """Whether the first column alone has no name, as in crosstabs, and holds texts: numbers there
    count the rows."""
    tidy = [tidy_name(name) for name in layout.names]
    first = [tidy_name(row[0]) for row in layout.first if row]
    texts = [text for text in first if text and number(text) is None]
    return tidy[0] == "" and tidy.count("") == 1 and 2 * len(texts) > len(first)


def _apart_by_blanks(rows: list[list[str]]) -> bool:
    """Whether blanks cut rows of one cell into equally many."""
    parts = {len(row[0].split()) for row in rows if len(row) == 1}
    return len(rows) > 1 and len(parts) == 1 and max(parts) > 1


def with_points(sheet: Sheet, *, sure: bool = True) -> Sheet:
    """A sheet whose decimals stand after a point, and a note if they stood after a comma.

    Args:
      sure: a comma in a number is that of decimals; else it may be one between thousands, or
        between codes of several answers.
    """
    held = [f.name for f in sheet.fields if _decimal_commas(f) and (sure or _no_other_commas(f))]
    if not held:
        return sheet
    fields = tuple(
        replace(field, cells=_pointed(field.cells)) if sure or field.name in held else field
        for field in sheet.fields
    )
    where = "" if sure else f" in {', '.join(held)}"
    told = f"Decimals stand after a comma{where}; they are written with a point."
    return replace(sheet, fields=fields, notes=(*sheet.notes, told))


def _decimal_commas(field: Field) -> bool:
    texts = field.cells.distinct
    held = all(_COMMA.fullmatch(text) for text in texts)
    return bool(texts) and held and any("," in text for text in texts)


MOST_CODES = 20
"""Numbers up to this may be codes of options."""


def _no_other_commas(field: Field) -> bool:
    """Whether commas in numbers stand neither before three digits (1,200) nor between two codes of
    which the second is the larger (1,3), and what stands behind one, or some number without one,
    is no code."""
    parts = [text.split(",") for text in field.cells.distinct if "," in text]
    thousands = all(len(part) == 3 for _, part in parts)
    codes = all("." not in one and int(one) < int(other) for one, other in parts)
    if thousands or codes or field.labels or field.several:
        return False
    decimals = any(part.startswith("0") or int(part) > MOST_CODES for _, part in parts)
    alone = [text for text in field.cells.distinct if "," not in text]
    large = any("." in text or abs(int(text.split(",")[0])) > MOST_CODES for text in alone)
    return decimals or large


def _pointed(column: Column) -> Column:
    """A column whose numbers have a point, if all its texts are numbers; else as it is."""
    if not all(_COMMA.fullmatch(text) for text in column.distinct):
        return replace(column, decimal=".")
    texts = tuple(text.replace(".", "").replace(",", ".") for text in column.distinct)
    return replace(column, distinct=texts, decimal=".")
