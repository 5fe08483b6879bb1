"""Write twins as a folder of Parquet tables.

They are drawn in parts, some people in each, that are kept beside the folder until all are there
(`parts.py`): whoever is killed goes on from the whole ones, and several processes share them.
"""

import json
import os
import shutil
from collections.abc import Iterator
from itertools import islice, tee
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crowdllm_jax.model.crowd import Crowd, numbers_of
from crowdllm_jax.model.crowd_file import crowd_fingerprint
from crowdllm_jax.population.decisions import MEANING, write, writing_of
from crowdllm_jax.population.manifest import file_entry, write_manifest
from crowdllm_jax.population.parts import (
    Part,
    adopt,
    appear,
    changed,
    check_plan,
    hidden,
    identity_of,
    meta_of,
    parts_of,
    progress_in,
    sweep,
    taken,
    to_be_continued,
)
from crowdllm_jax.population.read import reading
from crowdllm_jax.population.twins import Twins, TwinsOfOne, draw_twins, gathered
from crowdllm_jax.population.write import SCHEMA, scale_entry
from crowdllm_jax.runtime import handing_out, processes
from crowdllm_jax.runtime.files import check_new, new_folder, sync_folder
from crowdllm_jax.runtime.progress import Progress, silent
from crowdllm_jax.runtime.version import __version__
from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Study, fingerprint

OPTIONS = {"compression": "zstd", "write_page_checksum": True}


PART_PEOPLE = 64
PART_ANSWERS = 1 << 26
"""In a part, at most."""


