"""The programs in which accelerators spend their time, at the sizes that benchmarks have.

Each can be lowered for a platform that is not here: `HotProgram.trace(mesh)`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from crowds import make_crowd
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from crowdllm_jax.backbone.architecture import read_architecture
from crowdllm_jax.backbone.decoder import PARTITION, Decoder, Prefix
from crowdllm_jax.backbone.scoring import TokenRows, run_prefix, run_rows
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.cvae import draw as cvae_draw
from crowdllm_jax.model.cvae import epoch
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.cvae.fit import Data, Run, TrainConfig, begin
from crowdllm_jax.model.persistent import draw as persistent_draw
from crowdllm_jax.model.persistent import fit as persistent_fit
from crowdllm_jax.model.persistent.answers import AnswerTable
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.model.persistent.draw import Recruited
from crowdllm_jax.population import drawers, grouped, sample
from crowdllm_jax.runtime.randomness import seed_halves, split_ids

LLAMA_8B = {
    "model_type": "llama",
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "num_hidden_layers": 32,
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 8192,
    "rope_theta": 5e5,
}
LLAMA_70B = LLAMA_8B | {
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_attention_heads": 64,
    "num_hidden_layers": 80,
}


class Sizes(NamedTuple):
    """T tasks, distinct profiles, agents in a block, hidden units and dimensions of the belief;
    of the language models: layers (0 for all), rows of questions per share of the data, devices
    (data, model) that share the small and the large one."""

    tasks: int = 300
    profiles: int = 262
    agents: int = 1 << 19
    hidden: int = 400
    latent: int = 32
    layers: int = 0
    rows: int = 32
    devices: tuple[int, int] = (1, 4)
    many_devices: tuple[int, int] = (4, 8)


AGENTS = np.arange(sample.BLOCK)
ROWS = np.zeros(sample.BLOCK, np.int32)
"""Those who are drawn one by one, and their profiles."""

SMALL = Sizes(40, 20, 1 << 14, 32, 4, 2, 4, (1, 2), (2, 1))
"""Sizes that compile in seconds, for tests: the programs are the same."""


@dataclass(frozen=True)
class HotProgram:
    """A compiled function and what it is called with.

    Attributes:
      unit: what it makes, number: how many of them. devices: over which it is spread, the axes
        data and model of its mesh; None for one device.
      static: its first arguments, by the mesh. given: all others, by the mesh; shapes only.
      gathers: whether it looks rows up by nature (a training step takes the rows of its batch).
    """

    name: str
    function: Any
    unit: str
    number: int
    static: Callable[[Mesh], tuple[Any, ...]]
    given: Callable[[Mesh], tuple[Any, ...]]
    devices: tuple[int, int] | None = None
    gathers: bool = False

    def trace(self, mesh: Mesh) -> Any:
        """Its traced form, with the arguments laid out over a mesh; to be lowered, compiled."""
        return self.function.trace(*self.static(mesh), *self.given(mesh))


def abstract(tree: Any, mesh: Mesh, spec: PartitionSpec | None = None) -> Any:
    """The shapes of a tree's arrays, laid out over a mesh: on every device alike, if not said."""
    sharding = NamedSharding(mesh, spec or PartitionSpec())

    def one(leaf: Any) -> jax.ShapeDtypeStruct:
        leaf = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
        return jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype, sharding=sharding)

    return jax.tree.map(one, tree)


def alike(
    name: str, function: Any, unit: str, number: int, static: tuple, given: tuple, **more: Any
) -> HotProgram:
    """A hot program of one device."""
    return HotProgram(
        name, function, unit, number, lambda _: static, lambda mesh: abstract(given, mesh), **more
    )


def samplers(sizes: Sizes) -> list[HotProgram]:
    """Sampling: in groups, as accelerators do it, and one by one, for crowds without groups."""
    made = []
    for name, config in (
        ("cvae", CvaeConfig(hidden=sizes.hidden, latent=sizes.latent)),
        ("persistent", PersistentConfig()),
    ):
        crowd = make_crowd(config, tasks=sizes.tasks, profiles=sizes.profiles)
        draw = _grouped_drawer(crowd)
        made += _in_groups(name, draw, sizes)
        made += (_cvae_one_by_one if name == "cvae" else _persistent_one_by_one)(crowd, draw)
    return made


