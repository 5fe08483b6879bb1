"""Where a fit starts: at what plain statistics of the answers say."""

import numpy as np

from crowdllm_jax.model.persistent.answers import AnswerTable
from crowdllm_jax.model.persistent.effects import Persistent, TaskColumns
from crowdllm_jax.model.persistent.factors import DOUBT, analyse, enough, standardised
from crowdllm_jax.model.persistent.layout import Layout, layout_of, level_mask
from crowdllm_jax.model.persistent.unanswered import dilution
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
"""Whose answers are analysed, evenly chosen: loadings start well enough from theirs."""
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


def start_known(
    model: Persistent, tasks: TaskColumns, layout: Layout, answers: AnswerTable
) -> np.ndarray:
    """Start known tasks at how their answers go together, and then at their shares.

    Returns:
      (B, W) normal numbers of people's beliefs there; zeros of whom nothing is known.
    """
    beliefs = start_loadings(model, tasks, layout, answers)
    spread = np.exp(np.asarray(model.belief.log_spread[...]))[: model.belief.latent]
    scale = np.array(layout.task_scale)
    loading = tasks.loading @ np.asarray(model.effects.mean["loading"][...])
    loading = loading + np.asarray(model.effects.mean["task_loading"][...])
    loading[:, 0] += np.asarray(model.first_loading[...])[scale]
    start_shares(model, layout, answers, np.sqrt(((loading * spread) ** 2).sum(1)))
    return beliefs


def start_shares(
    model: Persistent, layout: Layout, answers: AnswerTable, spread: np.ndarray
) -> None:
    """Put single tasks' effects where people's answers have them, people lying apart by deviations
    (T,): a scale's cuts moved as far as they are on average, and each level's rest."""
    level = np.asarray(model.level[...])
    scale = np.array(layout.task_scale)
    given = answers.present > 0
    task = answers.task[given]
    count = np.zeros((len(scale), layout.levels))
    np.add.at(count, (task, answers.level[given]), 1.0)
    prior = np.exp(level + level_mask(layout))[scale]
    prior /= prior.sum(1, keepdims=True)
    share = (count + DOUBT * prior) / (count.sum(1, keepdims=True) + DOUBT)
    effects = {name: np.array(model.effects.mean[name][...]) for name in ("task", "task_level")}
    seen = count.sum(1) > 0
    for kind, asked in layout.single:
        own = np.flatnonzero(seen & np.isin(np.arange(len(scale)), asked))
        if kind is continuous:
            total = np.bincount(task, answers.value[given], len(scale))[own]
            effects["task"][own] = total / count[own].sum(1) - continuous.MIDDLE
            continue
        if kind is not nominal:
            cut = _cuts(share[own]) * dilution(spread[own])[:, None]
            within = np.arange(1, layout.levels) < _sizes(layout)[scale[own], None]
            weight = within * np.exp(-np.abs(cut))
            gap = (_cuts(prior[own]) - cut) * weight
            effects["task"][own] = gap.sum(1) / weight.sum(1)
            below = 1 / (1 + np.exp(-(cut + effects["task"][own][:, None])))
            below = np.where(within, below, 1.0)
            ends = np.zeros((len(own), 1))
            share[own] = np.diff(np.concatenate([ends, below, 1 + ends], axis=1), axis=1)
        exists = level_mask(layout)[scale[own]] == 0
        rest = np.where(exists, np.log(share[own].clip(1e-4) / prior[own].clip(1e-4)), 0.0)
        effects["task_level"][own] = rest
    for name, effect in effects.items():
        model.effects.mean[name][...] = effect


def _cuts(share: np.ndarray) -> np.ndarray:
    """(T, K - 1) ends of levels on the logistic axis, from shares (T, K)."""
    below = share.cumsum(1)[:, :-1].clip(1e-4, 1 - 1e-4)
    cuts: np.ndarray = np.log(below / (1 - below))
    return cuts


def _sizes(layout: Layout) -> np.ndarray:
    """(S,) levels of each scale."""
    return np.array([max(2, scales.size(scale)) for scale in layout.scales])


