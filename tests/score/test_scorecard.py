"""The measures of distributions, structure and groups against independent libraries."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp
from sklearn.calibration import calibration_curve
from synthetic import make_study
from test_metrics import crowd_of, everything, values_of

from crowdllm_jax.report.scorecard import Line, cost_of_trust, headline, in_words, scorecard
from crowdllm_jax.score.ceiling import score_humans
from crowdllm_jax.score.correlations import (
    correlations,
    crowd_correlations,
    items_of,
    score_correlations,
)
from crowdllm_jax.score.finding import Finding
from crowdllm_jax.score.groups import groups_of, regression, score_groups
from crowdllm_jax.score.metrics import answer_rps, score_crowd
from crowdllm_jax.study.coding import fit_coding
from crowdllm_jax.study.records import Attribute, Study
from crowdllm_jax.study.scales import Nominal


def test_distances_of_distributions_equal_scipys():
    study = make_study(tasks=6, people=25, share=0.7)
    values = crowd_of(study, 60, seed=1)
    found = values_of(score_crowd(everything(study), values, "cvae", 0))
    js, ks, hits = [], [], 0
    for task in range(6):
        people, crowd = study.value[study.task == task], values[:, task].astype(float)
        one, two = (np.bincount(v.astype(int), minlength=6)[1:] for v in (crowd, people))
        js.append(jensenshannon(one, two, base=2))
        ks.append(1 - ks_2samp(crowd, people).statistic)
        hits += (people == 1 + one.argmax()).sum()
    assert found["js"] == pytest.approx(np.mean(js))
    assert found["ks"] == pytest.approx(np.mean(ks))
    assert found["accuracy"] == pytest.approx(hits / len(study.task))
    assert found["nwd"] == pytest.approx(found["avg_wd"] / 4)


def test_calibration_equals_scikit_learns_curve():
    """Every level is a forecast of every answer; 71 agents have no share on the edge of a bin."""
    study = make_study(tasks=8, people=40, share=0.8)
    values = crowd_of(study, 71, seed=7)
    found = values_of(score_crowd(everything(study), values, "cvae", 0))
    share = np.stack([(values == level).mean(0) for level in range(1, 6)])
    said = share[:, study.task].ravel()
    true = (study.value == np.arange(1, 6)[:, None]).ravel()
    came, mean = calibration_curve(true, said, n_bins=10)
    size = np.histogram(said, np.linspace(0, 1, 11))[0]
    expected = np.abs(came - mean) @ size[size > 0] / len(said)
    assert found["ece"] == pytest.approx(expected)


def test_scores_of_single_answers_average_to_rps():
    study = make_study(tasks=5, people=20, share=0.6)
    humans, values = everything(study), crowd_of(study, 40, seed=3)
    own = answer_rps(humans, values)
    assert own.mean() == pytest.approx(values_of(score_crowd(humans, values, "cvae", 0))["rps"])
    crowd = values[:, study.task[0]].astype(float)
    spread = np.abs(crowd[:, None] - crowd).mean() / 2
    assert own[0] == pytest.approx(np.abs(crowd - study.value[0]).mean() - spread)


def test_skill_is_the_way_from_the_floor_to_the_ceiling():
    study = make_study(tasks=9, people=30)
    humans, floor = everything(study), crowd_of(study, 50, seed=4)
    ceiling = values_of(score_humans(humans, 0))["rps"]
    values = crowd_of(study, 50, seed=5)
    start, reached = (values_of(score_crowd(humans, v, "cvae", 0))["rps"] for v in (floor, values))
    found = values_of(score_crowd(humans, values, "cvae", 0, floor))["skill"]
    assert found == pytest.approx((start - reached) / (start - ceiling))
    assert values_of(score_crowd(humans, floor, "cvae", 0, floor))["skill"] == pytest.approx(0)


def several(people: int, tasks: int, share: float, loading: float = 1.0, seed: int = 0) -> Study:
    """Ratings by people whose one belief moves all their answers, by city, too."""
    random = np.random.default_rng(seed)
    study = make_study(tasks=tasks, people=people, share=share, seed=seed)
    city = study.participants.profile[1].cells
    belief = random.normal(size=people) + 0.8 * (city == 1)
    noisy = loading * belief[study.person] + random.logistic(size=len(study.person))
    return dataclasses.replace(
        study, answer=np.searchsorted([-2.0, -0.7, 0.7, 2.0], noisy).astype(float)
    )


def test_correlations_equal_pandas():
    study = several(80, 5, 0.7)
    items = items_of(everything(study))
    table = pd.DataFrame({"p": study.person, "t": study.task, "v": study.value})
    expected = table.pivot(index="p", columns="t", values="v").corr(min_periods=30)
    found = correlations(items.value, items.known, np.ones(80))
    np.testing.assert_allclose(found[items.compared], expected.to_numpy()[items.compared])
    # Twice the weight is twice the person.
    twice = np.r_[np.arange(80), np.arange(10)]
    weight = np.ones(80)
    weight[:10] = 2
    np.testing.assert_allclose(
        correlations(items.value, items.known, weight),
        correlations(items.value[twice], items.known[twice], np.ones(90)),
    )


def test_correlation_error_equals_its_definition():
    study = several(60, 4, 1.0)
    humans = everything(study)
    values = crowd_of(study, 200, seed=1)
    values[:, 2] = 3  # an answer that never varies hangs together with nothing
    crowd = np.nan_to_num(pd.DataFrame(values).corr().to_numpy())
    people = np.corrcoef(study.value.reshape(60, 4).T)
    gap = np.abs(crowd - people)[np.triu_indices(4, 1)].mean()
    found = score_correlations(humans, {"cvae": values}, 0)
    assert found["cvae"][0] == pytest.approx(gap)
    items = items_of(humans)
    np.testing.assert_allclose(
        crowd_correlations(items, values),
        crowd * (1 - np.eye(4)) + np.diag([1, 1, 0, 1]),
        atol=1e-12,
    )


def test_the_ceiling_of_correlations_is_what_the_truth_scores():
    """300 people, 10 tasks: the truth (20,000 agents of the same process) against half the
    difference of two halves. An average over 45 pairs that share tasks: within a third of it in
    100 seeds tried; a forgotten half would be off by 100%."""
    humans = everything(several(300, 10, 1.0))
    truth = several(20_000, 10, 1.0, seed=1).value.reshape(20_000, 10)
    found = score_correlations(humans, {"true": truth}, 0)
    assert found["humans"][0] == pytest.approx(found["true"][0], rel=0.5)


def test_too_few_people_have_no_correlations():
    assert items_of(everything(make_study(tasks=3, people=29))) is None
    assert score_correlations(everything(make_study(tasks=1, people=50)), {}, 0) == {}
    study = make_study({"pick": Nominal(levels=("a", "b", "c"))}, tasks=3, people=50)
    assert items_of(everything(study)) is None


def agents_like(study: Study, count: int) -> tuple[tuple[Attribute, ...], np.ndarray]:
    """Agents with the people's profiles, and which person each has."""
    row = np.random.default_rng(9).integers(0, len(study.participants.ids), count)
    profile = study.participants.profile
    return tuple(Attribute(a.name, a.kind, a.levels, a.cells[row]) for a in profile), row


