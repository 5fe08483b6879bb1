"""Which tasks have which kind of answer."""

from dataclasses import dataclass

import numpy as np

from crowdllm_jax.study import scales
from crowdllm_jax.study.scales import Continuous, KApproval, Nominal, Points, Ranking, Scale


@dataclass(frozen=True)
class Layout:
    """Which tasks have which head; static, so programs are compiled per layout.

    Attributes:
      scales: of the study, in order. ordered, nominal, continuous: tasks, in order.
      ballots: (index of the scale, its tasks) of each joint ballot.
    """

    scales: tuple[Scale, ...]
    ordered: tuple[int, ...]
    nominal: tuple[int, ...]
    continuous: tuple[int, ...]
    ballots: tuple[tuple[int, tuple[int, ...]], ...]

    @property
    def levels(self) -> int:
        """K of the longest scale; 2 where none is discrete."""
        return max(2, *(scales.size(scale) for scale in self.scales))


def layout_of(by_name: dict[str, Scale], task_scale: np.ndarray) -> Layout:
    """Sort tasks by head."""
    in_order = tuple(by_name.values())
    kinds: dict[str, list[int]] = {"ordered": [], "nominal": [], "continuous": []}
    ballots: dict[int, list[int]] = {}
    for task, index in enumerate(task_scale.tolist()):
        match in_order[index]:
            case KApproval() | Ranking() | Points():
                ballots.setdefault(index, []).append(task)
            case Nominal():
                kinds["nominal"].append(task)
            case Continuous():
                kinds["continuous"].append(task)
            case _:
                kinds["ordered"].append(task)
    return Layout(
        in_order,
        tuple(kinds["ordered"]),
        tuple(kinds["nominal"]),
        tuple(kinds["continuous"]),
        tuple((index, tuple(tasks)) for index, tasks in ballots.items()),
    )


def level_mask(layout: Layout) -> np.ndarray:
    """(S, K) 0 for a scale's levels, a large negative number beyond."""
    mask = np.full((len(layout.scales), layout.levels), -30.0, np.float32)
    for index, scale in enumerate(layout.scales):
        mask[index, : max(2, scales.size(scale))] = 0.0
    return mask
