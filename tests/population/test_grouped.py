"""The way of accelerators, forced on a CPU: other programs, the same agents."""

import dataclasses
import weakref
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from crowds import make_crowd

from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.population import drawers as drawing
from crowdllm_jax.population import grouped
from crowdllm_jax.population import sample as population
from crowdllm_jax.population.agents import Agents
from crowdllm_jax.population.count import count
from crowdllm_jax.population.drawers import drawers
from crowdllm_jax.population.grouped import TOGETHER, GroupedDrawer, by_profile, profile_rows
from crowdllm_jax.population.sample import sample, sample_blocks
from crowdllm_jax.profiles.generator import recruit_rows
from crowdllm_jax.runtime.randomness import seed_halves, split_ids

CONFIGS = {
    "cvae": CvaeConfig(hidden=16, latent=4),
    "persistent": PersistentConfig(latent=3),
    "many dimensions": PersistentConfig(latent=12, injected=0),
}


@pytest.fixture(scope="module", params=CONFIGS, ids=str)
def crowd(request) -> Crowd:
    # 67 tasks are no multiple of 4, the weights of the people are uneven.
    return make_crowd(CONFIGS[request.param], tasks=67, features=8, profiles=40)


@pytest.fixture
def on_accelerator(monkeypatch):
    monkeypatch.setattr(drawing, "in_groups", lambda device: True)


@pytest.mark.parametrize("reorders", [False, True])
@pytest.mark.parametrize(
    ("agents", "start"), [(1, 0), (17_000, 5), (17_000, 2**32 - 9_000), (9_000, 2**61)]
)
def test_agents_are_those_of_a_cpu(crowd: Crowd, agents, start, reorders, monkeypatch):
    """Bit for bit, over blocks that end within a stretch and ids that need a second word, whether
    the host (as for a TPU) or the device (a GPU) puts them back in their order."""
    expected = sample(crowd, agents, seed=7, start=start)
    monkeypatch.setattr(drawing, "in_groups", lambda device: True)
    made = drawers(crowd)
    assert all(isinstance(draw, GroupedDrawer) for draw in made)
    as_told = [dataclasses.replace(draw, reorders=reorders) for draw in made]
    monkeypatch.setattr(population, "drawers", lambda _: as_told)
    monkeypatch.setattr(grouped, "MOST", 1 << 14)
    found = sample(crowd, agents, seed=7, start=start)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.answers, expected.answers)
    assert found.answers.dtype == expected.answers.dtype
    for one, two in zip(found.profile, expected.profile, strict=True):
        np.testing.assert_array_equal(one.cells, two.cells)
    assert (
        sample(crowd, min(agents, 100), seed=8, start=start).answers[0] != found.answers[0]
    ).any()


@pytest.mark.parametrize("kind", ["pinned_host", "no such memory"])
def test_what_comes_through_pinned_memory_is_the_same(kind, monkeypatch):
    """And where a device offers none, it comes as it did."""
    offered = {memory.kind for memory in jax.devices("cpu")[0].addressable_memories()}
    moved, put = [], jax.device_put
    monkeypatch.setattr(grouped, "PINNED", kind)
    monkeypatch.setattr(jax, "device_put", lambda *given: moved.append(given) or put(*given))
    arrays = jnp.arange(12, dtype=jnp.uint32).reshape(3, 4), jnp.arange(3, dtype=jnp.int32)
    found = grouped._fetched(arrays)
    assert len(moved) == (kind in offered)
    for one, two in zip(found, arrays, strict=True):
        assert isinstance(one, np.ndarray)
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(one, two)


def test_blocks_are_let_go_once_they_are_copied():
    """They may lie in memory that cannot be swapped out."""
    alive = []

    def blocks():
        for first in range(0, 30, 10):
            assert sum(one() is not None for one in alive) <= 1
            answers = np.full((10, 2), first, np.int8)
            alive.append(weakref.ref(answers))
            yield Agents(np.arange(first, first + 10), (), answers)
            del answers

    ids, answers = population._joined(blocks(), 30)
    np.testing.assert_array_equal(ids, np.arange(30))
    np.testing.assert_array_equal(answers, np.repeat([0, 10, 20], 10)[:, None].repeat(2, 1))


