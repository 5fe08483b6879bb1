"""What people answer to tasks that nobody was asked, and how far that is known.

Of such a task a fit knows where it probably is and how far it may be from there (`unanswered`). The
shares of its answers follow from agents' beliefs for any place it may have; many places give an
interval. A few people's answers to the task say more about the place (`learn.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from scipy.special import ndtri
from scipy.stats import qmc

from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.persistent.asked import arrays_of, spreads, stretched, units_of
from crowdllm_jax.model.persistent.choices import Worth, of_described
from crowdllm_jax.model.persistent.design import Design
from crowdllm_jax.model.persistent.effects import (
    Persistent,
    Rows,
    TaskColumns,
    items,
    level_slopes,
    mean_effects,
)
from crowdllm_jax.model.persistent.layout import level_mask
from crowdllm_jax.model.scales import continuous, nominal, ordered
from crowdllm_jax.model.scales.kinds import SINGLE
from crowdllm_jax.study import scales
from crowdllm_jax.study.alternatives import Options
from crowdllm_jax.study.scales import Scale

PLACES = 128
"""Quasi-random, where a task may be."""


class Panel(NamedTuple):
    """N agents: profiles c (N, C), centred, beliefs z (N, L) and personal scales (N,)."""

    c: np.ndarray
    z: np.ndarray
    scale: np.ndarray


@dataclass(frozen=True)
class Unsure:
    """A task that nobody answered, or few.

    Attributes:
      row: its index among the crowd's tasks. scale: on which it is answered; lent: the learnt scale
        whose steps it takes.
      middle: (1 + K,) its location beside what is said of it, and that of its levels: the lent
        ones, or of a nominal scale its own. root: (1 + K, 1 + K), a root of the covariance of what
        is not known of these.
      options: (K, Q) what describes its levels; None where nothing does.
      worth: of such levels where no known task has them; None of others.
      drawn: (PLACES, 1 + K) where it may be, after answers that are known; None without any.
    """

    row: int
    scale: Scale
    lent: Scale
    middle: np.ndarray
    root: np.ndarray
    options: np.ndarray | None = None
    worth: Worth | None = None
    drawn: np.ndarray | None = None

    @property
    def unheard(self) -> bool:
        """Whether its levels have no order and are others than those learnt."""
        return SINGLE[type(self.scale)] is nominal and self.scale != self.lent


def unsure_of(
    crowd: Crowd,
    rows: np.ndarray,
    own: Sequence[Scale],
    options: Options | None = None,
    said: Mapping[int, np.ndarray] | None = None,
) -> list[Unsure]:
    """What is known of some tasks, answered or not.

    Args:
      own: the scales on which they are answered. options: what describes their levels, where these
        are not the crowd's own. said: by place among the rows, what references say (K,) of levels
        that have no order and are others than those learnt.
    """
    if options is None:
        options = _own_options(crowd, rows)
    location, level = spreads(crowd)
    lent = crowd.task_scales
    unsure = []
    for place, (row, scale) in enumerate(zip(rows.tolist(), own, strict=True)):
        k = max(2, scales.size(lent[row]))
        task = Unsure(row, scale, lent[row], np.zeros(1 + k), np.zeros((1 + k, 1 + k)))
        sd = np.append(location[row], level[row, :k])
        if task.unheard:
            sd = np.append(sd[0], np.full(scales.size(scale), sd[1:].mean()))
        task = replace(task, middle=np.zeros(len(sd)), root=np.diag(sd))
        if options is not None and options.described[place].any():
            of_task = Options(*(part[place : place + 1, : len(sd) - 1] for part in options))
            task = _described(crowd, task, of_task)
        if said and place in said:
            task = replace(task, middle=task.middle + np.append(0.0, said[place]))
        unsure.append(task)
    return unsure


def _own_options(crowd: Crowd, rows: np.ndarray) -> Options | None:
    """What describes the options of some of a crowd's tasks that nobody answered."""
    assert isinstance(crowd.inputs, Design)
    tasks = crowd.inputs.tasks
    if tasks.options is None or tasks.described is None:
        return None
    new = tasks.described[rows] & (np.asarray(tasks.known)[rows] == 0)[:, None]
    return Options(tasks.options[rows], new)


