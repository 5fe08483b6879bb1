"""Survey weights: all equal they change no digit, whole numbers are as many people, and every
weighted statistic equals an independent one."""

import dataclasses
from functools import partial

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from few_drawings import few_drawings  # noqa: F401
from scipy.stats import wasserstein_distance
from statsmodels.stats.weightstats import DescrStatsW
from synthetic import EVERY_SCALE, RATING, make_study
from test_baselines import N, fits, reference_of
from test_diagnostics import answers
from test_metrics import UNEVEN, crowd_of, everything, simulated, values_of
from test_scorecard import agents_like, linearised, several

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.experiments.size import targets
from crowdllm_jax.model.fit import Prepared
from crowdllm_jax.reference.fitted import FittedReference, fit_reference
from crowdllm_jax.reference.marginal import crowd_average
from crowdllm_jax.score import metrics
from crowdllm_jax.score.baselines import baseline_crowds, noise_sd
from crowdllm_jax.score.bootstrap import bootstrap
from crowdllm_jax.score.ceiling import score_humans
from crowdllm_jax.score.correlations import score_correlations
from crowdllm_jax.score.diagnostics import incompatible, interchangeable, silent_attributes, spread
from crowdllm_jax.score.groups import groups_of, regression, score_groups
from crowdllm_jax.score.halves import shrink
from crowdllm_jax.score.held_out import held_out
from crowdllm_jax.score.metrics import measure_crowd, score_crowd
from crowdllm_jax.score.persons import intra_class, weighted_sd
from crowdllm_jax.study.coding import fit_coding
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.scales import Continuous, Points
from crowdllm_jax.study.split import Split
from crowdllm_jax.study.statistics import task_means

PERSONAL = ("personal_sd", "personal_wd", "icc")
"""Of independent persons: two copies of one person are not two."""


def weighted(study: Study, weight: np.ndarray) -> Study:
    own = weight / weight.mean()
    return dataclasses.replace(
        study, participants=dataclasses.replace(study.participants, weight=own)
    )


def random_weights(people: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).choice([0.2, 0.5, 1.0, 4.0], people)


def repeated(study: Study, times: np.ndarray) -> Study:
    """Every person as often as `times` says; nobody who is there no times."""
    copies = np.repeat(np.arange(len(times)), times)
    row_of = [np.flatnonzero(study.person == p) for p in copies]
    rows = np.concatenate(row_of)
    profile = tuple(
        dataclasses.replace(a, cells=a.cells[copies]) for a in study.participants.profile
    )
    people = dataclasses.replace(
        study.participants,
        ids=tuple(f"c{i}" for i in range(len(copies))),
        profile=profile,
        weight=np.ones(len(copies)),
    )
    person = np.repeat(np.arange(len(copies)), [len(r) for r in row_of]).astype(np.int32)
    return dataclasses.replace(
        study, participants=people, person=person, task=study.task[rows], answer=study.answer[rows]
    )


def everything_told(study: Study, by: str) -> list:
    """All numbers about people that the product computes from held-out and training answers."""
    humans = everything(study, by)
    values, floor = crowd_of(study, 150, 1), crowd_of(study, 150, 2)
    seen = humans.tasks
    profile, (agents, _) = study.participants.profile, agents_like(study, 150)
    every = np.ones(len(study.task), bool)
    split = Split(by, every, ~every, every)
    people = np.arange(len(study.participants.ids))
    codings = tuple(fit_coding(a, people) for a in profile)
    reference = crowd_average(study, split)
    ready = Prepared(study, split, np.zeros((len(study.tasks.ids), 0)), reference, codings, None)
    crowds = baseline_crowds(study, split, reference, 50, 0)
    return [
        score_crowd(humans, values, "cvae", 0, floor),
        score_humans(humans, 0),
        measure_crowd(humans, values),
        score_correlations(humans, {"cvae": values}, 0),
        score_groups(humans, codings[1:], profile[1:], agents[1:], values),
        groups_of(humans, profile, agents, values),
        spread(humans, values),
        incompatible(humans, values, floor),
        interchangeable(humans, values),
        silent_attributes(ready),
        [part.tolist() for part in task_means(study, every)],
        reference.mean.tolist(),
        {name: crowd.tolist() for name, crowd in crowds.items()},
        [noise_sd(study, split, reference, i) for i in range(len(study.scales))],
        [part.tolist() for part in targets(study, humans)],
        seen.tolist(),
    ]


