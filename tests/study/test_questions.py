"""Questions that are asked anew, and the scales they have."""

import pytest

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.question_tables import read_questions
from crowdllm_jax.study.questions import questions_on
from crowdllm_jax.study.scales import Binary, Nominal, Ordinal

KNOWN = {"no/yes": Ordinal(levels=("no", "yes", "very")), "party": Nominal(levels=("a", "b"))}


def test_scales_that_are_written_alike_are_several():
    """Two new scales with the same options, and one that is called as one of the run's is."""
    new = (
        Binary(levels=("no", "yes")),
        Nominal(levels=("no", "yes")),
        Binary(levels=("no", "yes")),
    )
    asked = questions_on("abc", "abc", new, KNOWN, list(KNOWN))
    assert asked.task_scales == new
    assert list(asked.scales) == ["no/yes (2)", "no/yes (3)"]
    assert asked.lender.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("x,party,a|b,", r"row 2: has a scale and options"),
        ("x,party,,nominal", r"row 2: has a kind.*no options"),
    ],
)
def test_what_a_row_says_twice_is_told(tmp_path, row, message):
    path = tmp_path / "questions.csv"
    path.write_text(f"task,scale,options,kind\n{row}\n")
    with pytest.raises(CrowdError, match=message):
        read_questions(path, None, KNOWN, list(KNOWN))
