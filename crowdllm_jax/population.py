"""Sample populations: recruit agents, draw their decisions, a block of agents at a time.

An agent's profile and answers depend on the crowd, the seed and the agent's id, and on nothing
else. On scales that are answered one task at a time the score of every (profile, task) is turned
into integer thresholds once, and a decision costs 16 random bits and K - 1 comparisons. Continuous
answers and shared ballots need the score itself: one normal draw. A semi-implicit belief of the
published model has no closed form; its network runs once per decision, about a thousand times
slower. The persistent model draws one belief per agent (`model/draw.py`).
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from crowdllm_jax.ahead import ahead, cores
from crowdllm_jax.encode import encode
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.cvae import Cvae, CvaeConfig, Noise, decide, score_moments
from crowdllm_jax.model.design import Design, profile_matrix
from crowdllm_jax.model.draw import Profiles, draw_agents, ready_profiles, ready_to_draw
from crowdllm_jax.model.levels import (
    LANES,
    beyond,
    by_lane,
    draw_levels,
    ordered_ends,
    take_rows,
    to_host,
    unpack,
)
from crowdllm_jax.model.persistent import PersistentConfig
from crowdllm_jax.model.response import (
    Joint,
    cuts,
    fill_ballots,
    level_dtype,
    nearest_level,
    thresholds,
)
from crowdllm_jax.profiles import distinct, profiles_of, recruit, recruit_rows
from crowdllm_jax.randomness import Pair, Stream, normal, seed_halves, split_ids, words
from crowdllm_jax.scales import Continuous, Nominal, Scale
from crowdllm_jax.study import Attribute

BLOCK = 8192
"""Agents drawn at once; the last block is filled up, so that one compiled program serves all."""

TABLE = 1 << 25
"""Numbers in a table over all real profiles; above it each block makes a table of its own."""


@dataclass(frozen=True)
class Agents:
    """A block of a population.

    Attributes:
      ids: (N,) int64. profile: attributes with N cells.
      answers: (N, T) levels of discrete tasks (values of continuous ones), smallest type that fits.
    """

    ids: np.ndarray
    profile: tuple[Attribute, ...]
    answers: np.ndarray


@dataclass(frozen=True)
class _Layout:
    """Which tasks are drawn in which way; hashable, so that programs are compiled per layout.

    Attributes:
      levels: tasks drawn through thresholds. scores: all other tasks, which need their score.
      groups: (scale, places among `scores`) of each continuous scale or shared ballot.
    """

    tasks: int
    levels: tuple[int, ...]
    scores: tuple[int, ...]
    groups: tuple[tuple[Scale, tuple[int, ...]], ...]
    dtype: str


def sample(crowd: Crowd, agents: int, seed: int, *, start: int = 0) -> Agents:
    """Draw a population into memory: agents `start` to `start + agents - 1`."""
    blocks = list(sample_blocks(crowd, agents, seed, start=start))
    profile = tuple(
        Attribute(a.name, a.kind, a.levels, np.concatenate([b.profile[i].cells for b in blocks]))
        for i, a in enumerate(crowd.generator.attributes)
    )
    return Agents(
        np.concatenate([b.ids for b in blocks]),
        profile,
        np.concatenate([b.answers for b in blocks]),
    )


def sample_blocks(crowd: Crowd, agents: int, seed: int, *, start: int = 0) -> Iterator[Agents]:
    """Draw a population block by block; memory does not grow with the number of agents.

    Raises:
      CrowdError: the number of agents or the seed is out of range.
    """
    check_numbers(agents, seed)
    spans = blocks_in(start, agents)
    yield from draw_blocks(drawers(crowd), len(crowd.task_ids), seed, spans)


def blocks_in(start: int, agents: int) -> list[tuple[int, int]]:
    """(first agent, count) of each block of a stretch of agents."""
    end = start + agents
    return [(first, min(BLOCK, end - first)) for first in range(start, end, BLOCK)]


def draw_blocks(
    draws: Sequence["Draw"], tasks: int, seed: int, spans: Iterable[tuple[int, int]]
) -> Generator[Agents, None, None]:
    """Draw blocks of up to BLOCK agents, the next ones while one is used.

    Args:
      draws: see `drawers`; they take turns. tasks: T. spans: (first agent, count) of each block.
    """

    def block(item: tuple[Draw, tuple[int, int]]) -> Agents:
        draw, (first, count) = item
        ids = first + np.arange(BLOCK, dtype=np.int64)
        profile, drawn = draw(seed, ids)
        kept = tuple(Attribute(a.name, a.kind, a.levels, a.cells[:count]) for a in profile)
        return Agents(ids[:count], kept, to_host(drawn, tasks)[:count])

    yield from ahead(block, zip(cycle(draws), spans, strict=False), max(cores(), len(draws)))


def check_numbers(agents: int, seed: int) -> None:
    """Raise CrowdError if there cannot be so many agents, or a seed is out of range."""
    if not 1 <= agents <= 2**62:
        raise CrowdError(f"population.agents: {agents} is not a number of agents from 1 to 2**62")
    if not 0 <= seed < 2**63:
        raise CrowdError(f"population.seed: {seed} is not from 0 to 2**63 - 1")


def check_scales(
    task_ids: tuple[str, ...], by_name: dict[str, Scale], task_scale: np.ndarray
) -> None:
    """Raise CrowdError if the published model cannot answer on a scale."""
    for index, (name, scale) in enumerate(by_name.items()):
        tasks = np.flatnonzero(task_scale == index)
        if isinstance(scale, Nominal) and len(tasks):
            raise CrowdError(
                f"study.scales.{name}: task '{task_ids[tasks[0]]}' has a nominal scale, which the "
                "published model cannot answer (its decision is one score on an ordered scale); "
                "ask each level as a binary task"
            )


def _layout(crowd: Crowd) -> _Layout:
    levels, scores, members = [], [], {name: [] for name in crowd.scales}  # type: ignore[var-annotated]
    names = list(crowd.scales)
    for task, scale in enumerate(crowd.task_scales):
        if isinstance(scale, Continuous | Joint):
            members[names[crowd.task_scale[task]]].append(len(scores))
            scores.append(task)
        else:
            levels.append(task)
    groups = tuple((crowd.scales[name], tuple(m)) for name, m in members.items() if m)
    dtype = level_dtype(crowd.task_scales).name
    return _Layout(len(crowd.task_ids), tuple(levels), tuple(scores), groups, dtype)


def _cut_table(crowd: Crowd, layout: _Layout) -> np.ndarray:
    """(K - 1, levels) scores between the levels, infinite beyond a task's own."""
    of_scale = crowd.task_scales
    per_task = [cuts(of_scale[task]) for task in layout.levels]
    most = max((len(cut) for cut in per_task), default=0)
    table = np.full((most, len(per_task)), np.inf, np.float32)
    for place, cut in enumerate(per_task):
        table[: len(cut), place] = cut
    return table


