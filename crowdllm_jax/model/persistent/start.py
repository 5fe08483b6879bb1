"""Where a fit starts: at what plain statistics of the answers say."""

import numpy as np

from crowdllm_jax.model.persistent.answers import AnswerTable
from crowdllm_jax.model.persistent.contrasts import Given, numeric, telling, told_by
from crowdllm_jax.model.persistent.design import Design
from crowdllm_jax.model.persistent.effects import Persistent, expected_of, units
from crowdllm_jax.model.persistent.factors import DOUBT, analyse, enough
from crowdllm_jax.model.persistent.layout import Layout, layout_of, level_mask
from crowdllm_jax.model.persistent.unanswered import dilution
from crowdllm_jax.model.scales import continuous, nominal
from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.statistics import unit

LOGISTIC_SD = np.pi / np.sqrt(3)
"""Of the noise in an ordered answer, on the axis of its location."""
APART = 2.0
"""Deviation of logistic noise and beliefs together, about."""
RIDGE = 10.0
"""Tasks' worth by which what columns say of loadings is drawn towards nothing."""
LOADINGS = "loading", "task_loading"
FAINT = 0.05
"""Root mean square of loadings below which a dimension holds nothing."""
STEEPEST = 3.0
"""What a task starts from loads on all dimensions together by no more."""
LEAST = 0.01
"""Deviation of continuous answers, of a scale of length 1, below which they tell of no noise; and
of loadings, than which their prior starts no narrower."""


def starting_units(layout: Layout, answers: AnswerTable) -> np.ndarray:
    """(S,) logarithms of the units of scales: of continuous ones such that answers to one task lie
    as far apart in them as logits do."""
    given = answers.present > 0
    task, value, scale = answers.task[given], answers.value[given], np.array(layout.task_scale)
    count = np.bincount(task, minlength=len(scale)).clip(1)
    square = (value - (np.bincount(task, value, len(scale)) / count)[task]) ** 2
    units = np.zeros(len(layout.scales), np.float32)
    for index in np.unique(scale[np.array(layout.tasks_of(continuous), int)]):
        if (own := scale[task] == index).any():
            units[index] = np.log(np.sqrt(square[own].mean()).clip(LEAST) / APART)
    return units


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


def start_known(model: Persistent, design: Design, answers: AnswerTable) -> np.ndarray:
    """Start known tasks at how their answers go together, and then at their shares.

    Returns:
      (B, W) normal numbers of people's beliefs there; zeros of whom nothing is known.
    """
    beliefs = start_loadings(model, design, answers)
    tasks, layout = design.tasks, design.layout
    spread = model.belief.deviation()
    scale = np.array(layout.task_scale)
    loading = tasks.loading @ np.asarray(model.effects.mean["loading"][...])
    loading = loading + np.asarray(model.effects.mean["task_loading"][...])
    loading[:, 0] += np.asarray(model.first_loading[...])[scale]
    start_shares(model, layout, answers, np.sqrt(((loading * spread) ** 2).sum(1)))
    start_deviations(model, design, answers)
    return beliefs


def start_deviations(model: Persistent, design: Design, answers: AnswerTable) -> None:
    """Be as sure of single tasks' effects at the start as their answers will make a fit, in any
    case no less. A fit that draws what is well known as if it were not shrinks its weak dimensions
    to be rid of the noise, and seldom finds them again."""
    tasks, layout = design.tasks, design.layout
    t, given = len(tasks.scale), answers.present > 0
    count = np.zeros((t, layout.levels))
    np.add.at(count, (answers.task[given], answers.level[given]), 1.0)
    is_continuous = np.isin(np.arange(t), layout.tasks_of(continuous))
    residual = np.exp(np.asarray(model.log_residual[...]))[tasks.scale]
    noise = np.where(is_continuous, residual / np.asarray(units(model, tasks.scale)), LOGISTIC_SD)
    location = count.sum(1) / noise**2
    spread = model.belief.deviation() ** 2
    by_level = (count * (1 - count / count.sum(1, keepdims=True).clip(1)))[:, :, None] * spread
    information = {
        "task": location,
        "task_level": count,
        "task_loading": location[:, None] * spread,
        "loading": (tasks.loading**2).T @ location[:, None] * spread,
        "task_profile": (answers.profile**2).mean(0)[:, None] * location,
    }
    if "task_level_loading" in design.groups:
        information["task_level_loading"] = by_level
    for name, of_answers in information.items():
        log_sd = model.effects.log_sd[name]
        unsure = np.exp(-2 * np.asarray(log_sd[...])) + of_answers
        log_sd[...] = (-np.log(unsure) / 2).astype(np.float32)


