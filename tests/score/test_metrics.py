"""Every measure against its definition written out, and the noise ceiling against simulations."""

import dataclasses
from functools import partial

import numpy as np
import pytest
from few_drawings import few_drawings  # noqa: F401
from scipy.stats import wasserstein_distance
from synthetic import RATING, make_study

from crowdllm_jax.score import metrics
from crowdllm_jax.score.bootstrap import bootstrap
from crowdllm_jax.score.ceiling import score_humans
from crowdllm_jax.score.held_out import Humans, held_out
from crowdllm_jax.score.metrics import METRICS, measure_crowd, score_crowd
from crowdllm_jax.score.persons import intra_class
from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.scales import Continuous, Ordinal
from crowdllm_jax.study.split import Split

UNEVEN = Ordinal(levels=(0, 1, 2, 5, 10))
PRICE = Continuous(low=-10, high=30)


def everything(study: Study, by: str = "tasks") -> Humans:
    """All of a study's responses as the held-out ones."""
    every = np.ones(len(study.task), bool)
    return held_out(study, Split(by, ~every, ~every, every))


def crowd_of(study: Study, agents: int, seed: int) -> np.ndarray:
    """(N, T) values of a crowd that answers otherwise than the people."""
    random = np.random.default_rng(seed)
    columns = []
    for task in range(len(study.tasks.ids)):
        levels = scales.values(study.scale_of(task))
        if scales.size(study.scale_of(task)):
            columns.append(random.choice(levels, agents, p=random.dirichlet(np.ones(len(levels)))))
        else:
            columns.append(random.uniform(*levels, agents))
    return np.column_stack(columns).astype(np.float32)


def values_of(scores) -> dict[str, float]:
    """Of the measures that are defined."""
    return {score.metric: score.value for score in scores if np.isfinite(score.value)}


def expected(study: Study, values: np.ndarray) -> dict[str, float]:
    """The task and pooled measures of one discrete scale, from samples and by definition."""
    (levels,) = [scales.values(scale) for scale in study.scales.values()]
    gap, wd, cs, rps = [], [], [], []
    for task in range(len(study.tasks.ids)):
        people, crowd = study.value[study.task == task], values[:, task].astype(float)
        gap.append(crowd.mean() - people.mean())
        wd.append(wasserstein_distance(crowd, people))
        one, two = ((levels == v[:, None]).sum(0) for v in (crowd, people))
        cs.append(one @ two / np.sqrt((one @ one) * (two @ two)))
        # CRPS as E|X - y| - E|X - X'| / 2, the form without a distribution function.
        spread = np.abs(crowd[:, None] - crowd).mean() / 2
        rps.extend(np.abs(crowd[:, None] - people).mean(0) - spread)
    weights = np.bincount(study.task)[None] * np.ones_like(values)
    crowd, weights = values.ravel().astype(float), weights.ravel()
    mean = np.average(crowd, weights=weights)
    return {
        "mae": np.mean(np.abs(gap)),
        "rmse": np.sqrt(np.mean(np.square(gap))),
        "cs": np.mean(cs),
        "avg_wd": np.mean(wd),
        "rps": np.mean(rps),
        "pooled_wd": wasserstein_distance(crowd, study.value, u_weights=weights),
        "variance_ratio": np.average((crowd - mean) ** 2, weights=weights) / study.value.var(),
    }


@pytest.mark.parametrize("by", ["tasks", "people"])
@pytest.mark.parametrize("scale", [RATING, UNEVEN], ids=["rating", "uneven"])
def test_task_and_pooled_measures_equal_their_definitions(scale, by):
    study = make_study({"one": scale}, tasks=7, people=30, share=0.6)
    values = crowd_of(study, 80, seed=1)
    found = values_of(score_crowd(everything(study, by), values, "cvae", 0))
    assert measure_crowd(everything(study, by), values) == found
    for name, value in expected(study, values).items():
        assert found[name] == pytest.approx(value, abs=1e-6), name


