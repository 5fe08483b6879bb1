"""Tasks that nobody answered: known ones keep what is known, and new ones are not invented."""

import dataclasses
import re
from functools import cache

import jax.numpy as jnp
import msgspec
import numpy as np
import pytest
from flax import nnx
from known_people import make_known
from scipy.special import expit, ndtri
from synthetic import make_study

from crowdllm_jax.errors import CrowdWarning
from crowdllm_jax.model import fit
from crowdllm_jax.model.crowd_file import arrays_of, load_crowd, save_crowd
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.model.persistent.design import make_design
from crowdllm_jax.model.persistent.effects import divergence, regressions
from crowdllm_jax.model.persistent.fit import new_persistent
from crowdllm_jax.model.persistent.regression import Normal, Regression, divergence_around, regress
from crowdllm_jax.model.persistent.shared import shared_by_scales
from crowdllm_jax.model.persistent.unanswered import dilution, explained, settled
from crowdllm_jax.population.sample import sample
from crowdllm_jax.reference.record import Reference, from_levels
from crowdllm_jax.runs import prepare
from crowdllm_jax.runs.config import Config
from crowdllm_jax.runtime import progress
from crowdllm_jax.study.describe import describe
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.scales import Binary, Continuous, Nominal, Ordinal, Scale
from crowdllm_jax.study.split import SplitConfig
from crowdllm_jax.study.statistics import ends

RATING = Ordinal(levels=(1, 2, 3, 4, 5))
CUTS = np.array([-2.0, -0.7, 0.5, 1.8])
QUICK = PersistentConfig(latent=1, injected=0, nodes=16, steps=150, learning_rate=0.12)
NEW = 10
"""Tasks of a survey that come last and that nobody need have answered."""


def make_survey(
    tasks: int, seed: int, people: int = 150, *, new: bool = False
) -> tuple[Study, np.ndarray]:
    """Ratings by people and of tasks that differ by 0.8 logits each, and where the tasks stand.

    Args:
      new: leave the last tasks without answers.
    """
    random = np.random.default_rng(seed)
    where = 0.8 * random.normal(size=tasks + NEW)
    place = where + 0.8 * random.normal(size=people)[:, None]
    level = np.searchsorted(CUTS, place + random.logistic(size=place.shape)).astype(float)
    study = make_study({"rating": RATING}, tasks=tasks + NEW, people=people)
    nobody = dataclasses.replace(study.participants, profile=())
    study = dataclasses.replace(study, answer=level.ravel(), participants=nobody)
    if new:
        kept = study.task < tasks
        study = dataclasses.replace(
            study, person=study.person[kept], task=study.task[kept], answer=study.answer[kept]
        )
    return study, where


def test_features_beyond_the_training_tasks_are_those_at_their_end():
    """What they do to locations and to loadings was learned within, and is carried no further."""
    study, _ = make_survey(30, 0, new=True)
    vectors = np.random.default_rng(1).normal(size=(40, 3)).astype(np.float32)
    vectors[-1] *= 1000
    study = dataclasses.replace(study, tasks=dataclasses.replace(study.tasks, embedding=vectors))
    nobody = Reference("marginal", np.zeros(40))
    everything = np.ones(len(study.task), bool)
    tasks = make_design(study, nobody, (), everything, QUICK, known=False).tasks
    for columns in (tasks.features, tasks.loading):
        known, far = columns[:30, -3:], columns[-1, -3:]
        assert np.isin(far, [known.min(0), known.max(0)]).all()


def fitted(study: Study, reference: Reference, by: str = "tasks") -> tuple:
    """A crowd of all the answers there are, as either split would fit it."""
    config = Config(study="unused", model=QUICK, split=SplitConfig(by=by))
    ready = prepare.prepare(study, config, 0)
    every = np.ones(len(study.task), bool)
    split = dataclasses.replace(ready.split, train=every, validation=~every, test=~every)
    ready = dataclasses.replace(ready, split=split, reference=reference)
    return fit.fit_model(ready, QUICK, config.train, 0, None, progress.silent, "crowd")[0]


def shares(answers: np.ndarray) -> np.ndarray:
    """(T, 5) of the levels."""
    return np.stack([(answers == k).mean(0) for k in range(5)], axis=1)


