"""What is handed over from Python in place of what is wanted is told in one message."""

import numpy as np
import pandas as pd
import pytest

import crowdllm_jax as cl
from crowdllm_jax.population import sample as sampling

FRAME = pd.DataFrame({"id": range(60), "q1": [1, 2, 3, 4, 5] * 12, "q2": [1, 1, 2, 3, 3] * 12})
QUESTIONS = pd.DataFrame({"task": ["a"], "text": ["How?"], "scale": ["1_to_5"]})
MODEL = {"kind": "persistent", "steps": 3}


@pytest.fixture(scope="module")
def fitted():
    study = cl.study(FRAME, id="id")
    config = cl.load_config({"split": {"by": "people", "test": 0.2}, "model": MODEL})
    crowd, _ = cl.fit(study, config)
    return crowd, study, config


CALLS = {
    "study: NoneType is no study": lambda c, s, g: cl.fit(None, g),
    "config: dict is no configuration": lambda c, s, g: cl.fit(s, {"model": MODEL}),
    "config: Study is no configuration": lambda c, s, g: cl.evaluate(s, s, c),
    "study: DataFrame is no study": lambda c, s, g: cl.held_out_study(FRAME, g),
    "study: 'a.csv' is no study": lambda c, s, g: cl.make_twins(c, "a.csv"),
    "crowd: NoneType is no fitted crowd": lambda c, s, g: cl.evaluate(s, g, None),
    "crowd: list is no fitted crowd": lambda c, s, g: cl.evaluate(s, g, [c]),
    "crowd: Study is no fitted crowd": lambda c, s, g: cl.part_worths(s, c),
    "crowd: Config is no fitted crowd": lambda c, s, g: cl.ask((g, s, c), "How?"),
    "ask: give a run's folder, or (crowd, study, config)": lambda c, s, g: cl.ask((c, s), "How?"),
    "ask: give a run's folder, or (crowd, study, config), not Crowd": lambda c, s, g: cl.ask(c, ""),
    "ask: asking is dict": lambda c, s, g: cl.ask((c, s, g), "How?", {"scale": "1_to_5"}),
    "ask: give a question, a list of them": lambda c, s, g: cl.ask((c, s, g), None),
    "ask: give a question, a list of them, or the path of a table (as pathlib": (
        lambda c, s, g: cl.ask((c, s, g), QUESTIONS)
    ),
    "ask: 'q.csv' is called as a table is": lambda c, s, g: cl.ask((c, s, g), "q.csv"),
    "ask: options is 'a,b'; give a list": lambda c, s, g: cl.Asking(options="a,b"),
    "ask: shares is dict; give a list": lambda c, s, g: cl.Asking(shares={"a": 1}),
    "ask: shares is float; give a list": lambda c, s, g: cl.Asking(shares=0.5),
    "ask: by is list; give a text": lambda c, s, g: cl.Asking(by=["age"]),
    "ask: scale is int; give a text": lambda c, s, g: cl.Asking(scale=3),
    "ask: again: '1' is not a whole number": lambda c, s, g: cl.Asking(again="1"),
    "ask: answers: give the path of a table, not DataFrame": (
        lambda c, s, g: cl.Asking(answers=QUESTIONS)
    ),
    "--shares None,0.5: give numbers": (
        lambda c, s, g: cl.ask((c, s, g), "How?", cl.Asking(options=["a", "b"], shares=[None, 0.5]))
    ),
    "plot: ax: give matplotlib axes, not list": (
        lambda c, s, g: cl.plot_means(s, cl.sample(c, 10), ax=[])
    ),
    "write_population: give the path of a folder, not NoneType": (
        lambda c, s, g: cl.write_population(c, None, 10, 0)
    ),
    "plan: give a run's folder": lambda c, s, g: cl.plan(c, 10),
    "decide: give a population's folder": lambda c, s, g: cl.decide(FRAME),
    "load_crowd: give the path of a folder, not NoneType": lambda c, s, g: cl.load_crowd(None),
    "save_crowd: give the path of a folder, not int": lambda c, s, g: cl.save_crowd(c, 5),
    "load_study: give a configuration or a path, not dict": lambda c, s, g: cl.load_study({}),
    "config: NoneType is no configuration": lambda c, s, g: cl.run(None, "x"),
    "load_config: overrides: give a list": lambda c, s, g: cl.load_config({}, "model.steps=2"),
    "--where 5: int is no text": lambda c, s, g: cl.sample(c, 5, where=5),
    "start: -1 is not the id of an agent": lambda c, s, g: cl.sample(c, 5, start=-1),
    "start: 1.5 is not a whole number": lambda c, s, g: cl.sample(c, 5, start=1.5),
    "draws: 1.5 is not a whole number": lambda c, s, g: cl.make_twins(c, s, draws=1.5),
    "plot: NoneType holds no agents": lambda c, s, g: cl.plot_means(s, None),
    "study: id: give the name of a column, not list": lambda c, s, g: cl.study(FRAME, id=["id"]),
}


