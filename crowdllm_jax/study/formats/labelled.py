"""SPSS (.sav, .zsav, .por) and Stata (.dta): codes with value labels and declared missing values.

Read by pyreadstat (https://ofajardo.github.io/pyreadstat_documentation/). SPSS declares up to three
codes, or a range of codes, as "user-missing"
(https://www.gnu.org/software/pspp/pspp-dev/html_node/System-File-Format.html); Stata has
the missing values .a to .z (https://www.stata.com/help.cgi?dta).
"""

import math
from pathlib import Path
from typing import Any

from crowdllm_jax.errors import CrowdError, first_line
from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.study.formats.extra import needed
from crowdllm_jax.study.formats.sheet import Field, Sheet, check_size, column_of, unique_names

_READERS = {
    "SPSS": {".sav": "read_sav", ".zsav": "read_sav", ".por": "read_por"},
    "Stata": {".dta": "read_dta"},
}


def read_labelled(path: Path, program: str) -> Sheet:
    """Read a file of SPSS or Stata (`program`).

    Raises:
      CrowdError: it is damaged or too large, or pyreadstat is not installed.
    """
    pyreadstat = needed("pyreadstat", f"{program} files")
    with path.open("rb") as file:
        head = file.read(4)
    suffix = {"SPSS": ".sav" if head.startswith(b"$FL") else ".por", "Stata": ".dta"}[program]
    reader = getattr(pyreadstat, _READERS[program][suffix])
    options: dict[str, Any] = {"apply_value_formats": False, "output_format": "dict"}
    if suffix != ".por":
        options["user_missing"] = True
    try:
        _, meta = reader(str(path), metadataonly=True)
        check_size(path, max(meta.number_rows or 1, 1), len(meta.column_names))
        data, meta = reader(str(path), **options)
    except CrowdError:
        raise
    except Exception as error:  # pyreadstat's own errors have no common kind
        raise CrowdError(f"{path}: cannot be read as {program}: {first_line(error)}") from error
    rows = len(next(iter(data.values()), ()))
    check_size(path, rows, len(data))
    names = unique_names(list(data))
    fields = tuple(
        _field(path, name, column, data[column], meta)
        for name, column in zip(names, data, strict=True)
    )
    return Sheet(path, f"{'an' if program == 'SPSS' else 'a'} {program} file", rows, fields)


def _field(path: Path, name: str, column: str, cells: Any, meta: Any) -> Field:
    texts = [_text(cell) for cell in cells]
    labels = meta.variable_value_labels.get(column, {})
    pairs = sorted(((_text(code) or "", tidy_name(str(label))) for code, label in labels.items()))
    pairs.sort(key=lambda pair: _number(pair[0]))
    missing = {_text(code) or "" for code in meta.missing_user_values.get(column, ())}
    for span in meta.missing_ranges.get(column, ()):
        codes = {*filter(None, texts), *(code for code, _ in pairs)}
        missing |= {code for code in codes if _within(code, span)}
    measure = meta.variable_measure.get(column, "unknown")
    return Field(
        name,
        column_of(path, name, texts),
        text=tidy_name(meta.column_names_to_labels.get(column) or ""),
        labels=tuple((code, label) for code, label in pairs if code),
        missing=frozenset(missing),
        ordered={"ordinal": True, "nominal": False}.get(measure),
    )


def _text(cell: Any) -> str | None:
    """A cell as text: whole numbers without decimals; None where there is none."""
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return None
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return str(int(cell))
    return str(cell)


def _number(code: str) -> tuple[float, str]:
    try:
        return float(code), code
    except ValueError:
        return math.inf, code


def _within(text: str, span: dict[str, Any]) -> bool:
    low, high = span["lo"], span["hi"]
    if isinstance(low, str) or isinstance(high, str):
        return text == str(low).strip()
    number = _number(text)[0]
    return bool(low <= number <= high)
