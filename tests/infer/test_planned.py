"""Answers that plans gathered: estimates from them are unbiased, and their intervals hold."""

import numpy as np
import pytest

from crowdllm_jax.infer.allocation import chances, draw, shares_of
from crowdllm_jax.infer.estimate import EstimationRows, estimate
from crowdllm_jax.infer.planned import PlannedAnswers, planned_weights
from crowdllm_jax.infer.prospects import Told, questions_of


def simulated(random, people=300):
    """People of whom some are foretold well, and others badly and too low."""
    mean = random.uniform(0.2, 0.8, people)
    variance = random.choice([0.0025, 0.09], people)
    answer = mean + np.sqrt(variance) * (1 + random.normal(size=people))
    return mean, variance, answer


def planned_study(random, *, weighted=True):
    """An estimate after 40 random and two batches of 40 planned answers."""
    mean, variance, answer = simulated(random)
    n, everybody = len(mean), np.ones(len(mean), bool)
    gave = np.zeros(n, bool)
    gave[random.permutation(n)[:40]] = True
    plans = []
    for _ in range(2):
        told = Told(0, 1.0, np.where(gave, answer, np.nan), mean, variance, gave, ~gave)
        (one,) = questions_of([told], np.ones(n))
        each = chances(one.share, 40)
        drawn = draw(each, random)
        batch = PlannedAnswers(one.open[drawn], np.zeros(40, int), each[drawn])
        plans.append(batch)
        gave = gave.copy()
        gave[batch.person] = True
    weight = planned_weights(plans, 0, gave, everybody, np.ones(n)) if weighted else gave * 1.0

    def rows(who, weight):
        who = np.flatnonzero(who)
        return EstimationRows(
            who, np.zeros(len(who), int), weight[who], np.ones((len(who), 1)), mean[who]
        )

    ours, theirs = rows(gave, weight), rows(everybody, np.ones(n))
    return estimate(ours, answer[gave], theirs, level=0.9)


def test_estimates_from_planned_answers_are_unbiased_and_cover():
    """1,000 studies: 3.5 standard deviations of the mean, and of a share of 90%; a ratio of
    weighted sums of 120 may be a hundredth of its deviation off. Without weights the people
    foretold badly are too many."""
    truth = 0.5 + (0.05 + 0.3) / 2
    random = np.random.default_rng(0)
    found = [planned_study(random) for _ in range(1000)]
    off = np.array([one.value[0] - truth for one in found])
    assert abs(off.mean()) < (3.5 / np.sqrt(1000) + 0.01) * off.std()
    covers = np.mean([one.low[0] <= truth <= one.high[0] for one in found])
    assert abs(covers - 0.9) < 3.5 * np.sqrt(0.09 / 1000) + 0.01
    plain = np.array([planned_study(random, weighted=False).value[0] - truth for _ in range(100)])
    assert plain.mean() > 10 * plain.std() / np.sqrt(100)


def test_weights_by_hand():
    """Two of six people at random; then, of the four others, one of chance 1/4 and one of 3/4, of
    whom a third did not answer. They stand for four, and each half of the answers counts half."""
    answered = np.array([1, 1, 1, 1, 0, 0], bool)
    plan = PlannedAnswers(np.array([2, 3, 4]), np.zeros(3, int), np.array([0.25, 0.75, 0.5]))
    found = planned_weights((plan,), 0, answered, np.ones(6, bool), np.ones(6))
    batch = 4 * np.array([4, 4 / 3]) / (4 + 4 / 3)
    np.testing.assert_allclose(found[:2], 0.5 * 3 + 0.5 * 1)
    np.testing.assert_allclose(found[2:4], 0.5 * batch)
    assert found.sum() == pytest.approx(6)
    # Of another task, the plan says nothing.
    np.testing.assert_allclose(
        planned_weights((plan,), 1, answered, np.ones(6, bool), np.ones(6)), 1.5 * answered
    )


def test_an_answer_counts_for_the_last_plan_that_names_it():
    """Person 2 did not answer the first plan and is drawn again by the second: as if only this had
    named them. Weights add up to everybody."""
    answered = np.array([1, 1, 1, 1] + [0] * 6, bool)

    def plan(person, chance):
        return PlannedAnswers(np.array(person), np.zeros(len(person), int), np.array(chance))

    def weights(*plans):
        return planned_weights(plans, 0, answered, np.ones(10, bool), np.ones(10))

    second = plan([2, 3], [0.2, 0.5])
    found = weights(plan([1, 2], [0.5, 0.5]), second)
    assert found.sum() == pytest.approx(10)
    np.testing.assert_allclose(found, weights(plan([1], [0.5]), second))


def waves(random, people=300):
    """The error of an estimate after six batches, each asked of whoever has not answered, among
    them those who were drawn before; three in ten answer. Those hard to foretell answer higher."""
    hard = random.random(people) < 0.5
    answer = hard + random.normal(size=people)
    gave, plans = random.random(people) < 0.15, []
    for _ in range(6):
        open_to = np.flatnonzero(~gave)
        each = chances(shares_of(np.where(hard, 5.0, 1.0)[open_to]), 60)
        drawn = draw(each, random)
        plans.append(PlannedAnswers(open_to[drawn], np.zeros(len(drawn), int), each[drawn]))
        gave[open_to[drawn][random.random(len(drawn)) < 0.3]] = True
    weight = planned_weights(plans, 0, gave, np.ones(people, bool), np.ones(people))
    return np.average(answer, weights=weight) - answer.mean()


def test_who_does_not_answer_may_be_drawn_again():
    """400 studies: 3.5 standard errors, and 0.15 deviations (0.12 in 4,000 studies) since weighted
    sums of few answers are divided by each other; counted in every plan they were off by 0.6."""
    off = np.array([waves(random) for random in map(np.random.default_rng, range(400))])
    assert abs(off.mean()) < (3.5 / np.sqrt(400) + 0.15) * off.std()
