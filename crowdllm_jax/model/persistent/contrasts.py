"""Answers as numbers, for a linear analysis: those that are, and nominal ones by contrasts.

The levels of a nominal task become contrasts, one less than there are levels: numbers that have
mean 0 and deviation 1 among people and are uncorrelated, so that nothing but what goes together
between tasks is left to be found. (Those of correspondence analysis, whose indicators of one task
exclude each other.) Where a belief moves contrasts by `a`, it moves the levels' utilities by their
product.
"""

from typing import NamedTuple

import numpy as np

from crowdllm_jax.model.persistent.factors import Numbers, standardised
from crowdllm_jax.model.persistent.layout import Layout, level_mask
from crowdllm_jax.model.scales import nominal
from crowdllm_jax.study import scales

TOLD = 10
"""Answers per level, on average, without which tasks of a nominal scale say nothing by themselves
of how beliefs move their levels."""
PRIOR = 2.0
"""Answers' worth of an even prior of the levels' shares."""
MOST_PEOPLE = 5000
"""Whose answers are analysed, chosen by chance: loadings start well enough from theirs."""


class Given(NamedTuple):
    """(R,) answers: person, task, level, and value in [0, 1]."""

    person: np.ndarray
    task: np.ndarray
    level: np.ndarray
    value: np.ndarray


class Told(NamedTuple):
    """Answers as numbers, of which a factor analysis can be made.

    Attributes:
      numbers: of V variables: the T tasks, whose answers are numbers or which have none here, and
        the contrasts of nominal tasks. sd: (T,) deviations of the tasks.
      nominal: (A,) the nominal tasks; contrasts: (A, K, K - 1), see `level_contrasts`.
      shape: how many people and variables there are. place: (P,) which of the former P people are.
    """

    numbers: Numbers
    sd: np.ndarray
    nominal: np.ndarray
    contrasts: np.ndarray
    shape: tuple[int, int]
    place: np.ndarray


def told_by(layout: Layout, given: Given, people: int) -> Told:
    """The answers of P people to tasks that say by themselves how beliefs move them."""
    person, task, level, value = given
    t = len(layout.task_scale)
    tells = telling(layout, np.bincount(task, minlength=t))
    rows = numeric(layout)[task] | tells[task]
    place = _places(person[rows], people)
    rows &= place[person] >= 0
    person, task, level, value = place[person[rows]], task[rows], level[rows], value[rows]
    is_number = ~tells[task]
    numbers, sd = standardised(person[is_number], task[is_number], value[is_number], t)
    own = np.flatnonzero(tells)
    count = np.zeros((len(own), layout.levels))
    at = np.searchsorted(own, task[~is_number])
    np.add.at(count, (at, level[~is_number]), 1.0)
    contrasts = level_contrasts(layout, own, count)
    there = np.asarray(contrasts.any(1))
    answer, contrast = np.nonzero(there[at])
    of_levels = Numbers(
        person[~is_number][answer],
        t + at[answer] * (layout.levels - 1) + contrast,
        contrasts[at[answer], level[~is_number][answer], contrast],
        len(numbers.value) + answer,
    )
    numbers = Numbers(*map(np.concatenate, zip(numbers, of_levels, strict=True)))
    shape = int(place.max(initial=-1)) + 1, t + contrasts.shape[0] * contrasts.shape[2]
    return Told(numbers, sd, own, contrasts, shape, place)


def telling(layout: Layout, count: np.ndarray) -> np.ndarray:
    """(T,) bool: nominal tasks that say by themselves how beliefs move their levels, of which there
    are (T,) `count` answers: their scale's tasks have enough."""
    tells = np.zeros(len(count), bool)
    scale, single = np.array(layout.task_scale), np.array(layout.tasks_of(nominal), int)
    for index in np.unique(scale[single]):
        tasks = single[(scale[single] == index) & (count[single] > 0)]
        if len(tasks) and count[tasks].mean() >= TOLD * scales.size(layout.scales[index]):
            tells[tasks] = True
    return tells


def level_contrasts(layout: Layout, tasks: np.ndarray, count: np.ndarray) -> np.ndarray:
    """(A, K, K - 1) contrasts of the levels of some nominal tasks, zeros beyond a scale's own.

    Args:
      tasks: (A,) which. count: (A, K) answers of each level.
    """
    exists = (level_mask(layout) == 0)[np.array(layout.task_scale)[tasks]]
    count = np.where(exists, count + PRIOR / exists.sum(1, keepdims=True), 0.0)
    root = np.sqrt(count / count.sum(1, keepdims=True))
    # The reflection that takes the roots of the shares to the first axis: its other columns are
    # orthonormal, and orthogonal to these roots.
    normal = root.copy()
    normal[:, 0] += 1.0
    square = (normal**2).sum(1)[:, None, None]
    basis = np.eye(root.shape[1]) - 2 * normal[:, :, None] * normal[:, None] / square
    contrasts = basis[:, :, 1:] / np.where(exists, root, 1.0)[:, :, None]
    return np.asarray(contrasts * (exists[:, :, None] & exists[:, None, 1:]))


def _places(person: np.ndarray, people: int) -> np.ndarray:
    """(P,) which of those who are analysed each of P people is, -1 of the others; `person` (R,) of
    each answer."""
    there = np.unique(person)
    if len(there) > MOST_PEOPLE:
        there = np.sort(np.random.default_rng(0).permutation(there)[:MOST_PEOPLE])
    place = np.full(people, -1)
    place[there] = np.arange(len(there))
    return place


def numeric(layout: Layout) -> np.ndarray:
    """(T,) bool, whether a task's answers are numbers, given one at a time."""
    are = np.zeros(len(layout.task_scale), bool)
    for kind, tasks in layout.single:
        are[list(tasks)] = kind is not nominal
    return are
