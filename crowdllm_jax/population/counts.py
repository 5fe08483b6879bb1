"""A crowd's answers, counted, and as tables: a row per task, group and answer, or per task and
group."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.population.decisions import write, writing_of
from crowdllm_jax.study import scales
from crowdllm_jax.study.bins import bins
from crowdllm_jax.study.columns import attribute_columns
from crowdllm_jax.study.records import Attribute
from crowdllm_jax.study.scales import Continuous, Scale

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Counts:
    """A crowd's answers, counted.

    Attributes:
      by: the attribute whose values the agents are grouped by; None: everyone is one group.
      groups: (G,) its values that occur, a level's name or a number (None where missing).
      members: (G,) agents in each group.
      counts: (G, T, K) int64, how many of them give each answer (`study.bins.bins` of the task's
        scale); K is that of the longest scale.
      mean, sd: (G, T) of their answers in the scale's numbers; of continuous ones not from the
        bins, but of the values themselves. NaN on nominal scales.
      crowd: whose agents they are.
    """

    by: Attribute | None
    groups: tuple[str | float | None, ...]
    members: np.ndarray
    counts: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    crowd: Crowd

    def to_arrow(self) -> pa.Table:
        """A row per task, group and answer, as counts.parquet has them: task_id, the attribute of
        `by`, decision (low and high of a continuous scale's bins), count and share.

        Examples:
          >>> counts = cl.count(crowd, agents=2000, seed=0)
          >>> counts.to_arrow().slice(0, 1).to_pylist()[0]["decision"]
          '1'
        """
        return counts_table(self.crowd, self)

    def to_pandas(self) -> "pandas.DataFrame":
        """The same as a data frame of pandas.

        Examples:
          >>> counts = cl.count(crowd, agents=2000, seed=0, by="education")
          >>> counts.to_pandas().columns.tolist()
          ['task_id', 'education', 'decision', 'count', 'share']
        """
        return self.to_arrow().to_pandas()

    def __repr__(self) -> str:
        by = "" if self.by is None else f" by {self.by.name} ({len(self.groups)} groups)"
        return f"Counts({self.members.sum():,} agents{by}, {self.counts.shape[1]} tasks)"

    @property
    def asked(self) -> np.ndarray:
        """(G, T) agents who were asked."""
        asked: np.ndarray = self.counts.sum(2)
        return asked


def counts_table(crowd: Crowd, counts: Counts) -> pa.Table:
    """One row per task, group and answer, those that nobody gave included; of a continuous scale,
    one per stretch between low and high instead of a decision."""
    several, g = tuple(crowd.scales.values()), len(counts.groups)
    size = np.array([len(bins(scale)) for scale in crowd.task_scales])
    given = np.arange(counts.counts.shape[2]) < size[:, None]
    # (T, G, K): a task's groups stand together.
    number = counts.counts.transpose(1, 0, 2)[np.repeat(given[:, None], g, axis=1)]
    asked = np.repeat(counts.asked.T.ravel(), np.repeat(size, g))
    columns = {"task_id": _tasks(crowd, np.repeat(np.arange(len(size)), size * g))}
    if counts.by is not None:
        columns[group_column(crowd, counts.by.name)] = _groups(counts).take(
            pa.array(np.repeat(np.tile(np.arange(g), len(size)), np.repeat(size, g)))
        )
    binned = scales.which(scales.is_continuous, several)
    if not all(binned):
        # Level by level; the bins of a continuous scale have none.
        discrete = [scale for scale in several if not scales.is_continuous(scale)]
        index_among_discrete = np.cumsum(~binned) - 1
        writing = writing_of(discrete)
        columns["decision"] = pa.concat_arrays(
            [
                pa.nulls(size[task] * g, writing.type)
                if binned[scale]
                else write(
                    writing,
                    index_among_discrete[[scale]],
                    np.tile(np.arange(size[task]), g)[:, None],
                )
                for task, scale in enumerate(crowd.task_scale)
            ]
        )
    if any(binned):
        ends = [_ends(scale) for scale in crowd.task_scales]
        for name, end in (("low", 0), ("high", 1)):
            values = np.concatenate([np.tile(ends_of_task[end], g) for ends_of_task in ends])
            columns[name] = pa.array(values, from_pandas=True)
    columns["count"] = pa.array(number)
    columns["share"] = pa.array(number / np.where(asked > 0, asked, np.nan), from_pandas=True)
    return pa.table(columns)


def _ends(scale: Scale) -> np.ndarray:
    """(2, K) where each of a continuous scale's bins begins and ends; NaN of another's levels."""
    middle = bins(scale)
    if not isinstance(scale, Continuous):
        return np.full((2, len(middle)), np.nan)
    edge = np.linspace(scale.low, scale.high, len(middle) + 1)
    return np.stack([edge[:-1], edge[1:]])


def means_table(crowd: Crowd, counts: Counts) -> pa.Table:
    """One row per task and group."""
    g, t = counts.mean.shape
    columns = {"task_id": _tasks(crowd, np.repeat(np.arange(t), g))}
    if counts.by is not None:
        columns[group_column(crowd, counts.by.name)] = pa.concat_arrays([_groups(counts)] * t)
    columns["agents"] = pa.array(np.tile(counts.members, t))
    if crowd.ask_if:
        columns["asked"] = pa.array(counts.asked.T.ravel())
    for name, moments in (("mean", counts.mean), ("sd", counts.sd)):
        columns[name] = pa.array(moments.T.ravel(), from_pandas=True)
    return pa.table(columns)


def _tasks(crowd: Crowd, index: np.ndarray) -> pa.Array:
    return pa.DictionaryArray.from_arrays(index.astype(np.int32), pa.array(crowd.task_ids))


def _groups(counts: Counts) -> pa.Array:
    assert counts.by is not None
    return pa.array(counts.groups, pa.float64() if counts.by.kind == "numeric" else pa.string())


def group_column(crowd: Crowd, by: str) -> str:
    """What the attribute that agents are grouped by is called, as in the agents' own file."""
    return attribute_columns(a.name for a in crowd.generator.attributes)[by]
