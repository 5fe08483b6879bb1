"""Columns in which people tick options, and those that only look like them."""

import numpy as np
import pandas as pd
import pytest

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.draft.make import study

N = 40


def made(**columns):
    table = {"id": [f"p{i}" for i in range(N)], "good": 1 + np.arange(N) % 5}
    return study(pd.DataFrame({**table, **columns}))


def cycle(*values: object) -> list[object]:
    return [values[i % len(values)] for i in range(N)]


@pytest.mark.parametrize(
    "columns",
    [
        {"Q17": cycle("yes", None), "Q23": cycle("I agree", None, None)},
        {"vote_2016": cycle("Trump", None), "vote_2020": cycle("Biden", None, None)},
        {"Q7_3": cycle("5", None), "Q7_4": cycle("5", None, None)},
        {"Q7_1": cycle("no", "yes"), "Q7_2": cycle("yes", None), "Q7_3": cycle(None, None, "yes")},
        {"q_1": cycle("2024-01-01", None), "q_2": cycle("2024-01-02", None, None)},
        {"Device 1": cycle("phone", None), "Device 2": cycle("phone", None, None)},
    ],
)
def test_columns_that_hold_one_text_are_not_yet_options(columns):
    # What holds one answer is left out; Q7_1 holds two.
    kept = {"good", *(["Q7_1"] if "Q7_1" in columns else [])}
    assert set(made(**columns).tasks.ids) == kept


@pytest.mark.parametrize(
    "columns",
    [
        {"q_1": cycle("1", None), "q_2": cycle("1", None, None)},
        {"q_1": cycle("1", None), "q_2": cycle("2", None, None)},
        {"q_1": cycle("Car", None), "q_2": cycle("Bike", None, None), "q_3_text": cycle("a", "b")},
    ],
)
def test_options(columns):
    study = made(**columns)
    assert {"q_1", "q_2"} <= set(study.tasks.ids)
    assert study.scale_of(study.tasks.ids.index("q_2")).levels == (0, 1)


def test_options_before_their_question():
    study = made(
        **{
            "Car: Which do you own?": cycle("Car", None),
            "Bike: Which do you own?": cycle("Bike", *[None] * 2),
        }
    )
    assert study.scale_of(study.tasks.ids.index("Car: Which do you own?")).levels == (0, 1)


def test_ticked_profile_is_profile_and_consent_is_nothing():
    study = made(
        race_1=cycle("1", None),
        race_2=cycle("1", None, None),
        income_source_1=cycle("Salary", None),
        income_source_2=cycle("Pension", None, None),
        consent_1=cycle("1", None),
        consent_2=cycle("1", None, None),
    )
    assert study.tasks.ids == ("good",)
    profile = ["race_1", "race_2", "income_source_1", "income_source_2"]
    assert [attribute.name for attribute in study.participants.profile] == profile


def test_names_of_options_apart_by_blanks_are_several_answers_in_what_odk_exports():
    held = ["maize", "maize beans", "maize beans rice", "beans rice", "maize rice"]
    frame = pd.DataFrame({"crops": [held[i % 5] for i in range(60)]})
    frame["hue"] = ["pale green", "green"] * 30
    made = study(frame.assign(_uuid=[f"uuid:{i}" for i in range(60)]))
    assert made.tasks.ids == ("crops [beans]", "crops [maize]", "crops [rice]", "hue")
    with pytest.raises(CrowdError, match="'crops': in which order"):
        study(frame)
