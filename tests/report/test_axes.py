"""Pictures for notebooks show what people and agents answered."""

from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from statsmodels.stats.proportion import proportion_confint
from synthetic import EVERY_SCALE, make_study

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.population.agents import Agents
from crowdllm_jax.report.axes import plot_means, plot_shares
from crowdllm_jax.study import scales

STUDY = make_study(EVERY_SCALE)


@pytest.fixture(autouse=True)
def no_window():
    with mpl.rc_context({"backend": "agg"}):
        yield
        plt.close("all")


def agents_of(study, n=50):
    """Agents who answer at random."""
    random = np.random.default_rng(0)
    own = [study.scale_of(task) for task in range(len(study.tasks.ids))]
    answers = np.stack([random.integers(0, max(scales.size(s), 2), n) for s in own], axis=1)
    tasks = tuple(zip(study.tasks.ids, own, strict=True))
    return Agents(np.arange(n), (), answers, tasks)


def test_bars_are_agents_and_dots_are_people_with_intervals():
    agents = agents_of(STUDY)
    task = next(t for t in range(len(STUDY.tasks.ids)) if 2 < scales.size(STUDY.scale_of(t)) < 10)
    answers = STUDY.answer[STUDY.task == task].astype(int)
    k = scales.size(STUDY.scale_of(task))
    axes = plot_shares(STUDY, agents, STUDY.tasks.ids[task])
    bars = [bar.get_width() for bar in axes.patches]
    np.testing.assert_allclose(bars, np.bincount(agents.answers[:, task], minlength=k) / 50)
    dots = axes.lines[0].get_xdata()
    count = np.bincount(answers, minlength=k)
    np.testing.assert_allclose(dots, count / len(answers))
    ends = np.array([path.vertices[:, 0] for path in axes.collections[0].get_paths()]).T
    np.testing.assert_allclose(ends, proportion_confint(count, len(answers), method="wilson"))


def test_dots_are_means_on_the_range_of_the_scale():
    agents = agents_of(STUDY)
    axes = plot_means(STUDY, agents)
    dots = axes.collections[0].get_offsets()
    ordered = [t for t in range(len(STUDY.tasks.ids)) if scales.is_ordered(STUDY.scale_of(t))]
    wanted = []
    for task in ordered:
        low, *_, high = scales.values(STUDY.scale_of(task))
        own = STUDY.value[STUDY.task == task], agents.numbers[:, task]
        wanted.append([(numbers.mean() - low) / (high - low) for numbers in own])
    np.testing.assert_allclose(dots, wanted)


def test_axes_of_the_callers_are_drawn_on():
    _, own = plt.subplots()
    agents = agents_of(STUDY)
    assert plot_shares(STUDY, agents, STUDY.tasks.ids[0], ax=own) is own
    assert plot_means(STUDY, agents, ax=own) is own
    assert len(plt.get_fignums()) == 1


def test_what_cannot_be_drawn_is_said():
    agents = agents_of(STUDY)
    with pytest.raises(CrowdError, match=f"no question 'q'; it has: {STUDY.tasks.ids[0]}"):
        plot_shares(STUDY, agents, "q")
    with pytest.raises(CrowdError, match="answer other tasks than the study's"):
        plot_means(STUDY, replace(agents, tasks=agents.tasks[1:]))
    rows = STUDY.task != 0
    own = {name: getattr(STUDY, name)[rows] for name in ("person", "task", "answer")}
    with pytest.raises(CrowdError, match="nobody in this study answered"):
        plot_shares(replace(STUDY, **own), agents, STUDY.tasks.ids[0])
