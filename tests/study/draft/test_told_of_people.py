"""In a table with a row per answer, rows and cells that tell of people are their profile."""

import numpy as np
import pandas as pd
import pytest

from crowdllm_jax.study.draft.draft import Choices
from crowdllm_jax.study.draft.make import study

N = 40
ITEMS = [f"item{i}" for i in range(5)]


def people() -> pd.DataFrame:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"participant": [f"P{i:02d}" for i in range(N)]})
    frame["age"] = random.integers(18, 80, N)
    frame["gender"] = random.choice(["female", "male"], N)
    for item in ITEMS:
        frame[item] = random.integers(1, 6, N)
    return frame


def long(frame: pd.DataFrame) -> pd.DataFrame:
    below = frame.melt("participant", var_name="question", value_name="answer")
    return below.astype({"answer": str})


def check(frame: pd.DataFrame, names: tuple[str, ...] = ("age", "gender")) -> None:
    """The study is that of a table in which ages and genders stand in columns."""
    made, known = study(frame), people().sort_values("participant")
    assert made.tasks.ids == tuple(ITEMS)
    assert [a.name for a in made.participants.profile] == [*names]
    age, gender = made.participants.profile
    order = np.argsort(made.participants.ids)
    np.testing.assert_array_equal(age.cells[order], known.age)
    assert [gender.levels[code] for code in gender.cells[order]] == [*known.gender]


def test_rows_of_ages_and_genders_are_the_profile():
    check(long(people()))


def test_what_was_asked_may_stand_in_a_column_of_texts():
    frame = long(people())
    asked = {"age": "How old are you?", "gender": "What is your gender?"}
    frame["wording"] = frame.question.map(asked).fillna("To me this matters: " + frame.question)
    check(frame)


@pytest.mark.parametrize("high", [6, 100])
def test_ages_and_codes_stand_beside_numbers(high):
    frame = people()
    frame["gender"] = frame.gender.map({"female": 1, "male": 2})
    frame[ITEMS] = np.random.default_rng(1).integers(0, high, (N, 5))
    made = study(long(frame))
    assert made.tasks.ids == tuple(ITEMS)
    assert [a.name for a in made.participants.profile] == ["age", "gender"]


def test_what_a_program_noted_is_no_task():
    frame = people()
    frame["email"] = [f"p{i}@example.org" for i in range(N)]
    frame["zip code"] = range(10_000, 10_000 + N)
    check(long(frame))


def test_what_otree_writes_before_a_name_is_no_part_of_it():
    frame = people().rename(columns=lambda name: f"trust_game.1.player.{name}")
    made = study(frame.rename(columns={"trust_game.1.player.participant": "participant.code"}))
    assert [a.name for a in made.participants.profile] == [
        "trust_game.1.player.age",
        "trust_game.1.player.gender",
    ]


def test_things_that_are_rated_are_tasks():
    topics = ["religion", "income", "education", "age", "gender", "city"]
    rows = [(f"P{p}", t, (p + i) % 7 + 1) for p in range(N) for i, t in enumerate(topics)]
    made = study(pd.DataFrame(rows, columns=["participant", "topic", "importance"]))
    assert {*made.tasks.ids} == {*topics}
    assert not made.participants.profile


def test_rows_that_are_said_to_be_questions_are_such():
    said = Choices(person="participant", task="question", questions=("gender",))
    made = study(long(people()), choices=said)
    assert {*made.tasks.ids} == {*ITEMS, "gender"}
    assert [a.name for a in made.participants.profile] == ["age"]


def test_what_stands_in_one_row_of_each_person_is_said_of_all():
    frame = long(people().drop(columns=["age", "gender"]))
    known = people().set_index("participant")
    first = ~frame.participant.duplicated()
    for name in ("age", "gender"):
        frame[name] = frame.participant.map(known[name]).where(first, None)
    check(frame)
