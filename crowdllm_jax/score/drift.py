"""An agent who becomes somebody else over a long session, as people do not."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from crowdllm_jax.model.fit import Prepared
from crowdllm_jax.score.asked import deviations, variances
from crowdllm_jax.score.finding import Finding
from crowdllm_jax.study import scales

SESSION, FEWEST = 16, 30
"""Answers that make a session long enough to drift in, and people who must have given so many."""


@dataclass(frozen=True)
class Sessions:
    """Answers in the order of the tasks, of people who gave enough of them.

    Attributes:
      person, task: (R,) whose answer to which task of the study; sorted by both. value: (R,).
      weight: (H,) survey weights.
    """

    person: np.ndarray
    task: np.ndarray
    value: np.ndarray
    weight: np.ndarray


def sessions(prepared: Prepared) -> Sessions:
    """The sessions of the people held out (of all people, where tasks are held out)."""
    study, split = prepared.study, prepared.split
    ordered = scales.which(scales.is_ordered, study.scales.values())
    counts = ordered[study.tasks.scale[study.task]]
    if split.by == "people":
        counts &= split.test
    # A task that only one person answered does not tell how that person deviates.
    counts &= np.bincount(study.task[counts], minlength=len(study.tasks.ids))[study.task] > 1
    answers = np.bincount(study.person[counts], minlength=len(study.participants.ids))
    counts &= answers[study.person] >= SESSION
    who, person = np.unique(study.person[counts], return_inverse=True)
    return Sessions(person, study.task[counts], study.value[counts], study.participants.weight[who])


def drift(people: Sessions, values: np.ndarray) -> Finding:
    """An agent who becomes somebody else over a long session, as people do not.

    The first and the second half of a session ask different things, so that their answers correlate
    less than those of two halves that alternate, of real people too. Agents do the very sessions of
    the people, and keep as much of themselves as they do.

    Args:
      values: (N, T) the agents' answers to all tasks of the study.
    """
    name = "drift"
    measure_of = (
        "correlation of agents' mean deviations in the first and second half of a session, over "
        "that of two halves that alternate; relative to the same ratio of people"
    )
    threshold = (
        "below 0.9 by more than chance (one-sided, 2.5%): agents keep less of who they are through "
        "the session than people do"
    )
    h, n = len(people.weight), len(values)
    if h < FEWEST:
        few = f"{h} people answered {SESSION} tasks, too few to say how people keep to themselves"
        return Finding(name, measure_of, None, False, threshold, few)
    weight, t = people.weight[people.person], values.shape[1]
    total = np.bincount(people.task, weight, t).clip(1e-300)
    mean = np.bincount(people.task, weight * people.value, t) / total
    moved = people.value - mean[people.task]
    sd = np.sqrt(np.bincount(people.task, weight * moved**2, t) / total)
    human = _halves(people, moved[None], sd)
    rounds = max(1, min(20, n // h))
    agent = (np.arange(rounds)[:, None] * h + people.person) % n
    crowd_moved = deviations(values)
    crowd = _halves(people, crowd_moved[agent, people.task], np.sqrt(variances(values)))
    if not (human.alternating > 2 * human.error and crowd.alternating > 2 * crowd.error):
        nobody = "people" if human.alternating <= 2 * human.error else "agents"
        return Finding(
            name,
            measure_of,
            None,
            False,
            threshold,
            f"{nobody} are nobody in particular to begin with",
        )
    # The ratios themselves are unstable where halves hardly correlate; their cross product is not.
    gap = 0.9 * human.session * crowd.alternating - crowd.session * human.alternating
    by_people = 0.9 * crowd.alternating * human.moves[0] - crowd.session * human.moves[1]
    by_agents = 0.9 * human.session * crowd.moves[1] - human.alternating * crowd.moves[0]
    error = np.sqrt((by_people**2).sum() + (by_agents**2).sum() * max(1, h * rounds / n))
    crowd_ratio = crowd.session / crowd.alternating
    human_ratio = human.session / human.alternating
    return Finding(
        name,
        measure_of,
        crowd_ratio / human_ratio if human_ratio > 0 else None,
        bool(gap > norm.isf(0.025) * error),
        threshold,
        f"agents {crowd_ratio:.2f}, {h} people {human_ratio:.2f}",
    )


@dataclass(frozen=True)
class _Halves:
    """How the halves of sessions correlate, cut in the middle and alternating.

    Attributes:
      moves: (2, S) by how much each session moves either correlation, to first order.
    """

    session: float
    alternating: float
    moves: np.ndarray

    @property
    def error(self) -> float:
        """Standard error of `alternating`."""
        return float(np.sqrt((self.moves[1] ** 2).sum()))


def _halves(people: Sessions, moved: np.ndarray, sd: np.ndarray) -> _Halves:
    """Args: moved: (rounds, R) deviations from the mean of their tasks; sd: (T,) of these."""
    rounds, h = len(moved), len(people.weight)
    size = np.bincount(people.person, minlength=h)
    position = np.arange(len(people.person)) - (np.cumsum(size) - size)[people.person]
    scaled = moved / np.where(sd > 0, sd, 1.0)[people.task]
    who = (np.arange(rounds)[:, None] * h + people.person).ravel()
    weight = np.tile(people.weight / people.weight.sum() / rounds, rounds)
    correlation, moves = [], []
    for first in (position < size[people.person] // 2, position % 2 == 0):
        unit = []
        for half in (first, ~first):
            total = np.bincount(who, (scaled * half).ravel(), rounds * h)
            mean = total / np.tile(np.bincount(people.person, half, h), rounds)
            mean -= weight @ mean
            unit.append(mean / max(float(np.sqrt(weight @ mean**2)), 1e-300))
        r = float(weight @ (unit[0] * unit[1]))
        correlation.append(r)
        moves.append(weight * (unit[0] * unit[1] - r * (unit[0] ** 2 + unit[1] ** 2) / 2))
    return _Halves(correlation[0], correlation[1], np.stack(moves))
