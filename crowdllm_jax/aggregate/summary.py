"""What a crowd answers on average: means with intervals, majorities, medians, ballots' totals.

Means and variances are of the answers themselves, summed in float64; on a continuous scale, which
has no most frequent answer, the median is the smallest answer that, with those below it, makes up
half of all (`middle`).

The interval of a mean is for what people would say, not for the agents at hand. A million agents of
one crowd are no million people, so a synthetic crowd counts as many as it rests on: Kish's
effective number of the people it was fitted to (with N agents, 1 / (1 / effective + 1 / N)). It is
the interval that so many people's answers to the task would leave open; that the crowd may be wrong
comes on top (see the scores). Two levels: Wilson's (1927); else Student's, within
the scale.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.special import stdtrit

from crowdllm_jax.aggregate.middle import medians
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.population.decisions import read
from crowdllm_jax.population.moments import Moments, moments_of, no_moments
from crowdllm_jax.population.read import Answers, Manifest, read_manifest, reading
from crowdllm_jax.runtime.counting import Arrays, added, handed_out, in_order
from crowdllm_jax.runtime.progress import Progress, silent
from crowdllm_jax.study import scales
from crowdllm_jax.study.bins import bins
from crowdllm_jax.study.scales import Ranking, Scale

COUNT_AGAIN = "count again"
"""What to do about damaged counts."""

EQUAL = 1e-10
"""Relative difference below which two (weighted) numbers of answers are equal: more than sums of
weights are rounded by, less than one agent among thousands of millions."""

COLUMNS = {
    "task_id": pa.string(),
    "answers": pa.float64(),
    "asked": pa.float64(),
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
      counts: (T, K) (weighted) number of each level, K of the longest scale; none where continuous.
      total: (T,) (weighted) number of answers.
      mean, variance: (T,) of the answers in the scale's numbers; NaN where nobody answered.
      decision, equal: per task, where continuous the median (of counts: the stretch it lies in) as
        it is shown, and (T,) the (weighted) number of these answers.
      effective: (T,) how many people's answers each task's row is worth.
      asked: (T,) share of people (agents) who are asked; None where all are asked everything.
    """

    task_ids: tuple[str, ...]
    task_scales: tuple[Scale, ...]
    task_scale: np.ndarray
    counts: np.ndarray
    total: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    decision: tuple[str, ...]
    equal: np.ndarray
    effective: np.ndarray
    asked: np.ndarray | None = None


def histogram(answers: Answers, progress: Progress = silent) -> Histogram:
    """Count all answers, block by block; several processes each count some parts of a
    population."""
    task_scales, t = answers.task_scales, len(answers.task_ids)
    valued = np.flatnonzero(scales.which(scales.is_continuous, task_scales))
    k = max(map(scales.size, task_scales)) or 1
    counts, squares = np.zeros((t, k)), np.zeros(t)
    moments = no_moments((len(valued),))
    of_parts = _of_parts(answers, valued, counts, squares, progress)
    for sums in in_order("the moments", of_parts):
        moments = moments.joined(Moments(*sums))
    counts, squares = added("the counts", (counts, squares))
    progress("aggregate", answers.people, answers.people)
    total = counts.sum(1)
    total[valued] = moments.weight
    effective = total
    if answers.weight is not None:
        effective = np.divide(total**2, squares, out=np.zeros(t), where=squares > 0)
    asked = None
    if answers.ask_if:
        asked = total / answers.people if answers.asked is None else answers.asked
    if answers.effective is not None:
        effective = _worth(answers.effective, effective, asked)
    mean, variance = _of_levels(task_scales, counts)
    mean[valued], variance[valued] = moments.mean, moments.variance
    middle, number = medians(answers, valued, moments.weight, progress)
    decision, equal = np.full(t, "", object), np.zeros(t)
    # As short as it can be written and still be read as the same number.
    decision[valued], equal[valued] = [str(value) for value in middle], number
    return Histogram(
        answers.task_ids,
        task_scales,
        answers.task_scale,
        counts,
        total,
        mean,
        variance,
        tuple(decision),
        equal,
        effective,
        asked,
    )


def _worth(effective: float, agents: np.ndarray, asked: np.ndarray | None) -> np.ndarray:
    """(T,) how many people's answers those of some agents are worth, of whom `asked` (a share) are
    asked: as that share of the people on whom the crowd rests would be."""
    people = np.full(len(agents), effective) * (1.0 if asked is None else asked)
    with np.errstate(divide="ignore"):
        return np.asarray(1 / (1 / people + 1 / agents))


