"""The report's pictures, as SVG texts."""

import io
import re
import textwrap
import warnings
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from scipy.stats import pearsonr

from crowdllm_jax.model.cvae.fit import Losses
from crowdllm_jax.score.correlations import ItemPairs, correlations, crowd_correlations
from crowdllm_jax.score.groups import Group
from crowdllm_jax.score.held_out import Humans
from crowdllm_jax.score.persons import in_peoples_places, personal
from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Study

HUMAN, CROWD = "#4d4d4d", "#0072b2"
SHOWN = 12
MOST_GROUPS = 30
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "crowdllm",
    "font.family": "sans-serif",
}


def histograms(study: Study, humans: Humans, answers: np.ndarray) -> str:
    """Human and crowd answers side by side, for up to 12 held-out tasks.

    All tasks if there are few; else those at equal steps of the human mean, among the tasks that
    most people answered.
    """
    count = np.bincount(humans.task, minlength=len(humans.tasks))
    human_mean = _human_means(humans)
    shown = np.arange(len(humans.tasks))
    if len(shown) > SHOWN:
        most = np.flatnonzero(count >= np.quantile(count, 0.5))
        ranked = most[np.argsort(human_mean[most], kind="stable")]
        shown = ranked[np.linspace(0, len(ranked) - 1, SHOWN).round().astype(int)]
    columns = min(4, len(shown))
    rows = -(-len(shown) // columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2.9 * columns, 2.35 * rows), layout="constrained")
        for number, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
            if number >= len(shown):
                axes.set_visible(False)
                continue
            task = shown[number]
            _histogram(axes, study, humans, answers[:, task], int(task), int(count[task]))
        handles = [mpl.patches.Patch(color=HUMAN), mpl.patches.Patch(color=CROWD)]
        figure.legend(
            handles,
            ["held-out humans", "crowd"],
            loc="outside upper center",
            ncols=2,
            frameon=False,
        )
        return svg(figure, "Share of each answer, held-out humans and crowd, per task")


def _histogram(
    axes: Any, study: Study, humans: Humans, crowd: np.ndarray, task: int, count: int
) -> None:
    scale = study.scale_of(humans.tasks[task])
    rows = humans.task == task
    people, weight = humans.value[rows], humans.answer_weight[rows]
    if scales.size(scale):
        levels = scales.values(scale)
        between = np.concatenate([[-np.inf], (levels[1:] + levels[:-1]) / 2, [np.inf]])
        at = np.arange(len(levels))
        labels = [str(level) for level in scales.written(scale)]
    else:
        low, high = scales.values(scale)
        between = np.linspace(low, high, 11)
        at = np.arange(10)
        labels = [f"{edge:g}" for edge in between[:-1]]
    alike = np.ones(len(crowd))
    for values, counts, shift, colour in (
        (people, weight, -0.2, HUMAN),
        (crowd, alike, 0.2, CROWD),
    ):
        share = np.histogram(values, between, weights=counts)[0] / counts.sum()
        axes.bar(at + shift, share, 0.4, color=colour)
    step = -(-len(at) // 11)
    axes.set_xticks(
        at[::step], [textwrap.shorten(label, 9, placeholder="…") for label in labels[::step]]
    )
    text = study.tasks.text[humans.tasks[task]]
    title = "\n".join(textwrap.wrap(text, 38, max_lines=2, placeholder=" …"))
    # Text of a study is not markup: a lone $ would start a formula.
    axes.set_title(title.replace("$", r"\$"), fontsize=8, loc="left")
    axes.set_ylabel(f"share (n = {count})", fontsize=8)


def _human_means(humans: Humans) -> np.ndarray:
    """(T,) mean held-out answer, by survey weight."""
    weight, t = humans.answer_weight, len(humans.tasks)
    total = np.bincount(humans.task, weight * humans.value, t)
    return total / np.bincount(humans.task, weight, t)


def means(study: Study, humans: Humans, answers: np.ndarray) -> str:
    """Crowd mean against human mean of every held-out task, one panel per scale."""
    human = _human_means(humans)
    crowd = answers.mean(0)
    used = [i for i in range(len(study.scales)) if np.any(humans.scale == i)]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.2 * len(used), 3.7), layout="constrained")
        for axes, index in zip(
            figure.subplots(1, len(used), squeeze=False).flat, used, strict=True
        ):
            on_scale = humans.scale == index
            name = list(study.scales)[index]
            low, high = humans.edges[index]
            dense = on_scale.sum() > 40
            axes.plot([low, high], [low, high], color="#bbbbbb", lw=1, zorder=0)
            axes.scatter(
                human[on_scale],
                crowd[on_scale],
                s=10 if dense else 22,
                color=CROWD,
                alpha=0.5 if dense else 0.9,
                lw=0,
            )
            varied = (
                on_scale.sum() > 2 and np.ptp(human[on_scale]) > 0 and np.ptp(crowd[on_scale]) > 0
            )
            r = f", r = {pearsonr(human[on_scale], crowd[on_scale])[0]:.2f}" if varied else ""
            axes.set_title(
                f"{name}: {on_scale.sum()} task(s){r}".replace("$", r"\$"), fontsize=9, loc="left"
            )
            axes.set_xlabel("mean of held-out humans")
            axes.set_ylabel("mean of crowd")
            if scales.is_ballot(list(study.scales.values())[index]):
                high = 1.1 * max(human[on_scale].max(), crowd[on_scale].max())
            pad = 0.03 * (high - low)
            axes.set(xlim=(low - pad, high + pad), ylim=(low - pad, high + pad), aspect="equal")
        return svg(figure, "Crowd mean against human mean, one dot per held-out task")


