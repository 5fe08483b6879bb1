"""Recruiting agents: raking, and the frequencies of each generator."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import minimize

from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.profiles.generator import ProfilesConfig, distinct, fit_profiles, recruit
from crowdllm_jax.profiles.raking import rake
from crowdllm_jax.study.records import Attribute
from crowdllm_jax.study.statistics import kish

ALPHA = 1e-6
N = 20_000


def attribute(name: str, cells, levels: str = "abc") -> Attribute:
    return Attribute(name, "categorical", tuple(levels), np.asarray(cells, np.int32))


@pytest.fixture
def people() -> tuple[Attribute, ...]:
    """Ten people; the second attribute follows the first."""
    return (
        attribute("x", [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]),
        attribute("y", [0, 0, 0, 1, 1, 1, 1, 0, 1, 1], "pq"),
    )


WEIGHT = np.array([1, 2, 1, 1, 3, 1, 1, 1, 1, 0.0])


def projection(cells, weight, targets):
    """Raked weights as the Kullback-Leibler projection, through its smooth dual."""
    one_hot = np.concatenate(
        [np.eye(len(target))[own] for own, target in zip(cells, targets, strict=True)], axis=1
    )
    target = np.concatenate(targets)
    start = weight / weight.sum()

    def dual(multiplier):
        own = start * np.exp(one_hot @ multiplier)
        return own.sum() - target @ multiplier, one_hot.T @ own - target

    best = minimize(dual, np.zeros(len(target)), jac=True, method="BFGS", options={"gtol": 1e-10})
    return start * np.exp(one_hot @ best.x) * weight.sum()


@given(st.integers(0, 10_000))
def test_raking_equals_the_projection_on_the_margins(seed):
    random = np.random.default_rng(seed)
    cells = random.integers(0, 3, 40), random.integers(0, 2, 40)
    # Every combination occurs, so that every pair of margins can be reached.
    for own, levels in zip(cells, np.indices((3, 2)).reshape(2, -1), strict=True):
        own[:6] = levels
    weight = random.uniform(0.5, 2, 40)
    targets = [random.dirichlet(np.full(3, 5.0)), random.dirichlet(np.full(2, 5.0))]
    margins = {
        name: dict(zip(levels, target, strict=True))
        for name, levels, target in zip("xy", ("abc", "pq"), targets, strict=True)
    }
    own = (attribute("x", cells[0]), attribute("y", cells[1], "pq"))
    raked = rake(own, weight, margins)
    np.testing.assert_allclose(raked, projection(cells, weight, targets), atol=1e-5)
    assert raked.sum() == pytest.approx(weight.sum())
    for one, target in zip(own, targets, strict=True):
        np.testing.assert_allclose(np.bincount(one.cells, raked) / raked.sum(), target, atol=1e-8)


def test_no_margins_leave_weights_alone(people):
    assert rake(people, WEIGHT, {}) is WEIGHT


def test_a_level_may_get_no_share(people):
    raked = rake(people, WEIGHT, {"x": {"a": 0.5, "b": 0.5, "c": 0.0}})
    assert not raked[7:].any()


@pytest.mark.parametrize(
    ("margins", "message"),
    [
        ({"z": {"a": 1.0}}, "no such attribute; there are: x, y"),
        ({"x": {"a": 0.5, "b": 0.5}}, "'c' is not given a share"),
        ({"x": {"a": 0.5, "b": 0.25, "c": 0.25, "d": 0.0}}, "'d' is no level"),
        ({"x": {"a": 0.5, "b": 0.25, "c": 0.5}}, "sum to 1, not 1.25"),
        ({"x": {"a": 0.5, "b": -0.25, "c": 0.75}}, "the share of 'b' is -0.25; give shares of 0"),
        ({"x": {"a": 1.5, "b": -0.5, "c": 0.0}}, "0 or more"),
        ({"x": {"a": float("nan"), "b": 0.5, "c": 0.5}}, "sum to 1"),
        (
            {"x": {"a": 0.9, "b": 0.1, "c": 0.0}, "y": {"p": 0.01, "q": 0.99}},
            "no weights fit all margins",
        ),
    ],
)
def test_margins_that_do_not_fit(margins, message):
    own = attribute("x", [0, 0, 1, 1, 2]), attribute("y", [0, 0, 1, 1, 1], "pq")
    with pytest.raises(CrowdError, match=message):
        rake(own, np.ones(5), margins)


def test_rounded_shares_and_percents_are_scaled_with_a_note(people):
    exact = rake(people, WEIGHT, {"x": dict.fromkeys("abc", 1 / 3)})
    for third in (0.3333, 0.333, 0.33, 33.3, 33):
        with pytest.warns(CrowdWarning, match=r"margins\.x: the shares sum to"):
            own = rake(people, WEIGHT, {"x": dict.fromkeys("abc", third)})
        np.testing.assert_allclose(own, exact, atol=1e-8)
    # Rounding to a percent takes .015 from three shares at most.
    with pytest.raises(CrowdError, match=r"sum to 1, not 0\.96"):
        rake(people, WEIGHT, {"x": dict.fromkeys("abc", 0.32)})


@pytest.mark.parametrize(
    ("levels", "keys"),
    [(("1", "2"), ("1.0", "2.0")), (("1.0", "2.0"), (1, 2)), (("false", "true"), ("False", True))],
)
def test_a_key_names_the_level_that_is_the_same_number(levels, keys):
    own = (Attribute("sex", "categorical", levels, np.array([0, 0, 0, 1], np.int32)),)
    raked = rake(own, np.ones(4), {"sex": dict(zip(keys, (0.4, 0.6), strict=True))})
    np.testing.assert_allclose(raked, [4 * 0.4 / 3] * 3 + [2.4])
    with pytest.raises(CrowdError, match="stands there already"):
        rake(own, np.ones(4), {"sex": {levels[0]: 0.4, levels[1]: 0.3, keys[1]: 0.3}})


def test_people_without_an_answer_keep_their_share():
    """By hand: weights 2, 1, 3 of those who answered become .8 and .2 of their sum."""
    own = (
        Attribute(
            "edu", "categorical", ("low", "high", "(missing)"), np.array([0, 0, 1, 2, 2], np.int32)
        ),
        attribute("y", [0, 1, 1, 0, 1], "pq"),
    )
    weight = np.array([2.0, 1, 3, 1, 3])
    with pytest.warns(CrowdWarning, match="people without an answer keep"):
        raked = rake(own, weight, {"edu": {"low": 0.8, "high": 0.2}})
    np.testing.assert_allclose(raked, [3.2, 1.6, 1.2, 1, 3])
    with pytest.warns(CrowdWarning):
        raked = rake(own, weight, {"edu": {"low": 0.8, "high": 0.2}, "y": {"p": 0.5, "q": 0.5}})
    np.testing.assert_allclose(np.bincount(own[0].cells, raked), [4.8, 1.2, 4.0])
    np.testing.assert_allclose(np.bincount(own[1].cells, raked), [5, 5])
    # A share that is given is kept, 0 too.
    raked = rake(own, weight, {"edu": {"low": 0.8, "high": 0.2, "(missing)": 0}})
    np.testing.assert_allclose(np.bincount(own[0].cells, raked), [8, 2, 0], atol=1e-8)


def test_a_share_for_a_level_that_nobody_has():
    own = (attribute("x", [0, 1, 1]),)
    with pytest.raises(CrowdError, match="no training participant is 'c'"):
        rake(own, np.ones(3), {"x": {"a": 0.4, "b": 0.4, "c": 0.2}})


def test_numbers_cannot_be_raked():
    own = (Attribute("age", "numeric", (), np.array([1.0, 2.0])),)
    with pytest.raises(CrowdError, match="numeric attribute has no levels"):
        rake(own, np.ones(2), {"age": {"1": 1.0}})


def test_kish_by_hand():
    assert kish(np.ones(7)) == pytest.approx(7)
    assert kish(np.array([1.0, 0, 0])) == 1
    assert kish(np.array([1.0, 3])) == pytest.approx(16 / 10)


def counts(people, config, seed=0) -> np.ndarray:
    """(3, 2) joint counts of N recruits."""
    x, y = recruit(fit_profiles(people, WEIGHT, config), seed, np.arange(N))
    return np.bincount(x.cells * 2 + y.cells, minlength=6).reshape(3, 2)


def agrees(count, chance) -> bool:
    """Pearson's chi-square of counts against chances; an impossible cell must be empty."""
    count, chance = np.ravel(count), np.ravel(chance)
    assert not count[chance == 0].any()
    possible = chance > 0
    return stats.chisquare(count[possible], N * chance[possible] / chance.sum()).pvalue > ALPHA