def start_shares(
    model: Persistent, layout: Layout, answers: AnswerTable, spread: np.ndarray
) -> None:
    """Put single tasks' effects where people's answers have them, people lying apart by deviations
    (T,): a scale's cuts moved as far as they are on average, and each level's rest as far as it is
    beyond chance; and the priors where these effects are. Under narrower ones a fit would draw all
    effects to nothing, and have to find them again."""
    scale = np.array(layout.task_scale)
    given = answers.present > 0
    task = answers.task[given]
    count = np.zeros((len(scale), layout.levels))
    np.add.at(count, (task, answers.level[given]), 1.0)
    level = np.array(model.level[...])
    effects = {name: np.array(model.effects.mean[name][...]) for name in ("task", "task_level")}
    for kind, asked in layout.single:
        on_kind = np.isin(np.arange(len(scale)), asked) & (count.sum(1) > 0)
        for index in np.unique(scale[on_kind]):
            own = np.flatnonzero(on_kind & (scale == index))
            if kind is continuous:
                effects["task"][own] = _start_middle(
                    model, index, _places(model, scale, answers)[own]
                )
            else:
                k = scales.size(layout.scales[index])
                prior = np.exp(level[index, :k])[None] / np.exp(level[index, :k]).sum()
                if kind is nominal:
                    shares = _beyond_chance(count[own, :k], prior.repeat(len(own), 0), 1)
                else:
                    place, shares, prior = _ordered(count[own, :k], prior, spread[own])
                    effects["task"][own], level[index, :k] = place, np.log(prior[0].clip(1e-4))
                rest = np.log(shares.clip(1e-4) / prior.clip(1e-4))
                effects["task_level"][own, :k] = rest - rest.mean(1, keepdims=True)
                _widen(model, "task_level", index, effects["task_level"][own, :k])
            _widen(model, "task", index, effects["task"][own])
    model.level[...] = level
    for name, effect in effects.items():
        model.effects.mean[name][...] = effect


def start_few(model: Persistent, design: Design, answers: AnswerTable) -> None:
    """Leave levels that are not learnt at 0; and put known tasks on such scales at the shares of
    their answers, one added to each level, and their prior accordingly."""
    tasks, layout = design.tasks, design.layout
    if tasks.levelled is None:
        return
    few = tasks.levelled == 0
    level = np.array(model.level[...])
    level[tasks.scale[few]] = 0.0
    model.level[...] = level
    own = np.flatnonzero(few & (tasks.known > 0))
    given = answers.present > 0
    count = np.zeros((len(tasks.scale), layout.levels))
    np.add.at(count, (answers.task[given], answers.level[given]), 1.0)
    exists = level_mask(layout)[tasks.scale[own]] == 0
    share = np.where(exists, np.log(count[own] + 1), 0.0)
    share = (share - share.sum(1, keepdims=True) / exists.sum(1, keepdims=True)) * exists
    effect = np.array(model.effects.mean["task_level"][...])
    effect[own] = share - np.asarray(expected_of(tasks))[own] * exists
    model.effects.mean["task_level"][...] = effect
    group = design.groups["task_level"][own, 0]
    for index in np.unique(group):
        _widen(model, "task_level", index, effect[own[group == index]])


