"""Predicted chances are those of Bayes' rule, on every scale that is answered one at a time."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from known_people import draw_people, log_chance, make_known, one_answer_each
from scipy import special, stats
from synthetic import EVERY_SCALE, make_study

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.persistent.decision import Standing
from crowdllm_jax.population import predicted
from crowdllm_jax.population.predicted import predict_answers
from crowdllm_jax.population.twins import make_twins
from crowdllm_jax.study.bins import bins
from crowdllm_jax.study.coding import encode
from crowdllm_jax.study.scales import Nominal

ALONE = {
    name: EVERY_SCALE[name] for name in ("rating", "frequency", "agree", "price", "approve")
} | {"party": Nominal(levels=("a", "b", "c"))}


@pytest.fixture(scope="module")
def known():
    """A model of one dimension whose personal scale hardly varies, on six kinds of scales."""
    known = make_known(make_study(ALONE, tasks=3, people=12), latent=1, loud=0.5)
    known.model.belief.log_spread[...] = jnp.log(jnp.array([1.3, 1e-4]))
    return known


def told_of(study) -> np.ndarray:
    """The first two tasks of each scale are known."""
    return study.task % 3 < 2


@pytest.fixture(scope="module")
def found(known):
    study, told = known.study, told_of(known.study)
    rows = np.flatnonzero(~told)
    return rows, predict_answers(known.crowd, study, told, study.person[rows], study.task[rows])


def test_chances_are_those_of_quadrature(known, found):
    """On a grid of 801 beliefs, whose sum is exact to 1e-6 here, against points in numbers of 32
    bits: 1,024 quasi-random ones are off by about 1e-3."""
    study, told = known.study, told_of(known.study)
    rows, predictions = found
    z = np.linspace(-8, 8, 801)
    standing = Standing(jnp.asarray(z[:, None], jnp.float32), jnp.ones(len(z), jnp.float32))
    prior = stats.norm.logpdf(z, scale=1.3)
    c = encode(known.codings, study.participants.profile) - known.design.centre
    scale_of = known.crowd.task_scales
    for person in (0, 5, 11):
        log = prior.copy()
        for row in np.flatnonzero(told & (study.person == person)):
            task = int(study.task[row])
            value = study.answer[row]
            given = np.array([(value + 10) / 40 if is_price(scale_of[task]) else int(value)])
            log += log_chance(known, one_answer_each(known, task, given, c[person]), standing)[0]
        weight = np.exp(log - special.logsumexp(log))
        for at in np.flatnonzero(study.person[rows] == person):
            task = int(study.task[rows[at]])
            support = bins(scale_of[task])
            own = predictions.chance[at]
            assert own[: len(support)].sum() == pytest.approx(1, abs=1e-5)
            assert not own[len(support) :].any()
            if is_price(scale_of[task]):
                expected = clipped_normal(known, task, c[person], z, weight)
            else:
                levels = np.arange(len(support))
                each = one_answer_each(known, task, levels, c[person])
                expected = np.exp(log_chance(known, each, standing)) @ weight
            np.testing.assert_allclose(own[: len(support)], expected, atol=0.004)
            if isinstance(scale_of[task], Nominal):
                assert np.isnan(predictions.mean[at])
            else:
                width = support[-1] - support[0]
                assert predictions.mean[at] == pytest.approx(expected @ support, abs=0.004 * width)


def is_price(scale) -> bool:
    return scale == ALONE["price"]


def clipped_normal(known, task, profile, z, weight) -> np.ndarray:
    """(200,) chances of the stretches of a continuous task, from the normal's own integral."""
    ready = known.ready
    items = ready.items
    location = float(items.location[task]) + float(profile @ np.asarray(items.profile)[:, task])
    mean = 0.5 + location + z * float(items.loading[task, 0])
    sd = np.exp(float(ready.tables.responses.log_residual[task]))
    ends = np.linspace(0, 1, 201)
    ends[0], ends[-1] = -np.inf, np.inf
    below = stats.norm.cdf((ends[:, None] - mean[None]) / sd)
    return np.diff(below, axis=0) @ weight