@pytest.mark.parametrize("by", ["tasks", "people"])
@pytest.mark.parametrize("kind", ["ratings", "every scale"])
def test_equal_weights_change_no_digit(by, kind, monkeypatch):
    monkeypatch.setattr(metrics, "bootstrap", partial(bootstrap, times=100))
    study = several(40, 9, 0.8) if kind == "ratings" else make_study(EVERY_SCALE, people=20)
    equal = dataclasses.replace(study.participants, weight=np.full(study.person.max() + 1, 0.3))
    other = dataclasses.replace(study, participants=equal)
    assert repr(everything_told(other, by)) == repr(everything_told(study, by))


@pytest.mark.parametrize("by", ["tasks", "people"])
@pytest.mark.parametrize("scales", [{"one": RATING}, {"a": RATING, "b": UNEVEN}], ids=len)
def test_whole_weights_are_as_many_people(by, scales):
    """Of the crowd's measures and the floors; weight 0 is nobody."""
    study = make_study(scales, tasks=6, people=30, share=0.7)
    times = np.random.default_rng(1).integers(0, 4, 30)
    one, many = weighted(study, times.astype(float)), repeated(study, times)
    values, floor = crowd_of(study, 80, 3), crowd_of(study, 80, 4)
    ours, theirs = (
        values_of(score_crowd(everything(s, by), values, "cvae", 0, floor)) for s in (one, many)
    )
    # The way to the ceiling is of pairs of different people, which copies of one are not.
    for name in set(ours) - {*PERSONAL, "skill"}:
        assert ours[name] == pytest.approx(theirs[name], rel=1e-9), name
    assert measure_crowd(everything(one, by), values)["rps"] == pytest.approx(ours["rps"])
    every = np.ones(len(one.task), bool)
    split, copied = (
        Split(by, np.ones(len(s.task), bool), np.zeros(len(s.task), bool), every)
        for s in (one, many)
    )
    for index in range(len(scales)):
        reference = reference_of(study)
        assert noise_sd(one, split, reference, index) == pytest.approx(
            noise_sd(many, copied, reference, index), rel=1e-5
        )
    mean, total, _ = task_means(one, split.seen)
    np.testing.assert_allclose(mean, task_means(many, copied.seen)[0])
    np.testing.assert_allclose(total * times.mean(), task_means(many, copied.seen)[1])
    if by == "tasks":
        found, expected = crowd_average(one, split), crowd_average(many, copied)
        np.testing.assert_allclose(found.mean, expected.mean)
        np.testing.assert_allclose(found.probs, expected.probs, atol=1e-12)


def test_the_ceiling_of_rps_is_of_pairs_of_different_people():
    study = weighted(make_study({"u": UNEVEN}, tasks=4, people=12, share=0.7), random_weights(12))
    total = weight = 0.0
    for task in range(4):
        here = study.task == task
        x, w = study.value[here], study.weight[here]
        pairs = np.outer(w, w) * (1 - np.eye(len(x)))
        own = (pairs * np.abs(x[:, None] - x)).sum() / pairs.sum() / 2
        total, weight = total + own * w.sum(), weight + w.sum()
    found = values_of(score_humans(everything(study), 0))["rps"]
    assert found == pytest.approx(total / weight)


