"""What crowds that have not seen people's answers predict of them."""

from dataclasses import dataclass

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.infer.estimate import EstimationRows
from crowdllm_jax.infer.known_profiles import KnownProfiles
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.population.expected import expected_answers
from crowdllm_jax.runtime.progress import Progress
from crowdllm_jax.study.records import Study


@dataclass(frozen=True)
class PredictedPeople:
    """People with what is predicted of them.

    Attributes:
      first: the number of the first of them; nobody else who is compared with them has it.
      weight: (N,), columns: (N, k), predicted: (N, T) of the chosen tasks.
      usable: (N,) whose weight is above 0 and whose columns are known.
    """

    first: int
    weight: np.ndarray
    columns: np.ndarray
    predicted: np.ndarray
    usable: np.ndarray

    def rows(self, people: np.ndarray, column: int) -> EstimationRows:
        """Some of them (indices) on one of the chosen tasks."""
        return EstimationRows(
            self.first + people,
            np.full(len(people), column),
            self.weight[people],
            self.columns[people],
            self.predicted[people, column],
        )


def predict(
    crowds: tuple[Crowd, ...],
    people: KnownProfiles,
    crowd_of: np.ndarray,
    tasks: np.ndarray,
    level: np.ndarray | None,
    *,
    per_profile: int | None,
    progress: Progress,
) -> np.ndarray:
    """(N, T) what is expected of people; see `expected_answers`.

    Args:
      crowd_of: which crowd predicts, as `crowd_that_predicts` gives it.
    """
    by_crowd = [
        expected_answers(
            crowd,
            people.attributes,
            len(people.weight),
            tasks,
            level,
            per_profile=per_profile,
            progress=progress,
        )
        for crowd in crowds
    ]
    return cross_predicted(np.stack(by_crowd), people.weight, crowd_of)


def crowd_that_predicts(study: Study, held: np.ndarray, tasks: np.ndarray, n: int) -> np.ndarray:
    """(N or 1, T) which of K crowds must predict a person's answer to a task: the one that it, or
    the person's other answers, or the task's, are held out from; -1 if any may."""
    k, people = len(held), len(study.participants.ids)
    by_person, by_task = (
        np.stack([np.bincount(unit[of_crowd], minlength=size) for of_crowd in held])
        for unit, size in ((study.person, people), (study.task, len(study.tasks.ids)))
    )
    # Where people are held out all of a person's answers are in one fold, else all of a task's.
    if k > 1 and ((by_task > 0).sum(0) <= 1).all():
        return np.where(by_task.any(0), by_task.argmax(0), -1)[None, tasks]
    if k > 1 and ((by_person > 0).sum(0) > 1).any():
        raise CrowdError(
            "crowds that were each fitted to some answers of everybody have seen these people: "
            "infer with crowds of split.by: people or tasks"
        )
    if n == 0:
        return np.full((1, 1), -1)
    return np.where(by_person.any(0), by_person.argmax(0), -1)[:, None]


def cross_predicted(by_crowd: np.ndarray, weight: np.ndarray, crowd_of: np.ndarray) -> np.ndarray:
    """(N, T) predictions for people by crowds that have not seen their answers.

    Where people are held out, a crowd's level follows the answers it was fitted on, which are those
    of all but one fold: it is high where that fold's people answer low. Crowds are therefore moved
    to one average over all people, and differ in what they say of profiles alone.

    Args:
      by_crowd: (K, N, T) what each of K crowds expects. weight: (N,) of the people.
      crowd_of: which crowd to take, (N, 1) by person or (1, T) by task; -1 takes the mean of all.
    """
    if len(by_crowd) == 1:
        return by_crowd.squeeze(0)
    moved = by_crowd
    if len(crowd_of) > 1 and weight.any():
        level = np.average(by_crowd, axis=1, weights=weight)[:, None]
        moved = by_crowd - level + level.mean(0)
    index = np.broadcast_to(crowd_of, by_crowd.shape[1:]).clip(0)[None]
    unseen = np.take_along_axis(moved, index, 0)[0]
    return np.asarray(np.where(crowd_of >= 0, unseen, by_crowd.mean(0)))
