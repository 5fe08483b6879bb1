"""Populations, twins and people as tables, and as draws for ArviZ."""

from dataclasses import replace

import numpy as np
from synthetic import EVERY_SCALE, make_study

from crowdllm_jax.population.agents import Agents
from crowdllm_jax.population.twins import Twins

STUDY = make_study(EVERY_SCALE, people=7)
# Agents' values are 32-bit.
STUDY = replace(STUDY, answer=STUDY.answer.astype(np.float32).astype(float))
OWN = [STUDY.scale_of(task) for task in range(len(STUDY.tasks.ids))]
TASKS = tuple(zip(STUDY.tasks.ids, OWN, strict=True))
ANSWERS = STUDY.answer.reshape(7, -1)
NOTHING = np.zeros((7, 1))


def test_people_come_as_the_agents_who_answer_like_them():
    agents = Agents(np.arange(7), STUDY.participants.profile, ANSWERS, TASKS)
    people, alike = STUDY.to_pandas(), agents.to_pandas()
    assert people.pop("participant").tolist() == list(STUDY.participants.ids)
    alike.pop("agent_id")
    assert list(people.columns) == list(alike.columns)
    for name in people:
        column = alike[name].astype(people[name].dtype)
        assert people[name].equals(column), name


def test_who_did_not_answer_has_an_empty_cell_and_a_profile_gives_way_to_a_task():
    rows = np.arange(len(STUDY.task)) != 3
    age, city = STUDY.participants.profile
    people = replace(STUDY.participants, profile=(replace(age, name="T00"), city))
    some = replace(
        STUDY,
        person=STUDY.person[rows],
        task=STUDY.task[rows],
        answer=STUDY.answer[rows],
        participants=people,
    )
    frame = some.to_pandas()
    assert list(frame.columns[:4]) == ["participant", "profile_T00", "city", "t00"]
    assert frame.isna().to_numpy()[:, 3:].sum() == 1
    assert np.isnan(frame.t03[0])


def test_numbers_are_what_the_levels_count_as():
    agents = Agents(np.arange(7), (), ANSWERS, TASKS)
    wanted = STUDY.value.reshape(7, -1)
    np.testing.assert_array_equal(agents.numbers, wanted)
    drawn = agents.to_arviz().posterior_predictive["answer"]
    assert drawn.dims == ("chain", "draw", "task")
    np.testing.assert_array_equal(drawn.sel(task="t05", chain=0), wanted[:, 5])


def test_twins_are_told_apart_by_person_and_draw():
    # Person p's draw d answers as person p + d does.
    drawn = np.stack([np.roll(ANSWERS, -d, axis=0) for d in range(3)], axis=1)
    twins = Twins(STUDY.participants.ids, drawn, NOTHING, NOTHING, NOTHING[:, 0], TASKS)
    wanted = STUDY.value.reshape(7, -1)
    answer = twins.to_arviz().posterior_predictive["answer"]
    np.testing.assert_array_equal(answer.sel(chain=0, draw=2, participant="p001"), wanted[3])
    frame = twins.to_pandas().set_index(["participant", "draw"])
    same = Agents(np.arange(1), (), ANSWERS[3:4], TASKS).to_pandas()
    assert frame.loc[("p001", 2)].tolist() == same.iloc[0, 1:].tolist()
    assert twins._repr_html_().startswith("<div><p>Twins(7 people, 3 twins of each, 32 tasks)")