def _in_groups(name: str, draw: grouped.GroupedDrawer, sizes: Sizes) -> list[HotProgram]:
    decisions = sizes.agents * sizes.tasks
    fitted = (draw.fitted, draw.recruits, seed_halves(0), split_ids(np.array(5)))
    counted = (*fitted, np.int32(sizes.agents), np.zeros(draw.drawn.profiles, np.int32))
    statics = (draw.drawn, sizes.agents)
    made = [alike(f"{name}: draw", grouped.draw_block, "decision", decisions, statics, fitted)]
    for groups, label in ((1, "1 group"), (10, "10 groups")):
        shape = (*statics, (groups, 5))
        label = f"{name}: draw and count, {label}"
        made.append(alike(label, grouped.count_block, "decision", decisions, shape, counted))
    return made


def _cvae_one_by_one(crowd: Crowd, draw: grouped.GroupedDrawer) -> list[HotProgram]:
    layout, c = draw.drawn.layout, np.zeros((draw.drawn.profiles, 31), np.float32)
    cut = cvae_draw.cut_table(crowd, layout)
    tabled = (crowd.params, crowd.inputs.x, c, crowd.inputs.reference, cut)
    statics = (crowd.graph, crowd.config, layout)
    drawn = (seed_halves(0), split_ids(AGENTS), draw.fitted, ROWS)
    cells, decisions = len(c) * layout.tasks, len(AGENTS) * layout.tasks
    return [
        # Made once per crowd: which tasks have levels is looked up, for each of its cells.
        alike("cvae: table", cvae_draw.make_table, "cell", cells, statics, tabled, gathers=True),
        alike(
            "cvae: one by one",
            cvae_draw.draw_folded,
            "decision",
            decisions,
            (layout, len(cut)),
            drawn,
            gathers=True,
        ),
    ]


def _persistent_one_by_one(crowd: Crowd, draw: grouped.GroupedDrawer) -> list[HotProgram]:
    ready, profiles = draw.fitted
    seed, ids = seed_halves(0), split_ids(AGENTS)
    beliefs = partial(persistent_draw._beliefs, ready.graph)
    standing = jax.eval_shape(beliefs, ready.params, seed, ids)
    drawn = (ready.tables, Recruited(profiles, ROWS, seed, ids), standing)
    decisions = len(AGENTS) * len(crowd.task_ids)
    return [
        alike(
            "persistent: one by one",
            persistent_draw.draw_answers,
            "decision",
            decisions,
            (draw.drawn.layout,),
            drawn,
            gathers=True,
        )
    ]


def _grouped_drawer(crowd: Crowd) -> grouped.GroupedDrawer:
    usual = drawers.in_groups
    drawers.in_groups = lambda _: True
    try:
        drawer = drawers.drawers(crowd)[0]
    finally:
        drawers.in_groups = usual
    assert isinstance(drawer, grouped.GroupedDrawer)
    return drawer


def trainings(sizes: Sizes) -> list[HotProgram]:
    """A step of each model's fit (the published one: of an epoch, on every device one run)."""
    random = np.random.default_rng(0)
    people, answers, batch = sizes.profiles, 128 * 64, 64
    x = random.normal(size=(sizes.tasks, 384)).astype(np.float32)
    c = random.normal(size=(people, 31)).astype(np.float32)
    reference = random.uniform(size=sizes.tasks).astype(np.float32)

    def data(n: int) -> Data:
        person, task = random.integers(0, people, n), random.integers(0, sizes.tasks, n)
        value = random.uniform(size=n).astype(np.float32)
        return Data(x, c, reference, person.astype(np.int32), task.astype(np.int32), value)

    model = CvaeConfig(hidden=sizes.hidden, latent=sizes.latent)
    run = Run(data(answers), data(1024), model, TrainConfig(batch_size=batch), 0)
    program, _, state, tables, inputs = begin([run])

    order = np.zeros(inputs.train.answer.shape, np.int32)
    number = np.int32(0)

    def laid_out(mesh: Mesh) -> tuple[Any, ...]:
        runs = PartitionSpec("runs")
        piece = epoch.Piece(number, order, number)
        return (
            abstract(state, mesh, runs),
            abstract(tables, mesh),
            abstract(inputs, mesh, runs),
            abstract(piece, mesh)._replace(order=abstract(order, mesh, runs)),
        )

    def over(mesh: Mesh) -> tuple[Any, ...]:
        return program, mesh

    published = HotProgram(
        "cvae: training step", epoch.advance, "step", 1, over, laid_out, gathers=True
    )
    static, *given = _persistent_step(sizes)
    fit = alike(
        "persistent: training step",
        persistent_fit._steps,
        "step",
        1,
        (static,),
        tuple(given),
        gathers=True,
    )
    return [published, fit]


