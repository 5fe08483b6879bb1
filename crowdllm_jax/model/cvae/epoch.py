"""A piece of every run's epoch, as one compiled program.

`_one` is a piece of a single run; `advance` maps it over all of them. A run takes as many steps
as its own responses make, in an order and with noise that come from its own (seed, epoch), so it
ends in the same weights whatever runs beside it, and whatever the pieces: where a piece ends, the
loop over batches is left with all that it carries, and the next piece enters it there. A run that
is through with the epoch, or has ended, takes no step and stays as it is. What differs between
runs are arguments; only shapes are compiled in.

Devices have runs of their own (the mesh's axis is `runs`), or share every batch (`rows`). With
`Program.shares` above 1, batches are cut alike wherever they are computed (`runtime/shares.py`).

On an accelerator all runs take a step together (`vmap`). On a CPU a core has enough to do with one
run, whose weights then stay in its cache, so each device takes its runs one after another: this ran
faster than `vmap` and wastes nothing on shorter runs (docs/training.md).
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from crowdllm_jax.model.cvae.belief import Features, KnownTasks
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.cvae.decision import Cvae, draw_noise
from crowdllm_jax.model.cvae.loss import LossNumbers, cvae_loss
from crowdllm_jax.runtime.precision import SAME_BITS, float32_products
from crowdllm_jax.runtime.shares import of_every_share, sum_in_order

TERMS = ("total", "reconstruction", "kl", "decision")
ROWS = "rows"
"""The axis of a mesh whose devices share every batch."""

CHECKED = 1024
"""Validation responses in one batch."""


class Program(NamedTuple):
    """What a program is compiled for; hashable.

    Attributes:
      model: its sizes; the numbers in it are not looked at.
      known: T where the last T of the features say which of the T tasks it is, 0 where none do.
      shares: into which a batch is cut, if more than 1.
      epochs: rows of the history.
    """

    features: int
    known: int
    profile: int
    model: CvaeConfig
    batch: int
    shares: int
    epochs: int


class Tables(NamedTuple):
    """What all runs share.

    Attributes:
      x: (T, F) task features, without those that say which task it is. c: (P, C) profiles.
      stretch: (devices, 2) the shares of a batch that each takes, where batches are cut.
    """

    x: jax.Array
    c: jax.Array
    stretch: jax.Array | None = None


class ResponseRows(NamedTuple):
    """(R,) responses, with survey weights above 0; those beyond the first `length` are padding."""

    person: jax.Array
    task: jax.Array
    reference: jax.Array
    answer: jax.Array
    weight: jax.Array
    length: jax.Array


class RunInputs(NamedTuple):
    """All that a run has of its own. In a program every leaf has a leading axis of runs."""

    train: ResponseRows
    validation: ResponseRows
    key: jax.Array
    learning_rate: jax.Array
    blender_learning_rate: jax.Array
    epochs: jax.Array
    patience: jax.Array
    loss: LossNumbers


class TrainState(NamedTuple):
    """All that the next piece needs, and the best weights so far.

    Attributes:
      epoch: how many are done. batch: how many batches of the next one are, those of the
        validation responses after those of the training responses.
      sums: (2, 4) weighted losses of these batches, training and validation.
      history: (epochs, 2, 4) training and validation loss by TERMS; NaN where not run.
    """

    params: nnx.State[Any, Any]
    opt_state: optax.OptState
    best_params: nnx.State[Any, Any]
    best_loss: jax.Array
    best_epoch: jax.Array
    epoch: jax.Array
    batch: jax.Array
    sums: jax.Array
    history: jax.Array


class Piece(NamedTuple):
    """What to do next.

    Attributes:
      epoch: which one, counted from 0. order: (R,) the run's training responses in it.
      most: responses to look at, at most; at least one batch is done.
    """

    epoch: jax.Array
    order: jax.Array
    most: jax.Array


class PieceInfo(NamedTuple):
    """What a piece came to.

    Attributes:
      losses: (2, 4) training and validation losses of the epoch; NaN before its end, and where
        the run has ended before.
      over: whether the run is through with the epoch. ended: and with its last one.
      done: responses that were looked at.
    """

    losses: jax.Array
    over: jax.Array
    ended: jax.Array
    done: jax.Array


def make_optimizer(
    learning_rate: float | jax.Array, blender_learning_rate: float | jax.Array
) -> optax.GradientTransformation:
    """Adam with one learning rate for the belief generator and one for the blender."""

    def descend(path: tuple[Any, ...], update: jax.Array) -> jax.Array:
        blender = "blender" in jax.tree_util.keystr(path)
        return -(blender_learning_rate if blender else learning_rate) * update

    return optax.chain(
        optax.scale_by_adam(),
        optax.stateless(lambda updates, _: jax.tree_util.tree_map_with_path(descend, updates)),
    )


@cache
def graph_of(program: Program) -> nnx.GraphDef[Any]:
    """The network that a program trains."""
    return nnx.split(nnx.eval_shape(lambda: _new(program, jax.random.key(0))), nnx.Param)[0]


def ended(state: TrainState, run: RunInputs) -> jax.Array:
    """Whether a run has had its epochs, or has waited long enough for a better one."""
    waited = (run.validation.length > 0) & (state.epoch - state.best_epoch >= run.patience)
    return (state.epoch >= run.epochs) | waited


@partial(jax.jit, static_argnums=0)
def start(program: Program, keys: jax.Array) -> TrainState:
    """The first state of B runs; each one's weights come from its key."""

    def one(key: jax.Array) -> TrainState:
        params = nnx.split(_new(program, key), nnx.Param)[1]
        return TrainState(
            params,
            make_optimizer(0, 0).init(params),
            params,
            jnp.float32(jnp.inf),
            jnp.int32(0),
            jnp.int32(0),
            jnp.int32(0),
            jnp.zeros((2, len(TERMS))),
            jnp.full((program.epochs, 2, len(TERMS)), jnp.nan, jnp.float32),
        )

    return jax.vmap(one)(keys)


