"""Fit the published model: one run, or many in one program.

Every epoch's order and noise come from the run's (seed, epoch), and a saved state says how far into
an epoch it is, so a run that is stopped and resumed ends in exactly the weights of a run that was
not. `epoch.py` is what happens on the device; here is what surrounds it.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
from flax import nnx
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.cvae.epoch import (
    ROWS,
    Piece,
    PieceInfo,
    Program,
    ResponseRows,
    RunInputs,
    Tables,
    TrainState,
    advance,
    ended,
    graph_of,
    order_of,
    start,
)
from crowdllm_jax.model.cvae.loss import LossNumbers, loss_numbers
from crowdllm_jax.runtime import processes
from crowdllm_jax.runtime.checkpoints import Checkpoints
from crowdllm_jax.runtime.pieces import in_pieces
from crowdllm_jax.runtime.shares import check_shares, stretches

Positive = Annotated[int, msgspec.Meta(ge=1)]
Rate = Annotated[float, msgspec.Meta(gt=0, le=1000)]


class TrainConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Training.

    Attributes:
      epochs: passes over the training responses, at most.
      patience: stop after so many epochs without a lower validation loss.
      learning_rate, blender_learning_rate: Adam's, for the belief generator and the blender.
      devices: how many share the responses of a batch; of several processes, all that they have.
        A large batch is what makes this worth while.
      shares: into how many equal shares a batch is cut. With more than 1, the fit is the same bit
        for bit on any number of devices, from 2, that divides it.
    """

    epochs: Positive = 40
    batch_size: Positive = 64
    learning_rate: Rate = 1e-3
    blender_learning_rate: Rate = 1e-3
    patience: Positive = 10
    devices: Positive = 1
    shares: Positive = 1


class Data(NamedTuple):
    """Responses as arrays: (R,) person, task, answer in [0, 1] over (H, C), (T, F), (T,) tables;
    weight: (R,) survey weights above 0, None where all count alike."""

    x: np.ndarray
    c: np.ndarray
    reference: np.ndarray
    person: np.ndarray
    task: np.ndarray
    answer: np.ndarray
    weight: np.ndarray | None = None


class Run(NamedTuple):
    """One training; its validation responses are to the tasks and people of its training tables."""

    train: Data
    validation: Data
    model: CvaeConfig
    config: TrainConfig
    seed: int


class Losses(msgspec.Struct, frozen=True):
    """What a model's training minimised.

    Attributes:
      unit: "epoch" or "step". terms: names of the columns. best: the unit that was kept.
      train, validation: (units, terms); validation is empty where the model uses none.
    """

    unit: str
    terms: tuple[str, ...]
    best: int
    train: list[list[float | None]]
    validation: list[list[float | None]]


class Fitted(NamedTuple):
    """Fitted weights (the best epoch's), that epoch, and the losses of every epoch run."""

    graph: nnx.GraphDef[Any]
    params: nnx.State[Any, Any]
    best_epoch: int
    history: np.ndarray


def fit(
    train: Data,
    validation: Data,
    model_config: CvaeConfig,
    config: TrainConfig,
    seed: int,
    *,
    checkpoints: Checkpoints | None = None,
    on_epoch: Callable[[int, np.ndarray], None] | None = None,
) -> Fitted:
    """Train to the best validation loss (to the last epoch where there is no validation part).

    Args:
      checkpoints: where to save the state after each epoch (once a minute within a long one, and
        where it is interrupted), and to resume from.
      on_epoch: called after each epoch with its number (from 1) and its (2, 4) losses.
    Raises:
      CrowdError: the loss is not finite.
      KeyboardInterrupt: it was asked to stop, in this process or another, and the state is saved.
    """
    run = Run(train, validation, model_config, config, seed)
    tell = None if on_epoch is None else lambda epoch, losses: on_epoch(epoch, losses[0])
    return fit_many([run], checkpoints=checkpoints, on_epoch=tell)[0]


