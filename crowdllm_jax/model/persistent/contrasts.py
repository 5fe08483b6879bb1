"""Nominal answers as numbers, for a linear analysis beside answers that are numbers.

The levels of a task become contrasts, one less than there are levels: numbers that have mean 0 and
deviation 1 among people and are uncorrelated, so that nothing but what goes together between tasks
is left to be found. (Those of correspondence analysis, whose indicators of one task exclude each
other.) Where a belief moves contrasts by `a`, it moves the levels' utilities by their product.
"""

import numpy as np

from crowdllm_jax.model.persistent.layout import Layout, level_mask
from crowdllm_jax.model.scales import nominal
from crowdllm_jax.study import scales

TOLD = 10
"""Answers per level, on average, without which tasks of a nominal scale say nothing by themselves
of how beliefs move their levels."""
PRIOR = 2.0
"""Answers' worth of an even prior of the levels' shares."""


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
