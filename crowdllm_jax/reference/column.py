"""Reference decisions that some model gave elsewhere, read from a table."""

import msgspec
import numpy as np

from crowdllm_jax import scales
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.names import tidy_fields
from crowdllm_jax.reference.record import Reference, from_levels
from crowdllm_jax.study import Study
from crowdllm_jax.tables import Column, find, read_table, read_vectors, rows


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
      value: column of answers as numbers on the task's scale (a ranking's in Borda points); or
      probabilities: one column per level, in the scale's order; or
      probs: one column (Parquet) with a list of one number per level, zeros beyond the levels of
        a task whose scale is shorter than the longest.
      mass: column with the probability the model gave to the listed options at all.
      embedding: column (Parquet) with a list of numbers: task features for a study without any.
      where: keep only the rows in which these columns hold these texts.
    """

    path: str
    task: str = "task"
    value: str | None = None
    probabilities: tuple[str, ...] = ()
    probs: str | None = None
    mass: str | None = None
    embedding: str | None = None
    where: dict[str, str | int | float] = {}

    def __post_init__(self) -> None:
        tidy_fields(self, "path")


def from_column(study: Study, config: ColumnReference, folder: str) -> Reference:
    """Read the table.

    Raises:
      CrowdError: a task has no row, a value is no number on its scale, or probabilities are
        negative or do not sum to 1 (within 0.02).
    """
    if sum(map(bool, (config.value, config.probabilities, config.probs))) != 1:
        raise CrowdError("reference: name one of `value`, `probabilities` and `probs`")
    path = find(folder, config.path, "reference.path")
    named = [*(n for n in (config.value, config.mass) if n), *config.probabilities]
    table = read_table(path, list(dict.fromkeys([config.task, *named, *config.where])))
    keep = np.ones(len(table[config.task].codes), bool)
    for name, text in config.where.items():
        column = table[name]
        same = [i for i, found in enumerate(column.distinct) if _same(found, text)]
        keep &= np.isin(column.codes, same)
    if not keep.any():
        raise CrowdError(f"{path}: no row left under reference.where {config.where}")
    index = {name: i for i, name in enumerate(study.tasks.ids)}
    task_of = table[config.task]
    known = np.array([index.get(name, -1) for name in task_of.distinct] + [-1])
    task = known[task_of.codes]
    # A table may answer more tasks than this study asks; a task without a row is an error.
    keep &= task >= 0
    t = len(study.tasks.ids)
    count = np.bincount(task[keep], minlength=t)
    if np.any(count == 0):
        raise CrowdError(
            f"{task_of.where}: no row for task '{study.tasks.ids[int(np.argmin(count))]}'"
            f" ({int((count == 0).sum())} task(s) without one)"
        )

    def average(name: str) -> np.ndarray:
        return np.bincount(task[keep], _numbers(table[name], keep)[keep], t) / count

    def average_lists(name: str) -> np.ndarray:
        vectors = read_vectors(path, config.task, name)[1]
        total = np.zeros((t, vectors.shape[1]))
        np.add.at(total, task[keep], vectors[keep])
        return total / count[:, None]

    mass = average(config.mass) if config.mass else None
    embedding = None
    if config.embedding:
        embedding = average_lists(config.embedding).astype(np.float32)
    longest = max(scales.size(scale) for scale in study.scales.values())
    if config.probabilities:
        probs = np.stack([average(name) for name in config.probabilities], axis=1)
        return _from_probabilities(study, str(path), probs, mass, embedding)
    if config.probs:
        return _from_probabilities(study, str(path), average_lists(config.probs), mass, embedding)
    assert config.value
    numbers = _numbers(table[config.value], keep)
    mean = np.bincount(task[keep], numbers[keep], t) / count
    for index_, scale in enumerate(study.scales.values()):
        low, high = scales.values(scale)[[0, -1]]
        of_scale = keep & (study.tasks.scale[task] == index_)
        off = np.flatnonzero(of_scale & ((numbers < low) | (numbers > high)))
        if len(off):
            raise CrowdError(
                f"{table[config.value].where}: {numbers[off[0]]:g} ({rows(off)}) is "
                f"outside the scale, {low:g} to {high:g}"
            )
    probs = np.zeros((t, longest))
    if count.max() == 1:
        return Reference("column", mean, None, mass, embedding)
    for index_, scale in enumerate(study.scales.values()):
        levels = scales.values(scale)
        of_scale = keep & (study.tasks.scale[task] == index_)
        if not scales.size(scale) or not np.isin(numbers[of_scale], levels).all():
            return Reference("column", mean, None, mass, embedding)
        level = np.searchsorted(levels, numbers[of_scale])
        np.add.at(probs, (task[of_scale], level), 1.0)
    return Reference("column", mean, probs / count[:, None], mass, embedding)


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


def _same(found: str, wanted: str | int | float) -> bool:
    number = scales.number(found)
    return found == str(wanted) or (number is not None and number == wanted)


def _numbers(column: Column, keep: np.ndarray) -> np.ndarray:
    numbers = np.full(len(column.distinct) + 1, np.nan)
    for i, text in enumerate(column.distinct):
        number = scales.number(text)
        numbers[i] = np.nan if number is None else number
    found = numbers[column.codes]
    bad = np.flatnonzero(keep & np.isnan(found))
    if len(bad):
        raise CrowdError(f"{column.where}: {rows(bad)} holds no finite number")
    return found