def start_continuous(model: Persistent, layout: Layout, answers: AnswerTable) -> None:
    """Put tasks with continuous answers where people's answers are on average, and their prior
    accordingly. From the middle of the range far ones take long to come home, and meanwhile
    beliefs learn to lie as far apart as these do."""
    scale = np.array(layout.task_scale)
    answered = np.unique(answers.task[answers.present > 0])
    own = np.intersect1d(answered, np.array(layout.tasks_of(continuous), int))
    places = _places(model, scale, answers)
    effect = np.array(model.effects.mean["task"][...])
    for index in np.unique(scale[own]):
        on_scale = own[scale[own] == index]
        effect[on_scale] = _start_middle(model, index, places[on_scale])
        _widen(model, "task", index, effect[on_scale])
    model.effects.mean["task"][...] = effect


def _start_middle(model: Persistent, index: int, places: np.ndarray) -> np.ndarray:
    """Tasks' places from the middle of them all, which becomes that of their scale."""
    middle = np.array(model.middle[...])
    middle[index] = places.mean()
    model.middle[...] = middle
    return np.asarray(places - places.mean())


def _places(model: Persistent, scale: np.ndarray, answers: AnswerTable) -> np.ndarray:
    """(T,) average answers to tasks of a range [0, 1], from its middle, in units of the scale."""
    given = answers.present > 0
    task, t = answers.task[given], len(scale)
    average = np.bincount(task, answers.value[given], t) / np.bincount(task, minlength=t).clip(1)
    return np.asarray((average - continuous.MIDDLE) / np.asarray(units(model, scale)))


