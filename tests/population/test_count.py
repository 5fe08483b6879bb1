"""Counting without agents: the sampler's very chances, and its distribution over repetitions."""

import dataclasses
import itertools

import msgspec
import numpy as np
import pytest
from known_people import make_known
from scipy import stats
from synthetic import EVERY_SCALE, make_study

from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.model.crowd import Crowd, numbers_of
from crowdllm_jax.model.response import thresholds
from crowdllm_jax.population import count as counts
from crowdllm_jax.population import sample as population
from crowdllm_jax.population.count import count
from crowdllm_jax.population.sample import sample
from crowdllm_jax.profiles import profile_counts as kinds
from crowdllm_jax.profiles.generator import ProfilesConfig, _pick, fit_profiles, recruit
from crowdllm_jax.study.bins import bins
from crowdllm_jax.study.scales import Continuous, Nominal


def counted(crowd: Crowd, agents: population.Agents, by: str | None = None) -> np.ndarray:
    """(G, T, K) counts of agents, one answer after the other, in float64."""
    group, groups = np.zeros(len(agents.ids), int), 1
    if by is not None:
        place = [a.name for a in agents.profile].index(by)
        value = crowd.generator.values[place]
        groups = len(value)
        cells = agents.profile[place].cells
        group = np.array([next(i for i, v in enumerate(value) if _same(v, c)) for c in cells])
    scale_of = crowd.task_scales
    out = np.zeros((groups, len(scale_of), max(len(bins(s)) for s in scale_of)), int)
    for task, scale in enumerate(scale_of):
        own = agents.answers[:, task]
        if isinstance(scale, Continuous):
            ends = (bins(scale)[1:] + bins(scale)[:-1]) / 2
            own = (own.astype(np.float64)[:, None] >= ends).sum(1)
        np.add.at(out, (group, task, own.astype(int)), 1)
    return out[out.sum((1, 2)) > 0]


def _same(one: float, other: float) -> bool:
    return one == other or (np.isnan(one) and np.isnan(other))


def test_a_share_is_picked_as_often_as_its_chance_says():
    """All 2**23 uniforms, through the recruiter's own pick."""
    share = np.random.default_rng(0).random(30)
    share[[0, 7, 29]] = 0
    share /= share.sum()
    u = (np.arange(kinds.UNIFORMS) + 0.5) / kinds.UNIFORMS
    picked = np.bincount(_pick(share, u), minlength=30)
    np.testing.assert_array_equal(kinds.pick_chances(share) * kinds.UNIFORMS, picked)


@pytest.mark.parametrize("generator", ["joint", "smoothed", "independent", "uniform"])
def test_profiles_are_as_likely_as_they_are_recruited(generator):
    """Chances sum to one, and 200,000 recruits do not contradict them (chi-square, p > 1e-6)."""
    people = make_study(people=9, seed=2).participants
    weight = np.random.default_rng(1).uniform(0.2, 2, 9)
    smoothed = generator == "smoothed"
    config = ProfilesConfig(
        generator="joint" if smoothed else generator,
        smoothing=0.4 if smoothed else 0.0,
        temperature=1.5,
    )
    fitted = fit_profiles(people.profile, weight, config)
    profile, chance = kinds.possible(fitted)
    assert chance.sum() == pytest.approx(1, abs=1e-12)
    listed = zip(*(np.nan_to_num(a.cells.astype(float), nan=-1) for a in profile), strict=True)
    keys = list(listed)
    assert len(set(keys)) == len(keys)
    drawn = recruit(fitted, 5, np.arange(200_000))
    place = {key: i for i, key in enumerate(keys)}
    rows = zip(*(np.nan_to_num(a.cells.astype(float), nan=-1) for a in drawn), strict=True)
    seen = np.bincount([place[row] for row in rows], minlength=len(keys))
    assert (chance * 200_000).min() > 20
    assert stats.chisquare(seen, chance * 200_000).pvalue > 1e-6