@partial(jax.jit, static_argnums=0)
def order_of(mesh: Mesh, epoch: jax.Array, runs: RunInputs) -> jax.Array:
    """(B, R) order in which every run takes its training responses in an epoch."""

    def every(epoch: jax.Array, runs: RunInputs) -> jax.Array:
        def one(run: RunInputs) -> jax.Array:
            key = _keys(run, epoch)[0]
            return shuffled(key, len(run.train.answer), run.train.length)

        return jax.lax.map(one, runs)

    return _over_runs(every, mesh, (PartitionSpec(), RUNS))(epoch, runs)


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=2, compiler_options=SAME_BITS)
@float32_products()
def advance(
    program: Program, mesh: Mesh, state: TrainState, tables: Tables, runs: RunInputs, piece: Piece
) -> tuple[TrainState, PieceInfo]:
    """A piece of every run's epoch, by devices that have runs of their own or share each batch."""
    one = partial(_one, program, mesh)

    def every(
        state: TrainState, tables: Tables, runs: RunInputs, piece: Piece
    ) -> tuple[TrainState, PieceInfo]:
        if mesh.devices.flat[0].platform == "cpu":

            def of_one(
                own: tuple[TrainState, RunInputs, jax.Array],
            ) -> tuple[TrainState, PieceInfo]:
                state, run, order = own
                return one(state, tables, run, piece._replace(order=order))

            return jax.lax.map(of_one, (state, runs, piece.order))
        return jax.vmap(one, (0, None, 0, PIECE_AXES))(state, tables, runs, piece)

    if tables.stretch is not None:
        whole = PartitionSpec()
        specs = (whole, TABLES_ROWS, whole, whole)
        shared = jax.shard_map(every, mesh=mesh, in_specs=specs, out_specs=whole, check_vma=False)
        return shared(state, tables, runs, piece)
    split = (RUNS, PartitionSpec(), RUNS, PIECE_RUNS)
    return _over_runs(every, mesh, split)(state, tables, runs, piece)


