"""A person's belief is found and weighed rightly, from no answer to hundreds of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import ndtri
from known_people import draw_people, make_known
from scipy import special, stats
from synthetic import make_study

from crowdllm_jax.model.persistent import posterior
from crowdllm_jax.model.persistent.answers import WIDEST, batches, gather_answers, take
from crowdllm_jax.model.persistent.decision import Standing, log_likelihood
from crowdllm_jax.model.persistent.fit import shifted
from crowdllm_jax.model.persistent.posterior import sobol

PEOPLE = 24


def answered(tasks: int):
    """People whose beliefs are known and who answered so many tasks; and their answers."""
    known = make_known(make_study(tasks=tasks, people=PEOPLE), latent=1, loud=0.4, seed=tasks)
    known.model.belief.log_spread[...] = jnp.log(jnp.array([1.0, 0.3]))
    same = np.zeros((PEOPLE, len(known.design.centre)), np.float32)
    drawn = draw_people(known, same, seed=5).ravel().astype(float)
    study = dataclasses.replace(known.study, answer=drawn)
    everything = np.ones(len(study.task), bool)
    _, answers = gather_answers(study, known.codings, known.design, everything)
    return known, answers._replace(profile=same)


def log_chance_of(known, answers):
    responses = known.ready.tables.responses

    def log_chance(u):
        return log_likelihood(
            responses, known.design.layout, answers, Standing(*known.model.belief(u))
        )

    return log_chance


MOVED = jnp.array([[-1.5, 0.5], [0.3, 0.0], [1.2, -0.5]])
"""Where three noises move the population."""


@pytest.mark.parametrize("moved", [None, MOVED])
@pytest.mark.parametrize("tasks", [4, 100])
def test_evidence_is_the_integral_however_many_answers(tasks, moved):
    """Against sums over a grid of 28,800 beliefs, fine enough for 100 answers, of four people."""
    known, answers = answered(tasks)
    log_chance = log_chance_of(known, answers)
    bell = posterior.find(log_chance, jnp.zeros((PEOPLE, 2)), posterior.SETTLED, moved)
    first, second = (np.linspace(-5, 5, count, dtype=np.float32) for count in (240, 120))
    grid = jnp.asarray(np.stack(np.meshgrid(first, second, indexing="ij"), -1).reshape(-1, 2))
    middles = np.zeros((1, 2)) if moved is None else np.asarray(moved, float)
    away = np.asarray(grid, float)[:, None] - middles
    prior = np.log(np.exp(stats.norm.logpdf(away).sum(2)).mean(1))
    prior += np.log((first[1] - first[0]) * (second[1] - second[0]))
    exact = []
    for person in range(4):
        rows = np.flatnonzero(answers.person == person)
        given = take(answers, np.array([person]), rows, np.zeros(len(rows), np.int32))
        exact.append(
            special.logsumexp(
                np.asarray(jax.jit(log_chance_of(known, given))(grid[None])[0]) + prior
            )
        )
    points = jnp.asarray(sobol(16, 2 if moved is None else 3))
    evidence = jax.jit(lambda base: posterior.evidence(log_chance, bell, base, moved))
    found = np.array(
        [evidence(shifted(points, jax.random.key(draw), PEOPLE)) for draw in range(40)]
    )
    # Weights lie within 4 times their average, so that 16 of them err by at most sqrt(3 / 16) =
    # 0.43; quasi-random ones by a few times less. What a fit adds up is the average.
    assert found.std(0).max() < 0.25
    error = found.mean(0)[:4] - exact
    # An average of logarithms is below that of the mean by half the variance.
    assert np.abs(error).max() < 0.03 + 4 * found.std(0).max() / np.sqrt(40)
    assert abs(error.mean()) < 0.03


def test_newton_ends_at_the_mode():
    """The slope is nothing there, and the curvature that of finite differences."""
    known, answers = answered(40)
    log_chance = log_chance_of(known, answers)

    def log_joint(u):
        return log_chance(u[:, None])[:, 0] - 0.5 * (u**2).sum(1)

    bell = posterior.find(log_chance, jnp.zeros((PEOPLE, 2)), 12)
    slope = jax.grad(lambda u: log_joint(u).sum())(bell.mode)
    # Sums of 40 float32 logarithms leave a slope of some 1e-4.
    assert np.abs(np.asarray(slope)).max() < 5e-3
    rebuilt = np.einsum("bij,bj,bkj->bik", bell.axes, bell.precision, bell.axes)
    step = 0.05
    second = [
        (log_joint(bell.mode + s) - 2 * log_joint(bell.mode) + log_joint(bell.mode - s)) / step**2
        for s in (jnp.array([[step, 0.0]]), jnp.array([[0.0, step]]))
    ]
    for dimension in range(2):
        np.testing.assert_allclose(rebuilt[:, dimension, dimension], -second[dimension], rtol=0.1)


def test_steps_are_short_where_answers_bend_the_other_way():
    """A likelihood that pulls far away moves nobody by more than LONGEST a step."""

    def pulling(u):
        return -1e3 * jnp.logaddexp(0, 5 - u).sum(-1)

    start = jnp.zeros((3, 2))
    once = posterior.find(pulling, start, 1)
    length = np.linalg.norm(np.asarray(once.mode), axis=1)
    np.testing.assert_allclose(length, posterior.LONGEST, rtol=1e-4)
    assert np.asarray(once.precision).min() >= 1


@pytest.mark.parametrize("moved", [None, MOVED])
def test_weights_of_points_average_to_one_without_answers(moved):
    """The population over the mixture: its average is 1, whatever the bell."""
    width = 2 if moved is None else 3
    base = jnp.broadcast_to(ndtri(jnp.asarray(sobol(4096, width)))[None], (2, 4096, width))
    axes = jnp.linalg.qr(jax.random.normal(jax.random.key(0), (2, 2, 2)))[0]
    bell = posterior.Bell(jnp.array([[0.0, 0.0], [2.0, -1.0]]), axes, jnp.array([[1.0, 4], [9, 2]]))
    _, log_weight = posterior.weighed(lambda u: 0.0 * u[..., 0], bell, base, moved)
    weight = np.exp(np.asarray(log_weight, float))
    assert weight.max() <= 1 / posterior.POPULATION + 1e-4
    # Weights of at most 4: 4,096 plain draws err by sqrt(3 / 4096) = 0.027, these by less.
    np.testing.assert_allclose(weight.mean(1), 1, atol=0.02)


@pytest.mark.parametrize("tasks", [5, 200])
def test_posteriors_cover_and_agents_spread_alike_however_many_answers(tasks):
    """The posterior of 300 people holds the truth in 90 of 100 cases; their average squared mean
    and variance add up to the population's."""
    people = 300
    known = make_known(make_study(tasks=tasks, people=people), latent=1, loud=0.4, seed=tasks)
    known.model.belief.log_spread[...] = jnp.log(jnp.array([1.0, 0.3]))
    random = np.random.default_rng(tasks)
    u = random.normal(size=(people, 2)).astype(np.float32)
    same = np.zeros((people, len(known.design.centre)), np.float32)
    z, scale = known.model.belief(jnp.asarray(u))
    drawn = draw_people(known, same, 3, z, scale).ravel().astype(float)
    study = dataclasses.replace(known.study, answer=drawn)
    _, answers = gather_answers(study, known.codings, known.design, np.ones(len(study.task), bool))
    log_chance = log_chance_of(known, answers._replace(profile=same))
    bell = posterior.find(log_chance, jnp.zeros((people, 2)), posterior.SETTLED)
    base = ndtri(jnp.asarray(sobol(256, 2)))
    base = jnp.broadcast_to(base[None], (people, 256, 2))
    nodes, log_weight = posterior.weighed(log_chance, bell, base)
    weight = np.asarray(jax.nn.softmax(log_weight, axis=1), float)
    nodes = np.asarray(nodes, float)
    mean = np.einsum("bm,bmw->bw", weight, nodes)
    variance = np.einsum("bm,bmw->bw", weight, (nodes - mean[:, None]) ** 2)
    inside = (np.abs(u - mean) < 1.645 * np.sqrt(variance)).mean(0)
    # 90% of 300 people, with a deviation of 1.7 points; the posterior is not quite normal.
    assert (np.abs(inside - 0.9) < 0.065).all(), inside
    # E[mean**2] + E[variance] = 1: squares of 300 normal numbers err by sqrt(2 / 300) = 0.08.
    np.testing.assert_allclose((mean**2 + variance).mean(0), 1, atol=0.28)