def test_twins_drawn_answer_as_predicted(known, found):
    """20,000 twins of a person: a share has a deviation of .0035 at most, four of them .014; a
    price, which varies by 10 or so, one of .07."""
    study, told = known.study, told_of(known.study)
    rows, predictions = found
    twins = make_twins(known.crowd, study, told, draws=20_000, seed=4)
    for at in np.flatnonzero(study.person[rows] == 3):
        task = int(study.task[rows[at]])
        if known.crowd.task_scales[task] == ALONE["price"]:
            mean = twins.answers[3, :, task].mean()
            assert predictions.mean[at] == pytest.approx(mean, abs=4 * 10 / np.sqrt(20_000))
            continue
        k = len(bins(known.crowd.task_scales[task]))
        share = np.bincount(twins.answers[3, :, task].astype(int), minlength=k) / 20_000
        np.testing.assert_allclose(predictions.chance[at, :k], share, atol=0.014)


def test_a_prediction_depends_on_its_person_alone(known, found):
    """Asked in another order, with fewer others: the same chances, but for the order of a row, in
    which float32 sums may round otherwise."""
    study, told = known.study, told_of(known.study)
    rows, predictions = found
    some = np.random.default_rng(0).permutation(np.flatnonzero(study.person[rows] % 5 == 1))
    again = predict_answers(
        known.crowd, study, told, study.person[rows[some]], study.task[rows[some]]
    )
    np.testing.assert_allclose(again.chance, predictions.chance[some], atol=1e-6)


def test_the_cost_is_of_the_answers_asked_for(known, found):
    """Tasks are asked in rows whose length is a power of 2: few programs, whoever is asked."""
    before = predicted._chances._cache_size()
    study, told = known.study, told_of(known.study)
    for count in (3, 7):
        rows = np.flatnonzero(~told & (study.person < count))
        predict_answers(known.crowd, study, told, study.person[rows], study.task[rows])
    assert predicted._chances._cache_size() == before
    tasks = np.array(known.design.layout.ordered)

    def ask(count: int) -> int:
        """Programs there are once somebody was asked so many ordered tasks."""
        predict_answers(known.crowd, study, told, np.zeros(count, int), tasks[:count])
        return predicted._chances._cache_size()

    of_three = ask(3)
    assert ask(4) == of_three, "three and four are asked in a row of four"
    assert ask(5) == ask(7) == ask(8)


def test_answers_are_predicted_better_the_more_is_known():
    """300 people of a model whose parameters are the truth, 24 ratings of each: the log loss of the
    last four falls with every step."""
    known = make_known(make_study(tasks=24, people=300), latent=1, loud=0.5)
    known.model.belief.log_spread[...] = jnp.log(jnp.array([1.5, 0.2]))
    c = encode(known.codings, known.study.participants.profile) - known.design.centre
    answers = draw_people(known, c, 5)
    study = known.study
    study = dataclasses.replace(study, answer=answers.ravel().astype(float))
    asked = np.flatnonzero(study.task >= 20)
    losses = []
    for count in (0, 3, 20):
        chance = predict_answers(
            known.crowd, study, study.task < count, study.person[asked], study.task[asked]
        ).chance
        of_answer = chance[np.arange(len(asked)), study.answer[asked].astype(int)]
        losses.append(-np.log(of_answer).mean())
    assert losses[0] > losses[1] + 0.01 > losses[2] + 0.02


def test_what_cannot_be_predicted_is_refused(known, rating_crowd):
    study = make_study(EVERY_SCALE, tasks=3, people=8)
    crowd = make_known(study).crowd
    ballot = np.flatnonzero(study.tasks.scale == list(EVERY_SCALE).index("pick"))[:1]
    told = np.ones(len(study.task), bool)
    with pytest.raises(CrowdError, match="is one of a ballot"):
        predict_answers(crowd, study, told, np.zeros(1, int), ballot)
    small, nothing = make_study(), np.zeros(0, int)
    with pytest.raises(CrowdError, match="need the persistent model"):
        predict_answers(rating_crowd, small, np.ones(len(small.task), bool), nothing, nothing)
