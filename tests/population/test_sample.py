"""Sampling: the fast path equals the network, and agents depend on nothing but seed and id."""

import dataclasses

import jax
import msgspec
import numpy as np
import pytest
from known_people import make_known
from scipy import stats
from synthetic import make_study

import crowdllm_jax as cl
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd import Crowd, numbers_of
from crowdllm_jax.model.cvae import draw as draw_cvae
from crowdllm_jax.model.persistent import draw as draw_persistent
from crowdllm_jax.population import sample as population
from crowdllm_jax.population.sample import check_scales, sample, sample_blocks
from crowdllm_jax.profiles import generator as profiles
from crowdllm_jax.profiles.generator import recruit, recruit_rows
from crowdllm_jax.runs.prepare import fit
from crowdllm_jax.runtime.randomness import seed_halves, split_ids
from crowdllm_jax.study import scales
from crowdllm_jax.study.coding import encode
from crowdllm_jax.study.scales import Continuous, Nominal

ALPHA = 1e-6


def plain_answers(crowd: Crowd, ids: np.ndarray, seed: int) -> np.ndarray:
    """The network run for every decision, whatever the crowd's own path is."""
    plain = draw_cvae.draw_plain
    layout = draw_cvae.score_layout_of(crowd)
    c = encode(crowd.codings, recruit(crowd.generator, seed, ids))
    return np.concatenate(
        [
            np.asarray(
                plain(
                    crowd.graph,
                    crowd.config,
                    layout,
                    crowd.task_scales,
                    crowd.params,
                    *crowd.inputs,
                    seed_halves(seed),
                    split_ids(ids[i : i + 1024]),
                    c[i : i + 1024],
                )
            )
            for i in range(0, len(ids), 1024)
        ]
    )


@pytest.fixture(scope="module")
def both(mixed_crowd: Crowd) -> tuple[Crowd, np.ndarray, np.ndarray]:
    """A crowd of four kinds of people, and two populations of it: fast and plain."""
    g = mixed_crowd.generator
    few = tuple(dataclasses.replace(a, cells=a.cells[:4]) for a in g.attributes)
    crowd = dataclasses.replace(
        mixed_crowd,
        # Sampled with more noise than trained with, as a user may.
        config=msgspec.structs.replace(mixed_crowd.config, noise_scale=1.6, diversity=0.15),
        generator=dataclasses.replace(g, attributes=few, weight=np.full(4, 0.25)),
    )
    ids = np.arange(16_384)
    return crowd, sample(crowd, len(ids), seed=5).answers, plain_answers(crowd, ids, seed=6)


def people_of(crowd: Crowd, seed: int, n: int) -> np.ndarray:
    return recruit_rows(crowd.generator, seed, np.arange(n))


def test_fast_path_equals_the_network_in_distribution(both):
    """Two samples per (profile, task): chi-square on levels, Kolmogorov-Smirnov on values.

    The chance that any of the tests rejects equal distributions is below ALPHA (Bonferroni). The
    thresholds' rounding moves a chance by at most 2**-16, which at 4,000 agents per profile adds
    less than 4000 * 2**-32 / 2**-8 per level to the chi-square: nothing.
    """
    crowd, fast, plain = both
    n, tests = len(fast), 4 * len(crowd.task_ids)
    fast_rows, plain_rows = people_of(crowd, 5, n), people_of(crowd, 6, n)
    varied = 0
    for profile in range(4):
        for task, scale in enumerate(crowd.task_scales):
            one, two = fast[fast_rows == profile, task], plain[plain_rows == profile, task]
            where = f"profile {profile}, {scales.kind(scale)} task {task}"
            if isinstance(scale, Continuous):
                p = stats.ks_2samp(one, two).pvalue
                varied += 1
            else:
                k = scales.size(scale)
                table = np.stack([np.bincount(a.astype(int), minlength=k) for a in (one, two)])
                # Levels with few answers are joined: the chi-square needs five expected.
                rare = table.sum(0) < 20
                table = np.column_stack([table[:, ~rare], table[:, rare].sum(1)])
                table = table[:, table.sum(0) > 0]
                if table.shape[1] == 1:
                    continue
                p = stats.chi2_contingency(table, correction=False).pvalue
                varied += 1
            assert p > ALPHA / tests, where
    assert varied > 0.9 * tests, "too few (profile, task) pairs vary to compare anything"