def test_profiles_of_a_smoothed_generator_by_brute_force():
    people = make_study(people=7, seed=3).participants
    weight = np.arange(1.0, 8)
    fitted = fit_profiles(people.profile, weight, ProfilesConfig(smoothing=0.25))
    profile, chance = kinds.possible(fitted)
    s = 0.25
    for place, cells in enumerate(zip(*(a.cells for a in profile), strict=True)):
        expected = 0.0
        for h in range(7):
            term = fitted.weight[h]
            for a, cell in enumerate(cells):
                own = next(i for i, v in enumerate(fitted.values[a]) if _same(v, cell))
                real = _same(people.profile[a].cells[h], cell)
                term *= s * fitted.shares[a][own] + (1 - s) * real
            expected += term
        # Shares are multiples of 2**-23 here, and exact there.
        assert chance[place] == pytest.approx(expected, abs=20 * 2.0**-23)


def test_levels_are_as_likely_as_the_sampler_draws_them():
    """All 65,536 half words, by the comparison that `response.thresholds` is made for."""
    random = np.random.default_rng(0)
    mean = random.normal(0.5, 0.6, (6, 40)).astype(np.float32)
    sd = random.uniform(0, 0.4, (6, 40)).astype(np.float32)
    cut = np.sort(random.random((4, 40)), axis=0).astype(np.float32)
    cut[2:, ::3] = np.inf
    threshold = np.asarray(thresholds(mean, sd, cut))
    chance = counts._chances(threshold, mean, sd, np.zeros(40, bool), 5)
    draw = np.maximum(np.arange(65536), 1)
    for p, t in itertools.product(range(6), range(40)):
        level = (draw > threshold[:, p, t, None]).sum(0)
        drawn = np.bincount(level, minlength=5)
        np.testing.assert_array_equal(chance[p, t] * 65536, drawn)


def test_values_are_as_likely_as_a_clipped_normal_has_them():
    mean, sd = np.array([[0.1, 0.9]]), np.array([[0.3, 1e-3]])
    chance = counts._chances(np.zeros((0, 1, 2)), mean, sd, np.ones(2, bool), counts.BINS)
    for task in range(2):
        normal = stats.norm(mean[0, task], sd[0, task])
        for cell in (0, 1, 57, 179, 180, 199):
            low = -np.inf if cell == 0 else cell / 200
            high = np.inf if cell == 199 else (cell + 1) / 200
            expected = normal.cdf(high) - normal.cdf(low)
            assert chance[0, task, cell] == pytest.approx(expected, abs=1e-12)


REPEATS, FEW = 500, 24


@pytest.mark.parametrize("way", ["counted", "sampled"])
@pytest.mark.parametrize("by", [None, "city"])
def test_counts_vary_as_those_of_sampled_agents(rating_crowd: Crowd, way, by):
    """Agents are independent of each other, so a cell's count is exactly binomial.

    Its mean over R repetitions has standard error sqrt(N p q / R), and the mean of its squared
    standard score sqrt((2 + (1 - 6 p q) / (N p q)) / R); with at most 2 x 60 such figures, 6
    standard errors are passed by none with probability above 1 - 1e-6 (normal tails, which the
    mean of 500 follows well enough at 6). Counts with fixed numbers per profile, or per level,
    would vary less and fail by far; so does a sampler whose law is another. The sampled agents
    pass through the same test, as its control.
    """
    if way == "counted":
        found = [count(rating_crowd, FEW, seed, by=by) for seed in range(REPEATS)]
        names = sorted({name for one in found for name in one.groups}, key=str)
        cells = np.zeros((REPEATS, len(names), 4, 5))
        for row, one in enumerate(found):
            for name, own in zip(one.groups, one.counts, strict=True):
                cells[row, names.index(name)] = own
    else:
        many = sample(rating_crowd, REPEATS * FEW, seed=7)
        group = np.zeros(len(many.ids), int) if by is None else many.profile[1].cells
        cells = np.zeros((REPEATS, group.max() + 1, 4, 5))
        row = np.arange(len(many.ids)) // FEW
        for task in range(4):
            np.add.at(cells, (row, group, task, many.answers[:, task]), 1)
    p = chances_of(rating_crowd, by)
    assert cells.shape[1:] == p.shape
    held = FEW * p > 0.3
    assert held.sum() > 15
    npq = FEW * p[held] * (1 - p[held])
    gap = (cells.mean(0)[held] - FEW * p[held]) / np.sqrt(npq / REPEATS)
    assert np.abs(gap).max() < 6
    square = ((cells[:, held] - FEW * p[held]) ** 2 / npq).mean(0)
    error = np.sqrt((2 + (1 - 6 * npq / FEW) / npq) / REPEATS)
    assert (np.abs(square - 1) / error).max() < 6


