"""A population as one file for other programs: CSV, Parquet or SPSS (.sav), wide or long.

Whoever opens the file sees that it is synthetic: a column says so, and a note beside a CSV, or
within the others. In a CSV no text can be taken for a formula.
"""

import re
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from crowdllm_jax.errors import CrowdError, CrowdWarning, first_line
from crowdllm_jax.population.decisions import write, writing_of
from crowdllm_jax.population.read import Answers, open_population, read_manifest, reading
from crowdllm_jax.population.sample import whole_numbers
from crowdllm_jax.runtime.given import as_path
from crowdllm_jax.study import scales
from crowdllm_jax.study.scales import Scale

NOTE = (
    "Synthetic data: every row is an agent of a digital population made by crowdllm-jax, not a "
    "person. However many agents there are, they know no more than the people they were fitted to."
)
MARK = "synthetic"
"""The column that is 1 in every row."""
MOST_CELLS = 50_000_000
"""Of a .sav file, which is made in memory."""

Layout = Literal["wide", "long"]


def export_population(
    folder: str | Path, out: str | Path, *, layout: Layout = "wide", agents: int | None = None
) -> list[Path]:
    """Write a population as one file; whole or not at all.

    Args:
      folder: a population's, or a run's. out: a new file that ends in .csv, .parquet or .sav.
      layout: a row per agent, or per decision.
      agents: only the first so many.
    Returns:
      the files written: a CSV has a note beside it.
    Raises:
      CrowdError: the folder holds no population, or there is such a file.
    Warns:
      CrowdWarning: there are fewer agents.

    Examples:
      >>> cl.write_population(crowd, "agents", agents=100, seed=1)
      >>> [path.name for path in cl.export_population("agents", "agents.csv")]
      ['agents.csv', 'agents.csv.note.txt']
    """
    place = as_path(folder, "export_population: give a population's folder")
    target = as_path(out, "export_population: give the name of a file")
    writers = {".csv": _write_csv, ".parquet": _write_parquet, ".sav": _write_sav}
    if target.suffix.lower() not in writers:
        raise CrowdError(
            f"--out {target}: give the name of a file that ends in .csv, .parquet or .sav"
        )
    for path in (target, _note_of(target)) if target.suffix.lower() == ".csv" else (target,):
        if path.exists():
            raise CrowdError(f"--out {target}: {path.name} is there already; give another name")
    if (place / "population" / "manifest.json").is_file():
        place = place / "population"
    if layout not in get_args(Layout):
        raise CrowdError(f"--layout: there is no '{layout}'; give {' or '.join(get_args(Layout))}")
    population = open_population(place)
    many = population.people
    if agents is not None:
        agents, _ = whole_numbers(agents, 0, "--agents")
        many = min(agents, many)
    if agents is not None and agents > many:
        warnings.warn(
            f"--agents {agents:,}: the population has {many:,} agents; all of them are written",
            CrowdWarning,
            stacklevel=2,
        )
    table = Exported(place, population, layout, many)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return writers[target.suffix.lower()](table, target)
    except OSError as error:
        raise CrowdError(f"{target}: cannot be written: {error.strerror or error}") from error


