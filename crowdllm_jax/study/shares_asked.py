"""How many people are asked the questions that only some are (`routing`)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from crowdllm_jax.study.condition import TaskAnswers, missing
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.routing import Route, answers_to, believed_asked, routes_in, silenced


def shares_asked(study: Study) -> np.ndarray:
    """(T,) the share of people, by weight, who are asked each task; NaN where no answers tell.

    It is told by those of whom is known what decides: people who left that out are asked the task
    as often as others are, and not never.
    """
    routes = routes_in(study)
    asked, n = believed_asked(study, routes), len(study.participants.ids)
    shares = np.ones(len(study.tasks.ids))
    told: dict[int, np.ndarray] = {}
    for route in routes:
        earlier = []
        for task in route.reads:
            answers = answers_to(study, task)
            if task in asked:
                cells = silenced(answers.cells, asked[task], answers.scale)
                answers = replace(answers, cells=cells)
            earlier.append(answers)
        holds = route.condition.holds(study.participants.profile, n, earlier)
        each, told[route.task] = _telling(study, route, earlier, asked, told)
        if study.toplines and route.reads:
            shares[route.task] = _share_of_published(study, route, earlier, holds, shares)
        elif each.sum() > 0:
            shares[route.task] = each[holds].sum() / each.sum()
        else:
            shares[route.task] = np.nan
    return shares


def _telling(
    study: Study,
    route: Route,
    earlier: Sequence[TaskAnswers],
    asked: Mapping[int, np.ndarray],
    told: Mapping[int, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """(N,) how much each person tells of whether people are asked a task, and (N,) bool, of whom it
    is known.

    Args:
      earlier: answers to what decides. asked: who is asked a task. told: of whom that is known.
    """
    each = study.participants.weight.copy()
    known = np.ones(len(each), bool)
    if route.condition.is_on_none:
        return each, known
    for attribute in study.participants.profile:
        known &= ~missing(attribute) | (attribute.name not in route.attributes)
    for task, answers in zip(route.reads, earlier, strict=True):
        who, of_whom = asked.get(task, known | True), told.get(task, known | True)
        gave = ~missing(answers)
        known &= of_whom & (gave | ~who)
        # Who skips what decides is always known; who answers it stands for those who left it out.
        there = each[of_whom & gave].sum()
        each[gave] *= each[of_whom & who].sum() / there if there > 0 else 0.0
    return np.where(known, each, 0.0), known


def _share_of_published(
    study: Study,
    route: Route,
    earlier: Sequence[TaskAnswers],
    holds: np.ndarray,
    shares: np.ndarray,
) -> float:
    """The share of people who are asked a task by another answer. Those behind published shares
    answer one task each: of one that decides alone is known how many of them say so."""
    if len(route.reads) > 1 or route.condition.is_on_none:
        return np.nan
    (before,), weight = earlier, study.participants.weight
    asked_before = shares[route.reads[0]]
    if asked_before < 1 and route.attributes:
        return np.nan
    gave = weight * ~missing(before)
    none = silenced(before.cells[:1], np.zeros(1, bool), before.scale)
    skip = False
    if not route.attributes:
        skip = bool(route.condition.holds((), 1, [replace(before, cells=none)])[0])
    return float(asked_before * gave[holds].sum() / gave.sum() + (1 - asked_before) * skip)
