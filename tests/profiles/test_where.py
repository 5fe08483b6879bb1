"""Agents that are recruited under conditions, or of another population, exactly."""

import dataclasses

import numpy as np
import pytest
from scipy import stats
from some_people import AGE, PEOPLE, PROFILE
from synthetic import make_study

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.profiles.generator import ProfilesConfig, fit_profiles, recruit
from crowdllm_jax.profiles.where import (
    among,
    groups_of,
    margins_of,
    of_population,
    people_among,
    whom,
)
from crowdllm_jax.study.condition import condition_of
from crowdllm_jax.study.ids import MISSING

AGENTS = 40_000


@pytest.mark.parametrize(
    "how",
    [
        ProfilesConfig(),
        ProfilesConfig(smoothing=0.3),
        ProfilesConfig(generator="independent", temperature=2.0),
        ProfilesConfig(generator="uniform"),
    ],
)
def test_recruiting_under_a_rare_condition_is_exact(how):
    """Nobody is outside, and the agents inside are as frequent as when everybody is recruited.

    Of AGENTS under the condition, each of the cells (school by whether 75 or older) has a
    multinomial count, and so have those of everybody's agents who happen to be inside; the test of
    the two tables being of one distribution has a chance of 1e-4 to fail.
    """
    weight = np.random.default_rng(1).gamma(2.0, size=PEOPLE)
    generator = fit_profiles(PROFILE, weight, how)
    condition = condition_of("age >= 70 and 'home town' == 'A'")
    agents = recruit(among(generator, condition), 3, np.arange(AGENTS))
    assert condition.holds(agents, AGENTS).all()
    everybody = recruit(generator, 4, np.arange(400_000))
    inside = condition.holds(everybody, 400_000)
    assert 0.001 < inside.mean() < 0.1

    def cells(profile):
        return np.bincount(profile[2].cells * 2 + (profile[0].cells >= 75), minlength=6)

    first = cells(agents)
    second = cells([dataclasses.replace(a, cells=a.cells[inside]) for a in everybody])
    occurs = (first + second) > 0
    p = stats.chi2_contingency(np.stack([first, second])[:, occurs]).pvalue
    assert p > 1e-4


def test_agents_under_a_condition_depend_on_their_ids_alone():
    generator = among(
        fit_profiles(PROFILE, np.ones(PEOPLE), ProfilesConfig()), condition_of("age>50")
    )
    whole, part = (recruit(generator, 0, ids) for ids in (np.arange(100), np.arange(40, 60)))
    for one, other in zip(whole, part, strict=True):
        np.testing.assert_array_equal(one.cells[40:60], other.cells)


def test_groups_part_everybody():
    generator = fit_profiles(PROFILE, np.ones(PEOPLE), ProfilesConfig())
    groups = groups_of(generator, "home town")
    assert list(groups) == ["A", "B", MISSING]
    for level, group in enumerate(groups.values()):
        assert (group.attributes[1].cells == level).all()
    with pytest.raises(CrowdError, match=r"--by age: is a number"):
        groups_of(generator, "age")


def test_too_many_profiles_to_part_are_told(monkeypatch):
    monkeypatch.setattr("crowdllm_jax.profiles.profile_counts.MOST", 100)
    generator = fit_profiles(PROFILE, np.ones(PEOPLE), ProfilesConfig(smoothing=0.1))
    with pytest.raises(CrowdError, match=r"--by home town: the run's profiles are mixed anew"):
        groups_of(generator, "home town")


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_another_population_is_the_one_that_would_have_been_fitted(smoothing):
    """Its margins hold, and given the attribute they are of nothing else changes: of real profiles
    the weights are those of a fit with these margins."""
    margins = {"school": {"low": 0.6, "middle": 0.3, "high": 0.1}}
    weight = np.random.default_rng(1).gamma(2.0, size=PEOPLE)
    study = fit_profiles(PROFILE, weight, ProfilesConfig(smoothing=smoothing))
    other = of_population(study, margins)
    np.testing.assert_allclose(other.shares[2], [0.6, 0.3, 0.1], atol=1e-8)
    if not smoothing:
        fitted = fit_profiles(PROFILE, weight, ProfilesConfig(margins=margins))
        np.testing.assert_allclose(other.weight, fitted.weight, rtol=1e-8)
        assert other.effective == pytest.approx(fitted.effective)
    for level in ("low", "high"):
        under = f"school == '{level}'"
        before, after = whom(study, under), whom(study, under, margins)
        np.testing.assert_allclose(after.weight, before.weight, rtol=1e-6)


def test_margins_are_typed_or_in_a_file(tmp_path):
    wanted = {"school": {"low": 0.6, "high": 0.4}}
    (tmp_path / "census.yaml").write_text("school: {low: 0.6, high: 0.4}\n")
    assert margins_of("{school: {low: 0.6, high: 0.4}}") == wanted
    assert margins_of(str(tmp_path / "census.yaml")) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{school: {low: 60%}}", r"--margins\.school\.low: '60%' is no share; write \{"),
        ("{school: 3}", r"--margins\.school: '3' is no share"),
        ("{school", r"--margins: line 1: "),
        ("{}", "--margins: gives no shares"),
        ("nowhere.yaml", "nowhere.yaml: no such file"),
        ("{schooling: {low: 1}}", r"--margins\.schooling: no such attribute; there are: age"),
        ("{school: {low: 1}}", r"--margins\.school: 'middle' is not given a share"),
        ("{age: {low: 1}}", r"--margins\.age: a numeric attribute has no levels"),
    ],
)
def test_margins_of_nothing_are_told(text, message):
    generator = fit_profiles(PROFILE, np.ones(PEOPLE), ProfilesConfig())
    with pytest.raises(CrowdError, match=message):
        of_population(generator, margins_of(text))


def test_people_who_count_for_nothing_are_nobody():
    weight = (AGE < 60) * 1.0
    with pytest.raises(CrowdError, match="none of the 400 people is so whose weight is above 0"):
        people_among(PROFILE, weight, condition_of("age >= 60"))


def test_a_condition_that_nobody_fulfils_is_told():
    study = make_study()
    people = study.participants
    generator = fit_profiles(people.profile, people.weight, ProfilesConfig())
    with pytest.raises(CrowdError, match="nobody among the run's people is so"):
        among(generator, condition_of("age > 200"))