Draw = Callable[[int, np.ndarray], tuple[tuple[Attribute, ...], jax.Array | np.ndarray]]
"""draw(seed, ids): the profiles of a block of agents, and their answers (see `to_host`)."""


def drawers(crowd: Crowd) -> list[Draw]:
    """Make ready to draw blocks of agents of a crowd: one for each device of this process.

    A block is drawn by one device through the same program wherever it is, so that the answers do
    not depend on how many devices there are.
    """
    if isinstance(crowd.config, PersistentConfig):
        make = _persistent
    else:
        make = _semi_implicit if crowd.config.semi_implicit else _folded
    return [make(crowd, device) for device in jax.local_devices()]


T = TypeVar("T")
Recruits = Callable[[int, np.ndarray], tuple[tuple[Attribute, ...], T, np.ndarray]]
"""recruits(seed, ids): the agents' profiles, a table of distinct ones, and each agent's row."""


def _recruiter(crowd: Crowd, per_profile: int, make: Callable[[np.ndarray], T]) -> Recruits[T]:
    """Recruits agents as rows of a table over distinct profiles.

    Where only real people's profiles occur, one table serves all blocks, unless it is too large.

    Args:
      per_profile: numbers in a row. make: makes the table of coded profiles (P, C).
    """
    people = crowd.generator

    def table(profile: tuple[Attribute, ...], rows: np.ndarray) -> T:
        some = tuple(Attribute(a.name, a.kind, a.levels, a.cells[rows]) for a in profile)
        c = profile_matrix(crowd.codings, some, len(rows))
        # Few sizes, so that few programs are compiled: up to a quarter more than needed.
        step = 1 << max(6, (len(c) - 1).bit_length() - 3)
        size = -(-len(c) // step) * step
        return make(np.concatenate([c, np.zeros((size - len(c), c.shape[1]), np.float32)]))

    if people.real_only:
        first, kind = distinct(people.attributes, len(people.weight))
        if len(first) * per_profile <= TABLE:
            shared = table(people.attributes, first)
            kind = kind.astype(np.int32)

            def from_shared(seed: int, ids: np.ndarray):  # type: ignore[no-untyped-def]
                person = recruit_rows(people, seed, ids)
                return profiles_of(people, person), shared, kind[person]

            return from_shared

    def from_own(seed: int, ids: np.ndarray):  # type: ignore[no-untyped-def]
        profile = recruit(people, seed, ids)
        first, row = distinct(profile, len(ids))
        return profile, table(profile, first), row.astype(np.int32)

    return from_own


def _folded(crowd: Crowd, device: jax.Device) -> Draw:
    """Draws a block of agents of the plain model through a table over their distinct profiles."""
    layout = _layout(crowd)
    cut = _cut_table(crowd, layout)
    params, x, reference = jax.device_put((crowd.params, *crowd.inputs), device)

    def make(c: np.ndarray) -> Table:
        own = c[:, : sum(len(coding.columns) for coding in crowd.codings)]
        return _make_table(crowd.graph, crowd.config, layout, params, x, own, reference, cut)

    recruits = _recruiter(crowd, layout.tasks * max(1, len(cut)), make)

    def draw(seed: int, ids: np.ndarray) -> tuple[tuple[Attribute, ...], jax.Array]:
        profile, table, row = recruits(seed, ids)
        return profile, _draw(layout, len(cut), seed_halves(seed), split_ids(ids), table, row)

    return draw


Table = tuple[jax.Array, jax.Array, jax.Array]


@partial(jax.jit, static_argnums=(0, 1, 2))
def _make_table(
    graph: nnx.GraphDef,
    config: CvaeConfig,
    layout: _Layout,
    params: nnx.State,
    x: jax.Array,
    c: jax.Array,
    reference: jax.Array,
    cut: jax.Array,
) -> Table:
    """Ends (P 4 (K - 1), B), and score moments (P, scores) twice, of P profiles."""
    mean, sd = score_moments(nnx.merge(graph, params), x, c, reference, config)
    levels, scores = np.array(layout.levels, int), np.array(layout.scores, int)
    ends = by_lane(ordered_ends(thresholds(mean[:, levels], sd[:, levels], cut)))
    # A profile's ends lie next to each other in memory: a block reads them in one stretch.
    ends = ends.transpose(2, 0, 1, 3)
    return (
        ends.reshape(int(np.prod(ends.shape[:-1])), ends.shape[-1]),
        mean[:, scores],
        sd[:, scores],
    )


@partial(jax.jit, static_argnums=(0, 1))
def _draw(
    layout: _Layout, cuts: int, seed: Pair, ids: Pair, table: Table, row: jax.Array
) -> jax.Array:
    """(N, T) answers of agents with profile `row` (N,) of the table; packed if all are levels."""
    ends, mean, sd = table
    parts = []

    def above(lane: int, word: jax.Array) -> Callable[[Any], jax.Array]:
        def above_end(k: Any) -> jax.Array:
            return beyond(word, take_rows(ends, row * (LANES * cuts) + (lane * cuts + k)))

        return above_end

    if layout.levels:
        drawn = draw_levels(seed, ids, len(layout.levels), cuts, above)
        if not layout.scores:
            return drawn
        parts.append(unpack(drawn, len(layout.levels)).astype(layout.dtype))
    if layout.scores:
        noise = normal(words(seed, ids, Stream.SCORE, len(layout.scores)))
        parts.append(_answer_scores(layout, mean[row] + sd[row] * noise))
    return _in_task_order(layout, parts)


def _answer_scores(layout: _Layout, score: jax.Array) -> jax.Array:
    """(N, scores) answers where the score itself is needed."""
    answers = jnp.zeros(score.shape, layout.dtype)
    for scale, places in layout.groups:
        own = score[:, np.array(places)]
        if isinstance(scale, Continuous):
            answer = scale.low + (scale.high - scale.low) * jnp.clip(own, 0, 1)
        else:
            assert isinstance(scale, Joint)
            answer = fill_ballots(scale, own)
        answers = answers.at[:, np.array(places)].set(answer.astype(layout.dtype))
    return answers


def _in_task_order(layout: _Layout, parts: list[jax.Array]) -> jax.Array:
    if len(parts) == 1:
        return parts[0]
    order = np.argsort(layout.levels + layout.scores)
    return jnp.concatenate(parts, axis=1)[:, order]


def _persistent(crowd: Crowd, device: jax.Device) -> Draw:
    """Draws a block of agents of the persistent model: one belief each, then their decisions."""
    assert isinstance(crowd.inputs, Design)
    design = crowd.inputs
    ready = ready_to_draw(crowd.graph, crowd.params, design)
    ready = jax.device_put(ready, device)._replace(task_scale=ready.task_scale)

    def make(c: np.ndarray) -> Profiles:
        return ready_profiles(design.layout, ready.items, (c - design.centre).astype(np.float32))

    recruits = _recruiter(crowd, len(crowd.task_ids), make)

    def draw(seed: int, ids: np.ndarray) -> tuple[tuple[Attribute, ...], jax.Array]:
        profile, table, row = recruits(seed, ids)
        halves = split_ids(ids)
        return profile, draw_agents(design.layout, ready, table, row, seed_halves(seed), halves)

    return draw


def _semi_implicit(crowd: Crowd, device: jax.Device) -> Draw:
    """Draws a block of agents by running the network for every decision, a few agents at a time."""
    layout = _layout(crowd)
    params, x, reference = jax.device_put((crowd.params, *crowd.inputs), device)

    def draw(seed: int, ids: np.ndarray) -> tuple[tuple[Attribute, ...], np.ndarray]:
        profile = recruit(crowd.generator, seed, ids)
        c = encode(crowd.codings, profile) if profile else np.zeros((len(ids), 0), np.float32)
        return profile, np.concatenate(
            [
                np.asarray(
                    _draw_plain(
                        crowd.graph,
                        crowd.config,
                        layout,
                        crowd.task_scales,
                        params,
                        x,
                        reference,
                        seed_halves(seed),
                        split_ids(ids[i : i + 64]),
                        c[i : i + 64],
                    )
                )
                for i in range(0, len(ids), 64)
            ]
        )

    return draw


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _draw_plain(
    graph: nnx.GraphDef,
    config: CvaeConfig,
    layout: _Layout,
    task_scales: tuple[Scale, ...],
    params: nnx.State,
    x: jax.Array,
    reference: jax.Array,
    seed: Pair,
    ids: Pair,
    c: jax.Array,
) -> jax.Array:
    """(N, T) answers through the network itself, a fresh belief for every decision."""
    model: Cvae = nnx.merge(graph, params)
    n, t = len(c), layout.tasks
    width = config.latent + 1 + (config.injected if config.semi_implicit else 0)
    drawn = normal(words(seed, ids, Stream.LATENT, t * width)).reshape(n * t, width)
    latent, decision, injected = jnp.split(drawn, [config.latent, config.latent + 1], axis=1)
    noise = Noise(latent, decision[:, 0], injected[None] if config.semi_implicit else None)
    score = decide(
        model,
        jnp.tile(x, (n, 1)),
        jnp.repeat(c, t, axis=0),
        jnp.tile(reference, n),
        noise,
        config.noise_scale,
        config.diversity,
    ).score.reshape(n, t)
    parts = []
    if layout.levels:
        columns = [nearest_level(task_scales[task], score[:, task]) for task in layout.levels]
        parts.append(jnp.stack(columns, axis=1).astype(layout.dtype))
    if layout.scores:
        parts.append(_answer_scores(layout, score[:, np.array(layout.scores)]))
    return _in_task_order(layout, parts)
