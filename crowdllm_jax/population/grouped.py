"""Agents drawn in groups of one profile, for accelerators.

A GPU or TPU works on 128 agents side by side. Were each of them to look up what its own profile
does to every task, the looking up would take ten times as long as the drawing. So a block of agents
is recruited, sorted by profile and cut into groups that share one; a group looks its profile up
once. Recruiting, sorting, drawing and, where agents are only counted, counting are one program: the
host tells the number of the first agent, and gets the answers or the counts.

An agent's draws are keyed by its id, so its answers do not depend on where it stands: they are
those that a CPU draws.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from crowdllm_jax.model.cvae import draw as cvae
from crowdllm_jax.model.cvae.draw import ScoreLayout, Table
from crowdllm_jax.model.levels import LANES, MOST_CUTS, block_count, take_rows
from crowdllm_jax.model.persistent import draw as persistent
from crowdllm_jax.model.persistent.draw import ProfileTable, Ready, Recruited
from crowdllm_jax.model.persistent.layout import Layout
from crowdllm_jax.profiles.generator import ProfileGenerator
from crowdllm_jax.runtime.precision import SAME_BITS
from crowdllm_jax.runtime.randomness import (
    Pair,
    Stream,
    seed_halves,
    split_ids,
    uniform,
    words,
)
from crowdllm_jax.study.records import Attribute

TOGETHER = 128
"""Agents in a group: the width of a TPU's registers, four warps of a GPU."""

LEAST, MOST = 1 << 13, 1 << 19
"""Agents in a block."""

MEMORY = 8 << 30
"""Bytes that a device is taken to have if it does not say."""

PINNED = "pinned_host"
"""JAX's name of memory of the host that a device reads and writes by itself."""


class Drawn(NamedTuple):
    """How a crowd's packed answers are drawn, which programs are compiled for; hashable.

    Attributes:
      layout: of the model's tasks. cuts: ends between levels of the published model, else 0.
      profiles: P, rows of the table over distinct profiles. tasks: T.
    """

    layout: ScoreLayout | Layout
    cuts: int
    profiles: int
    tasks: int

    def __call__(self, fitted: "Fitted", seed: Pair, ids: Pair, row: jax.Array) -> jax.Array:
        """(G, B, A) words of agents (G, A), whose groups have the profiles `row` (G,)."""
        if isinstance(self.layout, ScoreLayout):
            assert not isinstance(fitted, WithBeliefs)
            return cvae.draw_grouped(self.layout, self.cuts, seed, ids, fitted, row)
        assert isinstance(fitted, WithBeliefs)
        agents = Recruited(fitted.profiles, row, seed, ids)
        return persistent.draw_grouped(self.layout, fitted.ready, agents)


class WithBeliefs(NamedTuple):
    """What agents of the persistent model are drawn from."""

    ready: Ready
    profiles: ProfileTable


Fitted = Table | WithBeliefs


class Recruitment(NamedTuple):
    """The real people from whom agents get their profiles, as steps along a uniform draw.

    Attributes:
      begin: (H,) float32, draws from here on recruit this person. step: (H,) int32, how much
        further in the table this person's profile stands than that of the one before.
    """

    begin: np.ndarray | jax.Array
    step: np.ndarray | jax.Array


class Groups(NamedTuple):
    """Where N agents stand when those of one profile stand together.

    Attributes:
      place: (G, A) int32 the agents by their number in the block, N where there is nobody.
      row: (G,) int32 the group's profile.
    """

    place: jax.Array
    row: jax.Array


def recruitment_of(people: ProfileGenerator, kind: np.ndarray) -> Recruitment:
    """Agents with real people's profiles, each of which is a row `kind` (H,) of the table."""
    below = np.cumsum(people.weight).astype(np.float32)
    begin = np.concatenate([np.full(1, -1, np.float32), below[:-1]])
    return Recruitment(begin, np.diff(kind, prepend=0).astype(np.int32))


