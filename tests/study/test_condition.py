"""Conditions on people: read and never run."""

import numpy as np
import pytest
from some_people import AGE, PEOPLE, PROFILE, SCHOOL, TOWN

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.condition import condition_of
from crowdllm_jax.study.ids import MISSING
from crowdllm_jax.study.records import Attribute


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("age >= 60", AGE >= 60),
        ("60 <= age", AGE >= 60),
        ("30 < age < 40", (AGE > 30) & (AGE < 40)),
        ("age > 70 or school == 'low'", (AGE > 70) | (SCHOOL == 0)),
        ("age > 30 and not school in ['low', 'high']", (AGE > 30) & (SCHOOL == 1)),
        ("school >= 'middle'", SCHOOL >= 1),
        ("school not in ('low',)", SCHOOL > 0),
        ("'home town' == 'A'", TOWN == 0),
        ("'home town' != 'A'", TOWN == 1),
        ("age is None", np.isnan(AGE)),
        ("age != None and 'home town' is not None", ~np.isnan(AGE) & (TOWN < 2)),
        ("age in [20, 21]", np.isin(AGE, [20, 21])),
    ],
)
def test_a_condition_means_what_it_says(text, expected):
    """Whoever has no answer fulfils no comparison."""
    np.testing.assert_array_equal(condition_of(text).holds(PROFILE, PEOPLE), expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("age >=", "cannot be read"),
        ("agee >= 60", "no attribute 'agee'.*did you mean 'age'"),
        ("school == 'hihg'", "nobody's school is 'hihg'.*low, middle, high; did you mean 'high'"),
        ("age == 'old'", "'age' is a number"),
        ("'home town' < 'B'", "have no order"),
        ("school == low", "is no value; texts stand in quotes: 'low'"),
        ("age", "is no comparison"),
        ("__import__('os').getcwd() == 'x'", "is no attribute"),
        ("age > max(1, 2)", "is no value"),
        ("age in 3", "write a list"),
        ("(" * 500 + "age > 3" + ")" * 500, "cannot be read"),
    ],
)
def test_what_is_no_condition_is_told(text, message):
    with pytest.raises(CrowdError, match=message):
        condition_of(text).holds(PROFILE, PEOPLE)


def test_missing_answers_may_stand_before_others():
    """In a written population levels stand in the order in which agents have them."""
    gender = Attribute("gender", "categorical", (MISSING, "woman", "man"), np.array([0, 1, 2, 1]))
    school = Attribute("school", "ordinal", (MISSING, "low", "high"), np.array([0, 1, 2, 1]))
    for text, expected in [
        ("gender == 'woman'", [0, 1, 0, 1]),
        ("gender != 'woman'", [0, 0, 1, 0]),
        ("school > 'low'", [0, 0, 1, 0]),
        ("school in ['high']", [0, 0, 1, 0]),
    ]:
        np.testing.assert_array_equal(condition_of(text).holds((gender, school), 4), expected)
