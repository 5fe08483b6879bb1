"""Sample populations, a block of agents at a time.

An agent's profile and answers depend on the crowd, the seed and the agent's id, and on nothing
else. How a block is drawn is the business of `population/drawers.py`.
"""

import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, cycle
from numbers import Real

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd import Crowd, check_crowd
from crowdllm_jax.model.levels import to_host
from crowdllm_jax.population.agents import Agents
from crowdllm_jax.population.drawers import Drawer, drawers
from crowdllm_jax.population.grouped import GroupedDrawer
from crowdllm_jax.profiles.where import whom
from crowdllm_jax.runtime.given import as_whole
from crowdllm_jax.runtime.numerals import check_seed
from crowdllm_jax.runtime.prefetch import ahead, cores
from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Attribute
from crowdllm_jax.study.scales import Scale

BLOCK = 8192
"""Agents drawn at once; the last block is filled up, so that one compiled program serves all."""


def sample(
    crowd: Crowd,
    agents: int,
    seed: int = 0,
    *,
    start: int = 0,
    where: str | None = None,
    margins: Mapping[str, Mapping[str, float]] | None = None,
) -> Agents:
    """Draw a population into memory: agents `start` to `start + agents - 1`.

    An agent depends on the crowd, the seed and its id alone: the first ten of a thousand are the
    ten alone.

    Args:
      agents: N, how many. seed: of their answers.
      where: a condition on profiles, such as "age >= 60 and gender == 'woman'", under which agents
        are recruited; N of them fulfil it.
      margins: shares of profiles in another population, {attribute: {level: share}}, of whom agents
        are recruited; of these `where` takes those who are so.
    Returns:
      N agents, their profiles and (N, T) answers.
    Raises:
      CrowdError: the number of agents or the seed is out of range, nobody is as `where` says, or no
        weights of the profiles reach the margins.

    Examples:
      >>> cl.sample(crowd, agents=100, seed=1).answers.shape
      (100, 6)
      >>> old = cl.sample(crowd, agents=100, seed=1, where="age >= 60")
      >>> bool(old.to_pandas().age.min() >= 60)
      True
    """
    check_crowd(crowd)
    crowd = crowd_among(crowd, where, margins)
    agents, seed = whole_numbers(agents, seed)
    start = as_whole(start, "start")
    if not 0 <= start <= 2**62 - agents:
        raise CrowdError(f"start: {start} is not the id of an agent from 0 to 2**62 - {agents}")
    blocks = sample_blocks(crowd, agents, seed, start=start)
    ids, answers, *cells = _joined(blocks, agents)
    profile = tuple(
        Attribute(a.name, a.kind, a.levels, own)
        for a, own in zip(crowd.generator.attributes, cells, strict=True)
    )
    tasks = tuple(zip(crowd.task_ids, crowd.task_scales, strict=True))
    return Agents(ids, profile, answers, tasks)


def crowd_among(
    crowd: Crowd,
    where: str | None = None,
    margins: Mapping[str, Mapping[str, float]] | None = None,
) -> Crowd:
    """A crowd whose agents are of a population with some margins, and fulfil a condition."""
    return replace(crowd, generator=whom(crowd.generator, where, margins))


def _joined(blocks: Iterator[Agents], agents: int) -> list[np.ndarray]:
    """Ids, answers and the profile's cells of all blocks, each block let go once it is copied."""
    whole: list[np.ndarray] = []
    until = 0
    for block in blocks:
        parts = [block.ids, block.answers, *(attribute.cells for attribute in block.profile)]
        whole = whole or _room_for(agents, parts)
        begin, until = until, until + len(block.ids)
        for own, part in zip(whole, parts, strict=True):
            own[begin:until] = part
    return whole