def subgroups(groups: list[Group]) -> str:
    """Every group's mean deviation: people with a 95% interval, and the crowd; the largest groups
    if there are many."""
    largest = sorted(groups, key=lambda group: -group.people)[:MOST_GROUPS]
    shown = [group for group in groups if group in largest]
    at = np.arange(len(shown))[::-1]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.5, 0.9 + 0.24 * len(shown)), layout="constrained")
        axes = figure.subplots()
        axes.axvline(0, color="#bbbbbb", lw=1, zorder=0)
        human = np.array([100 * group.human for group in shown])
        half = np.array([100 * (group.high - group.human) for group in shown])
        axes.errorbar(
            human,
            at + 0.13,
            xerr=half,
            fmt="o",
            ms=4,
            color=HUMAN,
            lw=1,
            label="held-out humans, 95% interval",
        )
        axes.plot(
            [100 * group.crowd for group in shown],
            at - 0.13,
            "D",
            ms=4.5,
            color=CROWD,
            label="crowd",
        )
        names = [
            textwrap.shorten(f"{group.attribute}: {group.level}", 46, placeholder=" …")
            + f"  (n = {group.people})"
            for group in shown
        ]
        axes.set_yticks(at, [name.replace("$", r"\$") for name in names])
        axes.set_ylim(-0.7, len(shown) - 0.3)
        axes.set_xlabel("above or below what others answer to the same tasks, % of the scale")
        figure.legend(loc="outside upper center", ncols=2, frameon=False)
        return svg(figure, "Mean deviation of every group, held-out humans and crowd")


