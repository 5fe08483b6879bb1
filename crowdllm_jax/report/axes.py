"""Pictures for a notebook: people's answers beside agents', on matplotlib axes of the caller's."""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import PercentFormatter

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.population.agents import Agents
from crowdllm_jax.report.figures import CROWD, HUMAN, LINE
from crowdllm_jax.report.shares import questions_of
from crowdllm_jax.runtime.given import told
from crowdllm_jax.score.asked import means
from crowdllm_jax.score.held_out import Humans, held_out
from crowdllm_jax.study.records import Study, check_study, only_answers
from crowdllm_jax.study.split import Split

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMED = 12
"""Up to so many dots have their question's id beside them."""


def plot_shares(study: Study, agents: Agents, question: str, *, ax: "Axes | None" = None) -> "Axes":
    """Draw what share of people and of agents gives each answer to a question.

    Args:
      study: the people: all of them, or those a fit has not seen (`held_out_study`).
      agents: of a crowd that was fitted to the study's tasks.
      question: a task's id. ax: where to draw; None makes a figure.
    Returns:
      The axes: a bar per answer for agents, a dot with a 95% interval for people, by survey weight.
    Raises:
      CrowdError: the study has no such question, nobody answered it, or agents answer other tasks.

    Examples:
      >>> cl.plot_shares(held, agents, "vote").get_xlabel()
      'share of answers'
    """
    _check_tasks(study, agents)
    if question not in study.tasks.ids:
        some = ", ".join(study.tasks.ids[:NAMED])
        raise CrowdError(f"plot_shares: the study has no question '{question}'; it has: {some}")
    task = study.tasks.ids.index(question)
    rows = study.task == task
    if not rows.any():
        raise CrowdError(f"plot_shares: nobody in this study answered '{question}'")
    answers = _everybody(only_answers(study, rows))
    shown = questions_of(study, answers, agents.numbers[:, [task]])[0]
    axes = own_axes(ax, height=0.8 + 0.35 * len(shown.labels))
    place = np.arange(len(shown.labels))
    agents_are = f"{len(agents.ids):,} agents"
    axes.barh(place, shown.crowd, height=0.6, color=CROWD, alpha=0.5, label=agents_are)
    error = np.abs([shown.human - shown.low, shown.high - shown.human])
    people = f"{shown.people:,} people (95%)"
    axes.errorbar(shown.human, place, xerr=error, fmt="o", color=HUMAN, capsize=2, label=people)
    axes.set_yticks(place, shown.labels)
    axes.invert_yaxis()
    axes.set(xlabel="share of answers", title=shown.text, xlim=(0, None))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.legend(frameon=False, fontsize="small")
    return axes


def plot_means(study: Study, agents: Agents, *, ax: "Axes | None" = None) -> "Axes":
    """Draw the mean answer of agents against that of people, a dot for each question.

    Args:
      study: the people, as in `plot_shares`. agents: of a crowd fitted to the study's tasks.
      ax: where to draw; None makes a figure.
    Returns:
      The axes. Means are shares of the scale's range from its lowest (0) to its highest answer (1),
      by survey weight; questions without an order are left out.
    Raises:
      CrowdError: agents answer other tasks, or no question that was answered has an order.

    Examples:
      >>> cl.plot_means(study, agents).get_ylabel()
      'mean of agents'
    """
    _check_tasks(study, agents)
    humans = _everybody(study)
    ordered = ~humans.nominal[humans.scale]
    if not ordered.any():
        raise CrowdError("plot_means: no question has answers in an order, so none has a mean")
    weight, t = humans.answer_weight, len(humans.tasks)
    people = np.bincount(humans.task, weight * humans.share, t) / np.bincount(humans.task, weight)
    numbers = means(agents.numbers[:, humans.tasks])
    crowd = humans.as_share(numbers, np.arange(t))
    axes = own_axes(ax, width=4.5, height=4.5)
    axes.axline((0, 0), (1, 1), color=LINE, linewidth=1, zorder=0)
    axes.scatter(people[ordered], crowd[ordered], color=CROWD, s=16)
    if ordered.sum() <= NAMED:
        for task in np.flatnonzero(ordered):
            name = study.tasks.ids[humans.tasks[task]]
            at = people[task], crowd[task]
            axes.annotate(name, at, (4, 4), textcoords="offset points", fontsize="small")
    axes.set(
        xlabel="mean of people", ylabel="mean of agents", xlim=(0, 1), ylim=(0, 1), aspect="equal"
    )
    return axes


def _everybody(study: Study) -> Humans:
    """All of a study's answers, to be compared with."""
    every = np.ones(len(study.task), bool)
    return held_out(study, Split("people", ~every, ~every, every))


def _check_tasks(study: Study, agents: Agents) -> None:
    check_study(study)
    if not isinstance(agents, Agents):
        raise CrowdError(
            f"plot: {told(agents)} holds no agents; draw some with cl.sample(crowd, 1000)"
        )
    own = tuple(study.scale_of(task) for task in range(len(study.tasks.ids)))
    if agents.tasks != tuple(zip(study.tasks.ids, own, strict=True)):
        raise CrowdError(
            "plot: the agents answer other tasks than the study's; draw them with `sample` from a "
            "crowd that was fitted to this study"
        )


def own_axes(ax: "Axes | None", *, width: float = 6.0, height: float) -> Any:
    """The caller's axes, or those of a new figure; raises CrowdError for what is none."""
    if ax is not None:
        if not hasattr(ax, "barh"):  # such as the array that `subplots` returns of several
            raise CrowdError(f"plot: ax: give matplotlib axes, not {told(ax)}")
        return ax
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(width, height), layout="constrained")[1]
