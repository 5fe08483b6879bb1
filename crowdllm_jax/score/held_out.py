"""The held-out people's answers, ready to be compared with."""

from dataclasses import dataclass, replace

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study import scales
from crowdllm_jax.study.bins import bins, cells_of
from crowdllm_jax.study.records import Study, alike
from crowdllm_jax.study.split import Split


@dataclass(frozen=True)
class Humans:
    """The held-out responses, ready to be compared with.

    Attributes:
      weight: (H,) the people's survey weights, above 0 and 1 on average; of published shares how
        many people each stands for.
      by: "tasks", "people" or "answers".
      who: (H,) the people, as indices into the study.
      tasks: (T,) the tasks they answer, as indices into the study.
      person, task: (R,) index among the held-out people, and among `tasks`.
      value: (R,) answers in the scales' units. cell: (R,) their bin.
      scale: (T,) index of each task's scale. support: per scale, the values of its bins.
      edges: per scale, its lowest and highest value. nominal: (S,) whether a scale has no order.
      shares: they are published shares, each a person's in the arrays: see `study.toplines`.
    """

    by: str
    who: np.ndarray
    tasks: np.ndarray
    person: np.ndarray
    task: np.ndarray
    value: np.ndarray
    cell: np.ndarray
    scale: np.ndarray
    support: tuple[np.ndarray, ...]
    edges: tuple[tuple[float, float], ...]
    nominal: np.ndarray
    weight: np.ndarray
    shares: bool = False

    @property
    def people(self) -> int:
        """How many were held out."""
        return len(self.who)

    @property
    def weighted(self) -> bool:
        """Whether some count more than others."""
        return bool(np.ptp(self.weight)) and not self.shares

    @property
    def answer_weight(self) -> np.ndarray:
        """(R,) of each answer its person's weight."""
        return np.asarray(self.weight[self.person])

    def with_itself(self, weight: np.ndarray) -> np.ndarray:
        """(R,) what the pairs of each answer with itself weigh, answers counting as (R,) weights
        say. Of shares, everybody behind them makes a pair with everybody else."""
        return weight**2 / self.answer_weight if self.shares else weight**2

    @property
    def ordered(self) -> np.ndarray:
        """(T,) whether answers to a task are numbers: whether its scale has an order."""
        return np.asarray(~self.nominal[self.scale])

    @property
    def unit(self) -> np.ndarray:
        """(S,) what distances on a scale are told in: its own units of a single scale; of several
        its range, or the one with the largest numbers would outweigh the others."""
        low, high = np.array(self.edges).T
        several = len(self.support) > 1
        return np.asarray(np.where(self.nominal | (not several), 1.0, high - low))

    @property
    def share(self) -> np.ndarray:
        """(R,) answers as shares of their scale's range."""
        return self.as_share(self.value, self.task)

    def as_share(self, value: np.ndarray, task: np.ndarray) -> np.ndarray:
        """Answers to some of the tasks on [0, 1], from the scales' units."""
        low, high = np.array(self.edges)[self.scale[task]].T
        return np.asarray((value - low) / (high - low))


def of_numbers(humans: Humans, values: np.ndarray) -> tuple[Humans, np.ndarray] | None:
    """The answers to ordered tasks, and the agents' (N, T) to these: what has a mean. None where
    there are none; on a nominal scale numbers only say where the study lists a level."""
    if humans.ordered.all():
        return humans, values
    kept = humans.ordered[humans.task]
    if not kept.any():
        return None
    who, person = np.unique(humans.person[kept], return_inverse=True)
    place = np.cumsum(humans.ordered) - 1
    weight = humans.weight[who]
    numbers = replace(
        humans,
        who=humans.who[who],
        tasks=humans.tasks[humans.ordered],
        person=person,
        task=place[humans.task[kept]],
        value=humans.value[kept],
        cell=humans.cell[kept],
        scale=humans.scale[humans.ordered],
        weight=weight if humans.shares else alike(weight),
    )
    return numbers, values[:, humans.ordered]


def held_out(study: Study, split: Split) -> Humans:
    """Take the test responses out of a study; people of weight 0 stand for nobody.

    Raises:
      CrowdError: nobody is left.
    """
    test = split.test & (study.participants.weight[study.person] > 0)
    if not test.any():
        raise CrowdError(
            "all held-out people have a survey weight of 0, so there is nobody to "
            "compare with; hold out more (split.test)"
        )
    tasks, task = np.unique(study.task[test], return_inverse=True)
    who, person = np.unique(study.person[test], return_inverse=True)
    value = study.value[test]
    support, edges = [], []
    for scale in study.scales.values():
        levels = scales.values(scale)
        edges.append((float(levels[0]), float(levels[-1])))
        support.append(bins(scale))
    scale_of = study.tasks.scale[tasks]
    cell = np.empty(len(value), np.int64)
    for index, levels in enumerate(support):
        on_scale = scale_of[task] == index
        cell[on_scale] = cells_of(value[on_scale], levels)
    nominal = ~scales.which(scales.is_ordered, study.scales.values())
    return Humans(
        split.by,
        who,
        tasks,
        person,
        task,
        value,
        cell,
        scale_of,
        tuple(support),
        tuple(edges),
        nominal,
        study.participants.weight[who] if study.toplines else alike(study.participants.weight[who]),
        study.toplines,
    )
