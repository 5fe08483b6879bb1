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
from crowdllm_jax.model.persistent.start import (
    start_continuous,
    start_few,
    start_known,
    starting_levels,
    starting_units,
)
from crowdllm_jax.model.persistent.unanswered import settled
from crowdllm_jax.runtime import processes
from crowdllm_jax.runtime.checkpoints import Checkpoints
from crowdllm_jax.runtime.pieces import in_pieces
from crowdllm_jax.runtime.precision import SAME_BITS, float32_products
from crowdllm_jax.runtime.shares import (
    check_shares,
    of_every_share,
    stretches,
    sum_in_order,
)

CHUNK = 50
"""Steps between two checkpoints, and in one compiled call at most."""
NOISES = 64
"""Of injected noise, over which a step's population is averaged."""


class _State(NamedTuple):
    params: nnx.State[Any, Any]
    opt_state: optax.OptState
    modes: jax.Array
    step: jax.Array
    losses: jax.Array
    means: jax.Array


class _Static(NamedTuple):
    """What a compiled step is specialised to; hashable."""

    graph: nnx.GraphDef[Any]
    layout: Layout
    config: PersistentConfig
    groups: tuple[tuple[str, tuple[int, ...], bytes], ...]
    mesh: Mesh | None


class _Fixed(NamedTuple):
    """What all steps are computed from.

    Attributes:
      answers: of all people. points: (M, W) uniform nodes, or (M, W + 1) where noise is injected.
      noise: (J, injected) uniform nodes; None without any. key: its data.
      stretch: (devices, 2) the shares of a step that each takes; None where steps are not cut.
    """

    tasks: TaskColumns
    answers: AnswerTable
    points: Any
    noise: Any
    key: Any
    stretch: Any


_WHOLE = PartitionSpec()
_SHARED: Any = _Fixed(_WHOLE, _WHOLE, _WHOLE, _WHOLE, _WHOLE, PartitionSpec("people"))  # type: ignore[arg-type]
_SPLIT = (_WHOLE, _SHARED, _WHOLE, _WHOLE)
"""What devices that share the people of a step have of the state, of what is fixed, of a plan and
of a count: all of it, but for the shares."""


def new_persistent(design: Design, config: PersistentConfig, seed: int) -> Persistent:
    """An unfitted model; level logits are 0."""
    levels = np.zeros((len(design.layout.scales), design.layout.levels), np.float32)
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
      CrowdError: the loss is not finite, or a step cannot be shared as asked.
    """
    check_shares(config.shares, config.devices, config.people, "model", "people")
    model, beliefs = _started(design, answers, config, seed)
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
    fixed = _fixed(design.tasks, answers, config, seed)
    # By way of the host: JAX's weakly typed constants would compile the first chunk for themselves.
    state, fixed = jax.device_put(
        (jax.tree.map(np.asarray, state), fixed),
        None if mesh is None else tuple(jax.tree.map(partial(NamedSharding, mesh), _SPLIT[:2])),
    )
    plan = batches(
        answers.person, len(answers.weight), config.people, config.steps, seed, config.shares
    )

    def advance(state: _State, count: int) -> _State:
        chunk = _next_chunk(plan, int(state.step))
        return _steps(static, state, fixed, chunk, np.int32(count))

    state = _all_steps(advance, state, config.steps, checkpoints, on_step)
    model = _centred(graph, state.params)
    model.belief.stand_at(np.asarray(state.means[config.steps * 4 // 5 :]).mean(0))
    fitted = nnx.state(model, nnx.Param)
    return graph, jax.device_get(settled(graph, fitted, design)), np.asarray(state.losses)


def _started(
    design: Design, answers: AnswerTable, config: PersistentConfig, seed: int
) -> tuple[Persistent, np.ndarray]:
    """A model at what plain statistics of the answers say, and where beliefs start (B, W)."""
    model = new_persistent(design, config, seed)
    model.belief.mix(seed)
    model.log_unit[...] = jnp.asarray(starting_units(design.layout, answers))
    model.level[...] = jnp.asarray(starting_levels(design.layout, answers))
    if "task_loading" in design.groups:
        return model, start_known(model, design, answers)
    start_continuous(model, design.layout, answers)
    start_few(model, design, answers)
    return model, np.zeros((len(answers.weight), config.dimensions + 1), np.float32)


def _fixed(tasks: TaskColumns, answers: AnswerTable, config: PersistentConfig, seed: int) -> _Fixed:
    return _Fixed(
        tasks,
        answers,
        posterior.sobol(config.nodes, config.dimensions + 1 + (config.injected > 0)),
        posterior.sobol(NOISES, config.injected) if config.injected else None,
        np.asarray(jax.random.key_data(jax.random.key(seed))),
        stretches(config.shares, config.devices) if config.shares > 1 else None,
    )


def _centred(graph: nnx.GraphDef[Any], params: nnx.State[Any, Any]) -> Persistent:
    """The model, beliefs' mean at 0."""
    model: Persistent = nnx.merge(graph, params)
    model.belief.centre()
    return model


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
    # Adam starts at zeros; to run what makes them would compile an operation per array.
    shapes = jax.eval_shape(_optimizer(config).init, params)
    opt_state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    return _State(params, opt_state, jnp.asarray(beliefs), jnp.int32(0), *_told(config))


