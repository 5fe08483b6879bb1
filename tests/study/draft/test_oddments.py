"""What tables hold beside answers: sums below, options told twice, checks, codes of no answer."""

import numpy as np
import pandas as pd
import pytest

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.draft.draft import Choices
from crowdllm_jax.study.draft.make import draft_of_sheet, study
from crowdllm_jax.study.formats.frame import read_frame
from crowdllm_jax.study.scales import Nominal, Ordinal

N = 40
PEOPLE = [f"p{i}" for i in range(N)]


def cycle(*values: object) -> list[object]:
    return [values[i % len(values)] for i in range(N)]


def table(**columns) -> pd.DataFrame:
    return pd.DataFrame({"id": PEOPLE, "good": cycle(1, 2, 3, 4, 5), **columns})


def scale_of(frame: pd.DataFrame, question: str, choices: Choices = Choices()):  # noqa: B008
    made = study(frame, choices=choices)
    return made.scale_of(made.tasks.ids.index(question))


def asked(frame: pd.DataFrame) -> str:
    with pytest.raises(CrowdError) as caught:
        study(frame)
    return str(caught.value)


def test_rows_that_sum_up_are_nobodys_answers():
    sums = pd.DataFrame({"id": ["Total", "Average"], "good": [120, 3.25]})
    frame = pd.concat([table(), sums], ignore_index=True)
    draft = draft_of_sheet(read_frame(frame), Choices())
    assert draft.people == tuple(PEOPLE)
    assert "rows that sum up the others: Total, Average" in " ".join(draft.reasons)
    assert scale_of(frame, "good") == Ordinal(levels=(1, 2, 3, 4, 5))


def test_an_answer_that_is_called_after_a_sum_stays():
    frame = pd.DataFrame({"q": cycle("total", "part", "none"), "good": cycle(1, 2, 3, 4)})
    assert len(study(frame.iloc[:-3]).participants.ids) == N - 3


def test_a_question_whose_options_have_columns_is_not_asked_twice():
    several = cycle("radio tv", "radio", "tv net")
    ticks = {
        f"media/{m}": [int(m in cell.split()) for cell in several] for m in ("radio", "tv", "net")
    }
    made = study(table(media=several, **ticks))
    assert set(made.tasks.ids) == {"good", *ticks}


@pytest.mark.parametrize(
    "name", ["Attention check: select 3", "Do you consent?", "I agree to take part", "TIME_SUM"]
)
def test_checks_are_no_questions(name):
    assert study(table(**{name: cycle("yes", "no")})).tasks.ids == ("good",)


def test_last_codes_are_asked_for_together():
    frame = table(x=cycle(1, 2, 3, 4, 7, 8, 9), y=cycle(*range(11)))
    assert "'x': are 7, 8, 9 answers, or the codes of none" in asked(frame)
    assert "--missing 7,8,9" in asked(frame)


def test_codes_of_no_answer_are_answers_where_they_stand_amid_others():
    frame = table(x=cycle(1, 2, 3, 4, 7, 8, 9), y=cycle(*range(11)))
    choices = Choices(missing=("7", "8", "9"))
    assert scale_of(frame, "x", choices) == Ordinal(levels=(1, 2, 3, 4))
    made = study(frame, choices=choices)
    assert np.sum(made.task == made.tasks.ids.index("y")) == N


def test_few_raters_of_tasks_of_their_own_are_asked_for():
    frame = pd.DataFrame({"id": range(N), "label": cycle("a", "b", "c"), "rater": cycle("x", "y")})
    assert "column 'rater': its 2 ids come back in several of the 40 rows" in asked(frame)
    person = frame.rename(columns={"rater": "PID"})
    assert isinstance(scale_of(person, "label"), Nominal)
