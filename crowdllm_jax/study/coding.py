"""Attributes as numbers: one column per level, one standardised column per number.

The same encoding serves profiles (c, C columns) and task attributes (part of x).
"""

import warnings
from dataclasses import dataclass

import numpy as np

from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.study.records import Attribute, AttributeKind, Block, Tasks

FAR = 10.0
"""Deviations from the people a crowd was fitted to, beyond which a number hardly has their unit."""


@dataclass(frozen=True)
class Coding:
    """How one attribute becomes columns; fixed on the training participants.

    Attributes:
      mean, sd: of a numeric attribute, to standardise it.
      gaps: a numeric attribute had missing cells, so one more column says where.
    """

    name: str
    kind: AttributeKind
    levels: tuple[str, ...]
    mean: float = 0.0
    sd: float = 1.0
    gaps: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """A name for each column."""
        if self.kind == "numeric":
            return (self.name, f"{self.name} missing") if self.gaps else (self.name,)
        return tuple(f"{self.name}={level}" for level in self.levels)


def fit_coding(attribute: Attribute, rows: np.ndarray) -> Coding:
    """Learn the coding of an attribute from some of its rows (an index array)."""
    if attribute.kind != "numeric":
        return Coding(attribute.name, attribute.kind, attribute.levels)
    cells = attribute.cells[rows]
    numbers = cells[~np.isnan(cells)]
    mean, sd = (float(numbers.mean()), float(numbers.std())) if len(numbers) else (0.0, 0.0)
    gaps = bool(np.isnan(attribute.cells).any())
    return Coding(attribute.name, "numeric", (), mean, sd or 1.0, gaps)


def encode(codings: tuple[Coding, ...], attributes: tuple[Attribute, ...]) -> np.ndarray:
    """Code the rows of some attributes.

    Returns:
      (N, C) float32: one-hot levels, standardised numbers (0 and a flag where missing).
    """
    n = len(attributes[0].cells) if attributes else 0
    blocks = [np.zeros((n, 0), np.float32)]
    for coding, attribute in zip(codings, attributes, strict=True):
        if coding.kind == "numeric":
            absent = np.isnan(attribute.cells)
            blocks.append(
                np.where(absent, 0.0, (attribute.cells - coding.mean) / coding.sd)[:, None]
            )
            if coding.gaps:
                blocks.append(absent[:, None])
        else:
            blocks.append(np.eye(len(coding.levels))[attribute.cells])
    return np.concatenate(blocks, axis=1).astype(np.float32)


def recode(codings: tuple[Coding, ...], attributes: tuple[Attribute, ...]) -> tuple[Attribute, ...]:
    """Other people's attributes in the levels that the codings know, in the codings' order; numbers
    far from those that the codings know are warned of.

    Raises:
      CrowdError: an attribute is not there or of another kind, or someone has an unknown level.
    """
    by_name = {attribute.name: attribute for attribute in attributes}
    names = [coding.name for coding in codings]
    if set(by_name) != set(names):
        raise CrowdError(
            f"profiles hold {', '.join(by_name) or 'nothing'}; the crowd knows people "
            f"by {', '.join(names) or 'nothing'}"
        )
    recoded = []
    for coding in codings:
        attribute = by_name[coding.name]
        if attribute.kind != coding.kind:
            raise CrowdError(
                f"profile attribute '{coding.name}' is {attribute.kind}, the crowd's "
                f"is {coding.kind}"
            )
        cells = attribute.cells
        if coding.kind == "numeric":
            _warn_of_far(coding, cells)
        else:
            level_of = np.array(
                [
                    coding.levels.index(level) if level in coding.levels else -1
                    for level in attribute.levels
                ],
                np.int32,
            )
            cells = level_of[cells]
            if np.any(cells < 0):
                odd = attribute.levels[attribute.cells[int(np.argmax(cells < 0))]]
                raise CrowdError(
                    f"profile attribute '{coding.name}': the crowd knows nobody who "
                    f"is '{odd}'; it knows: {', '.join(coding.levels)}"
                )
        recoded.append(Attribute(coding.name, coding.kind, coding.levels, cells))
    return tuple(recoded)


def _warn_of_far(coding: Coding, numbers: np.ndarray) -> None:
    far = np.flatnonzero(np.abs(numbers - coding.mean) > FAR * coding.sd)
    if len(far):
        warnings.warn(
            f"profile attribute '{coding.name}': {len(far):,} of {len(numbers):,} people are far "
            f"from all whom the crowd knows (the first: {numbers[far[0]]:g}; these are around "
            f"{coding.mean:.4g}, with a deviation of {coding.sd:.3g}); see whether the unit is the "
            "same",
            CrowdWarning,
            stacklevel=3,
        )


def task_features(tasks: Tasks, *, identity: bool) -> np.ndarray:
    """Features of all tasks: their embedding and attributes, and who they are.

    Args:
      identity: add one column per task. Right where the tasks asked later are the tasks seen in
        training (held-out people), useless where they are new ones (held-out tasks).
    Returns:
      x: (T, F) float32; each column is divided by its largest absolute value among known tasks.
      Without any feature it is one column of zeros, F = 1.
    """
    t = len(tasks.ids)
    parts = list(feature_blocks(tasks).values())
    if identity:
        parts.append(np.eye(t, dtype=np.float32))
    return np.concatenate(parts or [np.zeros((t, 1), np.float32)], axis=1)


def feature_blocks(tasks: Tasks) -> dict[str, np.ndarray]:
    """What each source says of the tasks, (T, F) float32 as in `task_features`: each embedding,
    under its name, and all attributes together."""
    blocks = {}
    if tasks.embedding is not None:
        only_block = Block("embedding", 0, 0, tasks.embedding.shape[1])
        for block in tasks.blocks or (only_block,):
            blocks[block.name] = tasks.embedding[:, block.begin : block.end]
    if tasks.attributes:
        known = np.flatnonzero(tasks.measured)
        codings = tuple(fit_coding(a, known) for a in tasks.attributes)
        blocks["task attributes"] = encode(codings, tasks.attributes)
    return {name: to_peak(x, tasks.measured) for name, x in blocks.items()}


def to_peak(x: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Columns (T, F) as shares of the largest size in each among known rows (T,) bool."""
    peak = np.abs(x[known]).max(axis=0, initial=0.0)
    return (x / np.where(peak > 0, peak, 1.0)).astype(np.float32)