def _told(config: PersistentConfig) -> tuple[jax.Array, jax.Array]:
    """What steps tell of themselves: their losses, and where their people stand on average."""
    return jnp.zeros(config.steps), jnp.zeros((config.steps, config.dimensions + 1))


def _optimizer(config: PersistentConfig) -> optax.GradientTransformation:
    """Adam; of one long vector, whose few operations compile sooner than those of every array."""
    return optax.flatten(optax.adam(optax.cosine_decay_schedule(config.rate, config.steps)))


@partial(jax.jit, static_argnums=0, donate_argnums=1, compiler_options=SAME_BITS)
@float32_products()
def _steps(
    static: _Static,
    state: _State,
    fixed: _Fixed,
    plan: Batches,
    count: jax.Array,
) -> _State:
    """The first `count` steps of a plan."""
    taken = partial(_taken, static)
    if static.config.shares > 1:
        taken = jax.shard_map(
            taken, mesh=static.mesh, in_specs=_SPLIT, out_specs=_WHOLE, check_vma=False
        )
    return taken(state, fixed, plan, count)


def _taken(
    static: _Static,
    state: _State,
    fixed: _Fixed,
    plan: Batches,
    count: jax.Array,
) -> _State:
    """The steps; where they are cut into shares, as one of the devices that share them."""
    config, key = static.config, jax.random.wrap_key_data(fixed.key)
    tasks = fixed.tasks._replace(scale=np.array(static.layout.task_scale, np.int32))
    fixed = fixed._replace(tasks=tasks)

    def of_batch(state: _State, batch: Batches, keys: jax.Array) -> _Visit:
        answers = jax.tree.map(partial(_shared, static), take(fixed.answers, *batch))
        return _visit(static, fixed, state.params, answers, state.modes[batch.people], keys)

    def of_shares(state: _State, batch: Batches, keys: jax.Array) -> _Visit:
        """The average of the shares, each of which is a smaller batch with points of its own."""

        def one(share: jax.Array) -> _Visit:
            own = keys.at[1].set(jax.random.fold_in(keys[1], share))
            return of_batch(state, Batches(*(column[share] for column in batch)), own)

        assert static.mesh is not None  # as `check_shares` has seen to
        visits = of_every_share(one, config.shares, fixed.stretch, static.mesh)
        sums = sum_in_order(visits._replace(modes=()))
        average = jax.tree.map(lambda total: total / config.shares, sums)
        return average._replace(modes=visits.modes.reshape(-1, visits.modes.shape[-1]))

    def step(number: jax.Array, state: _State) -> _State:
        batch = Batches(*(column[number] for column in plan))
        keys = jax.random.split(jax.random.fold_in(key, state.step))
        visit = (of_batch if config.shares == 1 else of_shares)(state, batch, keys)
        updates, opt_state = _optimizer(config).update(
            visit.gradient, state.opt_state, state.params
        )
        return _State(
            optax.apply_updates(state.params, updates),
            opt_state,
            state.modes.at[batch.people.reshape(-1)].set(visit.modes, unique_indices=True),
            state.step + 1,
            state.losses.at[state.step].set(visit.loss),
            state.means.at[state.step].set(visit.mean),
        )

    return jax.lax.fori_loop(0, count, step, state)


