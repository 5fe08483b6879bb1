"""What a file is by its first bytes, for a message that says how to make a table of it."""

import re
import zipfile
from pathlib import Path

HEAD = 4096

_STATA = bytes([0x69, 0x6C, 0x6E, 0x6F, 0x71, 0x72, 0x73])
"""First byte of the versions of a Stata file before 117."""

_SPSS = ("an SPSS file", "pandas.read_spss('{}')")
_STATA_FILE = ("a Stata file", "pandas.read_stata('{}')")
_SAS = ("a SAS file", "pandas.read_sas('{}', encoding='utf-8')")
_EXCEL = ("an Excel workbook", "pandas.read_excel('{}')")
_FEATHER = ("an Arrow (Feather) file", "pandas.read_feather('{}')")

_PANDAS = {
    b"$FL2": _SPSS,
    b"$FL3": _SPSS,
    b"<stata_dta>": _STATA_FILE,
    bytes(12) + bytes.fromhex("c2ea8160"): _SAS,
    b"HEADER RECORD*******LIB": _SAS,
    b"ARROW1": _FEATHER,
    b"FEA1": _FEATHER,
}
_NAMED = {
    ".sav": _SPSS,
    ".zsav": _SPSS,
    ".dta": _STATA_FILE,
    ".sas7bdat": _SAS,
    ".xpt": _SAS,
    ".xls": _EXCEL,
    ".xlsx": _EXCEL,
    ".ods": ("an OpenDocument spreadsheet", "pandas.read_excel('{}')"),
}
_PAGE = (
    "a web page; it may be what a failed download left, or a table that some programs call .xls: "
    "open it in a spreadsheet and save that as 'CSV UTF-8'"
)
_OTHERS = {
    b"%PDF": "a PDF document; copy its table into a spreadsheet and save that as 'CSV UTF-8'",
    b"version https://git-lfs": "a pointer to a file that is kept elsewhere; run `git lfs pull`",
    b"SQLite format 3": "an SQLite database; export the table as CSV",
    b"\x89HDF": "an HDF5 file; write its table as CSV or Parquet",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it and name the table in it",
    b"Rar!": "a RAR archive; unpack it and name the table in it",
    b"{\\rtf": "a text document (RTF); save its table as 'CSV UTF-8'",
    b"<?xml": "XML; write its records as CSV or Parquet",
    b"<!doctype html": _PAGE,
    b"<html": _PAGE,
    b"<table": _PAGE,
}
_JSON = re.compile(rb'\[\s*[\[{]|\{\s*"')
_R = re.compile(rb"RD[XA]|X\n\0\0\0|A\n[23]\n\d{5,6}\n\d{5,6}\n")
_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")
_TAR = slice(257, 262)


def is_parquet(path: Path) -> bool:
    """Whether a file begins as Parquet does, whatever its name."""
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def foreign(path: Path, encoding: str | None = None) -> str | None:
    """What a file is, and what to do with it, if it is neither Parquet nor text (in an encoding, if
    one is known); None if it may be text."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    return _archive(path, head) or _program_file(path, head) or _text(path, head, encoding)


def _archive(path: Path, head: bytes) -> str | None:
    if head.startswith(b"PK\x03\x04"):
        return _zipped(path)
    if head[_TAR] == b"ustar":
        return "a tar archive; unpack it and name the table in it"
    twice = head.startswith(_PACKED)
    return "compressed twice; unpack it and name what is in it" if twice else None


def _program_file(path: Path, head: bytes) -> str | None:
    """A file of a spreadsheet or of a program for statistics."""
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        return _by_pandas(path, ("an Excel workbook of before 2007", _EXCEL[1]))
    for magic, kind in _PANDAS.items():
        if head.startswith(magic):
            return _by_pandas(path, kind)
    if b"SPSS PORT FILE" in head[:300]:
        return _by_pandas(path, ("an SPSS portable file", "pyreadstat.read_por('{}')[0]"))
    if head[:1] in _STATA and head[1:2] in (b"\1", b"\2") and head[2:3] == b"\1":
        return _by_pandas(path, _STATA_FILE)
    return _of_r(path) if _R.match(head) else None


def _text(path: Path, head: bytes, encoding: str | None) -> str | None:
    """Text that is no table, or no text at all."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for magic, told in _OTHERS.items():
        if start.startswith(magic.lower()):
            return told
    if _JSON.match(start):
        return _by_pandas(path, ("JSON", "pandas.read_json('{}')"))
    # UTF-16 and UTF-32 hold zero bytes; their byte order mark says that it is them.
    wide = encoding is not None and encoding.startswith(("utf-16", "utf-32"))
    if wide or b"\0" not in head or head.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
        return None
    if named := _NAMED.get(path.suffix.lower()):
        return _by_pandas(path, named)
    zeros = [head[first::2].count(0) * 2 / len(head) for first in (0, 1)]
    if max(zeros) > 0.4 and min(zeros) < 0.1:
        endian = "be" if zeros[0] > zeros[1] else "le"
        return f"text in UTF-16 without a byte order mark; set study.encoding: utf-16-{endian}"
    return "no text (it holds zero bytes); a table is CSV or Parquet"


def _by_pandas(path: Path, kind: tuple[str, str]) -> str:
    what, reader = kind
    told = "save it there as 'CSV UTF-8', or " if "read_excel" in reader else ""
    out = path.with_suffix(".csv").name
    known = kind in (_SPSS, _STATA_FILE, _EXCEL) or what == "JSON"
    init = f"; or let `crowdllm init {path.name}` make a study of it" if known else ""
    return (
        f"{what}; {told}write it as CSV, such as {reader.format(path.name)}.to_csv('{out}', "
        f"index=False){init}"
    )


def _of_r(path: Path) -> str:
    read = f'readRDS("{path.name}")'
    if path.suffix.lower() in (".rdata", ".rda"):
        read = f'get(load("{path.name}"))'
    out = path.with_suffix(".csv").name
    return f'a file of R; write it as CSV there: write.csv({read}, "{out}", row.names = FALSE)'


def _zipped(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        names = []
    if any(name.startswith("xl/") for name in names):
        return _by_pandas(path, _EXCEL)
    if "content.xml" in names:
        return _by_pandas(path, _NAMED[".ods"])
    if any(name.startswith("word/") for name in names):
        return "a Word document; copy its table into a spreadsheet and save that as 'CSV UTF-8'"
    if any(name.startswith("Index/") for name in names):
        return "a Numbers spreadsheet; export it as CSV"
    if not names and path.suffix.lower() in _NAMED:
        return _by_pandas(path, _NAMED[path.suffix.lower()])
    return "a ZIP archive within another; unpack it and name the table in it"