def test_continuous_measures_equal_their_definitions_up_to_a_bin():
    study = make_study({"price": PRICE}, tasks=5, people=40)
    values = crowd_of(study, 300, seed=2)
    found = values_of(score_crowd(everything(study), values, "cvae", 0))
    wd, rps = [], []
    for task in range(5):
        people, crowd = study.value[study.task == task], values[:, task].astype(float)
        wd.append(wasserstein_distance(crowd, people))
        spread = np.abs(crowd[:, None] - crowd).mean() / 2
        rps.extend(np.abs(crowd[:, None] - people).mean(0) - spread)
    # Each of the two distributions is moved by at most half of a bin, 40 / 200 wide.
    assert found["avg_wd"] == pytest.approx(np.mean(wd), abs=0.2)
    assert found["rps"] == pytest.approx(np.mean(rps), abs=0.2)
    assert found["mae"] == pytest.approx(
        np.mean([abs(values[:, t].mean() - study.value[study.task == t].mean()) for t in range(5)]),
        abs=1e-5,
    )


def test_measures_of_a_hand_example():
    """Two tasks on 1 to 5, two people, two agents: all numbers fit on a napkin."""
    study = make_study({"r": RATING}, tasks=2, people=2)
    study = dataclasses.replace(
        study, answer=np.array([0.0, 4, 2, 4])
    )  # task 0: 1, 3; task 1: 5, 5
    found = values_of(score_crowd(everything(study), np.array([[1.0, 5], [1, 3]]), "cvae", 0))
    assert found["mae"] == 1  # |1 - 2| and |4 - 5|
    assert found["avg_wd"] == 1
    assert found["cs"] == pytest.approx(np.sqrt(0.5))
    # Task 0: crowd is sure of 1; y = 1 costs 0, y = 3 costs 2. Task 1: F is 1/2 on [3, 5).
    assert found["rps"] == pytest.approx((0 + 2 + 0.5 + 0.5) / 4)
    assert found["variance_ratio"] == pytest.approx(np.var([1, 1, 3, 5]) / np.var([1, 3, 5, 5]))


def test_the_true_crowd_scores_perfectly():
    study = make_study(people=30)
    every = study.value.reshape(30, -1)
    found = values_of(score_crowd(everything(study), every, "cvae", 0))
    for name in ("mae", "rmse", "avg_wd", "pooled_wd", "personal_wd"):
        assert found[name] == pytest.approx(0, abs=1e-9), name
    assert found["cs"] == pytest.approx(1)
    assert found["variance_ratio"] == pytest.approx(1)
    people = values_of(score_humans(everything(study), 0))
    for name in ("personal_sd", "icc"):
        assert found[name] == pytest.approx(people[name]), name


def test_several_scales_are_averaged_as_shares_of_their_ranges():
    study = make_study({"a": RATING, "b": UNEVEN}, tasks=3, people=20)
    values = crowd_of(study, 50, seed=3)
    found = values_of(score_crowd(everything(study), values, "cvae", 0))
    parts = []
    for index, name in enumerate(study.scales):
        here = study.tasks.scale == index
        keep = here[study.task]
        own = dataclasses.replace(
            study,
            scales={name: study.scales[name]},
            tasks=dataclasses.replace(
                study.tasks, ids=study.tasks.ids[:3], scale=np.zeros(3, np.int32)
            ),
            person=study.person[keep],
            task=study.task[keep] - 3 * index,
            answer=study.answer[keep],
        )
        ends = scales.values(study.scales[name])[[0, -1]]
        told = expected(own, values[:, here])
        in_units = {m: told[m] / np.ptp(ends) for m in ("mae", "avg_wd", "rps", "pooled_wd")}
        parts.append(told | in_units)
    for metric in ("mae", "cs", "avg_wd", "rps", "pooled_wd", "variance_ratio"):
        assert found[metric] == pytest.approx(np.mean([p[metric] for p in parts]), abs=1e-6), metric


def test_icc_equals_an_analysis_of_variance():
    """Of unbalanced persons, from statsmodels' mean squares (Shrout & Fleiss 1979, case 1)."""
    import pandas as pd
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    study = make_study(tasks=9, people=15, share=0.7)
    person, y = study.person, study.value + 0.5 * (study.person % 4)
    table = anova_lm(ols("y ~ C(person)", pd.DataFrame({"y": y, "person": person})).fit())
    between, within = table["mean_sq"]
    n = np.bincount(person)
    size = (n.sum() - (n**2).sum() / n.sum()) / (len(n) - 1)
    mean = np.bincount(person, y) / n
    found = intra_class(n, np.bincount(person, y**2), mean)
    assert found == pytest.approx((between - within) / (between + (size - 1) * within))


