"""Profiles of people of whom some have not said everything."""

import numpy as np

from crowdllm_jax.study.ids import MISSING
from crowdllm_jax.study.records import Attribute

PEOPLE = 400


def make_profile() -> tuple[Attribute, ...]:
    random = np.random.default_rng(0)
    age = random.integers(18, 80, PEOPLE).astype(float)
    age[:40] = np.nan
    return (
        Attribute("age", "numeric", (), age),
        Attribute(
            "home town", "categorical", ("A", "B", MISSING), random.integers(0, 3, PEOPLE, np.int32)
        ),
        Attribute(
            "school", "ordinal", ("low", "middle", "high"), random.integers(0, 3, PEOPLE, np.int32)
        ),
    )


PROFILE = make_profile()
AGE, TOWN, SCHOOL = (attribute.cells for attribute in PROFILE)
