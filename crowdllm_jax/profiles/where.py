"""Whom: exact recruiting under a condition on profiles, or of a population of other margins."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.profiles.generator import ProfileGenerator
from crowdllm_jax.profiles.profile_counts import possible
from crowdllm_jax.profiles.raking import rake
from crowdllm_jax.runtime.names import tidy_names
from crowdllm_jax.runtime.yaml import parse, read_yaml
from crowdllm_jax.study.condition import Condition, attribute_named, condition_of
from crowdllm_jax.study.records import Attribute
from crowdllm_jax.study.statistics import kish

MARGINS = "--margins"
"""Where margins stand, in messages."""


def people_among(
    profile: Sequence[Attribute], weight: np.ndarray, condition: Condition
) -> np.ndarray:
    """(N,) bool: which real people, of weights (N,), fulfil a condition.

    Raises:
      CrowdError: nobody does whose weight is above 0.
    """
    kept = condition.holds(profile, len(weight))
    if not (kept & (weight > 0)).any():
        light = " whose weight is above 0" if kept.any() else ""
        raise CrowdError(
            f"--where {condition.text}: none of the {len(weight):,} people is so{light}"
        )
    return kept


def whom(
    generator: ProfileGenerator,
    where: str | None = None,
    margins: Mapping[str, Mapping[str, float]] | None = None,
) -> ProfileGenerator:
    """The generator of those in a population with some margins who fulfil a condition; None leaves
    the population as it is, or takes all of it."""
    if margins is not None:
        generator = of_population(generator, margins)
    return generator if where is None else among(generator, condition_of(where))


def margins_of(text: str) -> dict[str, dict[str, float]]:
    """Margins as they are typed, `{gender: {f: 0.5, m: 0.5}}`, or in a YAML file of that name.

    Raises:
      CrowdError: there is no such file, or it holds no shares of levels.
    """
    path = Path(text)
    tree = read_yaml(path) if path.suffix in (".yaml", ".yml") else parse(text, MARGINS)
    try:
        margins: dict[str, dict[str, float]] = tidy_names(_shares_in(tree))
    except ValueError as error:
        raise CrowdError(f"{MARGINS}: {error}") from error
    return margins


def _shares_in(margins: Any) -> dict[str, dict[str, float]]:
    """Margins as dictionaries of numbers; raises CrowdError where they are none."""
    example = "write {gender: {f: 0.5, m: 0.5}}"
    tree = dict(margins) if isinstance(margins, Mapping) else {"": margins}
    for name, shares in tree.items():
        # A pandas series has keys, too.
        tree[name] = dict(shares) if hasattr(shares, "keys") else {"": shares}
        for level, share in tree[name].items():
            if level == "" or isinstance(share, bool) or not isinstance(share, Real):
                place = ".".join(map(str, filter(None, (MARGINS, name, str(level)))))
                raise CrowdError(f"{place}: '{share}' is no share; {example}")
    if not any(tree.values()):
        raise CrowdError(f"{MARGINS}: gives no shares; {example}")
    return tree


def among(generator: ProfileGenerator, condition: Condition) -> ProfileGenerator:
    """The generator of the profiles that fulfil a condition, each as likely beside the others as
    before: agents are recruited under it, however rare it is.

    Raises:
      CrowdError: no profile fulfils it, or there are too many to look at.
    """
    profile, chance = _listed(generator, f"--where {condition.text}")
    kept = condition.holds(profile, len(chance)) & (chance > 0)
    if not kept.any():
        raise CrowdError(
            f"--where {condition.text}: nobody among the run's people is so, so no agent can be; "
            "widen the condition"
        )
    return _only(generator, profile, chance, kept)


def of_population(
    generator: ProfileGenerator, margins: Mapping[str, Mapping[str, float]]
) -> ProfileGenerator:
    """The generator of another population: every margin holds, and nothing else changes beyond
    what makes them hold (see `rake`).

    Args:
      margins: {attribute: {level: share}}.
    Raises:
      CrowdError: no weights of the profiles reach the margins, or there are too many to look at.
    """
    profile, chance = _listed(generator, MARGINS)
    told, nobody = _shares_in(margins), "nobody among the run's people"
    raked = rake(profile, chance, told, key=MARGINS, nobody=nobody)
    other = _only(generator, profile, raked, raked > 0)
    if generator.real_only:
        return other
    less = min(1.0, kish(raked) / kish(chance))
    return replace(other, effective=generator.effective * less)


def _listed(generator: ProfileGenerator, where: str) -> tuple[tuple[Attribute, ...], np.ndarray]:
    """The profiles that agents may have, and the chance of each."""
    if generator.real_only:
        return generator.attributes, generator.weight
    listed = possible(generator)
    if listed is None:
        raise CrowdError(
            f"{where}: the run's profiles are mixed anew (profiles.generator: "
            f"{generator.generator}, smoothing: {generator.smoothing:g}), and there are too "
            "many to look through; take a run with generator: joint and smoothing: 0"
        )
    return listed


def _only(
    generator: ProfileGenerator,
    profile: tuple[Attribute, ...],
    chance: np.ndarray,
    kept: np.ndarray,
) -> ProfileGenerator:
    """The generator of some of the profiles that `_listed` names."""
    rows = tuple(replace(a, cells=a.cells[kept]) for a in profile)
    share = chance[kept].sum()
    weight = chance[kept] / share
    distinct = [np.unique(a.cells, return_inverse=True) for a in rows]
    values = tuple(value for value, _ in distinct)
    shares = tuple(np.bincount(row, weight, len(value)) for value, row in distinct)
    effective = kish(chance[kept]) if generator.real_only else generator.effective * share
    return ProfileGenerator("joint", 0.0, rows, weight, values, shares, float(effective))


def groups_of(generator: ProfileGenerator, name: str) -> dict[str, ProfileGenerator]:
    """The generators of each value of a categorical or ordinal attribute that occurs.

    Raises:
      CrowdError: there is no such attribute, it is numeric, or there are too many profiles to look
        at.
    """
    attribute = attribute_named(name, "--by", {a.name: a for a in generator.attributes})
    if attribute.kind == "numeric":
        raise CrowdError(
            f'--by {name}: is a number; ask of bands of it instead (--where "{name} >= 60")'
        )
    profile, chance = _listed(generator, f"--by {name}")
    cells = next(a.cells for a in profile if a.name == attribute.name)
    return {
        attribute.levels[level]: _only(generator, profile, chance, (cells == level) & (chance > 0))
        for level in np.unique(cells[chance > 0])
    }