def test_personal_spread_equals_numpys_weighted_variance():
    study = weighted(several(40, 8, 0.6), random_weights(40))
    humans = everything(study)
    means = np.array([study.value[study.person == p].mean() for p in range(40)])
    w = study.participants.weight
    found = values_of(score_humans(humans, 0))
    assert found["personal_sd"] ** 2 == pytest.approx(np.cov(means, aweights=w))
    # As many agents as people, each in one person's place.
    values = crowd_of(study, 40, 5)
    agents = np.array([values[p, study.task[study.person == p]].mean() for p in range(40)])
    crowd = values_of(score_crowd(humans, values, "cvae", 0))
    assert crowd["personal_sd"] ** 2 == pytest.approx(np.cov(agents, aweights=w))
    assert crowd["personal_wd"] == pytest.approx(wasserstein_distance(agents, means, w, w))


def test_weighted_variance_components_are_unbiased():
    """The weighted squares between and within persons, divided by what they are expected to be:
    the trace of their quadratic forms with the covariance of answers of independent persons."""
    random = np.random.default_rng(3)
    w, n = random.choice([0.1, 1.0, 5.0], 30), random.integers(1, 7, 30)
    person = np.repeat(np.arange(30), n)
    y = random.normal(size=30)[person] + random.normal(size=len(person))
    members = np.eye(30)[person]
    weight = np.diag(w[person])
    own = members @ np.diag(1 / n) @ members.T
    grand = np.outer(np.ones(len(y)), w[person]) / w[person].sum()
    between, within = own - grand, np.eye(len(y)) - own
    between, within = (form.T @ weight @ form for form in (between, within))
    # E[y' A y] = (variance between) tr(A Z Z') + (variance within) tr(A).
    inner = (y @ within @ y) / np.trace(within)
    outer = y @ between @ y - inner * np.trace(between)
    outer /= np.trace(between @ members @ members.T)
    mean = np.bincount(person, y) / n
    found = intra_class(n, np.bincount(person, y**2), mean, w)
    assert found == pytest.approx(outer / (outer + inner))
    assert weighted_sd(mean, w) ** 2 == pytest.approx(np.cov(mean, aweights=w))


def test_the_bootstraps_standard_error_is_the_linearised_one():
    """Of a weighted mean over people, against statsmodels' cluster-robust one without its
    correction for few; 400 drawings tell a standard error to 1 / sqrt(800), four times 3.5%."""
    study = weighted(several(150, 6, 0.7), random_weights(150))
    humans = everything(study, "people")
    drawn = []

    def measure(weight: np.ndarray) -> dict[str, float]:
        drawn.append(np.average(humans.value, weights=weight))
        return {"mean": drawn[-1]}

    bootstrap(humans, measure)
    fit = sm.WLS(humans.value, np.ones(len(humans.value)), weights=humans.answer_weight).fit(
        cov_type="cluster", cov_kwds={"groups": humans.person, "use_correction": False}
    )
    assert drawn[0] == pytest.approx(fit.params[0])
    assert np.std(drawn[1:]) == pytest.approx(fit.bse[0], rel=0.15)


def test_gaps_equal_weighted_statsmodels():
    study = weighted(several(80, 6, 0.7), random_weights(80))
    agents, _ = agents_like(study, 300)
    values = crowd_of(study, 300, 3)
    found = {
        (g.attribute, g.level): g
        for g in groups_of(everything(study), study.participants.profile, agents, values)
    }
    city = study.participants.profile[1].cells
    table = pd.DataFrame(
        {
            "p": study.person,
            "t": study.task,
            "w": study.weight,
            "v": (study.value - 1) / 4,
            "city": city[study.person],
        }
    )
    table["gap"] = [
        row.v - np.average(others.v, weights=others.w)
        for row in table.itertuples()
        for others in [table[(table.t == row.t) & (table.p != row.p)]]
    ]
    share = (values - 1) / 4
    for level, name in enumerate("ABC"):
        own = table[table.city == level]
        group = found["city", name]
        assert group.human == pytest.approx(np.average(own.gap, weights=own.w))
        error = linearised(table, study.participants.weight, "city", level)
        assert (group.high - group.human) / 1.96 == pytest.approx(error, rel=1e-4)
        moved = (share - share.mean(0))[agents[1].cells == level].mean(0)
        assert group.crowd == pytest.approx(np.average(moved[own.t], weights=own.w))