def fit_many(
    runs: Sequence[Run],
    *,
    checkpoints: Checkpoints | None = None,
    on_epoch: Callable[[int, np.ndarray], None] | None = None,
) -> list[Fitted]:
    """Train B runs in one program, each to what `fit` makes of it up to float rounding.

    Runs may differ in data, seed, and every number of the configuration that is not a shape (the
    sizes of the network, the batch size). They are split over all local devices in blocks as
    listed, so list long ones among short ones; a CPU is one device for each core that
    `jax.config.update("jax_num_cpu_devices", n)` gives to JAX before it starts. With
    `TrainConfig.devices` (the first run's) above 1, so many devices share every batch instead.

    Args:
      checkpoints: where to save the state of all runs (see `fit`), and to resume from.
      on_epoch: called with the number of epochs and (B, 2, 4) losses, NaN for runs that have ended.
    Raises:
      CrowdError: a loss is not finite, or a batch cannot be shared as asked.
      ValueError: the runs differ in shapes.
    """
    program, mesh, state, tables, inputs = begin(runs)
    if checkpoints is not None:
        state = _latest(checkpoints, state, runs)
    number = checkpoints.newest() if checkpoints is not None else 0
    done = np.asarray(ended(state, inputs))
    with in_pieces() as pieces:
        while not done.all():
            epoch = np.int32(np.asarray(state.epoch)[~done].min())
            active, over = np.flatnonzero(~done), False
            order = order_of(mesh, epoch, inputs)
            while not over:
                piece = Piece(jnp.int32(epoch), order, jnp.int32(pieces.size))
                state, info = advance(program, mesh, state, tables, inputs, piece)
                info = jax.device_get(info)
                done, over = info.ended, info.over.all()
                if over:
                    _check_losses(info, active, int(epoch) + 1, len(runs))
                stop, late = pieces.after(int(info.done.sum()))
                if checkpoints is not None and (over or stop or late):
                    number += 1
                    checkpoints.save(number, _kept(state, runs))
                if stop:
                    raise KeyboardInterrupt
            if on_epoch is not None:
                pieces.tell(on_epoch, int(epoch) + 1, info.losses[: len(runs)])
    graph = graph_of(program)
    state = jax.device_get(_kept(state, runs))
    return [
        Fitted(
            graph,
            jax.tree.map(lambda leaf, run=run: leaf[run], state.best_params),
            int(state.best_epoch[run]),
            state.history[run, : state.epoch[run]],
        )
        for run in range(len(runs))
    ]


def _check_losses(info: PieceInfo, active: np.ndarray, epoch: int, runs: int) -> None:
    """Make sure that the runs that took part in an epoch have a loss.

    Raises:
      CrowdError: one has none.
    """
    for run in active:
        if not np.isfinite(info.losses[run, 0]).all():
            raise CrowdError(
                f"{f'run {run}: ' if runs > 1 else ''}the training loss is "
                f"{info.losses[run, 0, 0]} in epoch {epoch}; lower train.learning_rate or "
                "train.blender_learning_rate"
            )


def begin(runs: Sequence[Run]) -> tuple[Program, Mesh, TrainState, Tables, RunInputs]:
    """What `advance` takes, on the devices: all of it on each where they share the batches, else
    some runs on each, filled up with idle ones to as many."""
    shared = _shared(runs[0].config)
    if shared is not None:
        program, (tables, inputs) = _program(runs), _inputs(runs)
        state, tables, inputs = _everywhere(shared, (start(program, inputs.key), tables, inputs))
        if program.shares > 1:
            rows = NamedSharding(shared, PartitionSpec(ROWS))
            stretch = processes.laid_out(stretches(program.shares, shared.size), rows)
            tables = tables._replace(stretch=stretch)
        return program, shared, state, tables, inputs
    devices = jax.local_devices()[: len(runs)]
    idle = runs[-1]._replace(config=msgspec.structs.replace(runs[-1].config, epochs=0))
    program = _program(runs)
    tables, inputs = _inputs([*runs, *[idle] * (-len(runs) % len(devices))])
    mesh = Mesh(np.array(devices), ("runs",), axis_types=(AxisType.Auto,))
    split, replicated = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("runs",), ()))
    inputs = jax.device_put(inputs, split)
    # Every device makes the weights of its own runs: copying them took longer.
    state = jax.device_put(start(program, inputs.key), split)
    return program, mesh, state, jax.device_put(tables, replicated), inputs


def _shared(config: TrainConfig) -> Mesh | None:
    """The devices that share a batch; None where each has runs of its own.

    Raises:
      CrowdError: there are fewer, or their shares would differ in size.
    """
    check_shares(config.shares, config.devices, config.batch_size, "train", "batch_size")
    if config.batch_size % config.devices:
        raise CrowdError(
            f"train.devices: {config.devices} do not divide train.batch_size ({config.batch_size})"
        )
    return processes.mesh_of(config.devices, ROWS, "train.devices")


def _everywhere(mesh: Mesh, tree: Any) -> Any:
    """Arrays whole on every device of all processes."""
    sharding = NamedSharding(mesh, PartitionSpec())

    def put(leaf: jax.Array) -> jax.Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(put(jax.random.key_data(leaf)))
        return processes.laid_out(np.asarray(leaf), sharding)

    return jax.tree.map(put, tree)


