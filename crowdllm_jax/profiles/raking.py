"""Weights raked to known margins."""

import warnings

import numpy as np

from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.runtime import numerals
from crowdllm_jax.study.ids import MISSING
from crowdllm_jax.study.records import Attribute


def rake(
    attributes: tuple[Attribute, ...],
    weight: np.ndarray,
    margins: dict[str, dict[str, float]],
    *,
    key: str = "profiles.margins",
    nobody: str = "no training participant",
    tolerance: float = 1e-9,
    rounds: int = 1000,
) -> np.ndarray:
    """Iterative proportional fitting of weights to given shares (Deming & Stephan 1940).

    Args:
      weight: (H,) weights to begin with.
      margins: {attribute: {level: share}}; each attribute's shares sum to 1 (or 100, as percent)
        but for rounding. People without an answer may be left out: they keep their share.
      key: where the margins stand. nobody: what to call it if no row has a level. Of errors.
    Returns:
      (H,) weights whose weighted shares equal every margin, to `tolerance`.
    Raises:
      CrowdError: a margin names no attribute or level, leaves one out, sums to something else, asks
        for a level that no row has, or contradicts another so that no weights fit.
    """
    if not margins:
        return weight
    by_name = {attribute.name: attribute for attribute in attributes}
    targets = []
    for name, shares in margins.items():
        where = f"{key}.{name}"
        attribute = by_name.get(name)
        if attribute is None:
            raise CrowdError(
                f"{where}: no such attribute; there are: {', '.join(by_name) or 'none'}"
            )
        targets.append((attribute.cells, _reachable(where, attribute, weight, shares, nobody)))
    total = weight.sum()
    raked: np.ndarray = weight / total
    for _ in range(rounds):
        for cells, target in targets:
            have = np.bincount(cells, raked, len(target))
            raked = (
                raked * np.divide(target, have, out=np.zeros_like(target), where=have > 0)[cells]
            )
        gap = max(
            np.abs(np.bincount(cells, raked, len(target)) - target).max()
            for cells, target in targets
        )
        if gap < tolerance:
            raked = raked * total
            return raked
    raise CrowdError(
        f"{key}: no weights fit all margins at once (gap {gap:.2g} after "
        f"{rounds} rounds); relax one or merge levels"
    )


def _reachable(
    where: str, attribute: Attribute, weight: np.ndarray, shares: dict[str, float], nobody: str
) -> np.ndarray:
    """(K,) the shares of an attribute's levels that weights are raked to.

    Raises:
      CrowdError: there is no such level, or nobody who could be weighted up to its share.
    """
    if attribute.kind == "numeric":
        raise CrowdError(f"{where}: a numeric attribute has no levels to rake; band it first")
    target = _target(where, attribute.levels, shares)
    have = np.bincount(attribute.cells, weight, len(target))
    if attribute.levels[-1] == MISSING and MISSING not in shares:
        # Nothing is said of people without an answer: they keep the share they have.
        target[-1] = have[-1] / have.sum()
        target[:-1] *= 1 - target[-1]
        _note(
            f"{where}: gives no share to '{MISSING}', so people without an answer keep "
            "theirs and the shares are of the others"
        )
    empty = np.flatnonzero((have == 0) & (target > 0))
    if len(empty):
        raise CrowdError(
            f"{where}: {nobody} is '{attribute.levels[empty[0]]}', so no weights reach its "
            "share; merge the level with another, in the data and here"
        )
    return target


def _target(where: str, levels: tuple[str, ...], shares: dict[str, float]) -> np.ndarray:
    """(K,) a margin's shares, which sum to 1, in the order of the levels; that of MISSING is 0
    where the margin says nothing of it."""
    level_at = {level: i for i, level in enumerate(levels)}
    key_of = {level_at.get(str(key), _same(str(key), levels)): key for key in shares}
    odd = [key for key in shares if key not in key_of.values()]
    if -1 in key_of or odd:
        odd = odd or [key_of[-1]]
        raise CrowdError(
            f"{where}: '{odd[0]}' is no level of it, or one that stands there already;"
            f" levels: {', '.join(levels)}"
        )
    absent = [level for i, level in enumerate(levels) if i not in key_of and level != MISSING]
    if absent:
        raise CrowdError(
            f"{where}: '{absent[0]}' is not given a share; levels: {', '.join(levels)}"
        )
    target = np.array([shares[key_of[i]] if i in key_of else 0.0 for i in range(len(levels))])
    if (target < 0).any():
        least = int(target.argmin())
        raise CrowdError(
            f"{where}: the share of '{levels[least]}' is {target[least]:g}; give shares of 0 or "
            "more"
        )
    total = target.sum()
    full = 100 if total > 50 else 1
    # Of K shares that were rounded to a percent each is off by half of one at most.
    slack = min(0.005 * len(shares), 0.05) * full + 1e-9
    if not abs(total - full) <= slack:  # nor NaN
        raise CrowdError(f"{where}: shares must sum to 1, not {total:g} (percents to 100)")
    if full == 100 or abs(total - 1) > 1e-6:
        read = "are read as percents" if full == 100 else "are scaled to a sum of 1"
        _note(f"{where}: the shares sum to {total:g}; they {read}")
    sums_to_one: np.ndarray = target / total
    return sums_to_one


def _same(key: str, levels: tuple[str, ...]) -> int:
    """Where the one level stands that is the same number or truth value as a key; else -1."""
    number, truth = numerals.number(key), key.lower() in ("true", "false")
    matches = [
        i
        for i, level in enumerate(levels)
        if (number is not None and numerals.number(level) == number)
        or (truth and level.lower() == key.lower())
    ]
    return matches[0] if len(matches) == 1 else -1


def _note(text: str) -> None:
    warnings.warn(text, CrowdWarning, stacklevel=5)