def linearised(table: pd.DataFrame, weight: np.ndarray, attribute: str, level: int) -> float:
    """The standard error of a group's gap by the infinitesimal jackknife (Efron 1982): its change
    for each person who counts a little more, whether in the group or among those it is compared
    with."""
    other = (table.t.to_numpy()[:, None] == table.t.to_numpy()) & (
        table.p.to_numpy()[:, None] != table.p.to_numpy()
    )
    own, value = (table[attribute] == level).to_numpy(), table.v.to_numpy()

    def gap(of_person: np.ndarray) -> float:
        w = of_person[table.p]
        mean = (other @ (w * value)) / (other @ w)
        return float(np.average((value - mean)[own], weights=w[own]))

    step = 1e-6
    moves = step * np.eye(len(weight))
    change = [gap(weight * (1 + move)) - gap(weight * (1 - move)) for move in moves]
    return float(np.sqrt(np.square(change).sum()) / (2 * step))


def test_gaps_equal_a_group_by():
    study = several(60, 6, 0.7)
    humans = everything(study)
    agents, row = agents_like(study, 500)
    city = study.participants.profile[1].cells
    values = crowd_of(study, 500, 3) + 0.5 * (city[row] == 2)[:, None]
    found = {
        (g.attribute, g.level): g
        for g in groups_of(humans, study.participants.profile, agents, values)
    }
    table = pd.DataFrame({"p": study.person, "t": study.task, "v": (study.value - 1) / 4})
    others = table.groupby("t").v
    n = others.transform("size")
    table["gap"] = table.v - (others.transform("sum") - table.v) / (n - 1)
    table["city"] = city[study.person]
    for level, name in enumerate("ABC"):
        own = table[table.city == level]
        group = found["city", name]
        assert group.human == pytest.approx(own.gap.mean())
        share = (values - 1) / 4
        moved = (share - share.mean(0))[agents[1].cells == level].mean(0)
        assert group.crowd == pytest.approx(moved[own.t].mean())
        assert group.people == (city == level).sum()
        error = linearised(table, np.ones(60), "city", level)
        assert (group.high - group.human) / 1.96 == pytest.approx(error, rel=1e-4)
    # Thirds of a number hold everybody whose number is known.
    ages = [group for (name, _), group in found.items() if name == "age"]
    assert sum(group.people for group in ages) == 59


