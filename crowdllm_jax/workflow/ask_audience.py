"""Who is asked a new question, and what those agents would say."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.persistent.forecast import Outlook, Panel
from crowdllm_jax.population.panel import panel_of
from crowdllm_jax.population.sample import sample
from crowdllm_jax.profiles.generator import ProfileGenerator
from crowdllm_jax.study import scales

PANEL = 2048
"""Agents whose beliefs the shares are worked out of, in each group."""
LOOKED_AT = 8 * PANEL
"""Agents among whom those are sought who are asked a question that not everybody is."""


@dataclass(frozen=True)
class Audience:
    """The agents who are asked a question.

    Attributes:
      outlook: what they would say; None where nobody is asked.
      share: of all agents who are asked.
    """

    outlook: Outlook | None
    share: float = 1.0


def everybody(crowd: Crowd, whom: ProfileGenerator, panel: int = PANEL) -> Audience:
    """All agents who are recruited so, by so many of them."""
    return Audience(Outlook(crowd, panel_of(replace(crowd, generator=whom), panel, 0)))


def audiences(
    placed: Crowd, crowd: Crowd, whom: ProfileGenerator, tasks: Sequence[int] | None = None
) -> list[Audience]:
    """Of each question, the agents who are asked it.

    Args:
      placed: the run's crowd with the questions behind its tasks. crowd: that of the questions.
      tasks: which of these are looked at; None takes all.
    """
    all_of_them = everybody(placed, whom)
    found = [all_of_them] * len(crowd.task_ids)
    looked_at = range(len(crowd.task_ids)) if tasks is None else tasks
    routed = [task for task in looked_at if crowd.task_ids[task] in crowd.ask_if]
    if not routed:
        return found
    asked = asked_of(crowd, whom)
    panel = panel_of(replace(placed, generator=whom), LOOKED_AT, 0)
    for task in routed:
        found[task] = _some(placed, panel, asked[:, task])
    return found


def asked_of(crowd: Crowd, whom: ProfileGenerator) -> np.ndarray:
    """(N, T) bool, which of the first agents are asked which question."""
    answers = sample(replace(crowd, generator=whom), LOOKED_AT, 0).answers
    valued = scales.which(scales.is_continuous, crowd.task_scales)
    return np.where(valued, ~np.isnan(answers), answers >= 0)


def _some(placed: Crowd, panel: Panel, asked: np.ndarray) -> Audience:
    """Those of a panel who are asked, as many as stand for everybody: where there are fewer, some
    stand for several, so that one compiled program serves all."""
    who = np.flatnonzero(asked)
    if not len(who):
        return Audience(None, 0.0)
    rows = np.resize(who, PANEL) if len(who) < PANEL else who[:PANEL]
    return Audience(Outlook(placed, Panel(*(part[rows] for part in panel))), float(asked.mean()))
