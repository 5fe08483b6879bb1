"""Fit the published model: whole epochs scanned on the device, one record of state.

Every epoch's order and noise come from (seed, epoch), so a run that is stopped and resumed from
its last saved epoch ends in exactly the weights of a run that was not.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import optax
from flax import nnx

from crowdllm_jax.checkpoint import Checkpoints
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.cvae import Cvae, CvaeConfig, draw_noise
from crowdllm_jax.objective import cvae_loss

Positive = Annotated[int, msgspec.Meta(ge=1)]
Rate = Annotated[float, msgspec.Meta(gt=0, le=1000)]

TERMS = ("total", "reconstruction", "kl", "decision")


class TrainConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Training.

    Attributes:
      epochs: passes over the training responses, at most.
      patience: stop after so many epochs without a lower validation loss.
      learning_rate, blender_learning_rate: Adam's, for the belief generator and the blender.
    """

    epochs: Positive = 40
    batch_size: Positive = 64
    learning_rate: Rate = 1e-3
    blender_learning_rate: Rate = 1e-3
    patience: Positive = 10


class Data(NamedTuple):
    """Responses as arrays: (R,) person, task, answer in [0, 1] over (H, C), (T, F), (T,) tables."""

    x: np.ndarray
    c: np.ndarray
    reference: np.ndarray
    person: np.ndarray
    task: np.ndarray
    answer: np.ndarray


class TrainState(NamedTuple):
    """All that the next epoch needs, and the best weights so far.

    Attributes:
      history: (epochs, 2, 4) training and validation loss by TERMS; NaN where not yet run.
    """

    params: nnx.State
    opt_state: optax.OptState
    best_params: nnx.State
    best_loss: jax.Array
    best_epoch: jax.Array
    epoch: jax.Array
    history: jax.Array


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

    graph: nnx.GraphDef
    params: nnx.State
    best_epoch: int
    history: np.ndarray


def make_optimizer(config: TrainConfig) -> optax.GradientTransformation:
    """Adam with one learning rate for the belief generator and one for the blender."""

    def group(path: tuple, _: object) -> str:
        return "blender" if "blender" in jax.tree_util.keystr(path) else "belief"

    return optax.multi_transform(
        {
            "belief": optax.adam(config.learning_rate),
            "blender": optax.adam(config.blender_learning_rate),
        },
        lambda params: jax.tree_util.tree_map_with_path(group, params),
    )


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
      checkpoints: where to save the state after each epoch, and to resume from.
      on_epoch: called after each epoch with its number (from 1) and its (2, 4) losses.
    Raises:
      CrowdError: the loss is not finite.
    """
    model = Cvae(train.x.shape[1], train.c.shape[1], model_config, rngs=nnx.Rngs(seed))
    graph, params = nnx.split(model, nnx.Param)
    optimizer = make_optimizer(config)
    state = TrainState(
        params,
        optimizer.init(params),
        jax.tree.map(jnp.copy, params),
        jnp.float32(jnp.inf),
        jnp.int32(0),
        jnp.int32(0),
        jnp.full((config.epochs, 2, len(TERMS)), jnp.nan),
    )
    if checkpoints is not None:
        state = checkpoints.latest(state) or state
    key = jax.random.key(seed)
    train_data, validation_data = jax.device_put((train, validation))
    has_validation = len(validation.answer) > 0
    while (epoch := int(state.epoch)) < config.epochs:
        if has_validation and epoch - int(state.best_epoch) >= config.patience:
            break
        state = _epoch(graph, model_config, config, state, train_data, validation_data, key)
        losses = np.asarray(state.history[epoch])
        if not np.isfinite(losses[0]).all():
            raise CrowdError(
                f"the training loss is {losses[0, 0]} in epoch {epoch + 1}; lower "
                "train.learning_rate or train.blender_learning_rate"
            )
        if checkpoints is not None:
            checkpoints.save(epoch + 1, state)
        if on_epoch is not None:
            on_epoch(epoch + 1, losses)
    return Fitted(
        graph,
        jax.device_get(state.best_params),
        int(state.best_epoch),
        np.asarray(state.history)[: int(state.epoch)],
    )


@partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=3)
def _epoch(
    graph: nnx.GraphDef,
    model_config: CvaeConfig,
    config: TrainConfig,
    state: TrainState,
    train: Data,
    validation: Data,
    key: jax.Array,
) -> TrainState:
    """One pass over the training responses, then the loss on the validation responses."""
    optimizer = make_optimizer(config)

    def loss(params: nnx.State, data: Data, rows: jax.Array, weight: jax.Array, key: jax.Array):  # type: ignore[no-untyped-def]
        task, person = data.task[rows], data.person[rows]
        total, terms = cvae_loss(
            nnx.merge(graph, params),
            data.x[task],
            data.c[person],
            data.reference[task],
            data.answer[rows],
            weight,
            draw_noise(key, len(rows), model_config),
            model_config,
        )
        return total, jnp.stack([total, *(terms[name] for name in TERMS[1:])])

    def step(carry, batch):  # type: ignore[no-untyped-def]
        params, opt_state = carry
        rows, weight, number = batch
        gradient, terms = jax.grad(loss, has_aux=True)(
            params, train, rows, weight, jax.random.fold_in(noise_key, number)
        )
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), (terms, weight.sum())

    order_key, noise_key = jax.random.split(jax.random.fold_in(key, state.epoch))
    order = jax.random.permutation(order_key, len(train.answer))
    batches = _batches(order, config.batch_size)
    (params, opt_state), (terms, size) = jax.lax.scan(
        step, (state.params, state.opt_state), batches
    )
    trained = jnp.average(terms, axis=0, weights=size)

    if len(validation.answer) == 0:
        held = jnp.full(len(TERMS), jnp.nan)
        better = jnp.isfinite(trained[0])
    else:
        # The same noise in every epoch: losses then differ by the weights alone.
        fixed = jax.random.fold_in(key, jnp.uint32(2**32 - 1))

        def check(_: None, batch):  # type: ignore[no-untyped-def]
            rows, weight, number = batch
            return None, (
                loss(params, validation, rows, weight, jax.random.fold_in(fixed, number))[1],
                weight.sum(),
            )

        rows = jnp.arange(len(validation.answer))
        _, (terms, size) = jax.lax.scan(check, None, _batches(rows, 1024))
        held = jnp.average(terms, axis=0, weights=size)
        # A comparison with NaN is false, so a diverged epoch never replaces the best one.
        better = held[0] < state.best_loss
    epoch = state.epoch + 1
    return TrainState(
        params,
        opt_state,
        jax.tree.map(lambda new, old: jnp.where(better, new, old), params, state.best_params),
        jnp.where(better, held[0], state.best_loss),
        jnp.where(better, epoch, state.best_epoch),
        epoch,
        state.history.at[state.epoch].set(jnp.stack([trained, held])),
    )


def _batches(rows: jax.Array, size: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Cut rows into batches of one size; the last is filled up with rows of weight 0."""
    size = min(size, len(rows))
    count = -(-len(rows) // size)
    padded = jnp.resize(rows, (count, size))
    weight = (jnp.arange(count * size) < len(rows)).astype(jnp.float32).reshape(count, size)
    return padded, weight, jnp.arange(count)
