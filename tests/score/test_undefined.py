"""Data that leave a measure undefined: it says so and why, everywhere, and nothing warns."""

import dataclasses
import io
import json
import warnings

import msgspec
import numpy as np
import pytest
from few_drawings import few_drawings  # noqa: F401
from rich.console import Console
from synthetic import RATING, make_study
from test_metrics import UNEVEN, crowd_of, everything

from crowdllm_jax.cli.terminal import scoreboard_of
from crowdllm_jax.experiments import folder
from crowdllm_jax.experiments.results import Results, Row
from crowdllm_jax.model.fit import Prepared
from crowdllm_jax.reference.record import Reference
from crowdllm_jax.report import page as report
from crowdllm_jax.report.page import scoreboard, untold
from crowdllm_jax.report.scorecard import in_words, scorecard
from crowdllm_jax.score.ceiling import score_humans
from crowdllm_jax.score.correlations import score_correlations
from crowdllm_jax.score.diagnostics import incompatible, interchangeable, silent_attributes, spread
from crowdllm_jax.score.groups import groups_of, score_groups
from crowdllm_jax.score.metrics import Score, read_scores, score_crowd
from crowdllm_jax.study.coding import fit_coding
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.split import Split


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def alike(study: Study, level: float = 2.0) -> Study:
    return dataclasses.replace(study, answer=np.full(len(study.answer), level))


def scores_of(study: Study, by: str, values: np.ndarray, floor: np.ndarray) -> dict:
    humans = everything(study, by)
    scores = [
        *score_humans(humans, 0),
        *score_crowd(humans, values, "persistent", 0, floor),
        *score_crowd(humans, floor, "marginal", 0, floor),
    ]
    # What is not defined is null in JSON, which knows no NaN.
    text = msgspec.json.encode(scores)
    json.loads(text, parse_constant=lambda word: pytest.fail(word))
    assert repr(read_scores(text)) == repr(scores)
    for score in scores:
        numbers = [score.value, score.low, score.high]
        assert np.nanmax([0, *np.abs(numbers)]) < 1e6, score
        assert np.isnan(numbers).any() == bool(score.why), score
        # An interval that holds one number only would be certainty.
        assert not score.low >= score.high, score
    return {(score.model, score.metric): score for score in scores}


@pytest.mark.parametrize("by", ["tasks", "people"])
def test_where_everybody_answers_alike(by):
    study = alike(make_study(tasks=8, people=30))
    floor = np.full((40, 8), 3.0)
    found = scores_of(study, by, crowd_of(study, 40, 1), floor)
    for name in ("variance_ratio", "skill", "icc"):
        assert np.isnan(found["marginal", name].value), name
    assert found["persistent", "variance_ratio"].why == "all held-out people answer alike"
    assert np.isnan(found["humans", "variance_ratio"].value)
    assert found["humans", "icc"].why == "no answer differs from another"
    assert "within chance of the noise ceiling" in found["marginal", "skill"].why
    assert found["marginal", "mae"].value == 0
    assert np.isnan(found["marginal", "mae"].low)


def test_a_scale_on_which_people_differ_tells_the_ratio_for_both():
    study = make_study({"a": RATING, "b": UNEVEN}, tasks=4, people=30)
    values = crowd_of(study, 50, 1)
    here = study.tasks.scale[study.task] == 0
    half = dataclasses.replace(study, answer=np.where(here, study.answer, 2.0))
    alone = make_study({"a": RATING}, tasks=4, people=30)
    alone = dataclasses.replace(alone, answer=study.answer[here])
    both = scores_of(half, "tasks", values, values)["persistent", "variance_ratio"]
    one = scores_of(alone, "tasks", values[:, :4], values[:, :4])["persistent", "variance_ratio"]
    assert both.value == pytest.approx(one.value)


@pytest.mark.parametrize("people", [1, 2, 3, 4])
@pytest.mark.parametrize("by", ["tasks", "people"])
def test_few_people_have_values_without_intervals(people, by):
    study = make_study(tasks=20, people=people)
    found = scores_of(study, by, crowd_of(study, 40, 1), crowd_of(study, 40, 2))
    mae, spread = found["persistent", "mae"], found["persistent", "personal_sd"]
    assert np.isfinite(mae.value)
    if by == "people":
        assert np.isnan(mae.low)
        assert mae.why == f"only {people} {'person' if people == 1 else 'people'} held out"
    if people == 1:
        assert spread.why == "only 1 person held out"
        assert found["humans", "mae"].why == "no held-out task is answered by two people"
    else:
        assert np.isfinite(spread.value)
    assert np.isnan(spread.low)