def start_loadings(
    model: Persistent, tasks: TaskColumns, layout: Layout, answers: AnswerTable
) -> np.ndarray:
    """Put loadings where a factor analysis of the answers has them, its first axis what moves all
    tasks alike. Tasks whose answers are no numbers keep their own part. Returns people's beliefs
    (B, W)."""
    beliefs = np.zeros((len(answers.weight), model.belief.width), np.float32)
    given = (answers.present > 0) & _numeric(layout)[answers.task]
    person = np.repeat(answers.person[:, None], answers.task.shape[1], 1)[given]
    task, value = answers.task[given], answers.value[given]
    t, people = len(layout.task_scale), len(answers.weight)
    every = -(-people // MOST_PEOPLE)
    some = person % every == 0
    numbers, sd = standardised(person[some] // every, task[some], value[some], t)
    answered = np.bincount(numbers.task, minlength=t) > 0
    if not answered.any():
        return beliefs
    found = analyse(numbers, (-(-people // every), t), model.belief.latent)
    is_continuous = np.isin(np.arange(t), layout.tasks_of(continuous))
    size = np.where(is_continuous, sd, LOGISTIC_SD / np.sqrt(found.noise))
    loading = found.loading * size[:, None]
    length = np.sqrt((loading**2).sum(1, keepdims=True))
    loading /= np.maximum(1.0, length / STEEPEST)
    axes = _axes(loading[answered])
    loading = loading @ axes
    loading /= np.exp(np.asarray(model.belief.log_spread[...]))[: model.belief.latent]
    # A dimension in which nothing is found yet starts anywhere, or it would never come out.
    found_in = np.flatnonzero(np.sqrt((loading[answered] ** 2).mean(0)) > FAINT)
    _put(model, tasks, loading, answered, found_in)
    scale, residual = np.array(layout.task_scale), np.array(model.log_residual[...])
    for index in np.unique(scale[answered & is_continuous]):
        on_scale = answered & (scale == index)
        residual[index] = np.log((sd**2 * found.noise)[on_scale].mean()) / 2
    model.log_residual[...] = residual
    beliefs[::every, found_in] = (found.person @ axes)[:, found_in]
    return beliefs


def _put(
    model: Persistent,
    tasks: TaskColumns,
    loading: np.ndarray,
    answered: np.ndarray,
    dimensions: np.ndarray,
) -> None:
    """Part loadings (T, L) of tasks that were answered (T,) bool, in some dimensions, into what a
    scale's tasks share, what columns say by ridge regression, and the tasks' own."""
    first = np.array(model.first_loading[...])
    if 0 in dimensions:
        for index in np.unique(tasks.scale[answered]):
            first[index] = loading[answered & (tasks.scale == index), 0].mean()
        loading[:, 0] -= first[tasks.scale]
    x, apart = tasks.loading[answered], loading[np.ix_(answered, dimensions)]
    by_column = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ apart)
    effects = {name: np.array(model.effects.mean[name][...]) for name in LOADINGS}
    effects["loading"][:, dimensions] = by_column
    effects["task_loading"][np.ix_(answered, dimensions)] = apart - x @ by_column
    for name in LOADINGS:
        model.effects.mean[name][...] = effects[name]
    model.first_loading[...] = first


def dimensions_paid_for(study: Study, part: np.ndarray) -> int:
    """As many dimensions of a belief as the responses `part` (R,) bool pay for."""
    layout = layout_of(study.scales, study.tasks.scale)
    people, t = len(study.participants.ids), len(study.tasks.ids)
    every = -(-people // MOST_PEOPLE)
    rows = np.flatnonzero(part & _numeric(layout)[study.task] & (study.person % every == 0))
    task = study.task[rows]
    value = unit(study, study.value[rows], task)
    numbers, _ = standardised(study.person[rows] // every, task, value, t)
    return enough(numbers, (-(-people // every), t))


def _numeric(layout: Layout) -> np.ndarray:
    """(T,) bool, whether a task's answers are numbers, given one at a time."""
    numeric = np.zeros(len(layout.task_scale), bool)
    for kind, tasks in layout.single:
        numeric[list(tasks)] = kind is not nominal
    return numeric


def _axes(loading: np.ndarray) -> np.ndarray:
    """(L, L) orthogonal axes for loadings (T, L): the first along which the tasks' sum varies most,
    the others by how much of the rest they hold."""
    total = loading.sum(0)
    if loading.shape[1] == 1 or not total.any():
        return np.eye(loading.shape[1]) * (np.sign(total[0]) or 1.0)
    first = total / np.sqrt((total**2).sum())
    _, _, axes = np.linalg.svd(loading - np.outer(loading @ first, first))
    # The rest holds nothing along the first axis, which is so the last of its axes.
    turned: np.ndarray = np.concatenate([first[:, None], axes[:-1].T], axis=1)
    return turned
