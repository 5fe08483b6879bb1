"""Fit the persistent model by its marginal likelihood.

The objective is the evidence lower bound of the effects with every person's belief integrated out
where that person's posterior is (`posterior`), by randomly shifted Sobol points; a fresh shift in
each step keeps the average honest. Where everybody's posterior was found is kept, so that one
Newton step a visit is enough to follow it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.scipy.special import ndtri
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from scipy.stats import qmc

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.persistent import posterior
from crowdllm_jax.model.persistent.answers import AnswerTable, Batches, batches, take
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.model.persistent.decision import Responses, Standing, log_likelihood
from crowdllm_jax.model.persistent.design import Design
from crowdllm_jax.model.persistent.effects import (
    Effects,
    Persistent,
    TaskColumns,
    divergence,
    draw_effects,
    items,
    mean_effects,
)
from crowdllm_jax.model.persistent.layout import Layout, level_mask
from crowdllm_jax.model.persistent.start import start_known, starting_levels
from crowdllm_jax.model.persistent.unanswered import settled
from crowdllm_jax.runtime import processes
from crowdllm_jax.runtime.checkpoints import Checkpoints
from crowdllm_jax.runtime.pieces import in_pieces
from crowdllm_jax.runtime.precision import SAME_BITS, float32_products

CHUNK = 50
"""Steps between two checkpoints, and in one compiled call at most."""


class _State(NamedTuple):
    params: nnx.State[Any, Any]
    opt_state: optax.OptState
    modes: jax.Array
    step: jax.Array
    losses: jax.Array


class _Static(NamedTuple):
    """What a compiled step is specialised to; hashable."""

    graph: nnx.GraphDef[Any]
    layout: Layout
    config: PersistentConfig
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
) -> tuple[nnx.GraphDef[Any], nnx.State[Any, Any], np.ndarray]:
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
    model = new_persistent(design, config, seed)
    model.level[...] = jnp.asarray(starting_levels(design.layout, answers))
    beliefs = np.zeros((len(answers.weight), dimensions(config)), np.float32)
    if "task_loading" in design.groups:
        beliefs = start_known(model, design, answers)
    graph, params = nnx.split(model, nnx.Param)
    static = _Static(
        graph,
        design.layout,
        config,
        tuple((n, g.shape, g.tobytes()) for n, g in sorted(design.groups.items())),
        mesh := processes.mesh_of(config.devices, "people", "model.devices"),
    )
    state = _begin(params, config, beliefs)
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
        None if mesh is None else NamedSharding(mesh, PartitionSpec()),
    )
    plan = batches(answers.person, len(answers.weight), config.people, config.steps, seed)

    def advance(state: _State, count: int) -> _State:
        chunk = _next_chunk(plan, int(state.step))
        return _steps(static, state, tasks, people, chunk, points, key, np.int32(count))

    state = _all_steps(advance, state, config.steps, checkpoints, on_step)
    params = jax.device_get(settled(graph, state.params, design))
    return graph, params, np.asarray(state.losses)


def _all_steps(
    advance: Callable[[_State, int], _State],
    state: _State,
    steps: int,
    checkpoints: Checkpoints | None,
    on_step: Callable[[int, float], None] | None,
) -> _State:
    """The state after the last step; saved and told of every CHUNK, and where it is to stop.

    Raises:
      CrowdError: the loss is not finite.
      KeyboardInterrupt: the fit was asked to stop, and its state is saved.
    """
    with in_pieces() as pieces:
        step = int(state.step)
        while step < steps:
            begin = step - step % CHUNK
            end = min(begin + CHUNK, steps)
            count = min(pieces.size, end - step)
            state = advance(state, count)
            step = int(state.step)
            stop, late = pieces.after(count)
            if step < end and not (stop or late):
                continue
            loss = float(np.mean(state.losses[begin:step]))
            if not np.isfinite(loss):
                raise CrowdError(
                    f"the loss is {loss} after {step} steps; lower model.learning_rate"
                )
            if checkpoints is not None:
                checkpoints.save(step, state)
            if stop:
                raise KeyboardInterrupt
            if on_step is not None:
                pieces.tell(on_step, step, loss)
    return state


def _next_chunk(plan: Batches, step: int) -> Batches:
    """The next steps' rows of a plan, always as many: filled up with some that are not taken."""
    rows = np.minimum(np.arange(step, step + CHUNK), len(plan.people) - 1)
    return Batches(*(column[rows] for column in plan))


def _begin(params: nnx.State[Any, Any], config: PersistentConfig, beliefs: np.ndarray) -> _State:
    """The state before the first step, where everybody's beliefs (B, W) may be looked for."""
    opt_state = _optimizer(config).init(params)
    return _State(params, opt_state, jnp.asarray(beliefs), jnp.int32(0), jnp.zeros(config.steps))


