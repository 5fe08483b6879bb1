"""Write a population as a folder of Parquet parts that survives being killed.

    plan.json            what is being written: crowd, seed, agents; a resumed run must match it
    part-00000.parquet   agent_id, task_id, decision: one row per decision, 0 to A - 1 agents; or,
                         in the wide layout, agent_id and a column per task: one row per agent
    agents-00000.parquet agent_id and profile of the same agents (columns: see `columns`)
    manifest.json        written last: schema, scales, rows, and every file's sha256

A file appears whole (written under a `.tmp-` name, synced, renamed) or not at all. Parts cover
fixed ranges of agents and are taken by processes as they come to them (`parts.py`), as many as they
draw at once.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from itertools import islice, tee
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd import Crowd, check_crowd
from crowdllm_jax.model.crowd_file import crowd_fingerprint
from crowdllm_jax.model.persistent.design import Design
from crowdllm_jax.population.agents import Agents
from crowdllm_jax.population.decisions import MEANING, write, writing_of
from crowdllm_jax.population.drawers import drawers
from crowdllm_jax.population.manifest import file_entry, write_manifest
from crowdllm_jax.population.parts import (
    Part,
    adopt,
    appear,
    check_plan,
    check_shared,
    hidden,
    identity_of,
    meta_of,
    parts_of,
    progress_in,
    sweep,
    taken,
    to_be_continued,
)
from crowdllm_jax.population.sample import BLOCK, blocks_in, draw_blocks, whole_numbers
from crowdllm_jax.runtime import processes
from crowdllm_jax.runtime.given import as_path
from crowdllm_jax.runtime.version import __version__
from crowdllm_jax.study import scale_text, scales
from crowdllm_jax.study.columns import attribute_columns

SCHEMA = 2
"""Of what is written. 1: a decision was the number of its level, whatever the study wrote."""
ROUTED = 3
"""The same, with nulls: where an agent was not asked (`ask_if` in the manifest)."""

PART_ROWS = 4_000_000
GROUP_ROWS = 1_000_000

COLUMNS = {
    "long": {
        "agent_id": "whose decision",
        "task_id": "the task's id",
        "decision": MEANING,
    },
    "wide": {
        "agent_id": "whose decisions",
        "(a task's id)": MEANING,
    },
}


def write_population(
    crowd: Crowd,
    folder: str | Path,
    agents: int,
    seed: int,
    on_agents: Callable[[int, int], None] | None = None,
    layout: Literal["long", "wide"] = "long",
    among: Mapping[str, Any] | None = None,
) -> None:
    """Sample a population into a folder; continue one that was interrupted.

    Args:
      agents: N, how many. seed: of their answers.
      on_agents: called with the number of agents written so far and their total.
      layout: a row per decision (long: N x T rows) or per agent (wide: N rows).
      among: what the manifest is to say of whom the agents are (see `told_whom`).
    Raises:
      CrowdError: the folder holds something else, or the disk does not take it.

    Examples:
      >>> cl.write_population(crowd, "thousand", agents=1000, seed=1)
      >>> sorted(path.name for path in Path("thousand").glob("*.parquet"))
      ['agents-00000.parquet', 'part-00000.parquet']
    """
    folder = as_path(folder, "write_population: give the path of a folder")
    check_crowd(crowd)
    agents, seed = whole_numbers(agents, seed)
    if layout not in COLUMNS:
        raise CrowdError(f"layout: there is no '{layout}'; give {' or '.join(COLUMNS)}")
    if layout == "wide" and "agent_id" in map(str.casefold, crowd.task_ids):
        raise CrowdError(
            "a task's id is 'agent_id', the name of the first column of the wide "
            "layout; use the long one"
        )
    per_part = BLOCK * max(1, PART_ROWS // (BLOCK * len(crowd.task_ids)))
    plan: dict[str, Any] = {
        "schema": ROUTED if crowd.ask_if else SCHEMA,
        "synthetic": True,
        "crowd": crowd_fingerprint(crowd),
        "seed": seed,
        "agents": agents,
        "agents_per_part": per_part,
        "layout": layout,
        **(among or {}),
    }
    if processes.rank() == 0:
        adopt(folder, plan, "population")
    processes.meet("the population's folder")
    check_plan(folder, plan, "population")
    parts = parts_of(
        agents, per_part, lambda n: (f"part-{n:05d}.parquet", f"agents-{n:05d}.parquet")
    )
    _write_parts(crowd, folder, plan, seed, parts, on_agents)
    processes.meet("the population's end")
    if processes.rank() == 0:
        sweep(folder)
        check_shared(folder, parts)
        _write_manifest(crowd, folder, plan, [name for part in parts for name in part.names])
    processes.meet("the population's manifest")


def _write_parts(
    crowd: Crowd,
    folder: Path,
    plan: dict[str, Any],
    seed: int,
    parts: list[Part],
    on_agents: Callable[[int, int], None] | None,
) -> None:
    """Write those of the parts that are not there yet, and that no other process writes."""
    identity = identity_of(plan)
    to_write, to_draw = tee(taken(folder, parts, identity))
    # One stream of blocks through all parts, so that sampling never waits for a part to end.
    spans = (span for part in to_draw for span in blocks_in(part.first, part.size))
    blocks = draw_blocks(drawers(crowd), len(crowd.task_ids), seed, spans)
    with to_be_continued(folder), closing(blocks):
        for part in to_write:
            blocks_of_part = islice(blocks, len(blocks_in(part.first, part.size)))
            wide = plan["layout"] == "wide"
            meta = meta_of(part, identity)
            with to_be_continued(folder, part.names):
                write_rows(crowd, folder, part.names, blocks_of_part, meta, wide=wide)
            if on_agents is not None:
                on_agents(*progress_in(folder, parts))


def _write_manifest(crowd: Crowd, folder: Path, plan: dict[str, Any], names: list[str]) -> None:
    with to_be_continued(folder):
        files = {name: file_entry(folder / name) for name in names}
    manifest = {
        **plan,
        "version": __version__,
        "rows": plan["agents"] * len(crowd.task_ids),
        "columns": columns_of(crowd, COLUMNS[plan["layout"]]),
        "profile_columns": attribute_columns(a.name for a in crowd.generator.attributes),
        "scales": {name: scale_entry(scale) for name, scale in crowd.scales.items()},
        "tasks": dict(
            zip(crowd.task_ids, [list(crowd.scales)[i] for i in crowd.task_scale], strict=True)
        ),
        **({"ask_if": dict(crowd.ask_if)} if crowd.ask_if else {}),
        "tasks_without_answers": tasks_without_answers(crowd),
        "effective_sample_size": crowd.generator.effective,
        "files": files,
    }
    write_manifest(folder, manifest)


def told_whom(where: str | None, margins: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a manifest says of whom agents are, where a condition or margins are given."""
    told = {"where": where, "margins": margins}
    return {name: value for name, value in told.items() if value is not None}