def test_icc_of_people_who_never_and_who_always_differ():
    n, mean = np.full(4, 5), np.array([1.0, 2.0, 3.0, 4.0])
    assert intra_class(n, n * mean**2, mean) == pytest.approx(1)
    same = np.full(4, 2.0)
    assert intra_class(n, n * (same**2 + 1), same) < 0
    assert np.isnan(intra_class(n, n * same**2, same))


def test_agents_answer_the_tasks_that_people_answered():
    """Personal measures by definition: agent j stands in the place of person j mod H."""
    study = make_study(tasks=8, people=10, share=0.5)
    humans, values = everything(study), crowd_of(study, 25, seed=4)
    found = values_of(score_crowd(humans, values, "cvae", 0))
    own = np.array([study.value[study.person == p].mean() for p in range(10)])
    agents = np.array(
        [
            [values[10 * r + p, study.task[study.person == p]].mean() for p in range(10)]
            for r in range(2)
        ]
    )
    assert found["personal_sd"] == pytest.approx(agents.std(axis=1, ddof=1).mean())
    assert found["personal_wd"] == pytest.approx(wasserstein_distance(agents.ravel(), own))


def simulated(random: np.random.Generator, chance: np.ndarray, raters: int) -> Study:
    """People who answer every task from its own distribution; chance is (T, 5)."""
    study = make_study(tasks=len(chance), people=raters)
    u = random.random((raters, len(chance), 1))
    return dataclasses.replace(
        study, answer=(u > chance.cumsum(1)[:, :-1]).sum(2).ravel().astype(float)
    )


def test_the_ceiling_is_what_the_true_distribution_would_score(monkeypatch):
    """Against a crowd of the true distributions, T = 300 tasks with 20 raters each.

    Both sides average T independent task errors. An error's standard deviation is at most 0.76 of
    its mean (of |N(0, 1)|: sqrt(pi / 2 - 1)); the square errors behind rmse and cs spread more, at
    most sqrt(2) of their mean. Five standard deviations of the difference of two such averages:
    5 * sqrt(2) * sqrt(2) / sqrt(300) = 0.58 for 1 - cs, half of the relative error for rmse's
    root, and 5 * 1.08 / sqrt(300) = 0.31 for the others; alpha < 1e-6 each. A forgotten half would
    be off by 1.0, a forgotten quarter by 3.0.
    """
    monkeypatch.setattr(metrics, "bootstrap", partial(bootstrap, times=100))
    random = np.random.default_rng(11)
    chance = random.dirichlet(np.full(5, 3.0), 300)
    humans = everything(simulated(random, chance, 20))
    # 4,000 agents: their own error is 14 times smaller than that of 20 raters.
    crowd = 1.0 + (random.random((4000, 300, 1)) > chance.cumsum(1)[:, :-1]).sum(2)
    truth = values_of(score_crowd(humans, crowd, "cvae", 0))
    ceiling = values_of(score_humans(humans, 0))
    for name, tolerance in (("mae", 0.31), ("rmse", 0.29), ("avg_wd", 0.31)):
        assert ceiling[name] == pytest.approx(truth[name], rel=tolerance), name
    assert 1 - ceiling["cs"] == pytest.approx(1 - truth["cs"], rel=0.58)
    # One pooled distance is one draw, not an average: only its size can be compared.
    assert truth["pooled_wd"] / 5 < ceiling["pooled_wd"] < 5 * max(truth["pooled_wd"], 0.005)
    assert ceiling["variance_ratio"] == 1


def test_the_ceiling_of_rps_is_unbiased():
    """E|X - X'| / 2 of known distributions, to five standard errors.

    A mean over pairs of n raters has variance of at most 2 / n that of one pair (Hoeffding 1948).
    """
    random = np.random.default_rng(5)
    chance = random.dirichlet(np.ones(5), 600)
    raters = 3
    found = values_of(score_humans(everything(simulated(random, chance, raters)), 0))["rps"]
    apart = np.abs(np.arange(5)[:, None] - np.arange(5)) / 2
    mean = np.einsum("ti,tj,ij->t", chance, chance, apart)
    variance = np.einsum("ti,tj,ij->t", chance, chance, apart**2) - mean**2
    error = np.sqrt((2 / raters * variance).sum()) / len(chance)
    assert found == pytest.approx(mean.mean(), abs=5 * error)


