"""Where a fit starts: at what plain statistics of the answers say."""

import numpy as np

from crowdllm_jax.model.persistent.answers import AnswerTable
from crowdllm_jax.model.persistent.effects import Persistent, TaskColumns
from crowdllm_jax.model.persistent.factors import analyse, enough, standardised
from crowdllm_jax.model.persistent.layout import Layout, layout_of
from crowdllm_jax.model.scales import continuous, nominal
from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.statistics import unit

LOGISTIC_SD = np.pi / np.sqrt(3)
"""Of the noise in an ordered answer, on the axis of its location."""
RIDGE = 10.0
"""Tasks' worth by which what columns say of loadings is drawn towards nothing."""
LOADINGS = "loading", "task_loading"
FAINT = 0.05
"""Root mean square of loadings below which a dimension holds nothing."""
MOST_PEOPLE = 5000
"""Whose answers are analysed: loadings start well enough from theirs."""
STEEPEST = 3.0
"""What a task starts from loads on all dimensions together by no more."""


def starting_levels(layout: Layout, answers: AnswerTable) -> np.ndarray:
    """(S, K) log shares of the levels in the answers, one answer added to each level."""
    levels = np.zeros((len(layout.scales), layout.levels), np.float32)
    given = answers.present > 0
    scale = np.array(layout.task_scale)[answers.task][given]
    level = answers.level[given]
    for index, one in enumerate(layout.scales):
        if k := scales.size(one):
            count = np.bincount(level[scale == index], minlength=k)[:k] + 1.0
            levels[index, :k] = np.log(count / count.sum())
    return levels


def start_loadings(
    model: Persistent, tasks: TaskColumns, layout: Layout, answers: AnswerTable
) -> None:
    """Put loadings where a factor analysis of the answers has them, its first axis what moves all
    tasks alike. Tasks whose answers are no numbers keep their own part."""
    given = (answers.present > 0) & _numeric(layout)[answers.task]
    person = np.repeat(answers.person[:, None], answers.task.shape[1], 1)[given]
    task, value = answers.task[given], answers.value[given]
    some = _some(person, len(answers.weight))
    t = len(layout.task_scale)
    numbers, sd = standardised(person[some], task[some], value[some], t)
    answered = np.bincount(numbers.task, minlength=t) > 0
    if not answered.any():
        return
    shape = (len(answers.weight), t)
    found = analyse(numbers, shape, model.belief.latent)
    size = np.where(
        np.isin(np.arange(t), layout.tasks_of(continuous)),
        sd,
        LOGISTIC_SD / np.sqrt(found.noise),
    )
    loading = found.loading * size[:, None]
    length = np.sqrt((loading**2).sum(1, keepdims=True))
    loading = _turned(loading / np.maximum(1.0, length / STEEPEST), answered)
    loading /= np.exp(np.asarray(model.belief.log_spread[...]))[: model.belief.latent]
    # A dimension in which nothing is found yet starts anywhere, or it would never come out.
    found_in = np.flatnonzero(np.sqrt((loading[answered] ** 2).mean(0)) > FAINT)
    scale, first = np.array(layout.task_scale), np.array(model.first_loading[...])
    if 0 in found_in:
        for index in np.unique(scale[answered]):
            first[index] = loading[answered & (scale == index), 0].mean()
        loading[:, 0] -= first[scale]
    # What columns say of loadings, by ridge regression; the rest is the tasks' own.
    x, apart = tasks.loading[answered], loading[np.ix_(answered, found_in)]
    by_column = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ apart)
    effects = {name: np.array(model.effects.mean[name][...]) for name in LOADINGS}
    effects["loading"][:, found_in] = by_column
    effects["task_loading"][np.ix_(answered, found_in)] = apart - x @ by_column
    for name in LOADINGS:
        model.effects.mean[name][...] = effects[name]
    model.first_loading[...] = first


def dimensions_paid_for(study: Study, part: np.ndarray) -> int:
    """As many dimensions of a belief as the responses `part` (R,) bool pay for."""
    layout = layout_of(study.scales, study.tasks.scale)
    rows = np.flatnonzero(part & _numeric(layout)[study.task])
    rows = rows[_some(study.person[rows], len(study.participants.ids))]
    shape = (len(study.participants.ids), len(study.tasks.ids))
    task = study.task[rows]
    value = unit(study, study.value[rows], task)
    numbers, _ = standardised(study.person[rows], task, value, shape[1])
    return enough(numbers, shape)


def _numeric(layout: Layout) -> np.ndarray:
    """(T,) bool, whether a task's answers are numbers, given one at a time."""
    numeric = np.zeros(len(layout.task_scale), bool)
    for kind, tasks in layout.single:
        numeric[list(tasks)] = kind is not nominal
    return numeric


def _some(person: np.ndarray, people: int) -> np.ndarray:
    """(R,) bool, the answers of at most MOST_PEOPLE, evenly chosen."""
    every = -(-people // MOST_PEOPLE)
    chosen: np.ndarray = person % every == 0
    return chosen


def _turned(loading: np.ndarray, answered: np.ndarray) -> np.ndarray:
    """Loadings (T, L) on other axes: the first along which the tasks' sum varies most, the others
    by how much of the rest they hold."""
    total = loading[answered].sum(0)
    if loading.shape[1] == 1 or not total.any():
        return loading * (np.sign(total[0]) or 1.0)
    first = total / np.sqrt((total**2).sum())
    rest = loading - np.outer(loading @ first, first)
    _, _, axes = np.linalg.svd(rest[answered], full_matrices=True)
    # The rest holds nothing along the first axis, which is so the last of its axes.
    turned = np.concatenate([first[:, None], axes[:-1].T], axis=1)
    return loading @ turned