def columns_of(crowd: Crowd, meaning: dict[str, str]) -> dict[str, str]:
    """What columns mean, with what a null among the answers does."""
    if not crowd.ask_if:
        return meaning
    null = f"{MEANING}; null: this agent was not asked (ask_if)"
    return {name: null if told == MEANING else told for name, told in meaning.items()}


def tasks_without_answers(crowd: Crowd) -> list[str]:
    """Tasks that no training person answered, of a model that tells them from the others."""
    if not isinstance(crowd.inputs, Design):
        return []
    return [crowd.task_ids[task] for task in np.flatnonzero(crowd.inputs.tasks.known == 0)]


def write_rows(
    crowd: Crowd,
    folder: Path,
    names: tuple[str, ...],
    blocks: Iterator[Agents],
    meta: dict[str, str],
    *,
    wide: bool = False,
) -> None:
    """Write one part: the answers and the profiles of some blocks of agents."""
    if wide:
        fields = [
            (name, writing_of([scale]).type)
            for name, scale in zip(crowd.task_ids, crowd.task_scales, strict=True)
        ]
    else:
        decision = writing_of(tuple(crowd.scales.values())).type
        fields = [("task_id", pa.dictionary(pa.int32(), pa.string())), ("decision", decision)]
    schema = pa.schema([("agent_id", pa.int64()), *fields], meta)
    people = _profile_schema(crowd, meta)
    temporary = [folder / hidden(name) for name in names]
    options = {"compression": "zstd", "compression_level": 1, "write_page_checksum": True}
    with (
        pq.ParquetWriter(
            temporary[0],
            schema,
            use_dictionary=[name for name, _ in fields],
            column_encoding={"agent_id": "DELTA_BINARY_PACKED"},
            **options,
        ) as answers,
        pq.ParquetWriter(temporary[1], people, **options) as profiles,
    ):
        for block in blocks:
            for table in (_wide_rows if wide else _long_rows)(crowd, block, schema):
                answers.write_table(table)
            profiles.write_table(_profile_rows(block, people))
    appear(folder, names)


