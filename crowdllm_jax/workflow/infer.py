"""Estimates about people by a fitted run."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.infer.infer import infer
from crowdllm_jax.infer.known_profiles import KnownProfiles, read_profiles
from crowdllm_jax.infer.planned import gathered, read_plan
from crowdllm_jax.infer.question import MEAN, Estimand
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.profiles.where import people_among
from crowdllm_jax.runs.config import Config, load_study
from crowdllm_jax.runs.folder import open_run, split_crowd, stored_config
from crowdllm_jax.runs.prepare import folds_in
from crowdllm_jax.runtime.named import named
from crowdllm_jax.runtime.progress import READ, Progress, silent, stage
from crowdllm_jax.study.condition import Condition, condition_of
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.split import split_study
from crowdllm_jax.study.toplines import check_people


@dataclass(frozen=True)
class Whom:
    """The people who are estimated about.

    Attributes:
      profiles: CSV or Parquet table with the study's profile columns, one row per real person; they
        take the place of the study's people without an answer. weight: its column of weights.
      where: a condition on profiles; only people who fulfil it are looked at.
      plans: tables by which some of the answers were gathered (see `plan`), first to last.
    """

    profiles: Path | None = None
    weight: str | None = None
    where: str | None = None
    plans: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Held:
    """A run's crowds, and its study.

    Attributes:
      held: (K, R) bool, the responses that each of K crowds was not fitted on.
      condition: that all people of the study who have a weight fulfil.
    Raises:
      CrowdError: the study tells of published shares, and of no people.
    """

    crowds: tuple[Crowd, ...]
    study: Study
    config: Config
    held: np.ndarray
    condition: Condition | None = None

    def __post_init__(self) -> None:
        # Before a table of people or a plan is read, of which the messages would lead nowhere.
        check_people(self.study)


def held_by(folder: Path, progress: Progress) -> Held:
    """A run's first split: its crowds, and which answers they have not seen."""
    config = stored_config(folder)
    with stage(progress, READ):
        study = load_study(config)
    folds = folds_in(study, config)
    with open_run(folder, study=study):
        crowds = tuple(split_crowd(folder, fold) for fold in folds)
    held = np.stack([split_study(study, config.split, 0, fold).test for fold in folds])
    return Held(crowds, study, config, held)


def among(run: Held, where: str | None) -> Held:
    """The same, of those people alone who fulfil a condition on profiles.

    The others stay, and count for nothing: which crowd has not seen an answer is told by all.
    """
    if where is None:
        return run
    condition, people = condition_of(where), run.study.participants
    kept = people_among(people.profile, people.weight, condition)
    people = replace(people, weight=np.where(kept, people.weight, 0.0))
    return replace(run, study=replace(run.study, participants=people), condition=condition)


def tasks_named(tasks: tuple[str, ...] | None, study: Study) -> tuple[str, ...] | None:
    """The tasks that a command line lists (see `named`); None where it names none."""
    return None if tasks is None else named("--tasks", tasks, study.tasks.ids)


def infer_run(
    folder: Path,
    question: Estimand = MEAN,
    tasks: tuple[str, ...] | None = None,
    whom: Whom | None = None,
    *,
    twins: bool = False,
    progress: Progress = silent,
) -> pa.Table:
    """Estimate by a run's first split and crowd; see `infer`.

    Args:
      tasks: ids, or lists of ids with commas between; the question's attributes likewise (see
        `named`).
      whom: None: the study's people.
      twins: predict from people's other answers, too.
    Returns:
      the table, with a note on planned answers in its metadata (`notes`) where there are plans.
    """
    whom = whom or Whom()
    if whom.weight is not None and whom.profiles is None:
        raise CrowdError("--weight: names a column of --profiles FILE; give that, too")
    config = stored_config(folder)
    if config.split.by == "answers" and not twins:
        raise CrowdError(
            f"{folder}: was fitted to some answers of everybody (split.by: answers); predict from "
            "these with --twins, or take a run that holds out people or tasks"
        )
    run = among(held_by(folder, progress), whom.where)
    study = run.study
    attributes = [attribute.name for attribute in study.participants.profile]
    question = replace(question, attributes=named("--regress", question.attributes, attributes))
    others = None
    if whom.profiles is not None:
        others = read_profiles(whom.profiles, run.crowds[0], run.config.study, whom.weight)
    if others is not None and run.condition is not None:
        kept = people_among(others.attributes, others.weight, run.condition)
        profile = tuple(replace(a, cells=a.cells[kept]) for a in others.attributes)
        others = KnownProfiles(profile, others.weight[kept])
    plans = tuple(read_plan(path, study) for path in whom.plans)
    table = infer(
        run.crowds,
        study,
        run.held,
        question,
        tasks_named(tasks, study),
        others,
        twins=twins,
        plans=plans,
        progress=progress,
    )
    return table.replace_schema_metadata({"notes": gathered(plans, study)}) if plans else table
