"""Reference decisions that some model gave elsewhere, read from a table."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.reference.cells import by_level, read_cells
from crowdllm_jax.reference.record import Reference, from_levels
from crowdllm_jax.runtime import numerals
from crowdllm_jax.runtime.names import tidy_fields
from crowdllm_jax.study import scales
from crowdllm_jax.study.csv_file import Dialect
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.tables import Column, find, read_table, read_vectors, rows


class ColumnReference(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="kind",
    tag="column",
    forbid_unknown_fields=True,
):
    """A table with a row per task, or several rows per task that are averaged (repeated answers).

    Attributes:
      path: CSV or Parquet; `task` is its id column.
      answer: column of answers as the study writes them, codes or labels; or
      value: column of such answers, or of mean answers in the numbers the study writes (a ranking's
        in Borda points; a nominal scale has none); or
      probabilities: one column per level: {level: column} (the level's code or label), or a list
        of columns that are called as the levels are, or else stand in the scale's order; or
      probs: one column (Parquet) with a list of one number per level in the scale's order, zeros
        beyond the levels of a task whose scale is shorter than the longest.
      probability: column with the probability of the row's `answer`: a row per task and level.
      missing: answers that are none, such as Refused; those that are left sum to 1 without them.
      mass: column with the probability the model gave to the listed options at all.
      order: column with how far answers in one order of the options and in the other are apart.
      embedding: column (Parquet) with a list of numbers: task features for a study without any.
      where: keep only the rows in which these columns hold these texts.
    """

    path: str
    task: str = "task"
    answer: str | None = None
    value: str | None = None
    probabilities: tuple[str, ...] | dict[str | int | float, str] = ()
    probs: str | None = None
    probability: str | None = None
    missing: tuple[str | int | float, ...] = ()
    mass: str | None = None
    order: str | None = None
    embedding: str | None = None
    where: dict[str, str | int | float] = {}

    def __post_init__(self) -> None:
        tidy_fields(self, "path")


def from_column(
    study: Study,
    config: ColumnReference,
    folder: str,
    dialect: Dialect = Dialect(),  # noqa: B008
) -> Reference:
    """Read the table.

    Args:
      dialect: of a CSV.
    Raises:
      CrowdError: a task has no row, a cell is no answer (or mean) on its scale, or may be read in
        two ways, or probabilities are negative or do not sum to 1 (within 0.02).
    """
    if sum(map(bool, (config.answer, config.value, config.probabilities, config.probs))) != 1:
        raise CrowdError("reference: name one of `answer`, `value`, `probabilities` and `probs`")
    if config.probability and not config.answer:
        raise CrowdError(
            "reference.probability: is that of the row's answer; name its column under `answer`"
        )
    if config.missing and not (config.answer or config.value):
        raise CrowdError(
            "reference.missing: lists answers; name their column under `answer` or `value`"
        )
    path = find(folder, config.path, "reference.path")
    rows = _read_rows(study, config, path, dialect)
    reference = _as_reference(study, config, path, rows)
    if not config.order:
        return reference
    return replace(reference, order=_average(config.order, rows))


Rows = tuple[dict[str, Column], np.ndarray, np.ndarray, np.ndarray]
"""A table's columns, the task of each row, which rows are kept (R,), and rows per task (T,)."""


def _average(name: str, rows: Rows) -> np.ndarray:
    """(T,) averages of a column of numbers."""
    table, task, keep, count = rows
    return np.bincount(task[keep], _numbers(table[name], keep)[keep], len(count)) / count


def _share_columns(config: ColumnReference) -> tuple[str, ...]:
    many = config.probabilities
    return tuple(many.values()) if isinstance(many, dict) else many


def _as_reference(study: Study, config: ColumnReference, path: Path, rows: Rows) -> Reference:
    table, task, keep, count = rows
    t, shares, many = len(count), _share_columns(config), config.probabilities

    def average_lists(name: str) -> np.ndarray:
        vectors = read_vectors(path, config.task, name)[1]
        total = np.zeros((t, vectors.shape[1]))
        np.add.at(total, task[keep], vectors[keep])
        return total / count[:, None]

    mass = _average(config.mass, rows) if config.mass else None
    embedding = average_lists(config.embedding).astype(np.float32) if config.embedding else None
    if shares:
        probs = np.stack([_average(name, rows) for name in shares], axis=1)
        probs = by_level(study, str(path), tuple(many), probs, known=isinstance(many, dict))
        return _from_probabilities(study, str(path), probs, mass, embedding)
    if config.probs:
        return _from_probabilities(study, str(path), average_lists(config.probs), mass, embedding)
    cells = table[config.answer or config.value or ""]
    number, level = read_cells(study, cells, task, keep, strict=config.answer is not None)
    longest = max(scales.size(scale) for scale in study.scales.values())
    probs = np.zeros((t, longest))
    if config.probability:
        if np.any(level[keep] < 0):
            raise CrowdError(
                f"{cells.where}: answers on a continuous scale have no probabilities; "
                "name a column of numbers under `value`"
            )
        given = _numbers(table[config.probability], keep)
        np.add.at(probs, (task[keep], level[keep]), given[keep])
        if config.missing:
            probs = _without_missing(study, path, probs)
        return _from_probabilities(study, str(path), probs, mass, embedding)
    mean = np.bincount(task[keep], number[keep], t) / count
    # The number of a nominal level says nothing: there even one answer is a distribution.
    ordered = all(map(scales.is_ordered, study.scales.values()))
    if np.any(level[keep] < 0) or (count.max() == 1 and ordered):
        return Reference("column", mean, None, mass, embedding)
    np.add.at(probs, (task[keep], level[keep]), 1.0)
    return from_levels(study, "column", probs / count[:, None], mass, embedding)


def _read_rows(
    study: Study, config: ColumnReference, path: Path, dialect: Dialect
) -> tuple[dict[str, Column], np.ndarray, np.ndarray, np.ndarray]:
    """The table, (R,) each row's task, (R,) bool the rows that count, and (T,) each task's rows."""
    one = (config.answer, config.value, config.probability, config.mass, config.order)
    named = [*(name for name in one if name), *_share_columns(config)]
    names = list(dict.fromkeys([config.task, *named, *config.where]))
    table = read_table(path, names, dialect=dialect)
    keep = _kept(table, config.where, path)
    index = {name: i for i, name in enumerate(study.tasks.ids)}
    task_of = table[config.task]
    task = np.array([index.get(name, -1) for name in task_of.distinct] + [-1])[task_of.codes]
    # A table may answer more tasks than this study asks; a task without a row is an error.
    keep &= task >= 0
    if (answers := config.answer or config.value) is not None:
        keep &= ~_any_of(table[answers], config.missing)
    count = np.bincount(task[keep], minlength=len(study.tasks.ids))
    if np.any(count == 0):
        raise CrowdError(
            f"{task_of.where}: no row for task '{study.tasks.ids[int(np.argmin(count))]}'"
            f" ({int((count == 0).sum())} task(s) without one)"
        )
    return table, task, keep, count


def _kept(table: dict[str, Column], where: dict[str, str | int | float], path: Path) -> np.ndarray:
    """(R,) bool: the rows that `where` keeps."""
    keep = np.ones(len(next(iter(table.values())).codes), bool)
    for name, text in where.items():
        keep &= _any_of(table[name], (text,))
    if not keep.any():
        raise CrowdError(f"{path}: no row left under reference.where {where}")
    return keep


def _without_missing(study: Study, path: Path, probs: np.ndarray) -> np.ndarray:
    """Probabilities (T, K) that sum to 1; even ones where answers that are none have them all."""
    total = probs.sum(1, keepdims=True)
    size = np.array([scales.size(scale) for scale in study.scales.values()])[study.tasks.scale]
    even = (np.arange(probs.shape[1]) < size[:, None]) / size[:, None]
    if len(silent := np.flatnonzero(total <= 0)):
        warnings.warn(
            f"{path}: says nothing of {len(silent)} task(s), such as "
            f"'{study.tasks.ids[silent[0]]}': all it gives is among reference.missing; their "
            "options are taken as even",
            CrowdWarning,
            stacklevel=2,
        )
    return np.where(total > 0, probs / np.where(total > 0, total, 1.0), even)


def _any_of(column: Column, texts: Sequence[str | int | float]) -> np.ndarray:
    """(R,) bool: whether a cell holds one of some texts."""
    same = [i for i, text in enumerate(column.distinct) if any(_same(text, one) for one in texts)]
    return np.isin(column.codes, same)


def _from_probabilities(
    study: Study,
    path: str,
    probs: np.ndarray,
    mass: np.ndarray | None,
    embedding: np.ndarray | None,
) -> Reference:
    sizes = np.array([scales.size(scale) for scale in study.scales.values()])
    if sizes.min() == 0 or sizes.max() != probs.shape[1]:
        raise CrowdError(
            f"{path}: {probs.shape[1]} probabilities per task for scales of "
            f"{sorted(set(sizes.tolist()))} levels; one per level is needed (on a continuous "
            "scale, which has none, name a column of numbers under `value`)"
        )
    total = probs.sum(1)
    beyond = np.arange(probs.shape[1]) >= sizes[study.tasks.scale][:, None]
    bad = np.flatnonzero(
        (probs < 0).any(1) | (np.abs(total - 1) > 0.02) | (beyond & (probs > 0)).any(1)
    )
    if len(bad):
        raise CrowdError(
            f"{path}: probabilities of task '{study.tasks.ids[bad[0]]}' sum to "
            f"{total[bad[0]]:.3g}, or one is negative or beyond the scale's levels; they must "
            "sum to 1"
        )
    # What sums to 1 but for float32's rounding stays as it was written.
    exact = np.abs(total - 1) < 1e-6
    return from_levels(
        study, "column", probs / np.where(exact, 1.0, total)[:, None], mass, embedding
    )


def _same(written: str, wanted: str | int | float) -> bool:
    number = numerals.number(written)
    return written == str(wanted) or (number is not None and number == wanted)


def _numbers(column: Column, keep: np.ndarray) -> np.ndarray:
    numbers = np.full(len(column.distinct) + 1, np.nan)
    for i in range(len(column.distinct)):
        number = column.number(i)
        numbers[i] = np.nan if number is None else number
    values = numbers[column.codes]
    bad = np.flatnonzero(keep & np.isnan(values))
    if len(bad):
        raise CrowdError(f"{column.where}: {rows(bad)} holds no finite number")
    return values
