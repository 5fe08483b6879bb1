"""Which tasks have which kind of answer."""

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from crowdllm_jax.model.scales import ordered
from crowdllm_jax.model.scales.kinds import SINGLE
from crowdllm_jax.study import scales
from crowdllm_jax.study.scales import Scale


@dataclass(frozen=True)
class Layout:
    """Which tasks are answered in which way; static, so programs are compiled per layout.

    Attributes:
      scales: of the study, in order. task_scale: of each task, the index of its scale.
      single: (file of `model/scales`, its tasks) of each kind that is answered one task at a time.
      ballots: (index of the scale, its tasks) of each joint ballot.
    """

    scales: tuple[Scale, ...]
    task_scale: tuple[int, ...]
    single: tuple[tuple[ModuleType, tuple[int, ...]], ...]
    ballots: tuple[tuple[int, tuple[int, ...]], ...]

    @property
    def levels(self) -> int:
        """K of the longest scale; 2 where none is discrete."""
        return max(2, *(scales.size(scale) for scale in self.scales))

    @property
    def ordered(self) -> tuple[int, ...]:
        """The tasks whose levels lie between cuts."""
        return self.tasks_of(ordered)

    def tasks_of(self, kind: ModuleType) -> tuple[int, ...]:
        """The tasks that a file of `model/scales` answers one at a time."""
        return dict(self.single).get(kind, ())

    def scale_of(self, task: int) -> Scale:
        """The scale of a task."""
        return self.scales[self.task_scale[task]]


def layout_of(by_name: dict[str, Scale], task_scale: np.ndarray) -> Layout:
    """Sort tasks by the kind of their answers."""
    in_order = tuple(by_name.values())
    single: dict[ModuleType, list[int]] = {kind: [] for kind in SINGLE.values()}
    ballots: dict[int, list[int]] = {}
    for task, index in enumerate(task_scale.tolist()):
        scale = in_order[index]
        joint = scales.is_joint(scale)
        (ballots.setdefault(index, []) if joint else single[SINGLE[type(scale)]]).append(task)
    return Layout(
        in_order,
        tuple(task_scale.tolist()),
        tuple((kind, tuple(tasks)) for kind, tasks in single.items() if tasks),
        tuple((index, tuple(tasks)) for index, tasks in ballots.items()),
    )


def level_mask(layout: Layout) -> np.ndarray:
    """(S, K) 0 for a scale's levels, a large negative number beyond."""
    mask = np.full((len(layout.scales), layout.levels), -30.0, np.float32)
    for index, scale in enumerate(layout.scales):
        mask[index, : max(2, scales.size(scale))] = 0.0
    return mask