def real(people) -> np.ndarray:
    x, y = people
    return np.bincount(x.cells * 2 + y.cells, WEIGHT, 6).reshape(3, 2) / WEIGHT.sum()


def test_joint_recruits_real_profiles_by_weight(people):
    assert agrees(counts(people, ProfilesConfig()), real(people))


@pytest.mark.parametrize("smoothing", [0.3, 1.0])
def test_smoothing_draws_attributes_anew(people, smoothing):
    """Each attribute stays with chance 1 - s: a mixture of four ways to keep or renew."""
    joint = real(people)
    x, y = joint.sum(1, keepdims=True), joint.sum(0, keepdims=True)
    s = smoothing
    # Renewing one attribute or both gives independent ones.
    chance = (1 - s) ** 2 * joint + (1 - (1 - s) ** 2) * x * y
    assert agrees(counts(people, ProfilesConfig(smoothing=s)), chance)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_independent_draws_tempered_frequencies(people, temperature):
    joint = real(people) ** 1.0
    x, y = (joint.sum(axis) ** (1 / temperature) for axis in (1, 0))
    config = ProfilesConfig(generator="independent", temperature=temperature)
    assert agrees(counts(people, config), np.outer(x / x.sum(), y / y.sum()))


def test_uniform_draws_levels_evenly(people):
    assert agrees(counts(people, ProfilesConfig(generator="uniform")), np.full((3, 2), 1 / 6))


