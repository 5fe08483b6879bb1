"""New tasks for a fitted model, without a fit: exactly what its held-out tasks are.

`lengthened` lets the fitted model answer a longer list of tasks, as if the new ones had stood there
without answers. `learnt` moves new tasks by the few answers there are to them. `alone` is the crowd
of the new tasks, which may have scales of their own: their steps are the lender's, stretched.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.persistent.choices import by_scale, of_levels
from crowdllm_jax.model.persistent.decision import logistic_cuts
from crowdllm_jax.model.persistent.design import Design
from crowdllm_jax.model.persistent.effects import Persistent, TaskColumns, by_columns, trust_in
from crowdllm_jax.model.persistent.layout import Layout, layout_of
from crowdllm_jax.model.persistent.unanswered import averaged, settled
from crowdllm_jax.model.scales import ordered
from crowdllm_jax.model.scales.kinds import SINGLE
from crowdllm_jax.runtime.checkpoints import flatten
from crowdllm_jax.study import scales
from crowdllm_jax.study.alternatives import Options
from crowdllm_jax.study.questions import Questions
from crowdllm_jax.study.scales import Scale

SAME = 1e-3
"""How far the tasks' columns may be from those the crowd was fitted to."""
OWN = {"task": 0, "task_level": 0, "task_loading": 0, "task_profile": 1, "task_level_loading": 0}
"""Effects of single tasks, and the axis along which the tasks stand."""
BY_LEVEL = {"level_loading": 1, "level_profile": 2}
"""Effects on single levels of nominal scales, and the axis along which the levels stand."""
BY_SCALE = ("first_loading", "log_residual", "log_concentration", "log_unit", "middle")
"""Parameters of which each scale has one."""


def arrays_of(crowd: Crowd) -> dict[str, np.ndarray]:
    """A persistent crowd's parameters by name, such as `effects.mean.task`."""
    return {name.removesuffix(".value"): leaf for name, leaf in flatten(crowd.params).items()}


def _with(crowd: Crowd, changed: Mapping[str, np.ndarray]) -> nnx.State[Any, Any]:
    """Its parameters with some changed."""

    def pick(path: tuple[Any, ...], leaf: np.ndarray) -> np.ndarray:
        name = jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value")
        return np.asarray(changed.get(name, leaf), np.float32)

    params: nnx.State[Any, Any] = jax.tree_util.tree_map_with_path(pick, crowd.params)
    return params


def lengthened(crowd: Crowd, design: Design, ids: tuple[str, ...]) -> Crowd:
    """A fitted crowd that also answers new tasks.

    Args:
      design: of the study with the new tasks behind its own (`questions.joined`). ids: of them all.
    Raises:
      CrowdError: the study's own columns are not those the crowd was fitted to.
    """
    assert isinstance(crowd.inputs, Design)
    tasks = _as_fitted(crowd.inputs.tasks, design.tasks)
    design = design._replace(tasks=tasks, centre=crowd.inputs.centre)
    arrays, longer = arrays_of(crowd), {}
    for effect, group in design.groups.items():
        fitted = arrays.get(f"effects.mean.{effect}")
        if effect not in OWN and (fitted is None or fitted.shape != group.shape):
            raise CrowdError(_other_features())
    for part in ("mean", "log_sd"):
        for effect, axis in OWN.items():
            value = arrays.get(f"effects.{part}.{effect}")
            if value is not None:
                width = [(0, 0)] * value.ndim
                width[axis] = (0, len(ids) - len(crowd.task_ids))
                longer[f"effects.{part}.{effect}"] = np.pad(value, width)
    params = jax.device_get(settled(crowd.graph, _with(crowd, longer), design))
    return replace(
        crowd,
        params=params,
        task_ids=ids,
        task_scale=np.asarray(design.tasks.scale),
        inputs=design,
    )