@pytest.mark.parametrize("by", [None, "a1"])
def test_counts_are_those_of_a_cpu(by, monkeypatch):
    crowd = make_crowd(CONFIGS["persistent"], tasks=67, features=8, profiles=40)
    expected = count(crowd, 17_011, seed=7, by=by)
    monkeypatch.setattr(drawing, "in_groups", lambda device: True)
    monkeypatch.setattr(grouped, "MOST", 1 << 14)
    found = count(crowd, 17_011, seed=7, by=by)
    np.testing.assert_array_equal(found.members, expected.members)
    np.testing.assert_array_equal(found.counts, expected.counts)
    np.testing.assert_array_equal(found.mean, expected.mean)
    assert found.groups == expected.groups
    assert found.counts.sum() == 17_011 * 67


def test_agents_are_recruited_as_by_the_generator(crowd: Crowd):
    people = crowd.generator
    kind = np.random.default_rng(0).permutation(len(people.weight)) % 7
    ids = 2**33 + np.arange(4096)
    rows = profile_rows(grouped.recruitment_of(people, kind), seed_halves(3), split_ids(ids))
    np.testing.assert_array_equal(rows, kind[recruit_rows(people, 3, ids)])


@pytest.mark.parametrize("profiles", [1, 5, 300])
def test_everyone_stands_once_in_a_group_of_the_own_profile(profiles):
    random = np.random.default_rng(profiles)
    row = np.minimum(random.geometric(3 / (profiles + 2), 1024), profiles).astype(np.int32) - 1
    groups = by_profile(jnp.asarray(row), profiles)
    place = np.asarray(groups.place)
    assert place.shape == (1024 // TOGETHER + profiles, TOGETHER)
    group, _ = np.nonzero(place < 1024)
    standing = place[place < 1024]
    np.testing.assert_array_equal(np.sort(standing), np.arange(1024))
    np.testing.assert_array_equal(np.asarray(groups.row)[group], row[standing])


def test_blocks_come_as_on_a_cpu(crowd: Crowd, on_accelerator):
    """However many agents are drawn together, who reads blocks gets those of 8,192."""
    ids = [block.ids for block in sample_blocks(crowd, 3 * population.BLOCK + 1, seed=0)]
    assert [len(one) for one in ids] == [population.BLOCK] * 3 + [1]
    assert all(one[-1] + 1 == two[0] for one, two in pairwise(ids))


def test_who_cannot_be_grouped_is_drawn_one_by_one(crowd: Crowd, on_accelerator):
    """Profiles that no real person has are as many as agents."""
    people = dataclasses.replace(crowd.generator, smoothing=0.5)
    assert not isinstance(drawers(dataclasses.replace(crowd, generator=people))[0], GroupedDrawer)


def test_mixed_scales_are_drawn_one_by_one(mixed_crowd: Crowd, on_accelerator):
    assert not isinstance(drawers(mixed_crowd)[0], GroupedDrawer)


class Device:
    def __init__(self, stats):
        self.memory_stats = lambda: stats


def test_blocks_fit_the_memory_and_are_mostly_full():
    size = grouped.block_sizes
    large, small = (size(Device({"bytes_limit": 2**bits}), 288, 300) for bits in (34, 31))
    assert large[-1] == grouped.MOST
    assert small[-1] < large[-1]
    assert small[-1] * 4 * 4 * 80 <= 2**29
    for sizes in (large, small):
        assert sizes[0] >= 2 * 288 * TOGETHER
    assert size(Device(None), 288, 300)
    assert size(Device(None), 5_000, 300) == ()
    assert size(Device({"bytes_limit": 2**25}), 288, 300) == ()


def test_a_cpu_draws_as_ever():
    assert not drawing.in_groups(jax.devices("cpu")[0])