def chances_of(crowd: Crowd, by: str | None) -> np.ndarray:
    """(G, T, K) chance that an agent is in a group and answers so: counted over very many."""
    many = 1 << 40
    return count(crowd, many, seed=99, by=by).counts / many


def test_two_tasks_hang_together_through_profiles(rating_crowd: Crowd):
    """One profile's members answer both tasks: the counts' covariance is that of the mixture.

    Compared over 500 repetitions of 400 agents with the sampled ones' by their difference in
    units of its standard error, sqrt((var x var y + cov^2) / R) each; below 5.
    """
    n, r = 400, 500
    crowd = rating_crowd
    own = np.stack([count(crowd, n, seed).counts[0, :2] for seed in range(r)])
    drawn = sample(crowd, n * r, seed=3).answers[:, :2].reshape(r, n, 2)
    other = np.stack([(drawn == k).sum(1) for k in range(5)], axis=2)
    shares = own.mean((0, 1)) > 5
    for k in np.flatnonzero(shares):
        found = [np.cov(part[:, 0, k], part[:, 1, k]) for part in (own, other)]
        error = [np.sqrt((c[0, 0] * c[1, 1] + c[0, 1] ** 2) / r) for c in found]
        assert abs(found[0][0, 1] - found[1][0, 1]) < 5 * np.hypot(*error)


@pytest.mark.parametrize("by", [None, "city", "age"])
def test_every_scale_is_counted_as_it_is_sampled(alone_crowd: Crowd, by):
    """Chi-square of one counted against one sampled population, per group and task.

    Cells with fewer than 10 answers together are joined; with at most 300 tests, none falls below
    p = 1e-9 except with probability 3e-7.
    """
    n = 40_000
    found = count(alone_crowd, n, seed=1, by=by)
    agents = sample(alone_crowd, n, seed=2)
    expected = counted(alone_crowd, agents, by)
    assert found.counts.shape == expected.shape
    compared = 0
    for own, other in zip(
        found.counts.reshape(-1, counts.BINS), expected.reshape(-1, counts.BINS), strict=True
    ):
        table = np.stack([own, other])
        rare = table.sum(0) < 10
        table = np.column_stack([table[:, ~rare], table[:, rare].sum(1)])
        table = table[:, table.sum(0) > 0]
        if table.shape[1] > 1:
            assert stats.chi2_contingency(table, correction=False).pvalue > 1e-9
            compared += 1
    assert compared > 0.7 * len(found.groups) * len(alone_crowd.task_ids)


@pytest.mark.parametrize("by", [None, "city", "age"])
def test_totals_are_the_agents(alone_crowd: Crowd, by):
    n = 10**9
    found = count(alone_crowd, n, seed=4, by=by)
    assert found.members.sum() == n
    t = len(alone_crowd.task_ids)
    np.testing.assert_array_equal(found.counts.sum(2), np.tile(found.members[:, None], (1, t)))
    for task, scale in enumerate(alone_crowd.task_scales):
        assert found.counts[:, task, len(bins(scale)) :].sum() == 0
    if by == "age":
        assert found.groups[-1] is None, "the missing age is a group of its own"
        assert len(found.groups) > 5


def test_counts_do_not_depend_on_blocks(alone_crowd: Crowd, monkeypatch):
    one = count(alone_crowd, 10_000, seed=4)
    monkeypatch.setattr(counts, "BLOCK_CHANCES", 1)
    two = count(alone_crowd, 10_000, seed=4)
    # Floats of another batch may move a threshold by one in 65,536.
    assert np.abs(one.counts - two.counts).max() <= 40
    assert (one.counts != two.counts).mean() < 0.02


