"""What describes people: numbers that were typed, and codes of no answer among them."""

import re

import numpy as np
import pandas as pd
import pytest

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.draft import profile_names
from crowdllm_jax.study.draft.draft import Choices
from crowdllm_jax.study.draft.make import draft_of_sheet, study
from crowdllm_jax.study.formats.frame import read_frame

N = 60
AGES = [str(18 + i % 45) for i in range(N)]


def attribute(name: str, cells: list[object], **said: object):
    """The attribute that a column makes, and what is told of the table."""
    frame = pd.DataFrame({"id": range(N), name: cells, "good": [1 + i % 5 for i in range(N)]})
    told = draft_of_sheet(read_frame(frame), Choices()).reasons
    return study(frame, **said).participants.profile[0], "\n".join(told)


def test_a_text_among_ages_is_missing_and_told():
    cells = ["thirty", "inf", "89 or older", *AGES[3:]]
    age, told = attribute("age", cells)
    assert age.kind == "numeric"
    assert np.isnan(age.cells[:2]).all()
    assert age.cells[2:].tolist() == [89.0, *map(float, AGES[3:])]
    assert "Taken for no answer in the profile: inf in age, thirty in age." in told


@pytest.mark.parametrize(
    ("name", "own", "code"),
    [("education", [1, 2, 3, 4], 99), ("income", [1, 2, 3], -9), ("educyears", [*range(21)], 99)],
)
def test_codes_far_from_the_numbers_of_an_attribute_are_missing(name, own, code):
    cells = [own[i % len(own)] if i % 10 else code for i in range(N)]
    found, _ = attribute(name, cells, profile=[name])
    assert str(code) not in map(str, found.levels)
    if found.kind == "numeric":
        assert np.nanmax(found.cells) == max(own)
    kept, _ = attribute(name, cells, profile=[name], missing=["none"])
    assert str(code) in found_texts(kept)


def found_texts(attribute) -> set[str]:
    return {*attribute.levels} or {f"{cell:g}" for cell in attribute.cells}


def test_what_the_user_says_is_missing_is_so_in_profiles_too():
    age, _ = attribute("age", ["7777", *AGES[1:]], missing=["7777"])
    assert np.isnan(age.cells[0])
    assert np.nanmax(age.cells) == 62
    school, _ = attribute("education", ["low", "mid", "high", "other"] * 15, missing=["other"])
    assert school.levels == ("low", "mid", "high", "(missing)")


def test_an_age_that_nobody_has_is_told():
    age, told = attribute("age", ["5555", *AGES[1:]])
    assert age.cells.max() == 5555
    assert "Nobody is as old as age says (5555)" in told
    assert "--missing 5555" in told


def test_genders_have_no_order_whatever_their_codes():
    gender, _ = attribute("gender", [1, 2, 9] * 20)
    assert gender.kind == "categorical"


@pytest.mark.parametrize("odd", ["-1", "inf", "1,2"])
def test_a_cell_that_is_no_weight_does_not_make_all_weights_go(odd):
    cells = [f"{0.5 + i / N:.2f}" for i in range(N)]
    cells[3] = odd
    frame = pd.DataFrame({"id": range(N), "weight": cells, "good": [1 + i % 5 for i in range(N)]})
    with pytest.raises(CrowdError, match=re.escape(f"{odd} in row 5 is no weight")):
        study(frame)
    assert np.ptp(study(frame, weight="none").participants.weight) == 0


@pytest.mark.parametrize("slip", ["77", None])
def test_a_slip_that_takes_an_attribute_from_everybody_is_told(slip):
    rows = [(f"p{i}", f"t{j}", 1 + (i + j) % 5, str(20 + i)) for i in range(20) for j in range(6)]
    table = pd.DataFrame(rows, columns=["user", "item", "rating", "age"])
    table.loc[3, "age"] = slip
    told = "\n".join(draft_of_sheet(read_frame(table), Choices()).reasons)
    said = f"those of p0 (20, {slip or 'nothing'})"
    assert f"Left out: age, since rows of 1 of 20 people differ in it, such as {said}" in told


