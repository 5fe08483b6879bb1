"""Agents that are people: one belief per agent, answers in the data's own scale.

An agent's belief z (L numbers and a personal scale) is drawn once, given the profile, and serves
every task. Task t moves agent n by

    location(n, t) = task part + profile part + loadings(t) . z(n)

which the kind of scale turns into an answer (`model/scales`); of continuous ones in units of the
scale (`starting_units`) and around the middle of its tasks, so that effects mean as much on every
scale. With L = 1 and constant loadings this is the ordinal mixed model with a personal location and
scale; further dimensions load on the tasks' features as in multidimensional item-response theory,
and on single known tasks.

Everything that could fit noise (the trust in the reference, task, profile and interaction effects,
loadings) is an *effect*: a normal posterior per coefficient under a normal prior whose deviation,
one per group, is learned with the rest (variational empirical Bayes). A group without signal
shrinks to zero by itself, which is what 1% of the data calls for. The belief is integrated out of
the likelihood where each person is (`posterior`), so that its spread is estimated and not a
by-product of an approximation.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.flatten_util import ravel_pytree

from crowdllm_jax.model.persistent.belief import Belief
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.model.persistent.regression import Normal, Regression, divergence_around

Effects = dict[str, jax.Array]
Rows = jax.Array | np.ndarray
"""Numbers of the host or of a device."""
RATE = 4.6
"""Of the exponential prior: a prior deviation above 1 (on the logit scale) has a chance of 1%."""
LOADING_RATE = 9.2
"""The same of loadings, where it is 1% above 0.5: every belief meets every task through them, and a
few people's answers seldom say how."""
CHOICE_RATE, CHOICE_SHARE = 1.0, 0.1
"""The same of what described options and their names are worth to whom, where people often lie a
logit or two apart, and the share that their KL counts. Such loadings are few, and all choices tell
them together. Posteriors that know nothing of how they go together would rather have none of them
(Turner & Sahani 2011)."""
START = 0.3
"""Deviation of the numbers that loadings start from."""
NARROWEST = 1e-4
"""Deviation of what columns do, than which no prior is narrower. Where nothing tells of it (nominal
tasks have no location), it would go on to shrink until nothing can be divided by it."""
TASK_SD, TASK_LOG_SD = 0.8, 0.3
"""Known tasks differ by about so much on the logit scale (95%: from 0.44 to 1.44)."""
LEFT_SD, LEFT_LOG_SD = 0.5, 0.7
"""The same of what a reference or features leave of it (95%: from 0.13 to 2)."""


def full(shape: int | tuple[int, ...], value: float) -> Any:
    """Made by numpy: JAX would compile a program for every shape."""
    return np.full(shape, value, np.float32)


class Posterior(nnx.Module):
    """Normal posteriors of all effects, and for each group the deviation of its prior.

    Loadings start anywhere but at 0, under a wide prior. At 0 no direction of a belief is better
    than another, and a dimension whose prior shrinks before it has found one never comes out.

    Args:
      groups: by effect, the group of each coefficient (integers from 0).
    """

    def __init__(self, groups: dict[str, np.ndarray], *, rngs: nnx.Rngs) -> None:
        mean, log_sd, log_prior = {}, {}, {}
        for name, group in groups.items():
            loads = name.endswith("loading")
            start = START * rngs.params.normal(group.shape) if loads else full(group.shape, 0.0)
            mean[name] = nnx.Param(start)
            # A witness starts as hardly trusted: it has to earn it.
            doubted = name.endswith("witness")
            log_sd[name] = nnx.Param(full(group.shape, -4.0 if doubted else -2.0))
            wide = 0.0 if loads else -3.0 if doubted else -1.5
            log_prior[name] = nnx.Param(full(int(group.max(initial=0)) + 1, wide))
        self.mean, self.log_sd = nnx.data(mean), nnx.data(log_sd)
        self.log_prior = nnx.data(log_prior)