def dense(own: Regression) -> np.ndarray:
    x, prior, apart = (np.asarray(part, float) for part in own[:3])
    return x @ np.diag(prior**2) @ x.T + np.diag(apart**2)


@pytest.fixture(scope="module")
def drawn():
    """A model of two scales whose parameters are random, one task of which nobody answered."""
    study = make_study({"rating": RATING, "party": Nominal(levels=("a", "b", "c"))}, people=9)
    nobody = dataclasses.replace(study.participants, profile=())
    study = dataclasses.replace(study, participants=nobody)
    random = np.random.default_rng(5)
    probs = np.zeros((8, 5))
    probs[:4], probs[4:, :3] = random.dirichlet(np.ones(5), 4), random.dirichlet(np.ones(3), 4)
    design = make_design(
        study, from_levels(study, "column", probs), (), study.task != 2, QUICK, known=False
    )
    model = new_persistent(design, QUICK, 0)
    for part in (model.effects.mean, model.effects.log_sd, model.effects.log_prior):
        for param in part.values():
            param[...] = jnp.asarray(0.5 * random.normal(size=param.shape), jnp.float32)
    return design, model


def test_what_columns_explain_of_a_scale_hangs_on_no_other():
    """Columns move locations by 1 and levels by nothing; what tasks have of their own is .3: beside
    a location's variance of 1 it is .09, and the difference of two levels' .18."""
    rating = {"rating": RATING}
    shares = []
    for by_name in (rating, rating | {"long": Ordinal(levels=tuple(range(101)))}):
        study = make_study(by_name, tasks=12)
        study = dataclasses.replace(
            study, participants=dataclasses.replace(study.participants, profile=())
        )
        low, width = ends(study)
        said = low + width * np.random.default_rng(0).random(24)[: len(study.tasks.ids)]
        every, config = np.ones(len(study.task), bool), PersistentConfig(latent=2)
        design = make_design(study, Reference("column", said), (), every, config, known=False)
        model = new_persistent(design, config, 0)
        model.effects.mean["task_features"][...] = jnp.ones(1)
        for name in ("task", "task_level"):
            model.effects.log_prior[name][...] = jnp.full(len(by_name), np.log(0.3))
        shares.append(explained(*nnx.split(model, nnx.Param), design))
    assert shares[1][0] == pytest.approx(shares[0][0], rel=0.15)
    spread = design.tasks.features[:12].var()
    assert shares[1][0] == pytest.approx(spread / (spread + 0.09 + 0.18), rel=1e-4)


def test_tasks_diverge_from_a_prior_with_the_coefficients_integrated_out(drawn):
    """Against the KL of two dense multivariate normals in float64."""
    design, model = drawn
    assert list(regressions(model, design.groups, design.tasks)) == ["task", "task_level"]
    columns = {"task": ("task_features",), "task_level": ("trust", "trust_everywhere")}
    for name, own in regressions(model, design.groups, design.tasks).items():
        b, r = (
            Normal(
                jnp.concatenate([model.effects.mean[n][...].ravel() for n in names]),
                jnp.exp(jnp.concatenate([model.effects.log_sd[n][...].ravel() for n in names])),
            )
            for names in (columns[name], (name,))
        )
        here = np.asarray(own.known) > 0
        assert here.sum() < len(here)
        x = np.asarray(own.x, float)[here]
        prior = dense(own)[np.ix_(here, here)]
        post = x @ np.diag(np.asarray(b.sd, float) ** 2) @ x.T
        post += np.diag(np.asarray(r.sd, float)[here] ** 2)
        m = x @ np.asarray(b.mean, float) + np.asarray(r.mean, float)[here]
        exact = 0.5 * (
            np.trace(np.linalg.solve(prior, post))
            + m @ np.linalg.solve(prior, m)
            - len(m)
            + np.linalg.slogdet(prior)[1]
            - np.linalg.slogdet(post)[1]
        )
        assert float(divergence_around(own, b, r)) == pytest.approx(exact, rel=1e-4)


