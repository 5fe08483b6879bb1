"""Write a crowd's counted answers as a folder: counts.parquet, means.parquet and a manifest."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.crowd_file import crowd_fingerprint
from crowdllm_jax.population.count import Counts
from crowdllm_jax.population.decisions import MEANING, write, writing_of
from crowdllm_jax.population.manifest import file_entry, write_manifest
from crowdllm_jax.population.write import ROUTED, SCHEMA, scale_entry
from crowdllm_jax.runtime.files import new_folder
from crowdllm_jax.runtime.version import __version__
from crowdllm_jax.study import scales
from crowdllm_jax.study.bins import bins
from crowdllm_jax.study.columns import attribute_columns
from crowdllm_jax.study.scales import Continuous, Scale

COLUMNS = {
    "task_id": "the task's id",
    "decision": MEANING + "; empty where continuous",
    "low": "of a continuous scale: where one of 200 equal stretches begins, itself included",
    "high": "of a continuous scale: where it ends; only the last stretch includes its end",
    "count": "how many agents answer so",
    "share": "their share of the agents (of their group) who were asked",
    "agents": "how many there are (in the group)",
    "asked": "how many of these were asked",
    "mean": "of their answers themselves, in the numbers that levels count as (binary ones 0 and "
    "1, ranks in Borda points); empty where nominal",
    "sd": "standard deviation of the same",
}
"""Of counts.parquet and means.parquet, besides the attribute that agents are grouped by."""


def write_counts(
    crowd: Crowd, counts: Counts, folder: Path, seed: int, among: Mapping[str, Any] | None = None
) -> None:
    """Write counts into a new folder, which appears whole or not at all.

    Args:
      among: what the manifest is to say of whom the agents are (see `write.told_whom`).
    Raises:
      CrowdError: the folder holds something, or the disk does not take it.
    """
    agents = int(counts.members.sum())
    tables = {
        "counts.parquet": counts_table(crowd, counts),
        "means.parquet": means_table(crowd, counts),
    }
    with new_folder(folder) as hidden:
        for name, table in tables.items():
            pq.write_table(
                table.replace_schema_metadata({"crowdllm.synthetic": "true"}),
                hidden / name,
                compression="zstd",
                write_page_checksum=True,
            )
        by = None if counts.by is None else counts.by.name
        meaning = dict(COLUMNS)
        if by is not None:
            meaning[_group_column(crowd, by)] = f"the agents' value of '{by}'"
        used = dict.fromkeys(name for table in tables.values() for name in table.column_names)
        names = list(crowd.scales)
        manifest = {
            "schema": ROUTED if crowd.ask_if else SCHEMA,
            "synthetic": True,
            "counts": True,
            "version": __version__,
            "crowd": crowd_fingerprint(crowd),
            "config": msgspec.to_builtins(crowd.config),
            "seed": seed,
            "agents": agents,
            "by": by,
            **(among or {}),
            "columns": {name: meaning[name] for name in used},
            "scales": {name: scale_entry(scale) for name, scale in crowd.scales.items()},
            "tasks": dict(zip(crowd.task_ids, [names[i] for i in crowd.task_scale], strict=True)),
            **({"ask_if": dict(crowd.ask_if)} if crowd.ask_if else {}),
            "effective_sample_size": crowd.generator.effective,
            "files": {name: file_entry(hidden / name) for name in tables},
        }
        write_manifest(hidden, manifest)


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
        columns[_group_column(crowd, counts.by.name)] = _groups(counts).take(
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
        columns[_group_column(crowd, counts.by.name)] = pa.concat_arrays([_groups(counts)] * t)
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


def _group_column(crowd: Crowd, by: str) -> str:
    """What the attribute that agents are grouped by is called, as in the agents' own file."""
    return attribute_columns(a.name for a in crowd.generator.attributes)[by]
