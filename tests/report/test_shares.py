"""Shares of answers, their intervals and distances, and the sentence that leads the page."""

import dataclasses
from typing import get_args

import numpy as np
import pytest
from reported import AGREE, agents, everything, reported
from scipy.stats import binomtest
from synthetic import EVERY_SCALE, make_study

from crowdllm_jax.model.crowd import ModelConfig
from crowdllm_jax.report.charts import groups_chart, leading, percent, said, way_of
from crowdllm_jax.report.glossary import ANSWERS, MEASURES
from crowdllm_jax.report.headings import HEADINGS, MODELS
from crowdllm_jax.report.scorecard import Line, headline, in_words
from crowdllm_jax.report.shares import (
    Question,
    axis_end,
    best_known,
    closest_first,
    questions_of,
    typical,
)
from crowdllm_jax.score.answers import ANSWER_METRICS
from crowdllm_jax.score.finding import Finding
from crowdllm_jax.score.groups import Group


def test_shares_and_intervals_equal_counting():
    study = make_study({"agree": AGREE}, tasks=3, people=40, share=0.7)
    values = agents(study, 200, study)
    for task, question in enumerate(questions_of(study, everything(study), values)):
        given = study.answer[study.task == task].astype(int)
        count = np.bincount(given, minlength=4)
        assert question.labels == AGREE.labels
        assert question.people == len(given)
        np.testing.assert_allclose(question.human, count / len(given))
        crowd = [(values[:, task] == level).mean() for level in (1, 2, 3, 4)]
        np.testing.assert_allclose(question.crowd, crowd)
        for bar in range(4):
            ends = binomtest(int(count[bar]), len(given)).proportion_ci(method="wilson")
            assert (question.low[bar], question.high[bar]) == pytest.approx(tuple(ends))
        moved = np.clip(question.human - question.crowd, 0, None).sum()
        assert question.distance == pytest.approx(moved)


def test_weights_are_kishs_number_of_people():
    study = make_study({"agree": AGREE}, tasks=1, people=40)
    weight = np.where(np.arange(40) < 20, 3.0, 1.0)
    people = dataclasses.replace(study.participants, weight=weight)
    study = dataclasses.replace(study, participants=people)
    (question,) = questions_of(study, everything(study), agents(study, 50, study))
    n = weight.sum() ** 2 / (weight**2).sum()
    share = weight[study.answer == 2].sum() / weight.sum()
    middle = (share + 1.96**2 / (2 * n)) / (1 + 1.96**2 / n)
    assert question.human[2] == pytest.approx(share)
    assert (question.low[2] + question.high[2]) / 2 == pytest.approx(middle, abs=1e-4)


def test_chance_is_the_distance_of_people_who_answer_as_the_crowd_does():
    """4,000 samples of 60 people: the mean distance is known to .0005; the normal approximation of
    four binomials of 60 is off by less than .002."""
    study = make_study({"agree": AGREE}, tasks=1, people=60)
    (question,) = questions_of(study, everything(study), agents(study, 500, study))
    drawn = np.random.default_rng(0).multinomial(60, question.crowd, 4000) / 60
    distance = np.abs(drawn - question.crowd).sum(1).mean() / 2
    assert question.chance == pytest.approx(distance, abs=0.003)


@pytest.mark.parametrize("name", EVERY_SCALE)
def test_every_kind_of_scale_has_shares_that_add_up(name):
    study = make_study({name: EVERY_SCALE[name]}, tasks=4, people=30)
    questions = questions_of(study, everything(study), agents(study, 100, study))
    for question in questions:
        assert len(question.labels) == len(question.human) <= 12
        for shares in (question.human, question.crowd):
            assert shares.sum() == pytest.approx(1)
        assert np.all((question.low <= question.human) & (question.human <= question.high))
    chart = leading(study, questions, typical(questions))
    assert all(row.high <= axis_end(questions) + 1e-9 for row in chart.rows)
    if name in ("approve", "pick"):
        # The projects beside each other, the most approved first.
        assert [row.label for row in chart.rows] != list(questions[0].labels)
        approved = [row.human for row in chart.rows]
        assert approved == sorted(approved, reverse=True)