def test_regression_equals_a_formula():
    study = several(120, 5, 0.8)
    profile = study.participants.profile[1:]
    codings = tuple(fit_coding(a, np.arange(120)) for a in profile)
    agents, row = agents_like(study, 400)
    values = crowd_of(study, 400, 3)
    found = regression(everything(study), codings, profile, agents[1:], values)
    table = pd.DataFrame({"p": study.person, "t": study.task, "v": (study.value - 1) / 4})
    others = table.groupby("t").v
    table["gap"] = table.v - (others.transform("sum") - table.v) / (others.transform("size") - 1)
    table["city"] = profile[0].cells[study.person]
    fit = smf.ols("gap ~ C(city)", table).fit(cov_type="cluster", cov_kwds={"groups": table.p})
    np.testing.assert_allclose(found[:, 0], fit.params.iloc[1:], rtol=1e-5)
    np.testing.assert_allclose(found[:, 1:3], fit.conf_int().iloc[1:], rtol=1e-5)
    share = (values - 1) / 4
    asked = np.bincount(study.task) / len(study.task)
    crowd = pd.DataFrame({"gap": (share - share.mean(0)) @ asked, "city": profile[0].cells[row]})
    np.testing.assert_allclose(
        found[:, 3], smf.ols("gap ~ C(city)", crowd).fit().params.iloc[1:], rtol=1e-4
    )


def test_the_truth_scores_at_the_ceiling_and_no_differences_at_the_floor():
    """Forty studies of 60 people: the mean gap error of the true gaps (20,000 agents of the same
    process) against its ceiling. Errors are half normal: the mean of 40 x 6 correlated ones has a
    standard error below 15%, so 50% is beyond three of them; no groups at all err by far more."""
    truth = several(20_000, 6, 1.0, seed=99)
    off, ceiling, none, agree = [], [], [], []
    for seed in range(40):
        study = several(60, 6, 1.0, seed=seed)
        profile = study.participants.profile[1:]
        codings = tuple(fit_coding(a, np.arange(60)) for a in profile)
        values = truth.value.reshape(20_000, 6)
        found = score_groups(
            everything(study), codings, profile, truth.participants.profile[1:], values
        )
        off.append(found["gap_error"]["crowd"][0])
        none.append(found["gap_error"]["none"][0])
        ceiling.append(found["gap_error"]["humans"][0])
        agree.append(found["regression_agreement"]["crowd"][0])
    assert np.mean(off) == pytest.approx(np.mean(ceiling), rel=0.5)
    assert np.mean(none) > 1.3 * np.mean(off)
    # 80 intervals that cover 95%: fewer than 65 has chance 1e-4, and clusters are few.
    assert np.mean(agree) > 0.8


def test_gaps_are_off_by_as_much_as_they_seem():
    """300 studies of 90 people, a third of them in each city: an error told by 300 is known to
    4%, four of which are 0.16. Those in a group are among those whom it is compared with: were
    these taken for known, gaps would seem to be off by a fifth more and more."""
    gaps, errors, off, ceiling = [], [], [], []
    truth = several(20_000, 6, 1.0, seed=99)
    cities, values = truth.participants.profile[1:2], truth.value.reshape(20_000, 6)
    for seed in range(300):
        study = several(90, 6, 1.0, seed=seed)
        profile = study.participants.profile[1:2]
        groups = groups_of(everything(study), profile, cities, values)
        gaps.append([group.human for group in groups])
        errors.append([(group.high - group.human) / 1.96 for group in groups])
        off.append([abs(group.human - group.crowd) for group in groups])
        ceiling.append(np.sqrt(2 / np.pi) * np.mean(errors[-1]))
    ratio = np.sqrt(np.square(errors).mean(0)) / np.std(gaps, axis=0)
    np.testing.assert_allclose(ratio, 1, atol=0.16)
    assert np.mean(ceiling) == pytest.approx(np.mean(off), rel=0.1)


def test_few_people_have_no_regression():
    study = several(19, 4, 1.0)
    profile = study.participants.profile[1:]
    codings = tuple(fit_coding(a, np.arange(19)) for a in profile)
    agents, _ = agents_like(study, 50)
    assert (
        regression(everything(study), codings, profile, agents[1:], crowd_of(study, 50, 0)) is None
    )


