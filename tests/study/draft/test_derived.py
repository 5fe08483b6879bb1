"""Columns that are worked out of others, and questions that look as if they were."""

import numpy as np
import pandas as pd
import pytest

from crowdllm_jax.study.draft.draft import Choices
from crowdllm_jax.study.draft.make import draft_of_sheet, study
from crowdllm_jax.study.formats.frame import read_frame
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.scales import Ordinal

N = 80
ITEMS = [f"item_{i}" for i in range(1, 6)]


def table(**columns: object) -> pd.DataFrame:
    """Five items from 1 to 5, and what is worked out of them."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"id": range(N), **{item: random.integers(1, 6, N) for item in ITEMS}})
    for name, make in columns.items():
        frame[name] = make(frame[ITEMS]) if callable(make) else make
    return frame


def asked(frame: pd.DataFrame, **said: tuple[str, ...]) -> set[str]:
    return set(study(frame, choices=Choices(**said)).tasks.ids)


def mirrored(items: pd.DataFrame) -> pd.Series:
    return 2.5 * (items.item_1 + (6 - items.item_2) + items.item_3 - 3)


@pytest.mark.parametrize(
    "make",
    [
        lambda items: items.sum(axis=1),
        lambda items: items.mean(axis=1).round(2),
        lambda items: (100 * items.mean(axis=1) / 5).round(1),
        lambda items: items[["item_2", "item_4"]].mean(axis=1),
        lambda items: ((items.mean(axis=1) - 3.02) / 0.71).round(3),
        mirrored,
    ],
)
def test_sums_and_means_of_items_are_no_questions(make):
    frame = table(well_being=make)
    assert asked(frame) == {*ITEMS}
    assert asked(frame[["id", "well_being", *ITEMS]]) == {*ITEMS}
    assert "well_being" in asked(frame, questions=("well_being", *ITEMS))
    made = draft_of_sheet(read_frame(frame), Choices())
    assert "worked out of others (--questions keeps them): well_being (item_" in str(made.reasons)


WORDS = dict(enumerate(("Strongly disagree", "Disagree", "Neutral", "Agree", "Strongly agree"), 1))


def test_sums_of_what_was_said_in_words_are_no_questions():
    """Also where nobody says one of the words of an item; an answer beside words stays."""
    frame = table(total=lambda items: items.sum(axis=1), hours=np.arange(N) % 9)
    frame.loc[frame.item_2 == 3, "total"] += 1
    frame.item_2 = frame.item_2.replace(3, 4)
    for item in ITEMS:
        frame[item] = frame[item].map(WORDS)
    assert asked(frame) == {*ITEMS, "hours"}
    frame.loc[5, "total"] += 1
    assert asked(frame) == {*ITEMS, "hours", "total"}


def overall(items: pd.DataFrame) -> pd.Series:
    """Nearly the mean, as people think of all at once."""
    return items.mean(axis=1).round(1).where(items.index != 7, 5.0)


@pytest.mark.parametrize(
    "make",
    [
        overall,
        lambda items: items.mean(axis=1).round(),
        lambda items: 60 - items.sum(axis=1),
        lambda items: 3 * items.item_1,
    ],
)
def test_what_is_not_worked_out_row_by_row_stays(make):
    assert "overall" in asked(table(overall=make))


def test_few_rows_tell_nothing_of_sums():
    assert "total" in asked(table(total=lambda items: items.sum(axis=1)).head(15))


def test_a_sum_that_holds_one_of_the_items_does_not_make_that_one():
    assert asked(table(item_6=lambda items: items.sum(axis=1))) == {*ITEMS}


def test_points_that_are_shared_are_no_sums_of_each_other():
    random = np.random.default_rng(1)
    points = random.multinomial(10, [0.2, 0.3, 0.5], N)
    frame = pd.DataFrame(
        {"id": range(N), **dict(zip(("bus", "car", "train"), points.T, strict=True))}
    )
    assert asked(frame) == {"bus", "car", "train"}


def groups(items: pd.DataFrame) -> pd.Series:
    return pd.cut(items.item_1, [0, 2, 3, 5], labels=["low", "medium", "high"]).astype(str)


@pytest.mark.parametrize("name", ["item_1_group", "item_1 (category)", "Item_1 [Score]"])
def test_groups_of_a_score_are_no_questions(name):
    assert asked(table(**{name: groups})) == {*ITEMS}


def test_groups_of_a_sum_go_with_it():
    frame = table(phq_total=lambda items: items.sum(axis=1))
    frame["phq_severity"] = np.where(frame.phq_total > 15, "severe", "mild")
    assert asked(frame) == {*ITEMS}


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("mood", groups),  # called after nothing
        ("item_1_group", lambda items: groups(items).where(items.index != 0, "low")),
        ("item_1_group", lambda items: items.item_1.map({1: "a", 2: "b", 3: "a", 4: "b", 5: "a"})),
        ("item_12_group", groups),
    ],
)
def test_words_that_do_not_follow_from_a_score_of_their_name_stay(name, make):
    assert name in asked(table(**{name: make}))


def test_somebody_who_has_what_is_asked_of_them_was_asked_both():
    random = np.random.default_rng(2)
    owns = random.choice(["yes", "no"], N)
    frame = pd.DataFrame({"id": range(N), "car": owns, "car_code": owns})
    assert asked(frame) == {"car", "car_code"}
    many = np.where(owns == "yes", random.integers(1, 4, N), 0)
    assert asked(frame.assign(car_code=many, cars=many)) == {"car", "cars", "car_code"}


def test_an_item_that_was_turned_round_is_asked_once():
    frame = table(item_2_rev=lambda items: 6 - items.item_2)
    assert asked(frame) == {*ITEMS}
    assert "item_2_rev" in asked(frame, reverse=("item_2_rev",))


def scale(made: Study, task: str) -> object:
    return made.scale_of(made.tasks.ids.index(task))


def test_labels_in_a_column_of_their_own_name_the_codes():
    words = ("Never", "Rarely", "Sometimes", "Often", "Always")
    labels = {i + 1: word for i, word in enumerate(words)}
    made = study(table(item_1_label=lambda items: items.item_1.map(labels)))
    assert set(made.tasks.ids) == {*ITEMS}
    assert scale(made, "item_1") == Ordinal(levels=(1, 2, 3, 4, 5), labels=words)
    assert scale(made, "item_2") == Ordinal(levels=(1, 2, 3, 4, 5))


@pytest.mark.parametrize(
    "worked_out", [lambda a, b: (a + b) / 2, lambda a, b: b - a, lambda a, b: 3 * b - 2 * a]
)
def test_what_was_worked_out_is_left_out_and_not_what_it_was_worked_out_of(worked_out):
    """One of the questions has more levels than the others, so that it could be a sum."""
    frame = table()
    frame["nps"] = np.random.default_rng(3).integers(0, 11, N)
    frame["worked_out"] = worked_out(frame.item_1, frame.nps)
    assert {*ITEMS, "nps"} <= asked(frame, missing=("none",))


@pytest.mark.parametrize(
    "make",
    [
        lambda size: (size - size.mean()) / size.std(),
        lambda size: (size / 2.54).round(1),
        lambda size: size - 100,
        lambda size: (1.8 * size + 32).round(2),
    ],
)
def test_one_measure_in_two_units_is_asked_once(make):
    size = pd.Series(np.random.default_rng(1).normal(170, 9, N).round())
    other = pd.Series(np.random.default_rng(2).normal(170, 9, N).round())
    frame = table(size=size, again=make(size), other=other, rest=100 - size)
    assert asked(frame) == {*ITEMS, "size", "other", "rest"}
    assert "again" in asked(frame, questions=("size", "again"))
    # A slip of one person makes them two.
    frame.loc[0, "again"] += 20
    assert "again" in asked(frame)


def test_an_item_and_r_is_the_item_turned():
    turned = table(item_1r=lambda items: 6 - items.item_1, item_2r=np.arange(N) % 5 + 1)
    assert asked(turned) == {*ITEMS, "item_2r"}