def test_a_narrow_prior_diverges_by_no_rounding():
    """A column that moves nothing is shrunk to nothing, and its coefficient is not yet as sure: of
    a hundred thousandth of it float32 keeps none beside 1, and the fit of choices without an order
    ended at NaN after some hundred steps. Against dense normals in float64."""
    random = np.random.default_rng(0)
    x = random.normal(size=(30, 2))
    own = Regression(*map(jnp.float32, (x, [1e-5, 1e-5], np.full(30, 0.4), np.ones(30))))
    b, r = Normal(jnp.zeros(2), jnp.full(2, 0.1)), Normal(jnp.zeros(30), jnp.full(30, 0.1))
    post = x @ x.T * 0.1**2 + 0.1**2 * np.eye(30)
    prior = dense(own)
    sizes = np.linalg.slogdet(prior)[1] - np.linalg.slogdet(post)[1]
    exact = 0.5 * (np.trace(np.linalg.solve(prior, post)) - 30 + sizes)
    assert float(divergence_around(own, b, r)) == pytest.approx(exact, rel=1e-4)


def test_coefficients_are_regressed_on_the_known_tasks(drawn):
    """Against the conditional mean and covariance of a joint normal of b and theta."""
    design, model = drawn
    own = regressions(model, design.groups, design.tasks)["task"]
    theta = np.random.default_rng(1).normal(size=8)
    here = np.asarray(own.known) > 0
    joint = np.diag(np.asarray(own.prior, float) ** 2) @ np.asarray(own.x, float)[here].T
    gain = joint @ np.linalg.inv(dense(own)[np.ix_(here, here)])
    mean, covariance = regress(own, jnp.asarray(theta, jnp.float32))
    np.testing.assert_allclose(mean, gain @ theta[here], atol=1e-5)
    exact = np.diag(np.asarray(own.prior, float) ** 2) - gain @ joint.T
    np.testing.assert_allclose(covariance, exact, atol=1e-5)


def test_settling_moves_no_known_task(drawn):
    """It only tells apart what tasks share, what columns say and what is a task's own."""
    design, model = drawn
    graph, params = nnx.split(model, nnx.Param)
    after = nnx.merge(graph, settled(graph, params, design))

    def theta(one, name: str, columns: tuple[str, ...], shared: str) -> np.ndarray:
        own = regressions(model, design.groups, design.tasks)[name]
        said = np.asarray(own.x @ jnp.concatenate([one.effects.mean[c][...] for c in columns]))
        said = said + np.asarray(getattr(one, shared)[...])[design.tasks.scale].ravel()
        return (said + np.asarray(one.effects.mean[name][...]).ravel())[np.asarray(own.known) > 0]

    trust = ("trust", "trust_everywhere")
    for names in (("task", ("task_features",), "middle"), ("task_level", trust, "level")):
        np.testing.assert_allclose(theta(after, *names), theta(model, *names), atol=1e-4)
    # Of the unanswered one it keeps nothing, but for what it shares with the known on its scale.
    own = np.where(np.asarray(design.tasks.known) > 0, after.effects.mean["task"][...], 0)
    sd = np.exp(model.effects.log_sd["task"][...])
    shared, _ = shared_by_scales(own, sd, design.tasks)
    assert float(after.effects.mean["task"][...][2]) == pytest.approx(shared[2], abs=1e-7)
    assert float(divergence(after, design.groups, design.tasks)) > 0


@pytest.mark.parametrize("spread", [0.3, 1.0, 2.0])
def test_dilution_is_an_average_over_where_a_task_may_be(spread):
    u = spread * np.random.default_rng(0).normal(size=400_000)
    for place in (-3.0, -1.0, 0.5, 2.0):
        # The mean of 400,000 chances is good to 0.5 / sqrt(400,000) = 0.0008.
        exact = expit(place + u).mean()
        assert expit(place / dilution(np.array(spread))) == pytest.approx(exact, abs=0.011)