def _persistent_step(sizes: Sizes) -> tuple[Any, ...]:
    """What a fit calls its compiled steps with, caught in the act."""
    config = PersistentConfig()
    crowd = make_crowd(config, tasks=sizes.tasks, profiles=sizes.profiles)
    random, people, each = np.random.default_rng(0), 256, 40
    rows = people * each // 8
    shape = (rows, 8)
    answers = AnswerTable(
        random.integers(0, sizes.tasks, shape).astype(np.int32),
        random.integers(0, 5, shape).astype(np.int32),
        np.zeros(shape, np.float32),
        np.ones(shape, np.float32),
        np.repeat(np.arange(people), each // 8).astype(np.int32),
        (),
        np.zeros((people, crowd.inputs.centre.shape[0]), np.float32),
        np.ones(people, np.float32),
    )

    class CaughtError(Exception):
        pass

    def catch(*arguments: Any) -> None:
        raise CaughtError(arguments)

    usual = persistent_fit._steps
    persistent_fit._steps = catch
    try:
        persistent_fit.fit_marginal(crowd.inputs, answers, config, 0)
    except CaughtError as caught:
        return caught.args[0]
    finally:
        persistent_fit._steps = usual
    raise AssertionError("the fit took no step")


def backbones(
    sizes: Sizes, name: str, config: dict[str, Any], devices: tuple[int, int]
) -> list[HotProgram]:
    """Scoring: the shared prefix, and rows of questions, with weights over a mesh (data, model)."""
    config = config | ({"num_hidden_layers": sizes.layers} if sizes.layers else {})
    graph, weights = nnx.split(
        nnx.eval_shape(partial(Decoder, read_architecture(config), jnp.bfloat16))
    )
    B, S, P, R, M, K = sizes.rows * devices[0], 256, 256, 16, 16, 5

    def spread(mesh: Mesh) -> Any:
        filled = []
        for path, leaf in nnx.to_flat_state(weights):
            value = leaf.get_value()
            axes = PARTITION.get(path[-1], PartitionSpec())
            kept = [
                axis if axis is None or size % mesh.shape[axis] == 0 else None
                for axis, size in zip(axes, value.shape, strict=False)
            ]
            sharding = NamedSharding(mesh, PartitionSpec(*kept))
            shape = jax.ShapeDtypeStruct(value.shape, value.dtype, sharding=sharding)
            filled.append((path, leaf.replace(shape)))
        return nnx.from_flat_state(filled)

    first = (np.zeros(P, np.int32), np.int32(P))
    numbers = np.zeros((B, S), np.int32)
    rows = TokenRows(
        numbers,
        numbers,
        numbers,
        np.zeros((B, S), np.float32),
        np.zeros((B, P), np.float32),
        np.zeros((B, R), np.int32),
        np.zeros((B, M), np.int32),
        np.zeros((B, M), np.int32),
        np.zeros((B, M, K), np.float32),
    )

    def of_rows(mesh: Mesh) -> tuple[Any, ...]:
        spread_weights = spread(mesh)
        hidden, prefix = jax.eval_shape(lambda w, *a: run_prefix(graph, w, *a), weights, *first)
        heads = abstract((prefix.k, prefix.v), mesh, PartitionSpec(None, None, "model"))
        by_head = Prefix(*heads, abstract(prefix.used, mesh))
        laid = abstract(rows, mesh, PartitionSpec("data"))
        return spread_weights, laid, (abstract(hidden, mesh), by_head)

    def of_prefix(mesh: Mesh) -> tuple[Any, ...]:
        return spread(mesh), *abstract(first, mesh)

    common = {"devices": devices, "gathers": True}
    return [
        HotProgram(
            f"{name}: prefix", run_prefix, "token", P, lambda _: (graph,), of_prefix, **common
        ),
        HotProgram(
            f"{name}: rows", run_rows, "token", B * S, lambda _: (graph,), of_rows, **common
        ),
    ]


def mesh_of(program: HotProgram, devices: Any) -> Mesh:
    """A mesh over the first devices of a topology."""
    auto = jax.sharding.AxisType.Auto
    if program.devices is None:
        return Mesh(np.array(devices[:1]), ("runs",), axis_types=(auto,))
    chosen = np.array(devices[: math.prod(program.devices)]).reshape(program.devices)
    return Mesh(chosen, ("data", "model"), axis_types=(auto, auto))


def hot_programs(sizes: Sizes, parts: str = "sample train backbone many") -> list[HotProgram]:
    """All of them."""
    made = {
        "sample": samplers,
        "train": trainings,
        "backbone": partial(backbones, name="8B", config=LLAMA_8B, devices=sizes.devices),
        "many": partial(backbones, name="70B", config=LLAMA_70B, devices=sizes.many_devices),
    }
    return [program for part in parts.split() for program in made[part](sizes)]