def _profile_schema(crowd: Crowd, meta: dict[str, str]) -> pa.Schema:
    called = attribute_columns(a.name for a in crowd.generator.attributes)
    return pa.schema(
        [("agent_id", pa.int64())]
        + [(called[a.name], _attribute_type(a.kind)) for a in crowd.generator.attributes],
        meta,
    )


def _profile_rows(block: Agents, schema: pa.Schema) -> pa.Table:
    """The profiles of a block: a row per agent."""
    columns = [pa.array(block.ids)]
    for a in block.profile:
        if a.kind == "numeric":
            columns.append(pa.array(a.cells, from_pandas=True))
        else:
            columns.append(
                pa.DictionaryArray.from_arrays(a.cells, list(a.levels)).cast(pa.string())
            )
    return pa.table(columns, schema=schema)


def _wide_rows(crowd: Crowd, block: Agents, schema: pa.Schema) -> Iterator[pa.Table]:
    """A block as one table with a row per agent."""
    writings = [writing_of([scale]) for scale in crowd.scales.values()]
    only_scale = np.zeros(1, np.int32)
    columns = [
        write(writings[scale], only_scale, answers[:, None])
        for scale, answers in zip(crowd.task_scale, block.answers.T, strict=True)
    ]
    yield pa.table([pa.array(block.ids), *columns], schema=schema)


def _long_rows(crowd: Crowd, block: Agents, schema: pa.Schema) -> Iterator[pa.Table]:
    """A block as long tables of about GROUP_ROWS rows."""
    n, t = block.answers.shape
    per_group = max(1, GROUP_ROWS // t)
    writing = writing_of(tuple(crowd.scales.values()))
    task_names = pa.array(crowd.task_ids)
    task = np.tile(np.arange(t, dtype=np.int32), min(per_group, n))
    for first in range(0, n, per_group):
        answers = block.answers[first : first + per_group]
        yield pa.table(
            [
                pa.array(np.repeat(block.ids[first : first + per_group], t)),
                pa.DictionaryArray.from_arrays(task[: answers.size], task_names),
                write(writing, crowd.task_scale, answers),
            ],
            schema=schema,
        )


def _attribute_type(kind: str) -> pa.DataType:
    return pa.float64() if kind == "numeric" else pa.string()


def scale_entry(scale: scales.Scale) -> dict[str, object]:
    """What a manifest says of a scale: its kind, its entry in a study file, and what stands in the
    files for each level, with its label."""
    entry: dict[str, object] = {
        "kind": scales.kind(scale),
        "meaning": scale_text.describe(scale),
        "entry": msgspec.to_builtins(scale),
    }
    if scales.size(scale):
        entry["levels"] = written_levels(scale)
    return entry


def written_levels(scale: scales.Scale) -> dict[str, str]:
    """What stands in the files for each level, and its label."""
    return dict(zip(map(str, scales.written(scale)), scales.labels(scale), strict=True))
