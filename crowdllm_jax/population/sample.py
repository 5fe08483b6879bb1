"""Sample populations: recruit agents, draw their decisions, a block of agents at a time.

An agent's profile and answers depend on the crowd, the seed and the agent's id, and on nothing
else. How decisions are drawn is the business of `model/cvae/draw.py` and, with one belief per
agent, of `model/persistent/draw.py`; accelerators draw agents of one profile together, see
`population/grouped.py`.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, cycle
from typing import TYPE_CHECKING, Any, TypeVar

import jax
import numpy as np
import pyarrow as pa

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.cvae.draw import (
    Table,
    cut_table,
    draw_folded,
    draw_plain,
    make_table,
    score_layout_of,
)
from crowdllm_jax.model.levels import to_host
from crowdllm_jax.model.persistent.asked import one_task
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.model.persistent.design import Design, profile_matrix
from crowdllm_jax.model.persistent.draw import (
    ProfileTable,
    Recruited,
    draw_agents,
    draw_answers,
    draw_beliefs,
    ready_profiles,
    ready_to_draw,
)
from crowdllm_jax.model.response import level_dtype
from crowdllm_jax.population.frames import SHOWN, agents_table, html_of, numbers_on, to_arviz
from crowdllm_jax.population.grouped import (
    Drawn,
    GroupedDrawer,
    WithBeliefs,
    block_sizes,
    packs,
    recruitment_of,
)
from crowdllm_jax.profiles.generator import distinct, profiles_of, recruit, recruit_rows
from crowdllm_jax.profiles.where import whom
from crowdllm_jax.runtime.prefetch import ahead, cores
from crowdllm_jax.runtime.randomness import key_of, seed_halves, split_ids
from crowdllm_jax.study import scales
from crowdllm_jax.study.coding import encode
from crowdllm_jax.study.condition import TaskAnswers
from crowdllm_jax.study.records import Attribute
from crowdllm_jax.study.routing import routes_of, silenced, who_is_asked
from crowdllm_jax.study.scales import Scale

if TYPE_CHECKING:
    import pandas
    import polars
    import xarray

BLOCK = 8192
"""Agents drawn at once; the last block is filled up, so that one compiled program serves all."""

TABLE = 1 << 25
"""Numbers in a table over all real profiles; above it each block makes a table of its own."""


@dataclass(frozen=True)
class Agents:
    """A population in memory, or a block of one: N agents and their answers to T tasks.

    Attributes:
      ids: (N,) int64. profile: attributes with N cells.
      answers: (N, T) levels of discrete tasks (values of continuous ones), smallest type that fits;
        -1 (NaN) where an agent was not asked.
      tasks: id and scale of each task; empty of blocks, which whoever draws them knows.

    Examples:
      >>> agents
      Agents(1,000 agents, 6 tasks; profile: age, education, income, log_place_size)
      >>> agents.answers.shape, agents.profile[0].name
      ((1000, 6), 'age')
    """

    ids: np.ndarray
    profile: tuple[Attribute, ...]
    answers: np.ndarray
    tasks: tuple[tuple[str, Scale], ...] = ()

    def to_arrow(self) -> pa.Table:
        """A row per agent: agent_id, the profile, and a column per task with the answers as the
        study writes them (numbers, codes or words).

        Examples:
          >>> agents.to_arrow().num_rows
          1000
        """
        return agents_table(self.ids, self.profile, self.tasks, self.answers)

    def to_pandas(self) -> "pandas.DataFrame":
        """The same as a data frame of pandas.

        Examples:
          >>> frame = agents.to_pandas()
          >>> list(frame.columns[:3]), len(frame)
          (['agent_id', 'age', 'education'], 1000)
        """
        return self.to_arrow().to_pandas()

    def to_polars(self) -> "polars.DataFrame":
        """The same as a data frame of polars.

        Raises:
          CrowdError: polars is not installed.

        Examples:
          >>> agents.to_polars().height
          1000
        """
        try:
            import polars
        except ImportError as error:
            raise CrowdError("to_polars: polars is not installed: pip install polars") from error
        return polars.from_arrow(self.to_arrow())

    @property
    def numbers(self) -> np.ndarray:
        """(N, T) float64: the number that each answer counts as, in its scale's units (of a nominal
        scale, the place of the level); NaN where an agent was not asked.

        Examples:
          >>> agents.numbers.mean(0).shape
          (6,)
        """
        return numbers_on(self.tasks, self.answers)

    def to_arviz(self) -> "xarray.DataTree":
        """`numbers` as draws for ArviZ: `posterior_predictive.answer` of dimensions chain (1), draw
        (N, the agents) and task (T).

        Raises:
          CrowdError: ArviZ is not installed.

        Examples:
          >>> agents.to_arviz().posterior_predictive["answer"].sizes["draw"]
          1000
        """
        return to_arviz(self.numbers[None], ["task"], {"task": [task for task, _ in self.tasks]})

    def __repr__(self) -> str:
        n, t = self.answers.shape
        known = ", ".join(attribute.name for attribute in self.profile) or "nothing"
        return f"Agents({n:,} agents, {t:,} tasks; profile: {known})"

    def _repr_html_(self) -> str | None:
        if not self.tasks:
            return None
        shown = replace(self, answers=self.answers[:, :SHOWN], tasks=self.tasks[:SHOWN])
        return html_of(shown.to_arrow(), repr(self))


def sample(
    crowd: Crowd, agents: int, seed: int = 0, *, start: int = 0, where: str | None = None
) -> Agents:
    """Draw a population into memory: agents `start` to `start + agents - 1`.

    An agent depends on the crowd, the seed and its id alone: the first ten of a thousand are the
    ten alone.

    Args:
      agents: N, how many. seed: of their answers.
      where: a condition on profiles, such as "age >= 60 and gender == 'woman'", under which agents
        are recruited; N of them fulfil it.
    Returns:
      N agents, their profiles and (N, T) answers.
    Raises:
      CrowdError: the number of agents or the seed is out of range, or nobody is as `where` says.

    Examples:
      >>> cl.sample(crowd, agents=100, seed=1).answers.shape
      (100, 6)
      >>> old = cl.sample(crowd, agents=100, seed=1, where="age >= 60")
      >>> bool(old.to_pandas().age.min() >= 60)
      True
    """
    crowd = replace(crowd, generator=whom(crowd.generator, where))
    check_numbers(agents, seed)
    blocks = list(sample_blocks(crowd, int(agents), seed, start=start))
    profile = tuple(
        Attribute(a.name, a.kind, a.levels, np.concatenate([b.profile[i].cells for b in blocks]))
        for i, a in enumerate(crowd.generator.attributes)
    )
    return Agents(
        np.concatenate([b.ids for b in blocks]),
        profile,
        np.concatenate([b.answers for b in blocks]),
        tuple(zip(crowd.task_ids, crowd.task_scales, strict=True)),
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
    draws: Sequence["Drawer"], tasks: int, seed: int, spans: Iterable[tuple[int, int]]
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


def in_flight(draws: Sequence["Drawer"]) -> int:
    """Blocks that are worked on at once: what the host's cores, or each device's memory, take."""
    if draws and isinstance(draws[0], GroupedDrawer):
        return 2 * len(draws)
    return max(cores(), len(draws))


def _stretches(
    draws: Sequence["Drawer"], spans: Iterable[tuple[int, int]]
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


def check_numbers(agents: int, seed: int) -> None:
    """Raise CrowdError if there cannot be so many agents, or a seed is out of range."""
    if int(agents) != agents or not 1 <= agents <= 2**62:
        raise CrowdError(f"population.agents: {agents} is not a number of agents from 1 to 2**62")
    if not 0 <= seed < 2**63:
        raise CrowdError(f"population.seed: {seed} is not from 0 to 2**63 - 1")


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


Drawer = Callable[[int, np.ndarray], tuple[tuple[Attribute, ...], jax.Array | np.ndarray]]
"""draw(seed, ids): the profiles of a block of agents, and their answers (see `to_host`)."""


def drawers(crowd: Crowd) -> list[Drawer]:
    """Make ready to draw blocks of agents of a crowd: one for each device of this process.

    A block is drawn by one device through the same program wherever it is, so that the answers do
    not depend on how many devices there are.
    """
    return [_drawer(crowd, device) for device in jax.local_devices()]


def _drawer(crowd: Crowd, device: jax.Device) -> Drawer:
    if crowd.ask_if:
        return _routed(crowd, device)
    match crowd.config:
        case PersistentConfig():
            return (_asked if crowd.asked else _persistent)(crowd, device)
        case CvaeConfig() as cvae:
            return (_semi_implicit if cvae.semi_implicit else _folded)(crowd, device)


def _routed(crowd: Crowd, device: jax.Device) -> Drawer:
    """Draws a block of agents of whom some skip some tasks: what each would answer, were it asked,
    less the answers to what it is not asked (-1, or NaN)."""
    everything = _drawer(replace(crowd, ask_if={}), device)
    names = [attribute.name for attribute in crowd.generator.attributes]
    task_scales = crowd.task_scales
    routes = routes_of(crowd.ask_if, crowd.task_ids, task_scales, names)

    def draw(seed: int, ids: np.ndarray) -> tuple[tuple[Attribute, ...], np.ndarray]:
        profile, drawn = everything(seed, ids)
        answers = np.array(to_host(drawn, len(crowd.task_ids)))

        def column(task: int) -> TaskAnswers:
            return TaskAnswers(crowd.task_ids[task], task_scales[task], answers[:, task])

        for task, asked in who_is_asked(routes, profile, len(answers), column).items():
            answers[:, task] = silenced(answers[:, task], asked, task_scales[task])
        return profile, answers

    return draw


def in_groups(device: jax.Device) -> bool:
    """Whether a device draws agents of one profile together: a CPU looks profiles up for nothing,
    and is slowed down by empty places."""
    return device.platform != "cpu"


T = TypeVar("T")
Recruits = Callable[[int, np.ndarray], tuple[tuple[Attribute, ...], T, np.ndarray]]
"""recruits(seed, ids): the agents' profiles, a table of distinct ones, and each agent's row."""


def _in_groups(
    crowd: Crowd,
    device: jax.Device,
    make: Callable[[np.ndarray], T],
    drawn: Callable[..., Drawn],
    fitted: Callable[[T], Any],
) -> GroupedDrawer | None:
    """Draws agents with real people's profiles in groups, if there are few enough of these.

    Args:
      make: makes the table of coded profiles (P, C). drawn: takes P. fitted: takes the table.
    """
    people, tasks = crowd.generator, len(crowd.task_ids)
    if not people.real_only:
        return None
    first, kind = distinct(people.attributes, len(people.weight))
    profiles = tuple(Attribute(a.name, a.kind, a.levels, a.cells[first]) for a in people.attributes)
    coded = _coded(crowd, profiles, len(first))
    sizes = block_sizes(device, len(coded), tasks)
    if not sizes:
        return None
    recruits = jax.device_put(recruitment_of(people, kind), device)
    table = jax.device_put(make(coded), device)
    return GroupedDrawer(
        drawn(profiles=len(coded)), fitted(table), recruits, profiles, len(first), sizes
    )


def _coded(crowd: Crowd, profiles: tuple[Attribute, ...], n: int) -> np.ndarray:
    """Coded profiles (P, C), those beyond the first n empty: few sizes, so that few programs are
    compiled, and at most a quarter more than needed."""
    c = profile_matrix(crowd.codings, profiles, n)
    step = 1 << max(6, (n - 1).bit_length() - 3)
    return np.concatenate([c, np.zeros((-n % step, c.shape[1]), np.float32)])


def _recruiter(crowd: Crowd, per_profile: int, make: Callable[[np.ndarray], T]) -> Recruits[T]:
    """Recruits agents as rows of a table over distinct profiles.

    Where only real people's profiles occur, one table serves all blocks, unless it is too large.

    Args:
      per_profile: numbers in a row. make: makes the table of coded profiles (P, C).
    """
    people = crowd.generator

    def table(profile: tuple[Attribute, ...], rows: np.ndarray) -> T:
        distinct_ones = tuple(Attribute(a.name, a.kind, a.levels, a.cells[rows]) for a in profile)
        return make(_coded(crowd, distinct_ones, len(rows)))

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


def _folded(crowd: Crowd, device: jax.Device) -> Drawer:
    """Draws a block of agents of the plain model through a table over their distinct profiles."""
    layout = score_layout_of(crowd)
    cut = cut_table(crowd, layout)
    params, x, reference = jax.device_put((crowd.params, *crowd.inputs), device)

    def make(c: np.ndarray) -> Table:
        c = c[:, : sum(len(coding.columns) for coding in crowd.codings)]
        table: Table = make_table(crowd.graph, crowd.config, layout, params, x, c, reference, cut)
        return table

    if in_groups(device) and packs(layout, len(cut)):
        how = partial(Drawn, layout, len(cut), tasks=layout.tasks)
        if grouped := _in_groups(crowd, device, make, how, lambda table: table):
            return grouped
    recruits = _recruiter(crowd, layout.tasks * max(1, len(cut)), make)

    def draw(seed: int, ids: np.ndarray) -> tuple[tuple[Attribute, ...], jax.Array]:
        profile, table, row = recruits(seed, ids)
        return profile, draw_folded(layout, len(cut), seed_halves(seed), split_ids(ids), table, row)

    return draw


def _persistent(crowd: Crowd, device: jax.Device) -> Drawer:
    """Draws a block of agents of the persistent model: one belief each, then their decisions."""
    assert isinstance(crowd.inputs, Design)
    design = crowd.inputs
    fitted = jax.device_put(
        ready_to_draw(crowd.graph, crowd.params, design, witnessed=False), device
    )

    def make(c: np.ndarray) -> ProfileTable:
        c = (c - design.centre).astype(np.float32)
        table: ProfileTable = ready_profiles(design.layout, fitted.items, c)
        return table

    if in_groups(device) and packs(design.layout, design.layout.levels - 1):
        how = partial(Drawn, design.layout, 0, tasks=len(crowd.task_ids))
        if grouped := _in_groups(crowd, device, make, how, partial(WithBeliefs, fitted)):
            return grouped
    recruits = _recruiter(crowd, len(crowd.task_ids), make)

    def draw(seed: int, ids: np.ndarray) -> tuple[tuple[Attribute, ...], jax.Array]:
        profile, table, row = recruits(seed, ids)
        agents = Recruited(table, row, seed_halves(seed), split_ids(ids))
        return profile, draw_agents(design.layout, fitted, agents)

    return draw


def _asked(crowd: Crowd, device: jax.Device) -> Drawer:
    """Draws a block of agents who are asked something new: each with the belief it has, each task
    by itself from draws of its own."""
    assert isinstance(crowd.inputs, Design)
    centre, dtype = crowd.inputs.centre, level_dtype(crowd.task_scales)
    parts = []
    for task in range(len(crowd.task_ids)):
        design, params = one_task(crowd, task)
        ready = ready_to_draw(crowd.graph, params, design)
        parts.append((design.layout, jax.device_put(ready, device)))

    def make(c: np.ndarray) -> list[ProfileTable]:
        c = (c - centre).astype(np.float32)
        return [ready_profiles(layout, ready.items, c) for layout, ready in parts]

    recruits = _recruiter(crowd, len(parts), make)

    def draw(seed: int, ids: np.ndarray) -> tuple[tuple[Attribute, ...], np.ndarray]:
        profile, tables, row = recruits(seed, ids)
        halves = split_ids(ids)
        belief = parts[0][1]
        standing = draw_beliefs(belief.graph, belief.params, seed_halves(seed), halves)
        answers = np.empty((len(ids), len(parts)), dtype)
        for task, ((layout, ready), table) in enumerate(zip(parts, tables, strict=True)):
            own = seed_halves(key_of(f"{seed} {crowd.task_ids[task]}"))
            drawn = draw_answers(layout, ready.tables, Recruited(table, row, own, halves), standing)
            answers[:, task] = to_host(drawn, 1)[:, 0]
        return profile, answers

    return draw


def _semi_implicit(crowd: Crowd, device: jax.Device) -> Drawer:
    """Draws a block of agents by running the network for every decision, a few agents at a time."""
    layout = score_layout_of(crowd)
    params, x, reference = jax.device_put((crowd.params, *crowd.inputs), device)

    def draw(seed: int, ids: np.ndarray) -> tuple[tuple[Attribute, ...], np.ndarray]:
        profile = recruit(crowd.generator, seed, ids)
        c = encode(crowd.codings, profile) if profile else np.zeros((len(ids), 0), np.float32)
        return profile, np.concatenate(
            [
                np.asarray(
                    draw_plain(
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
