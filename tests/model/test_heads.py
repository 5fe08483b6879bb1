"""Response heads: chances that sum to one, exact in the tails, and the sampler follows them."""

import itertools
import math
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_people import (
    draw_people,
    every_ballot,
    log_chance,
    make_known,
    one_answer_each,
    one_ballot_each,
    one_profile,
    standing_of,
)
from scipy import integrate, stats
from scipy.special import expit, log_expit, softmax
from synthetic import make_study

from crowdllm_jax.model.persistent.decision import Standing
from crowdllm_jax.model.scales import kinds
from crowdllm_jax.model.scales.continuous import log_clipped_normal
from crowdllm_jax.model.scales.kinds import fill_ballots, log_ballot
from crowdllm_jax.model.scales.ordered import log_logistic_between
from crowdllm_jax.study import scales
from crowdllm_jax.study.scales import (
    Approval,
    Binary,
    Continuous,
    Joint,
    KApproval,
    Nominal,
    Ordinal,
    Points,
    Ranking,
    Scale,
)

ALPHA = 1e-6
ballot_chance = jax.jit(log_ballot, static_argnums=0)
clipped_normal = jax.jit(log_clipped_normal)
SINGLE = {
    "rating": Ordinal(levels=(1, 2, 3, 4, 5)),
    "short": Ordinal(levels=("never", "sometimes", "always")),
    "agree": Binary(levels=("no", "yes")),
    "approve": Approval(),
    "party": Nominal(levels=("a", "b", "c", "d")),
    "side": Nominal(levels=("left", "right")),
    "price": Continuous(low=-10.0, high=30.0),
}
BALLOTS = {
    "pick": KApproval(k=2),
    "most": KApproval(k=4),
    "rank": Ranking(k=3),
    "order": Ranking(k=4),
    "share": Points(budget=5),
    "one": Points(budget=1),
}


@pytest.fixture(scope="module")
def known():
    """Every scale in one study, four tasks each; nominal ones with loadings of their own."""
    known = make_known(make_study(SINGLE | BALLOTS, people=40), loud=0.7)
    assert "task_level_loading" in known.design.groups
    return known


@pytest.fixture(scope="module")
def ready(known):
    return known.ready


def tasks_of(known, name: str) -> np.ndarray:
    return np.flatnonzero(known.study.tasks.scale == list(known.study.scales).index(name))


def chances(known, ready, name: str, standing: Standing) -> list[tuple[np.ndarray, np.ndarray]]:
    """All answers, and their (B, M) chances: per task, or once for a ballot."""
    scale, tasks, profile = known.study.scales[name], tasks_of(known, name), one_profile(known)
    if name in BALLOTS:
        ballots = every_ballot(scale, len(tasks))
        number = [t[0] for _, t in known.design.layout.ballots].index(tasks[0])
        answers = [(ballots, one_ballot_each(known, number, ballots, profile))]
    else:
        levels = np.arange(scales.size(scale))
        answers = [(levels, one_answer_each(known, int(t), levels, profile)) for t in tasks]
    return [
        (levels, np.exp(log_chance(known, given, standing, ready))) for levels, given in answers
    ]


def test_every_kind_of_scale_is_answered_and_tried_here():
    joint = set(get_args(Joint))
    assert kinds.BALLOT.keys() == {type(scale) for scale in BALLOTS.values()} == joint
    others = set(get_args(Scale)) - joint
    assert kinds.SINGLE.keys() == {type(scale) for scale in SINGLE.values()} == others


@pytest.mark.parametrize("name", [n for n in SINGLE | BALLOTS if n != "price"])
def test_chances_sum_to_one(known, ready, name):
    for _, chance in chances(known, ready, name, standing_of(known, 3)):
        # float32 sums of up to 56 chances.
        np.testing.assert_allclose(chance.sum(0), 1, rtol=2e-5)
        assert len(chance) == 1 or np.ptp(chance, axis=0).min() > 0.01


