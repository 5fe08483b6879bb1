"""A run to report on, made of nothing but a seed: nobody is fitted."""

import dataclasses

import numpy as np
from synthetic import make_study

from crowdllm_jax.model.cvae.fit import Losses
from crowdllm_jax.report.page import ReportedRun
from crowdllm_jax.score.ceiling import score_humans
from crowdllm_jax.score.diagnostics import TOO_FEW
from crowdllm_jax.score.finding import Finding
from crowdllm_jax.score.groups import groups_of
from crowdllm_jax.score.held_out import Humans, held_out
from crowdllm_jax.score.metrics import Score, score_crowd
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.scales import Ordinal, Scale
from crowdllm_jax.study.split import Split

AGREE = Ordinal(levels=(1, 2, 3, 4), labels=("not at all", "a little", "rather", "very much"))


def everything(study: Study) -> Humans:
    """All of a study's answers as the held-out ones."""
    every = np.ones(len(study.task), bool)
    return held_out(study, Split("people", ~every, ~every, every))


def agents(study: Study, number: int, like: Study) -> np.ndarray:
    """(N, T) values of agents who answer as people of a study do, drawn anew for each task."""
    random, value = np.random.default_rng(5), like.value
    columns = [random.choice(value[like.task == t], number) for t in range(len(study.tasks.ids))]
    return np.column_stack(columns)


def reported(
    scales: dict[str, Scale] | None = None,
    *,
    tasks: int = 6,
    people: int = 80,
    share: float = 1.0,
    texts: tuple[str, ...] = (),
    skill: tuple[float, float, float] = (0.6, 0.5, 0.7),
    few: bool = False,
    answers_of: Study | None = None,
) -> ReportedRun:
    """A run whose crowd answers as the people of `answers_of` (the study's own where left out).

    Args:
      skill: as the run is said to have scored it. few: whether its people are too few to tell.
      texts: of the first tasks.
    """
    study = make_study(scales or {"agree": AGREE}, tasks=tasks, people=people, share=share)
    texts = (*texts, *study.tasks.text[len(texts) :])
    study = dataclasses.replace(study, tasks=dataclasses.replace(study.tasks, text=texts))
    humans = everything(study)
    values = agents(study, 401, answers_of or study)
    profile = tuple(
        dataclasses.replace(a, cells=a.cells[humans.who]) for a in study.participants.profile
    )
    drawn = np.random.default_rng(1).integers(0, humans.people, 401)
    of_agents = tuple(dataclasses.replace(a, cells=a.cells[drawn]) for a in profile)
    scores = (
        []
        if tasks > 100
        else [*score_humans(humans, 0), *score_crowd(humans, values, "persistent", 0)]
    )
    scores = [score for score in scores if score.metric != "skill"]
    scores.append(Score("persistent", "people", 0, "skill", *skill))
    detail = f"{people} people with {len(study.task)} answers held out; skill"
    return ReportedRun(
        study=study,
        config="study: synthetic\n",
        scores=scores,
        humans=humans,
        answers=values,
        losses={
            "persistent": Losses("step", ("bound",), 40, [[1 / (i + 1)] for i in range(40)], [])
        },
        effects=[],
        worths=[],
        groups=groups_of(humans, profile, of_agents, values),
        findings=[
            Finding(TOO_FEW, "width", 0.2, few, "above 0.5", detail),
            Finding("drift", "ratio", None, False, "below 1"),
        ],
        facts={"crowdllm_jax": "0"},
    )
