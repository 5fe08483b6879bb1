"""Prediction-powered estimates: equal to other libraries', and covering what they are of."""

import dataclasses
import os

import intervals
import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.infer.estimate import EstimationRows, estimate

# What ppi_py has numba compile, which takes ten seconds, is called a few times.
os.environ.setdefault("NUMBA_DISABLE_JIT", "1")

# The estimator.


def sides(n: int = 80, others: int = 240, seed: int = 0, weighted: bool = False):
    """Labelled rows, their answers, and unlabelled rows: three columns and a fair prediction."""
    random = np.random.default_rng(seed)
    z = np.stack(
        [np.ones(n + others), random.normal(size=n + others), random.random(n + others) < 0.4], 1
    ).astype(float)
    y = 2 + z[:, 1] + 0.5 * z[:, 2] + random.normal(size=n + others)
    f = y + 0.8 * random.normal(size=n + others) + 1
    weight = random.uniform(0.3, 3, n + others) if weighted else np.ones(n + others)

    def part(rows: slice) -> EstimationRows:
        who = np.arange(n + others)[rows]
        return EstimationRows(who, np.zeros(len(who), int), weight[rows], z[rows], f[rows])

    return part(slice(0, n)), y[:n], part(slice(n, None))


def of_mean(rows: EstimationRows) -> EstimationRows:
    return dataclasses.replace(rows, columns=rows.columns[:, :1])


def half_width(found, k=0):
    return (found.high[k] - found.low[k]) / 2


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("tuning", [0.0, 0.6, 1.0])
def test_coefficients_and_variances_equal_statsmodels(tuning, weighted):
    """Given lambda, the variance is that of two regressions: of y - lambda f on the labelled and of
    lambda f on the unlabelled people, each by the sandwich HC2."""
    ours, y, theirs = sides(weighted=weighted)
    found = estimate(ours, y, theirs, tuning=tuning)
    parts = []
    for rows, target in ((ours, y - tuning * ours.predicted), (theirs, tuning * theirs.predicted)):
        fit = sm.WLS(target, rows.columns, rows.weight).fit(cov_type="HC2")
        kish = rows.weight.sum() ** 2 / (rows.weight**2).sum()
        parts.append((fit.params, np.diag(fit.cov_params()), kish))
    np.testing.assert_allclose(found.value, parts[0][0] + parts[1][0], rtol=1e-9)
    half = stats.t.ppf(0.975, parts[0][2] - 3) * np.sqrt(parts[0][1] + parts[1][1])
    np.testing.assert_allclose(found.high - found.value, half, rtol=1e-9)
    alone = sm.WLS(y, ours.columns, ours.weight).fit()
    np.testing.assert_allclose(found.alone, alone.params, rtol=1e-9)


def test_means_equal_ppi_python():
    ppi = pytest.importorskip("ppi_py", reason="needs `pip install ppi-python`")
    ours, y, theirs = map_mean(*sides())
    n, others = len(y), len(theirs.predicted)
    for tuning in (0.3, 1.0):
        found = estimate(ours, y, theirs, tuning=tuning, level=0.9)
        low, high = ppi.ppi_mean_ci(y, ours.predicted, theirs.predicted, alpha=0.1, lam=tuning)
        assert found.value[0] == pytest.approx((low + high)[0] / 2, rel=1e-9)
        # It divides squares by n where we divide by n - 1, and takes a normal quantile.
        rect = (y - tuning * ours.predicted).var() / n
        imputed = (tuning * theirs.predicted).var() / others
        assert (high - low)[0] / 2 == pytest.approx(1.6448536 * np.sqrt(rect + imputed), rel=1e-6)
        wider = np.sqrt((rect * n / (n - 1) + imputed * others / (others - 1)) / (rect + imputed))
        wider *= stats.t.ppf(0.95, n - 1) / stats.norm.ppf(0.95)
        assert half_width(found) == pytest.approx((high - low)[0] / 2 * wider, rel=1e-9)
    # Tuned, it pools the variance of f over both sides, we add their own: as close as the two
    # variances are, 80 and 240 squares: sqrt(2 / 80 + 2 / 240) = .18, of which a quarter counts.
    low, high = ppi.ppi_mean_ci(y, ours.predicted, theirs.predicted, alpha=0.1)
    found = estimate(ours, y, theirs, level=0.9)
    assert found.value[0] == pytest.approx((low + high)[0] / 2, abs=0.2 * half_width(found))
    assert half_width(found) == pytest.approx((high - low)[0] / 2, rel=0.06)


def map_mean(ours, y, theirs):
    return of_mean(ours), y, of_mean(theirs)