def _of_parts(
    answers: Answers,
    valued: np.ndarray,
    counts: np.ndarray,
    squares: np.ndarray,
    progress: Progress,
) -> Iterator[tuple[int, Arrays]]:
    """The number of each of this process's parts, and moments of its continuous tasks (`valued`);
    answers are counted on the way.

    Args:
      counts: (T, K) to which answers are added; squares: (T,) squared weights.
    """
    t, done = len(counts), 0
    level = np.setdiff1d(np.arange(t), valued)
    for number, blocks in handed_out("the answers", answers.passes):
        moments = no_moments((len(valued),))
        for block in blocks():
            weight = None if answers.weight is None else answers.weight[done : done + len(block)]
            counts[level] += _levels(block[:, level], counts.shape[1], weight)
            if len(valued):
                moments = moments.joined(moments_of(block[:, valued], weight))
            if weight is not None:
                given = (block >= 0) | (np.isin(np.arange(t), valued) & ~np.isnan(block))
                squares += weight**2 @ given
            done += len(block)
            progress("aggregate", done, answers.people)
        yield number, (moments.weight, moments.total, moments.spread)


def _levels(block: np.ndarray, k: int, weight: np.ndarray | None) -> np.ndarray:
    """(T, K) (weighted) number of each level among (n, T), in which -1 is none."""
    t = block.shape[1]
    # One more cell for each task, which takes those without an answer.
    at = block.astype(np.intp) + np.arange(t) * (k + 1) + 1
    each = None if weight is None else np.repeat(weight, t)
    return np.bincount(at.ravel(), each, t * (k + 1)).reshape(t, k + 1)[:, 1:]