def test_a_way_that_may_as_well_be_none_has_no_skill():
    """Pooled answers are the truth here: floor and ceiling differ by chance alone."""
    study = make_study(tasks=4, people=60)
    random = np.random.default_rng(1)
    study = dataclasses.replace(study, answer=random.integers(0, 5, len(study.answer)) * 1.0)
    floor = 1.0 + random.integers(0, 5, (4000, 4))
    found = scores_of(study, "people", crowd_of(study, 50, 1), floor)
    assert np.isnan(found["persistent", "skill"].value)
    assert "within chance" in found["persistent", "skill"].why


def test_correlations_and_groups_of_people_who_answer_alike():
    study = alike(make_study(tasks=4, people=40))
    humans, values = everything(study), crowd_of(study, 60, 1)
    assert score_correlations(humans, {"persistent": values}, 0) == {}
    profile = study.participants.profile
    codings = tuple(fit_coding(a, np.arange(40)) for a in profile)
    agents = tuple(dataclasses.replace(a, cells=np.resize(a.cells, 60)) for a in profile)
    found = score_groups(humans, codings[1:], profile[1:], agents[1:], values)
    assert "regression_agreement" not in found
    assert np.isnan(found["gap_error"]["crowd"][1])
    assert all(np.isnan(group.low) for group in groups_of(humans, profile, agents, values))


@pytest.mark.parametrize("people", [1, 3, 30])
def test_diagnostics_cannot_tell(people):
    study = make_study(tasks=6, people=people)
    if people == 30:
        study = alike(study)
    humans = everything(study, "people")
    values, floor = crowd_of(study, 60, 1), np.full((60, 6), 3.0)
    found = [
        *spread(humans, values),
        incompatible(humans, values, floor),
        interchangeable(humans, values),
    ]
    for one in found:
        assert not one.fires
        assert one.value is None
        assert one.detail.startswith("cannot be told ("), one
    if people > 1:
        every = np.ones(len(study.task), bool)
        codings = tuple(fit_coding(a, np.arange(people)) for a in study.participants.profile)
        split = Split("people", every, ~every, ~every)
        ready = Prepared(
            study, split, np.zeros((6, 0)), Reference("marginal", np.full(6, 3.0)), codings, None
        )
        attributes = silent_attributes(ready)
        assert (attributes.fires, attributes.value) == (False, None)
        assert attributes.detail.startswith("cannot be told (")


def test_tables_say_what_is_not_defined():
    study = alike(make_study(tasks=8, people=30))
    found = scores_of(study, "people", crowd_of(study, 40, 1), np.full((40, 8), 3.0))
    scores = list(found.values())
    board = dict(scoreboard(scores))
    assert "variance_ratio" not in board["persistent"]
    card = scorecard(board, "persistent")
    assert all(line.crowd[0] == line.crowd[0] for line in card)
    said = " ".join(in_words(card, [], 40))
    assert "nan" not in said
    console = Console(width=250, record=True, file=io.StringIO())
    console.print(scoreboard_of(scores))
    text = console.export_text()
    assert "n/d" in text
    assert "Variance ratio: not defined (all held-out people answer alike)" in text
    assert "nan" not in text
    assert max(map(len, text.splitlines())) < 200


def test_studies_and_reports_say_what_they_are_of():
    study = alike(make_study(tasks=4, people=12))
    weight = np.r_[3.0, np.full(11, 9 / 11)]
    people = dataclasses.replace(study.participants, weight=weight)
    humans = everything(dataclasses.replace(study, participants=people))
    results = Results("", ("crowd",), (Row(("a",), 0, "rps", 0.1),), {"rps": "RPS", "icc": "ICC"})
    assert folder._notes_on_people(results, humans) == [
        "ICC: not defined (no answer differs from another)",
        "people count by survey weight",
    ]
    # Kish: 12^2 / (3^2 + 11 (9 / 11)^2).
    assert "The 12 held out say as much as 9 would" in report._weights(humans)
    assert report._weights(everything(study)) == ""


def test_several_seeds_tell_in_how_many_a_measure_is_not_defined():
    def one(seed, value, why=""):
        return Score("persistent", "people", seed, "icc", value, value, value, why)

    scores = [one(0, 0.2), one(1, np.nan, "nobody answers"), one(2, 0.4)]
    mean, low, high = dict(scoreboard(scores))["persistent"]["icc"]
    assert (mean, high - low) == (pytest.approx(0.3), pytest.approx(2 * np.std([0.2, 0.4], ddof=1)))
    assert untold(scores) == {
        "persistent": {"icc": "not defined with 1 of 3 seeds (nobody answers)"}
    }
