"""Tuning: steps of Adam on batches of examples, validated after each epoch, resumed bitwise.

The state is small, as the model's own weights do not change. It is kept every `SAVE` steps and
after each epoch; the order of the batches is known from the step alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from crowdllm_jax.backbone.decoder import Lora
from crowdllm_jax.backbone.tune.adapter import Form, form_of, lower_layers, start
from crowdllm_jax.backbone.tune.config import TuneConfig
from crowdllm_jax.backbone.tune.examples import Batch, Batches, Example, until_task
from crowdllm_jax.backbone.tune.loss import terms
from crowdllm_jax.backbone.tune.speed import Speed
from crowdllm_jax.backbone.weights import Backbone
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime import processes
from crowdllm_jax.runtime.checkpoints import Checkpoints
from crowdllm_jax.runtime.precision import float32_products

SAVE = 200
"""Steps between two checkpoints, at most."""
_WARMUP = 20  # steps until the learning rate is reached


class State(NamedTuple):
    """All that the next step needs, and the best adapters so far.

    Attributes:
      step: how many are done.
      arrays: what is tuned (see `adapter`). optimiser: optax's state of it.
      best: the arrays with the least validation loss so far. least: it.
      since: epochs without a better one.
    """

    step: Any
    arrays: Any
    optimiser: Any
    best: Any
    least: Any
    since: Any


@dataclass(frozen=True)
class Tuned:
    """Adapters with the least validation loss, that loss, and what it was before tuning."""

    arrays: dict[str, np.ndarray]
    loss: float
    before: float


def _loss(form: Form, config: TuneConfig, backbone: Backbone, held: Batches, arrays: Any) -> float:
    """The mean loss of adapters over all held examples."""
    base, place, whole = backbone.weights, partial(_place, backbone), partial(_whole, backbone)
    total = np.zeros(3)
    for places in held.order():
        total += np.array(whole(evaluate(form, base, arrays, place(held.batch(places), "data"))))
    return float((total[0] + config.ordinal * total[1]) / total[2])


def tune(
    backbone: Backbone,
    train: Sequence[Example],
    validation: Sequence[Example],
    config: TuneConfig,
    folder: Path,
    seed: tuple[int, ...],
    options: tuple[int, ...],
    report: Callable[[int, int, str], None],
) -> Tuned:
    """Fit adapters to people's answers.

    Args:
      folder: of checkpoints; what is there is continued.
      options: (H,) how many each of the study's scales offers, of which examples may lack some.
      report: called with the steps done, all steps, and a text of how it goes.
    Raises:
      CrowdError: the loss is not finite.
    """
    backbone = lower_layers(backbone, config.exit)
    form = form_of(backbone, Lora(config.rank, config.alpha, config.targets), config.recompute)
    if config.exit is not None:
        train, validation = [[until_task(e) for e in part] for part in (train, validation)]
    rows = rows_of(config, backbone)
    learnt, held = Batches(train, rows), Batches(validation, rows)
    place, whole = partial(_place, backbone), partial(_whole, backbone)
    arrays = start(form, seed, _average(train, options) if config.exit else None)
    state = place(State(np.int32(0), arrays, optimiser(config).init(arrays), *_unknown(arrays)))
    base = backbone.weights
    loss_of = partial(_loss, form, config, backbone, held)
    per_epoch = len(learnt.order())
    steps = per_epoch * config.epochs
    speed = Speed(backbone)
    with Checkpoints(folder) as checkpoints:
        kept = checkpoints.latest(jax.device_get(state))
        # It begins before anything is compiled.
        report(0 if kept is None else int(kept.step), steps, "")
        before = loss_of(state.arrays)
        state = place(kept or state)
        while (step := int(state.step)) < steps and int(state.since) < config.patience:
            epoch = step // per_epoch
            for places in learnt.order((*seed, epoch))[step % per_epoch :]:
                batch = learnt.batch(places)
                state, loss = train_step(form, config, base, state, place(batch, "data"))
                step += 1
                speed.add(batch)
                if step % SAVE == 0 and step % per_epoch:
                    checkpoints.save(step, _copy(whole(state)))
                if step % 5 == 0 or step % per_epoch == 0:
                    if not np.isfinite(float(loss)):
                        raise _diverged(backbone, step)
                    report(step, steps, f"loss {float(loss):.3f}; {speed}")
            state = _validated(state, loss_of(state.arrays))
            checkpoints.save(step, _copy(whole(state)))
            report(step, steps, f"loss {float(state.least):.4f}, was {before:.4f}; {speed}")
    report(steps, steps, f"loss {float(state.least):.4f}, was {before:.4f}")
    if float(state.least) >= before:
        return Tuned(arrays, before, before)
    return Tuned(jax.device_get(whole(state.best)), float(state.least), before)


def rows_of(config: TuneConfig, backbone: Backbone) -> int:
    """Rows of a step: a multiple of the devices that share them."""
    split = 1 if backbone.mesh is None else backbone.mesh.shape["data"]
    return -(-config.batch // split) * split


def optimiser(config: TuneConfig) -> optax.GradientTransformation:
    """Adam with a warmup, on gradients of a norm of at most 1."""
    rate = optax.linear_schedule(config.learning_rate / _WARMUP, config.learning_rate, _WARMUP)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=3)
@float32_products()
def train_step(
    form: Form,
    config: TuneConfig,
    base: nnx.State[Any, Any],
    state: State,
    batch: Batch,
) -> tuple[State, jax.Array]:
    """One step; also the loss before it."""

    def objective(arrays: Any) -> jax.Array:
        return terms(form, base, arrays, batch).loss(config.ordinal)

    loss, gradient = jax.value_and_grad(objective)(state.arrays)
    change, inner = optimiser(config).update(gradient, state.optimiser, state.arrays)
    arrays = optax.apply_updates(state.arrays, change)
    return state._replace(step=state.step + 1, arrays=arrays, optimiser=inner), loss


@partial(jax.jit, static_argnums=0)
@float32_products()
def evaluate(form: Form, base: nnx.State[Any, Any], arrays: Any, batch: Batch) -> jax.Array:
    """(3,) the terms of the loss on a batch."""
    return jnp.stack(terms(form, base, arrays, batch))


def _validated(state: State, loss: float) -> State:
    if loss < float(state.least):
        # A copy: the step gives its buffers away.
        best = jax.tree.map(jnp.copy, state.arrays)
        return state._replace(best=best, least=_like(state.least, loss), since=state.since * 0)
    return state._replace(since=state.since + 1)


def _copy(state: State) -> State:
    """On the host, and not what the next step overwrites while it is being written."""
    copy: State = jax.tree.map(np.array, state)
    return copy


def _like(old: jax.Array, value: float) -> jax.Array:
    return jax.device_put(np.float32(value), old.sharding)


def _unknown(arrays: dict[str, np.ndarray]) -> tuple[Any, np.float32, np.int32]:
    """The best before any epoch: nothing yet."""
    return {name: array.copy() for name, array in arrays.items()}, np.float32(np.inf), np.int32(0)


def _average(train: Sequence[Example], options: tuple[int, ...]) -> np.ndarray:
    """(H, K) log-shares of the options on each scale, over all examples."""
    total = np.full((len(options), max(options)), 1e-3)
    for e in train:
        total[e.scale, : len(e.shares)] += e.weight * e.shares
    logs: np.ndarray = np.log(total / total.sum(1, keepdims=True))
    return logs


def _place(backbone: Backbone, tree: Any, *axes: str) -> Any:
    """Arrays on the backbone's devices: on all alike, or their rows shared over an axis."""
    if backbone.mesh is None:
        return jax.device_put(tree, jax.local_devices()[0])
    sharding = NamedSharding(backbone.mesh, PartitionSpec(*axes))
    if jax.process_count() == 1:
        return jax.device_put(tree, sharding)
    return jax.tree.map(lambda array: processes.laid_out(np.asarray(array), sharding), tree)


def _whole(backbone: Backbone, tree: Any) -> Any:
    """A step's arrays, all of each on every device: no process reads what lies with another."""
    if jax.process_count() == 1:
        return tree
    assert backbone.mesh is not None
    return _everywhere(backbone.mesh)(tree)


@lru_cache
def _everywhere(mesh: Mesh) -> Callable[[Any], Any]:
    return jax.jit(lambda tree: tree, out_shardings=NamedSharding(mesh, PartitionSpec()))


def _diverged(backbone: Backbone, step: int) -> CrowdError:
    return CrowdError(
        f"tuning {backbone.name}: the loss is not finite at step {step}; lower "
        "reference.tune.learning_rate, or set reference.dtype to float32"
    )