def test_agents_are_averaged_over_where_few_answers_leave_a_task():
    """Against 200 crowds, each of which has every task somewhere, together evenly: their 200,000
    agents put shares within .001, 20,000 within .0035; the dilution is off by .011 at most."""
    study, _ = make_survey(12, 3, people=40)
    crowd = fitted(study, Reference("marginal", np.zeros(22)), by="people")
    effects = crowd.params["effects"]
    random = np.random.default_rng(0)

    def of(mean: np.ndarray, sd: float, agents: int, seed: int = 0) -> np.ndarray:
        part = {"mean": dict(effects["mean"]), "log_sd": dict(effects["log_sd"])}
        part["mean"]["task"] = effects["mean"]["task"].replace(jnp.asarray(mean, jnp.float32))
        unsure = jnp.full(mean.shape, np.log(sd), jnp.float32)
        part["log_sd"]["task"] = effects["log_sd"]["task"].replace(unsure)
        changed = nnx.State({**crowd.params, "effects": nnx.State({**effects, **part})})
        return shares(sample(dataclasses.replace(crowd, params=changed), agents, seed).answers)

    at = np.asarray(effects["mean"]["task"][...])
    even = ndtri((np.arange(200) + 0.5) / 200)
    away = 0.8 * np.stack([random.permutation(even) for _ in at], axis=1)
    every = [of(at + one, 1e-6, 1000, seed) for seed, one in enumerate(away)]
    sure, unsure = of(at, 1e-6, 20_000), of(at, 0.8, 20_000)
    assert np.abs(sure - np.mean(every, axis=0)).max() > 0.03
    np.testing.assert_allclose(unsure, np.mean(every, axis=0), atol=0.018)


@pytest.fixture(scope="module")
def survey():
    return make_survey(13, 3, new=True)


@pytest.mark.parametrize("by", ["tasks", "people"])
def test_known_tasks_keep_their_answers_and_new_ones_get_those_of_all(survey, by):
    study, _ = survey
    nothing = Reference("marginal", np.full(13 + NEW, 3.0))
    with pytest.warns(CrowdWarning, match="nobody answered 10 task") as told:
        crowd = fitted(study, nothing, by)
    assert "like one drawn at random from the known ones" in str(told[0].message)
    found = shares(sample(crowd, 10_000, 0).answers)
    people = shares(study.answer.reshape(150, 13))
    mean = people @ np.arange(5)
    # A task's mean of 150 answers is good to 1.2 / sqrt(150) = 0.1, of which shrinkage takes some.
    assert np.abs(found[:13] @ np.arange(5) - mean).max() < 0.15
    assert np.ptp(mean) > 1.5
    # 13 tasks say to 1 / sqrt(2 * 13) = 20% how far tasks lie apart, and so do shares of 0.2.
    assert np.abs(found[13:] - people.mean(0)).max() < 0.05


def cost(tasks: int, seed: int, kind: str) -> float:
    """How much farther the answers to new tasks are from the truth with a reference than without,
    in RPS; and never is anything but the pooled answers invented."""
    study, where = make_survey(tasks, seed, new=True)
    random = np.random.default_rng([seed, 1])
    other = 0.8 * random.normal(size=len(where))
    said = {"good": 0.8 * where + 0.6 * other, "random": other, "far": other}[kind]
    if kind == "far":
        said[tasks:] += 5 * np.sign(said[tasks:])
    below = np.pad(expit((CUTS - 2 * said[:, None]) / 0.5), ((0, 0), (1, 1)), constant_values=1)
    below[:, 0] = 0
    reference = from_levels(study, "column", np.diff(below, axis=1))
    noise = np.sqrt(1 + 0.8**2 * 0.346)
    truth = expit((CUTS - where[tasks:, None]) / noise)
    with pytest.warns(CrowdWarning):
        found = shares(sample(fitted(study, reference), 10_000, 0).answers)[tasks:]
    if kind != "good":
        assert found.max() < 0.6, "nobody strongly agrees because a meaningless column says so"
    error = [
        ((one.cumsum(1)[:, :-1] - truth) ** 2).sum(1).mean()
        for one in (found, without_a_reference(tasks, seed))
    ]
    return error[0] - error[1]


@cache
def without_a_reference(tasks: int, seed: int) -> np.ndarray:
    """(NEW, 5) shares that a crowd gives the new tasks of a survey that nothing is said of."""
    study, where = make_survey(tasks, seed, new=True)
    with pytest.warns(CrowdWarning):
        crowd = fitted(study, Reference("marginal", np.full(len(where), 3.0)))
    found = shares(sample(crowd, 10_000, 0).answers)[tasks:]
    assert found.max() < 0.6
    return found


