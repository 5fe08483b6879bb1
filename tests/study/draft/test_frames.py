"""Data frames in, data frames out."""

import numpy as np
import pandas as pd
import pytest

import crowdllm_jax as cl
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.study import scales


def test_a_study_of_a_frame_is_made_by_the_package_itself():
    frame = pd.DataFrame(
        {"id": range(20), "q": ["no", "yes"] * 10, "r": [1, 2, 3, 4, 5] * 4, "age": range(20, 40)}
    )
    study = cl.study(frame, name="mine")
    assert repr(study) == (
        "Study('mine': 20 participants, 2 tasks, 40 responses; scales: no_to_yes, 1_to_5)"
    )
    with pytest.raises(cl.CrowdError, match="no column 'x'"):
        cl.study(frame, id="x")


def test_the_package_says_what_it_has():
    assert {"study", "sample", "load_crowd", "export_population"} <= set(dir(cl))
    assert all(hasattr(cl, name) for name in cl.__all__)


def test_agents_as_frames(mixed_crowd: Crowd):
    agents = cl.sample(mixed_crowd, agents=7, seed=1)
    frame = agents.to_pandas()
    assert list(frame.columns) == ["agent_id", "age", "city", *mixed_crowd.task_ids]
    for task, name in enumerate(mixed_crowd.task_ids):
        scale = mixed_crowd.task_scales[task]
        levels = agents.answers[:, task]
        if scales.is_continuous(scale):
            np.testing.assert_allclose(frame[name], levels)
        else:
            assert list(frame[name]) == [scales.written(scale)[int(level)] for level in levels]
    polars = pytest.importorskip("polars")
    assert polars.from_pandas(frame).to_dicts() == agents.to_polars().to_dicts()


def test_short_forms(mixed_crowd: Crowd):
    agents = cl.sample(mixed_crowd, agents=7, seed=1)
    assert repr(agents) == "Agents(7 agents, 32 tasks; profile: age, city)"
    assert repr(mixed_crowd) == "Crowd(cvae, 32 tasks; profile: age, city)"
    page = agents._repr_html_()
    assert page.count("<tr>") == 6
    assert "<th>city</th>" in page


def test_a_crowd_is_kept_and_taken_up(mixed_crowd: Crowd, tmp_path):
    cl.save_crowd(mixed_crowd, tmp_path / "crowd")
    again = cl.load_crowd(tmp_path / "crowd")
    one, other = (cl.sample(crowd, agents=5, seed=2).to_pandas() for crowd in (mixed_crowd, again))
    pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize("levels", [[3, 1, 2], ["c", "a", "b"]])
def test_the_order_of_an_ordered_categorical_is_kept(levels):
    cells = pd.Categorical([levels[i % 3] for i in range(30)], levels, ordered=True)
    made = cl.study(pd.DataFrame({"id": range(30), "q": cells, "education": cells}))
    scale = made.scale_of(0)
    assert (scale.labels or scale.levels) == tuple(map(str, levels))
    np.testing.assert_array_equal(made.answer, np.arange(30) % 3)
    (education,) = made.participants.profile
    assert education.levels == tuple(map(str, levels))


def test_a_named_index_is_a_column():
    """Ids often stand there; an index without a name numbers the rows."""
    frame = pd.DataFrame({"pid": [f"p{i}" for i in range(40)], "q": [1, 2, 3, 4, 5] * 8})
    expected = cl.study(frame, id="pid")
    assert cl.study(frame.set_index("pid")).participants.ids == expected.participants.ids
    assert cl.study(frame.set_index("pid", drop=False)).participants.ids[0] == "p0"
    long = frame.melt(id_vars="pid", value_vars=["q"], var_name="task", value_name="answer")
    both = cl.study(long.set_index(["pid", "task"]), id="pid", task="task", response="answer")
    assert both.participants.ids == expected.participants.ids
    shuffled = frame.sample(frac=1, random_state=0)
    assert cl.study(shuffled, id="pid").tasks.ids == ("q",)


def test_inf_is_no_missing_answer(tmp_path):
    """As in a CSV; only NaN is how frames write that there is none."""
    cells = [float(1 + i % 5) for i in range(40)]
    frame = pd.DataFrame({"id": range(40), "q": [np.inf, np.nan, *cells[2:]]})
    frame.to_parquet(tmp_path / "q.parquet")
    for source in (frame, tmp_path / "q.parquet"):
        with pytest.raises(cl.CrowdError, match="are numbers, but not inf"):
            cl.study(source)
    assert len(cl.study(frame, missing=["inf"]).answer) == 38


MOODS = ["zop", "zap", "zip", "zup"]


def test_what_is_asked_is_answered_in_python():
    frame = pd.DataFrame({"id": range(40), "q": [1, 2, 3, 4, 5] * 8, "mood": MOODS * 10})
    with pytest.raises(cl.CrowdError, match=r"no column 'x'.*the same texts as id="):
        cl.study(frame, id="x")
    levels = ["never heard of", "somewhat", "very much", "not at all"]
    asked = frame.assign(mood=levels * 10)
    for given in (levels, ",".join(levels), [levels, ["yes", "no"]]):
        made = cl.study(asked, order=given)
        assert any(scale.levels == tuple(levels) for scale in made.scales.values())
    made = cl.study(frame, no_order=[MOODS], leave_out="q")
    assert made.tasks.ids == ("mood",)
    assert scales.kind(made.scale_of(0)) == "nominal"
    with pytest.raises(cl.CrowdError, match="no argument 'orders'; give profile, questions"):
        cl.study(frame, orders=MOODS)
    with pytest.raises(cl.CrowdError, match="order: give a list of texts, not 5"):
        cl.study(frame, order=5)


def test_a_question_names_the_arguments_that_answer_it():
    levels = ["slightly foo", "fairly foo", "wholly foo", "hardly foo"]
    frame = pd.DataFrame({"id": range(40), **{f"q{i}": levels * 10 for i in range(4)}})
    with pytest.raises(cl.CrowdError, match=r"same texts as order=\.\.\., no_order="):
        cl.study(frame)
    assert cl.study(frame, no_order=levels).tasks.ids == ("q0", "q1", "q2", "q3")


def test_a_column_of_several_kinds_is_told_with_what_makes_it_one():
    mixed = pd.DataFrame({"id": range(60), "q": [1, 2, "3", 4, None] * 12})
    with pytest.raises(cl.CrowdError, match="column 'q' holds values of several kinds"):
        cl.study(mixed)
    one = mixed.assign(q=mixed["q"].astype("string"))
    assert cl.study(one).scale_of(0).levels == (1, 2, 3, 4)
    assert len(cl.study(one).answer) == 48
    twice = mixed.assign(other=1).set_axis(["id", "q", "q"], axis=1)
    with pytest.raises(cl.CrowdError, match="several columns are called 'q'"):
        cl.study(twice)