@dataclass(frozen=True)
class Exported:
    """What is written: a population's first agents, in one of two layouts."""

    folder: Path
    population: Answers
    layout: Layout
    agents: int

    @property
    def task_columns(self) -> list[str]:
        """The columns of tasks in the wide layout: their ids."""
        taken = {"agent_id", MARK}
        return [f"task_{t}" if t.casefold() in taken else t for t in self.population.task_ids]

    def blocks(self) -> Iterator[tuple[pa.Table, np.ndarray]]:
        """(agents' ids and profiles, (n, T) levels) of a block at a time."""
        left = self.agents
        profiles = _profiles(self.folder, self.population.block)
        for block in self.population.blocks():
            people = next(profiles)
            if left < len(block):
                block, people = block[:left], people.slice(0, left)
            yield people, block
            left -= len(block)
            if not left:
                return

    def tables(self) -> Iterator[pa.Table]:
        """The rows, some agents at a time."""
        for people, block in self.blocks():
            mark = pa.array(np.ones(len(block), np.int8))
            told = people.append_column(MARK, mark)
            if self.layout == "long":
                yield self._long(told, block)
                continue
            told = told.rename_columns(_apart(told.column_names, self.task_columns))
            for name, scale, level in zip(
                self.task_columns, self.population.task_scales, block.T, strict=True
            ):
                cells = write(writing_of([scale]), np.zeros(1, np.int32), level[:, None])
                told = told.append_column(name, cells)
            yield told

    def _long(self, people: pa.Table, block: np.ndarray) -> pa.Table:
        n, t = block.shape
        repeated = people.take(pa.array(np.repeat(np.arange(n), t)))
        repeated = repeated.rename_columns(_apart(repeated.column_names, ["task_id", "decision"]))
        ids = pa.DictionaryArray.from_arrays(
            pa.array(np.tile(np.arange(t, dtype=np.int32), n)),
            pa.array(self.population.task_ids, pa.string()),
        )
        writing = writing_of(tuple(self.population.scales.values()))
        decision = write(writing, self.population.task_scale, block)
        return repeated.append_column("task_id", ids).append_column("decision", decision)


def _apart(names: list[str], others: list[str]) -> list[str]:
    """Names of profile columns that differ from those of tasks, in any case of letters."""
    taken = {name.casefold() for name in others}
    return [f"profile_{name}" if name.casefold() in taken else name for name in names]


def _profiles(folder: Path, size: int) -> Iterator[pa.Table]:
    """The agents' ids and profiles, in tables of `size` rows."""
    names = sorted(n for n in read_manifest(folder).files if n.startswith("agents-"))
    held: list[pa.Table] = []
    for name in names:
        with reading(folder / name):
            file = pq.ParquetFile(folder / name, page_checksum_verification=True)
            for batch in file.iter_batches(size):
                held.append(pa.Table.from_batches([batch]).replace_schema_metadata(None))
                if sum(map(len, held)) >= size:
                    joined = pa.concat_tables(held)
                    yield joined.slice(0, size)
                    held = [joined.slice(size)]
    if sum(map(len, held)):
        yield pa.concat_tables(held)


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """A file beside, which takes its place once it is written."""
    hidden = out.with_name(f".tmp-{out.name}")
    try:
        yield hidden
        hidden.rename(out)
    finally:
        hidden.unlink(missing_ok=True)


def _plain(table: pa.Table) -> pa.Table:
    """A table without dictionaries, which differ from block to block."""
    columns = [
        column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
        for column in table.columns
    ]
    return pa.table(columns, names=table.column_names)


def _note_of(out: Path) -> Path:
    """The note beside a CSV."""
    return out.with_name(f"{out.name}.note.txt")


def _write_csv(table: Exported, out: Path) -> list[Path]:
    note = _note_of(out)
    tables = map(_safe, map(_plain, table.tables()))
    first = next(tables)
    with _whole(out) as hidden, pyarrow.csv.CSVWriter(hidden, first.schema) as writer:
        writer.write_table(first)
        for rows in tables:
            writer.write_table(rows)
    note.write_text(f"{out.name}\n\n{NOTE}\n", "utf-8")
    return [out, note]


def _safe(table: pa.Table) -> pa.Table:
    """A table none of whose texts (and names) a spreadsheet takes for a formula: those that begin
    like one get an apostrophe (https://owasp.org/www-community/attacks/CSV_Injection)."""
    columns = [
        pc.replace_substring_regex(column, r"^([=+\-@\t\r])", r"'\1")
        if pa.types.is_string(column.type)
        else column
        for column in table.columns
    ]
    names = [re.sub(r"^([=+\-@\t\r])", r"'\1", name) for name in table.column_names]
    return pa.table(columns, names=names)


def _write_parquet(table: Exported, out: Path) -> list[Path]:
    tables = map(_plain, table.tables())
    first = next(tables)
    schema = first.schema.with_metadata({"crowdllm.synthetic": "true", "note": NOTE})
    with _whole(out) as hidden, pq.ParquetWriter(hidden, schema, compression="zstd") as writer:
        writer.write_table(first.cast(schema))
        for rows in tables:
            writer.write_table(rows.cast(schema))
    return [out]


