"""What profiles do: recovered where it is there, none where it is not, and with fair intervals."""

import dataclasses

import numpy as np
import pytest
from synthetic import RATING, make_study

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.cvae.fit import TrainConfig
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.runs.config import Config
from crowdllm_jax.runs.prepare import fit
from crowdllm_jax.score.diagnostics import latent_share
from crowdllm_jax.score.effects import profile_effects
from crowdllm_jax.study.records import Attribute
from crowdllm_jax.study.split import SplitConfig

PEOPLE, TASKS = 240, 12


def people_who_differ(by: float, seed: int = 0):
    """Ratings from an ordinal mixed model in which city moves the location by `by` logits either
    way, and the coin by nothing."""
    random = np.random.default_rng(seed)
    study = make_study({"rating": RATING}, tasks=TASKS, people=PEOPLE)
    city = random.integers(0, 2, PEOPLE).astype(np.int32)
    coin = random.integers(0, 2, PEOPLE).astype(np.int32)
    profile = (
        Attribute("city", "categorical", ("north", "south"), city),
        Attribute("coin", "categorical", ("heads", "tails"), coin),
    )
    person, task = np.repeat(np.arange(PEOPLE), TASKS), np.tile(np.arange(TASKS), PEOPLE)
    location = by * (2 * city - 1) + random.normal(0, 0.7, PEOPLE)
    noisy = location[person] + random.logistic(size=len(person))
    return dataclasses.replace(
        study,
        participants=dataclasses.replace(
            study.participants,
            profile=profile,
            ids=tuple(map(str, range(PEOPLE))),
            weight=np.ones(PEOPLE),
        ),
        person=person.astype(np.int32),
        task=task.astype(np.int32),
        answer=np.searchsorted([-2.0, -0.7, 0.7, 2.0], noisy).astype(float),
    )


def fitted(study, model=PersistentConfig(latent=1, injected=0, nodes=16, steps=150)):  # noqa: B008
    config = Config(
        study="anes96",
        model=model,
        train=TrainConfig(epochs=1),
        split=SplitConfig(by="people", test=0.1, validation=0.0),
    )
    return fit(study, config)[0]


@pytest.fixture(scope="module")
def crowd():
    return fitted(people_who_differ(by=0.8))


def test_an_effect_is_found_and_a_coin_has_none(crowd):
    # The diagnostics' share: beliefs beside logistic noise, pi**2 / 3.
    assert latent_share(crowd) == pytest.approx(0.49 / (0.49 + 3.29), abs=0.05)
    city, coin = profile_effects(crowd)
    assert (city.attribute, coin.attribute) == ("city", "coin")
    # 216 people with a personal deviation of .7 and 12 answers each: the standard error of half
    # the cities' difference is about sqrt(.7**2 + 3.3 / 12) / sqrt(216) = .06; shrinkage is slight.
    assert abs(city.spread - 0.8) < 0.2
    assert city.low < city.spread < city.high
    south = city.levels[1]
    assert south.low > 0.4
    assert south.effect > 0
    assert coin.spread < 0.1
    assert abs(city.belief - 0.7) < 0.15


def test_without_effects_all_are_shrunk_to_nothing():
    for one in profile_effects(fitted(people_who_differ(by=0.0, seed=1))):
        # A chance difference of two standard errors (.12) may be left, shrunk.
        assert one.spread < 0.12
        assert all(level.low < 0 < level.high for level in one.levels)


def test_levels_balance_out_over_people(crowd):
    for one in profile_effects(crowd):
        total = sum(level.people * level.effect for level in one.levels)
        assert total == pytest.approx(0, abs=1e-5)


def test_levels_balance_out_over_weighted_people(crowd):
    """Shares are those of the people by weight, and effects are relative to their average."""
    own = crowd.generator
    south = own.attributes[0].cells
    weight = np.where(south == 1, 3.0, 1.0)
    heavy = dataclasses.replace(own, weight=weight / weight.sum())
    city, _ = profile_effects(dataclasses.replace(crowd, generator=heavy))
    assert city.levels[1].people == pytest.approx(weight[south == 1].sum() / weight.sum())
    total = sum(level.people * level.effect for level in city.levels)
    assert total == pytest.approx(0, abs=1e-5)
    plain = profile_effects(crowd)[0]
    apart = [one.levels[1].effect - one.levels[0].effect for one in (city, plain)]
    assert apart[0] == pytest.approx(apart[1], abs=1e-5)


def test_the_published_model_has_none_to_show():
    with pytest.raises(CrowdError, match="need the persistent model"):
        profile_effects(fitted(people_who_differ(by=0.0), CvaeConfig()))