def _as_fitted(fitted: TaskColumns, longer: TaskColumns) -> TaskColumns:
    """The longer list's columns with the signs of those that were fitted: a principal component may
    come out the other way round on another machine."""
    base = len(fitted.scale)
    if ((np.asarray(fitted.known) > 0) != (np.asarray(longer.known)[:base] > 0)).any():
        raise CrowdError(
            "ask: the crowd was fitted to other tasks than the configuration's split leaves to a "
            "fit of seed 0; give one of cl.fit(study, config, seed=0)"
        )
    columns = {}
    for name in ("features", "loading"):
        known, found = getattr(fitted, name), getattr(longer, name)
        if known.shape[1] != found.shape[1]:
            raise CrowdError(_other_features())
        sign = np.where((known * found[:base]).sum(0) < 0, -1, 1)
        found = (found * sign).astype(np.float32)
        if _apart(known, found[:base]):
            raise CrowdError(_other_features())
        columns[name] = np.concatenate([known, found[base:]])
    if fitted.options is not None:
        assert longer.options is not None
        if _apart(fitted.options, longer.options[:base]):
            raise CrowdError(_other_features())
    reference = np.concatenate([fitted.reference, longer.reference[base:]])
    others = longer.others
    if fitted.others is not None and others is not None:
        others = np.concatenate([fitted.others, others[base:]])
    # An earlier version expected nothing of any reference.
    expected = None
    if fitted.expected is not None and longer.expected is not None:
        expected = np.concatenate([fitted.expected, longer.expected[base:]])
    # Nor did one leave levels unlearnt.
    levelled = None if fitted.levelled is None else longer.levelled
    return longer._replace(
        reference=reference, others=others, expected=expected, levelled=levelled, **columns
    )


def _apart(known: np.ndarray, found: np.ndarray) -> bool:
    """Whether columns are others than those the crowd was fitted to."""
    size = max(1.0, np.abs(known).max(initial=0.0))
    return known.shape != found.shape or np.abs(found - known).max(initial=0.0) > SAME * size


def _other_features() -> str:
    return (
        "ask: what the study says of its tasks (embedding, attributes, reference) is not what the "
        "crowd was fitted to, or an earlier version read it otherwise; fit again (`crowdllm fit`), "
        "to another folder, or with cl.fit(study, config, seed=0)"
    )


def placed_anywhere(crowd: Crowd, rows: np.ndarray) -> Crowd:
    """The crowd with some unanswered tasks of which nothing is said: as far from their scale's
    middle as its known tasks are."""
    design = crowd.inputs
    assert isinstance(design, Design)
    arrays = arrays_of(crowd)
    location = design.tasks.features @ arrays["effects.mean.task_features"] * units_of(crowd)
    shares = _told(arrays, design)
    known = design.tasks.known > 0
    task_sd, level_sd = spreads(crowd)
    for row in rows:
        alike = known & (design.tasks.scale == design.tasks.scale[row])
        if alike.any():
            task_sd[row] = np.hypot(task_sd[row], location[alike].std())
            level_sd[row] = np.hypot(level_sd[row], shares[alike].std(0))
    return moved(crowd, rows, np.zeros((len(rows), 1 + level_sd.shape[1])), task_sd, level_sd)


def spreads(crowd: Crowd) -> tuple[np.ndarray, np.ndarray]:
    """How far tasks may be from where they are expected, (T,), and their levels, (T, K)."""
    arrays = arrays_of(crowd)
    location = np.exp(arrays["effects.log_sd.task"]) * units_of(crowd)
    return location, np.exp(arrays["effects.log_sd.task_level"])


def units_of(crowd: Crowd) -> np.ndarray:
    """(T,) in which the effects on the location of tasks are: 1 of tasks with levels."""
    unit: np.ndarray = np.exp(arrays_of(crowd)["log_unit"])[crowd.task_scale]
    return unit


def moved(
    crowd: Crowd, rows: np.ndarray, middle: np.ndarray, task_sd: np.ndarray, level_sd: np.ndarray
) -> Crowd:
    """The crowd with some unanswered tasks elsewhere.

    Args:
      rows: (A,) indices of the tasks. middle: (A, 1 + K) their location beside what is said of
        them, and their levels'. task_sd: (T,), level_sd: (T, K) how far tasks may be from there.
    """
    design = crowd.inputs
    assert isinstance(design, Design)
    model: Persistent = nnx.merge(crowd.graph, crowd.params)
    new = np.zeros(len(crowd.task_ids), bool)
    new[rows] = True
    spread = {"task": task_sd, "task_level": level_sd}
    arrays, changed = arrays_of(crowd), {}
    location, level = (arrays[f"effects.mean.{name}"].copy() for name in spread)
    unit = units_of(crowd)
    location[rows] = middle[:, 0] / unit[rows]
    level[new] = averaged(model, design, spread, new, middle[np.argsort(rows), 1:])
    changed = {"effects.mean.task": location, "effects.mean.task_level": level}
    for name, sd in (("task", task_sd / unit), ("task_level", level_sd)):
        log_sd = arrays[f"effects.log_sd.{name}"].copy()
        log_sd[rows] = np.log(np.maximum(sd[rows], 1e-6))
        changed[f"effects.log_sd.{name}"] = log_sd
    return replace(crowd, params=_with(crowd, changed))


