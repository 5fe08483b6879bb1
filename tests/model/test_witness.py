"""Witnesses count as far as they have proved right, in fits, twins and agents."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from known_people import log_chance, make_known, one_answer_each, standing_of
from scipy.stats import norm
from synthetic import RATING, make_study

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd_file import crowd_fingerprint, load_crowd, save_crowd
from crowdllm_jax.model.cvae.fit import TrainConfig
from crowdllm_jax.model.fit import Prepared, fit_model
from crowdllm_jax.model.persistent.answers import gather_answers
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.model.persistent.decision import by_witnesses
from crowdllm_jax.model.persistent.draw import ready_to_draw
from crowdllm_jax.model.persistent.effects import Persistent
from crowdllm_jax.model.persistent.witness import (
    Said,
    likeness,
    said_of,
    standard_of,
    unwitnessed,
)
from crowdllm_jax.population.predicted import predict_answers
from crowdllm_jax.population.sample import sample
from crowdllm_jax.population.twins import make_twins
from crowdllm_jax.profiles.generator import ProfilesConfig, fit_profiles
from crowdllm_jax.reference.record import Reference
from crowdllm_jax.runtime.progress import silent
from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Participants, Study, Witness
from crowdllm_jax.study.scales import Nominal, Scale
from crowdllm_jax.study.split import Split

PEOPLE, TASKS, TRUST = 200, 8, 1.2


def told(study: Study, value: np.ndarray, name: str = "witness") -> Study:
    """A study with a witness that says a value of everybody's answer to every task."""
    people, tasks = value.shape
    person, task = (axis.ravel().astype(np.int32) for axis in np.indices((people, tasks)))
    witness = Witness(name, person, task, value.ravel().astype(float))
    return replace(study, witnesses=(*study.witnesses, witness))


def test_what_is_said_is_standardised_within_tasks():
    study = make_study(tasks=3, people=30)
    value = np.random.default_rng(0).uniform(1, 5, (30, 3))
    value[:, 2] = 4.0  # says the same of everybody
    study = told(study, value)
    standard = standard_of(study)
    person, task = np.array([4, 0, 7, 4]), np.array([1, 0, 2, 0])
    said = said_of(study, standard, person, task)
    z = (value - value.mean(0)) / np.where(value.std(0) > 0, value.std(0), 1)
    np.testing.assert_allclose(said.number[:, 0], z[person, task], atol=1e-4)
    assert said.number[2, 0] == 0
    # Rounding is no difference; nor does one odd answer move a person without end.
    odd = np.where(np.arange(90).reshape(30, 3) % 3 == 2, 4 + 1e-3 * value, 3.0)
    odd[0, 0] = 5.0
    flat = told(make_study(tasks=3, people=30), odd)
    assert standard_of(flat).sd[0, 2] == 0
    assert said_of(flat, standard_of(flat), np.zeros(1, int), np.zeros(1, int)).number[0, 0] == 4
    (witness,) = study.witnesses
    partly = Witness("witness", witness.person[1:], witness.task[1:], witness.value[1:])
    silent_of_first = replace(study, witnesses=(partly,))
    again = said_of(silent_of_first, standard, person, task).number[:, 0]
    np.testing.assert_allclose(again, np.where(np.arange(4) == 1, 0, said.number[:, 0]))


