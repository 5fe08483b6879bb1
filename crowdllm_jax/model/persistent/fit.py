"""Fit the persistent model by its marginal likelihood.

The objective is the evidence lower bound of the effects with every person's belief integrated out
by randomly shifted Sobol points; a fresh shift in each step keeps the average honest.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.scipy.special import logsumexp, ndtri
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from scipy.stats import qmc

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.model.persistent.decision import AnswerTable, Standing, log_likelihood
from crowdllm_jax.model.persistent.design import Design
from crowdllm_jax.model.persistent.effects import (
    Effects,
    Items,
    Persistent,
    TaskColumns,
    divergence,
    draw_effects,
    items,
    mean_effects,
)
from crowdllm_jax.model.persistent.layout import Layout, level_mask
from crowdllm_jax.model.persistent.unanswered import settled
from crowdllm_jax.runtime import processes
from crowdllm_jax.runtime.checkpoints import Checkpoints
from crowdllm_jax.study import scales

CHUNK = 50
"""Steps in one compiled call, between two checkpoints."""


class _State(NamedTuple):
    params: nnx.State
    opt_state: optax.OptState
    step: jax.Array
    losses: jax.Array


class _Static(NamedTuple):
    """What a compiled step is specialised to; hashable."""

    graph: nnx.GraphDef
    layout: Layout
    config: PersistentConfig
    task_scale: tuple[int, ...]
    groups: tuple[tuple[str, tuple[int, ...], bytes], ...]
    mesh: Mesh | None


def new_persistent(design: Design, config: PersistentConfig, seed: int) -> Persistent:
    """An unfitted model; level logits are 0."""
    levels = jnp.zeros((len(design.layout.scales), design.layout.levels))
    return Persistent(config, design.groups, levels, rngs=nnx.Rngs(seed))


def fit_marginal(
    design: Design,
    answers: AnswerTable,
    config: PersistentConfig,
    seed: int,
    *,
    checkpoints: Checkpoints | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> tuple[nnx.GraphDef, nnx.State, np.ndarray]:
    """Maximise the bound by Adam, a few people at a time.

    Args:
      answers: of all training people.
      checkpoints: where to save the state now and then, and to resume from.
      on_step: called now and then with the number of steps done and the loss.
    Returns:
      The network, its parameters, and the (steps,) negative bound per person.
    Raises:
      CrowdError: the loss is not finite.
    """
    layout = design.layout
    model = new_persistent(design, config, seed)
    model.level[...] = jnp.asarray(_starting_levels(layout, design.tasks.scale, answers))
    graph, params = nnx.split(model, nnx.Param)
    static = _Static(
        graph,
        layout,
        config,
        tuple(design.tasks.scale.tolist()),
        tuple((n, g.shape, g.tobytes()) for n, g in sorted(design.groups.items())),
        mesh := _mesh(config.devices),
    )
    everywhere = None if mesh is None else NamedSharding(mesh, PartitionSpec())
    opt_state = _optimizer(config).init(params)
    state = _State(params, opt_state, jnp.int32(0), jnp.zeros(config.steps))
    if checkpoints is not None:
        state = checkpoints.latest(state) or state
    # By way of the host: JAX's weakly typed constants would compile the first chunk for themselves.
    state, points, key, tasks, people = jax.device_put(
        (
            jax.tree.map(np.asarray, state),
            sobol(config.nodes, dimensions(config)),
            np.asarray(jax.random.key_data(jax.random.key(seed))),
            design.tasks,
            answers,
        ),
        everywhere,
    )
    while (step := int(state.step)) < config.steps:
        count = min(CHUNK, config.steps - step)
        state = _steps(static, count, state, tasks, people, points, key)
        loss = float(np.mean(state.losses[step : step + count]))
        if not np.isfinite(loss):
            raise CrowdError(
                f"the loss is {loss} after {step + count} steps; lower model.learning_rate"
            )
        if checkpoints is not None:
            checkpoints.save(step + count, state)
        if on_step is not None:
            on_step(step + count, loss)
    params = jax.device_get(settled(graph, state.params, design))
    return graph, params, np.asarray(state.losses)


def _mesh(devices: int) -> Mesh | None:
    """The devices that share a fit; None where this process does it on one of its own."""
    if devices == 1:
        return None
    there = jax.devices()
    if devices > len(there) or (processes.size() > 1 and devices < len(there)):
        raise CrowdError(
            f"model.devices: {devices}, but there are {len(there)}; several processes "
            "share a fit by all their devices or not at all (1)"
        )
    return Mesh(np.array(there[:devices]), ("people",), axis_types=(AxisType.Auto,))


def _optimizer(config: PersistentConfig) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(config.learning_rate, config.steps))


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=2)
def _steps(
    static: _Static,
    count: int,
    state: _State,
    tasks: TaskColumns,
    answers: AnswerTable,
    points: jax.Array,
    key: jax.Array,
) -> _State:
    config, key = static.config, jax.random.wrap_key_data(key)
    groups = {n: np.frombuffer(data, np.int32).reshape(s) for n, s, data in static.groups}
    tasks = tasks._replace(scale=np.array(static.task_scale, np.int32))
    people = len(answers.weight)
    batch = min(config.people, people)

    def shared(part: jax.Array) -> jax.Array:
        """Each device takes some of the rows; XLA adds up what they make of them."""
        if static.mesh is None:
            return part
        rows = NamedSharding(static.mesh, PartitionSpec("people"))
        return jax.lax.with_sharding_constraint(part, rows)

    def loss(params: nnx.State, rows: jax.Array, key: jax.Array) -> jax.Array:
        model = nnx.merge(static.graph, params)
        effect_key, node_key = jax.random.split(key)
        effects = draw_effects(model, effect_key)
        some = jax.tree.map(lambda part: shared(part[rows]), answers)
        ready = items(model, effects, tasks, jnp.asarray(level_mask(static.layout)))
        standing = Standing(*model.belief(shifted(points, node_key)))
        found = evidence(model, effects, ready, static.layout, tasks, some, standing)
        price = divergence(model, groups, tasks) * (batch / people)
        return (price - (some.weight * found).sum()) / batch

    def step(state: _State, _: None) -> tuple[_State, None]:
        row_key, own_key = jax.random.split(jax.random.fold_in(key, state.step))
        rows = jax.random.permutation(row_key, people)[:batch]
        value, gradient = jax.value_and_grad(loss)(state.params, rows, own_key)
        updates, opt_state = _optimizer(config).update(gradient, state.opt_state, state.params)
        return _State(
            optax.apply_updates(state.params, updates),
            opt_state,
            state.step + 1,
            state.losses.at[state.step].set(value),
        ), None

    return jax.lax.scan(step, state, length=count)[0]


def evidence(
    model: Persistent,
    effects: Effects,
    ready: Items,
    layout: Layout,
    tasks: TaskColumns,
    answers: AnswerTable,
    standing: Standing,
) -> jax.Array:
    """(B,) log probability of each person's answers, averaged over M beliefs."""
    found = log_likelihood(
        ready,
        effects,
        model.log_residual[...][tasks.scale],
        model.log_concentration[...],
        layout,
        np.asarray(tasks.scale),
        answers,
        standing,
    )
    return logsumexp(found, axis=1) - jnp.log(len(standing.scale))