RUNS = PartitionSpec("runs")
# Of the tables, the shares are each device's own.
TABLES_ROWS = Tables(PartitionSpec(), PartitionSpec(), PartitionSpec(ROWS))  # type: ignore[arg-type]
# Of a piece, the order is each run's own.
PIECE_AXES = Piece(None, 0, None)  # type: ignore[arg-type]
PIECE_RUNS = Piece(PartitionSpec(), RUNS, PartitionSpec())  # type: ignore[arg-type]


def _over_runs(every: Any, mesh: Mesh, split: tuple[Any, ...]) -> Any:
    if ROWS in mesh.axis_names:
        return every
    return jax.shard_map(every, mesh=mesh, in_specs=split, out_specs=RUNS, check_vma=False)


def _keys(run: RunInputs, epoch: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Those of an epoch's order and of its noise."""
    order, noise = jax.random.split(jax.random.fold_in(run.key, epoch))
    return order, noise


def _new(program: Program, key: jax.Array) -> Cvae:
    return Cvae(program.features, program.profile, program.model, rngs=nnx.Rngs(key))


def _one(
    program: Program, mesh: Mesh, state: TrainState, tables: Tables, run: RunInputs, piece: Piece
) -> tuple[TrainState, PieceInfo]:
    """Some batches of a run's training responses, and of its validation responses after them.

    Long because its inner functions share what is laid out here once per program.
    """
    graph = graph_of(program)
    optimizer = make_optimizer(run.learning_rate, run.blender_learning_rate)
    idle = ended(state, run) | (state.epoch != piece.epoch)

    def features(task: jax.Array) -> Features:
        x = tables.x[task]
        # Tables of several runs lie one below the other, each of as many tasks.
        return KnownTasks(x, task % program.known) if program.known else x

    def loss(
        params: nnx.State[Any, Any],
        rows: ResponseRows,
        order: jax.Array,
        size: int,
        number: jax.Array,
        key: jax.Array,
        count: int | jax.Array,
    ) -> tuple[jax.Array, jax.Array]:
        """Of batch `number`, of `count` responses and filled up with 0s, and its weighted terms.
        A share is a smaller batch, of which `number` and `size` tell then; `count` is the batch's.
        """
        position = number * size + _shared(program, mesh, jnp.arange(size))
        chosen = order[position]
        task, person = rows.task[chosen], rows.person[chosen]
        weight = jnp.where(position < rows.length, rows.weight[chosen], 0.0)
        # A share may be nothing but filling, of which there is no average.
        counted = weight if program.shares == 1 else jnp.where(weight.sum() > 0, weight, 1.0)
        total, terms = cvae_loss(
            nnx.merge(graph, params),
            features(task),
            tables.c[person],
            rows.reference[chosen],
            rows.answer[chosen],
            counted,
            draw_noise(jax.random.fold_in(key, number), size, program.model),
            run.loss,
        )
        every = jnp.stack([total, *(terms[name] for name in TERMS[1:])])
        # A batch of heavier people moves the weights of the network further.
        return total * (weight.sum() / count), every * weight.sum()

    def of_batch(one: Callable[[jax.Array], Any], number: jax.Array) -> Any:
        """The sum over a batch of what `one` makes of it, or of each of its shares."""
        if tables.stretch is None:
            return one(number)
        first = number * program.shares
        return sum_in_order(
            of_every_share(lambda i: one(first + i), program.shares, tables.stretch, mesh)
        )

    def batches(rows: ResponseRows, size: int) -> jax.Array:
        return jnp.where(idle, 0, -(-rows.length // size))

    noise_key = _keys(run, piece.epoch)[1]
    size = max(1, min(CHECKED, len(run.validation.answer)) // program.shares) * program.shares
    steps, checks = batches(run.train, program.batch), batches(run.validation, size)
    first = jnp.where(idle, 0, state.batch)
    begin = jnp.minimum(first, steps)
    end = jnp.minimum(begin + jnp.maximum(1, piece.most // program.batch), steps)
    left = (piece.most - (end - begin) * program.batch) // size
    left = jnp.where(end < steps, 0, jnp.maximum(left, jnp.where(begin < steps, 0, 1)))
    begin_checks = first - begin
    end_checks = jnp.minimum(begin_checks + left, checks)

    def step(number: jax.Array, carry):  # type: ignore[no-untyped-def]
        params, opt_state, total = carry
        count = jnp.minimum(run.train.length - number * program.batch, program.batch)
        share = program.batch // program.shares

        def descent(number: jax.Array) -> Any:
            return jax.grad(loss, has_aux=True)(
                params, run.train, piece.order, share, number, noise_key, count
            )

        gradient, terms = of_batch(descent, number)
        updates, opt_state = optimizer.update(gradient, opt_state)
        return optax.apply_updates(params, updates), opt_state, total + terms

    params, opt_state, trained = jax.lax.fori_loop(
        begin, end, step, (state.params, state.opt_state, state.sums[0])
    )

    # The same noise in every epoch: losses then differ by the weights alone.
    fixed = jax.random.fold_in(run.key, jnp.uint32(2**32 - 1))
    in_order = jnp.arange(len(run.validation.answer))

    def check(number: jax.Array, total: jax.Array) -> jax.Array:
        share = size // program.shares

        def held_out(number: jax.Array) -> jax.Array:
            return loss(params, run.validation, in_order, share, number, fixed, size)[1]

        return total + of_batch(held_out, number)

    held = jax.lax.fori_loop(begin_checks, end_checks, check, state.sums[1])
    over = ~idle & (end == steps) & (end_checks == checks)
    state = state._replace(
        params=params,
        opt_state=opt_state,
        batch=jnp.where(idle, state.batch, end + end_checks),
        sums=jnp.stack([trained, held]),
    )
    after = _after_epoch(program, state, run, over)
    done = (end - begin) * program.batch + (end_checks - begin_checks) * size
    losses = after.history[piece.epoch]
    return after, PieceInfo(losses, over | idle, ended(after, run), done)


def _shared(program: Program, mesh: Mesh, row: jax.Array) -> jax.Array:
    """A batch's rows, of which each device takes some; XLA adds up what they make of them."""
    if program.shares > 1 or ROWS not in mesh.axis_names or len(row) % mesh.size:
        return row
    return jax.lax.with_sharding_constraint(row, NamedSharding(mesh, PartitionSpec(ROWS)))


def _averages(state: TrainState, run: RunInputs) -> jax.Array:
    """(2, 4) losses of an epoch whose batches are all done."""
    weight = jnp.stack([run.train.weight.sum(), run.validation.weight.sum()])
    return state.sums / weight[:, None]


def _after_epoch(
    program: Program, state: TrainState, run: RunInputs, over: jax.Array
) -> TrainState:
    """The state that the next epoch begins with; as it is where this one is not over."""
    trained, held = losses = _averages(state, run)
    # A comparison with NaN is false, so a diverged epoch never replaces the best one.
    better = over & jnp.where(
        run.validation.length > 0, held[0] < state.best_loss, jnp.isfinite(trained[0])
    )
    epoch = state.epoch + jnp.where(over, 1, 0)
    return TrainState(
        state.params,
        state.opt_state,
        jax.tree.map(lambda new, old: jnp.where(better, new, old), state.params, state.best_params),
        jnp.where(better, held[0], state.best_loss),
        jnp.where(better, epoch, state.best_epoch),
        epoch,
        jnp.where(over, 0, state.batch),
        jnp.where(over, 0.0, state.sums),
        state.history.at[jnp.where(over, state.epoch, program.epochs)].set(losses, mode="drop"),
    )


def shuffled(key: jax.Array, size: int, count: jax.Array) -> jax.Array:
    """(size,) row numbers: the first `count` in random order, the same for every size, then the
    padding. Two words decide, so that ties (and the bias they bring) have no chance."""
    first, second = jax.random.split(key)
    row = jnp.arange(size)
    words = (jax.random.bits(one, (size,)) for one in (first, second))
    return jax.lax.sort((row >= count, *words, row), num_keys=3)[-1]