def _room_for(agents: int, parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Arrays like a block's, for all agents; raises CrowdError where memory does not hold them: the
    system would rather end the process later than refuse them now."""
    each = sum(part.nbytes // len(part) for part in parts)
    if agents * each > memory():
        raise CrowdError(
            f"population.agents: {agents:,} agents take {agents * each / 2**30:,.0f} GiB, and this "
            "machine has less memory; write them with cl.write_population, which takes little, or "
            "count their answers with cl.count"
        )
    return [np.empty((agents, *part.shape[1:]), part.dtype) for part in parts]


def memory() -> float:
    """Bytes of memory that this machine has; without end where it does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return float("inf")


def sample_blocks(crowd: Crowd, agents: int, seed: int, *, start: int = 0) -> Iterator[Agents]:
    """Draw a population block by block; memory does not grow with the number of agents.

    Raises:
      CrowdError: the number of agents or the seed is out of range.
    """
    agents, seed = whole_numbers(agents, seed)
    spans = _spans(start, agents)
    yield from draw_blocks(drawers(crowd), len(crowd.task_ids), seed, spans)


def blocks_in(start: int, agents: int) -> list[tuple[int, int]]:
    """(first agent, count) of each block of a stretch of agents."""
    return [*_spans(start, agents)]


def _spans(start: int, agents: int) -> Iterator[tuple[int, int]]:
    end = start + agents
    return ((first, min(BLOCK, end - first)) for first in range(start, end, BLOCK))


def draw_blocks(
    draws: Sequence[Drawer], tasks: int, seed: int, spans: Iterable[tuple[int, int]]
) -> Generator[Agents, None, None]:
    """Draw blocks of up to BLOCK agents, the next ones while one is used.

    Args:
      draws: see `drawers`; they take turns. tasks: T. spans: (first agent, count) of each block.
    """

    def block(item: tuple[Drawer, list[tuple[int, int]]]) -> list[Agents]:
        draw, stretch = item
        first, last = stretch[0][0], sum(stretch[-1])
        size = draw.size(last - first) if isinstance(draw, GroupedDrawer) else BLOCK
        ids = first + np.arange(size, dtype=np.int64)
        profile, drawn = draw(seed, ids)
        answers = to_host(drawn, tasks)

        def part(span: tuple[int, int]) -> Agents:
            own = slice(span[0] - first, sum(span) - first)
            kept = tuple(Attribute(a.name, a.kind, a.levels, a.cells[own]) for a in profile)
            return Agents(ids[own], kept, answers[own])

        return [part(span) for span in stretch]

    turns = zip(cycle(draws), _stretches(draws, spans), strict=False)
    yield from chain.from_iterable(ahead(block, turns, in_flight(draws)))


def in_flight(draws: Sequence[Drawer]) -> int:
    """Blocks that are worked on at once: what the host's cores, or each device's memory, take."""
    if draws and isinstance(draws[0], GroupedDrawer):
        return 2 * len(draws)
    return max(cores(), len(draws))


def _stretches(
    draws: Sequence[Drawer], spans: Iterable[tuple[int, int]]
) -> Iterator[list[tuple[int, int]]]:
    """Blocks, as lists of spans, that are drawn at once: accelerators draw many spans together."""
    most = draws[0].sizes[-1] if draws and isinstance(draws[0], GroupedDrawer) else 0
    stretch: list[tuple[int, int]] = []
    for span in spans:
        if stretch and not stretch[0][0] <= span[0] <= sum(span) <= stretch[0][0] + most:
            yield stretch
            stretch = []
        stretch.append(span)
    if stretch:
        yield stretch


def whole_numbers(agents: int, seed: int, key: str = "population.agents") -> tuple[int, int]:
    """A number of agents and a seed as Python's own: numpy's may be too small to count with, and
    are not written to files.

    Args:
      key: where the number of agents stands.
    Raises:
      CrowdError: there cannot be so many agents, or the seed is out of range.
    """
    whole = isinstance(agents, Real) and not isinstance(agents, bool)
    if not whole or not 1 <= agents <= 2**62 or int(agents) != agents:
        raise CrowdError(f"{key}: {agents} is not a number of agents from 1 to 2**62")
    check_seed(seed, "population.seed")
    return int(agents), int(seed)


def check_scales(
    task_ids: tuple[str, ...], by_name: dict[str, Scale], task_scale: np.ndarray
) -> None:
    """Raise CrowdError if the published model cannot answer on a scale."""
    for index, (name, scale) in enumerate(by_name.items()):
        tasks = np.flatnonzero(task_scale == index)
        if not scales.is_ordered(scale) and len(tasks):
            raise CrowdError(
                f"study.scales.{name}: task '{task_ids[tasks[0]]}' has a nominal scale, which the "
                "published model cannot answer (its decision is one score on an ordered scale); "
                "ask each level as a binary task"
            )
