"""Each diagnostic speaks of a crowd that is broken in its way, and is silent of a healthy one."""

import dataclasses
import re

import jax
import numpy as np
import pytest
from synthetic import make_study
from test_metrics import everything

from crowdllm_jax.model.cvae.config import CvaeConfig, LossWeights
from crowdllm_jax.model.fit import Prepared
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.reference.record import Reference
from crowdllm_jax.score.advice import advice
from crowdllm_jax.score.diagnostics import (
    collapsed,
    diagnose,
    incompatible,
    interchangeable,
    latent_share,
    option_mass,
    silent_attributes,
    spread,
    summary,
    too_few,
)
from crowdllm_jax.score.drift import Sessions, drift, sessions
from crowdllm_jax.score.metrics import Score
from crowdllm_jax.study.coding import fit_coding
from crowdllm_jax.study.records import Attribute, Participants, Study
from crowdllm_jax.study.split import Split

CUTS = [-2.0, -0.7, 0.7, 2.0]
PEOPLE, TASKS = 150, 24


def answers(people: int, seed: int, *, belief=0.9, noise=1.0, shift=1.5) -> np.ndarray:
    """(people, TASKS) ratings 1 to 5 of people with one belief each, to tasks that differ."""
    random = np.random.default_rng(seed)
    place = belief * random.normal(size=(people, 1)) + np.linspace(-shift, shift, TASKS)
    noisy = place + noise * random.logistic(size=(people, TASKS))
    return 1.0 + np.searchsorted(CUTS, noisy)


@pytest.fixture(scope="module")
def study() -> Study:
    study = make_study(tasks=TASKS, people=PEOPLE)
    return dataclasses.replace(study, answer=answers(PEOPLE, 0).ravel() - 1)


HEALTHY = answers(4000, 1)
POOLED = np.random.default_rng(2).permutation(HEALTHY.ravel()).reshape(HEALTHY.shape)


@pytest.mark.parametrize("by", ["tasks", "people"])
def test_a_healthy_crowd_is_passed_over_in_silence(study, by):
    humans, people = everything(study, by), sessions(prepared(study))
    found = [
        *spread(humans, HEALTHY),
        incompatible(humans, HEALTHY, POOLED),
        interchangeable(humans, HEALTHY),
        drift(people, HEALTHY),
    ]
    assert not any(one.fires for one in found)
    assert all(one.value is not None for one in found)
    assert summary(found) == "0 of 5 speak"


def test_the_spread_is_the_ratio_of_variances(study):
    humans = everything(study)
    people = study.value.reshape(PEOPLE, TASKS).var(axis=0, ddof=1)
    expected = HEALTHY.var(0).sum() / people.sum()
    assert spread(humans, HEALTHY)[0].value == pytest.approx(expected)


@pytest.mark.parametrize(("belief", "noise"), [(0.2, 0.4), (0.75, 0.8)])
def test_a_crowd_that_varies_too_little_is_homogeneous(study, belief, noise):
    flat, wild = spread(everything(study), answers(4000, 1, belief=belief, noise=noise))
    assert flat.name == "homogeneous crowd"
    assert flat.fires
    assert not wild.fires


def test_a_crowd_that_varies_too_much_is_incoherent(study):
    flat, wild = spread(everything(study), answers(4000, 1, belief=4.0, noise=2.0))
    assert wild.name == "incoherent answers"
    assert wild.fires
    assert not flat.fires


def test_beliefs_that_turn_one_task_around_do_not_fit(study):
    values = HEALTHY.copy()
    values[:, 3] = 6 - values[:, 3]
    found = incompatible(everything(study), values, POOLED)
    assert found.fires
    assert "tasks number [3]" in found.detail
    assert incompatible(everything(study), 6 - HEALTHY, POOLED).fires


def test_agents_that_are_drawn_anew_for_every_answer_are_interchangeable(study):
    humans = everything(study)
    random = np.random.default_rng(3)
    values = np.column_stack([random.permutation(column) for column in HEALTHY.T])
    assert not any(one.fires for one in spread(humans, values))
    assert interchangeable(humans, values).fires
    # People who are nobody in particular ask for no more.
    random_people = dataclasses.replace(study, answer=answers(PEOPLE, 5, belief=0.0).ravel() - 1)
    assert not interchangeable(everything(random_people), values).fires


def test_a_latent_that_moves_nothing_has_collapsed(study, rating_crowd):
    humans = everything(study)
    assert latent_share(rating_crowd) > 0.01
    assert not collapsed(rating_crowd, humans).fires
    silent = dataclasses.replace(
        rating_crowd,
        params=jax.tree_util.tree_map_with_path(
            lambda path, leaf: 0 * leaf if "blender" in str(path) else leaf, rating_crowd.params
        ),
    )
    assert latent_share(silent) == pytest.approx(0, abs=1e-5)
    assert collapsed(silent, humans).fires
    same = dataclasses.replace(study, answer=answers(PEOPLE, 5, belief=0.0).ravel() - 1)
    assert not collapsed(silent, everything(same)).fires