def held_out_evidence(
    graph: nnx.GraphDef, params: nnx.State, design: Design, answers: AnswerTable, nodes: int = 2048
) -> np.ndarray:
    """(B,) log marginal likelihood at the effects' posterior mean, to compare models by."""
    model = nnx.merge(graph, params)
    effects = mean_effects(model)
    ready = items(model, effects, design.tasks, jnp.asarray(level_mask(design.layout)))
    width = model.belief.width
    standing = Standing(*model.belief(ndtri(jnp.asarray(sobol(nodes, width)))))
    return np.asarray(
        evidence(model, effects, ready, design.layout, design.tasks, answers, standing)
    )


def dimensions(config: PersistentConfig) -> int:
    """Normal numbers that make one belief: L, the personal scale, and the injected noise."""
    return config.latent + 1 + config.injected


def sobol(nodes: int, width: int) -> np.ndarray:
    """(nodes, width) scrambled Sobol points inside the unit cube, always the same."""
    points = qmc.Sobol(width, rng=0).random(nodes).astype(np.float32)
    return points.clip(1e-6, 1 - 1e-6)


def shifted(points: jax.Array, key: jax.Array) -> jax.Array:
    """Normal nodes from uniform ones, moved by one random shift (Cranley & Patterson 1976)."""
    shift = jax.random.uniform(key, points.shape[1:])
    return ndtri(((points + shift[None]) % 1.0).clip(1e-6, 1 - 1e-6))


def _starting_levels(layout: Layout, task_scale: np.ndarray, answers: AnswerTable) -> np.ndarray:
    """(S, K) log shares of the levels in the answers, one answer added to each level."""
    levels = np.zeros((len(layout.scales), layout.levels), np.float32)
    given = answers.present > 0
    scale = task_scale[answers.task][given]
    level = answers.level[given]
    for index, one in enumerate(layout.scales):
        if k := scales.size(one):
            count = np.bincount(level[scale == index], minlength=k)[:k] + 1.0
            levels[index, :k] = np.log(count / count.sum())
    return levels