def test_a_meaningless_reference_costs_next_to_nothing():
    costs = [cost(13, seed, kind) for seed in range(3) for kind in ("random", "far")]
    assert np.mean(costs) < 0.002


def test_a_good_reference_is_trusted():
    assert cost(20, 1, "good") < -0.015


def test_a_reference_is_read_within_the_range_it_was_tried_in():
    study, _ = make_survey(6, 0, new=True)
    mean = np.concatenate([np.linspace(2.5, 3.5, 6), np.full(5, 1.0), np.full(5, 5.0)])
    every = np.ones(len(study.task), bool)
    for reference in (
        Reference("column", mean),
        from_levels(study, "column", np.eye(5)[[1, 2, 3, 2, 1, 3, *[0] * 5, *[4] * 5]]),
    ):
        tasks = make_design(study, reference, (), every, QUICK, known=False).tasks
        for columns in (tasks.features, tasks.loading, tasks.reference):
            assert (columns >= columns[:6].min(0) - 1e-6).all()
            assert (columns <= columns[:6].max(0) + 1e-6).all()
    # Of training tasks a fitted head knows fewer others, and is less outspoken, than of new ones.
    outspoken = make_design(study, Reference("fitted", mean), (), every, QUICK, known=False).tasks
    assert outspoken.features[-1, 0] > 2 * outspoken.features[:6, 0].max()


@pytest.mark.parametrize("kind", ["column", "fitted"])
def test_a_task_is_read_alike_in_the_study_and_beside_it(kind):
    """Tasks that nobody answered move nothing that the others are read by. Where a head reads the
    features, the model takes its word for where they put a task, and nothing else of them."""
    study = make_study({"rating": RATING}, tasks=30, people=4, embedding=6)
    nobody = dataclasses.replace(study.participants, profile=())
    study = dataclasses.replace(study, participants=nobody)
    study.tasks.embedding[:2] = 5 * np.eye(6)[:2] + 5  # the largest, which are the columns' units
    reference = Reference(kind, np.random.default_rng(0).uniform(1, 5, 30))
    config = msgspec.structs.replace(QUICK, components=3)
    seen = study.task < 20
    whole = make_design(study, reference, (), seen, config, known=False).tasks
    kept = study.task < 25
    tasks = dataclasses.replace(
        study.tasks,
        ids=study.tasks.ids[:25],
        text=study.tasks.text[:25],
        scale=study.tasks.scale[:25],
        attributes=(),
        embedding=study.tasks.embedding[:25],
    )
    fewer = dataclasses.replace(
        study,
        tasks=tasks,
        person=study.person[kept],
        task=study.task[kept],
        answer=study.answer[kept],
    )
    some = Reference(kind, reference.mean[:25])
    part = make_design(fewer, some, (), seen[kept], config, known=False).tasks
    for one, other in ((part.features, whole.features), (part.loading, whole.loading)):
        np.testing.assert_allclose(one, other[:25], atol=1e-5)
    assert whole.features.shape[1] == {"column": 4, "fitted": 1}[kind]
    assert whole.loading.shape[1] == 4


def test_new_continuous_tasks_are_spread_as_known_ones_are():
    random = np.random.default_rng(2)
    study = make_study({"price": Continuous(low=0.0, high=100.0)}, tasks=20, people=80)
    own = 50 + 12 * random.normal(size=20)
    answer = (own + 8 * random.normal(size=(80, 20))).clip(0, 100).ravel()
    kept = study.task < 16
    study = dataclasses.replace(
        study, person=study.person[kept], task=study.task[kept], answer=answer[kept]
    )
    with pytest.warns(CrowdWarning, match="nobody answered 4"):
        crowd = fitted(study, Reference("marginal", np.full(20, 50.0)))
    drawn = sample(crowd, 10_000, 0).answers
    pooled = study.answer.std()
    # 16 tasks say to 1 / sqrt(2 * 16) = 18% how far tasks lie apart.
    assert drawn[:, 16:].std(0) == pytest.approx(np.full(4, pooled), rel=0.2)
    assert (drawn[:, :16].std(0) < 0.85 * pooled).all()