def _described(crowd: Crowd, task: Unsure, own: Options) -> Unsure:
    """An unanswered choice task: what its options are worth is known as far as the people's
    choices tell, alike of all options that have it; and each is off by something of its own."""
    design, arrays = crowd.inputs, arrays_of(crowd)
    assert isinstance(design, Design)
    scale = int(design.tasks.scale[task.row])
    like = design.groups["task_level"][task.row, 0]
    apart = np.exp(arrays["effects.log_prior.task_level"][like])
    options = own.columns[0]
    worth = options * np.exp(arrays["effects.log_sd.part_worth"])
    values, axes = np.linalg.eigh(worth @ worth.T + apart**2 * np.eye(len(options)))
    root = np.zeros_like(task.root)
    root[1:, 1:] = axes * np.sqrt(values.clip(0.0))
    task = replace(task, root=root, options=options)
    # Of learnt options, too: this refuses those that are not described.
    found = of_described(arrays, design, scale, task.scale, own)
    if not task.unheard:
        return task
    return replace(task, middle=np.append(0.0, found.level), worth=found)


class Outlook:
    """Shares of answers to a crowd's tasks among a panel, wherever a task may be."""

    def __init__(self, crowd: Crowd, panel: Panel) -> None:
        assert isinstance(crowd.inputs, Design)
        design, arrays = crowd.inputs, arrays_of(crowd)
        place, base = _said(
            crowd.graph, crowd.params, design.tasks, level_mask(design.layout), panel
        )
        self._place, self._base = np.asarray(place), np.asarray(base)
        self._scale, self._panel = design.tasks.scale, panel
        self._residual = np.exp(arrays["log_residual"])
        means = {n.removeprefix("effects.mean."): jnp.asarray(a) for n, a in arrays.items()}
        self._levels = level_slopes(means, design.tasks)
        # How far a task's loadings may be from what its features say: (T, L).
        spread = np.exp(arrays["effects.log_sd.loading"])
        own = np.sqrt(design.tasks.loading**2 @ spread**2)
        self._loading_sd = own * units_of(crowd)[:, None]
        # The same of what options are described by: (Q, L).
        self._worth_sd = np.exp(arrays.get("effects.log_sd.part_worth_loading", np.zeros((0, 0))))

    def shares(
        self, task: Unsure, theta: np.ndarray | jax.Array, sway: np.ndarray | None = None
    ) -> jax.Array:
        """Shares of the levels of a discrete task: (D, K) for (D, 1 + K) places.

        Args:
          sway: (D, N), or (D, N, K) of levels without an order, what other loadings would add for
            each agent.
        """
        panel, k = self._panel, max(2, scales.size(task.lent))
        base = self._base[task.row, :k]
        if SINGLE[type(task.scale)] is nominal:
            slopes, scale = self._levels, self._scale[task.row]
            extra: Rows = np.zeros((len(panel.z), len(task.middle) - 1), np.float32)
            if task.unheard:
                base = np.zeros(extra.shape[1], np.float32)
                if task.worth is not None and slopes is not None:
                    extra = slopes.moved(panel.z, panel.c) @ task.worth.belief.T
                    extra = extra + panel.c @ task.worth.profile
            elif slopes is not None:
                loading = slopes.of_tasks(task.row, scale)[:k]
                extra = slopes.moved(panel.z, panel.c) @ loading.T
                extra = extra + panel.c @ slopes.profile[scale, :, :k]
            extra = extra[None] if sway is None else extra[None] + sway
            return _nominal(base, theta[:, 1:], extra, panel.scale)
        assert SINGLE[type(task.scale)] is ordered
        sway = np.zeros((1, 1), np.float32) if sway is None else sway
        place = self._place[:, task.row]
        return _ordered(scales.size(task.scale), base, theta, place, panel.scale, sway)

    def draws(self, task: Unsure, places: int = PLACES) -> tuple[np.ndarray | None, np.ndarray]:
        """(D, K) shares of the levels (None where continuous) and (D,) mean answers, in the scale's
        units, of places the task may have."""
        values, sway = scales.values(task.scale), self.sways(task, places)
        theta = task.middle + self.normals(task, places) @ task.root.T
        if task.drawn is not None:
            theta = task.drawn[:places]
        if SINGLE[type(task.scale)] is continuous:
            assert sway is not None
            unit = self.means(task, theta, sway)
            return None, values[0] + (values[1] - values[0]) * unit
        shares = np.asarray(self.shares(task, theta, sway), np.float64)
        return shares, shares @ values

    def normals(self, task: Unsure, places: int = PLACES) -> np.ndarray:
        """(D, 1 + K) by which a task's places are drawn."""
        return _normals(places, self._width(task))[:, : len(task.middle)]

    def sways(self, task: Unsure, places: int = PLACES) -> np.ndarray | None:
        """What other loadings would add for each agent, in so many draws: (D, N), or (D, N, K) of
        levels without an order; None of such that nothing describes."""
        normals = _normals(places, self._width(task))[:, len(task.middle) :]
        if SINGLE[type(task.scale)] is nominal:
            return self._sway_of_levels(task, normals)
        sway: np.ndarray = (normals * self._loading_sd[task.row]) @ self._panel.z.T
        return sway.astype(np.float32)

    def _width(self, task: Unsure) -> int:
        """Of the normal numbers of a draw."""
        loadings = self._loading_sd.shape[1] if task.options is None else self._worth_sd.size
        return len(task.middle) + loadings

    def _sway_of_levels(self, task: Unsure, normals: np.ndarray) -> np.ndarray | None:
        """(D, N, K) what other worths of what describes a task's options would add for each agent;
        None where nothing describes them."""
        if task.options is None:
            return None
        worth = normals.reshape(len(normals), *self._worth_sd.shape) * self._worth_sd
        assert self._levels is not None
        z = np.asarray(self._levels.moved(self._panel.z, self._panel.c))
        return np.einsum("nl,dkl->dnk", z, task.options @ worth, optimize=True)

    def means(self, task: Unsure, theta: np.ndarray, sway: np.ndarray) -> np.ndarray:
        """(D,) mean answers to a continuous task, in [0, 1]."""
        panel = self._panel
        sd = self._residual[self._scale[task.row]] * panel.scale
        noise = _normals(len(panel.scale), 1)[:, 0]
        place = continuous.MIDDLE + self._place[:, task.row] + sd * noise
        return np.clip(place[None] + theta[:, :1] + sway, 0, 1).mean(1)

    def places(self, task: Unsure) -> np.ndarray:
        """(N,) where agents stand by what is said of a task."""
        return self._place[:, task.row]

    def spread_of(self, task: Unsure) -> float:
        """How far answers to a continuous task lie apart, were none beyond the range."""
        residual = self._residual[self._scale[task.row]]
        return float(np.hypot(np.std(self.places(task)), residual))

    def sloped(self, task: Unsure, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Shares (K,) at a place (1 + K,), and their slopes there (K, 1 + K)."""

        def shares(at: jax.Array) -> jax.Array:
            return self.shares(task, at[None])[0]

        at = jnp.asarray(theta, jnp.float32)
        return np.asarray(shares(at), float), np.asarray(jax.jacfwd(shares)(at), float)


def expected_levels(task: Unsure) -> np.ndarray:
    """(K,) logits that give the average shares of levels without an order, wherever they may be."""
    theta = task.middle + _normals(PLACES, len(task.middle)) @ task.root.T
    if task.drawn is not None:
        theta = task.drawn
    share = jax.nn.softmax(jnp.asarray(theta[:, 1:], jnp.float32), axis=1).mean(0)
    return np.log(np.asarray(share))


@lru_cache(maxsize=16)
def _normals(count: int, width: int) -> np.ndarray:
    """(count, width) quasi-random normal numbers, always the same."""
    points = qmc.Sobol(width, rng=0).random(count).clip(1e-6, 1 - 1e-6)
    normals: np.ndarray = ndtri(points).astype(np.float32)
    return normals


@partial(jax.jit, static_argnums=0)
def _said(
    graph: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    tasks: TaskColumns,
    mask: jax.Array,
    panel: Panel,
) -> tuple[jax.Array, jax.Array]:
    """Where agents stand (N, T) and the levels' log shares (T, K), by what is said of tasks: what
    these have of their own is in `Unsure`."""
    model: Persistent = nnx.merge(graph, params)
    effects = mean_effects(model)
    said = effects | {name: 0 * effects[name] for name in ("task", "task_level")}
    fitted = items(model, said, tasks, mask)
    place = fitted.location[None] + panel.c @ fitted.profile + panel.z @ fitted.loading.T
    return place, fitted.base


@partial(jax.jit, static_argnums=0)
def _ordered(
    size: int,
    base: jax.Array,
    theta: jax.Array,
    place: jax.Array,
    scale: jax.Array,
    sway: jax.Array,
) -> jax.Array:
    """(D, `size`) shares of ordered levels, whose K lent levels have log shares `base`."""
    log = jax.nn.log_softmax(base[None] + theta[:, 1:], axis=1)
    below = jnp.cumsum(jnp.exp(log), axis=1)[:, :-1].clip(1e-6, 1 - 1e-6)
    cut = stretched(jnp.log(below) - jnp.log1p(-below), size)
    stand = place[None] + theta[:, :1] + sway
    above = jax.nn.sigmoid((stand[:, :, None] - cut[:, None]) / scale[None, :, None]).mean(1)
    ends = jnp.ones((len(above), 1))
    return -jnp.diff(jnp.concatenate([ends, above, 0 * ends], axis=1), axis=1)


@jax.jit
def _nominal(base: jax.Array, theta: jax.Array, extra: jax.Array, scale: jax.Array) -> jax.Array:
    """(D, K) shares of levels without an order."""
    utility = (base[None] + theta)[:, None] + extra
    return jax.nn.softmax(utility / scale[None, :, None], axis=2).mean(1)
