"""Write twins as a folder of Parquet tables."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crowdllm_jax.model.crowd import Crowd, numbers_of
from crowdllm_jax.model.crowd_file import crowd_fingerprint
from crowdllm_jax.population.decisions import MEANING, write, writing_of
from crowdllm_jax.population.manifest import file_entry, write_manifest
from crowdllm_jax.population.twins import Twins
from crowdllm_jax.population.write import SCHEMA, scale_entry
from crowdllm_jax.runtime.files import new_folder, sync_folder
from crowdllm_jax.runtime.version import __version__
from crowdllm_jax.study import scales


def write_twins(crowd: Crowd, twins: Twins, folder: Path, facts: dict[str, object]) -> None:
    """Write twins into a new folder, which appears whole or not at all.

    twins.parquet    participant, draw, task_id, decision: one row per answer of a twin
    expected.parquet participant, task_id, mean, low, high: of the twins' answers, on the scale's
                     own numbers (a ranking counts its best k, the next k - 1, ..., unranked 0);
                     between low and high lie 90% of the answers. Empty on nominal scales.
    beliefs.parquet  participant, dimension, mean, sd, effective: see `twins.Twins`
    manifest.json    what the columns mean, and `facts`

    Raises:
      CrowdError: the folder holds something, or the disk does not take it.
    """
    with new_folder(folder) as hidden:
        _write_twin_tables(crowd, twins, hidden, facts)


def _write_twin_tables(crowd: Crowd, twins: Twins, folder: Path, facts: dict[str, object]) -> None:
    meta = {"crowdllm.synthetic": "true", "crowdllm.crowd": crowd_fingerprint(crowd)}
    people, draws, t = twins.answers.shape
    names = pa.array(twins.ids, pa.string())
    text = pa.dictionary(pa.int32(), pa.string())

    def coded(place: np.ndarray, names: pa.Array) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(place.astype(np.int32), names)

    writing = writing_of(tuple(crowd.scales.values()))
    schema = pa.schema(
        [
            ("participant", text),
            ("draw", pa.int32()),
            ("task_id", text),
            ("decision", writing.type),
        ],
        meta,
    )
    options = {"compression": "zstd", "write_page_checksum": True}
    tasks = pa.array(crowd.task_ids, pa.string())
    mean, low, high = (np.full((people, t), np.nan) for _ in range(3))
    ordered = np.array([not isinstance(scale, scales.Nominal) for scale in crowd.task_scales])
    with pq.ParquetWriter(folder / "twins.parquet", schema, **options) as writer:
        for person, answers in enumerate(twins.answers):
            writer.write_table(
                pa.table(
                    [
                        coded(np.full(draws * t, person), names),
                        np.repeat(np.arange(draws, dtype=np.int32), t),
                        coded(np.tile(np.arange(t), draws), tasks),
                        write(writing, crowd.task_scale, answers),
                    ],
                    schema=schema,
                )
            )
            numbers = numbers_of(crowd, answers)[:, ordered].astype(np.float64)
            mean[person, ordered] = numbers.mean(0)
            low[person, ordered], high[person, ordered] = np.quantile(numbers, (0.05, 0.95), axis=0)
    expected = pa.table(
        {
            "participant": coded(np.repeat(np.arange(people), t), names),
            "task_id": coded(np.tile(np.arange(t), people), tasks),
        }
        | {
            name: pa.array(column.ravel(), from_pandas=True)
            for name, column in (("mean", mean), ("low", low), ("high", high))
        },
    )
    latent = twins.belief.shape[1] - 1
    dimensions = pa.array([*(f"belief_{i + 1}" for i in range(latent)), "log_scale"])
    beliefs = pa.table(
        {
            "participant": coded(np.repeat(np.arange(people), latent + 1), names),
            "dimension": coded(np.tile(np.arange(latent + 1), people), dimensions),
            "mean": twins.belief.astype(np.float64).ravel(),
            "sd": twins.belief_sd.astype(np.float64).ravel(),
            "effective": np.repeat(twins.effective.astype(np.float64), latent + 1),
        },
    )
    pq.write_table(expected.replace_schema_metadata(meta), folder / "expected.parquet", **options)
    pq.write_table(beliefs.replace_schema_metadata(meta), folder / "beliefs.parquet", **options)
    files = {path.name: file_entry(path) for path in sorted(folder.iterdir())}
    manifest = {
        "schema": SCHEMA,
        "synthetic": True,
        "version": __version__,
        "crowd": crowd_fingerprint(crowd),
        "participants": people,
        "draws": draws,
        **facts,
        "columns": {
            "decision": f"a twin's answer: {MEANING}",
            "mean, low, high": "of the twins' answers; 90% of them lie between low and high",
            "dimension": "of the belief; log_scale is the logarithm of the personal scale",
            "effective": "effective number of weighted beliefs; below about 50 they are rough",
        },
        "scales": {name: scale_entry(scale) for name, scale in crowd.scales.items()},
        "files": files,
    }
    write_manifest(folder, manifest)
    for name in files:
        with (folder / name).open("rb+") as file:
            os.fsync(file.fileno())
    sync_folder(folder)
