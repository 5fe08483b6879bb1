"""Find out by its content what a file is, and read it."""

from dataclasses import replace
from pathlib import Path

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.runtime.numerals import number
from crowdllm_jax.study.archive import unpacked
from crowdllm_jax.study.file_kind import foreign, is_parquet
from crowdllm_jax.study.formats import (
    annotators,
    excel,
    figure_eight,
    json_records,
    label_studio,
    labelled,
    limesurvey,
    mturk,
    pabulib,
    preflib,
    prolific,
    qualtrics,
    surveymonkey,
    toloka,
    zooniverse,
)
from crowdllm_jax.study.formats.delimited import (
    MAX_BYTES,
    TOP,
    Rows,
    read_delimited,
    read_rows,
    with_points,
)
from crowdllm_jax.study.formats.pabulib import Election
from crowdllm_jax.study.formats.parquet import read_parquet
from crowdllm_jax.study.formats.sheet import Sheet
from crowdllm_jax.study.tables import check_file

_BY_HEADER = (
    (qualtrics.is_qualtrics, qualtrics.read_qualtrics),
    (surveymonkey.is_surveymonkey, surveymonkey.read_surveymonkey),
    (limesurvey.is_limesurvey, limesurvey.read_limesurvey),
    (label_studio.is_label_studio, label_studio.read_label_studio_rows),
    (mturk.is_mturk, mturk.read_mturk),
    (figure_eight.is_figure_eight, figure_eight.read_figure_eight),
    (toloka.is_toloka, toloka.read_toloka),
    (zooniverse.is_zooniverse, zooniverse.read_zooniverse),
    (prolific.is_prolific, prolific.read_prolific),
    (surveymonkey.has_two_headings, surveymonkey.read_two_headings),
)
"""Programs that export tables: how one knows them, and reads them."""


def read_file(
    path: Path, encoding: str | None = None, sheet: str | None = None
) -> Sheet | Election:
    """Read a file that people bring.

    Args:
      encoding: of a CSV that does not say so itself. sheet: of a workbook.
    Raises:
      CrowdError: it is damaged, holds nothing, or is of a kind that is not read.
    """
    check_file(path)
    with unpacked(path) as plain:
        if plain == path:
            return _read(path, encoding, sheet)
        check_file(plain)
        return _named(_read(plain, encoding, sheet), path)


def _named(read: Sheet | Election, path: Path) -> Sheet | Election:
    """What was read of a copy, named after the file that it was unpacked from."""
    notes = (f"It is compressed, and holds {read.path.name}.", *read.notes)
    if isinstance(read, Election):
        return replace(read, path=path, notes=notes)
    before = str(read.path)
    fields = tuple(
        replace(
            field, cells=replace(field.cells, where=field.cells.where.replace(before, str(path)))
        )
        for field in read.fields
    )
    return replace(read, path=path, fields=fields, notes=notes)


def _read(path: Path, encoding: str | None, sheet: str | None) -> Sheet | Election:
    """Read a file that is not compressed."""
    with path.open("rb") as file:
        head = file.read(300)
    if is_parquet(path):
        return read_parquet(path)
    if program := _program(path, head):
        return labelled.read_labelled(path, program)
    if excel.is_excel(path):
        return _table(excel.excel_rows(path, sheet), None)
    if path.suffix.lower() in (".yaml", ".yml"):
        raise CrowdError(f"{path}: is a study or configuration already: crowdllm run {path}")
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    is_json = start[:1] in (b"{", b"[")
    is_election = pabulib.is_pabulib(path) or preflib.is_preflib(path)
    if (is_json or is_election) and path.stat().st_size > MAX_BYTES:
        raise CrowdError(f"{path}: is larger than {MAX_BYTES:,} bytes")
    if pabulib.is_pabulib(path):
        return pabulib.read_pabulib(path)
    if preflib.is_preflib(path):
        return preflib.read_preflib(path)
    if is_json:
        return _json(path, head)
    if told := foreign(path, encoding or "utf-16" if b"\0" in head else encoding):
        raise CrowdError(f"{path}: is {told}")
    return _table(read_rows(path, encoding, most=TOP), encoding)


def _json(path: Path, head: bytes) -> Sheet:
    """A table in JSON, of what program its keys tell."""
    if b"SurveyEntry" in head or path.suffix.lower() == ".qsf":
        raise CrowdError(
            f"{path}: is a survey of Qualtrics, its questions without answers; which file "
            f"holds the answers? crowdllm init ANSWERS.csv --questionnaire {path.name}"
        )
    records = json_records.records_in(path)
    if annotators.is_annotated(records):
        return annotators.read_annotated(path, records)
    if label_studio.is_label_studio_json(records):
        return label_studio.read_label_studio_json(path, records)
    return json_records.read_records(path, records)


def _program(path: Path, head: bytes) -> str | None:
    if head.startswith((b"$FL2", b"$FL3")) or b"SPSS PORT FILE" in head:
        return "SPSS"
    old_stata = head[:1] in (b"\x6e", b"\x6f", b"\x71", b"\x72", b"\x73") and head[2:3] == b"\1"
    if head.startswith(b"<stata_dta>") or (old_stata and path.suffix.lower() == ".dta"):
        return "Stata"
    return None


def _table(top: Rows, encoding: str | None) -> Sheet:
    """A table of rows, by the program that its header tells of; `top` may be its first rows."""
    book = excel.is_excel(top.path)
    for is_so, read in _BY_HEADER:
        if is_so(top):
            return read(top if book else read_rows(top.path, encoding))
    if book:
        return excel.table_of(top, "an Excel workbook")
    if not top.titles and _begins_with_answers(top):
        first = ", ".join(top.rows[0][:6])
        raise CrowdError(
            f"{top.path}: has no row of names, since its first row ({first}) is like those below; "
            "put names above, such as user,item,rating"
        )
    names = [name for name in map(tidy_name, (top.rows or [[]])[0]) if name]
    if top.titles or len({*names}) < len(names):
        return with_points(excel.table_of(read_rows(top.path, encoding), "a CSV table"))
    return read_delimited(top.path, encoding)


def _begins_with_answers(top: Rows) -> bool:
    """Whether the first row holds numbers for the most part, and many of its cells come again below
    it; or texts that come again there beside several others."""
    header, *body = top.rows or [[]]
    below = [{row[i] for row in body if row != header} for i in range(len(header))]
    beside = sum(
        bool(cell) and cell in texts and number(cell) is None and len({*filter(None, texts)}) > 2
        for cell, texts in zip(header, below, strict=True)
    )
    if beside > 1 and 2 * beside >= len(header):
        return True
    numbers = sum(number(cell) is not None for cell in header)
    again = sum(bool(cell) and any(row[i] == cell for row in body) for i, cell in enumerate(header))
    plain = numbers == len(header)
    return (
        len(header) > 1
        and 2 * numbers >= len(header)
        and (3 if plain else 2) * again >= len(header)
    )