def test_one_program_counts_all_profiles(alone_crowd: Crowd, monkeypatch):
    monkeypatch.setattr(counts, "BLOCK_CHANCES", 8 * 10 * counts.BINS)
    counts._table.clear_cache()
    count(alone_crowd, 10_000, seed=4)
    count(alone_crowd, 10**9, seed=5, by="city")
    assert counts._table._cache_size() == 1


def test_a_semi_implicit_crowd_is_drawn(rating_crowd: Crowd):
    """Its score is a mixture, so no thresholds give its chances."""
    config = msgspec.structs.replace(rating_crowd.config, semi_implicit=True)
    assert counts._alone(rating_crowd)
    assert not counts._alone(dataclasses.replace(rating_crowd, config=config))


@pytest.mark.parametrize("name", ["persistent", "packed ratings", "shared ballots"])
def test_drawn_agents_are_counted_one_for_one(mixed_crowd: Crowd, monkeypatch, name):
    monkeypatch.setattr(population, "BLOCK", 64)
    crowd = mixed_crowd
    if name == "persistent":
        every = {**EVERY_SCALE, "mood": Nominal(levels=("a", "b", "c"))}
        crowd = make_known(make_study(every), loud=0.3).crowd
    if name == "packed ratings":
        # Where all is levels, they are counted as they come: four to a word.
        crowd = make_known(make_study(tasks=7), loud=0.3).crowd
    agents = sample(crowd, 150, seed=8)
    for by in (None, "city", "age"):
        seen = []
        found = count(crowd, 150, seed=8, by=by, progress=lambda *report: seen.append(report))  # noqa: B023
        expected = counted(crowd, agents, by)
        np.testing.assert_array_equal(found.counts, expected)
        np.testing.assert_array_equal(found.members, expected[:, 0].sum(1))
        check_moments(crowd, agents, by, found)
        told = [("count", 64, 150), ("count", 128, 150), ("count", 150, 150)]
        assert list(dict.fromkeys(seen)) == told


def check_moments(crowd: Crowd, agents: population.Agents, by: str | None, found) -> None:
    """Means and standard deviations are numpy's of the agents' own answers."""
    numbers = numbers_of(crowd, agents.answers).astype(np.float64)
    group = np.zeros(len(agents.ids), int)
    if by is not None:
        place = [a.name for a in agents.profile].index(by)
        cells = agents.profile[place].cells
        value = crowd.generator.values[place]
        own = np.array([next(i for i, v in enumerate(value) if _same(v, c)) for c in cells])
        group = np.unique(own, return_inverse=True)[1]
    for g in range(len(found.groups)):
        for task, scale in enumerate(crowd.task_scales):
            own = numbers[group == g, task]
            if isinstance(scale, Nominal):
                assert np.isnan(found.mean[g, task])
                continue
            assert found.mean[g, task] == pytest.approx(own.mean(), rel=1e-12)
            assert found.sd[g, task] == pytest.approx(own.std(), rel=1e-9, abs=1e-9)


def test_within_a_bin_a_score_has_the_moments_of_its_normal():
    """By numerical integration; what lies beyond the ends of the scale is at the ends."""
    mean, sd = np.array([[0.1, 0.998, 0.5012]]), np.array([[0.3, 2e-3, 3e-4]])
    middle, variance = counts._within(mean, sd)
    for task, cell in ((0, 0), (0, 57), (0, 199), (1, 198), (1, 199), (2, 100), (2, 99)):
        normal = stats.norm(mean[0, task], sd[0, task])
        x = np.linspace(cell, cell + 1, 200_001) / counts.BINS
        step = (x[1] - x[0]) * normal.pdf((x[1:] + x[:-1]) / 2)
        points, weights = list((x[1:] + x[:-1]) / 2), list(step)
        points += [0.0] * (cell == 0) + [1.0] * (cell == 199)
        weights += [normal.cdf(0)] * (cell == 0) + [normal.sf(1)] * (cell == 199)
        own = np.average(points, weights=weights)
        assert middle[0, task, cell] == pytest.approx(own, abs=1e-9)
        spread = np.average((points - own) ** 2, weights=weights)
        assert variance[0, task, cell] == pytest.approx(spread, abs=1e-10)