@pytest.mark.parametrize("message", CALLS)
def test_what_is_none_is_told(message, fitted):
    with pytest.raises(cl.CrowdError) as caught:
        CALLS[message](*fitted)
    assert message in str(caught.value)


@pytest.mark.parametrize("start", [-1, 1.5, "a", 2**62])
def test_no_agent_has_such_an_id(start, fitted):
    with pytest.raises(cl.CrowdError, match="start: "):
        cl.sample(fitted[0], 5, start=start)


def test_a_crowd_of_another_study_is_not_scored(fitted):
    crowd, _, config = fitted
    other = cl.study(FRAME.rename(columns={"q1": "q3"}), id="id")
    with pytest.raises(cl.CrowdError, match="was fitted to other tasks or attributes"):
        cl.evaluate(other, config, crowd)


def test_numbers_of_numpy_are_seeds_and_numbers_of_agents(fitted):
    crowd, study, config = fitted
    again, _ = cl.fit(study, config, seed=np.int64(0))
    ten = cl.sample(again, np.int32(10), seed=np.uint8(1), start=np.int64(5))
    assert (ten.answers == cl.sample(crowd, 15, seed=1).answers[5:]).all()


def test_options_and_shares_may_be_any_lists(fitted):
    """Of numbers, of numpy, a column of a frame."""
    answered = [
        cl.ask(fitted, "How?", cl.Asking(options=options, shares=shares)).table
        for options, shares in (
            (("1", "2"), "0.25,0.75"),
            ([1, 2], [0.25, 0.75]),
            (np.array([1, 2]), pd.Series([0.25, 0.75])),
        )
    ]
    assert answered[0].equals(answered[1])
    assert answered[0].equals(answered[2])
    with pytest.raises(cl.CrowdError, match="leave out --answers, --shares"):
        cl.ask(fitted, "q1", cl.Asking(shares=np.array([0.2] * 5)))


def test_numbers_of_numpy_are_written_and_counted_too(fitted, tmp_path):
    """Also those that are whole though they are no integers."""
    crowd = fitted[0]
    for name, many in (("one", np.int8(100)), ("two", np.float64(100)), ("three", 100)):
        cl.write_population(crowd, tmp_path / name, agents=many, seed=np.int8(1))
        cl.export_population(tmp_path / name, tmp_path / f"{name}.csv", agents=many)
        assert cl.count(crowd, many, np.int8(1)).members.sum() == 100
    manifests = [(tmp_path / name / "manifest.json").read_text() for name in ("one", "two")]
    assert manifests == [(tmp_path / "three" / "manifest.json").read_text()] * 2
    assert (tmp_path / "one.csv").read_text() == (tmp_path / "three.csv").read_text()


def test_what_is_no_path_and_nothing_asked_is_told():
    with pytest.raises(cl.CrowdError, match="give a population's folder, not int"):
        cl.export_population(5, "x.csv")
    with pytest.raises(cl.CrowdError, match="give the name of a file, not int"):
        cl.export_population("x", 5)
    with pytest.raises(cl.CrowdError, match="plot_asked: 'x' is nothing that"):
        cl.plot_asked("x")


def test_counts_are_told_in_a_line(fitted):
    assert repr(cl.count(fitted[0], 1000, 0)) == "Counts(1,000 agents, 2 tasks)"


def test_a_column_may_be_called_by_a_number():
    frame = FRAME.set_axis([0, 1, 2], axis=1)
    assert cl.study(frame, id=0).participants.ids == cl.study(FRAME, id="id").participants.ids


def test_agents_that_no_memory_holds_are_refused_at_once(fitted, monkeypatch):
    crowd = fitted[0]
    with pytest.raises(cl.CrowdError, match="and this machine has less"):
        cl.sample(crowd, 2**50)
    each = cl.sample(crowd, 1).answers.nbytes + np.dtype(np.int64).itemsize
    monkeypatch.setattr(sampling, "memory", lambda: 100.0 * each)
    assert len(cl.sample(crowd, 100).ids) == 100
    with pytest.raises(cl.CrowdError, match="101 agents take"):
        cl.sample(crowd, 101)
