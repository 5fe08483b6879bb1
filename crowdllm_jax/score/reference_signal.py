"""Whether a reference says anything of how people answer: what it says of training tasks, beside
what the training people answered to them."""

import numpy as np

from crowdllm_jax.reference.record import Reference
from crowdllm_jax.score.finding import Finding
from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.split import Split
from crowdllm_jax.study.statistics import level_shares, task_means, unit

NAME = "reference without signal"
FOLDS, DRAWS, FEWEST = 5, 1000, 10
LIVELY = 1e-6
"""A reference that varies less than this between tasks is a constant."""


def reference_signal(study: Study, split: Split, reference: Reference) -> Finding:
    """The correlation of the reference with the training tasks' answers, and its skill on them.

    Skill is the share of the squared differences between tasks that a line through the reference
    explains on tasks left out (five folds): what a blender can make of it. Intervals are bootstraps
    over tasks. On nominal scales the shares of the levels take the place of the mean.
    """
    measure = "correlation between the reference and the training people's answers, over tasks"
    threshold = (
        "its 95% interval includes 0, or the reference explains nothing of how tasks left out "
        "differ: it cannot be told from answers given at random"
    )

    def untold(why: str) -> Finding:
        return Finding(NAME, measure, None, False, threshold, why)

    if reference.kind == "marginal":
        return untold("the reference is the training people's own average")
    said, given, weight, numbers = _centred(study, split, reference)
    if len(weight) < FEWEST:
        return untold(f"cannot be told (only {len(weight)} training tasks have answers)")
    spread = np.sqrt(np.average((said**2).sum(1) / numbers, weights=weight))
    people = np.sqrt(np.average((given**2).sum(1) / numbers, weights=weight))
    if people <= LIVELY:
        return untold("cannot be told (all training tasks are answered alike)")
    about = [f"it varies by {spread:.3f} of the scale, people's averages by {people:.3f}"]
    about += _favourite(study, split, reference)
    if reference.order is not None:
        turned = float(reference.order.mean())
        about.append(f"with the options the other way round it moves {turned:.0%} of its answers")
    if spread <= LIVELY:
        return Finding(NAME, measure, 0.0, True, threshold, "; ".join(about))
    tasks = len(weight)
    draws = np.random.default_rng(0).multinomial(tasks, np.full(tasks, 1 / tasks), DRAWS)
    every = weight * np.concatenate([np.ones((1, tasks)), draws])  # the tasks, then resampled ones
    r, *resampled = _correlation(said, given, every)
    low, high = np.quantile(resampled, [0.025, 0.975])
    error, plain = _left_out(said, given, weight)
    skill, *skills = 1 - (every @ error) / (every @ plain)
    worst, best = np.quantile(skills, [0.025, 0.975])
    about.insert(0, f"r {r:.2f} ({low:.2f} to {high:.2f})")
    about.insert(
        1,
        f"it explains {max(skill, 0):.0%} ({max(worst, 0):.0%} to {max(best, 0):.0%}) of how "
        f"{tasks:,} training tasks differ, each left out in turn",
    )
    fires = bool(low <= 0 <= high or skill <= 0)
    return Finding(NAME, measure, float(r), fires, threshold, "; ".join(about))


def _centred(
    study: Study, split: Split, reference: Reference
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What the reference said and people gave (n, Y), less its scale's average, the tasks' weights
    (n,), and how many of the Y numbers each task has (n,)."""
    mean, _, count = task_means(study, split.of_reference)
    t = len(study.tasks.ids)
    share = unit(study, reference.mean, np.arange(t))
    wide = max(1, *(1 if scales.is_ordered(s) else scales.size(s) for s in study.scales.values()))
    said, given, numbers = np.zeros((t, wide)), np.zeros((t, wide)), np.ones(t)
    for index, scale in enumerate(study.scales.values()):
        on_scale = (study.tasks.scale == index) & (count > 0)
        if not on_scale.any():
            continue
        if not scales.is_ordered(scale) and reference.probs is not None:
            k = scales.size(scale)
            numbers[on_scale] = k
            shares = level_shares(study, split.of_reference, index)
            parts = [(said, reference.probs[on_scale, :k]), (given, shares[on_scale])]
        else:
            k = 1
            parts = [(said, share[on_scale, None]), (given, mean[on_scale, None])]
        for out, values in parts:
            out[on_scale, :k] = values - np.average(values, 0, weights=count[on_scale])
    seen = count > 0
    return said[seen], given[seen], count[seen], numbers[seen]


def _correlation(said: np.ndarray, given: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(B,) weighted correlations, for weights (B, n) of the tasks."""
    total = weight.sum(1) * said.shape[1]
    x, y = weight @ said.sum(1) / total, weight @ given.sum(1) / total
    xy = weight @ (said * given).sum(1) / total - x * y
    xx = weight @ (said**2).sum(1) / total - x**2
    yy = weight @ (given**2).sum(1) / total - y**2
    return xy / np.sqrt((xx * yy).clip(1e-300))


def _left_out(
    said: np.ndarray, given: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(n,) squared errors of lines through the reference, and of averages, on tasks left out."""
    fold = np.arange(len(said)) % FOLDS
    error, plain = np.zeros(len(said)), np.zeros(len(said))
    for f in range(FOLDS):
        rest, out = fold != f, fold == f
        w = weight[rest][:, None]
        centre, level = ((w * y[rest]).sum(0) / w.sum() for y in (said, given))
        x = said[rest] - centre
        slope = (w * x * (given[rest] - level)).sum() / max((w * x**2).sum(), 1e-300)
        error[out] = ((given[out] - level - slope * (said[out] - centre)) ** 2).sum(1)
        plain[out] = ((given[out] - level) ** 2).sum(1)
    return error, plain


def _favourite(study: Study, split: Split, reference: Reference) -> list[str]:
    """Which option wins most often, by scale, where that is known."""
    if reference.probs is None:
        return []
    told = []
    seen = split.tasks(study, split.of_reference)
    for index, (name, scale) in enumerate(study.scales.items()):
        rows = seen[study.tasks.scale[seen] == index]
        if not len(rows):
            continue
        wins = np.bincount(reference.probs[rows, : scales.size(scale)].argmax(1))
        label = scales.labels(scale)[int(wins.argmax())]
        where = f" of scale '{name}'" if len(study.scales) > 1 else ""
        told.append(f"'{label}' wins on {wins.max() / len(rows):.0%} of the tasks{where}")
    return told
