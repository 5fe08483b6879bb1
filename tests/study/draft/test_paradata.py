"""What stands beside answers and nobody was asked: row numbers, times, forms, clusters, checks."""

import numpy as np
import pandas as pd
import pytest

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.draft import own_names
from crowdllm_jax.study.draft.make import study
from crowdllm_jax.study.formats.sheet import Field, column_of

N = 60


def cycle(*values: object, step: int = 1) -> list[object]:
    return [values[(i * step) % len(values)] for i in range(N)]


def table(**columns) -> pd.DataFrame:
    good = {"id": [f"p{i}" for i in range(N)], "good": cycle(1, 2, 3, 4, 5)}
    return pd.DataFrame({**good, **columns})


def questions(frame: pd.DataFrame, **said) -> set[str]:
    return {*study(frame, **said).tasks.ids}


@pytest.mark.parametrize("name", ["X", "rownames", "lauf", "column 1"])
def test_what_counts_up_numbers_rows(name):
    frame = pd.DataFrame({name: range(1, 13), "good": cycle(1, 2, 3)[:12]})
    assert questions(frame) == {"good"}
    assert questions(frame, questions=[name, "good"]) == {name, "good"}
    frame[name] = frame[name].sample(frac=1, random_state=0).to_numpy()
    assert (name in questions(frame)) == (name != "rownames")  # somebody may have said so


def test_times_are_called_after_what_they_are_of():
    seconds = [round(1.5 + i % 7 / 3, 2) for i in range(N)]
    noted = {"q1": cycle(1, 2, 3), "q1_time": seconds, "q1_clicks": cycle(1, 2, 3, 4)}
    noted |= {"Q3_First Click": seconds, "Q3_Page Submit": seconds, "Q3_Click Count": cycle(0, 1)}
    noted |= {"commute": cycle("car", "bus", "bike"), "commute_time": cycle(5, 10, 15, 20)}
    assert questions(table(**noted)) == {"good", "q1", "commute", "commute_time"}


def test_how_far_a_form_is_filled_in_is_no_answer():
    forms = {"mood": cycle(0, 1, 2), "mood_complete": cycle(0, 2), "Complete?": ["Complete"] * N}
    forms["Complete?"][0] = "Unverified"
    frame = table(**forms).rename(columns={"id": "record_id"})
    assert questions(frame) == {"good", "mood"}
    assert "task_complete" in questions(table(task_complete=cycle(0, 1)))


def test_clusters_and_other_ids_are_no_answers():
    many = [100 + i % 23 for i in range(N)]
    ids = {"SCH_ID": many, "prof_id": many, "psu": cycle(1, 2, 3), "strata": cycle(1, 2)}
    assert questions(table(**ids)) == {"good"}
    scales = {"national_id": cycle(1, 2, 3, 4, 5, 6, 7), "photo_id": cycle("no", "yes")}
    assert questions(table(**scales)) == {"good", *scales}


@pytest.mark.parametrize(
    "name", ["perweight", "PWGTP", "rakedweight", "svyweight", "wtper", "hhwt"]
)
def test_weights_of_many_surveys_are_known(name):
    weights = [0.5 + i / N for i in range(N)]
    made = study(table(**{name: weights}))
    assert made.tasks.ids == ("good",)
    assert np.ptp(made.participants.weight) > 0


def test_a_weight_that_may_be_how_heavy_people_are_is_asked_for():
    kilos = [60.5 + i for i in range(N)]
    with pytest.raises(CrowdError, match="is 'goal_weight' a survey weight"):
        study(table(goal_weight=kilos))
    assert np.ptp(study(table(survey_weight=kilos)).participants.weight) > 0


@pytest.mark.parametrize(
    "name",
    ["imc", "bot_check", "catch_trial_2", "Please select 'Agree' to show that you read this"],
)
def test_checks_are_no_answers(name):
    assert questions(table(**{name: cycle(1, 2)})) == {"good"}


@pytest.mark.parametrize(
    "name", ["attention_1", "Attention to news", "I check facts for this item"]
)
def test_attention_may_be_asked_about(name):
    assert questions(table(**{name: cycle(1, 2, 3)})) == {"good", name}


def test_what_was_asked_says_that_it_is_a_check(tmp_path):
    from crowdllm_jax.study.draft.draft import Choices
    from crowdllm_jax.study.draft.make import draft_of_sheet
    from crowdllm_jax.study.formats.sheet import Sheet

    def field(name: str, text: str) -> Field:
        cells = column_of(tmp_path, name, [str(1 + i % 3) for i in range(N)])
        return Field(name, cells, text)

    asked = (
        field("Q1_1", "How true is it? - I like it"),
        field("Q1_2", "How true is it? - Please select 2 for this item"),
    )
    draft = draft_of_sheet(Sheet(tmp_path, "a table", N, asked), Choices())
    assert [task.id for task in draft.tasks] == ["Q1_1"]


def test_what_spss_filters_by_is_no_answer():
    assert questions(table(**{"filter_$": cycle(0, 1)})) == {"good"}


@pytest.mark.parametrize(
    "silent", ["Don't know / refuse to answer", "Ref", "Nevím", "Важко сказати"]
)
def test_more_ways_to_say_nothing(silent):
    made = study(table(warm=cycle("yes", "no", silent)))
    assert made.scale_of(1).levels == ("no", "yes")


def test_a_key_above_the_answers_is_nobody():
    frame = pd.DataFrame({"Name": ["KEY", *(f"S{i}" for i in range(N))]})
    for item in ("Item1", "Item2", "Item3"):
        frame[item] = ["B", *cycle("A", "B", "C", "D", step=3 if item == "Item2" else 1)]
    assert len(study(frame).participants.ids) == N


def test_when_somebody_answered_is_no_answer_but_initials_may_be():
    assert own_names.is_own("ts")
    assert own_names.is_own("unixReviewTime")
    assert not own_names.is_own("TS")
