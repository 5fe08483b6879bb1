"""Answers to aggregate: a population's folder or a study, read block by block, as often as needed.

Memory holds one block, however many agents there are.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crowdllm_jax.errors import CrowdError, named_errors
from crowdllm_jax.model.response import level_dtype
from crowdllm_jax.population.decisions import read
from crowdllm_jax.population.manifest import check_seal
from crowdllm_jax.population.write import ROUTED, written_levels
from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.scales import Scale
from crowdllm_jax.study.shares_asked import shares_asked

CELLS = 1 << 22
"""Answers in a block."""


@dataclass(frozen=True)
class Answers:
    """N people's (or agents') answers to T tasks.

    Attributes:
      scales: by name; task_scale: (T,) index into them.
      effective: how many people's answers a synthetic crowd rests on; None where the answers are
        people's own.
      weight: (N,) survey weights, or None where everyone counts alike.
      blocks: gives a new pass over all answers: (n, T) levels, -1 where there is none (values and
        NaN where the scale is continuous). All blocks but the last have one n.
      by_part: the same for each part of a population, which stand one after the other.
      ask_if: by the ids of tasks that only some are asked, the condition. asked: (T,) share of
        people (by weight) who are asked; None of agents, who answer whatever they are asked.
    """

    task_ids: tuple[str, ...]
    scales: dict[str, Scale]
    task_scale: np.ndarray
    people: int
    effective: float | None
    weight: np.ndarray | None
    blocks: Callable[[], Iterator[np.ndarray]]
    ask_if: Mapping[str, str] = field(default_factory=dict)
    asked: np.ndarray | None = None
    by_part: tuple[Callable[[], Iterator[np.ndarray]], ...] = ()

    @property
    def passes(self) -> tuple[Callable[[], Iterator[np.ndarray]], ...]:
        """Passes over all answers, part by part."""
        return self.by_part or (self.blocks,)

    @property
    def task_scales(self) -> tuple[Scale, ...]:
        """The scale of each task."""
        in_order = tuple(self.scales.values())
        return tuple(in_order[index] for index in self.task_scale)

    @property
    def block(self) -> int:
        """n, the number of people in a block."""
        return block_size(len(self.task_ids))


def block_size(tasks: int) -> int:
    """How many people stand in a block of their answers to so many tasks."""
    return max(64, min(8192, CELLS // tasks))


def answers_of(study: Study) -> Answers:
    """Real people's answers, with the survey weights they have."""
    t, n = len(study.tasks.ids), len(study.participants.ids)
    in_order = tuple(study.scales.values())
    task_scales = tuple(in_order[index] for index in study.tasks.scale)
    dtype = level_dtype(task_scales)
    # People's values are kept to the last digit; agents' are drawn as 32-bit floats.
    dtype = np.dtype(np.float64) if dtype.kind == "f" else dtype
    none = np.where(scales.which(scales.is_continuous, task_scales), np.nan, -1)
    size = block_size(t)

    def blocks() -> Iterator[np.ndarray]:
        for first in range(0, n, size):
            last = min(n, first + size)
            # A study's responses stand by participant.
            start, stop = np.searchsorted(study.person, [first, last])
            block = np.tile(none, (last - first, 1)).astype(dtype)
            rows = study.person[start:stop] - first
            block[rows, study.task[start:stop]] = study.answer[start:stop]
            yield block

    weight = study.participants.weight
    return Answers(
        study.tasks.ids,
        study.scales,
        study.tasks.scale,
        n,
        None,
        None if np.ptp(weight) == 0 else weight,
        blocks,
        study.tasks.ask_if,
        shares_asked(study),
    )


class ScaleEntry(msgspec.Struct):
    """What a manifest says of a scale, as far as it is read back."""

    entry: Scale
    levels: dict[str, str] = {}


class Manifest(msgspec.Struct):
    """What a manifest says of a population (or of its counts), as far as it is read back."""

    schema: int
    agents: int
    scales: dict[str, ScaleEntry]
    tasks: dict[str, str]
    effective_sample_size: float
    files: dict[str, dict[str, str | int]]
    crowd: str = ""
    layout: str = "long"
    counts: bool = False
    ask_if: dict[str, str] = {}


