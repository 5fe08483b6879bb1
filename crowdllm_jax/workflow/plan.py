"""Plan by a fitted run whom to ask what next."""

from pathlib import Path

import numpy as np

from crowdllm_jax.infer.plan import Goal, Plan, plan_answers
from crowdllm_jax.infer.question import MEAN, Estimand
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.runs.config import Config
from crowdllm_jax.runtime.progress import Progress, silent
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.split import split_study
from crowdllm_jax.workflow.infer import Held, among, held_by, tasks_named


def plan(
    run: str | Path | tuple[Crowd, Study, Config],
    budget: int | None = None,
    question: Estimand = MEAN,
    tasks: tuple[str, ...] | None = None,
    *,
    width: float | None = None,
    where: str | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Plan:
    """Plan which of a run's people to ask which of its questions that they have not answered, so
    that `infer` with twins becomes as precise as so many answers make it.

    Args:
      run: the folder of a fitted run of the persistent model, some of whose answers are held out;
        or a crowd that `fit` returned, and the study and configuration it was fitted to (of seed
        0).
      budget: answers to be gathered, at most; None, as many as `width` needs.
      question: the mean or share that is to be known, and the confidence of its intervals.
      tasks: ids of the questions that may be asked; None, all that suit.
      width: of the intervals, as a part of the range of the answers; stop where all are so narrow.
        None makes their mean width as small as the budget allows.
      where: a condition on profiles; only people who fulfil it are asked and estimated about.
      seed: of the draw.
    Returns:
      whom to ask what, and how wide intervals are now and will be then.
    Raises:
      CrowdError: nobody may be asked, or what is given does not fit together.

    Examples:
      >>> cl.plan((crowd, open_study, config), 40, tasks=("vote",), where="age >= 60")
      Plan(40 answers of 40 people)
    """
    if isinstance(run, tuple):
        crowd, study, config = run
        held = np.stack([split_study(study, config.split, 0).test])
        fitted = among(Held((crowd,), study, config, held), where)
    else:
        fitted = among(held_by(Path(run), progress), where)
    return plan_answers(
        fitted.crowds,
        fitted.study,
        fitted.held,
        Goal(budget, width, seed),
        question,
        tasks_named(tasks, fitted.study),
        progress,
    )
