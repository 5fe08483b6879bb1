"""Tasks that two columns tell together, and people who are asked at several times."""

from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.draft.make import study

PEOPLE = [f"p{i}" for i in range(14)]
RANDOM = np.random.default_rng(5)


def answers(*columns: str, cells: list[tuple]) -> pd.DataFrame:
    frame = pd.DataFrame(list(product(PEOPLE, cells)), columns=["participant", "cell"])
    frame[[*columns]] = frame.pop("cell").tolist()
    return frame.assign(liking=RANDOM.integers(1, 8, len(frame)))


def test_two_factors_tell_what_was_shown():
    made = study(answers("emotion", "actor", cells=[*product(("joy", "fear"), "abc")]))
    assert len(made.participants.ids) == len(PEOPLE)
    assert "joy / a" in made.tasks.ids
    assert len(made.tasks.ids) == 6


@pytest.mark.parametrize("counted", [False, True])
def test_two_things_that_are_compared_are_a_task(counted):
    frame = answers("stim1", "stim2", cells=[*combinations("ABCDE", 2)])
    if counted:  # everybody saw them in another order
        trials = [RANDOM.permutation(10) for _ in PEOPLE]
        frame.insert(1, "trial", np.concatenate(trials))
    made = study(frame)
    assert len(made.participants.ids) == len(PEOPLE)
    assert {"A / B", "D / E"} <= {*made.tasks.ids}
    assert len(made.tasks.ids) == 10


def test_an_item_in_two_conditions_is_two_tasks():
    frame = answers("item", "condition", cells=[*product(range(8), "ab")])
    made = study(frame.rename(columns={"liking": "rating"}))
    assert len(made.tasks.ids) == 16
    with pytest.raises(CrowdError, match="'block' tells them apart"):
        study(frame.rename(columns={"liking": "rating", "condition": "block"}))


def test_an_item_in_a_condition_that_differs_from_person_to_person_is_a_task():
    rows = [
        (f"p{i}", f"story {j}", "ABCD"[(i + j) % 4], (i * j) % 7 + 1)
        for i in range(24)
        for j in range(4)
    ]
    frame = pd.DataFrame(rows, columns=["subject", "story", "condition", "rating"])
    made = study(frame)
    assert len(made.tasks.ids) == 16
    assert {a.name for a in made.tasks.attributes} == {"story", "condition"}
    frame["condition"] = frame.subject.map(lambda name: "AB"[int(name[1:]) % 2])
    between = study(frame)
    assert len(between.tasks.ids) == 4
    assert [a.name for a in between.participants.profile] == ["condition"]


@pytest.mark.parametrize("time", ["Days", "visits", "session"])
def test_who_is_asked_on_several_days_is_asked_for(time):
    frame = answers(time, "what", cells=[(day, "mood") for day in range(6)])
    with pytest.raises(CrowdError, match="come back in several of the"):
        study(frame.drop(columns="what"))


def test_somebody_at_several_ages_is_one_person():
    frame = answers("age", "what", cells=[(age, "mood") for age in (8, 10, 12, 14.5)])
    with pytest.raises(CrowdError, match="14 ids come back"):
        study(frame.drop(columns="what"))


def test_a_few_groups_and_ids_are_no_people_and_tasks():
    frame = pd.DataFrame({"id": [f"p{i}" for i in range(60)], "key": ["a", "b", "b"] * 20})
    frame["trust"], frame["mood"] = RANDOM.integers(1, 6, (2, 60))
    assert len(study(frame).participants.ids) == 60