def profile_rows(recruits: Recruitment, seed: Pair, ids: Pair) -> jax.Array:
    """(N,) profile of each agent: as `profiles.generator.recruit_rows` recruits.

    The steps up to the draw are added up: a search would look up one place per agent and turn.
    """
    u = uniform(words(seed, ids, Stream.PROFILE, 1)).reshape(1, -1, TOGETHER)
    begin, step = (jnp.asarray(a)[:, None, None] for a in recruits)
    return jnp.where(u >= begin, step, 0).sum(0, dtype=jnp.int32).reshape(-1)


def by_profile(row: jax.Array, profiles: int) -> Groups:
    """Put agents with profiles `row` (N,), from 0 to P - 1, into groups of one profile each.

    P 2^ceil(log2 N) must be at most 2^32.
    """
    n, bits = len(row), (len(row) - 1).bit_length()
    # Profile and number in one word, which sorts faster than two.
    number = jnp.arange(n, dtype=jnp.uint32)
    key = jax.lax.sort(row.astype(jnp.uint32) << bits | number, is_stable=False)
    first = jnp.arange(profiles + 1, dtype=jnp.int32)
    begin = _places((key >> bits).astype(jnp.int32), first)
    groups = -(-jnp.diff(begin) // TOGETHER)
    until = jnp.cumsum(groups)
    group = jnp.arange(n // TOGETHER + profiles, dtype=jnp.int32)
    own = jnp.searchsorted(until, group, side="right", method="compare_all")
    own = jnp.minimum(own, profiles - 1)
    at = begin[own] + (group - (until - groups)[own]) * TOGETHER
    padded = jnp.pad(key, (0, TOGETHER))
    keys = jax.vmap(lambda a: jax.lax.dynamic_slice(padded, (a,), (TOGETHER,)))(jnp.minimum(at, n))
    there = at[:, None] + jnp.arange(TOGETHER)[None] < begin[own + 1][:, None]
    mine = (keys & jnp.uint32((1 << bits) - 1)).astype(jnp.int32)
    return Groups(jnp.where(there, mine, n), own.astype(jnp.int32))


def _places(rows: jax.Array, wanted: jax.Array) -> jax.Array:
    """(W,) how many of N sorted rows, a power of two, lie below each wanted number.

    Counted among every so many rows and then between two of these: a GPU would be told of every
    turn of a search anew, which takes it longer than all drawing.
    """
    step = 1 << (len(rows).bit_length() // 2)
    below = (rows[::step][None] < wanted[:, None]).sum(1, dtype=jnp.int32)
    begin = jnp.maximum(below - 1, 0) * step
    between = jax.vmap(lambda at: jax.lax.dynamic_slice(rows, (at,), (step,)))(begin)
    return begin + (between < wanted[:, None]).sum(1, dtype=jnp.int32)


def _grouped(
    drawn: Drawn, size: int, fitted: Fitted, recruits: Recruitment, seed: Pair, first: Pair
) -> tuple[jax.Array, Groups]:
    """(G, B, A) words of `size` agents from the `first` on, and where they stand."""
    ids = _from(first, jnp.arange(size, dtype=jnp.uint32))
    groups = by_profile(profile_rows(recruits, seed, ids), drawn.profiles)
    ids = _from(first, groups.place.astype(jnp.uint32))
    return drawn(fitted, seed, ids, groups.row), groups


def _from(first: Pair, number: jax.Array) -> Pair:
    """The ids that lie `number` beyond the first."""
    low = first[1] + number
    return first[0] + (low < number).astype(jnp.uint32), low


@partial(jax.jit, static_argnums=(0, 1), compiler_options=SAME_BITS)
def draw_block(
    drawn: Drawn, size: int, fitted: Fitted, recruits: Recruitment, seed: Pair, first: Pair
) -> tuple[jax.Array, Groups]:
    """(G, A, B) words of `size` agents from the `first` on, and where they stand."""
    drawn_words, groups = _grouped(drawn, size, fitted, recruits, seed, first)
    # Turned round here: a TPU does it in passing, the host would take longer than for all else.
    return drawn_words.swapaxes(1, 2), groups


@partial(jax.jit, static_argnums=(0, 1), compiler_options=SAME_BITS)
def draw_in_order(
    drawn: Drawn, size: int, fitted: Fitted, recruits: Recruitment, seed: Pair, first: Pair
) -> tuple[jax.Array, jax.Array]:
    """(N, B) words of `size` agents from the `first` on, and the profiles (N,) they have."""
    drawn_words, groups = _grouped(drawn, size, fitted, recruits, seed, first)
    place = groups.place.reshape(-1)
    at = jnp.zeros(size, jnp.int32).at[place].set(jnp.arange(len(place)), mode="drop")
    # Without the barrier XLA draws agents where they are looked up, each with ends of its own.
    standing = jax.lax.optimization_barrier(drawn_words.swapaxes(1, 2))
    answers = take_rows(standing.reshape(len(place), -1), at)
    return answers, groups.row[at // TOGETHER]


# Nine arguments: jit takes apart what is static, what lies on the device and what changes.
@partial(jax.jit, static_argnums=(0, 1, 2), compiler_options=SAME_BITS)
def count_block(
    drawn: Drawn,
    size: int,
    shape: tuple[int, int],
    fitted: Fitted,
    recruits: Recruitment,
    seed: Pair,
    first: Pair,
    counted: jax.Array,
    by: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Draw `size` agents from the `first` on, and count the answers of the first `counted`.

    Args:
      shape: number of groups that are counted apart, K. by: (P,) which of them a profile is in.
    Returns:
      (groups,) members and (groups, T, K) counts, int32.
    """
    drawn_words, groups = _grouped(drawn, size, fitted, recruits, seed, first)
    there = groups.place < counted
    # Without the barrier XLA draws anew for every level that is counted.
    drawn_words = jax.lax.optimization_barrier(jnp.where(there[:, None], drawn_words, 0))
    member = (by[groups.row][None] == jnp.arange(shape[0])[:, None]).astype(jnp.float32)

    def of_each(numbers: jax.Array) -> jax.Array:
        """Sums (groups, ...) of whole numbers (G, ...): a product, where a scatter would wait."""
        flat = numbers.reshape(len(numbers), -1).astype(jnp.float32)
        # Exact: one factor is 0 or 1, and what is added up is below 2^24.
        sums = jnp.dot(member, flat, precision=jax.lax.Precision.HIGHEST)
        return sums.astype(jnp.int32).reshape(shape[0], *numbers.shape[1:])

    members = of_each(there.sum(1))
    everyone = jnp.broadcast_to(members[:, None], (shape[0], drawn.tasks))
    at_least = [everyone]
    for level in range(shape[1] - 1):
        at_least.append(of_each(_above(drawn_words, level))[:, : drawn.tasks])
    table = jnp.stack([*at_least, everyone * 0], axis=2)
    return members, table[:, :, :-1] - table[:, :, 1:]


def _above(drawn_words: jax.Array, level: int) -> jax.Array:
    """(G, 4 B) how many of a group's agents answer above a level (from 0 to 126) on each task."""
    ones = jnp.uint32(0x01010101)
    # Added to so much, a byte above the level has its top bit set, and no byte carries over.
    bits = (drawn_words + ones * jnp.uint32(127 - level)) >> 7 & ones
    sums = bits.sum(2, dtype=jnp.uint32)  # up to 128 in each byte
    lanes = [(sums >> (8 * lane)) & 0xFF for lane in range(LANES)]
    return jnp.stack(lanes, axis=2).reshape(len(sums), -1)


@dataclass(frozen=True)
class GroupedDrawer:
    """Draws blocks of agents on one device.

    Attributes:
      drawn: how.
      fitted, recruits: on the device.
      profiles: attributes with the cells of those rows of the table that are `real`.
      sizes: of blocks, from few agents to many.
      reorders: whether the device puts agents back in their order. A GPU does it in passing, and
        would otherwise wait for the host; a TPU would take longer for it than for all else.
    """

    drawn: Drawn
    fitted: Fitted
    recruits: Recruitment
    profiles: tuple[Attribute, ...]
    real: int
    sizes: tuple[int, ...]
    reorders: bool

    def size(self, agents: int) -> int:
        """How many agents a block should have if so many are left."""
        return next((size for size in self.sizes if size >= agents), self.sizes[-1])

    def __call__(self, seed: int, ids: np.ndarray) -> tuple[tuple[Attribute, ...], np.ndarray]:
        """Profiles and packed answers (N, B) of agents `ids` (N,), one after the other."""
        n = len(ids)
        first = split_ids(ids[0])
        given = (self.fitted, self.recruits, seed_halves(seed), first)
        if self.reorders:
            answers, row = _fetched(draw_in_order(self.drawn, n, *given))
        else:
            drawn, groups = jax.device_get(draw_block(self.drawn, n, *given))
            place = groups.place.reshape(-1)
            there = np.flatnonzero(place < n)
            answers = np.empty((n, drawn.shape[-1]), np.uint32)
            answers[place[there]] = drawn.reshape(-1, drawn.shape[-1])[there]
            row = np.empty(n, np.int32)
            row[place[there]] = groups.row[there // TOGETHER]
        cells = (Attribute(a.name, a.kind, a.levels, a.cells[row]) for a in self.profiles)
        return tuple(cells), answers

    def count(
        self, seed: int, first: int, size: int, counted: int, by: np.ndarray, shape: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `count_block`; `by` (P,) of this drawer's profiles."""
        full_by = np.zeros(self.drawn.profiles, np.int32)
        full_by[: len(by)] = by
        halves = (seed_halves(seed), split_ids(np.array(first)))
        given = (self.fitted, self.recruits, *halves, np.int32(min(counted, size)), full_by)
        members, counts = jax.device_get(count_block(self.drawn, size, shape, *given))
        return members, counts


def _fetched(arrays: tuple[jax.Array, ...]) -> tuple[np.ndarray, ...]:
    """On the host: where their device offers pinned memory, in that, where they are read in place.

    A GPU writes there thirty times as fast as into the pages of a process. Such memory cannot be
    swapped out, and is free again once nobody holds the array: who keeps many should copy them.
    """
    (device,) = arrays[0].devices()
    if any(memory.kind == PINNED for memory in device.addressable_memories()):
        arrays = jax.device_put(arrays, arrays[0].sharding.with_memory_kind(PINNED))
    return tuple(map(np.asarray, arrays))


def packs(layout: ScoreLayout | Layout, cuts: int) -> bool:
    """Whether all of a crowd's answers are levels that fit four to a word."""
    if cuts > MOST_CUTS:
        return False
    if isinstance(layout, ScoreLayout):
        return not layout.scores
    return len(layout.ordered) == len(layout.task_scale)


def block_sizes(device: jax.Device, profiles: int, tasks: int) -> tuple[int, ...]:
    """Sizes of blocks for a device's memory; none where groups would stand mostly empty.

    Answers lie there twice (as drawn, and turned round), and two blocks are on their way at once;
    a quarter of the memory is enough for them.
    """
    limit = (device.memory_stats() or {}).get("bytes_limit", MEMORY)
    each = 2 * 2 * LANES * block_count(tasks) + 64
    # The last group of each profile is half empty, on average.
    least = max(LEAST, 2 * profiles * TOGETHER)
    found, size = [], 1 << (least - 1).bit_length()
    while size <= MOST and size * each <= limit // 4 and profiles * size <= 1 << 32:
        found.append(size)
        size *= 2
    return tuple(found)