def _ordered(
    count: np.ndarray, prior: np.ndarray, spread: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where tasks with answers (M, K) are (M,), their shares (M, K) were they in the middle, and
    those (1, K) of a task in the middle; from all tasks' shares (1, K)."""
    wide = dilution(spread)[:, None]
    cut = _cuts((count + DOUBT * prior) / (count.sum(1, keepdims=True) + DOUBT)) * wide
    near = _location(cut, _cuts(prior) * wide)
    # All tasks' answers together lie farther apart than one task's.
    middle = _cuts(prior) * dilution(np.hypot(spread.mean(), np.sqrt((near**2).mean())))
    place = _location(cut, middle)
    shares = _beyond_chance(count, _between((middle - place) / wide), 2)
    return place[:, 0], _between(_cuts(shares) * wide + place), _between(middle)


def _location(cut: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """(M, 1) how far tasks' cuts (M, K - 1) lie below those of their scale, on average."""
    weight = np.exp(-np.abs(cut))
    moved: np.ndarray = ((middle - cut) * weight).sum(1, keepdims=True)
    return moved / weight.sum(1, keepdims=True)


def _beyond_chance(count: np.ndarray, expected: np.ndarray, fitted: int) -> np.ndarray:
    """(M, K) shares of tasks with answers (M, K), drawn towards those expected as far as all tasks'
    answers lie no farther from these than chance has it (moments of a Dirichlet-multinomial,
    Mosimann 1962), of which `fitted` numbers a task follow the task's own answers."""
    n, levels = count.sum(1), count.shape[1]
    chance = (expected * (1 - expected)).sum(1)
    pairs = ((n - 1) * chance).sum()
    if fitted >= levels or pairs < 1e-6:
        return expected
    free = 1 - (fitted - 1) / (levels - 1)
    square = ((count / n[:, None] - expected) ** 2).sum(1)
    beyond = (n * square - free * chance).sum() / (free * pairs)
    doubt = 1 / np.clip(beyond, 1e-6, 1) - 1
    shares: np.ndarray = (count + doubt * expected) / (n[:, None] + doubt)
    return shares


def _widen(model: Persistent, name: str, index: int, effect: np.ndarray) -> None:
    """Let the prior of a scale's tasks be no narrower than where their effects are."""
    prior = model.effects.log_prior[name]
    size = np.sqrt((effect**2).mean()).clip(LEAST)
    wide = np.array(prior[...])
    wide[index] = max(wide[index], np.log(size))
    prior[...] = wide


def _between(cut: np.ndarray) -> np.ndarray:
    """(M, K) shares of the levels that ends (M, K - 1) on the logistic axis part."""
    below = 1 / (1 + np.exp(-cut))
    ends = np.zeros((len(cut), 1))
    return np.diff(np.concatenate([ends, below, 1 + ends], axis=1), axis=1)


def _cuts(share: np.ndarray) -> np.ndarray:
    """(T, K - 1) ends of levels on the logistic axis, from shares (T, K)."""
    below = share.cumsum(1)[:, :-1].clip(1e-4, 1 - 1e-4)
    cuts: np.ndarray = np.log(below / (1 - below))
    return cuts


def start_loadings(model: Persistent, design: Design, answers: AnswerTable) -> np.ndarray:
    """Put loadings where a factor analysis of the answers has them, its first axis what moves all
    tasks alike. Nominal tasks with few answers keep their own part. Returns people's beliefs
    (B, W)."""
    beliefs = np.zeros((len(answers.weight), model.belief.latent + 1), np.float32)
    layout, given = design.layout, answers.present > 0
    t, person = len(layout.task_scale), np.repeat(answers.person[:, None], given.shape[1], 1)
    rows = Given(*(c[given] for c in (person, answers.task, answers.level, answers.value)))
    told = told_by(layout, rows, len(answers.weight))
    if not len(told.numbers.value):
        return beliefs
    found = analyse(told.numbers, told.shape, model.belief.latent)
    answered = np.bincount(told.numbers.task, minlength=t)[:t] > 0
    is_continuous = np.isin(np.arange(t), layout.tasks_of(continuous))
    on_line = told.sd / np.asarray(units(model, np.array(layout.task_scale)))
    size = np.where(is_continuous, on_line, LOGISTIC_SD / np.sqrt(found.noise[:t]))
    loading = _capped(found.loading[:t] * size[:, None])
    of_contrasts = found.loading[t:] / np.sqrt(found.noise[t:])[:, None]
    a, k = told.contrasts.shape[:2]
    of_levels = _capped(told.contrasts @ of_contrasts.reshape(a, k - 1, loading.shape[1]))
    axes = _axes(loading[answered])
    spread = model.belief.deviation()
    loading, of_levels = loading @ axes / spread, of_levels @ axes / spread
    # A dimension in which nothing is found yet starts anywhere, or it would never come out.
    cells = np.concatenate([loading[answered], of_levels.reshape(-1, loading.shape[1])])
    found_in = np.flatnonzero(np.sqrt((cells**2).mean(0)) > FAINT)
    _put(model, design, loading, answered, found_in)
    _put_levels(model, design, of_levels, told.nominal, found_in)
    scale, residual = np.array(layout.task_scale), np.array(model.log_residual[...])
    for index in np.unique(scale[answered & is_continuous]):
        on_scale = answered & (scale == index)
        variance = (told.sd**2 * found.noise[:t])[on_scale].mean()
        if variance > LEAST**2:
            residual[index] = np.log(variance) / 2
    model.log_residual[...] = residual
    wider = spread / np.exp(np.asarray(model.belief.log_spread[...]))[: model.belief.latent]
    beliefs[np.ix_(told.place >= 0, found_in)] = (found.person @ axes * wider)[:, found_in]
    return beliefs


def _capped(loading: np.ndarray) -> np.ndarray:
    """Loadings (..., L) of which none is steeper than STEEPEST."""
    length = np.sqrt((loading**2).sum(-1, keepdims=True))
    return np.asarray(loading / np.maximum(1.0, length / STEEPEST))


def _put_levels(
    model: Persistent,
    design: Design,
    loading: np.ndarray,
    tasks: np.ndarray,
    dimensions: np.ndarray,
) -> None:
    """Part loadings (A, K, L) of the levels of nominal tasks (A,), in some dimensions, into what a
    scale's tasks share and their own."""
    if not len(tasks):
        return
    effects, scale = model.effects, design.tasks.scale[tasks]
    shared = np.array(effects.mean["level_loading"][...])
    for index in np.unique(scale):
        shared[index][:, dimensions] = loading[scale == index].mean(0)[:, dimensions]
    effects.mean["level_loading"][...] = shared
    if "task_level_loading" in design.groups:
        own = np.zeros(effects.mean["task_level_loading"].shape, np.float32)
        rest = loading - shared[scale]
        own[np.ix_(tasks, np.arange(own.shape[1]), dimensions)] = rest[:, :, dimensions]
        effects.mean["task_level_loading"][...] = own


def _put(
    model: Persistent,
    design: Design,
    loading: np.ndarray,
    answered: np.ndarray,
    dimensions: np.ndarray,
) -> None:
    """Part loadings (T, L) of tasks that were answered (T,) bool, in some dimensions, into what a
    scale's tasks share, what columns say by ridge regression, and the tasks' own, under the priors
    that these speak for."""
    tasks, first = design.tasks, np.array(model.first_loading[...])
    if 0 in dimensions:
        for index in np.unique(tasks.scale[answered]):
            first[index] = loading[answered & (tasks.scale == index), 0].mean()
        loading[:, 0] -= first[tasks.scale]
    x, apart = tasks.loading[answered], loading[np.ix_(answered, dimensions)]
    by_column = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ apart)
    effects = {name: np.array(model.effects.mean[name][...]) for name in LOADINGS}
    effects["loading"][:, dimensions] = by_column
    effects["task_loading"][np.ix_(answered, dimensions)] = apart - x @ by_column
    # Of tasks without answers nothing is known but the prior.
    effects["task_loading"][np.ix_(tasks.known == 0, dimensions)] = 0.0
    for name, rows in (("loading", np.ones(len(by_column), bool)), ("task_loading", answered)):
        model.effects.mean[name][...] = effects[name]
        cells = np.ix_(rows, dimensions)
        group, square = design.groups[name][cells].ravel(), effects[name][cells].ravel() ** 2
        there, place, count = np.unique(group, return_inverse=True, return_counts=True)
        size = np.sqrt(np.bincount(place, square) / count).clip(LEAST)
        prior = np.array(model.effects.log_prior[name][...])
        prior[there] = np.log(size)
        model.effects.log_prior[name][...] = prior
    model.first_loading[...] = first


def starts_at_answers(study: Study, part: np.ndarray) -> bool:
    """Whether loadings can start at the responses `part` (R,) bool: some of them are numbers, or
    tell by themselves what beliefs do to their levels."""
    layout, task = layout_of(study.scales, study.tasks.scale), study.task[part]
    tells = telling(layout, np.bincount(task, minlength=len(study.tasks.ids)))
    return bool((numeric(layout) | tells)[task].any())


def dimensions_paid_for(study: Study, part: np.ndarray) -> int:
    """As many dimensions of a belief as the responses `part` (R,) bool pay for."""
    layout = layout_of(study.scales, study.tasks.scale)
    task, level = study.task[part], study.answer[part].astype(int)
    given = Given(study.person[part], task, level, unit(study, study.value[part], task))
    told = told_by(layout, given, len(study.participants.ids))
    return enough(told.numbers, told.shape)


def _axes(loading: np.ndarray) -> np.ndarray:
    """(L, L) orthogonal axes for loadings (T, L): the first along which the tasks' sum varies most,
    the others by how much of the rest they hold."""
    total = loading.sum(0)
    if loading.shape[1] == 1 or not total.any():
        return np.eye(loading.shape[1]) * (np.sign(total[0]) or 1.0)
    first = total / np.sqrt((total**2).sum())
    # Everything but the first axis; along most of it loadings may be 0, so it is found by itself.
    rest = np.linalg.qr(np.column_stack([first, np.eye(len(first))]))[0][:, 1:]
    _, turned = np.linalg.eigh((loading @ rest).T @ (loading @ rest))
    return np.column_stack([first, rest @ turned[:, ::-1]])
