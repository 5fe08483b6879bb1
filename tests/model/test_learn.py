"""A few people's answers to a new task: where it is after them."""

from dataclasses import replace

import numpy as np
import pytest
from known_people import make_known
from scipy.optimize import minimize
from synthetic import make_study

from crowdllm_jax.model.persistent.forecast import Outlook, unsure_of
from crowdllm_jax.model.persistent.learn import LEVELS, learn
from crowdllm_jax.population.panel import panel_of
from crowdllm_jax.study.scales import Continuous, Ordinal

MANY = 1000
"""So many known tasks on a scale that what is known of it is known well."""


def asked(scale, sd: float):
    """A crowd's outlook on a task of its scale, which may be so far from where it is expected."""
    crowd = make_known(make_study({"rating": scale}, tasks=4, people=8), loud=0.2).crowd
    outlook = Outlook(crowd, panel_of(crowd, 1024, 0))
    task = unsure_of(crowd, np.array([0]), [scale])[0]
    return outlook, replace(task, root=sd * np.eye(len(task.middle)))


@pytest.mark.parametrize("mean", [0.03, 0.4, 0.97])
def test_many_answers_on_a_line_are_met_wherever_their_mean_is(mean):
    """Near the ends, too, where agents' answers are clipped and hardly move with their place."""
    outlook, task = asked(Continuous(low=0.0, high=10.0), 1.0)
    told = []
    for people in (1.0, 1e5):
        after = learn(outlook, outlook, task, np.array([mean]), np.array([people]), MANY)
        told.append(outlook.draws(after)[1])
    before = outlook.draws(task)[1].mean() / 10
    few, many = (np.mean(means) / 10 for means in told)
    assert many == pytest.approx(mean, abs=0.01)
    assert np.std(told[1]) < np.std(told[0])
    assert min(before, mean) < few < max(before, mean)


def test_the_mode_is_that_of_another_optimiser():
    """Of what is known before and of the answers, by a search without slopes."""
    scale, count = Ordinal(levels=(1, 2, 3)), np.array([500.0, 50.0, 450.0])
    outlook, task = asked(scale, 0.7)
    after = learn(outlook, outlook, task, np.arange(3), count, MANY)
    sd = np.array([0.7, 0.7, 0.7, 0.7]) * np.sqrt((1 + 1 / MANY) * (MANY + 3) / (MANY + 1))

    def unlikely(theta):
        share = np.asarray(outlook.shares(task, theta[None]), float)[0]
        return ((theta / sd) ** 2).sum() / 2 - count @ np.log(share)

    best = minimize(unlikely, np.zeros(4), method="Powell", options={"maxiter": 200}).x
    share = np.asarray(outlook.shares(task, best[None]), float)[0]
    # Agents stand where places drawn around the mode are on average: .0004 is a hundredth of what
    # 1,000 answers leave open of a share.
    drawn = outlook.draws(after)[0]
    np.testing.assert_allclose(drawn.mean(0), share, atol=2e-3)
    agents = np.asarray(outlook.shares(after, after.middle[None]), float)[0]
    np.testing.assert_allclose(agents, drawn.mean(0), atol=4e-4)
    # Between the errors of a multinomial and none at all, as what was known before has it.
    error = np.sqrt(share * (1 - share) / count.sum())
    assert ((0.6 * error < drawn.std(0)) & (drawn.std(0) < 1.1 * error)).all()


def test_few_known_tasks_say_little_of_another():
    """Answers count for more, the fewer tasks on their scale are known."""
    outlook, task = asked(Ordinal(levels=(1, 2, 3)), LEVELS)
    count = np.array([18.0, 1.0, 1.0])
    told = [
        outlook.draws(learn(outlook, outlook, task, np.arange(3), count, alike))[0][:, 0].mean()
        for alike in (0, 1, 5, MANY)
    ]
    assert 0.9 > told[0] > told[1] > told[2] > told[3]
    assert told[0] > told[3] + 0.1