@pytest.mark.parametrize("name", ["party", "side"])
def test_a_very_wide_person_still_answers_within_the_scale(known, ready, name):
    """The personal scale goes up to exp(3) = 20; levels that a scale lacks stay impossible."""
    wide = Standing(jnp.zeros((3, 2)), jnp.full(3, np.exp(3.0)))
    for _, chance in chances(known, ready, name, wide):
        np.testing.assert_allclose(chance.sum(0), 1, rtol=2e-5)
    assert drawn(known, ready, wide)[:, tasks_of(known, name)].max() < scales.size(SINGLE[name])


def test_absent_answers_count_for_nothing(known, ready):
    answers = one_answer_each(known, 0, np.arange(3), one_profile(known))
    answers = answers._replace(present=np.zeros_like(answers.present))
    np.testing.assert_array_equal(log_chance(known, answers, standing_of(known, 3), ready), 0)


@pytest.mark.parametrize("mean", [-0.4, 0.0, 0.3, 1.0, 2.0])
@pytest.mark.parametrize("sd", [0.05, 0.4, 3.0])
def test_a_clipped_normal_has_mass_at_the_ends(mean, sd):
    low, high = (float(np.exp(clipped_normal(end, mean, sd))) for end in (0.0, 1.0))
    x = np.linspace(1e-7, 1 - 1e-7, 4001)
    density = np.exp(np.asarray(clipped_normal(x, mean, sd), np.float64))
    between = integrate.simpson(density, x=x)
    assert low == pytest.approx(stats.norm.cdf(-mean / sd), rel=1e-4)
    assert high == pytest.approx(stats.norm.sf((1 - mean) / sd), rel=1e-4)
    assert low + high + between == pytest.approx(1, abs=2e-5)


def test_the_logistic_is_exact_in_both_tails():
    """Against float64, in the form that does not cancel: expit(b) - expit(a) below 0, mirrored
    above. float32 carries a to 6e-8 of its size, so the logarithm to 6e-8 |a|; 1e-6 is ample."""
    ends = np.array([-1e4, -300, -80, -20, -3, -0.1, 0, 0.1, 3, 20, 80, 300, 1e4])
    pairs = np.array(list(itertools.combinations(ends, 2)))
    a, b = pairs.T
    mirrored = a + b > 0
    low, high = np.where(mirrored, -b, a), np.where(mirrored, -a, b)
    # log(expit(high)) + log(1 - expit(low) / expit(high))
    exact = log_expit(high) + np.log1p(-np.exp(log_expit(low) - log_expit(high)))
    found = np.asarray(log_logistic_between(jnp.asarray(a), jnp.asarray(b)))
    np.testing.assert_allclose(found, exact, rtol=1e-6, atol=2e-6)
    mid = (np.abs(a) < 3.1) & (np.abs(b) < 3.1)
    np.testing.assert_allclose(np.exp(exact[mid]), (expit(b) - expit(a))[mid], rtol=1e-9)


def test_gradients_are_finite_at_the_extremes():
    between = jax.jit(jax.grad(log_logistic_between, (0, 1)))
    for pair in itertools.permutations([-1e4, -1e3, -50.0, 0.0, 0.0, 50.0, 1e3, 1e4], 2):
        assert np.isfinite(between(*pair)).all(), pair
    normal = jax.jit(jax.grad(log_clipped_normal, (1, 2)))
    for value, mean, sd in itertools.product([0.0, 0.3, 1.0], [-40.0, 0.5, 40.0], [0.05, 20.0]):
        assert np.isfinite(normal(value, mean, sd)).all(), (value, mean, sd)


@pytest.mark.parametrize("scale", [*BALLOTS.values(), Ranking(k=1), KApproval(k=1)], ids=str)
def test_gradients_of_ballots_are_finite_at_the_extremes(scale):
    ballots = jnp.asarray(every_ballot(scale, 4))

    def total(utility, log_concentration):
        chance = log_ballot(
            scale, jnp.broadcast_to(utility, (len(ballots), 1, 4)), ballots, log_concentration
        )
        return chance.sum()

    slope_of = jax.jit(jax.value_and_grad(total, (0, 1)))
    for utility in ([0.0, 0, 0, 0], [-60.0, 0, 0, 60], [300.0, -300, 0, 0], [1e4, 0, -1e4, 5]):
        for log_concentration in (-6.0, 0.0, 8.0):
            value, slope = slope_of(jnp.asarray(utility, jnp.float32), log_concentration)
            assert np.isfinite(value), (utility, log_concentration)
            assert all(np.isfinite(s).all() for s in slope), (utility, log_concentration)


