"""Numbers that are codes of no answer, and scales that look as if they had some."""

import pandas as pd
import pytest

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.draft.draft import Choices
from crowdllm_jax.study.draft.make import draft_of_sheet, study
from crowdllm_jax.study.formats.frame import read_frame

N = 60


def scale(*values: int, missing: tuple[str, ...] = ()) -> tuple[object, ...]:
    """The levels of a question that is answered by these numbers."""
    frame = pd.DataFrame({"id": range(N), "q": [values[i % len(values)] for i in range(N)]})
    made = study(frame, choices=Choices(missing=missing))
    return made.scale_of(0).levels


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        ((1, 2, -1, -2, -5), (1, 2)),
        ((1, 2, 3, 4, -1, -4), (1, 2, 3, 4)),
        ((*range(1, 11), -1, -2, -4), tuple(range(1, 11))),
        ((1, 2, 3, -32, -11), (1, 2, 3)),
        ((0, 1, 2, -98, -97, -72), (0, 1, 2)),
        ((*range(11), -9, -8, -7, -2, -1), tuple(range(11))),
    ],
)
def test_numbers_below_a_scale_are_codes(values, levels):
    assert scale(*values) == levels


@pytest.mark.parametrize(
    "values",
    [(-3, -1, 0, 1, 2, 3), (-5, -4, -2, -1, 0, 1, 2, 3, 5), (-4, -3, -2, -1, 0, 1, 2)],
)
def test_a_balance_of_which_nobody_gave_some_numbers_is_a_scale(values):
    assert scale(*values) == tuple(range(min(values), max(values) + 1))


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        ((-3, -2, -1, 1, 2, 3), "-3,-2,-1"),
        ((-5, -3, 1, 2, 5), "-5,-3"),
        ((0, 1, -1, -2, -5), "-5,-2,-1"),
        # Nobody gave the highest.
        ((-5, -4, -3, -2, -1, 1, 2, 3, 4), "-5,-4,-3,-2,-1"),
    ],
)
def test_what_may_be_half_a_scale_or_codes_is_asked_for(values, codes):
    with pytest.raises(CrowdError, match=f"Say --missing={codes}, or --missing none"):
        scale(*values)
    kept = scale(*values, missing=("none",))
    assert (min(kept), max(kept)) == (min(values), max(values))
    assert min(scale(*values, missing=tuple(codes.split(",")))) >= 0


def test_what_a_slider_may_say_below_zero_is_asked_for():
    with pytest.raises(CrowdError, match="Say --missing=-36,-10,-7,-1, or --missing none"):
        scale(-36, -10, -7, -1, 5, 8, 12, 19)


def test_tens_below_zero_are_answers():
    values = (-50, -40, -30, -20, -10, 0, 10, 20)
    frame = pd.DataFrame({"id": range(N), "q": [values[i % 8] for i in range(N)]})
    assert len(study(frame).answer) == N


@pytest.mark.parametrize(("low", "known"), [(-7, 60), (-3, 60), (18, 54)])
def test_numbers_below_zero_are_no_codes_of_an_attribute_that_goes_there(low, known):
    """An age has none below zero; how much older somebody's partner is has."""
    gap = [low + i % 15 if i % 10 or low < 0 else -5 for i in range(N)]
    frame = pd.DataFrame({"id": range(N), "age_gap": gap, "good": [1 + i % 5 for i in range(N)]})
    made = study(frame, choices=Choices(profile=("age_gap",)))
    assert (made.participants.profile[0].cells == made.participants.profile[0].cells).sum() == known


def test_a_code_of_no_answer_lies_beyond_the_scale_and_not_beside_its_numbers():
    heights = tuple(range(60, 76))
    assert scale(*heights, 77) == tuple(range(60, 78))
    assert scale(*heights, 77, 99) == tuple(range(60, 78))
    assert scale(*range(11), 77, 88, 99) == tuple(range(11))
    assert scale(1, 2, 3, 4, 5, 77) == (1, 2, 3, 4, 5)


def taken(values: list[object]) -> tuple[float, float]:
    frame = pd.DataFrame({"id": range(len(values)), "cost": values})
    made = study(frame).scale_of(0)
    return made.low, made.high


@pytest.mark.parametrize("code", [-9, -99, 99999, 99998, 9999999])
def test_codes_beside_amounts_are_no_amounts(code):
    amounts = [120 + 10 * (7 * i % 50) for i in range(N)]
    assert taken([*amounts, code]) == (120, 610)
    assert taken([*(a + 0.25 for a in amounts), code]) == (120.25, 610.25)
    frame = pd.DataFrame({"id": range(N + 1), "q": [i % 3 for i in range(N + 1)]})
    draft = draft_of_sheet(read_frame(frame.assign(income=[*amounts, code])), Choices())
    assert draft.profile["income"][1][-1] == ""


@pytest.mark.parametrize("slip", [11, 55])
def test_a_slip_far_above_a_scale_is_asked_for(slip):
    values = [1 + i % 5 for i in range(N)]
    frame = pd.DataFrame({"id": range(N + 1), "q": [*values, slip]})
    with pytest.raises(CrowdError, match=rf"is {slip} an answer \(given once; the others"):
        study(frame)
    assert study(frame, missing=[str(slip)]).scale_of(0).levels == (1, 2, 3, 4, 5)
    assert study(frame, missing="none").scale_of(0).levels[-1] == slip
    # Counts begin at 0, and what is often given is no slip.
    study(frame.assign(q=[*(value - 1 for value in values), slip]))
    study(frame.assign(q=[slip if i % 9 == 0 else value for i, value in enumerate([*values, 1])]))


@pytest.mark.parametrize("silent", ["NR", "not rated", "blank", "—"])
def test_ratings_that_were_not_given(silent):
    frame = pd.DataFrame(
        {"id": range(N), "q": [("1", "2", "3", "4", silent)[i % 5] for i in range(N)]}
    )
    assert study(frame).scale_of(0).levels == (1, 2, 3, 4)


def test_a_word_among_numbers_may_be_no_answer():
    frame = pd.DataFrame(
        {"id": range(N), "q": [("1", "2", "3", "4", "zz")[i % 5] for i in range(N)]}
    )
    with pytest.raises(CrowdError, match="or, if zz is no answer, --missing zz"):
        study(frame)
