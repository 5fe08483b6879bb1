"""The report's pictures, as SVG texts."""

import io
import re
import warnings
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from scipy.stats import pearsonr

from crowdllm_jax.model.cvae.fit import Losses
from crowdllm_jax.score import asked
from crowdllm_jax.score.correlations import ItemPairs, correlations, crowd_correlations
from crowdllm_jax.score.held_out import Humans, of_numbers
from crowdllm_jax.score.persons import in_peoples_places, personal
from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Study

HUMAN, CROWD, LINE = "#4d4d4d", "#0072b2", "#bbbbbb"
MOST_DOTS = 2000
FEWEST = 10
"""Questions that a correlation of means takes."""

THEMED = {HUMAN: "human-line", CROWD: "crowd", LINE: "line", "#000000": "soft"}
"""The page's name of each colour that changes with its ground."""

STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "font.family": "sans-serif",
}


def _human_means(humans: Humans) -> np.ndarray:
    """(T,) mean held-out answer, by survey weight."""
    weight, t = humans.answer_weight, len(humans.tasks)
    total = np.bincount(humans.task, weight * humans.value, t)
    return total / np.bincount(humans.task, weight, t)


def means(study: Study, humans: Humans, answers: np.ndarray) -> list[tuple[str, str]]:
    """Crowd mean against human mean of every held-out question: (title, SVG) for each scale."""
    human = _human_means(humans)
    crowd = asked.means(answers, answers.dtype)
    pictures = []
    for index, (name, scale) in enumerate(study.scales.items()):
        on_scale = humans.scale == index
        # A single dot is no picture.
        if on_scale.sum() < 2 or not scales.is_ordered(scale):
            continue
        low, high = humans.edges[index]
        varied = (
            on_scale.sum() >= FEWEST and np.ptp(human[on_scale]) > 0 and np.ptp(crowd[on_scale]) > 0
        )
        r = f", r = {pearsonr(human[on_scale], crowd[on_scale])[0]:.2f}" if varied else ""
        if scales.is_ballot(scale):
            high = 1.1 * max(human[on_scale].max(), crowd[on_scale].max())
        pad = 0.03 * (high - low)
        ends = (low - pad, high + pad)
        with mpl.rc_context(STYLE):
            figure = Figure(figsize=(3.1, 3.1), layout="constrained")
            axes = figure.subplots()
            _dots(axes, human[on_scale], crowd[on_scale], (low, high))
            axes.set_xlabel("mean of people held out")
            axes.set_ylabel("mean of crowd")
            axes.set(xlim=ends, ylim=ends, aspect="equal")
            title = f"{name.replace('_', ' ')}: {on_scale.sum():,} questions{r}"
            pictures.append((title, svg(figure, f"Crowd mean against human mean, {title}")))
    return pictures


def _dots(axes: Any, x: np.ndarray, y: np.ndarray, ends: tuple[float, float]) -> None:
    """A dot for each pair, and the line on which both are alike."""
    dense = len(x) > 40
    axes.plot(ends, ends, color=LINE, lw=1, zorder=0)
    axes.scatter(
        x,
        y,
        s=10 if dense else 22,
        color=CROWD,
        alpha=0.5 if dense else 0.9,
        lw=0,
        # As shapes, so many would weigh more than the rest of the page.
        rasterized=len(x) > MOST_DOTS,
    )


def coherence(
    humans: Humans, answers: np.ndarray, items: ItemPairs | None
) -> list[tuple[str, str]]:
    """How far people (agents) differ in their mean answers, and whether answers to two questions
    correlate as people's do: (title, SVG) of each, the second only where that can be told."""
    pictures = []
    if (numbers := of_numbers(humans, answers)) is not None:
        pictures.append(("One person's (agent's) mean answer", _persons(*numbers)))
    if items is not None:
        people = correlations(items.value, items.known, humans.weight)[items.compared]
        theirs = crowd_correlations(items, answers)[items.compared]
        low, high = min(people.min(), theirs.min(), 0), max(people.max(), theirs.max(), 0)
        with mpl.rc_context(STYLE):
            figure = Figure(figsize=(3.6, 3.2), layout="constrained")
            axes = figure.subplots()
            _dots(axes, people, theirs, (low, high))
            axes.set_xlabel("people held out")
            axes.set_ylabel("crowd")
            axes.set_aspect("equal", "datalim")
            title = "Correlation of two questions"
            pictures.append((title, svg(figure, "Do an agent's answers hang together?")))
    return pictures


def _persons(humans: Humans, answers: np.ndarray) -> str:
    human_means = personal(humans, (humans.person, humans.task, humans.value))[2]
    rounds = in_peoples_places(humans, answers)
    crowd = np.concatenate([personal(humans, answered)[2] for answered in rounds])
    edges = np.linspace(
        min(human_means.min(), crowd.min()), max(human_means.max(), crowd.max()) + 1e-9, 21
    )
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.6, 3.2), layout="constrained")
        axes: Any = figure.subplots()
        for values, counts, colour in (
            (human_means, humans.weight, HUMAN),
            (crowd, np.tile(humans.weight, len(rounds)), CROWD),
        ):
            weights = counts / counts.sum()
            axes.hist(values, edges, weights=weights, histtype="step", lw=1.8, color=colour)
        axes.set_xlabel("mean answer" + ("" if len(humans.support) == 1 else ", share of scale"))
        axes.set_ylabel("share of people (agents)")
        axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
        return svg(figure, "Do agents differ from each other as people do?")


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
    """A figure as SVG text, the same for the same figure; in the page's colours, which change with
    its ground."""
    out = io.StringIO()
    # Names inside a picture are made from the salt: two pictures on one page share none.
    with warnings.catch_warnings(), mpl.rc_context({"svg.hashsalt": title}):
        # Names stay text, which the reader's browser draws, so that our font may lack their signs.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        metadata = {"Date": None, "Title": title}
        figure.savefig(out, format="svg", metadata=metadata, transparent=True, dpi=160)
    text = out.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.S)
    # Nothing refers to what is called figure_1, axes_1, ...
    text = re.sub(r' id="[a-zA-Z0-9]+_[0-9_]+"', "", text)
    for colour, name in THEMED.items():
        text = text.replace(colour, f"var(--{name}, {colour})")
    text = re.sub(r'<text style="', '<text style="fill: var(--ink, #1a1a1a); ', text)
    # As wide as drawn, or as the page where that is narrower.
    size = f'style="width: 100%; max-width: {figure.get_figwidth():g}in" role="img"'
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', size, text, count=1)
