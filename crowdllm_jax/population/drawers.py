"""How a block of a crowd's agents is drawn on a device: one drawer per kind of model.

A drawer recruits the agents and draws what they answer. How decisions are drawn is the business of
`model/cvae/draw.py` and, with one belief per agent, of `model/persistent/draw.py`; accelerators
draw agents of one profile together, see `population/grouped.py`.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import jax
import numpy as np

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
from crowdllm_jax.population.grouped import (
    Drawn,
    GroupedDrawer,
    WithBeliefs,
    block_sizes,
    packs,
    recruitment_of,
)
from crowdllm_jax.profiles.generator import distinct, profiles_of, recruit, recruit_rows
from crowdllm_jax.runtime.randomness import key_of, seed_halves, split_ids
from crowdllm_jax.study.coding import encode
from crowdllm_jax.study.condition import TaskAnswers
from crowdllm_jax.study.records import Attribute
from crowdllm_jax.study.routing import routes_of, silenced, who_is_asked

TABLE = 1 << 25
"""Numbers in a table over all real profiles; above it each block makes a table of its own."""

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
        drawn(profiles=len(coded)),
        fitted(table),
        recruits,
        profiles,
        len(first),
        sizes,
        reorders=device.platform == "gpu",
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