def test_ballots_follow_their_rules_on_both_paths(both):
    crowd, fast, plain = both
    for answers in (fast, plain):
        for index, scale in enumerate(crowd.scales.values()):
            own = answers[:, crowd.task_scale == index]
            if scales.is_ballot(scale):
                assert not scales.ballot_fault(scale, own.astype(int)).any()
            low, high = scales.values(scale)[[0, -1]]
            numbers = numbers_of(crowd, answers)[:, crowd.task_scale == index]
            assert numbers.min() >= low
            assert numbers.max() <= high


def test_profiles_move_answers(both):
    """Otherwise the comparison of the paths would not notice a forgotten profile."""
    crowd, fast, _ = both
    rows = people_of(crowd, 5, len(fast))
    means = np.array([fast[rows == profile].mean(0) for profile in range(4)])
    assert (np.ptp(means, axis=0) > 0.05).mean() > 0.5


@pytest.mark.parametrize("smoothing", [0.0, 0.5], ids=["shared table", "table per block"])
@pytest.mark.parametrize("start", [0, 1, 8191, 8192, 10_000, 2**33])
def test_an_agents_answers_do_not_depend_on_the_chunk(rating_crowd: Crowd, smoothing, start):
    crowd = dataclasses.replace(
        rating_crowd, generator=dataclasses.replace(rating_crowd.generator, smoothing=smoothing)
    )
    count = 20
    together = sample(crowd, 8192 + 2 * count, seed=1, start=max(0, start - count))
    one = sample(crowd, count, seed=1, start=start)
    first = start - max(0, start - count)
    np.testing.assert_array_equal(one.ids, start + np.arange(count))
    np.testing.assert_array_equal(one.answers, together.answers[first : first + count])
    for own, other in zip(one.profile, together.profile, strict=True):
        np.testing.assert_array_equal(own.cells, other.cells[first : first + count])


def test_seeds_give_different_people(rating_crowd: Crowd):
    one, two = (sample(rating_crowd, 500, seed=seed).answers for seed in (1, 2))
    assert (one != two).mean() > 0.3
    again = sample(rating_crowd, 500, seed=1).answers
    np.testing.assert_array_equal(one, again)


def test_blocks_of_one_shape_compile_once_for_each_device(rating_crowd: Crowd):
    draw_cvae.draw_folded.clear_cache()
    draw_cvae.make_table.clear_cache()
    for _ in sample_blocks(rating_crowd, 3 * population.BLOCK + 1, seed=0):
        pass
    for _ in sample_blocks(rating_crowd, 5, seed=9, start=77):
        pass
    devices = jax.local_device_count()
    assert draw_cvae.draw_folded._cache_size() == devices
    assert draw_cvae.make_table._cache_size() == devices


def test_semi_implicit_crowds_sample_through_the_network(mixed_study, tiny):
    model = msgspec.structs.replace(tiny.model, semi_implicit=True, injected=2, auxiliary=2)
    crowd, _ = fit(mixed_study, msgspec.structs.replace(tiny, model=model))
    draw_cvae.draw_plain.clear_cache()
    every = sample(crowd, 100, seed=1)
    some = sample(crowd, 3, seed=1, start=65)
    np.testing.assert_array_equal(some.answers, every.answers[65:68])
    assert draw_cvae.draw_plain._cache_size() == 1
    assert (every.answers[:50] != every.answers[50:]).any()


def test_a_crowd_without_profile_attributes(tiny):
    study = make_study()
    study = dataclasses.replace(
        study, participants=dataclasses.replace(study.participants, profile=())
    )
    crowd, _ = fit(study, tiny)
    agents = sample(crowd, 50, seed=0)
    assert agents.profile == ()
    assert len(np.unique(agents.answers, axis=0)) > 10


@pytest.mark.parametrize(("agents", "seed"), [(0, 0), (-5, 0), (2**63, 0), (1, -1), (1, 2**63)])
def test_numbers_out_of_range_are_refused(rating_crowd: Crowd, agents, seed):
    with pytest.raises(CrowdError, match="population"):
        next(sample_blocks(rating_crowd, agents, seed))


def test_nominal_scales_are_refused():
    scale = {"mood": Nominal(levels=("a", "b", "c"))}
    with pytest.raises(CrowdError, match=r"study\.scales\.mood: task 'x'"):
        check_scales(("x",), scale, np.zeros(1, int))