def test_every_round_has_everybody_once():
    """At most 5 of 23 people with 1 to 4 rows: five steps of 4 a round, and three people rest."""
    random = np.random.default_rng(0)
    owner = np.repeat(np.arange(23), random.integers(1, 5, 23)).astype(np.int32)
    plan = batches(owner, 23, 5, 12, seed=1)
    assert plan.people.shape == (12, 4)
    for first in (0, 5):
        assert len(np.unique(plan.people[first : first + 5])) == 20
    for people, rows, slot in zip(*plan, strict=True):
        real = rows >= 0
        expected = np.concatenate([np.flatnonzero(owner == person) for person in people])
        np.testing.assert_array_equal(rows[real], expected)
        np.testing.assert_array_equal(people[slot[real]], owner[rows[real]])
        assert (np.diff(slot) >= 0).all()
    np.testing.assert_array_equal(plan.people, batches(owner, 23, 5, 12, seed=1).people)
    assert (plan.people != batches(owner, 23, 5, 12, seed=2).people).any()


def test_people_cost_their_answers():
    """Rows hold WIDEST answers of one person, and whoever has none has an empty one."""
    known = make_known(make_study(tasks=20, people=6))
    study = known.study
    part = study.task < 3 * study.person
    people, answers = gather_answers(study, known.codings, known.design, part)
    count = np.bincount(study.person[part], minlength=6)[people]
    assert answers.task.shape == ((-(-count // WIDEST)).sum(), WIDEST)
    everyone, every = gather_answers(study, known.codings, known.design, part, everyone=True)
    assert everyone.tolist() == list(range(6))
    assert every.present[every.person == 0].sum() == 0
    assert every.present.sum() == part.sum()