def test_second_derivatives_are_finite_at_the_extremes():
    """The search for a person's belief takes them."""
    between = jax.jit(jax.hessian(log_logistic_between, (0, 1)))
    for pair in itertools.combinations([-1e4, -1e3, -50.0, 0.0, 50.0, 1e3, 1e4], 2):
        assert np.isfinite(jax.tree.leaves(between(*pair))).all(), pair
    normal = jax.jit(jax.hessian(log_clipped_normal, (1, 2)))
    for value, mean, sd in itertools.product([0.0, 0.3, 1.0], [-40.0, 0.5, 40.0], [0.05, 20.0]):
        assert np.isfinite(jax.tree.leaves(normal(value, mean, sd))).all(), (value, mean, sd)


@pytest.mark.parametrize("scale", [*BALLOTS.values(), KApproval(k=1), KApproval(k=9)], ids=str)
def test_second_derivatives_of_ballots_are_finite_at_the_extremes(scale):
    """Likewise; and where float32 tells them, against differences of the first ones."""
    tasks, random = 10, np.random.default_rng(0)
    score = jnp.asarray(random.normal(size=(1, tasks)), jnp.float32)
    levels = fill_ballots(scale, score).astype(jnp.int32)

    def chance(utility):
        return log_ballot(scale, utility[None, None], levels, jnp.float32(0.5))[0, 0]

    bend = jax.jit(jax.hessian(chance))
    for loud in (0.5, 10.0, 40.0, 100.0):
        utility = jnp.asarray(loud * random.normal(size=tasks), jnp.float32)
        assert np.isfinite(bend(utility)).all()
    utility = jnp.asarray(random.normal(size=tasks), jnp.float32)
    step, slope = 0.02, jax.jit(jax.grad(chance))
    for task in range(tasks):
        away = step * jnp.eye(tasks)[task]
        difference = (slope(utility + away) - slope(utility - away)) / (2 * step)
        np.testing.assert_allclose(bend(utility)[task], difference, atol=2e-3)


def order_chance(utility: np.ndarray, order: tuple[int, ...]) -> float:
    """Plackett-Luce in float64: the best first, without replacement."""
    left, total = list(range(len(utility))), 1.0
    for task in order:
        total *= math.exp(utility[task] - np.logaddexp.reduce(utility[left]))
        left.remove(task)
    return total


@pytest.mark.parametrize("loud", [0.3, 2.0, 6.0])
@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_a_set_is_all_of_its_orders(loud, k):
    utility = loud * np.random.default_rng(k).normal(size=6)
    sets = every_ballot(KApproval(k=k), 6)
    found = ballot_chance(
        KApproval(k=k),
        utility[None, None].repeat(len(sets), 0),
        jnp.asarray(sets),
        jnp.float32(0),
    )
    exact = [
        sum(order_chance(utility, order) for order in itertools.permutations(np.flatnonzero(row)))
        for row in sets
    ]
    # The rule leaves out s < exp(-14), which holds at most 8e-7 of the chance; float32 adds 1e-5.
    np.testing.assert_allclose(np.asarray(found)[:, 0], np.log(exact), atol=1e-4)


@pytest.mark.parametrize(("k", "tasks"), [(20, 40), (60, 90), (200, 400)])
def test_large_sets(k, tasks):
    """With equal utilities every set of k has the same chance."""
    levels = (jnp.arange(tasks) < k).astype(jnp.int32)[None]
    found = ballot_chance(KApproval(k=k), jnp.zeros((1, 1, tasks)), levels, jnp.float32(0))
    exact = -(math.lgamma(tasks + 1) - math.lgamma(k + 1) - math.lgamma(tasks - k + 1))
    assert float(found[0, 0]) == pytest.approx(exact, abs=1e-3 + 1e-5 * abs(exact))


def test_rankings_are_plackett_luce():
    utility = np.random.default_rng(0).normal(size=5) * 2
    for k in (1, 3, 5):
        ballots = every_ballot(Ranking(k=k), 5)
        found = ballot_chance(
            Ranking(k=k),
            utility[None, None].repeat(len(ballots), 0),
            jnp.asarray(ballots),
            jnp.float32(0),
        )
        exact = [
            order_chance(utility, tuple(np.argsort(-row, kind="stable")[:k])) for row in ballots
        ]
        np.testing.assert_allclose(np.exp(found[:, 0]), exact, rtol=2e-5)


