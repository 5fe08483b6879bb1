"""The benchmarks' rivals are what they are called: each is held against a library or its law."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from person_rivals import (
    Answers,
    als,
    bias_forecast,
    biases,
    copula,
    fold_in,
    log_linear,
    surprise_forecast,
    svd_forecast,
)
from persons_agents import looked_at
from sklearn.linear_model import LinearRegression, Ridge
from statsmodels.discrete.conditional_models import ConditionalLogit

RANDOM = np.random.default_rng(0)


def test_factors_of_rows_are_ridge_regressions_on_those_of_columns():
    shape, rank, penalty = (12, 9), 3, 1.5
    kept = RANDOM.random(shape) < 0.6
    row, column = np.nonzero(kept)
    value = RANDOM.normal(size=len(row))
    p, q = als(row, column, value, shape, rank, penalty, rounds=2)
    for one in range(shape[0]):
        own = row == one
        found = Ridge(alpha=penalty, fit_intercept=False).fit(q[column[own]], value[own]).coef_
        np.testing.assert_allclose(p[one], found, atol=1e-9)


def test_without_a_threshold_the_svd_reproduces_what_is_known():
    """And with one beyond the largest singular value it is the biases'."""
    shape = (8, 6)
    kept = RANDOM.random(shape) < 0.7
    known = Answers(*np.nonzero(kept), RANDOM.normal(size=kept.sum()))
    exact = svd_forecast(shape)(known, known, (1.0, 0.0))
    np.testing.assert_allclose(exact, known.value, atol=1e-9)
    nothing = svd_forecast(shape)(known, known, (1.0, 1e3))
    np.testing.assert_allclose(nothing, bias_forecast(shape)(known, known, 1.0), atol=1e-9)


def test_unshrunken_biases_are_those_of_least_squares():
    people, tasks = np.indices((7, 5)).reshape(2, -1)
    value = RANDOM.normal(size=len(people))
    known = Answers(people, tasks, value)
    found = bias_forecast((7, 5))(known, known, 0.0)
    dummies = np.column_stack([np.eye(7)[people], np.eye(5)[tasks]])
    expected = LinearRegression().fit(dummies, value).predict(dummies)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_a_new_person_is_a_ridge_regression_on_the_tasks_factors():
    """Beside a shrunken bias; the last of 30 people is new."""
    shape, setting = (30, 12), (2.0, 3, 1.5)
    everything = Answers(*np.indices(shape).reshape(2, -1), RANDOM.normal(size=360))
    known = everything.some((everything.person == 29) & (everything.task < 8))
    asked = everything.some((everything.person == 29) & (everything.task >= 8))
    trained = everything.some(everything.person < 29)
    found = fold_in(trained, shape, 5, [setting])(known, asked)
    mean, (of_person, of_task) = biases(trained, shape, 2.0)
    rest = trained.value - mean - of_person[trained.person] - of_task[trained.task]
    q = als(trained.person, trained.task, rest, shape, 3, 1.5, 15)[1]
    left = known.value - mean - of_task[known.task]
    bias = left.sum() / (8 + 2.0)
    line = Ridge(alpha=1.5, fit_intercept=False).fit(q[:8], left - bias)
    np.testing.assert_allclose(found, mean + of_task[8:] + bias + line.predict(q[8:]), atol=1e-9)


def test_factorisation_by_descent_finds_factors():
    pytest.importorskip("surprise")
    shape = (40, 30)
    true = RANDOM.normal(size=(40, 2)) @ RANDOM.normal(size=(2, 30))
    person, task = np.indices(shape).reshape(2, -1)
    everything = Answers(person, task, true.ravel())
    spared = RANDOM.random(len(person)) < 0.2
    known, asked = everything.some(~spared), everything.some(spared)
    for name in ("SVD", "SVDpp"):
        found = surprise_forecast(name)(known, asked, (4, 0.02, 60))
        assert np.corrcoef(found, asked.value)[0, 1] > 0.9


def test_how_answers_hang_together_is_numpys_correlation_and_a_ratio_of_variances():
    people, tasks = 60, 5
    value = RANDOM.normal(size=(people, 1)) + RANDOM.normal(size=(people, tasks))
    person, task = np.indices(value.shape).reshape(2, -1)
    answers = Answers(person, task, value.ravel())
    look = looked_at((answers,), tasks)(answers, np.ones(tasks))
    upper = np.triu_indices(tasks, 1)
    np.testing.assert_allclose(look.correlation, np.corrcoef(value.T)[upper], atol=1e-9)
    z = value - value.mean(0)
    covariance = np.cov(z.T, ddof=0)
    expected = covariance[upper].mean() / np.trace(covariance) * tasks
    assert look.icc == pytest.approx(expected)
    assert look.sd == pytest.approx(z.mean(1).std())


def test_a_copula_of_normal_answers_is_a_linear_regression():
    """But for its shrinkage; r of two forecasts of the same."""
    factor = RANDOM.normal(size=(4000, 1))
    answers = factor + RANDOM.normal(size=(4000, 4))
    train = np.arange(4000) < 3000
    given = np.arange(3)
    found = copula(answers, train, given, np.array([3]))[~train, 0]
    line = LinearRegression().fit(answers[train][:, given], answers[train, 3])
    expected = line.predict(answers[~train][:, given])
    assert np.corrcoef(found, expected)[0, 1] > 0.99


def test_the_log_linear_pool_is_a_conditional_logit():
    x = RANDOM.normal(size=(300, 4, 2))
    rate = np.exp(x @ np.array([0.8, -0.5]))
    level = (RANDOM.random((300, 1)) > (rate / rate.sum(1, keepdims=True)).cumsum(1)).sum(1)
    share = np.eye(4)[level]
    everything = np.ones((300, 4), bool)
    found = log_linear(x, share, everything, np.ones(300, bool), penalty=1e-6)
    groups = np.repeat(np.arange(300), 4)
    model = ConditionalLogit(share.ravel().astype(int), x.reshape(-1, 2), groups=groups)
    slope = model.fit(disp=0).params
    logit = x @ slope
    expected = np.exp(logit) / np.exp(logit).sum(1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=2e-3)