def test_margins_reach_the_recruits(people):
    margins = {"x": {"a": 0.2, "b": 0.2, "c": 0.6}}
    count = counts(people, ProfilesConfig(margins=margins))
    assert agrees(count.sum(1), np.array([0.2, 0.2, 0.6]))


@pytest.mark.parametrize("generator", ["joint", "independent", "uniform"])
@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_a_recruit_depends_on_seed_and_id_alone(people, generator, smoothing):
    fitted = fit_profiles(people, WEIGHT, ProfilesConfig(generator=generator, smoothing=smoothing))
    ids = np.array([0, 3, 2**31, 2**33, 2**62], np.int64)
    together = recruit(fitted, 9, ids)
    for i, one in enumerate(ids):
        for own, other in zip(recruit(fitted, 9, np.array([one])), together, strict=True):
            assert own.cells[0] == other.cells[i]
    first, second = (recruit(fitted, seed, np.arange(200))[0].cells for seed in (0, 1))
    assert (first != second).any()


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (ProfilesConfig(temperature=0), "temperature"),
        (ProfilesConfig(temperature=float("nan")), "temperature"),
        (ProfilesConfig(smoothing=1.5), "smoothing"),
        (ProfilesConfig(smoothing=float("nan")), "smoothing"),
    ],
)
def test_settings_out_of_range(people, config, key):
    with pytest.raises(CrowdError, match=f"profiles.{key}"):
        fit_profiles(people, WEIGHT, config)


def test_distinct_profiles_treat_missing_numbers_as_equal():
    age = Attribute("age", "numeric", (), np.array([1.0, np.nan, 1.0, np.nan, 2.0]))
    x = attribute("x", [0, 1, 0, 1, 0])
    first, of_agent = distinct((age, x), 5)
    assert len(first) == 3
    assert of_agent[0] == of_agent[2]
    assert of_agent[1] == of_agent[3]
    for i in range(5):
        assert x.cells[first[of_agent[i]]] == x.cells[i]