def read_manifest(folder: Path) -> Manifest:
    """Read what a population's folder says of itself.

    Raises:
      CrowdError: the folder holds no finished population, or one of another version.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        if (folder / "plan.json").exists():
            hint = "it is not finished: run its `crowdllm sample` again"
        elif (folder / "population" / "manifest.json").exists():
            hint = f"give {folder / 'population'}"
        else:
            hint = "give a population's folder, or a study or configuration (YAML)"
        raise CrowdError(f"{folder}: holds no manifest.json; {hint}")
    entries = check_seal(path)
    if "draws" in entries:
        raise CrowdError(
            f"{folder}: holds twins of real people, which are no population; their tables "
            "(expected.parquet, twins.parquet) may be read as they are. Give a population's folder"
        )
    try:
        manifest = msgspec.convert(entries, Manifest)
    except msgspec.MsgspecError as error:
        raise CrowdError(
            f"{path}: cannot be read ({error}); it may be of another version: run `crowdllm sample`"
            " again, to another folder"
        ) from error
    _check_schema(path, manifest)
    odd = [task for task, name in manifest.tasks.items() if name not in manifest.scales]
    if odd or not manifest.tasks or not manifest.effective_sample_size > 0:
        raise CrowdError(
            f"{path}: does not say the scale of every task, or on how many people the crowd rests"
        )
    return manifest


def _check_schema(path: Path, manifest: Manifest) -> None:
    """Raise CrowdError if decisions are written in a way that is not known here.

    In schema 1 a decision was the number of its level. Where that is how the study writes it, which
    the manifest tells, nothing has changed.
    """
    if manifest.schema > ROUTED:
        raise CrowdError(
            f"{path}: is of a newer version of crowdllm-jax (schema {manifest.schema},"
            f" this one reads {ROUTED}); update it"
        )
    changed = [
        name
        for name, scale in manifest.scales.items()
        if scale.levels != (written_levels(scale.entry) if scales.size(scale.entry) else {})
    ]
    if changed:
        raise CrowdError(
            f"{path}: was made by an earlier version, which wrote the answers on scale "
            f"'{changed[0]}' as the numbers of their levels; sample again, to another folder"
        )


def open_population(folder: Path) -> Answers:
    """A population's answers.

    Raises:
      CrowdError: the folder holds no finished population, or (while it is read) a damaged one.
    """
    manifest = read_manifest(folder)
    parts = sorted(name for name in manifest.files if name.startswith("part-"))
    if manifest.counts or not parts:
        raise CrowdError(
            f"{folder}: holds no agents' answers (part-*.parquet), which this needs; "
            "sample without --aggregate"
        )
    names = list(manifest.scales)
    in_order = {name: scale.entry for name, scale in manifest.scales.items()}
    task_scale = np.array([names.index(name) for name in manifest.tasks.values()], np.int32)
    ids = tuple(manifest.tasks)
    size = block_size(len(ids))
    read_part = _read_wide if manifest.layout == "wide" else _read_long
    routed = np.array([name in manifest.ask_if for name in ids])

    columns = 1 if manifest.layout == "wide" else len(ids)

    def of_part(name: str) -> Iterator[np.ndarray]:
        agents = int(manifest.files[name]["rows"]) // columns
        several, people = tuple(in_order.values()), 0
        for block in read_part(folder / name, ids, several, task_scale, routed):
            people += len(block)
            yield block
        if people != agents:
            raise CrowdError(
                f"{folder / name}: holds {people:,} agents, its manifest says {agents:,}; sample "
                "again"
            )

    def blocks_of(name: str) -> Iterator[np.ndarray]:
        return in_blocks(of_part(name), size)

    return Answers(
        ids,
        in_order,
        task_scale,
        manifest.agents,
        manifest.effective_sample_size,
        None,
        lambda: in_blocks(chain.from_iterable(map(of_part, parts)), size),
        manifest.ask_if,
        by_part=tuple(partial(blocks_of, name) for name in parts),
    )


def in_blocks(several: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same rows, `size` in each block but the last."""
    left: list[np.ndarray] = []
    for block in several:
        left.append(block)
        while sum(map(len, left)) >= size:
            joined = np.concatenate(left)
            yield joined[:size]
            left = [joined[size:]]
    if rest := [block for block in left if len(block)]:
        yield np.concatenate(rest)


def reading(path: Path, remedy: str = "sample again") -> AbstractContextManager[None]:
    """While a file of a population is read, faults of the disk or of its content name it."""
    errors = (OSError, pa.ArrowException, KeyError)
    return named_errors(path, "cannot be read", *errors, remedy=remedy)


def _read_wide(
    path: Path,
    ids: tuple[str, ...],
    several: tuple[Scale, ...],
    task_scale: np.ndarray,
    routed: np.ndarray,
) -> Iterator[np.ndarray]:
    """(n, T) levels of the agents of one part with a column per task, a few at a time."""
    dtype = level_dtype(tuple(several[index] for index in task_scale))
    with reading(path):
        file = pq.ParquetFile(path, page_checksum_verification=True)
        if file.schema_arrow.names != ["agent_id", *ids]:
            raise CrowdError("its columns are not agent_id and the manifest's tasks")
        for batch in file.iter_batches(block_size(len(ids)), columns=list(ids)):
            out = np.empty((batch.num_rows, len(ids)), dtype)
            first_scale = np.zeros(batch.num_rows, np.int32)
            for task, column in enumerate(batch.columns):
                may = np.full(batch.num_rows, routed[task])
                out[:, task] = read(column, [several[task_scale[task]]], first_scale, dtype, may)
            yield out


def _read_long(
    path: Path,
    ids: tuple[str, ...],
    several: tuple[Scale, ...],
    task_scale: np.ndarray,
    routed: np.ndarray,
) -> Iterator[np.ndarray]:
    """(n, T) levels of the agents of one part with a row per decision, a few at a time."""
    t = len(ids)
    index_of = {name: i for i, name in enumerate(ids)}
    dtype = level_dtype(tuple(several[index] for index in task_scale))
    left = np.zeros(0, dtype)
    with reading(path):
        file = pq.ParquetFile(path, page_checksum_verification=True)
        for batch in file.iter_batches(t * block_size(t), columns=["task_id", "decision"]):
            coded = batch.column("task_id")
            task_of = np.array(
                [index_of.get(n, -1) for n in coded.dictionary.to_pylist()], np.int32
            )
            task = task_of[np.asarray(coded.indices)]
            expected = np.tile(np.arange(t, dtype=np.int32), len(task) // t + 2)[len(left) :]
            if np.any(task != expected[: len(task)]):
                raise CrowdError(
                    "rows do not stand agent by agent, each with every task of the manifest"
                )
            scale_of = task_scale[task] if len(several) > 1 else np.zeros(len(task), np.int32)
            levels = read(batch.column("decision"), several, scale_of, dtype, routed[task])
            left = np.concatenate([left, levels]) if len(left) else levels
            complete = len(left) // t * t
            yield left[:complete].reshape(-1, t)
            left = left[complete:]
        if len(left):
            raise CrowdError("ends in the middle of an agent")