def test_regression_equals_weighted_least_squares():
    study = weighted(several(150, 5, 0.8), random_weights(150))
    profile = study.participants.profile[1:]
    codings = tuple(fit_coding(a, np.arange(150)) for a in profile)
    agents, _ = agents_like(study, 300)
    found = regression(everything(study), codings, profile, agents[1:], crowd_of(study, 300, 3))
    table = pd.DataFrame({"p": study.person, "t": study.task, "w": study.weight})
    table["v"], table["city"] = (study.value - 1) / 4, profile[0].cells[study.person]
    total, weight = ((table.w * x).groupby(table.t).transform("sum") for x in (table.v, 1))
    table["gap"] = table.v - (total - table.w * table.v) / (weight - table.w)
    fit = smf.wls("gap ~ C(city)", table, weights=table.w).fit(
        cov_type="cluster", cov_kwds={"groups": table.p}
    )
    np.testing.assert_allclose(found[:, 0], fit.params.iloc[1:], rtol=1e-5)
    np.testing.assert_allclose(found[:, 1:3], fit.conf_int().iloc[1:], rtol=1e-5)


def test_correlation_error_is_of_weighted_correlations():
    study = weighted(several(60, 4, 1.0), random_weights(60))
    values = crowd_of(study, 200, seed=1)
    people = DescrStatsW(study.value.reshape(60, 4), study.participants.weight).corrcoef
    gap = np.abs(np.corrcoef(values.T) - people)[np.triu_indices(4, 1)].mean()
    found = score_correlations(everything(study), {"cvae": values}, 0)
    assert found["cvae"][0] == pytest.approx(gap)


def test_baselines_are_drawn_by_weight():
    study = weighted(make_study(tasks=3, people=60), random_weights(60) * (np.arange(60) % 7 > 0))
    every = np.ones(len(study.task), bool)
    split = Split("people", every, ~every, ~every)
    crowds = baseline_crowds(study, split, reference_of(study), N, seed=0)

    def shares(here: np.ndarray) -> np.ndarray:
        return np.bincount(study.answer[here].astype(int), study.weight[here], 5) / (
            study.weight[here].sum()
        )

    for task in range(3):
        assert fits(crowds["marginal"][:, task], np.arange(1.0, 6), shares(every))
        own = shares(study.task == task)
        assert fits(crowds["task_marginal"][:, task], np.arange(1.0, 6), own)


def test_real_ballots_are_drawn_by_weight():
    """Of two voters one counts three times as much; five standard errors of N draws."""
    study = make_study({"share": Points(budget=10)}, tasks=2, people=2)
    study = dataclasses.replace(study, answer=np.array([10.0, 0, 0, 10]))
    study = weighted(study, np.array([3.0, 1]))
    every = np.ones(4, bool)
    reference = reference_of(study, probs=False)
    split = Split("people", every, ~every, ~every)
    crowds = baseline_crowds(study, split, reference, N, seed=0)
    first = (crowds["task_marginal"][:, 0] == 10).mean()
    assert first == pytest.approx(0.75, abs=5 * np.sqrt(0.75 * 0.25 / N))


def test_a_fitted_reference_counts_answers_by_their_effective_number():
    """Kish's: of equal weights the number itself, of one heavy person hardly more than one."""
    study = make_study(tasks=2, people=10)
    weight = np.r_[91.0, np.ones(9)]
    count = task_means(weighted(study, weight), study.task >= 0)[2]
    assert count == pytest.approx([100**2 / (91**2 + 9)] * 2)
    big = weighted(make_study(tasks=30, people=20, embedding=2), random_weights(20))
    every = np.ones(len(big.task), bool)
    split = Split("tasks", every, ~every, ~every)
    copies = repeated(big, np.full(20, 2))
    twice = dataclasses.replace(
        copies,
        participants=dataclasses.replace(
            copies.participants, weight=np.repeat(big.participants.weight, 2)
        ),
    )
    double = np.ones(len(twice.task), bool)
    features = {"embedding": big.tasks.embedding}
    one = fit_reference(big, split, FittedReference(), features)
    two = fit_reference(
        twice,
        Split("tasks", double, ~double, ~double),
        FittedReference(),
        {"embedding": big.tasks.embedding},
    )
    np.testing.assert_allclose(one.mean, two.mean, rtol=1e-6)