@pytest.mark.parametrize("weighted", [False, True])
def test_coefficients_equal_ppi_python(weighted):
    ppi = pytest.importorskip("ppi_py", reason="needs `pip install ppi-python`")
    ours, y, theirs = sides(weighted=weighted)
    weights = {"w": ours.weight, "w_unlabeled": theirs.weight} if weighted else {}
    # Without the constant by which f is off: its intervals know f's coefficients only as those of
    # the answers, and grow with the gap; its estimates do not.
    ours, theirs = (dataclasses.replace(r, predicted=r.predicted - 1) for r in (ours, theirs))
    everything = (ours.columns, y, ours.predicted, theirs.columns, theirs.predicted)
    for tuning in (0.3, 1.0):
        found = estimate(ours, y, theirs, tuning=tuning)
        theirs_too = ppi.ppi_ols_pointestimate(*everything, lam=tuning, **weights)
        np.testing.assert_allclose(found.value, theirs_too, rtol=1e-9)
    # It joins both sides' second moments into one Hessian; 80 people leave them open by a tenth.
    low, high = ppi.ppi_ols_ci(*everything, alpha=0.05, lam=1.0, **weights)
    np.testing.assert_allclose(found.high - found.low, high - low, rtol=0.2)


def test_the_best_lambda_is_chosen():
    ours, y, theirs = sides()
    tuned = estimate(ours, y, theirs)
    for k in range(3):
        widths = [
            half_width(estimate(ours, y, theirs, tuning=lam), k) for lam in np.linspace(0, 1.5, 301)
        ]
        assert tuned.tuning[k] == pytest.approx(0.005 * np.argmin(widths), abs=0.005)
        # What choosing it costs: a degree of freedom, in the variance and in Student's quantile.
        given = estimate(ours, y, theirs, tuning=tuned.tuning[k])
        cost = np.sqrt(77 / 76) * stats.t.ppf(0.975, 76) / stats.t.ppf(0.975, 77)
        assert half_width(tuned, k) == pytest.approx(cost * half_width(given, k), rel=1e-9)
    assert (tuned.effective > tuned.people).all()


def test_only_what_predictions_tell_apart_matters():
    """Another unit, another origin, another order of the rows: the same estimate."""
    ours, y, theirs = sides(weighted=True)
    found = estimate(ours, y, theirs)

    def moved(rows: EstimationRows) -> EstimationRows:
        shuffled = np.random.default_rng(5).permutation(len(rows.weight))
        parts = {f.name: getattr(rows, f.name)[shuffled] for f in dataclasses.fields(rows)}
        return EstimationRows(**parts | {"predicted": 3 * parts["predicted"] - 10}), shuffled

    (mine, order), (other, _) = moved(ours), moved(theirs)
    again = estimate(mine, y[order], other)
    np.testing.assert_allclose(again.tuning, found.tuning / 3, rtol=1e-7)
    for name in ("value", "low", "high", "effective"):
        np.testing.assert_allclose(getattr(again, name), getattr(found, name), rtol=1e-7)


def test_without_differences_between_profiles_people_count_alone():
    ours, y, theirs = map_mean(*sides())
    flat = [dataclasses.replace(r, predicted=np.full(len(r.weight), 4.2)) for r in (ours, theirs)]
    found = estimate(flat[0], y, flat[1], level=0.9)
    interval = stats.ttest_1samp(y, 0).confidence_interval(0.9)
    assert (found.low[0], found.high[0]) == pytest.approx((interval.low, interval.high))
    assert found.effective[0] == found.people == 80


def test_several_answers_of_a_person_are_one_witness():
    """Everyone answers both tasks: the mean of the tasks is that of everyone's own means."""
    random = np.random.default_rng(0)
    habit = random.normal(size=(50, 1))
    y = habit + 0.5 * random.normal(size=(50, 2)) + [0, 3]
    person, task = (axis.ravel() for axis in np.indices((50, 2)))
    ours = EstimationRows(person, task, np.ones(100), np.ones((100, 1)), np.zeros(100))
    theirs = dataclasses.replace(ours, person=person + 50)
    found = estimate(ours, y.ravel(), theirs)
    own = y.mean(1)
    interval = stats.ttest_1samp(own, 0).confidence_interval(0.95)
    assert (found.low[0], found.high[0]) == pytest.approx((interval.low, interval.high))
    assert found.people == 50