@pytest.mark.parametrize("seed", range(4))
def test_of_a_ballot_known_in_part_the_known_tasks_count_alone(seed):
    """As on a ballot of these tasks only, on which so many are chosen as are known to be."""
    random = np.random.default_rng(seed)
    utility = random.normal(size=7) * 2
    known = np.sort(random.choice(7, 4, replace=False))
    place = random.permutation(7)
    ballots = {
        KApproval(k=3): (place < 3).astype(int),
        Ranking(k=3): np.maximum(3 - place, 0),
        Points(budget=9): random.multinomial(9, np.full(7, 1 / 7)),
    }
    for scale, whole in ballots.items():
        levels = np.full(7, -1)
        levels[known] = whole[known]
        found = float(
            ballot_chance(scale, utility[None, None], levels[None], jnp.float32(0.5))[0, 0]
        )
        chosen = known[np.argsort(-whole[known], kind="stable")][: (whole[known] > 0).sum()]
        rest = np.exp(utility[np.setdiff1d(known, chosen)]).sum()

        def chance(order, rest=rest):
            left = rest + np.exp(utility[list(order)])[::-1].cumsum()[::-1]
            return np.exp(utility[list(order)]).prod() / left.prod()

        if isinstance(scale, Points):
            # With the floor that keeps gradients finite.
            alpha = np.exp(0.5) * np.exp(utility) / np.exp(utility).sum() + 1e-6
            exact = stats.dirichlet_multinomial(alpha[known], whole[known].sum()).pmf(whole[known])
        elif isinstance(scale, Ranking):
            exact = chance(chosen)
        else:
            exact = sum(chance(order) for order in itertools.permutations(chosen))
        assert found == pytest.approx(np.log(exact), abs=1e-4), scale


@pytest.mark.parametrize("scale", [KApproval(k=2), Ranking(k=2), Points(budget=3)])
def test_gradients_of_ballots_known_in_part_are_finite(scale):
    whole = every_ballot(scale, 3)
    masks = [mask for mask in itertools.product([True, False], repeat=3) if any(mask)]
    levels = jnp.asarray(np.concatenate([np.where(mask, whole, -1) for mask in masks]))

    def total(utility):
        return log_ballot(
            scale, jnp.broadcast_to(utility, (len(levels), 1, 3)), levels, jnp.float32(0)
        ).sum()

    slope_of = jax.jit(jax.value_and_grad(total))
    for utility in ([0.0, 0, 0], [300.0, -300, 0], [1e4, 0, -1e4]):
        value, slope = slope_of(jnp.asarray(utility, jnp.float32))
        assert np.isfinite(value), utility
        assert np.isfinite(slope).all(), utility


@pytest.mark.parametrize("log_concentration", [-2.0, 0.5, 4.0])
def test_points_are_dirichlet_multinomial(log_concentration):
    utility = np.array([0.3, -1.0, 0.8])
    ballots = every_ballot(Points(budget=7), 3)
    found = ballot_chance(
        Points(budget=7),
        utility[None, None].repeat(len(ballots), 0),
        jnp.asarray(ballots),
        jnp.float32(log_concentration),
    )
    alpha = np.exp(log_concentration) * softmax(utility)
    exact = stats.dirichlet_multinomial(alpha, 7).pmf(ballots)
    # 1e-6 is added to alpha so that a share of 0 stays possible.
    np.testing.assert_allclose(np.exp(found[:, 0]), exact, rtol=1e-3, atol=1e-6)


def drawn(known, ready, standing: Standing, agents: int = 20_000, seed: int = 3) -> np.ndarray:
    """(N, T) answers of agents with the same profile and belief."""
    profile = np.repeat(one_profile(known)[None], agents, 0)
    z = jnp.repeat(standing.z[:1], agents, 0)
    scale = jnp.repeat(standing.scale[:1], agents)
    return draw_people(known, profile, seed, z, scale, ready)


