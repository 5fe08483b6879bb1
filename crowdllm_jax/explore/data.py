"""A run's population as columns in memory, and its held-out people."""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.explore.view import Explored, HeldOut
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.crowd_file import crowd_fingerprint
from crowdllm_jax.model.response import level_dtype
from crowdllm_jax.population.read import Manifest, open_population, read_manifest, reading
from crowdllm_jax.runs.config import Config, load_config, load_study
from crowdllm_jax.runs.folder import fitted_crowd, run_facts, stored_config
from crowdllm_jax.runtime.progress import Progress, silent
from crowdllm_jax.study.coding import recode
from crowdllm_jax.study.columns import attribute_columns
from crowdllm_jax.study.records import Attribute, Study, fingerprint
from crowdllm_jax.study.split import folds_of, split_study


def explore_run(
    run: Path,
    population: Path | None = None,
    data: str | None = None,
    progress: Progress = silent,
) -> Explored:
    """Load a population of a run's first crowd.

    Args:
      population: its folder (default: the run's own). data: folder of the study's tables; where it
        is not given and they cannot be read, there are no people to look at.
    Raises:
      CrowdError: there is no such population, it is of another crowd or damaged, or `data` does not
        hold what the run was made from.
    """
    config = stored_config(run)
    crowd = fitted_crowd(run)
    if population is None:
        population = run / "population"
        if not (population / "manifest.json").is_file():
            raise CrowdError(
                f"{run}: has no finished population; run `crowdllm sample {run}`, or "
                "name one with --population DIR"
            )
    manifest = read_manifest(population)
    if manifest.crowd != crowd_fingerprint(crowd):
        raise CrowdError(
            f"{population}: is not a population of the crowd fitted in {run}; name "
            "the run that it was sampled from"
        )
    study: Study | str = _study(run, config, data)
    answers = _read_answers(population, manifest, progress)
    profile = _read_profiles(population, manifest, crowd.generator.attributes)
    ids = tuple(manifest.tasks)
    if isinstance(study, str):
        warnings.warn(f"no held-out people are shown: {study}", CrowdWarning, stacklevel=2)
        name, texts, humans = run.absolute().name, dict(zip(ids, ids, strict=True)), None
        everyone = None
    else:
        name, texts = study.name, dict(zip(study.tasks.ids, study.tasks.text, strict=True))
        test = split_study(study, config.split, 0).test
        everybody = held_out_people(study, np.ones_like(test), crowd)
        everyone = replace(everybody, called="surveyed")
        if folds_of(study, config.split) == 1:
            humans = held_out_people(study, test, crowd)
        else:
            # The population's crowd was fitted to everybody, and so everybody stands beside it.
            humans, everyone = everyone, None
    return Explored(
        name,
        ids,
        tuple(texts[task] for task in ids),
        tuple(manifest.scales[scale].entry for scale in manifest.tasks.values()),
        manifest.agents,
        profile,
        answers,
        str(study) if humans is None else humans,
        everyone,
    )


def _study(run: Path, config: Config, data: str | None) -> Study | str:
    """The run's study, or why it cannot be had."""
    try:
        if data is not None:
            config = load_config(run / "config.yaml", data=data)
        study = load_study(config)
        sha256 = fingerprint(study, ordered=config.split.first is not None)
        if run_facts(run).get("study_sha256") != sha256:
            where = "--data" if data is not None else str(run)
            raise CrowdError(f"{where}: the study's data are not those the run was made from")
    except CrowdError as error:
        if data is not None:
            raise
        return f"the study's data cannot be read ({error}); --data DIR names their folder"
    return study


def held_out_people(study: Study, test: np.ndarray, crowd: Crowd) -> HeldOut:
    """The people and answers of a study that are held out (test: (R,) bool)."""
    index_of = {task: i for i, task in enumerate(crowd.task_ids)}
    tasks = np.array([index_of[task] for task in study.tasks.ids], np.int32)
    people = study.participants
    rows = test & (people.weight[study.person] > 0)
    return HeldOut(
        recode(crowd.codings, people.profile),
        people.weight,
        study.person[rows],
        tasks[study.task[rows]],
        study.answer[rows],
    )


def _read_answers(folder: Path, manifest: Manifest, progress: Progress) -> tuple[np.ndarray, ...]:
    """For each task the answers of all agents, in the smallest type that holds them."""
    population = open_population(folder)
    n = manifest.agents
    columns = tuple(np.empty(n, level_dtype((scale,))) for scale in population.task_scales)
    done = 0
    for block in population.blocks():
        # More than the manifest says are told of once all are read.
        block = block[: n - done]
        for column, answers in zip(columns, block.T, strict=True):
            column[done : done + len(block)] = answers
        done += len(block)
        progress("load answers", done, n)
    return columns


def _read_profiles(
    folder: Path, manifest: Manifest, attributes: tuple[Attribute, ...]
) -> tuple[Attribute, ...]:
    """All agents' attributes; a level is one byte, or two where there are more than 256."""
    called = attribute_columns(attribute.name for attribute in attributes)
    names = list(called)
    words = [called[attribute.name] for attribute in attributes if attribute.kind != "numeric"]
    cells: dict[str, list[np.ndarray]] = {name: [] for name in names}
    done = 0
    for file in sorted(name for name in manifest.files if name.startswith("agents-")):
        path = folder / file
        with reading(path):
            table = pq.read_table(path, read_dictionary=words, page_checksum_verification=True)
        if table.column_names != ["agent_id", *called.values()]:
            raise CrowdError(
                f"{path}: its columns are not agent_id and the crowd's attributes; sample again"
            )
        if np.any(np.asarray(table["agent_id"]) != np.arange(done, done + len(table))):
            raise CrowdError(f"{path}: its agents do not stand in order; sample again")
        done += len(table)
        for attribute in attributes:
            column = table[called[attribute.name]]
            numeric = attribute.kind == "numeric"
            cells[attribute.name] += (
                [column.to_numpy()] if numeric else _levels(path, attribute, column)
            )
    if done != manifest.agents:
        raise CrowdError(
            f"{folder}: holds the profiles of {done:,} agents, its manifest says "
            f"{manifest.agents:,}; sample it again"
        )
    return tuple(
        Attribute(a.name, a.kind, a.levels, np.concatenate(cells[a.name])) for a in attributes
    )


def _levels(path: Path, attribute: Attribute, column: pa.ChunkedArray) -> Iterator[np.ndarray]:
    """The levels of a column of words."""
    level_of = {level: i for i, level in enumerate(attribute.levels)}
    dtype = np.uint8 if len(level_of) <= 256 else np.uint16
    for chunk in column.chunks:
        words = chunk.dictionary.to_pylist()
        levels = np.array([level_of.get(word, -1) for word in words], np.int64)
        cells = levels[np.asarray(chunk.indices)]
        if chunk.null_count or np.any(cells < 0):
            raise CrowdError(
                f"{path}: column '{attribute.name}' holds a level that the crowd does "
                "not know; sample again"
            )
        yield cells.astype(dtype)