def test_a_trusted_witness_counts_as_a_column_of_the_profile():
    """The likelihood with trust b and what is said w is that of a profile with one more column,
    whose effect on the task is b and which is w."""
    study = make_study(tasks=3, people=20)
    study = told(study, np.random.default_rng(0).uniform(1, 5, (20, 3)))
    known = make_known(study)
    levels, c = np.arange(5), known.design.groups["profile"].shape[0]
    plain = one_answer_each(known, 1, levels, np.zeros(c, np.float32))
    w = np.linspace(-2, 2, 5, dtype=np.float32)
    standing = standing_of(known, 6)
    said = Said(w[:, None, None], np.zeros((5, 1, 1), np.int32))
    found = log_chance(known, plain._replace(said=said), standing)

    trust = float(known.ready.items.trust[1, 0])
    assert abs(trust) > 0.1
    ready = known.ready
    items = ready.items._replace(profile=jnp.asarray(ready.items.profile).at[0, 1].set(trust))
    tables = ready.tables._replace(responses=ready.tables.responses._replace(items=items))
    profile = np.zeros((5, c), np.float32)
    profile[:, 0] = w
    nothing = Said(np.zeros((5, 1, 1), np.float32), np.zeros((5, 1, 1), np.int32))
    as_profile = plain._replace(said=nothing, profile=profile)
    expected = log_chance(known, as_profile, standing, ready._replace(tables=tables))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_on_a_nominal_task_it_raises_the_level_that_it_names():
    """By its trust, in log odds at a personal scale of 1, less what it adds on average: half of the
    people are named c, half a. Of whom it says nothing stay where they are; and twins answer so."""
    by_name = {"party": Nominal(levels=("a", "b", "c"))}
    value = np.repeat([[2.0, 2.0], [0.0, 0.0]], 10, axis=0)
    study = told(make_study(by_name, tasks=2, people=20), value)
    known = make_known(study, latent=1)
    known.model.effects.mean["witness"][...] = jnp.full((1, 1), 0.9)
    known.model.effects.mean["task_witness"][...] = jnp.zeros((2, 1))
    everybody, first = np.arange(20), np.zeros(20, int)
    told_of = said_of(study, known.design.witnesses, everybody, first)
    raised = np.asarray(by_witnesses(known.ready.items, first, told_of))
    np.testing.assert_allclose(raised[0], [-0.45, 0, 0.45], atol=1e-6)
    np.testing.assert_allclose(raised.mean(0), 0, atol=1e-6)
    alone = replace(study, witnesses=())
    silence = said_of(alone, known.design.witnesses, everybody, first)
    assert not np.asarray(by_witnesses(known.ready.items, first, silence)).any()
    rows = np.zeros(2, int), np.arange(2)
    nobody = np.zeros(len(study.task), bool)
    p = predict_answers(known.crowd, study, nobody, *rows).chance
    q = predict_answers(known.crowd, alone, nobody, *rows).chance
    assert (p[:, 2] > q[:, 2] + 0.05).all()
    # The average over beliefs and scales keeps the odds nearly as they would be at one.
    odds = np.log(p[:, [0, 2]] / p[:, 1:2]) - np.log(q[:, [0, 2]] / q[:, 1:2])
    np.testing.assert_allclose(odds, [[-0.45, 0.45]] * 2, atol=0.15)
    drawn = make_twins(known.crowd, study, nobody, draws=4000).answers[0]
    # Four standard errors of a share of 4,000, 0.032.
    assert (drawn[:, 0] == 2).mean() == pytest.approx(p[0, 2], abs=0.032)


def in_many_directions(by_name: dict[str, Scale], tasks: int, people: int = 64):
    """Nobody in particular, of whom a trusted witness says something else in every task: the same
    normal numbers in another order. The crowd knows how people differ by what is said of them."""
    random = np.random.default_rng(0)
    each = norm.ppf((np.arange(people) + 0.5) / people)
    w = random.permuted(np.tile(each, (tasks * len(by_name), 1)), axis=1).T
    plain = make_study(by_name, tasks=tasks, people=people)
    ids, weight = plain.participants.ids, plain.participants.weight
    plain = replace(plain, participants=Participants(ids, (), weight))
    width = np.array([scale_ends(s) for s in by_name.values()])[plain.tasks.scale]
    value = width.mean(1) + np.diff(width, axis=1)[:, 0] / 6 * w
    nominal = np.array([isinstance(s, Nominal) for s in by_name.values()])[plain.tasks.scale]
    study = told(plain, np.where(nominal, (w > 0) * 1.0, value))
    known = make_known(study, latent=2, loud=0.3)
    known.model.effects.mean["witness"][...] = jnp.full((len(by_name), 1), 1.8)
    known.model.effects.mean["task_witness"][...] *= 0
    nothing = np.zeros((people, 1), np.float32)
    trust = np.asarray(known.ready.items.trust)
    own = unwitnessed(study, known.design.witnesses, trust, np.arange(people), nothing)
    return known._replace(design=known.design._replace(unwitnessed=own))