@pytest.fixture(scope="module")
def crowd_of_one(known, ready) -> tuple[Standing, np.ndarray]:
    standing = Standing(standing_of(known, 3, seed=4).z, jnp.full(3, 1.3))
    return standing, drawn(known, ready, standing)


def chi_square(count: np.ndarray, chance: np.ndarray) -> float:
    """p-value; answers expected less than 10 times are joined."""
    expected = chance * count.sum()
    rare = expected < 10
    table = np.stack([count, expected])
    table = np.column_stack([table[:, ~rare], table[:, rare].sum(1)])
    table = table[:, table[1] > 0]
    return stats.chisquare(table[0], table[1] * table[0].sum() / table[1].sum()).pvalue


@pytest.mark.parametrize("name", [n for n in SINGLE | BALLOTS if n not in ("price", "most")])
def test_agents_follow_the_heads(known, ready, crowd_of_one, name):
    """Chi-square of 20,000 agents' answers; a correct sampler fails with a chance of ALPHA at most.

    A level of an ordered scale is off by 2**-16 at most (16 random bits), which moves the statistic
    by 20,000 * 2**-32 / chance: below 0.002 for the answers that are not joined.
    """
    standing, answers = crowd_of_one
    tasks = tasks_of(known, name)
    for place, (levels, chance) in enumerate(chances(known, ready, name, standing)):
        if name in BALLOTS:
            own = answers[:, tasks].astype(int)
            code = {tuple(row): i for i, row in enumerate(levels.tolist())}
            count = np.bincount([code[tuple(row)] for row in own.tolist()], minlength=len(levels))
        else:
            count = np.bincount(answers[:, tasks[place]].astype(int), minlength=len(levels))
        assert len(count) == len(chance), "an answer outside the scale"
        assert chi_square(count, chance[:, 0]) > ALPHA / 4, f"{name}, task {place}"


def test_agents_follow_the_clipped_normal():
    """Masses at the ends by binomial tests, what lies between by Kolmogorov-Smirnov."""
    study = make_study({"price": SINGLE["price"]})
    known = make_known(study, loud=0.1)
    ready = known.ready
    standing = Standing(0.3 * standing_of(known, 3, seed=4).z, jnp.full(3, 1.3))
    answers = drawn(known, ready, standing)
    for task in range(4):
        unit = (answers[:, task].astype(float) + 10) / 40
        ends = one_answer_each(known, task, np.array([0.0, 1.0]), one_profile(known))
        chance = np.exp(log_chance(known, ends, standing, ready))[:, 0]
        assert 0.005 < chance.min() < chance.max() < 0.9, "nothing to test"
        for end, expected in zip((0.0, 1.0), chance, strict=True):
            count = int((unit == end).sum())
            assert stats.binomtest(count, len(unit), expected).pvalue > ALPHA / 12
        inside = np.linspace(0, 1, 642)[1:-1]
        grid = one_answer_each(known, task, inside, one_profile(known))
        density = np.exp(log_chance(known, grid, standing, ready))[:, 0]
        below = integrate.cumulative_trapezoid(density, inside, initial=0)
        within = unit[(unit > inside[0]) & (unit < inside[-1])]
        chance_below = np.interp(within, inside, below / below[-1])
        assert stats.kstest(chance_below, "uniform").pvalue > ALPHA / 12


@settings(max_examples=12)
@given(
    seed=st.integers(0, 2**32),
    loud=st.floats(0, 30),
    scale=st.floats(-3, 3),
)
def test_every_drawn_ballot_is_valid(known, ready, seed, loud, scale):
    z = loud * np.random.default_rng(seed).normal(size=(64, known.config.latent))
    answers = draw_people(
        known,
        np.repeat(one_profile(known)[None], 64, 0),
        seed,
        jnp.asarray(z, jnp.float32),
        jnp.full(64, np.exp(scale), jnp.float32),
        ready,
    )
    for name, one in known.study.scales.items():
        own = np.asarray(answers)[:, tasks_of(known, name)]
        low, high = (-10, 30) if name == "price" else (0, scales.size(one) - 1)
        assert low <= own.min() <= own.max() <= high, name
        if name in BALLOTS:
            assert not scales.ballot_fault(one, own.astype(int)).any(), name