def stretched(cuts: np.ndarray | jax.Array, size: int) -> jax.Array:
    """Cuts (..., K - 1) between K levels become those between `size` levels.

    A cut between the lowest j of K levels and the others stands at j / K of the scale; the new
    ones lie on the line through them, taken over the logit of that place.
    """
    k = cuts.shape[-1] + 1
    if size == k:
        return jnp.asarray(cuts)
    at = np.log(np.arange(1, k) / (k - np.arange(1, k)))
    new = np.log(np.arange(1, size) / (size - np.arange(1, size)))
    if k == 2:
        shifts = jnp.asarray(new, jnp.float32).reshape(*[1] * (cuts.ndim - 1), -1)
        return jnp.asarray(cuts) + shifts
    left = np.clip(np.searchsorted(at, new) - 1, 0, k - 3)
    share = (new - at[left]) / (at[left + 1] - at[left])
    weight = np.zeros((size - 1, k - 1), np.float32)
    weight[np.arange(size - 1), left] += 1 - share
    weight[np.arange(size - 1), left + 1] += share
    return jnp.asarray(cuts) @ weight.T


def alone(
    crowd: Crowd,
    questions: Questions,
    unheard: Mapping[int, np.ndarray],
    options: Options | None = None,
) -> Crowd:
    """The crowd of the last tasks of a lengthened one, on the questions' own scales.

    Args:
      unheard: logits of the levels of questions whose nominal scale the crowd has not learnt.
      options: what describes the questions' levels; None where nothing does.
    """
    assert isinstance(crowd.inputs, Design)
    design, arrays = crowd.inputs, arrays_of(crowd)
    rows = np.arange(len(crowd.task_ids) - len(questions.ids), len(crowd.task_ids))
    layout = layout_of(questions.scales, questions.scale)
    lender = np.zeros(len(questions.scales), np.int32)
    lender[questions.scale] = questions.lender
    base = _base(arrays, design, rows)
    steps = np.zeros((len(rows), layout.levels), np.float32)
    for row, (scale, lends) in enumerate(zip(questions.task_scales, questions.lender, strict=True)):
        if k := scales.size(scale):
            own = unheard.get(row)
            lent = design.layout.scales[lends]
            steps[row, :k] = _steps(base[row], lent, scale) if own is None else own
    changed = {name: arrays[name][lender] for name in BY_SCALE}
    changed["level"] = np.zeros((len(lender), layout.levels), np.float32)
    described = by_scale(questions, options)
    for part in ("mean", "log_sd"):
        kept = _effects_of(arrays, f"effects.{part}.", rows, design, (lender, layout), described)
        kept["task_level"] = steps if part == "mean" else np.full_like(steps, -9.0)
        changed |= {f"effects.{part}.{effect}": value for effect, value in kept.items()}
    tasks = TaskColumns(
        questions.scale,
        np.zeros(steps.shape, np.float32),
        design.tasks.features[rows],
        design.tasks.loading[rows],
        np.zeros(len(rows), np.float32),
        options=None if options is None else options.columns,
        described=None if options is None else options.described,
    )
    return replace(
        crowd,
        params=_with(crowd, changed),
        task_ids=questions.ids,
        scales=questions.scales,
        task_scale=questions.scale,
        inputs=Design(layout, tasks, {}, design.centre),
        asked=True,
        ask_if=questions.ask_if,
    )