def scale_ends(scale: Scale) -> np.ndarray:
    return scales.values(scale)[[0, -1]]


def test_whoever_is_not_told_of_answers_as_those_who_are_do_together():
    """By the law of total probability the average forecast for the people of whom the witness tells
    is that for a person of whom it does not, and agents' shares, with nominal tasks beside. Of 16
    directions in which it speaks 8 widen single tasks' answers, good to .01 in probability; 20,000
    agents' shares have a standard error of .0035 at most, 64 people's numbers are off a normal's by
    about as much."""
    by_name = {"rating": RATING, "party": Nominal(levels=("a", "b", "c"))}
    known = in_many_directions(by_name, 16)
    crowd, study = known.crowd, known.study
    nobody = np.zeros(len(study.task), bool)
    person, task = (axis.ravel() for axis in np.indices((64, 16)))
    chance = predict_answers(crowd, study, nobody, person, task).chance
    expected = chance.reshape(64, 16, 5).mean(0)
    alone = replace(study, witnesses=())
    silent_of = predict_answers(crowd, alone, nobody, np.zeros(16, int), np.arange(16)).chance
    np.testing.assert_allclose(silent_of, expected, atol=0.02)
    agents = sample(crowd, 20_000, 0).answers
    assert agents[:, 16:].max() == 2
    share = np.stack([(agents[:, :16] == level).mean(0) for level in range(5)], 1)
    np.testing.assert_allclose(share, expected, atol=0.03)

    def variance(share: np.ndarray) -> np.ndarray:
        level = np.arange(5)
        return share @ level**2 - (share @ level) ** 2

    for found in (silent_of, share):
        assert (variance(found) / variance(expected)).mean() == pytest.approx(1, abs=0.02)


def people_and_witness(seed: int = 0) -> tuple[Study, np.ndarray]:
    """People of one personal bias, whose answers also follow numbers w (P, T) of their own."""
    random = np.random.default_rng(seed)
    w = random.normal(size=(PEOPLE, TASKS))
    bias = 0.7 * random.normal(size=(PEOPLE, 1))
    stand = TRUST * w + bias + random.logistic(size=w.shape)
    levels = np.digitize(stand, [-2, -0.7, 0.7, 2]).astype(float)
    study = make_study({"rating": RATING}, tasks=TASKS, people=PEOPLE)
    nobody_in_particular = Participants(study.participants.ids, (), study.participants.weight)
    return replace(study, participants=nobody_in_particular, answer=levels.ravel()), w


def fitted(study: Study, known: np.ndarray):
    nothing = np.zeros(len(known), bool)
    reference = Reference("marginal", np.full(len(study.tasks.ids), 3.0))
    prepared = Prepared(
        study,
        Split("answers", known, nothing, ~known),
        np.zeros((len(study.tasks.ids), 1), np.float32),
        reference,
        (),
        fit_profiles((), study.participants.weight, ProfilesConfig()),
    )
    model = PersistentConfig(latent=1, injected=0, nodes=16, steps=100, learning_rate=0.1)
    return fit_model(prepared, model, TrainConfig(), 0, None, silent, "test")[0]


@pytest.fixture(scope="module")
def trusted():
    """A study with a good witness and a worthless one, what is known, and the crowd."""
    study, w = people_and_witness()
    at_random = np.random.default_rng(1).permuted(w, axis=0)
    # A biased witness of another scale: 3.5 plus some.
    study = told(study, (3.5 + 0.3 * w).clip(1, 5), "good")
    study = told(study, (2.0 + 0.2 * at_random).clip(1, 5), "worthless")
    known = np.random.default_rng(2).random(len(study.task)) < 0.7
    return study, w, known, fitted(study, known)


