"""Why a measure, or its interval, is not defined for these held-out people."""

import numpy as np

from crowdllm_jax.score.bootstrap import FEWEST
from crowdllm_jax.score.held_out import Humans
from crowdllm_jax.score.persons import PERSON_METRICS

BY_DEFINITION = "so by definition"
OF_PERSONS = (*PERSON_METRICS, "correlation_error", "gap_error", "regression_agreement")
OF_NUMBERS = ("mae", "rmse", *OF_PERSONS)
"""Measures of ordered tasks alone."""


def no_value(humans: Humans, metric: str) -> str:
    """Why a measure that came out as NaN has no value."""
    if (why := _of_no_such(humans, metric)) is not None:
        return why
    alone = np.bincount(humans.task).max() < 2
    of_numbers = humans.ordered[humans.task]
    people = len(np.unique(humans.person[of_numbers]))
    if metric in PERSON_METRICS and people < 2:
        return "only 1 person held out"
    match metric:
        case "icc" if of_numbers.sum() == people:
            return "nobody answers two of the held-out tasks"
        case "icc":
            return "no answer differs from another"
        case "variance_ratio":
            return "all held-out people answer alike"
        case "accuracy":
            return "no held-out task has levels"
        case "correlation_error":
            return "too few held-out people answer the same two tasks, and not all alike"
        case "gap_error":
            return "no group has enough held-out people"
        case "regression_agreement":
            return "too few held-out people for the profile, or they all answer alike"
        case "skill" if not alone:
            return "its floor, the pooled training answers, lies within chance of the noise ceiling"
        case _:
            return "no held-out task is answered by two people"


def _of_no_such(humans: Humans, metric: str) -> str | None:
    """Why a measure is not defined for answers of this kind."""
    if humans.shares and metric in OF_PERSONS:
        return "published shares say nothing of single people"
    if metric in OF_NUMBERS and not humans.ordered.any():
        return "answers without an order have no mean"
    if humans.shares and metric not in ("accuracy", "variance_ratio", "skill"):
        return "published shares cannot be cut into two halves of the people"
    return None


def no_interval(humans: Humans, metric: str) -> str:
    """Why a measure that has a value has no interval."""
    if humans.by == "tasks" and metric not in PERSON_METRICS:
        few, n, unit = "tasks", len(humans.tasks), "task"
    else:
        few, n, unit = "people", humans.people, "person"
    if n < FEWEST:
        return f"only {n} {unit if n == 1 else few} held out"
    return f"held-out {few} drawn anew do not say how far it would move"