def twins_in_parts(
    crowd: Crowd,
    people: Study,
    folder: Path,
    *,
    draws: int,
    seed: int,
    progress: Progress = silent,
) -> None:
    """Draw twins of everybody in a study, and write them into a new folder (see `write_twins`).

    Several processes share the work; the folder has the same bytes, however many they are.

    Args:
      people: who they are and all that is known of their answers.
      draws: twins per person. seed: of their answers.
    Raises:
      CrowdError: the crowd has no twins, the folder holds something, or the disk does not take it.
    """
    check_new(folder)
    h = len(people.participants.ids)
    per_part = max(1, min(PART_PEOPLE, PART_ANSWERS // max(1, draws * len(crowd.task_ids))))
    plan = _plan_of(crowd, people, draws, seed, per_part)
    parts = parts_of(h, per_part, lambda number: (f"twins-{number:05d}.parquet",))
    kept = folder.parent / f".tmp-parts-{folder.absolute().name}"
    identity = identity_of(plan)
    to_write, to_draw = tee(taken(kept, parts, identity))
    everyone = (person for part in to_draw for person in range(part.first, part.first + part.size))
    twins = draw_twins(crowd, people, None, draws, seed, everyone)
    if processes.rank() == 0:
        _begin(kept, plan)
    processes.meet("the twins' parts")
    check_plan(kept, plan, "twins")
    progress("make twins", 0, h)
    with handing_out.apart(kept):
        for part in to_write:
            _write_part(kept, part, identity, list(islice(twins, part.size)))
            progress("make twins", *progress_in(kept, parts))
            if handing_out.others_stop():
                raise KeyboardInterrupt
        handing_out.wait_for_all(lambda: progress_in(kept, parts)[0], h, progress, "make twins")
    processes.meet("the twins' end")
    if processes.rank() == 0:
        drawn = (one for part in parts for one in _read_part(kept / part.names[0]))
        made = gathered(crowd, people, drawn)
        write_twins(crowd, made, folder, {"seed": seed, "answers": len(people.answer)})
        shutil.rmtree(kept)
    processes.meet("the twins' folder")


def _plan_of(crowd: Crowd, people: Study, draws: int, seed: int, per_part: int) -> dict[str, Any]:
    """What parts must have been made for to be of these twins."""
    return {
        "schema": SCHEMA,
        "twins": True,
        "crowd": crowd_fingerprint(crowd),
        "people": fingerprint(people),
        "draws": draws,
        "seed": seed,
        "people_per_part": per_part,
    }


def _begin(kept: Path, plan: dict[str, Any]) -> None:
    """Make the folder of the parts, or keep that of these very twins."""
    if (kept / "plan.json").is_file() and not changed(kept, plan):
        sweep(kept)
        return
    shutil.rmtree(kept, ignore_errors=True)
    adopt(kept, plan, "twins")


def _write_part(folder: Path, part: Part, identity: str, twins: list[TwinsOfOne]) -> None:
    """Write what was drawn of some people as it is, a row each: bytes of arrays."""
    columns = {
        name: [np.asarray(array) for array in column]
        for name, column in zip(TwinsOfOne._fields, zip(*twins, strict=True), strict=True)
    }
    meta = meta_of(part, identity)
    for name, arrays in columns.items():
        meta |= {f"{name}.dtype": arrays[0].dtype.str, f"{name}.shape": str(list(arrays[0].shape))}
    table = pa.table(
        {name: pa.array([a.tobytes() for a in arrays]) for name, arrays in columns.items()}
    )
    with to_be_continued(folder, part.names):
        path = folder / hidden(part.names[0])
        pq.write_table(table.replace_schema_metadata(meta), path, **OPTIONS)
        appear(folder, part.names)


def _read_part(path: Path) -> Iterator[TwinsOfOne]:
    """What `_write_part` wrote, person by person."""
    with reading(path, "the same command"):
        table = pq.read_table(path, page_checksum_verification=True)
        meta = table.schema.metadata
        for row in table.to_pylist():
            yield TwinsOfOne(
                *(
                    np.frombuffer(row[name], meta[f"{name}.dtype".encode()].decode()).reshape(
                        json.loads(meta[f"{name}.shape".encode()])
                    )
                    for name in TwinsOfOne._fields
                )
            )


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
    people, draws, _ = twins.answers.shape
    _write_answers(crowd, twins, folder / "twins.parquet", meta)
    tables = {"expected.parquet": _expected(crowd, twins), "beliefs.parquet": _beliefs(twins)}
    for name, table in tables.items():
        pq.write_table(table.replace_schema_metadata(meta), folder / name, **OPTIONS)
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


def _write_answers(crowd: Crowd, twins: Twins, path: Path, meta: dict[str, str]) -> None:
    """One row per answer of a twin, person by person, so that memory holds one person's."""
    _, draws, t = twins.answers.shape
    names, tasks = pa.array(twins.ids, pa.string()), pa.array(crowd.task_ids, pa.string())
    text = pa.dictionary(pa.int32(), pa.string())
    writing = writing_of(tuple(crowd.scales.values()))
    fields = [
        ("participant", text),
        ("draw", pa.int32()),
        ("task_id", text),
        ("decision", writing.type),
    ]
    schema = pa.schema(fields, meta)
    with pq.ParquetWriter(path, schema, **OPTIONS) as writer:
        for person, answers in enumerate(twins.answers):
            columns = [
                _coded(np.full(draws * t, person), names),
                np.repeat(np.arange(draws, dtype=np.int32), t),
                _coded(np.tile(np.arange(t), draws), tasks),
                write(writing, crowd.task_scale, answers),
            ]
            writer.write_table(pa.table(columns, schema=schema))


def _expected(crowd: Crowd, twins: Twins) -> pa.Table:
    """One row per person and task: the mean of the twins' answers, and where 90% of them lie."""
    people, _, t = twins.answers.shape
    mean, low, high = (np.full((people, t), np.nan) for _ in range(3))
    ordered = scales.which(scales.is_ordered, crowd.task_scales)
    for person, answers in enumerate(twins.answers):
        numbers = numbers_of(crowd, answers)[:, ordered].astype(np.float64)
        mean[person, ordered] = numbers.mean(0)
        # Answers that were given: a number between two would leave more than a tenth outside.
        low[person, ordered] = np.quantile(numbers, 0.05, axis=0, method="lower")
        high[person, ordered] = np.quantile(numbers, 0.95, axis=0, method="higher")
    columns = {
        "participant": _coded(np.repeat(np.arange(people), t), pa.array(twins.ids, pa.string())),
        "task_id": _coded(np.tile(np.arange(t), people), pa.array(crowd.task_ids, pa.string())),
    }
    for name, column in (("mean", mean), ("low", low), ("high", high)):
        columns[name] = pa.array(column.ravel(), from_pandas=True)
    return pa.table(columns)


def _beliefs(twins: Twins) -> pa.Table:
    """One row per person and dimension of the belief."""
    people, width = twins.belief.shape
    dimensions = pa.array([*(f"belief_{i + 1}" for i in range(width - 1)), "log_scale"])
    names = pa.array(twins.ids, pa.string())
    return pa.table(
        {
            "participant": _coded(np.repeat(np.arange(people), width), names),
            "dimension": _coded(np.tile(np.arange(width), people), dimensions),
            "mean": twins.belief.astype(np.float64).ravel(),
            "sd": twins.belief_sd.astype(np.float64).ravel(),
            "effective": np.repeat(twins.effective.astype(np.float64), width),
        },
    )


def _coded(index: np.ndarray, names: pa.Array) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(index.astype(np.int32), names)