def coherence(humans: Humans, answers: np.ndarray, items: ItemPairs | None) -> str:
    """How far people (agents) differ in their mean answers, and whether answers to two tasks
    correlate as people's do."""
    panels = 1 if items is None else 2
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.9 * panels, 3.4), layout="constrained")
        axes = figure.subplots(1, panels, squeeze=False)[0]
        human_means = personal(humans, (humans.person, humans.task, humans.value))[2]
        rounds = in_peoples_places(humans, answers)
        crowd = np.concatenate([personal(humans, answered)[2] for answered in rounds])
        edges = np.linspace(
            min(human_means.min(), crowd.min()), max(human_means.max(), crowd.max()) + 1e-9, 21
        )
        for values, counts, colour, label in (
            (human_means, humans.weight, HUMAN, "held-out humans"),
            (crowd, np.tile(humans.weight, len(rounds)), CROWD, "crowd"),
        ):
            axes[0].hist(
                values,
                edges,
                weights=counts / counts.sum(),
                histtype="step",
                lw=1.6,
                color=colour,
                label=label,
            )
        axes[0].set_title("One person's (agent's) mean answer", fontsize=9, loc="left")
        axes[0].set_xlabel("mean answer" + ("" if len(humans.support) == 1 else ", share of scale"))
        axes[0].set_ylabel("share of people (agents)")
        if items is not None:
            people = correlations(items.value, items.known, humans.weight)[items.compared]
            theirs = crowd_correlations(items, answers)[items.compared]
            low, high = min(people.min(), theirs.min(), 0), max(people.max(), theirs.max(), 0)
            axes[1].plot([low, high], [low, high], color="#bbbbbb", lw=1, zorder=0)
            dense = len(people) > 200
            axes[1].scatter(
                people, theirs, s=6 if dense else 20, color=CROWD, lw=0, alpha=0.3 if dense else 0.9
            )
            axes[1].set_title("Correlation of two tasks", fontsize=9, loc="left")
            axes[1].set_xlabel("held-out humans")
            axes[1].set_ylabel("crowd")
            axes[1].set_aspect("equal", "datalim")
        figure.legend(
            *axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False
        )
        return svg(figure, "Do agents differ as people do, and do their answers hang together?")


def curves(losses: dict[str, Losses]) -> str:
    """Training and validation losses of every model, a panel per loss term."""
    terms = {model_losses.unit: model_losses.terms for model_losses in losses.values()}
    panels = [(unit, term) for unit in ("step", "epoch") for term in terms.get(unit, ())]
    colours = dict(zip(losses, (CROWD, "#d55e00", "#009e73"), strict=False))
    drawn: dict[str, Any] = {}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2.6 * len(panels), 2.6), layout="constrained")
        for axes, (unit, term) in zip(
            figure.subplots(1, len(panels), squeeze=False).flat, panels, strict=True
        ):
            for name, model_losses in losses.items():
                if model_losses.unit != unit:
                    continue
                column = model_losses.terms.index(term)
                for part, rows, style in (
                    ("training", model_losses.train, ":" if model_losses.validation else "-"),
                    ("validation", model_losses.validation, "-"),
                ):
                    values = np.array(
                        [np.nan if r[column] is None else r[column] for r in rows], float
                    )
                    if not np.isfinite(values).any():
                        continue
                    if unit == "step":
                        # A step's loss is noisy; what matters is where its average goes.
                        values = np.convolve(values, np.ones(20) / 20, "valid")
                    at = np.arange(1, len(values) + 1)
                    (line,) = axes.plot(at, values, style, color=colours[name])
                    drawn[f"{name}, {part}"] = line
                if model_losses.validation and model_losses.best:
                    axes.axvline(model_losses.best, color=colours[name], lw=0.6, alpha=0.6)
            axes.set_title(term, fontsize=9, loc="left")
            axes.set_xlabel(unit)
            axes.xaxis.get_major_locator().set_params(integer=True)
        figure.legend(
            drawn.values(), drawn.keys(), loc="outside upper center", ncols=5, frameon=False
        )
        return svg(figure, "Losses in training")


def svg(figure: Figure, title: str) -> str:
    """A figure as SVG text, the same for the same figure."""
    out = io.StringIO()
    with warnings.catch_warnings():
        # Names stay text, which the reader's browser draws, so that our font may lack their signs.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(out, format="svg", metadata={"Date": None, "Title": title})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    # As wide as drawn, or as the page where that is narrower.
    size = f'style="width: 100%; max-width: {figure.get_figwidth():g}in" role="img"'
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', size, text, count=1)
