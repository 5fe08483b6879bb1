"""The two pictures that studies draw, as SVG texts: dots per condition, and lines."""

from collections.abc import Collection, Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from crowdllm_jax.experiments.results import Condition, Results
from crowdllm_jax.report.figures import CROWD, HUMAN, STYLE, svg
from crowdllm_jax.report.headings import MODELS

COLOURS = {
    "humans": HUMAN,
    "people": HUMAN,
    "persistent": CROWD,
    "cvae": "#d55e00",
    "vae_only": "#d55e00",
    "reference": "#009e73",
    "reference_sampled": "#009e73",
    "reference_noise": "#009e73",
    "task_marginal": "#999999",
    "marginal": "#999999",
    "uniform": "#999999",
}
FLOORS = {"task_marginal": "--", "marginal": ":"}
"""Lines of crowds that no model made."""


def _colour(condition: Condition) -> str:
    return COLOURS.get(condition[0].split(",")[0], CROWD)


def _name(condition: Condition) -> str:
    return ", ".join([MODELS.get(condition[0], condition[0]), *filter(None, condition[1:])])


def dots(results: Results, metrics: Mapping[str, str]) -> str:
    """A row per condition and a panel per metric: every seed, their mean, and ± one deviation.

    The dashed line is the humans' value, which is the best that can be expected.
    """
    metrics = {name: text for name, text in metrics.items() if results.varies(name)}
    shown = [c for c in results.conditions if c[0] != "humans"]
    people = next((c for c in results.conditions if c[0] == "humans"), None)
    with mpl.rc_context(STYLE):
        figure = Figure(
            figsize=(2.6 + 2.1 * len(metrics), 0.9 + 0.24 * len(shown)), layout="constrained"
        )
        panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
        for axes, (metric, heading) in zip(panels, metrics.items(), strict=True):
            for y, condition in enumerate(shown):
                summary = results.summary(condition, metric)
                if summary is None:
                    continue
                mean, sd = summary
                seeds = list(results.by_seed(condition, metric).values())
                colour = _colour(condition)
                if not np.isnan(sd):
                    axes.plot([mean - sd, mean + sd], [y, y], color=colour, lw=1.2)
                    axes.plot(seeds, [y] * len(seeds), "o", color=colour, ms=2.5, alpha=0.5, mew=0)
                axes.plot([mean], [y], "o", color=colour, ms=5)
            ceiling = results.summary(people, metric) if people else None
            if ceiling is not None:
                axes.axvline(ceiling[0], color=HUMAN, lw=1, ls="--", zorder=0)
            axes.set_title(heading, fontsize=9, loc="left")
            axes.grid(axis="y", color="#eeeeee", lw=0.8)
            axes.set_axisbelow(True)
            axes.locator_params(axis="x", nbins=4)
        panels[0].set_yticks(range(len(shown)), [_name(c) for c in shown])
        panels[0].set_ylim(len(shown) - 0.4, -0.6)
        if people is not None:
            line = mpl.lines.Line2D([], [], color=HUMAN, lw=1, ls="--")
            figure.legend(
                [line],
                ["held-out humans (of RPS and MAE, the noise ceiling)"],
                loc="outside lower right",
                frameon=False,
            )
        return svg(figure, results.title)


def lines(
    results: Results,
    metrics: Mapping[str, str],
    numbers: Mapping[Condition, float],
    axis: str,
    *,
    log_y: Collection[str] = (),
) -> str:
    """A line per first part of a condition and a panel per metric, against a number on a log axis.

    Args:
      numbers: where each condition stands; one that stands nowhere is a level line.
      log_y: metrics whose panel has a logarithmic axis.
    """
    metrics = {name: text for name, text in metrics.items() if results.varies(name)}
    ticks = sorted(set(numbers.values()))
    if len(ticks) > 6:
        ticks = [tick for tick in ticks if np.log10(tick).is_integer()]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.2 * len(metrics), 3.3), layout="constrained")
        panels = figure.subplots(1, len(metrics), squeeze=False)[0]
        drawn: dict[str, Any] = {}
        for axes, (metric, heading) in zip(panels, metrics.items(), strict=True):
            drawn |= _lines_of(axes, results, metric, numbers)
            axes.set_xscale("log")
            if metric in log_y:
                axes.set_yscale("log")
            elif log_y:
                # Beside a panel of orders of magnitude, these are to be read from zero.
                axes.set_ylim(bottom=0)
            axes.xaxis.set_major_locator(FixedLocator(ticks))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xticklabels([f"{tick:,.0f}" for tick in ticks])
            axes.set_title(heading, fontsize=9, loc="left")
            axes.set_xlabel(axis)
        figure.legend(
            drawn.values(),
            [MODELS.get(group, group) for group in drawn],
            loc="outside upper center",
            ncols=3,
            frameon=False,
        )
        return svg(figure, results.title)


def _lines_of(
    axes: Any, results: Results, metric: str, numbers: Mapping[Condition, float]
) -> dict[str, Any]:
    """Draw a panel's lines; returns what stands for each in the legend."""
    drawn: dict[str, Any] = {}
    groups = list(dict.fromkeys(condition[0] for condition in results.conditions))
    for position, group in enumerate(groups):
        members = [condition for condition in results.conditions if condition[0] == group]
        summaries = [(c, results.summary(c, metric)) for c in members]
        points = [(numbers.get(c), *summary) for c, summary in summaries if summary is not None]
        if not points:
            continue
        colour = COLOURS.get(group, CROWD)
        if points[0][0] is None:
            drawn[group] = axes.axhline(points[0][1], color=colour, lw=1, ls="--", zorder=0)
            continue
        x, y, sd = (np.array(column, float) for column in zip(*points, strict=True))
        # Bars of crowds that stand at one number would hide each other.
        x = x * 1.06 ** (position - len(groups) / 2)
        model = group not in FLOORS
        drawn[group] = axes.errorbar(
            x,
            y,
            None if np.isnan(sd).all() else sd,
            color=colour,
            lw=1.4,
            ms=4,
            elinewidth=0.8,
            ls=FLOORS.get(group, "-"),
            marker="o" if model else None,
        )
    return drawn
