"""Write a crowd's counted answers as a folder: counts.parquet and a manifest."""

from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crowdllm_jax import __version__, scales
from crowdllm_jax.columns import attribute_columns
from crowdllm_jax.counts import Counts
from crowdllm_jax.humans import bins
from crowdllm_jax.manifest import file_entry, write_manifest
from crowdllm_jax.model.crowd import Crowd, crowd_fingerprint
from crowdllm_jax.output import SCHEMA, scale_entry
from crowdllm_jax.whole import new_folder


def write_counts(crowd: Crowd, counts: Counts, folder: Path, seed: int) -> None:
    """Write counts into a new folder, which appears whole or not at all.

    Raises:
      CrowdError: the folder holds something, or the disk does not take it.
    """
    agents = int(counts.members.sum())
    with new_folder(folder) as hidden:
        pq.write_table(
            counts_table(crowd, counts).replace_schema_metadata({"crowdllm.synthetic": "true"}),
            hidden / "counts.parquet",
            compression="zstd",
            write_page_checksum=True,
        )
        by = None if counts.by is None else counts.by.name
        columns = {
            "task_id": "the task's id",
            **({} if by is None else {_group_column(crowd, by): f"the agents' value of '{by}'"}),
            "decision": "the answer as a number of the task's scale; of a continuous scale, the "
            "middle of one of 200 equal stretches",
            "count": "how many agents answer so",
            "share": "their share of the agents" + (f" with this {by}" if by else ""),
        }
        names = list(crowd.scales)
        manifest = {
            "schema": SCHEMA,
            "synthetic": True,
            "counts": True,
            "version": __version__,
            "crowd": crowd_fingerprint(crowd),
            "config": msgspec.to_builtins(crowd.config),
            "seed": seed,
            "agents": agents,
            "by": by,
            "columns": columns,
            "scales": {name: scale_entry(scale) for name, scale in crowd.scales.items()},
            "tasks": dict(zip(crowd.task_ids, [names[i] for i in crowd.task_scale], strict=True)),
            "effective_sample_size": crowd.generator.effective,
            "files": {"counts.parquet": file_entry(hidden / "counts.parquet")},
        }
        write_manifest(hidden, manifest)


def counts_table(crowd: Crowd, counts: Counts) -> pa.Table:
    """One row per task, group and answer, those that nobody gave included."""
    task_scales = crowd.task_scales
    decision = [bins(s) if (own := scales.codes(s)) is None else own for s in task_scales]
    size = np.array([len(own) for own in decision])
    g = len(counts.groups)
    given = np.arange(counts.counts.shape[2]) < size[:, None]
    # (T, G, K): a task's groups stand together.
    number = counts.counts.transpose(1, 0, 2)[np.repeat(given[:, None], g, axis=1)]
    members = np.repeat(np.tile(counts.members, len(size)), np.repeat(size, g))
    columns = {
        "task_id": pa.DictionaryArray.from_arrays(
            np.repeat(np.arange(len(size), dtype=np.int32), size * g), pa.array(crowd.task_ids)
        )
    }
    if counts.by is not None:
        kind = pa.float64() if counts.by.kind == "numeric" else pa.string()
        group = pa.array(np.repeat(np.tile(np.arange(g), len(size)), np.repeat(size, g)))
        column = _group_column(crowd, counts.by.name)
        columns[column] = pa.array(counts.groups, kind).take(group)
    value = np.concatenate([np.tile(own, g) for own in decision])
    whole = np.all(value == np.round(value))
    columns["decision"] = pa.array(value.astype(np.int64) if whole else value)
    columns["count"] = pa.array(number)
    columns["share"] = pa.array(number / members)
    return pa.table(columns)


def _group_column(crowd: Crowd, by: str) -> str:
    """What the attribute that agents are grouped by is called, as in the agents' own file."""
    return attribute_columns(a.name for a in crowd.generator.attributes)[by]
