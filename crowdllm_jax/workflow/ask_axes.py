"""A picture of what agents answer to a new question."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import PercentFormatter

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.report.axes import own_axes
from crowdllm_jax.runtime.given import told
from crowdllm_jax.workflow.asking import Answered

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NOT_GROUPS = ("task_id", "asked", "answer", "share", "low", "high", "people")


def plot_asked(
    answered: Answered, question: str | None = None, *, ax: "Axes | None" = None
) -> "Axes":
    """Draw the shares that `ask` returned, with their 90% intervals.

    Args:
      question: which of several (its task_id); None: the first.
      ax: where to draw; None makes a figure.
    Returns:
      The axes: a dot per answer, and per group where there are groups.
    Raises:
      CrowdError: no such question was asked, or its answers are numbers without shares.

    Examples:
      >>> cl.plot_asked(answered).get_xlabel()
      'share of agents (90% interval)'
    """
    if not isinstance(answered, Answered):
        raise CrowdError(f"plot_asked: {told(answered)} is nothing that cl.ask returned")
    if not len(answered.table):
        raise CrowdError("plot_asked: no agent was asked any of these questions")
    table = answered.table.to_pandas()
    question = question or str(table.task_id.iloc[0])
    rows = table[(table.task_id == question) & (table.answer != "(mean)")]
    if rows.empty:
        asked = ", ".join(dict.fromkeys(table.task_id))
        raise CrowdError(f"plot_asked: no shares of '{question}'; asked was: {asked}")
    by = next((name for name in rows.columns if name not in NOT_GROUPS), None)
    groups = [(None, rows)] if by is None else list(rows.groupby(by, sort=False))
    answers = list(dict.fromkeys(rows.answer))
    axes = own_axes(ax, height=0.9 + 0.3 * len(answers) * max(1, 0.6 * len(groups)))
    for number, (name, own) in enumerate(groups):
        shift = 0.5 * ((number + 0.5) / len(groups) - 0.5)
        place = np.array([answers.index(answer) for answer in own.answer]) + shift
        error = [own.share - own.low, own.high - own.share]
        axes.errorbar(own.share, place, xerr=error, fmt="o", capsize=2, label=name)
    axes.set_yticks(np.arange(len(answers)), answers)
    axes.invert_yaxis()
    axes.set(xlabel="share of agents (90% interval)", title=question, xlim=(0, None))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    if by is not None:
        axes.legend(title=by, frameon=False, fontsize="small")
    return axes
