"""Write a crowd's counted answers as a folder: counts.parquet, means.parquet and a manifest."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq

from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.crowd_file import crowd_fingerprint
from crowdllm_jax.population.counts import Counts, counts_table, group_column, means_table
from crowdllm_jax.population.decisions import MEANING
from crowdllm_jax.population.manifest import file_entry, write_manifest
from crowdllm_jax.population.write import ROUTED, SCHEMA, scale_entry
from crowdllm_jax.runtime.files import new_folder
from crowdllm_jax.runtime.version import __version__

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
            meaning[group_column(crowd, by)] = f"the agents' value of '{by}'"
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
