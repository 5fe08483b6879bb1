"""Reverse-keyed items: their answers are mirrored as they are read, so that more means more of the
same in every item; 1 of 1 to 5 is then 5."""

from collections.abc import Sequence

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.names import did_you_mean
from crowdllm_jax.study import scales
from crowdllm_jax.study.scales import Scale

KEY = "study.tasks.reverse"
TOLD = " (reverse-keyed: its answers are mirrored)"
"""Stands behind the text of such a task, so that whoever reads it, people and models, knows."""


def mirrored_tasks(
    reverse: Sequence[str], ids: Sequence[str], several: Sequence[Scale], scale_of: np.ndarray
) -> np.ndarray:
    """(T,) bool: which tasks are mirrored.

    Args:
      reverse: ids of them. scale_of: (T,) index into the scales.
    Raises:
      CrowdError: there is no such task, or its scale has no mirror image.
    """
    place = {task: i for i, task in enumerate(ids)}
    mirrored = np.zeros(len(ids), bool)
    for task in reverse:
        if task not in place:
            raise CrowdError(f"{KEY}: there is no task '{task}'{did_you_mean(task, ids)}")
        mirrored[place[task]] = True
        scale = several[scale_of[place[task]]]
        if scales.is_ballot(scale) or not scales.is_ordered(scale):
            raise CrowdError(
                f"{KEY}: task '{task}' has a {scales.kind(scale)} scale, which has no mirror image"
            )
        numbers = scales.values(scale)
        if not np.allclose(numbers[0] + numbers[-1] - numbers[::-1], numbers):
            listed = ", ".join(f"{number:g}" for number in numbers)
            raise CrowdError(
                f"{KEY}: task '{task}': the numbers of its levels ({listed}) are not the same when "
                "mirrored; mirror them in the table"
            )
    return mirrored


def mirror(
    answer: np.ndarray, mirrored: np.ndarray, several: Sequence[Scale], scale_of: np.ndarray
) -> np.ndarray:
    """Answers (R,) with those to mirrored tasks turned about their scale's middle.

    Args:
      mirrored: (R,) bool. scale_of: (R,) index into the scales.
    """
    ends = np.array(
        [
            scales.values(scale)[[0, -1]].sum()
            if scales.is_continuous(scale)
            else scales.size(scale) - 1
            for scale in several
        ]
    )
    turned: np.ndarray = np.where(mirrored, ends[scale_of] - answer, answer)
    return turned
