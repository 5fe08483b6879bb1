"""Estimates about people by a fitted run."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.infer.infer import infer
from crowdllm_jax.infer.known_profiles import KnownProfiles, read_profiles
from crowdllm_jax.infer.question import MEAN, Estimand
from crowdllm_jax.profiles.where import people_among
from crowdllm_jax.runs.config import load_study
from crowdllm_jax.runs.folder import open_run, split_crowd, stored_config
from crowdllm_jax.runs.prepare import folds_in
from crowdllm_jax.runtime.named import named
from crowdllm_jax.runtime.progress import READ, Progress, silent, stage
from crowdllm_jax.study.condition import condition_of
from crowdllm_jax.study.split import split_study


def infer_run(
    folder: Path,
    question: Estimand = MEAN,
    tasks: tuple[str, ...] | None = None,
    profiles: Path | None = None,
    weight: str | None = None,
    where: str | None = None,
    *,
    twins: bool = False,
    progress: Progress = silent,
) -> pa.Table:
    """Estimate by a run's first split and crowd; see `infer`.

    Args:
      tasks: ids, or lists of ids with commas between; the question's attributes likewise (see
        `named`).
      profiles: CSV or Parquet table with the study's profile columns, one row per real person; they
        take the place of the study's people without an answer. weight: its column of weights.
      where: a condition on profiles; only people who fulfil it are looked at.
      twins: predict from people's other answers, too.
    """
    if weight is not None and profiles is None:
        raise CrowdError("--weight: names a column of --profiles FILE; give that, too")
    config = stored_config(folder)
    if config.split.by == "answers" and not twins:
        raise CrowdError(
            f"{folder}: was fitted to some answers of everybody (split.by: answers); predict from "
            "these with --twins, or take a run that holds out people or tasks"
        )
    with stage(progress, READ):
        study = load_study(config)
    folds = folds_in(study, config)
    if tasks is not None:
        tasks = named("--tasks", tasks, study.tasks.ids)
    attributes = [attribute.name for attribute in study.participants.profile]
    question = replace(question, attributes=named("--regress", question.attributes, attributes))
    with open_run(folder, study=study):
        crowds = tuple(split_crowd(folder, fold) for fold in folds)
    others = None if profiles is None else read_profiles(profiles, crowds[0], config.study, weight)
    held = np.stack([split_study(study, config.split, 0, fold).test for fold in folds])
    if where is not None:
        condition, people = condition_of(where), study.participants
        # The others stay, and count for nothing: which crowd has not seen an answer is told by all.
        kept = people_among(people.profile, people.weight, condition)
        people = replace(people, weight=np.where(kept, people.weight, 0.0))
        study = replace(study, participants=people)
        if others is not None:
            kept = people_among(others.attributes, others.weight, condition)
            profile = tuple(replace(a, cells=a.cells[kept]) for a in others.attributes)
            others = KnownProfiles(profile, others.weight[kept])
    return infer(crowds, study, held, question, tasks, others, twins=twins, progress=progress)
