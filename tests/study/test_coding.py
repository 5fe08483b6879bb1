"""Attributes as columns."""

import dataclasses

import numpy as np
import pytest
from synthetic import make_study

from crowdllm_jax.errors import CrowdWarning
from crowdllm_jax.study.coding import encode, fit_coding, recode, task_features
from crowdllm_jax.study.records import Attribute, Tasks


def test_numbers_are_standardised_on_the_rows_they_were_fitted_on():
    age = Attribute("age", "numeric", (), np.array([10.0, 20.0, np.nan, 99.0]))
    coding = fit_coding(age, np.array([0, 1, 2]))
    assert coding.columns == ("age", "age missing")
    c = encode((coding,), (age,))
    np.testing.assert_allclose(c, [[-1, 0], [1, 0], [0, 1], [16.8, 0]])
    assert c.dtype == np.float32


def test_a_constant_or_unknown_number_is_zero():
    for cells in ([5.0, 5.0], [np.nan, 5.0]):
        age = Attribute("age", "numeric", (), np.array(cells))
        coding = fit_coding(age, np.array([0]))
        assert np.isfinite(encode((coding,), (age,))).all()


def test_numbers_in_another_unit_are_told():
    age = Attribute("age", "numeric", (), np.array([20.0, 30.0, 40.0, np.nan]))
    coding = fit_coding(age, np.arange(4))
    recode((coding,), (dataclasses.replace(age, cells=np.array([99.0, np.nan])),))
    months = dataclasses.replace(age, cells=np.array([30.0, 360.0, np.nan]))
    with pytest.warns(CrowdWarning, match=r"'age': 1 of 3 people .*360; these are around 30"):
        recode((coding,), (months,))


def test_levels_are_one_hot():
    city = Attribute("city", "categorical", ("A", "B", "C"), np.array([2, 0], np.int32))
    coding = fit_coding(city, np.array([1]))
    assert coding.columns == ("city=A", "city=B", "city=C")
    assert encode((coding,), (city,)).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_task_features_lie_in_minus_one_to_one():
    study = make_study(embedding=3)
    x = task_features(study.tasks, identity=False)
    assert x.shape == (4, 3)
    np.testing.assert_allclose(np.abs(x).max(0), 1)
    both = task_features(study.tasks, identity=True)
    np.testing.assert_array_equal(both[:, 3:], np.eye(4))


def test_task_attributes_are_features():
    cost = Attribute("cost", "numeric", (), np.array([1.0, 3.0, np.nan]))
    tasks = Tasks(("a", "b", "c"), ("a", "b", "c"), np.zeros(3, np.int32), (cost,), None)
    np.testing.assert_allclose(task_features(tasks, identity=False), [[-1, 0], [1, 0], [0, 1]])


@pytest.mark.parametrize("identity", [True, False])
def test_tasks_without_features(identity):
    x = task_features(make_study().tasks, identity=identity)
    assert x.shape == ((4, 4) if identity else (4, 1))
    assert np.isfinite(x).all()