def _effects_of(
    arrays: dict[str, np.ndarray],
    at: str,
    rows: np.ndarray,
    design: Design,
    lent: tuple[np.ndarray, Layout],
    described: Mapping[int, np.ndarray],
) -> dict[str, np.ndarray]:
    """The effects, named behind `at`, of some unanswered tasks on scales of their own; see
    `of_levels`."""
    lender, layout = lent
    # What references say of these tasks their steps hold.
    nothing = 0.0 if at.endswith("mean.") else -9.0
    own: dict[str, np.ndarray] = {"trust": np.full(len(lender), nothing, np.float32)}
    if f"{at}trust_everywhere" in arrays:
        own["trust_everywhere"] = np.full(1, nothing, np.float32)
    for effect, axis in OWN.items():
        if (value := arrays.get(f"{at}{effect}")) is not None:
            own[effect] = value.take(rows, axis)
    if (several := own.get("task_level_loading")) is not None:
        # Of unanswered tasks' levels nothing is known but what their scale's share.
        shape = len(rows), layout.levels, several.shape[2]
        own["task_level_loading"] = np.zeros(shape, np.float32)
    for effect, axis in BY_LEVEL.items():
        if (value := arrays.get(f"{at}{effect}")) is not None:
            own[effect] = of_levels(value, axis, design, lent, described)
    if described:
        # The tasks' steps hold what their options are worth on average, too.
        own["part_worth"] = np.full_like(arrays[f"{at}part_worth"], nothing)
    return own


def trusts(crowd: Crowd) -> np.ndarray:
    """(T, 1 + E) how far each reference is trusted on each task."""
    assert isinstance(crowd.inputs, Design)
    means = {n.removeprefix("effects.mean."): a for n, a in arrays_of(crowd).items()}
    return np.asarray(trust_in(means, crowd.inputs.tasks))


def _told(arrays: dict[str, np.ndarray], design: Design) -> np.ndarray:
    """(T, K) what references and options' descriptions say of the levels of tasks."""
    means = {n.removeprefix("effects.mean."): a for n, a in arrays.items()}
    return np.asarray(by_columns(means, design.tasks))


def _base(arrays: dict[str, np.ndarray], design: Design, rows: np.ndarray) -> np.ndarray:
    """(A, K) logits of the levels of some tasks, as the agents answer them."""
    scale = design.tasks.scale[rows]
    level = arrays["level"][scale] + _told(arrays, design)[rows]
    logits: np.ndarray = level + arrays["effects.mean.task_level"][rows]
    return logits


def _steps(base: np.ndarray, lent: Scale, scale: Scale) -> np.ndarray:
    """(K',) logits of a scale's levels, from those (K,) of the scale it borrows from."""
    k, size = max(2, scales.size(lent)), scales.size(scale)
    if SINGLE[type(scale)] is not ordered:
        return base[:k]
    layout = layout_of({"lent": lent}, np.zeros(1, np.int32))
    log = jax.nn.log_softmax(jnp.asarray(base[:k]))[None]
    cut = stretched(logistic_cuts(log, layout, np.zeros(1, np.int32))[0, 1:-1], size)
    below = 1 / (1 + np.exp(-np.asarray(cut, np.float64)))
    return np.log(np.diff(np.concatenate([[0.0], below, [1.0]])).clip(1e-9))


def one_task(crowd: Crowd, task: int) -> tuple[Design, nnx.State[Any, Any]]:
    """What a crowd knows of one of its tasks, to be drawn by itself."""
    return _of_tasks(crowd, np.array([task]))


def some_tasks(crowd: Crowd, rows: np.ndarray) -> Crowd:
    """The crowd of some of its tasks (A,) alone."""
    design, params = _of_tasks(crowd, rows)
    return replace(
        crowd,
        params=params,
        task_ids=tuple(crowd.task_ids[row] for row in rows),
        task_scale=crowd.task_scale[rows],
        inputs=design,
    )


def _of_tasks(crowd: Crowd, rows: np.ndarray) -> tuple[Design, nnx.State[Any, Any]]:
    design = crowd.inputs
    assert isinstance(design, Design)
    arrays = arrays_of(crowd)
    own = {
        name: arrays[name].take(rows, axis)
        for part in ("mean", "log_sd")
        for effect, axis in OWN.items()
        if (name := f"effects.{part}.{effect}") in arrays
    }
    there = {name: column for name, column in design.tasks._asdict().items() if column is not None}
    columns = design.tasks._replace(**{n: np.asarray(c)[rows] for n, c in there.items()})
    layout = layout_of(dict(crowd.scales), columns.scale)
    return design._replace(layout=layout, tasks=columns), _with(crowd, own)