def test_trust_is_learned(trusted):
    """Per standard deviation it is 1.2, on the scale of logistic noise. Of 1,100 answers with a
    residual deviation of about 2 a slope has a standard error of .06; shrinkage adds some bias.
    A task's own trust in the worthless one stands on 140 answers (.17) and is shrunk, by what all
    tasks say of it, to a small part of that."""
    _, _, _, crowd = trusted
    trust = np.asarray(ready_to_draw(crowd.graph, crowd.params, crowd.inputs).items.trust)
    assert trust[:, 0].mean() == pytest.approx(TRUST, abs=0.25)
    assert np.sqrt((trust[:, 1] ** 2).mean()) < 0.08


def test_a_witness_tells_what_other_answers_do_not(trusted):
    """And what a worthless one says costs next to nothing."""
    study, _, known, crowd = trusted
    rows = np.flatnonzero(~known)
    asked = study.person[rows], study.task[rows]

    def r(crowd, study) -> float:
        mean = predict_answers(crowd, study, known, *asked).mean
        return float(np.corrcoef(mean, study.value[rows])[0, 1])

    alone = replace(study, witnesses=())
    good = replace(study, witnesses=study.witnesses[:1])
    assert r(crowd, study) > r(crowd, alone) + 0.2
    # Trust of .1 in noise takes from a correlation of .7 less than (.1 / 2)^2 / 2 of it.
    assert r(crowd, study) == pytest.approx(r(crowd, good), abs=0.01)


def test_agents_spread_as_people_though_none_witnesses_for_them(trusted):
    """10,000 agents' variance per task against that of 200 people, with a relative standard error
    of 7%: within 25%. Without what witnesses would say they would have less than 60% of it."""
    study, _, _, crowd = trusted
    agents = sample(crowd, 10_000, 0).answers.astype(float)
    people = study.answer.reshape(PEOPLE, TASKS)
    np.testing.assert_allclose(agents.var(0) / people.var(0), 1, atol=0.25)
    assert (agents.var(0) / people.var(0)).mean() == pytest.approx(1, abs=0.1)


def test_what_would_be_said_has_the_covariances_of_what_was():
    """Exactly their diagonal, whatever the number of directions; all of them if these suffice."""
    random = np.random.default_rng(0)
    study = make_study(tasks=6, people=200)
    value = 3 + 0.3 * (random.normal(size=(200, 2)) @ random.normal(size=(2, 6)))
    study = told(study, value.clip(1, 5))
    standard, trust = standard_of(study), random.normal(size=(6, 1))
    profile = random.normal(size=(200, 3))
    found = unwitnessed(study, standard, trust, np.arange(200), profile)
    z = (value - value.mean(0)) / value.std(0) * trust[:, 0]
    rest = z - profile @ found.profile
    made = found.loading @ found.loading.T + np.diag(found.spread**2)
    np.testing.assert_allclose(made, rest.T @ rest / 200, atol=0.02)


def test_what_would_be_said_counts_people_by_weight_and_has_their_average():
    """People of weight 3 count as three people; what is said of few who answered is not 0 on
    average, with an intercept beside their profiles."""
    random = np.random.default_rng(0)
    study = told(make_study(tasks=4, people=60), random.uniform(1, 5, (60, 4)))
    standard, trust = standard_of(study), np.ones((4, 1))
    some, profile = np.arange(20), random.normal(1, 1, size=(20, 2))
    often = np.where(some < 5, 3, 1)
    weight = np.ones(60)
    weight[:20] = often
    weighted = replace(study, participants=replace(study.participants, weight=weight))
    by_weight = unwitnessed(weighted, standard, trust, some, profile)
    copies = np.repeat(some, often)
    by_copies = unwitnessed(study, standard, trust, copies, profile[copies])
    middle = profile[copies].mean(0)
    said = said_of(study, standard, np.repeat(copies, 4), np.tile(np.arange(4), len(copies)))
    average = said.number.reshape(len(copies), 4).mean(0)
    np.testing.assert_allclose(by_copies.location + middle @ by_copies.profile, average, atol=1e-5)
    np.testing.assert_allclose(by_weight.location + middle @ by_weight.profile, average, atol=1e-5)


