"""Plan by a fitted run whom to ask what next."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.infer.known_profiles import read_people
from crowdllm_jax.infer.plan import Goal, Plan, plan_answers
from crowdllm_jax.infer.question import MEAN, Estimand
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.runs.config import Config
from crowdllm_jax.runtime.given import as_path
from crowdllm_jax.runtime.progress import Progress, silent
from crowdllm_jax.study.coding import recode
from crowdllm_jax.study.records import Participants, Study
from crowdllm_jax.study.split import split_study
from crowdllm_jax.workflow.ask_opened import checked
from crowdllm_jax.workflow.infer import Held, among, held_by, tasks_named


def plan(
    run: str | Path | tuple[Crowd, Study, Config],
    budget: int | Goal,
    question: Estimand = MEAN,
    tasks: tuple[str, ...] | None = None,
    *,
    people: str | Path | None = None,
    where: str | None = None,
    progress: Progress = silent,
) -> Plan:
    """Plan which of a run's people to ask which of its questions that they have not answered, so
    that `infer` with twins becomes as precise as so many answers make it.

    Args:
      run: the folder of a fitted run of the persistent model, in which every answer to these
        questions is held out from some crowd (folds, or held-out tasks); or a crowd that `fit`
        returned, and the study and configuration it was fitted to (of seed 0), for held-out tasks.
      budget: answers to be gathered, at most; or a `Goal`, which may be a width to be reached.
      question: the mean or share that is to be known, and the confidence of its intervals.
      tasks: ids of the questions that may be asked; None, all that suit.
      people: CSV or Parquet table of people who have answered nothing, with the study's columns of
        ids and profiles, who may be asked, too.
      where: a condition on profiles; only people who fulfil it are asked and estimated about.
    Returns:
      whom to ask what, and how wide intervals are now and will be then.
    Raises:
      CrowdError: nobody may be asked, the crowd was fitted on answers to these questions, or what
        is given does not fit together.

    Examples:
      >>> cl.plan((task_crowd, open_study, by_tasks), 40, where="age >= 60")
      Plan(40 answers of 40 people)
    """
    if isinstance(run, tuple):
        crowd, study, config = checked(run, "plan", of_people=True)
        held = np.stack([split_study(study, config.split, 0).test])
        fitted = Held((crowd,), study, config, held)
    else:
        folder = as_path(run, "plan: give a run's folder, or (crowd, study, config)")
        fitted = held_by(folder, progress)
    if people is not None:
        fitted = _joined_by(fitted, Path(people))
    fitted = among(fitted, where)
    return plan_answers(
        fitted.crowds,
        fitted.study,
        fitted.held,
        budget if isinstance(budget, Goal) else Goal(budget),
        question,
        tasks_named(tasks, fitted.study),
        progress,
    )


def _joined_by(run: Held, path: Path) -> Held:
    """The same, with people behind the study's own who have answered nothing."""
    crowd, own = run.crowds[0], run.study.participants
    ids, attributes = read_people(path, crowd, run.config.study)
    both = set(ids) & set(own.ids)
    if both:
        raise CrowdError(
            f"--people {path}: '{min(both)}' is one of the study's people, who may be asked "
            "without it; leave them out"
        )
    pairs = zip(recode(crowd.codings, own.profile), attributes, strict=True)
    profile = tuple(replace(a, cells=np.concatenate([a.cells, b.cells])) for a, b in pairs)
    # Survey weights have mean 1.
    weight = np.append(own.weight, np.ones(len(ids)))
    people = Participants(own.ids + ids, profile, weight)
    return replace(run, study=replace(run.study, participants=people))