def test_tasks_of_single_people_have_no_regression():
    """Nobody deviates from others where there are none, but for the two who share a task."""
    study = several(60, 60, 1.0)
    own = (study.task == study.person) | ((study.task == 0) & (study.person == 1))
    study = dataclasses.replace(
        study, person=study.person[own], task=study.task[own], answer=study.answer[own]
    )
    profile = study.participants.profile[1:]
    codings = tuple(fit_coding(a, np.arange(60)) for a in profile)
    agents, _ = agents_like(study, 50)
    values = crowd_of(several(60, 60, 1.0), 50, 0)
    assert regression(everything(study), codings, profile, agents[1:], values) is None


def test_the_card_reads_floors_and_ceilings():
    def same(**values):
        return {name: (value, value, value) for name, value in values.items()}

    board = {
        "humans": same(rps=0.4, cs=0.9, icc=0.2, mae=0.1),
        "persistent": same(rps=0.5, cs=0.8, icc=0.15, mae=0.2),
        "marginal": same(rps=0.6, cs=0.7, icc=0.0, mae=0.1),
    }
    card = {line.metric: line for line in scorecard(board, "persistent")}
    assert card["rps"].way == pytest.approx(0.5)
    assert card["cs"].way == pytest.approx(0.5)
    assert card["icc"].way == pytest.approx(0.75)  # off by .05 instead of .2
    assert card["mae"].way is None  # the floor is as good as the ceiling: nothing to tell
    assert card["rps"].uniform is None


def test_the_headline_says_when_people_are_too_few():
    wide = (0.4, 0.13, 15.33)
    few = Finding("too few to tell", "", 15.2, True, "", "8 people with 48 answers; skill .13 on")
    said = "Too few to tell how close the crowd comes: 8 people with 48 answers."
    assert headline(wide, [few]) == said
    assert headline((0.4, 0.3, 0.5), []).startswith("The crowd goes 40% of the way (between 30%")
    assert "cannot be said" in headline(None, [])
    line = Line("skill", "Skill", "high", wide, None, None, None, None)
    ratio = Line(
        "variance_ratio", "Variance ratio", "match", (0.5, 0.4, 0.6), None, None, None, None
    )
    words = in_words([line, ratio], [few], 100)
    assert words[0] == said
    assert not any("1533%" in word or "vary" in word for word in words)
    assert any("vary less than" in word for word in in_words([line, ratio], [], 100))


def test_a_crowd_without_a_skill_is_told_beside_its_floor():
    rps = Line("rps", "RPS", "low", (0.709, 0.68, 0.74), None, (0.665, 0.66, 0.67), None, None)
    floor = "Its RPS is 0.709, where that of a crowd that answers every question alike is 0.665"
    assert any(word.startswith(floor) for word in in_words([rps], [], 100))
    skill = Line("skill", "Skill", "high", (0.4, 0.3, 0.5), None, None, None, None)
    assert not any("Its RPS" in word for word in in_words([rps, skill], [], 100))


@pytest.mark.parametrize(
    ("agents", "people", "says"),
    [
        (0.15, (0.14, 0.10, 0.18), "stay themselves across questions as people do"),
        (0.05, (0.14, 0.10, 0.18), "less themselves"),
        (0.25, (0.14, 0.10, 0.18), "more themselves"),
        # Who answers at random is nobody, and so are agents who do as these.
        (-0.02, (-0.02, -0.07, 0.03), "do not show, beyond chance, who gave them"),
        (-0.10, (-0.02, -0.07, 0.03), "do not show, beyond chance, who gave them"),
        (0.20, (-0.02, -0.07, 0.03), "more themselves"),
    ],
)
def test_whether_agents_are_themselves_as_people_are(agents, people, says):
    line = Line("icc", "ICC", "match", (agents, agents, agents), people, None, None, None)
    assert any(says in word for word in in_words([line], [], 100))


def test_the_cost_of_trusting_a_useless_reference_is_told():
    board = {"cvae": {"rps": (0.575, 0.5, 0.6)}, "vae_only": {"rps": (0.56, 0.5, 0.6)}}
    useless = [Finding("reference without signal", "", 0.01, True, "")]
    told = cost_of_trust(board, useless)
    assert told is not None
    assert "0.575 with it and 0.560 without (+0.015)" in told
    assert cost_of_trust(board, [Finding("reference without signal", "", 0.5, False, "")]) is None
    assert cost_of_trust({"cvae": board["cvae"]}, useless) is None
