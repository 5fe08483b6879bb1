"""The profile generator: recruits agents whose profiles look like the participants'.

Three ways, all from the training participants and their survey weights:

- joint: a weighted draw of a real person's whole profile, so that attributes keep their
  associations; with probability `smoothing` an attribute is drawn anew from its own frequencies.
- independent: each attribute from its own frequencies to the power 1 / temperature (as published).
- uniform: each attribute's levels equally likely (as published).
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import msgspec
import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.profiles.raking import rake
from crowdllm_jax.runtime.names import tidy_fields
from crowdllm_jax.runtime.randomness import Pair, Stream, seed_halves, split_ids, uniform, words
from crowdllm_jax.study.records import Attribute
from crowdllm_jax.study.statistics import kish


class ProfilesConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How agents are recruited.

    Attributes:
      generator: joint, independent or uniform.
      temperature: of independent; above 1 flattens the frequencies, below 1 sharpens them.
      smoothing: of joint, from 0 (real profiles only) to 1 (independent attributes).
      margins: shares (or percents) a population must have, {attribute: {level: share}}; weights
        are raked to them before anyone is recruited. See `rake`.
    """

    generator: Literal["joint", "independent", "uniform"] = "joint"
    temperature: float = 1.0
    smoothing: float = 0.0
    margins: dict[str, dict[str, float]] = {}

    def __post_init__(self) -> None:
        tidy_fields(self)


@dataclass(frozen=True)
class ProfileGenerator:
    """A fitted generator: real rows to draw from, and for each attribute its own frequencies.

    Attributes:
      attributes: the training participants' rows, H of them.
      weight: (H,) chance of each row.
      values, shares: per attribute, its distinct cells and the chance of each.
      effective: Kish's effective sample size of the raked weights.
    """

    generator: str
    smoothing: float
    attributes: tuple[Attribute, ...]
    weight: np.ndarray
    values: tuple[np.ndarray, ...]
    shares: tuple[np.ndarray, ...]
    effective: float

    @property
    def real_only(self) -> bool:
        """Whether every agent has some real person's whole profile."""
        return self.generator == "joint" and self.smoothing == 0


def fit_profiles(
    attributes: tuple[Attribute, ...], weight: np.ndarray, config: ProfilesConfig
) -> ProfileGenerator:
    """Fit the generator to participants' rows and weights.

    Raises:
      CrowdError: the configuration does not fit the attributes, or raking cannot reach a margin.
    """
    if not config.temperature > 0:
        raise CrowdError(f"profiles.temperature: {config.temperature} is not above 0")
    if not 0 <= config.smoothing <= 1:
        raise CrowdError(f"profiles.smoothing: {config.smoothing} is not from 0 to 1")
    raked = rake(attributes, weight, config.margins)
    values, shares = [], []
    for attribute in attributes:
        value, row = np.unique(attribute.cells, return_inverse=True)
        share: np.ndarray = np.bincount(row, raked, len(value))
        if config.generator == "independent":
            seen = share > 0
            share = np.where(seen, np.where(seen, share, 1.0) ** (1.0 / config.temperature), 0.0)
        elif config.generator == "uniform":
            share = np.ones(len(value))
        values.append(value)
        shares.append(share / share.sum())
    return ProfileGenerator(
        config.generator,
        config.smoothing,
        attributes,
        raked / raked.sum(),
        tuple(values),
        tuple(shares),
        kish(raked),
    )


def recruit(generator: ProfileGenerator, seed: int, ids: np.ndarray) -> tuple[Attribute, ...]:
    """Draw agents' profiles; an agent's profile depends on the seed and its id alone.

    Args:
      ids: (N,) agent ids.
    Returns:
      The attributes with N cells each.
    """
    if generator.real_only:
        return profiles_of(generator, recruit_rows(generator, seed, ids))
    u = _draws(seed, ids, 1 + 2 * len(generator.attributes))
    row = _pick(generator.weight, u[:, 0])
    drawn = []
    for a, attribute in enumerate(generator.attributes):
        cells = generator.values[a][_pick(generator.shares[a], u[:, 1 + 2 * a])]
        if generator.generator == "joint":
            cells = np.where(u[:, 2 + 2 * a] < generator.smoothing, cells, attribute.cells[row])
        drawn.append(Attribute(attribute.name, attribute.kind, attribute.levels, cells))
    return tuple(drawn)


def recruit_rows(generator: ProfileGenerator, seed: int, ids: np.ndarray) -> np.ndarray:
    """(N,) the training participant whose profile a joint draw starts from."""
    below = np.cumsum(generator.weight).astype(np.float32)
    return np.asarray(_rows(below, seed_halves(seed), split_ids(ids)))


@jax.jit
def _rows(below: jax.Array, seed: Pair, ids: Pair) -> jax.Array:
    u = uniform(words(seed, ids, Stream.PROFILE, 1))[:, 0]
    return jnp.minimum(jnp.searchsorted(below, u, side="right"), len(below) - 1)


def profiles_of(generator: ProfileGenerator, rows: np.ndarray) -> tuple[Attribute, ...]:
    """The whole profiles of training participants (N,)."""
    return tuple(Attribute(a.name, a.kind, a.levels, a.cells[rows]) for a in generator.attributes)


def _draws(seed: int, ids: np.ndarray, count: int) -> np.ndarray:
    return np.asarray(_uniforms(seed_halves(seed), split_ids(ids), count), np.float64)


@partial(jax.jit, static_argnums=2)
def _uniforms(seed: Pair, ids: Pair, count: int) -> jax.Array:
    return uniform(words(seed, ids, Stream.PROFILE, count))


def _pick(share: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Invert a categorical distribution at u."""
    return np.minimum(np.searchsorted(np.cumsum(share), u, side="right"), len(share) - 1)


def distinct(attributes: tuple[Attribute, ...], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of N profiles differ.

    Returns:
      first: (P,) index of one agent with each distinct profile; of_agent: (N,) which it has.
    """
    if not attributes:
        return np.zeros(1, np.int64), np.zeros(n, np.int64)
    key = np.stack([a.cells.astype(np.float64) for a in attributes], axis=1)
    # NaN differs from itself; a missing number is one value like any other.
    key = np.where(np.isnan(key), np.inf, key)
    _, first, of_agent = np.unique(key, axis=0, return_index=True, return_inverse=True)
    return first, of_agent.reshape(-1)