def test_who_is_female_is_said_of_people_but_not_how_female_something_is():
    own, told = attribute("female", [0, 1] * 30)
    assert own.name == "female"
    assert "Profile: female." in told
    rated = pd.DataFrame({"id": range(N), "female": [1, 2, 3] * 20, "good": [1, 2, 3, 4, 5] * 12})
    assert "female" in study(rated).tasks.ids


def test_what_is_said_of_answers_that_stand_nowhere_is_told():
    words = ["low", "mid", "high", "none of it"] * 15
    frame = pd.DataFrame({"id": range(N), "q": words, "good": [1 + i % 5 for i in range(N)]})
    said = Choices(orders=(("lo", "middle", "hi"),), missing=("none of it", "77"))
    told = draft_of_sheet(read_frame(frame), said).reasons
    assert "--missing 77: stands in no cell." in told
    assert "--order lo,middle,hi: no column holds two of these answers." in told
    heeded = Choices(orders=(("low", "mid", "high"),), missing=("none of it", "none"))
    assert not any(r.startswith("--") for r in draft_of_sheet(read_frame(frame), heeded).reasons)


@pytest.mark.parametrize(
    "name",
    [
        *("job_stress", "country_pride", "race_relations", "income_inequality", "Gender pay gap"),
        *("education_spending", "age_discrimination", "offensive_language", "Children first"),
        *("economic.cond.national", "LanguageSkills", "religion_important"),
    ],
)
def test_what_somebody_thinks_about_is_no_profile(name):
    assert not profile_names.is_profile(name, "")


@pytest.mark.parametrize(
    "name",
    [
        *("employment_status", "marital.status", "hh_income", "Income bracket", "EduLevel"),
        *(
            "annotator_gender",
            "rater_race",
            "mother_education",
            "age_years",
            "q1_age",
            "D2. Gender",
        ),
        *("native_language", "country_of_birth", "race_eth", "Age Cat", "D2. Gender"),
        *("Tranche d'âge", "Nivel de educación", "Fascia d'età", "Household income (before taxes)"),
    ],
)
def test_whose_it_is_and_how_it_is_coded_may_stand_beside(name):
    assert profile_names.is_profile(name, "")


@pytest.mark.parametrize("ids", [range(30), range(1000, 4000, 100)])
def test_numbers_that_come_back_equally_often_are_asked_for(ids):
    rows = [(one, (place * wave) % 3) for place, one in enumerate(ids) for wave in range(4)]
    frame = pd.DataFrame(rows, columns=["respond", "mood"]).assign(good=[1, 2, 2, 5, 4, 4] * 20)
    with pytest.raises(CrowdError, match="each of its 30 numbers stands in 4 rows, as no"):
        study(frame)
    assert {*study(frame, leave_out=["respond"]).tasks.ids} == {"mood", "good"}
    assert "respond" in study(frame, questions=["respond", "good"]).tasks.ids
    study(frame[1:])  # a number that somebody lacks may be an answer


def test_ids_of_sessions_are_no_profile_of_those_who_choose():
    rows = [
        {"UserID": user, "SessionID": f"s{user}", "task": task, "alt": alt, "price": alt + task}
        for user in range(12)
        for task in range(6)
        for alt in (1, 2)
    ]
    frame = pd.DataFrame(rows)
    who = frame.UserID + frame.task
    frame["choice"] = [int(w % 2 == alt - 1) for w, alt in zip(who, frame.alt, strict=True)]
    assert study(frame).participants.profile == ()


def test_no_beside_yes_numbers_nobody():
    frame = pd.DataFrame({"email": [f"a{i}@b.org" for i in range(40)], "Yes": [*range(20)] * 2})
    made = study(frame.assign(No=[7 * i % 41 for i in range(40)]))
    assert {*made.tasks.ids} == {"Yes", "No"}