def _optimizer(config: PersistentConfig) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(config.rate, config.steps))


@partial(jax.jit, static_argnums=0, donate_argnums=1, compiler_options=SAME_BITS)
@float32_products()
def _steps(
    static: _Static,
    state: _State,
    tasks: TaskColumns,
    answers: AnswerTable,
    plan: Batches,
    points: jax.Array,
    key: jax.Array,
    count: jax.Array,
) -> _State:
    """The first `count` steps of a plan."""
    config, key = static.config, jax.random.wrap_key_data(key)
    groups = {n: np.frombuffer(data, np.int32).reshape(s) for n, s, data in static.groups}
    tasks = tasks._replace(scale=np.array(static.layout.task_scale, np.int32))
    people, size = len(answers.weight), plan.people.shape[1]

    def shared(column: jax.Array) -> jax.Array:
        """Each device takes some of the rows; XLA adds up what they make of them."""
        if static.mesh is None:
            return column
        rows = NamedSharding(static.mesh, PartitionSpec("people"))
        return jax.lax.with_sharding_constraint(column, rows)

    def loss(
        params: nnx.State[Any, Any],
        batch_answers: AnswerTable,
        bell: posterior.Bell,
        keys: tuple[jax.Array, ...],
    ) -> jax.Array:
        model = nnx.merge(static.graph, params)
        log_chance = _log_chance(
            model, draw_effects(model, keys[0]), tasks, static.layout, batch_answers
        )
        base = shifted(points, keys[1], size)
        likely = posterior.evidence(log_chance, bell, base)
        price = divergence(model, groups, tasks) * (size / people)
        return (price - (batch_answers.weight * likely).sum()) / size

    def step(number: jax.Array, state: _State) -> _State:
        batch = Batches(*(column[number] for column in plan))
        keys = tuple(jax.random.split(jax.random.fold_in(key, state.step)))
        batch_answers = jax.tree.map(shared, take(answers, *batch))
        model = nnx.merge(static.graph, state.params)
        log_chance = _log_chance(
            model, draw_effects(model, keys[0]), tasks, static.layout, batch_answers
        )
        bell = posterior.find(log_chance, state.modes[batch.people], 1)
        value, gradient = jax.value_and_grad(loss)(state.params, batch_answers, bell, keys)
        updates, opt_state = _optimizer(config).update(gradient, state.opt_state, state.params)
        return _State(
            optax.apply_updates(state.params, updates),
            opt_state,
            state.modes.at[batch.people].set(bell.mode, unique_indices=True),
            state.step + 1,
            state.losses.at[state.step].set(value),
        )

    return jax.lax.fori_loop(0, count, step, state)


def _log_chance(
    model: Persistent, effects: Effects, tasks: TaskColumns, layout: Layout, answers: AnswerTable
) -> posterior.LogChance:
    """The probability of people's answers as a function of their beliefs."""
    fitted = items(model, effects, tasks, jnp.asarray(level_mask(layout)))
    responses = Responses(
        fitted, effects, model.log_residual[...][tasks.scale], model.log_concentration[...]
    )
    return lambda u: log_likelihood(responses, layout, answers, Standing(*model.belief(u)))


def held_out_evidence(
    graph: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    design: Design,
    answers: AnswerTable,
    nodes: int = 256,
) -> np.ndarray:
    """(B,) log marginal likelihood at the effects' posterior mean, to compare models by."""
    model = nnx.merge(graph, params)
    log_chance = _log_chance(model, mean_effects(model), design.tasks, design.layout, answers)
    width, people = model.belief.width, len(answers.weight)
    base = ndtri(jnp.asarray(sobol(nodes, width)))
    bell = posterior.find(log_chance, jnp.zeros((people, width)), posterior.SETTLED)
    return np.asarray(
        posterior.evidence(log_chance, bell, jnp.broadcast_to(base[None], (people, *base.shape)))
    )


def dimensions(config: PersistentConfig) -> int:
    """Normal numbers that make one belief: L, the personal scale, and the injected noise."""
    return config.dimensions + 1 + config.injected


def sobol(nodes: int, width: int) -> np.ndarray:
    """(nodes, width) scrambled Sobol points inside the unit cube, always the same."""
    points = qmc.Sobol(width, rng=0).random(nodes).astype(np.float32)
    return points.clip(1e-6, 1 - 1e-6)


def shifted(points: jax.Array, key: jax.Array, people: int) -> jax.Array:
    """Normal nodes (B, M, W) from uniform ones (M, W), moved by a random shift per person (Cranley
    & Patterson 1976)."""
    shift = jax.random.uniform(key, (people, 1, points.shape[1]))
    return ndtri(((points[None] + shift) % 1.0).clip(1e-6, 1 - 1e-6))