def test_a_model_that_would_rather_say_something_else():
    assert option_mass(np.full(9, 0.2)).fires
    assert not option_mass(np.full(9, 0.9)).fires
    unknown = option_mass(None)
    assert (unknown.value, unknown.fires) == (None, False)


def test_published_shares_spread_as_the_people_behind_them(study):
    """The same answers, of people and as how many gave each: everybody behind a share is somebody,
    though they are one row of the table."""
    cell, count = np.unique(study.task * 5 + study.answer.astype(int), return_counts=True)
    ids = tuple(f"row {row:03d}" for row in range(len(cell)))
    published = dataclasses.replace(
        study,
        participants=Participants(ids, (), count.astype(float)),
        person=np.arange(len(cell), dtype=np.int32),
        task=(cell // 5).astype(np.int32),
        answer=(cell % 5).astype(float),
        toplines=True,
    )
    of_people, of_shares = (spread(everything(one), HEALTHY) for one in (study, published))
    assert of_shares == of_people
    assert not any(finding.fires for finding in of_shares)


def prepared(study: Study) -> Prepared:
    every = np.ones(len(study.task), bool)
    codings = tuple(fit_coding(a, np.arange(PEOPLE)) for a in study.participants.profile)
    reference = Reference("marginal", np.full(TASKS, 3.0))
    split = Split("people", every, ~every, every)
    return Prepared(study, split, np.zeros((TASKS, 0)), reference, codings, None)


def test_an_attribute_that_says_nothing_is_named(study):
    random = np.random.default_rng(4)
    party = random.integers(0, 2, PEOPLE).astype(np.int32)
    coin = random.integers(0, 2, PEOPLE).astype(np.int32)
    moved = np.clip(answers(PEOPLE, 0) - 1 + (2 * party[:, None] - 1), 0, 4)
    real, empty = (
        Attribute(n, "categorical", ("a", "b"), c) for n, c in (("party", party), ("coin", coin))
    )

    def found(*profile):
        people = dataclasses.replace(study.participants, profile=profile)
        return silent_attributes(
            prepared(dataclasses.replace(study, participants=people, answer=moved.ravel()))
        )

    assert not found(real).fires
    assert found(real, empty).value == 1
    assert "coin p" in found(real, empty).detail
    assert found(empty).fires
    assert found().value is None


def test_shuffled_attributes_are_found_significant_at_the_nominal_rate(study):
    """40 coins: p <= .05 in 5% of them; more than 8 has chance 2e-4."""
    random = np.random.default_rng(6)
    coins = tuple(
        Attribute(
            f"c{i}", "categorical", ("a", "b"), random.integers(0, 2, PEOPLE).astype(np.int32)
        )
        for i in range(40)
    )
    people = dataclasses.replace(study.participants, profile=coins)
    quiet = silent_attributes(prepared(dataclasses.replace(study, participants=people)))
    assert quiet.value >= 32


def test_too_few_to_tell_by_number_and_by_width(study):
    """10 people (tasks) with 30 answers, and half of the way."""

    def fires(people: int, tasks: int, by: str, width: float | None) -> bool:
        kept = (study.person < people) & (study.task < tasks)
        parts = {name: getattr(study, name)[kept] for name in ("person", "task", "answer")}
        humans = everything(dataclasses.replace(study, **parts), by)
        scores = [Score("cvae", by, 0, "rps", 1.0, 0.0, 2.0)]
        if width is not None:
            scores += [Score("cvae", by, 0, "skill", 0.3, 0.2, 0.2 + width)]
        return too_few(humans, scores, "cvae").fires

    assert not fires(10, 3, "people", 0.49)
    assert fires(10, 3, "people", 0.51)
    assert fires(9, 24, "people", 0.1)
    assert not fires(9, 24, "tasks", 0.1)
    assert fires(100, 9, "tasks", 0.1)
    assert fires(14, 2, "people", 0.1)
    # Whether skill is defined is told elsewhere.
    assert not fires(100, 10, "people", None)


def topical(people: int, seed: int, *, turn: bool = False, walk: float = 0.0) -> np.ndarray:
    """(people, TASKS) answers of people with a belief about each of four topics asked in blocks, as
    surveys do; who turn into somebody else half-way, or whose beliefs walk on the way."""
    random = np.random.default_rng([7, seed])
    topic = np.arange(TASKS) * 4 // TASKS
    beliefs = [
        0.9 * random.normal(size=(people, 1)) + 0.7 * random.normal(size=(people, 4))[:, topic]
        for _ in range(2)
    ]
    place = np.where(turn & (np.arange(TASKS) >= TASKS // 2), *beliefs[::-1])
    steps = random.normal(size=(people, TASKS))
    place = place + walk * steps.cumsum(1) / np.sqrt(TASKS)
    return 1.0 + np.searchsorted(CUTS, place + random.logistic(size=place.shape))


def topical_people(seed: int, share: float = 1.0) -> Sessions:
    study = make_study(tasks=TASKS, people=PEOPLE)
    answer = topical(PEOPLE, seed).ravel() - 1
    asked = np.random.default_rng(seed).random(len(answer)) < share
    parts = {name: getattr(study, name)[asked] for name in ("person", "task")}
    return sessions(prepared(dataclasses.replace(study, **parts, answer=answer[asked])))


@pytest.mark.parametrize("share", [1.0, 0.8])
def test_people_do_not_drift_beside_people(share):
    """Their halves correlate less than alternating ones because they ask about other topics. 200
    draws at a level of 2.5%: more than 14 speak with a chance of 1.8e-4."""
    found = [
        drift(topical_people(seed, share), topical(PEOPLE, 1000 + seed)) for seed in range(200)
    ]
    assert sum(one.fires for one in found) <= 14
    told = [one for one in found if one.value is not None]
    assert len(told) > 190
    assert np.median([one.value for one in told]) == pytest.approx(1, abs=0.1)
    assert "people 0.8" in told[0].detail or "people 0.7" in told[0].detail


def test_an_agent_who_turns_into_somebody_else_drifts():
    for seed in range(10):
        assert drift(topical_people(seed), topical(2000, 1000 + seed, turn=True)).fires


def test_beliefs_that_walk_drift_where_those_of_people_stay(study):
    people = sessions(prepared(study))
    random = np.random.default_rng(7)
    place = np.linspace(-1.5, 1.5, TASKS) + random.normal(size=(3000, TASKS)).cumsum(1)
    walking = 1.0 + np.searchsorted(CUTS, place + random.logistic(size=place.shape))
    assert drift(people, walking).fires


def test_drift_is_not_told_where_it_cannot_be(study):
    nobody = drift(sessions(prepared(study)), answers(3000, 3, belief=0.0))
    assert (nobody.value, nobody.fires) == (None, False)
    assert "agents are nobody" in nobody.detail
    short = drift(topical_people(0, share=0.4), HEALTHY)
    assert (short.value, short.fires) == (None, False)
    assert "too few" in short.detail


NAMES = (
    "too few to tell",
    "homogeneous crowd",
    "incoherent answers",
    "belief and task do not fit",
    "interchangeable agents",
    "collapsed latent",
    "reference off the options",
    "reference without signal",
    "sources that bring nothing",
    "attributes without a signal",
    "drift",
)


@pytest.mark.parametrize("finding", NAMES)
@pytest.mark.parametrize(
    "model",
    [
        PersistentConfig(),
        CvaeConfig(),
        CvaeConfig(diversity=0.0, noise_scale=0.0),
        CvaeConfig(constant_reference=True, loss=LossWeights(kl=0.0)),
    ],
)
def test_advice_is_not_what_the_run_does_already(study, finding, model):
    text = advice(finding, model, prepared(study))
    kind = model.__struct_config__.tag
    assert f"model.kind: {kind}" not in text
    assert not re.search(r"lower [^,]* \(now 0\)", text)
    # Whatever is to be changed stands in this run's configuration.
    for key in re.findall(r"model\.(\w+)", text):
        assert key == "kind" or hasattr(model, key)
    if isinstance(model, PersistentConfig):
        assert "train." not in text
    if "constant_reference: false" in text:
        assert model.constant_reference


def test_every_finding_has_advice(study, rating_crowd):
    ready = prepared(study)
    humans = everything(study, "people")
    few = too_few(humans, [], "cvae")
    found = diagnose(ready, rating_crowd, humans, HEALTHY, POOLED, few)
    assert [one.name for one in found] == list(NAMES)
    assert all(one.advice for one in found)


def test_nothing_is_compared_with_a_handful_of_people(study, rating_crowd):
    """Three people's intervals have hardly any width, so that anything would lie outside."""
    kept = study.person < 3
    parts = {name: getattr(study, name)[kept] for name in ("person", "task", "answer")}
    humans = everything(dataclasses.replace(study, **parts), "people")
    few = too_few(humans, [], "cvae")
    found = diagnose(prepared(study), rating_crowd, humans, HEALTHY, POOLED, few)
    assert few.fires
    for one in found[1:6]:
        assert (one.value, one.fires) == (None, False)
        assert "too few" in one.detail
