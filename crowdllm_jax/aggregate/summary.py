"""What a crowd answers on average: histograms, means with intervals, majorities, ballots' totals.

The interval of a mean is for what people would say, not for the agents at hand. A million agents of
one crowd are no million people, so a synthetic crowd counts as many as it rests on: Kish's
effective number of the people it was fitted to (with N agents, 1 / (1 / effective + 1 / N)). It is
the interval that so many people's answers to the task would leave open; that the crowd may be wrong
comes on top (see the scores). Two levels: Wilson's (1927); else mean +- 1.96 standard errors within
the scale.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crowdllm_jax import scales
from crowdllm_jax.aggregate.answers import Answers, read_manifest
from crowdllm_jax.counts import cells, longest
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.fitting import Progress, silent
from crowdllm_jax.humans import bins
from crowdllm_jax.scales import Nominal, Ranking, Scale

Z = 1.959964
COLUMNS = {
    "task_id": pa.string(),
    "answers": pa.float64(),
    "decision": pa.string(),
    "share": pa.float64(),
    "mean": pa.float64(),
    "low": pa.float64(),
    "high": pa.float64(),
    "total": pa.float64(),
    "place": pa.int32(),
    "first": pa.float64(),
}


@dataclass(frozen=True)
class Histogram:
    """A crowd's answers to T tasks.

    Attributes:
      task_scale: (T,) which of the study's scales; the tasks of one make a ballot.
      counts: (T, K) (weighted) number of each answer, see `humans.bins`.
      effective: (T,) how many people's answers each task's row is worth.
    """

    task_ids: tuple[str, ...]
    task_scales: tuple[Scale, ...]
    task_scale: np.ndarray
    counts: np.ndarray
    effective: np.ndarray


def histogram(answers: Answers, progress: Progress = silent) -> Histogram:
    """Count all answers, on the device, block by block."""
    task_scales = answers.task_scales
    shape = (len(task_scales), longest(task_scales))
    counts, squares = np.zeros(shape), np.zeros(shape[0])
    done, size = 0, answers.block
    for block in answers.blocks():
        n = len(block)
        weight = np.zeros(size, np.float32)
        weight[:n] = 1 if answers.weight is None else answers.weight[done : done + n]
        filled = np.concatenate([block, np.zeros((size - n, shape[0]), block.dtype)])
        own, square = _weigh(task_scales, shape, filled, weight)
        counts += np.asarray(own, np.float64)
        squares += np.asarray(square, np.float64)
        done += n
        progress("aggregate", done, answers.people)
    total = counts.sum(1)
    effective = np.divide(total**2, squares, out=np.zeros(len(total)), where=squares > 0)
    if answers.effective is not None:
        effective = 1 / (1 / answers.effective + 1 / effective)
    return Histogram(answers.task_ids, task_scales, answers.task_scale, counts, effective)


@partial(jax.jit, static_argnums=(0, 1))
def _weigh(
    task_scales: tuple[Scale, ...], shape: tuple[int, int], answers: jax.Array, weight: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """(T, K) weights of each answer, and (T,) squared weights of all."""
    t, k = shape
    cell = cells(task_scales, answers)
    given = answers == answers if jnp.issubdtype(answers.dtype, jnp.floating) else True
    given = given & (cell >= 0)
    at = jnp.where(given, jnp.arange(t, dtype=jnp.int32) * k + cell, t * k)
    each = jnp.broadcast_to(weight[:, None], at.shape)
    counts = jnp.zeros(t * k, jnp.float32).at[at].add(each, mode="drop")
    return counts.reshape(shape), jnp.sum(given * each**2, axis=0)


def read_counts(folder: Path) -> Histogram:
    """The counts that `crowdllm sample --aggregate` wrote, all groups together.

    Raises:
      CrowdError: the folder holds none, or damaged ones.
    """
    manifest = read_manifest(folder)
    path = folder / "counts.parquet"
    try:
        table = pq.read_table(
            path, columns=["task_id", "decision", "count"], page_checksum_verification=True
        )
    except (OSError, pa.ArrowException) as error:
        raise CrowdError(f"{path}: cannot be read ({error}); count again") from error
    task_scales = tuple(manifest.scales[name].entry for name in manifest.tasks.values())
    ids = np.array(table["task_id"].cast(pa.string()).to_pylist())
    number = np.asarray(table["count"])
    counts = np.zeros((len(task_scales), longest(task_scales)))
    for task, (task_id, scale) in enumerate(zip(manifest.tasks, task_scales, strict=True)):
        own, k = number[ids == task_id], len(bins(scale))
        if own.size == 0 or own.size % k or own.sum() != manifest.agents:
            raise CrowdError(f"{path}: does not hold {manifest.agents:,} answers to task "
                             f"'{task_id}'; count again")  # fmt: skip
        counts[task, :k] = own.reshape(-1, k).sum(0)
    effective = 1 / (1 / manifest.effective_sample_size + 1 / manifest.agents)
    names = list(manifest.scales)
    task_scale = np.array([names.index(name) for name in manifest.tasks.values()])
    worth = np.full(len(task_scales), effective)
    return Histogram(tuple(manifest.tasks), task_scales, task_scale, counts, worth)


def summarise(histogram: Histogram) -> pa.Table:
    """One row per task.

    task_id; answers (weighted, if people are); decision, the most frequent answer as the data write
    it (of several the first; where continuous the middle of the most frequent stretch), and its
    share; mean, low, high in the scale's numbers (empty where nominal), a ranking's in Borda
    points. On ballots instead of the decision: total (approvals, Borda points, points) and place by
    it among the ballot's tasks; on rankings also first, the number who rank it best (plurality).
    """
    rows = [_row(histogram, task) for task in range(len(histogram.task_ids))]
    ballots = [scales.is_ballot(scale) for scale in histogram.task_scales]
    for task, row in enumerate(rows):
        if ballots[task]:
            rivals = np.flatnonzero(histogram.task_scale == histogram.task_scale[task])
            row["place"] = 1 + sum(rows[rival]["total"] > row["total"] for rival in rivals)
    used = [name for name in COLUMNS if any(name in row for row in rows)]
    return pa.Table.from_pylist(rows, pa.schema([(name, COLUMNS[name]) for name in used]))


def _row(histogram: Histogram, task: int) -> dict:
    scale = histogram.task_scales[task]
    value = bins(scale)
    count = histogram.counts[task, : len(value)]
    total = count.sum()
    row: dict = {"task_id": histogram.task_ids[task], "answers": total}
    if total == 0:
        return row | ({"total": 0.0} if scales.is_ballot(scale) else {})
    if not scales.is_ballot(scale):
        most = int(count.argmax())
        row["decision"] = scales.labels(scale)[most] if scales.size(scale) else f"{value[most]:g}"
        row["share"] = count[most] / total
    if not isinstance(scale, Nominal):
        row["mean"], row["low"], row["high"] = interval(
            scale, count / total, histogram.effective[task]
        )
    if scales.is_ballot(scale):
        row["total"] = count @ value
    if isinstance(scale, Ranking):
        row["first"] = count[-1]
    return row


def interval(scale: Scale, share: np.ndarray, n: float) -> tuple[float, float, float]:
    """Mean of shares (K,) of the scale's values, and the ends of its 95% interval from n people."""
    value, ends = bins(scale), scales.values(scale)
    mean = float(share @ value)
    if len(value) == 2:
        p = share[1]
        middle = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
        half = Z * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n)
        low, high = value[0] + (value[1] - value[0]) * np.array([middle - half, middle + half])
    else:
        half = Z * np.sqrt(share @ (value - mean) ** 2 / n)
        low, high = mean - half, mean + half
    return mean, float(max(ends[0], low)), float(min(ends[-1], high))