def test_crowds_of_before_are_read_as_they_were(tmp_path, monkeypatch):
    crowd = make_known(make_study(people=6)).crowd
    del (before := arrays_of(crowd))["tasks.known"]
    with monkeypatch.context() as patch:
        patch.setattr("crowdllm_jax.model.crowd_file.arrays_of", lambda _: before)
        save_crowd(crowd, tmp_path / "crowd")
    loaded = load_crowd(tmp_path / "crowd")
    np.testing.assert_array_equal(sample(loaded, 50, 3).answers, sample(crowd, 50, 3).answers)


def test_the_check_names_tasks_that_nobody_answered(survey):
    study, _ = survey
    text = describe(study)
    assert re.search(r"unanswered    10 questions that nobody answered: t13, t14.*, \.\.\.;", text)
    assert "unanswered" not in describe(make_study())


def test_a_reference_without_a_signal_is_named():
    study, _ = make_survey(15, 4)
    # Correlates by 0.13 with where the known tasks stand.
    random = np.random.default_rng(1)
    config = Config(study="unused", model=QUICK, split=SplitConfig(by="tasks"))
    ready = prepare.prepare(study, config, 0)
    reference = Reference("column", random.uniform(1, 5, 15 + NEW))
    ready = dataclasses.replace(ready, reference=reference)
    with pytest.warns(CrowdWarning, match=r"reference \(column\) has shown no signal"):
        fit.fit_model(ready, QUICK, config.train, 0, None, progress.silent, "crowd")


def lopsided(scale: Scale, known: int = 30, people: int = 60) -> Study:
    """Answers to tasks of which three quarters lie together and the others far up, and to some like
    them that nobody answered; people differ by half of what answers to a task do."""
    random = np.random.default_rng(2)
    where = np.where(np.arange(known + NEW) % 4 > 0, -0.3, 3.0)
    own = 0.5 * random.normal(size=people)[:, None]
    place = (where + own + random.logistic(size=(people, len(where)))).ravel()
    answer = {
        Ordinal: np.searchsorted(CUTS, place),
        Binary: place > 0,
        Nominal: np.where(place > 1, 2, random.integers(0, 2, place.size)),
        Continuous: 60 + 4 * place,
    }[type(scale)]
    study = make_study({"x": scale}, tasks=known + NEW, people=people)
    nobody = dataclasses.replace(study.participants, profile=())
    kept = study.task < known
    return dataclasses.replace(
        study,
        participants=nobody,
        person=study.person[kept],
        task=study.task[kept],
        answer=answer.astype(float)[kept],
    )


@pytest.mark.parametrize(
    "scale",
    [
        RATING,
        Binary(levels=("no", "yes")),
        Nominal(levels=("a", "b", "c")),
        Continuous(low=0, high=100),
    ],
    ids=lambda scale: type(scale).__name__,
)
def test_unanswered_tasks_are_answered_as_known_ones_are_on_average(scale):
    """However known tasks lie. Averages of 3,000 agents are known to .01 of the range at most, and
    that a logistic plus a normal one is logistic is off by less than .01."""
    study = lopsided(scale)
    with pytest.warns(CrowdWarning, match="nobody answered 10 task"):
        crowd = fitted(study, Reference("marginal", np.zeros(30 + NEW)))
    answers = sample(crowd, 3_000, 0).answers
    old, new = answers[:, :30], answers[:, 30:]
    if isinstance(scale, Continuous):
        assert abs(old.mean() - study.answer.mean()) < 1
        assert abs(new.mean() - study.answer.mean()) < 1
        # A deviation of 60 people's means is known to 1 / sqrt(120).
        people = np.array([study.answer[study.person == p].mean() for p in range(60)])
        assert abs(old.mean(1).std() / people.std() - 1) < 4 / np.sqrt(120)
    else:
        share = shares(study.answer[:, None])[0]
        np.testing.assert_allclose(shares(old).mean(0), share, atol=0.02)
        np.testing.assert_allclose(shares(new).mean(0), share, atol=0.02)