def _latest(checkpoints: Checkpoints, state: TrainState, runs: Sequence[Run]) -> TrainState:
    """The state that was saved last, on the devices of this one; this one where none was."""
    stored = checkpoints.latest(_kept(state, runs))
    if stored is None:
        return state

    def put(new: jax.Array, old: np.ndarray) -> jax.Array:
        return processes.laid_out(np.concatenate([old, new[len(runs) :]]), new.sharding)

    return jax.tree.map(put, state, stored)


def _kept(state: TrainState, runs: Sequence[Run]) -> TrainState:
    """Without the runs that only fill up the devices."""
    return jax.tree.map(lambda leaf: leaf[: len(runs)], state)


def shapes(run: Run) -> Program:
    """What runs of one program share."""
    m = run.model
    sizes = CvaeConfig(
        hidden=m.hidden,
        latent=m.latent,
        semi_implicit=m.semi_implicit,
        injected=m.injected,
        auxiliary=m.auxiliary,
    )
    features, profile = run.train.x.shape[1], run.train.c.shape[1]
    known = known_tasks(run.train.x)
    config = run.config
    return Program(features, known, profile, sizes, config.batch_size, config.shares, 0)


def known_tasks(x: np.ndarray) -> int:
    """T where the last T columns of (T, F) features are one of each task's own, 0 elsewhere."""
    tasks, features = x.shape
    if features < tasks:
        return 0
    own = x[:, features - tasks :]
    alone = np.count_nonzero(own) == tasks and np.all(own.diagonal() == 1)
    return tasks if alone else 0


def _program(runs: Sequence[Run]) -> Program:
    """The program that all of them share.

    Raises:
      ValueError: they do not.
    """

    program = shapes(runs[0])
    for number, run in enumerate(runs):
        if shapes(run) != program:
            raise ValueError(f"run {number} differs in shape from run 0: {shapes(run)}, {program}")
    return program._replace(epochs=_bucket(64, *(run.config.epochs for run in runs)))


def _bucket(*counts: int) -> int:
    """A power of two that holds them all: programs are compiled for few sizes."""
    return 1 << (max(counts) - 1).bit_length()


def _inputs(runs: Sequence[Run]) -> tuple[Tables, RunInputs]:
    """Arrays for the device: tables that runs share are there once, rows are padded alike."""
    known = known_tasks(runs[0].train.x)
    x, task = _stacked([run.train.x[:, : run.train.x.shape[1] - known] for run in runs])
    c, person = _stacked([run.train.c for run in runs])

    def numbers(values: Sequence[float], kind: type = np.float32) -> jax.Array:
        return jnp.array(values, kind)

    def rows(parts: list[Data], batch: int, least: int) -> ResponseRows:
        size = batch * _bucket(least, *(-(-len(part.answer) // batch) for part in parts))

        def padded(values: list[np.ndarray]) -> jax.Array:
            return jnp.asarray([np.pad(value, (0, size - len(value))) for value in values])

        return ResponseRows(
            padded([(p.person + o).astype(np.int32) for p, o in zip(parts, person, strict=True)]),
            padded([(p.task + o).astype(np.int32) for p, o in zip(parts, task, strict=True)]),
            padded([p.reference[p.task].astype(np.float32) for p in parts]),
            padded([p.answer.astype(np.float32) for p in parts]),
            padded([_weight(p).astype(np.float32) for p in parts]),
            numbers([len(p.answer) for p in parts], np.int32),
        )

    configs = [run.config for run in runs]
    losses = [loss_numbers(run.model) for run in runs]
    return Tables(x, c), RunInputs(
        rows([run.train for run in runs], runs[0].config.batch_size, 8),
        rows([run.validation for run in runs], 1, 128),
        jnp.stack([jax.random.key(run.seed) for run in runs]),
        numbers([config.learning_rate for config in configs]),
        numbers([config.blender_learning_rate for config in configs]),
        numbers([config.epochs for config in configs], np.int32),
        numbers([config.patience for config in configs], np.int32),
        LossNumbers(*(numbers(column) for column in zip(*losses, strict=True))),
    )


def _weight(part: Data) -> np.ndarray:
    return np.ones(len(part.answer)) if part.weight is None else part.weight


def _stacked(tables: list[np.ndarray]) -> tuple[jax.Array, list[int]]:
    """The distinct tables one below the other, and where each of the given ones begins."""
    distinct: list[np.ndarray] = []
    places = []
    for table in tables:
        same = (i for i, one in enumerate(distinct) if one is table or np.array_equal(one, table))
        place = next(same, len(distinct))
        if place == len(distinct):
            distinct.append(table)
        places.append(place)
    begins = np.cumsum([0, *(len(table) for table in distinct)])
    return jnp.asarray(np.concatenate(distinct), jnp.float32), [int(begins[p]) for p in places]