def test_numbers_of_answers(mixed_crowd: Crowd):
    answers = sample(mixed_crowd, 10, seed=0).answers
    numbers = numbers_of(mixed_crowd, answers)
    rating, price = mixed_crowd.task_scale == 0, mixed_crowd.task_scale == 3
    np.testing.assert_array_equal(numbers[:, rating], answers[:, rating] + 1)
    np.testing.assert_array_equal(numbers[:, price], answers[:, price])


@pytest.mark.parametrize("kind", ["cvae", "persistent"])
def test_sizes_and_blocks_share_their_programs(kind, rating_crowd: Crowd):
    """Populations of every size, in fresh crowds of a few more or fewer people, compile once for
    each device that draws."""
    devices = jax.local_device_count()
    if kind == "cvae":
        programs = (draw_cvae.draw_folded, draw_cvae.make_table)
        crowd = rating_crowd
    else:
        crowd = make_known(make_study(people=60)).crowd
        programs = (
            draw_persistent.draw_beliefs,
            draw_persistent.draw_answers,
            draw_persistent.ready_profiles,
        )
    people = (*programs, profiles._rows)
    for program in people:
        program.clear_cache()
    for size in (1, 100, population.BLOCK, population.BLOCK + 1, 100_000):
        ids = [block.ids for block in sample_blocks(crowd, size, seed=size)]
        np.testing.assert_array_equal(np.concatenate(ids), np.arange(size))
    assert [program._cache_size() for program in people] == [*[devices] * len(programs), 1]
    # Tables of up to 64 distinct profiles are one size.
    generator = crowd.generator
    for count in (5, 17, len(generator.weight)):
        fewer = dataclasses.replace(
            generator,
            attributes=tuple(
                dataclasses.replace(a, cells=a.cells[:count]) for a in generator.attributes
            ),
            weight=np.full(count, 1 / count),
        )
        next(sample_blocks(dataclasses.replace(crowd, generator=fewer), 100, seed=0))
    assert [program._cache_size() for program in programs] == [devices] * len(programs)


@pytest.mark.parametrize("kind", ["cvae", "persistent"])
def test_a_crowd_without_levels_samples_too(kind, tiny):
    """Only continuous tasks: there is nothing to pack."""
    study = make_study({"price": Continuous(low=-10.0, high=30.0)})
    crowd = fit(study, tiny)[0] if kind == "cvae" else make_known(study).crowd
    answers = sample(crowd, 300, seed=0).answers
    assert answers.dtype == np.float32
    assert -10 <= answers.min() < answers.max() <= 30
    assert len(np.unique(answers)) > 100


@pytest.mark.parametrize("seed", [None, -1, 1.5, "x", True, 2**63])
def test_a_seed_is_a_whole_number(rating_crowd: Crowd, seed):
    study = make_study()
    config = cl.load_config({"split": {"by": "people", "test": 0.2}})
    for act in (
        lambda: cl.sample(rating_crowd, 5, seed=seed),
        lambda: cl.fit(study, config, seed=seed),
        lambda: cl.evaluate(study, config, rating_crowd, seed=seed),
        lambda: cl.held_out_study(study, config, seed=seed),
    ):
        with pytest.raises(cl.CrowdError, match=f"seed: {seed} is not a whole number from 0"):
            act()


@pytest.mark.parametrize("agents", [0, True, 2.5, "10", None, float("nan")])
def test_agents_are_a_whole_number(rating_crowd: Crowd, agents):
    with pytest.raises(cl.CrowdError, match=f"agents: {agents} is not a number of agents"):
        cl.sample(rating_crowd, agents)


def test_a_path_is_no_crowd(tmp_path):
    for act in (
        lambda: cl.sample("runs/x", 5),
        lambda: cl.count("runs/x", 5, 0),
        lambda: cl.profile_effects("runs/x"),
        lambda: cl.write_population("runs/x", tmp_path / "p", 5, 0),
        lambda: cl.save_crowd("runs/x", tmp_path / "c"),
    ):
        with pytest.raises(cl.CrowdError, match=r"'runs/x' is no fitted crowd; .*cl.load_crowd"):
            act()


def test_a_crowd_is_kept_in_a_new_place(rating_crowd: Crowd, tmp_path):
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path, tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(cl.CrowdError, match=r"is there already|cannot be made"):
            cl.save_crowd(rating_crowd, place)


def test_a_layout_that_is_none(rating_crowd: Crowd, tmp_path):
    with pytest.raises(cl.CrowdError, match="no 'zz'; give long or wide"):
        cl.write_population(rating_crowd, tmp_path / "p", 5, 0, layout="zz")
    assert not (tmp_path / "p").exists()
