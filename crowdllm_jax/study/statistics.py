"""Statistics of a study's answers per task, on the scales' own range."""

import numpy as np

from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Study


def kish(weight: np.ndarray) -> float:
    """Kish's effective sample size: (sum w)^2 / sum w^2; 0 where nobody has a weight."""
    square = float((weight**2).sum())
    return float(weight.sum() ** 2 / square) if square > 0 else 0.0


def unit(study: Study, numbers: np.ndarray, task: np.ndarray) -> np.ndarray:
    """Map numbers on the tasks' scales to [0, 1]: lowest level 0, highest 1."""
    low, width = ends(study)
    share: np.ndarray = (numbers - low[task]) / width[task]
    return share


def ends(study: Study) -> tuple[np.ndarray, np.ndarray]:
    """(T,) lowest value of each task's scale, and (T,) its width."""
    per_scale = np.array([scales.values(scale)[[0, -1]] for scale in study.scales.values()])
    low, high = per_scale[study.tasks.scale].T
    return low, high - low


def task_means(study: Study, part: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Average answer (by survey weight) of each task in [0, 1] over some responses (R,) bool; NaN
    without any.

    Returns:
      mean: (T,); weight: (T,) sum over the responses; count: (T,) of them, as Kish's effective
      number, and of published shares the people behind them: how much the mean can be trusted.
    """
    t = len(study.tasks.ids)
    task, weight_of_each = study.task[part], study.weight[part]
    weight, square = np.bincount(task, weight_of_each, t), np.bincount(task, weight_of_each**2, t)
    total = np.bincount(task, weight_of_each * unit(study, study.value[part], task), t)
    answered = weight > 0
    mean = np.divide(total, weight, out=np.full(t, np.nan), where=answered)
    if study.toplines:
        return mean, weight, weight
    return mean, weight, np.divide(weight**2, square, out=np.zeros(t), where=answered)


def level_shares(study: Study, part: np.ndarray, scale: int) -> np.ndarray:
    """(T, K) share (by survey weight) of each level in each task of one discrete scale; NaN rows
    elsewhere."""
    k = scales.size(tuple(study.scales.values())[scale])
    t = len(study.tasks.ids)
    responses = part & (study.tasks.scale[study.task] == scale)
    cell = study.task[responses] * k + study.answer[responses].astype(int)
    count = np.bincount(cell, study.weight[responses], t * k).reshape(t, k)
    total = count.sum(1, keepdims=True)
    share: np.ndarray = np.divide(count, total, out=np.full((t, k), np.nan), where=total > 0)
    return share