@pytest.mark.parametrize("by", [None, "city"])
def test_means_vary_as_those_of_sampled_agents(alone_crowd: Crowd, by):
    """400 counted and 400 sampled populations of 50 agents: their means have one distribution.

    Two-sample z of the means and F-like comparison of the variances, on 2 continuous tasks and at
    most 3 groups: 12 figures. Means of groups vary in size alike on both sides. The limits of 5
    standard errors are passed with probability below 1e-5; of a variance the standard error is
    sqrt(2 / 400) of it, times at most 1.5 for tails heavier than the normal's.
    """
    r, n = 400, 50
    tasks = [t for t, scale in enumerate(alone_crowd.task_scales) if isinstance(scale, Continuous)]
    many = sample(alone_crowd, r * n, seed=7)
    values = many.answers[:, tasks].astype(np.float64)
    cells = np.zeros(r * n, int) if by is None else many.profile[1].cells
    names = [None] if by is None else list(alone_crowd.generator.attributes[1].levels)
    found = [count(alone_crowd, n, seed, by=by) for seed in range(r)]
    for place, name in enumerate(names):
        for column, task in enumerate(tasks):
            rows = [
                (one.mean[one.groups.index(name), task], one.sd[one.groups.index(name), task])
                for one in found
                if name in one.groups
            ]
            own = np.array(rows)
            other = np.array(
                [
                    (part[here].mean(), part[here].std())
                    for part, here in zip(
                        values[:, column].reshape(r, n), (cells == place).reshape(r, n), strict=True
                    )
                    if here.any()
                ]
            )
            for figure in range(2):
                a, b = own[:, figure], other[:, figure]
                assert abs(a.mean() - b.mean()) < 5 * np.hypot(a.std(), b.std()) / np.sqrt(r)
                limit = 5 * 1.5 * np.sqrt(2 / r) * np.sqrt(2)
                assert abs(np.log(a.var() / b.var())) < limit


def test_more_profiles_than_can_be_listed_are_drawn(rating_crowd: Crowd, monkeypatch):
    crowd = dataclasses.replace(
        rating_crowd, generator=dataclasses.replace(rating_crowd.generator, smoothing=0.5)
    )
    monkeypatch.setattr(kinds, "MOST", 40)
    found = count(crowd, 500, seed=8, by="city")
    np.testing.assert_array_equal(found.counts, counted(crowd, sample(crowd, 500, 8), "city"))


def test_hours_of_drawing_are_announced(mixed_crowd: Crowd, monkeypatch):
    monkeypatch.setattr(population, "BLOCK", 64)
    clock = itertools.count(0, 6)
    monkeypatch.setattr(counts.time, "monotonic", lambda: float(next(clock)))

    def stop(_stage: str, done: int, _total: int) -> None:
        if done > 64 * 5:
            raise KeyboardInterrupt

    with (
        pytest.warns(CrowdWarning, match="hours to go") as shown,
        pytest.raises(KeyboardInterrupt),
    ):
        count(mixed_crowd, 10**9, seed=0, progress=stop)
    assert len(shown) == 1


def test_edges_part_float32_values_as_their_float64_ends_do():
    scale = Continuous(low=-10.0, high=30.0)
    exact = (bins(scale)[1:] + bins(scale)[:-1]) / 2
    ends = counts._edges(scale)
    for value in (ends, np.nextafter(ends, np.float32(-np.inf)), exact.astype(np.float32)):
        np.testing.assert_array_equal(value >= ends, value.astype(np.float64) >= exact)


@pytest.mark.parametrize(
    ("agents", "by", "match"),
    [
        (10, "height", "no such attribute; it has: age, city"),
        (2**41, None, "up to 2"),
        (0, None, "agents"),
    ],
)
def test_what_cannot_be_counted_is_told(rating_crowd: Crowd, agents, by, match):
    with pytest.raises(CrowdError, match=match):
        count(rating_crowd, agents, seed=0, by=by)


def test_too_many_groups_are_told(rating_crowd: Crowd, monkeypatch):
    monkeypatch.setattr(counts, "MOST_CELLS", 100)
    with pytest.raises(CrowdError, match=r"--by age: \d+ values are too much"):
        count(rating_crowd, 10, seed=0, by="age")
