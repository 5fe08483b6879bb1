"""What is expected of people who are known by their other answers, not by their profile alone.

A prediction must be made alike of the people who answered a task and of those who did not. It is
therefore made from everything a person answered but that task, with the answer itself left out.
"""

from typing import NamedTuple

import numpy as np

from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.population.predicted import Predictions, predict_answers
from crowdllm_jax.runtime.progress import Progress
from crowdllm_jax.study.bins import bins
from crowdllm_jax.study.records import Study


class Expected(NamedTuple):
    """What is expected of people's answers.

    Attributes:
      mean: (N, T) expected answer, or chance of a level. variance: (N, T) of the answer around it,
        by what is not known of the person and by chance. NaN where no use may be made of them.
    """

    mean: np.ndarray
    variance: np.ndarray


def crowd_for_each(study: Study, held: np.ndarray) -> np.ndarray:
    """(N, T) which of K crowds must predict a person's answer to a task: the one that it, or else
    all of the person's answers, or all of the task's, are held out from; -1 if any may.

    Args:
      held: (K, R) bool, the responses that each crowd was not fitted on.
    """
    people, tasks = len(study.participants.ids), len(study.tasks.ids)
    crowd_of = np.full((people, tasks), -1)
    for number, out in enumerate(held):
        crowd_of[_all_held(study.person, out, people)] = number
        crowd_of[:, _all_held(study.task, out, tasks)] = number
    for number, out in enumerate(held):
        crowd_of[study.person[out], study.task[out]] = number
    return crowd_of


def may_stand_for(study: Study, held: np.ndarray) -> np.ndarray:
    """(N, T) bool, whose answer to which task the crowd may stand for.

    Where only some of a person's answers are held out, those who answered the task in training are
    neither: the crowd knows their answers, and they are no sample of the people without one.
    """
    people, tasks = len(study.participants.ids), len(study.tasks.ids)
    labelled = held.any(0)
    may = np.ones((people, tasks), bool)
    by_task = np.bincount(study.task[labelled], minlength=tasks) > 0
    known = ~labelled & by_task[study.task]
    partly = np.zeros(people, bool)
    partly[study.person[labelled]] = True
    if np.any(known & partly[study.person]):
        may[study.person[known], study.task[known]] = False
    may[study.person[labelled], study.task[labelled]] = False
    return may


def predict_by_answers(
    crowds: tuple[Crowd, ...],
    study: Study,
    held: np.ndarray,
    tasks: np.ndarray,
    level: np.ndarray | None,
    progress: Progress,
) -> Expected:
    """What is expected of everybody by the crowd that has not seen the answer.

    Of several crowds, the mean where none has seen it.

    Args:
      tasks: (T,) indices. level: (T,) a level per task, to expect its chance instead of the mean.
    Raises:
      CrowdError: the crowds have no twins, or a task is one of a ballot.
    """
    crowd_of = crowd_for_each(study, held)[:, tasks]
    answered = np.zeros((len(study.participants.ids), len(study.tasks.ids)), bool)
    answered[study.person[held.any(0)], study.task[held.any(0)]] = True
    wanted = (may_stand_for(study, held) | answered)[:, tasks]
    # Whoever counts for nothing need not be predicted.
    wanted &= study.participants.weight[:, None] > 0
    total, count = np.zeros((*wanted.shape, 2)), np.zeros(wanted.shape)
    for number, crowd in enumerate(crowds):
        asked = wanted & ((crowd_of == number) | (crowd_of < 0))
        # People are known by what the crowd was fitted on; whoever is new to it, by all they said.
        new = _all_held(study.person, held[number], len(asked))
        usable = ~held[number] | new[study.person]
        total[asked] += _expected(crowd, study, usable, asked, tasks, level, progress)
        count += asked
    with np.errstate(invalid="ignore"):
        mean = total / count[..., None]
    return Expected(mean[..., 0], mean[..., 1])


def _expected(
    crowd: Crowd,
    study: Study,
    usable: np.ndarray,
    asked: np.ndarray,
    tasks: np.ndarray,
    level: np.ndarray | None,
    progress: Progress,
) -> np.ndarray:
    """(A, 2) expected answers and their variances, in the order of `asked` (N, T) bool, each
    without the answer itself.

    Args:
      usable: (R,) bool, the responses that people are known by.
    """
    given = np.zeros((len(asked), len(study.tasks.ids)), bool)
    given[study.person[usable], study.task[usable]] = True
    left_out = given[:, tasks] & asked
    expected = np.full((*asked.shape, 2), np.nan)
    # Together those who gave no such answer; task by task the others, less that answer.
    rounds = [(asked & ~left_out, usable)]
    for column in np.flatnonzero(left_out.any(0)):
        one = np.zeros_like(asked)
        one[:, column] = left_out[:, column]
        rounds.append((one, usable & (study.task != tasks[column])))
    for done, (pairs, known) in enumerate(rounds):
        progress("predict people by their answers", done, len(rounds))
        person, asked_of = np.nonzero(pairs)
        if not len(person):
            continue
        predicted = predict_answers(crowd, study, known, person, tasks[asked_of])
        expected[pairs] = _moments(predicted, study, tasks[asked_of], level, asked_of)
    progress("predict people by their answers", len(rounds), len(rounds))
    return expected[asked]


def _moments(
    predicted: Predictions,
    study: Study,
    task: np.ndarray,
    level: np.ndarray | None,
    asked_of: np.ndarray,
) -> np.ndarray:
    """(A, 2) mean and variance of answers to tasks (A,), or of whether they are a level."""
    if level is not None:
        chance = predicted.chance[range(len(task)), level[asked_of]]
        return np.stack([chance, chance * (1 - chance)], axis=1)
    support = [bins(scale) for scale in study.scales.values()]
    square = np.zeros(len(task))
    for index, numbers in enumerate(support):
        own = study.tasks.scale[task] == index
        apart = numbers - predicted.mean[own, None]
        square[own] = (predicted.chance[own, : len(numbers)] * apart**2).sum(1)
    return np.stack([predicted.mean, square], axis=1)


def _all_held(of: np.ndarray, out: np.ndarray, size: int) -> np.ndarray:
    """(size,) bool: who gave answers, all of which are held out."""
    given, kept = np.bincount(of, minlength=size), np.bincount(of[~out], minlength=size)
    return np.asarray((given > 0) & (kept == 0))