def test_intervals_cover_the_true_value(monkeypatch):
    """80 samples of 40 tasks: the 95% interval of mae must hold the population's value.

    A percentile interval of 40 tasks covers about 93%; fewer than 60 of 80 at that rate has
    chance 1e-7. An interval half as wide covers 66%, which passes once in 20.
    """
    monkeypatch.setattr(metrics, "bootstrap", partial(bootstrap, times=100))
    monkeypatch.setattr(metrics, "person_scores", lambda *_: ({}, {}, {}))
    random = np.random.default_rng(2)
    crowd = np.full((10, 40), 3.0)

    def interval():
        study = simulated(random, random.dirichlet(np.ones(5), 40), 6)
        scores = score_crowd(everything(study), crowd, "cvae", 0)
        return next(score for score in scores if score.metric == "mae")

    monkeypatch.setattr(metrics, "METRICS", ("mae",))
    big = simulated(random, random.dirichlet(np.ones(5), 20_000), 6)
    means = np.bincount(big.task, big.value) / 6
    truth = np.abs(means - 3).mean()
    covered = sum(found.low <= truth <= found.high for found in (interval() for _ in range(80)))
    assert covered >= 60


@pytest.mark.parametrize("by", ["tasks", "people"])
def test_every_score_lies_in_its_interval_and_is_in_order(by):
    study = make_study(tasks=6, people=25)
    humans = everything(study, by)
    values, floor = crowd_of(study, 60, 0), crowd_of(study, 60, 1)
    scores = score_crowd(humans, values, "cvae", 3, floor) + score_humans(humans, 3)
    assert [score.metric for score in scores] == [*METRICS, *METRICS]
    for score in scores:
        assert (score.split, score.seed) == (by, 3)
        if not score.why:
            assert score.low <= score.value <= score.high
    # One answer each does not tell how accurate people are; what a truth scores by definition is
    # no estimate.
    assert {score.metric for score in scores if score.why} == {
        "accuracy",
        "skill",
        "ece",
        "variance_ratio",
    }
    assert {score.metric for score in scores if np.isnan(score.value)} == {"accuracy"}
    again = score_crowd(humans, values, "cvae", 3, floor) + score_humans(humans, 3)
    assert repr(scores) == repr(again)


def test_resampled_people_do_not_change_what_a_task_weighs():
    """Drawing a person twice moves the mean of their tasks, but each task still counts once."""
    study = make_study(tasks=5, people=8, share=0.7)
    humans, values = everything(study, "people"), crowd_of(study, 30, seed=6)
    drawn = np.array([2.0, 0, 1, 1, 3, 0, 0, 1])
    weight = drawn[study.person]
    counts = np.stack([[(column == v).sum() for v in range(1, 6)] for column in values.T])
    found = metrics._compare(humans, counts, values.mean(0), weight)
    gap = [
        abs(values[:, t].mean() - np.average(study.value[here], weights=weight[here]))
        for t in range(5)
        if weight[here := study.task == t].any()
    ]
    assert found["mae"] == pytest.approx(np.mean(gap))


def test_what_cannot_be_measured_has_no_value():
    study = make_study(tasks=3, people=1)
    found = values_of(score_humans(everything(study), 0))
    assert "personal_sd" not in found
    assert "mae" not in found  # one rater has no two halves
    crowd = values_of(score_crowd(everything(study), np.full((5, 3), 2.0), "cvae", 0))
    assert "icc" not in crowd
    assert "mae" in crowd


def test_held_out_keeps_the_test_part_alone():
    study = make_study(tasks=4, people=6)
    test = np.isin(study.task, [1, 3])
    humans = held_out(study, Split("tasks", ~test, np.zeros_like(test), test))
    assert humans.tasks.tolist() == [1, 3]
    np.testing.assert_array_equal(humans.value, study.value[test])
    assert humans.people == 6


def test_one_answer_each_has_no_intra_class_correlation():
    study = make_study(tasks=1, people=12)
    humans = everything(study, "people")
    for scores in (score_humans(humans, 0), score_crowd(humans, crowd_of(study, 30, 0), "cvae", 0)):
        assert "icc" not in values_of(scores)
        assert "personal_sd" in values_of(scores)