def _of_levels(task_scales: tuple[Scale, ...], counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(T,) mean and variance of the numbers that counted levels stand for."""
    mean, variance = np.full((2, len(counts)), np.nan)
    for task, scale in enumerate(task_scales):
        total = counts[task].sum()
        if total and not scales.is_continuous(scale):
            value, count = scales.values(scale), counts[task, : scales.size(scale)]
            mean[task] = count @ value / total
            variance[task] = count @ (value - mean[task]) ** 2 / total
    return mean, variance


def read_counts(folder: Path) -> Histogram:
    """The counts that `crowdllm sample --aggregate` wrote, all groups together.

    Raises:
      CrowdError: the folder holds none, or damaged ones.
    """
    manifest = read_manifest(folder)
    names = list(manifest.scales)
    task_scale = np.array([names.index(name) for name in manifest.tasks.values()])
    task_scales = tuple(manifest.scales[name].entry for name in manifest.tasks.values())
    t, k = len(task_scales), max(map(scales.size, task_scales)) or 1
    counts, decision, equal = np.zeros((t, k)), np.full(t, "", object), np.zeros(t)
    total = np.zeros(t)
    with reading(folder / "counts.parquet", COUNT_AGAIN):
        table = pq.read_table(folder / "counts.parquet", page_checksum_verification=True)
        ids = np.array(table["task_id"].to_pylist())
        for task, (task_id, scale) in enumerate(zip(manifest.tasks, task_scales, strict=True)):
            rows = table.filter(pa.array(ids == task_id))
            total[task] = np.sum(rows["count"])
            fewer = task_id in manifest.ask_if and total[task] < manifest.agents
            if len(rows) % len(bins(scale)) or not (fewer or total[task] == manifest.agents):
                raise CrowdError(f"does not hold {manifest.agents:,} answers to task '{task_id}'")
            if scales.is_continuous(scale):
                decision[task], equal[task] = _middle_stretch(rows)
            else:
                counts[task, : scales.size(scale)] = _counted(rows, scale)
    mean, variance = _of_levels(task_scales, counts)
    valued = np.flatnonzero(decision != "")
    if len(valued):
        moments = _read_means(folder / "means.parquet", manifest)
        mean[valued], variance[valued] = moments.mean[valued], moments.variance[valued]
    asked = total / manifest.agents if manifest.ask_if else None
    worth = _worth(manifest.effective_sample_size, total, asked)
    return Histogram(
        tuple(manifest.tasks),
        task_scales,
        task_scale,
        counts,
        total,
        mean,
        variance,
        tuple(decision),
        equal,
        worth,
        asked,
    )


def _counted(rows: pa.Table, scale: Scale) -> np.ndarray:
    """(K,) how many gave each level."""
    column, only_scale = rows["decision"].combine_chunks(), np.zeros(len(rows), np.int32)
    level = read(column, [scale], only_scale, np.dtype(np.int16))
    return np.bincount(level, np.asarray(rows["count"]), scales.size(scale))


def _middle_stretch(rows: pa.Table) -> tuple[str, float]:
    """The stretch of a continuous scale in which the median lies, and how many answers do."""
    low, first, stretch = np.unique(rows["low"], return_index=True, return_inverse=True)
    number = np.bincount(stretch, np.asarray(rows["count"]))
    chosen = int((number.cumsum() >= number.sum() / 2).argmax())
    high = rows["high"][int(first[chosen])].as_py()
    return f"{low[chosen]:.12g} to {high:.12g}", float(number[chosen])


def _read_means(path: Path, manifest: Manifest) -> Moments:
    """(T,) moments of the answers to each task, all groups together; NaN where nominal."""
    with reading(path, COUNT_AGAIN):
        table = pq.read_table(path, page_checksum_verification=True)
        t = len(manifest.tasks)
        index = {task: i for i, task in enumerate(manifest.tasks)}
        task = np.array([index.get(name, -1) for name in table["task_id"].to_pylist()])
        if len(table) % t or np.any(task != np.repeat(np.arange(t), len(table) // t)):
            raise CrowdError("does not hold every task of the manifest in order")
        of = "asked" if manifest.ask_if else "agents"
        number, mean, sd = (table[name].to_numpy().reshape(t, -1) for name in (of, "mean", "sd"))
    if manifest.ask_if:
        # A group nobody of which was asked has no mean, and adds nothing.
        mean, sd = (np.where(number > 0, part, 0.0) for part in (mean, sd))
    moments = no_moments((t,))
    for agents, mean_of_group, spread in zip(number.T, mean.T, (number * sd**2).T, strict=True):
        moments = moments.joined(Moments(agents, agents * mean_of_group, spread))
    return moments


def summarise(histogram: Histogram) -> pa.Table:
    """One row per task.

    task_id; answers (weighted, if people are); asked, the share of people who are asked the task,
    where some are not asked all; decision, the most frequent answer as the data write
    it (of several the first; where continuous the median, or of counts the stretch it lies in), and
    its share; mean, low, high in the scale's numbers (empty where nominal), a ranking's in Borda
    points. On ballots instead of the decision: total (approvals, Borda points, points) and place by
    it among the ballot's tasks; on rankings also first, the number who rank it best (plurality).
    """
    rows = [_row(histogram, task) for task in range(len(histogram.task_ids))]
    ballots = [scales.is_ballot(scale) for scale in histogram.task_scales]
    for task, row in enumerate(rows):
        if ballots[task]:
            rivals = np.flatnonzero(histogram.task_scale == histogram.task_scale[task])
            above = row["total"] * (1 + EQUAL)
            row["place"] = 1 + sum(rows[rival]["total"] > above for rival in rivals)
    used = [name for name in COLUMNS if any(name in row for row in rows)]
    return pa.Table.from_pylist(rows, pa.schema([(name, COLUMNS[name]) for name in used]))


def _row(histogram: Histogram, task: int) -> dict[str, Any]:
    scale, total = histogram.task_scales[task], histogram.total[task]
    count, mean = histogram.counts[task, : scales.size(scale)], float(histogram.mean[task])
    row: dict[str, Any] = {"task_id": histogram.task_ids[task], "answers": total}
    if histogram.asked is not None:
        row["asked"] = histogram.asked[task]
    if total == 0:
        return row | ({"total": 0.0} if scales.is_ballot(scale) else {})
    if scales.is_continuous(scale):
        row |= {"decision": histogram.decision[task], "share": histogram.equal[task] / total}
    elif not scales.is_ballot(scale):
        most = int((count >= count.max() * (1 - EQUAL)).argmax())
        row |= {"decision": scales.labels(scale)[most], "share": count[most] / total}
    if scales.is_ordered(scale):
        low, high = interval(scale, mean, histogram.variance[task], histogram.effective[task])
        row |= {"mean": mean, "low": low, "high": high}
    if scales.is_ballot(scale):
        row["total"] = count @ scales.values(scale)
    if isinstance(scale, Ranking):
        row["first"] = count[-1]
    return row


def interval(
    scale: Scale, mean: float, variance: float, n: float
) -> tuple[float, float] | tuple[None, None]:
    """The ends of the 95% interval of a mean answer from n people, whose answers have a `variance`
    about their own mean.

    None where one person answered, or all alike on more than two levels: that says nothing of how
    far others differ.
    """
    ends = scales.values(scale)
    if scales.size(scale) == 2:
        # Imported here: statsmodels takes a third of a second to load.
        from statsmodels.stats.proportion import proportion_confint

        width = ends[1] - ends[0]
        count = n * (mean - ends[0]) / width
        low, high = (ends[0] + width * end for end in proportion_confint(count, n, method="wilson"))
    elif n <= 1 or variance <= 1e-18 * (ends[-1] - ends[0]) ** 2:  # but for rounding, 0
        return None, None
    else:
        half = stdtrit(n - 1, 0.975) * np.sqrt(variance / (n - 1))
        low, high = mean - half, mean + half
    return float(max(ends[0], low)), float(min(ends[-1], high))