def test_halves_are_shrunk_by_what_their_weights_are_worth():
    """The ceiling of mae under weights, against the crowd of the true distributions: T = 300 tasks
    of 20 raters, one of whom counts for half of all. A relative error of 0.31 is five standard
    deviations (see test_metrics); plain halving is off by .3 and more beside it (0.5 instead of
    0.68 here)."""
    random = np.random.default_rng(4)
    chance = random.dirichlet(np.full(5, 3.0), 300)
    study = weighted(simulated(random, chance, 20), np.r_[19.0, np.ones(19)])
    humans = everything(study)
    crowd = 1.0 + (random.random((4000, 300, 1)) > chance.cumsum(1)[:, :-1]).sum(2)
    truth = values_of(score_crowd(humans, crowd, "cvae", 0))
    ceiling = values_of(score_humans(humans, 0))
    for name in ("mae", "rmse", "avg_wd"):
        assert ceiling[name] == pytest.approx(truth[name], rel=0.2), name
    first = np.arange(20) % 2 == 0
    w, one = np.r_[19.0, np.ones(19)], np.ones(20)
    assert shrink(np.zeros(20, int), one, one, first) == 0.5
    assert shrink(np.zeros(20, int), w, one, first) > 0.6


def test_diagnostics_count_people_by_weight():
    """Copies of people are as many people to the ratio of variances' numerator and denominator."""
    study = make_study(tasks=24, people=40)
    study = dataclasses.replace(study, answer=answers(40, 0).ravel() - 1)
    w = random_weights(40)
    values = answers(500, 1)
    people, own = study.value.reshape(40, 24), w / w.mean()
    centred = people - np.average(people, axis=0, weights=own)
    free = own.sum() - (own**2).sum() / own.sum()
    expected = free * values.var(0).sum() / (own[:, None] * centred**2).sum()
    assert spread(everything(weighted(study, w)), values)[0].value == pytest.approx(expected)


def test_a_share_under_a_weighted_survey_is_right(tmp_path):
    """Half of the sample is a tenth of the people: a crowd of the population's shares is right."""
    random = np.random.default_rng(0)
    study = make_study({"yes": Continuous(low=0, high=1)}, tasks=6, people=400)
    group = np.arange(400) % 2
    answer = (random.random((400, 6)) < np.where(group, 0.2, 0.8)[:, None]) * 1.0
    study = weighted(dataclasses.replace(study, answer=answer.ravel()), np.where(group, 0.2, 1.8))
    crowd = (random.random((4000, 6)) < 0.9 * 0.8 + 0.1 * 0.2).astype(float)
    floor = (random.random((4000, 6)) < 0.5).astype(float)
    humans = everything(study, "people")
    found = {s.metric: s for s in score_crowd(humans, crowd, "cvae", 0, floor)}
    # A share of 220 effective people has a standard error of .03; six of them, averaged.
    assert found["mae"].value < 0.05
    assert found["mae"].low < 0.03
    assert found["skill"].value > 0.9
    unweighted = values_of(
        score_crowd(
            everything(
                dataclasses.replace(
                    study, participants=dataclasses.replace(study.participants, weight=np.ones(400))
                ),
                "people",
            ),
            crowd,
            "cvae",
            0,
        )
    )
    assert unweighted["mae"] > 0.15


def test_held_out_people_of_weight_zero_are_nobody():
    study = weighted(make_study(people=4), np.array([0.0, 1, 2, 0]))
    humans = everything(study)
    assert humans.who.tolist() == [1, 2]
    every = np.isin(study.person, [0, 3])
    with pytest.raises(CrowdError, match="weight of 0"):
        held_out(study, Split("people", ~every, np.zeros_like(every), every))