def test_few_people_are_not_ranked():
    run = reported(share=0.05, people=60)
    questions = questions_of(run.study, run.humans, run.answers)
    assert any(question.people < 5 for question in questions)
    ranked = closest_first(questions)
    assert all(question.people >= 5 for question in ranked)
    excess = [question.excess for question in ranked]
    assert excess == sorted(excess)


@pytest.mark.parametrize(
    ("skill", "says"),
    [
        ((0.98, 0.88, 1.04), "as close to the people as another sample of people would"),
        ((1.2, 1.1, 1.3), "as close to the people as another sample of people would"),
        ((0.61, 0.55, 0.7), "The crowd goes 61% of the way (between 55% and 70%) from knowing"),
        ((0.1, -0.1, 0.3), "comes no closer to the people than knowing nothing"),
        ((-2.8, -3.0, -2.6), "further from the people than knowing nothing"),
        ((0.6, np.nan, np.nan), "60% of the way (too few to tell how surely)"),
        ((np.nan, np.nan, np.nan), "cannot be said"),
    ],
)
def test_the_sentence_says_what_the_interval_allows(skill, says):
    assert says in headline(skill, [])
    few = Finding("too few to tell", "", 0.6, True, "", "8 people with 40 answers; skill")
    told = headline(skill, [few])
    assert told == "Too few to tell how close the crowd comes: 8 people with 40 answers."


@pytest.mark.parametrize(
    ("skill", "says"),
    [
        (
            (0.93, 0.88, 0.98),
            "goes 93% of the way (± 5%, one standard deviation over 5 seeds) from",
        ),
        (
            (0.97, 0.92, 1.02),
            "goes 97% of the way (± 5%, one standard deviation over 5 seeds) from",
        ),
        ((1.1, 1.0, 1.2), "as close to the people as another sample of people would"),
        ((-0.3, -0.4, -0.2), "no closer to the people than knowing nothing"),
        ((0.6, np.nan, np.nan), "60% of the way (by one of 5 seeds)"),
    ],
)
def test_a_deviation_of_seeds_is_told_as_no_interval(skill, says):
    """Their ends are one standard deviation off (`scoreboard`), by which splits differ."""
    told = headline(skill, [], 5)
    assert says in told
    assert "between" not in told
    ratio = Line("variance_ratio", "", "match", (0.9, 0.83, 0.97), None, None, None, None)
    assert any("vary less than" in word for word in in_words([ratio], [], 9))
    assert any("vary about as much as" in word for word in in_words([ratio], [], 9, seeds=5))


def test_places_in_charts():
    assert (percent(1 / 3), percent(1), percent(0)) == ("33.33%", "100%", "0%")
    assert (said(0), said(0.001), said(0.126)) == ("0%", "<1%", "13%")
    way = way_of((-0.5, -1.0, 0.2))
    ends = [float(way.at(value)[:-1]) for value in (-1.0, 0, 1)]
    assert 0 < ends[0] < ends[1] < ends[2] < 100
    chart = groups_chart([Group("age", "old", 12, 0.03, np.nan, np.nan, np.nan)])
    assert (chart.end, chart.rows[0].human) == (4, 3)


def test_every_measure_is_explained():
    """Of single answers other measures are shown than of a crowd (`headings`)."""
    assert MEASURES.keys() | ANSWERS.keys() == HEADINGS.keys()
    assert ANSWERS.keys() == set(ANSWER_METRICS)


def test_every_model_has_a_row_and_stands_before_the_published_one():
    """A scoreboard lists what has a name; the first after people is the run's own."""
    order = list(MODELS)
    for model in get_args(ModelConfig):
        name = model.__struct_config__.tag
        assert order.index("humans") < order.index(name) <= order.index("cvae")


def asked(people: int, distance: float) -> Question:
    half = np.array([0.5, 0.5])
    return Question(0, "q", "q", 0, ("no", "yes"), people, half, half, half, half, distance, 0.1)


def test_charts_are_picked_among_questions_that_many_answered():
    random = np.random.default_rng(0)
    ranked = [asked(n, random.uniform()) for n in [6] * 90 + [60] * 10]
    assert [question.people for question in best_known(ranked, 8)] == [60] * 10
    # Where nobody has many, the upper quarter is what there is; where that is few, all are.
    few = [asked(5 + i % 4, 0.1) for i in range(40)]
    assert {question.people for question in best_known(few, 8)} == {8}
    assert best_known(few, 30) == few
    assert best_known([], 8) == []