def _write_sav(table: Exported, out: Path) -> list[Path]:
    """Answers in words become codes 1 to K with value labels."""
    try:
        import pyreadstat
    except ImportError as error:
        raise CrowdError(
            ".sav files are written with pyreadstat, which is not installed: "
            "pip install 'crowdllm-jax[files]'"
        ) from error
    cells = table.agents * (len(table.population.task_ids) + 3)
    if cells > MOST_CELLS:
        raise CrowdError(
            f"--out {out}: {cells:,} cells; a .sav file holds {MOST_CELLS:,} at most here. Give "
            "--agents fewer, or write .parquet"
        )
    rows = pa.concat_tables(map(_plain, table.tables()))
    names = _spss_names(rows.column_names)
    if table.layout == "wide":
        by_column = dict(zip(table.task_columns, table.population.task_scales, strict=True))
    else:
        by_column = {}
    data: dict[str, Any] = {}
    labels: dict[str, dict[float, str]] = {}
    measures = {}
    for name, column in zip(names, rows.column_names, strict=True):
        scale = by_column.get(column)
        data[name], own = _coded(rows.column(column), scale)
        if own:
            labels[name] = own
        measures[name] = _measure(scale, bool(own))
    import pandas

    with _whole(out) as hidden:
        try:
            pyreadstat.write_sav(
                pandas.DataFrame(data),
                str(hidden),
                file_label="Synthetic data, not people",
                note=textwrap.wrap(NOTE, 80),  # a line of SPSS
                column_labels=[name[:250] for name in rows.column_names],
                variable_value_labels=labels,
                variable_measure=measures,
            )
        except Exception as error:  # pyreadstat's own errors have no common kind
            raise CrowdError(f"{out}: cannot be written: {first_line(error)}") from error
    return [out]


def _coded(column: pa.ChunkedArray, scale: Scale | None) -> tuple[np.ndarray, dict[float, str]]:
    """A column as numbers, and what they mean."""
    if not pa.types.is_string(column.type):
        named = {}
        if scale is not None and scales.size(scale):
            shown = zip(scales.written(scale), scales.labels(scale), strict=True)
            named = {float(code): label for code, label in shown if str(code) != label}
        return column.to_numpy().astype(np.float64), _short(named)
    words = list(map(str, scales.written(scale))) if scale is not None else []
    if not words:
        words = sorted(text for text in column.unique().to_pylist() if text is not None)
    shown_as = scales.labels(scale) if scale is not None and scales.size(scale) else words
    code = pc.index_in(column, pa.array(words, pa.string()))
    numbers = code.to_numpy(zero_copy_only=False).astype(np.float64) + 1
    return numbers, _short({i + 1.0: label for i, label in enumerate(shown_as)})


def _short(labels: dict[float, str]) -> dict[float, str]:
    """Labels within the 120 bytes that SPSS allows."""
    return {k: v.encode()[:120].decode("utf-8", "ignore") for k, v in labels.items()}


def _measure(scale: Scale | None, labelled: bool) -> str:
    if scale is None:
        return "nominal" if labelled else "scale"
    if scales.is_continuous(scale):
        return "scale"
    return "ordinal" if scales.is_ordered(scale) else "nominal"


_SPSS_WORDS = frozenset(
    ("ALL", "AND", "BY", "EQ", "GE", "GT", "LE", "LT", "NE", "NOT", "OR", "TO", "WITH")
)


def _spss_names(columns: list[str]) -> list[str]:
    """Names that SPSS takes: a letter, then letters, digits and _, no more than 60, none twice,
    none of its own words."""
    taken: set[str] = set()
    names = []
    for column in columns:
        base = re.sub(r"[^A-Za-z0-9_]+", "_", column).strip("_")[:50] or "v"
        base = base if base[0].isalpha() and base.upper() not in _SPSS_WORDS else f"v_{base}"
        name, number = base, 2
        while name.casefold() in taken:
            name, number = f"{base}_{number}", number + 1
        taken.add(name.casefold())
        names.append(name)
    return names