class Persistent(nnx.Module):
    """All parameters of the persistent model.

    Args:
      groups: by effect, the prior group of each coefficient.
      levels: starting values of the scales' level logits, (S, K).
    """

    def __init__(
        self,
        config: PersistentConfig,
        groups: dict[str, np.ndarray],
        levels: Rows,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        self.belief = Belief(config.dimensions, config.injected, rngs=rngs)
        self.effects = Posterior(groups, rngs=rngs)
        self.level = nnx.Param(levels)
        self.first_loading = nnx.Param(full(len(levels), 1.0))
        self.log_residual = nnx.Param(full(len(levels), -1.0))
        self.log_concentration = nnx.Param(full(len(levels), 1.0))
        self.log_unit = nnx.Param(full(len(levels), 0.0))
        self.middle = nnx.Param(full(len(levels), 0.0))


class TaskColumns(NamedTuple):
    """What the model reads of T tasks.

    Attributes:
      scale: (T,) index of the scale.
      reference: (T, K) centred log probability of each level, of several references the average;
        zeros where unknown.
      features: (T, D) columns that move the location; the reference's mean first.
      loading: (T, Q) columns that beliefs and profiles load on; first the reference's mean, so that
        people may follow it more or less steeply.
      known: (T,) 1 where training people answered, 0 elsewhere.
      others: (T, K, E) how far each of several references is from their average; None without.
      usual: (T, G, K) how often witnesses name each level of nominal tasks; None without any.
      options: (T, K, Q) what describes the levels of choice tasks; described: (T, K) bool, where
        anything does. None without any.
      expected: (T, 1 + E) the trust in each that the fitted one stands around; None is 0.
      trusted: (T,) which trust in `reference` is a task's, beside that everywhere; None: its
        scale's.
      levelled: (T,) 1 where the levels of a task's scale are learnt, 0 where it has too few known
        tasks; None: of all.
    """

    scale: np.ndarray
    reference: np.ndarray
    features: np.ndarray
    loading: np.ndarray
    known: np.ndarray
    others: np.ndarray | None = None
    usual: np.ndarray | None = None
    options: np.ndarray | None = None
    described: np.ndarray | None = None
    expected: np.ndarray | None = None
    trusted: np.ndarray | None = None
    levelled: np.ndarray | None = None


class Items(NamedTuple):
    """Tasks under given effects, ready for the response heads.

    Attributes:
      location: (T,) what moves every agent alike. base: (T, K) log probability of each level at
      location 0. loading: (T, L). profile: (C, T) what each profile column adds. trust: (T, G) in
      witnesses; None without any. usual: see `TaskColumns`. levels: None without nominal tasks.
    """

    location: jax.Array
    base: jax.Array
    loading: jax.Array
    profile: jax.Array
    trust: jax.Array | None = None
    usual: jax.Array | np.ndarray | None = None
    levels: "LevelSlopes | None" = None


class LevelSlopes(NamedTuple):
    """What moves single levels of nominal tasks.

    Attributes:
      loading: (S, K, L), what beliefs do on a scale; own: (T, K, L), on single tasks beside that:
        by what describes their options, and on known ones by themselves.
      profile: (S, C, K), what profiles do on a scale; shift: (C, L), how far they move beliefs.
      `own` and `shift` are None where tasks have no loadings of their own.
    """

    loading: jax.Array
    profile: jax.Array
    own: jax.Array | None
    shift: jax.Array | None

    def of_tasks(self, task: Rows | int, scale: Rows | int) -> jax.Array:
        """(..., K, L) loadings of tasks (...,) on scales (...,)."""
        shared = self.loading[scale]
        return shared if self.own is None else shared + self.own[task]

    def moved(self, z: Rows, profile: Rows) -> Rows:
        """Beliefs (..., L) of people with profiles (..., C), without what witnesses would say of
        those of whom they do not tell: it moves ordered tasks alone."""
        z = z[..., : self.loading.shape[-1]]
        return z if self.shift is None else z + profile @ self.shift


def items(model: Persistent, effects: Effects, tasks: TaskColumns, mask: jax.Array) -> Items:
    """Put the effects together, per task.

    Args:
      mask: (S, K) 0 for a scale's levels, a large negative number beyond them.
    """
    scale = tasks.scale
    level = model.level[...][scale]
    if tasks.levelled is not None:
        level = level * jnp.asarray(tasks.levelled)[:, None]
    base = level + by_columns(effects, tasks) + mask[scale]
    location = jnp.asarray(tasks.features) @ effects["task_features"]
    if "task_level" in effects:
        base = base + effects["task_level"]
        location = location + effects["task"]
    latent = model.belief.tilt.shape[0]
    first = jnp.zeros((len(scale), latent)).at[:, 0].set(model.first_loading[...][scale])
    loading = first + tasks.loading @ effects["loading"]
    profile = effects["profile"][:, None] + effects["interaction"] @ tasks.loading.T
    if "task_loading" in effects:
        known = jnp.asarray(tasks.known)
        loading = loading + known[:, None] * effects["task_loading"]
        profile = profile + known[None] * effects["task_profile"]
    trust = None
    if "witness" in effects:
        known = jnp.asarray(tasks.known)
        trust = effects["witness"][scale] + known[:, None] * effects["task_witness"]
    # Not fitted: effects can be as large as they like in any unit, and around any middle.
    unit, middle = jax.lax.stop_gradient((units(model, scale), model.middle[...][scale]))
    return Items(
        (middle + location) * unit,
        jax.nn.log_softmax(base, axis=1),
        loading * unit[:, None],
        profile * unit[None],
        None if trust is None else trust * unit[:, None],
        tasks.usual,
        level_slopes(effects, tasks),
    )


def units(model: Persistent, scale: np.ndarray) -> jax.Array:
    """(T,) of the scales (T,) of tasks: 1 of those with levels."""
    return jnp.exp(model.log_unit[...])[scale]


def level_slopes(effects: Effects, tasks: TaskColumns) -> LevelSlopes | None:
    """What a scale's tasks share, and what known ones have of their own: options of two questions
    may be called alike and have nothing in common."""
    if "level_loading" not in effects:
        return None
    own = effects.get("task_level_loading")
    if own is not None:
        own = jnp.asarray(tasks.known)[:, None, None] * own
    if tasks.options is not None:
        by_option = jnp.asarray(tasks.options) @ effects["part_worth_loading"]
        own = by_option if own is None else own + by_option
    return LevelSlopes(
        effects["level_loading"], effects["level_profile"], own, effects.get("belief_profile")
    )


def by_columns(effects: Mapping[str, Rows], tasks: TaskColumns) -> jax.Array:
    """(T, K) what is said of levels: by references, as far as they are trusted; and by what
    describes options, which people find worth something."""
    said = (_every_reference(tasks) * trust_in(effects, tasks)[:, None]).sum(2)
    if tasks.options is None:
        return said
    return said + jnp.asarray(tasks.options) @ jnp.asarray(effects["part_worth"])


def trust_in(effects: Mapping[str, Rows], tasks: TaskColumns) -> jax.Array:
    """(T, 1 + E) how far each reference is trusted, everywhere and besides on each scale."""
    count = 1 if tasks.others is None else 1 + tasks.others.shape[2]
    trust = jnp.asarray(effects["trust"])
    if "trust_everywhere" in effects:
        besides = jnp.pad(trust[_trusted(tasks)][:, None], ((0, 0), (0, count - 1)))
        trust = jnp.asarray(effects["trust_everywhere"])[None] + besides
    else:
        trust = trust.reshape(count, -1).T[_trusted(tasks)]
    return trust if tasks.expected is None else trust + tasks.expected


def expected_of(tasks: TaskColumns) -> jax.Array:
    """(T, K) what references say of levels, as far as they are trusted from the beginning."""
    every = _every_reference(tasks)
    if tasks.expected is None:
        return jnp.zeros(every.shape[:2])
    return (every * jnp.asarray(tasks.expected)[:, None]).sum(2)


def _trusted(tasks: TaskColumns) -> Rows:
    """(T,) which trust is a task's."""
    return tasks.scale if tasks.trusted is None else tasks.trusted


def _every_reference(tasks: TaskColumns) -> jax.Array:
    """(T, K, 1 + E)."""
    first = jnp.asarray(tasks.reference)[:, :, None]
    return first if tasks.others is None else jnp.concatenate([first, tasks.others], axis=2)


def draw_effects(model: Persistent, key: jax.Array) -> Effects:
    """One draw from the posterior of every effect."""
    mean = mean_effects(model)
    # All noise at once: what draws it is long, and would be compiled for every effect anew.
    flat, parted = ravel_pytree(mean)
    noise = parted(jax.random.normal(key, flat.shape))
    sd = {name: jnp.exp(log_sd[...]) for name, log_sd in model.effects.log_sd.items()}
    return {name: mean[name] + sd[name] * noise[name] for name in mean}


def mean_effects(model: Persistent) -> Effects:
    """The posterior mean of every effect."""
    return {name: mean[...] for name, mean in model.effects.mean.items()}


def divergence(model: Persistent, groups: dict[str, np.ndarray], tasks: TaskColumns) -> jax.Array:
    """KL of the effects' posterior from their prior, and the price of the prior itself.

    Each group's prior deviation has an exponential prior (Simpson et al. 2017, penalised
    complexity), so that a few people's answers do not make a group of effects large by chance.
    What described options are worth to whom counts less (`CHOICE_SHARE`).

    Args:
      groups: by effect, the prior group of each coefficient (same shape, integers from 0).
    """
    total = jnp.float32(0)
    around = regressions(model, groups, tasks)
    for name, group in groups.items():
        mean, log_sd = model.effects.mean[name][...], model.effects.log_sd[name][...]
        log_prior = model.effects.log_prior[name][...]
        to_whom = tasks.options is not None and name in ("part_worth_loading", "level_loading")
        rate = LOADING_RATE if name in ("loading", "task_loading") else RATE
        price = (CHOICE_RATE if to_whom else rate) * jnp.exp(log_prior)
        if name == "task":
            # Of tasks that are known it is sure that they differ. Few tasks and people say badly by
            # how much, and shrinking too much or too little is what costs then.
            wide = jnp.any(jnp.asarray(tasks.features) != 0) | jnp.any(
                jnp.asarray(tasks.known) == 0
            )
            middle = jnp.log(jnp.where(wide, LEFT_SD, TASK_SD))
            price = 0.5 * ((log_prior - middle) / jnp.where(wide, LEFT_LOG_SD, TASK_LOG_SD)) ** 2
        total += jnp.sum(price)
        if name in around:
            columns = of_columns(model, name)
            total += divergence_around(around[name], columns, posterior(model, name))
        elif name not in TOGETHER:
            gap = log_sd - log_prior[group]
            second = (mean**2) * jnp.exp(-2 * log_prior[group]) + jnp.exp(2 * gap)
            total += (CHOICE_SHARE if to_whom else 1.0) * 0.5 * jnp.sum(second - 1 - 2 * gap)
    return total


COLUMNS = {"task": ("task_features",), "task_level": ("trust", "trust_everywhere", "part_worth")}
"""Effects of single tasks, and those of the columns that they stand around, where there are any."""
TOGETHER = {name for names in COLUMNS.values() for name in names}


def regressions(
    model: Persistent, groups: dict[str, np.ndarray], tasks: TaskColumns
) -> dict[str, Regression]:
    """How single tasks' effects stand around what the reference and the features say."""
    deviation = {
        name: jnp.maximum(jnp.exp(model.effects.log_prior[name][...]), NARROWEST)
        for name in (*COLUMNS, *TOGETHER)
        if name in groups
    }
    # A reference that is not trusted is not trusted either where it is sure of itself.
    told = deviation["task_features"]
    deviation["task_features"] = told.at[1:3].multiply(told[0])
    prior = {name: of_group[groups[name]].ravel() for name, of_group in deviation.items()}
    by_column = {
        name: jnp.concatenate([prior[one] for one in names if one in prior])
        for name, names in COLUMNS.items()
    }
    known = jnp.asarray(tasks.known)
    every = _every_reference(tasks)
    if "trust_everywhere" in groups:
        of_scale = jax.nn.one_hot(_trusted(tasks), len(prior["trust"]))
        said = jnp.concatenate([every[..., :1] * of_scale[:, None], every], axis=2)
    else:
        of_scale = jax.nn.one_hot(_trusted(tasks), len(prior["trust"]) // every.shape[2])
        said = every[..., None] * of_scale[:, None, None]
    said = said.reshape(every.shape[0] * every.shape[1], -1)
    if tasks.options is not None:
        options = jnp.asarray(tasks.options)
        said = jnp.concatenate([said, options.reshape(len(said), -1)], axis=1)
    return {
        "task": Regression(jnp.asarray(tasks.features), by_column["task"], prior["task"], known),
        "task_level": Regression(
            said, by_column["task_level"], prior["task_level"], jnp.repeat(known, every.shape[1])
        ),
    }


def of_columns(model: Persistent, name: str) -> Normal:
    """The posterior of the columns that an effect of single tasks stands around, flat."""
    parts = [posterior(model, one) for one in COLUMNS[name] if one in model.effects.mean]
    return parts[0] if len(parts) == 1 else Normal(*map(jnp.concatenate, zip(*parts, strict=True)))


def posterior(model: Persistent, name: str) -> Normal:
    """One effect's posterior, flat."""
    mean, log_sd = model.effects.mean[name][...], model.effects.log_sd[name][...]
    return Normal(mean.ravel(), jnp.exp(log_sd).ravel())