def _shared(static: _Static, column: jax.Array) -> jax.Array:
    """Each device takes some of the rows; XLA adds up what they make of them."""
    if static.mesh is None or static.config.shares > 1:
        return column
    rows = NamedSharding(static.mesh, PartitionSpec("people"))
    return jax.lax.with_sharding_constraint(column, rows)


class _Visit(NamedTuple):
    """What some people's answers say: the gradient of the loss, the loss, (B, W) where these
    people's posteriors are, and (L + 1,) where they stand on average, in z and log scale."""

    gradient: Any
    loss: jax.Array
    modes: jax.Array
    mean: jax.Array


def _visit(
    static: _Static,
    fixed: _Fixed,
    params: nnx.State[Any, Any],
    answers: AnswerTable,
    start: jax.Array,
    keys: jax.Array,
) -> _Visit:
    """Some people's answers; their posteriors are looked for from `start` (B, W)."""
    groups = {n: np.frombuffer(data, np.int32).reshape(s) for n, s, data in static.groups}
    size, people, tasks = len(start), len(fixed.answers.weight), fixed.tasks

    def population(model: Persistent) -> tuple[posterior.LogChance, jax.Array | None]:
        """How likely these people's answers are under beliefs, and where noise moves these."""
        effects = draw_effects(model, keys[0])
        log_chance = _log_chance(model, effects, tasks, static.layout, answers)
        if fixed.noise is None:
            return log_chance, None
        noise = shifted(fixed.noise, jax.random.fold_in(keys[1], 1), 1)[0]
        return log_chance, model.belief.moved(noise)

    log_chance, moved = population(_centred(static.graph, params))
    bell = posterior.find(log_chance, start, 1, moved)

    def loss(params: nnx.State[Any, Any]) -> tuple[jax.Array, jax.Array]:
        model = _centred(static.graph, params)
        log_chance, moved = population(model)
        base = shifted(fixed.points, keys[1], size)
        u, log_weight = posterior.weighed(log_chance, bell, base, moved)
        price = divergence(model, groups, tasks) * (size / people)
        likely = answers.weight * posterior.likely(log_weight)
        share = jax.nn.softmax(log_weight, axis=1) * answers.weight[:, None]
        z, scale = model.belief.placed(u)
        standing = jnp.concatenate([z, jnp.log(scale)[..., None]], axis=-1)
        mean = (share[..., None] * standing).sum((0, 1)) / jnp.maximum(answers.weight.sum(), 1e-9)
        return (price - likely.sum()) / size, mean

    (value, mean), gradient = jax.value_and_grad(loss, has_aux=True)(params)
    return _Visit(gradient, value, bell.mode, mean)


def _log_chance(
    model: Persistent, effects: Effects, tasks: TaskColumns, layout: Layout, answers: AnswerTable
) -> posterior.LogChance:
    """The probability of people's answers as a function of their beliefs, as `placed` has them."""
    fitted = items(model, effects, tasks, jnp.asarray(level_mask(layout)))
    residual = model.log_residual[...][tasks.scale]
    responses = Responses(fitted, residual, model.log_concentration[...])
    return lambda u: log_likelihood(responses, layout, answers, Standing(*model.belief.placed(u)))


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
    people, injected = len(answers.weight), model.belief.width - model.belief.latent - 1
    width = model.belief.latent + 1
    moved = None
    if injected:
        moved = model.belief.moved(ndtri(jnp.asarray(posterior.sobol(nodes, injected))))
    base = ndtri(jnp.asarray(posterior.sobol(nodes, width + (injected > 0))))
    bell = posterior.find(log_chance, jnp.zeros((people, width)), posterior.SETTLED, moved)
    base = jnp.broadcast_to(base[None], (people, *base.shape))
    return np.asarray(posterior.evidence(log_chance, bell, base, moved))


def shifted(points: jax.Array, key: jax.Array, people: int) -> jax.Array:
    """Normal nodes (B, M, W) from uniform ones (M, W), moved by a random shift per person (Cranley
    & Patterson 1976)."""
    shift = jax.random.uniform(key, (people, 1, points.shape[1]))
    return ndtri(((points[None] + shift) % 1.0).clip(1e-6, 1 - 1e-6))