def test_tasks_are_alike_that_are_answered_alike():
    random = np.random.default_rng(0)
    side = np.array([1, 1, 1, -1, -1])
    value = 3 + 0.4 * random.normal(size=(300, 1)) * side + 0.1 * random.normal(size=(300, 5))
    study = told(make_study(tasks=5, people=300), value.clip(1, 5))
    nothing = np.zeros(len(study.task), bool)
    first = likeness(study, standard_of(study), nothing)[:, 0]
    assert (np.sign(first) == side * np.sign(first[0])).all()
    assert np.abs(first).std() < 0.1


def test_new_tasks_are_like_those_that_people_answer_as_a_witness_answers_them():
    """The witness's answers to tasks 0 and 1 follow one number of a person, those to 2 and 3
    another, in pairs that it never puts together; people's own answers to 4 and 5 follow these."""
    random = np.random.default_rng(0)
    one, other = random.normal(size=(2, 400, 1))
    level = np.clip(np.round(2 + np.concatenate([one, one, other, other, one, other], 1)), 0, 4)
    study = replace(make_study(tasks=6, people=400), answer=level.ravel())
    noise = 0.4 * random.normal(size=(400, 6))
    said = 3 + 0.5 * np.concatenate([one, one, other, other, 0 * one, 0 * one], 1) + noise
    study = told(study, said.clip(1, 5))
    known = study.task >= 4
    x = likeness(study, standard_of(study), known)
    near = x @ x.T
    assert min(near[0, 1], near[2, 3]) > 4 * max(np.abs(near[:2, 2:4]).max(), 0.01)


def test_a_crowd_keeps_its_witnesses(trusted, tmp_path):
    _, _, _, crowd = trusted
    save_crowd(crowd, tmp_path / "crowd")
    again = load_crowd(tmp_path / "crowd")
    assert crowd_fingerprint(again) == crowd_fingerprint(crowd)
    assert again.inputs.witnesses.names == ("good", "worthless")
    np.testing.assert_array_equal(sample(again, 50, 1).answers, sample(crowd, 50, 1).answers)


def test_an_unknown_witness_is_refused(trusted):
    study, w, known, crowd = trusted
    odd = told(study, (3 + 0.3 * w).clip(1, 5), "somebody else")
    with pytest.raises(CrowdError, match=r"'somebody else': .* it knows: good, worthless"):
        predict_answers(crowd, odd, known, np.zeros(1, int), np.zeros(1, int))


def test_twins_answer_as_predicted(trusted):
    """20,000 twins: a share's standard error is .0035 at most, four of them .014."""
    study, _, known, crowd = trusted
    person, task = np.full(TASKS, 5), np.arange(TASKS)
    chance = predict_answers(crowd, study, known, person, task).chance
    few = of_one(study, 5)
    drawn = make_twins(crowd, few, known[study.person == 5], draws=20_000).answers[0]
    for t in range(TASKS):
        share = np.bincount(drawn[:, t].astype(int), minlength=5) / 20_000
        np.testing.assert_allclose(share, chance[t], atol=0.014)


def of_one(study: Study, person: int) -> Study:
    """The study of one person."""
    rows, p = study.person == person, study.participants
    return replace(
        study,
        participants=Participants((p.ids[person],), (), np.ones(1)),
        person=np.zeros(rows.sum(), np.int32),
        task=study.task[rows],
        answer=study.answer[rows],
        witnesses=tuple(
            Witness(w.name, w.person[m] * 0, w.task[m], w.value[m])
            for w in study.witnesses
            if (m := w.person == person).any()
        ),
    )


def test_a_fit_without_witnesses_has_no_trace_of_them():
    known = make_known()
    assert known.design.witnesses is None
    assert "witness" not in known.design.groups
    model: Persistent = nnx.merge(*nnx.split(known.model))
    assert "task_witness" not in model.effects.mean
    study = known.study
    everything = np.ones(len(study.task), bool)
    assert gather_answers(study, known.codings, known.design, everything)[1].said is None