@pytest.mark.parametrize("weighted", [False, True])
def test_an_answer_given_six_times_over_tells_as_much_as_once(weighted):
    """Coefficients of six tasks that everybody answers alike are as sure as those of one, by
    statsmodels' HC2: few people pull the fit towards all their answers together."""
    ours, y, theirs = sides(n=60, weighted=weighted)

    def six(rows: EstimationRows) -> EstimationRows:
        parts = {
            f.name: np.repeat(getattr(rows, f.name), 6, axis=0) for f in dataclasses.fields(rows)
        }
        return EstimationRows(**parts | {"task": np.tile(np.arange(6), len(rows.task))})

    found = estimate(six(ours), np.repeat(y, 6), six(theirs), tuning=0.0)
    fit = sm.WLS(y, ours.columns, ours.weight).fit(cov_type="HC2")
    kish = ours.weight.sum() ** 2 / (ours.weight**2).sum()
    half = stats.t.ppf(0.975, kish - 3) * fit.bse
    np.testing.assert_allclose(found.alone_high - found.alone, half, rtol=1e-9)


def test_tasks_are_no_chance():
    """Different people answer two tasks that are far apart, which is no spread of their mean."""
    random = np.random.default_rng(0)
    person, task = np.arange(60), np.repeat([0, 1], [40, 20])
    y = random.normal(size=60) * np.where(task, 3, 1) + 100 * task
    ours = EstimationRows(person, task, np.ones(60), np.ones((60, 1)), np.zeros(60))
    found = estimate(ours, y, dataclasses.replace(ours, person=person + 60))
    one, two = y[task == 0], y[task == 1]
    assert found.value[0] == pytest.approx((one.mean() + two.mean()) / 2)
    kish = 1 / (40 / 80**2 + 20 / 40**2)
    sd = np.sqrt(one.var(ddof=1) / 40 + two.var(ddof=1) / 20) / 2
    assert half_width(found) == pytest.approx(stats.t.ppf(0.975, kish - 1) * sd)


def test_what_cannot_be_estimated_is_told():
    ours, y, theirs = sides()
    few = [
        EstimationRows(*(getattr(r, f.name)[:20] for f in dataclasses.fields(r)))
        for r in (ours, theirs)
    ]
    with pytest.raises(
        CrowdError, match=r"20 people's answers .* too few .* 33 are needed: ask more"
    ):
        estimate(few[0], y[:20], theirs)
    with pytest.raises(CrowdError, match=r"20 profiles .* too few; 33 are needed: give more"):
        estimate(ours, y, few[1])
    with pytest.raises(CrowdError, match="answer alike"):
        estimate(ours, np.full(80, 3.0), theirs)
    same = dataclasses.replace(ours, columns=ours.columns[:, [0, 1, 1]])
    with pytest.raises(CrowdError, match="cannot be told apart"):
        estimate(same, y, theirs)
    heavy = dataclasses.replace(ours, weight=np.where(np.arange(80) < 5, 100.0, 1.0))
    with pytest.raises(CrowdError, match=r"6\.6 people's answers"):
        estimate(heavy, y, theirs)


# Coverage, in the simulations of benchmarks/quality/intervals.py.

TRUTH = intervals.truths()


def averages(studies):
    return {name: np.mean([study[name] for study in studies]) for name in studies[0]}


@pytest.mark.parametrize("estimand", intervals.ESTIMANDS)
@pytest.mark.parametrize("kind", ["perfect", "useless"])
def test_intervals_cover(kind, estimand):
    """A share of 2,000 has a deviation of sqrt(.9 * .1 / 2000) = .0067: 2 points are 3 of them."""
    random = np.random.default_rng(7)
    studies = [
        intervals.one_study(random, kind, estimand, 100, 300, TRUTH[estimand]) for _ in range(2000)
    ]
    found = averages(studies)
    assert abs(found["covers"] - 0.9) < 0.02, found
    assert abs(found["alone"] - 0.9) < 0.02, found
    assert min(study["effective"] for study in studies) >= 1
    if kind == "perfect":
        assert found["effective"] > 1.15, found
        assert found["width"] < 0.94, found
    else:
        # One squared correlation by chance is 1 / n, and half of these have the wrong sign.
        assert found["effective"] < 1.01, found
    if estimand == "mean":
        # 300 profiles leave the perfect crowd's mean open by 1.2 / sqrt(300) = .07; the naive
        # interval is .03 wide.
        assert found["naive"] < 0.5, found


def test_intervals_cover_with_weights_and_with_habits():
    """1,000 studies: a deviation of .0095. Agents or answers as people do not cover."""
    random = np.random.default_rng(8)
    found = averages(
        [intervals.weighted_study(random, 100, 300, TRUTH["mean"]) for _ in range(1000)]
    )
    assert abs(found["covers"] - 0.9) < 0.03, found
    whole = intervals.clustered_truth()
    found = averages([intervals.clustered_study(random, 80, whole) for _ in range(1000)])
    assert abs(found["covers"] - 0.9) < 0.03, found
    assert found["naive"] < 0.85, found
