"""Pairs of things of which a column names the better are choice sets of two."""

from itertools import combinations

import pandas as pd
import pytest

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.draft.draft import Choices
from crowdllm_jax.study.draft.make import draft_of_sheet, study
from crowdllm_jax.study.formats.frame import read_frame

THINGS = ("ant", "bee", "cow", "dog", "elk")
PEOPLE = [f"p{i}" for i in range(12)]


def votes(**columns: str) -> pd.DataFrame:
    """A vote of everybody about each pair: the later by the alphabet wins, but of every third."""
    rows = [
        {"who": person, "one": a, "two": b, "won": b if (i + j) % 3 else a}
        for i, person in enumerate(PEOPLE)
        for j, (a, b) in enumerate(combinations(THINGS, 2))
    ]
    frame = pd.DataFrame(rows)
    frame["lost"] = frame.one.where(frame.won == frame.two, frame.two)
    return frame[["who", *columns]].rename(columns=columns)


@pytest.mark.parametrize(
    "columns",
    [
        {"one": "left", "two": "right", "won": "chosen"},
        {"one": "item_a", "two": "item_b", "won": "winner"},
        {"two": "B", "one": "A", "won": "Wahl"},
        {"won": "winner", "lost": "loser"},
        {"won": "selected", "lost": "not_chosen"},
    ],
)
def test_what_is_named_is_the_one_that_was_chosen(columns):
    draft = draft_of_sheet(read_frame(votes(**columns)), Choices(person="who"))
    assert len(draft.people) == len(PEOPLE)
    assert len(draft.tasks) == len([*combinations(THINGS, 2)])
    # Who wins is the later by the alphabet, but of every third.
    shares = pd.Series(draft.answer).value_counts(normalize=True)
    assert sorted(shares.round(2)) == [0.33, 0.67]


def test_a_tie_is_a_choice_of_neither():
    frame = votes(one="left", two="right", won="chosen")
    frame.loc[::10, "chosen"] = "tie"
    assert made_levels(frame) == {"left", "right", "tie"}


def made_levels(frame: pd.DataFrame) -> set[str]:
    made = study(frame, id="who")
    return {str(label) for label in made.scale_of(0).labels or made.scale_of(0).levels}


def test_sides_are_chosen_whatever_their_column_is_called():
    frame = votes(one="img_left", two="img_right", won="more_beautiful")
    left = frame.more_beautiful == frame.img_left
    frame["more_beautiful"] = left.map({True: "left", False: "right"})
    assert made_levels(frame) == {"left", "right"}


def test_what_is_written_twice_is_no_choice():
    frame = votes(one="left", two="right", won="chosen")
    with pytest.raises(CrowdError, match="come back in several"):
        study(frame.assign(chosen=frame.left).rename(columns={"who": "participant"}))
