"""How many of N agents have each profile, without recruiting them one by one.

Agents are recruited independently of each other, so the numbers of agents with each profile are
multinomial, and it takes one draw to get them however many agents there are. The chances are those
of `profiles.recruit` to the last bit: it compares shares with uniforms of 23 bits.
"""

import math

import numpy as np

from crowdllm_jax.profiles.generator import ProfileGenerator, distinct
from crowdllm_jax.study.records import Attribute

MOST = 1 << 22
"""Possible profiles up to which they are listed; every one of them needs its chance."""

UNIFORMS = 1 << 23
"""Equally likely values of `randomness.uniform`: (i + 0.5) / UNIFORMS."""


def profile_counts(
    generator: ProfileGenerator, agents: int, random: np.random.Generator
) -> tuple[tuple[Attribute, ...], np.ndarray] | None:
    """Draw how many of some agents have each profile.

    Returns:
      the profiles that occur (attributes of P cells) and (P,) agents with each; None where there
      are more than MOST possible profiles (a generator that mixes attributes of many levels).
    """
    listed = possible(generator)
    if listed is None:
        return None
    profile, chance = listed
    count = random.multinomial(agents, chance)
    occurs = np.flatnonzero(count)
    occurring = tuple(Attribute(a.name, a.kind, a.levels, a.cells[occurs]) for a in profile)
    return occurring, count[occurs]


def possible(generator: ProfileGenerator) -> tuple[tuple[Attribute, ...], np.ndarray] | None:
    """All possible profiles and the chance of each."""
    real = generator.generator == "joint"
    anew = below(generator.smoothing) / UNIFORMS if real else 1.0
    first, kind = distinct(generator.attributes, len(generator.weight))
    weight = np.bincount(kind, pick_chances(generator.weight)) if real else np.ones(1)
    if anew == 0:
        profiles = tuple(
            Attribute(a.name, a.kind, a.levels, a.cells[first]) for a in generator.attributes
        )
        return profiles, weight
    shape = tuple(len(value) for value in generator.values)
    if math.prod(shape) > MOST:
        return None
    # Given a real person's row (or none), attributes are independent of each other.
    factors = []
    for attribute, value, share in zip(
        generator.attributes, generator.values, generator.shares, strict=True
    ):
        factor = np.tile(anew * pick_chances(share), (len(weight), 1))
        if real:
            cell = np.searchsorted(value, attribute.cells[first])
            factor[np.arange(len(first)), cell] += 1 - anew
        factors.append(factor)
    level = np.unravel_index(np.arange(math.prod(shape)), shape) if shape else ()
    profile = tuple(
        Attribute(a.name, a.kind, a.levels, value[cell])
        for a, value, cell in zip(generator.attributes, generator.values, level, strict=True)
    )
    chance = _mix(weight, factors)
    return profile, chance / chance.sum()


def _mix(weight: np.ndarray, factors: list[np.ndarray]) -> np.ndarray:
    """(V1 * V2 * ...,) sum over rows h of weight[h] factor1[h, v1] factor2[h, v2] ..."""
    sizes = [factor.shape[1] for factor in factors]
    half = next(i for i in range(len(sizes) + 1) if math.prod(sizes[:i]) >= math.prod(sizes[i:]))
    left, right = math.prod(sizes[:half]), math.prod(sizes[half:])
    total = np.zeros((left, right))
    # A few rows at a time: a product over all of them would be rows times as large as the result.
    step = max(1, MOST // max(left, right))
    for start in range(0, len(weight), step):
        rows = slice(start, start + step)
        sides = []
        for side in (factors[:half], factors[half:]):
            product = np.ones((len(weight[rows]), 1))
            for factor in side:
                product = (product[:, :, None] * factor[rows, None]).reshape(len(product), -1)
            sides.append(product)
        total += (weight[rows, None] * sides[0]).T @ sides[1]
    return total.ravel()


def below(share: float | np.ndarray) -> np.ndarray:
    """How many of the UNIFORMS values lie below a share."""
    return np.clip(np.ceil(np.asarray(share) * UNIFORMS - 0.5), 0, UNIFORMS)


def pick_chances(share: np.ndarray) -> np.ndarray:
    """(K,) the chance with which `recruit` picks each of some shares, a multiple of 2**-23."""
    until = below(np.cumsum(share))
    until[-1] = UNIFORMS
    return np.diff(until, prepend=0) / UNIFORMS
