"""Hold out tasks or people, so that a crowd is judged on what it has not seen."""

from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study import Study


class SplitConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is held out.

    Attributes:
      by: tasks (can the crowd answer new tasks?) or people (does it look like people not asked?).
      test: share of the tasks or people held out for the scores.
      validation: share held out for early stopping; 0 trains for all epochs.
      fraction: share of the remaining participants whose answers are used at all.
    """

    by: Literal["tasks", "people"] = "tasks"
    test: float = 0.2
    validation: float = 0.1
    fraction: float = 1.0


@dataclass(frozen=True)
class Split:
    """Which responses serve what; the three (R,) masks do not overlap.

    Attributes:
      by: "tasks" or "people".
      train, validation, test: (R,) bool over the study's responses.
    """

    by: str
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @property
    def seen(self) -> np.ndarray:
        """(R,) bool: all that is not held out, for models that choose nothing by validation."""
        return self.train | self.validation

    @property
    def of_reference(self) -> np.ndarray:
        """(R,) bool: what a reference may be fitted to.

        A reference of a validation task comes from a head that has not seen the task, so validation
        tasks serve it like training tasks; validation people's answers would be seen by it.
        """
        return self.seen if self.by == "tasks" else self.train

    def people(self, study: Study, part: np.ndarray) -> np.ndarray:
        """Participants with a response in a part, in order."""
        return np.unique(study.person[part])

    def tasks(self, study: Study, part: np.ndarray) -> np.ndarray:
        """Tasks with a response in a part, in order."""
        return np.unique(study.task[part])


def split_study(study: Study, config: SplitConfig, seed: int) -> Split:
    """Draw a split; the same study, configuration and seed give the same one.

    The test part is the same for every `fraction`. A larger one adds people to those of a smaller
    one, and nobody moves between training and validation.

    Raises:
      CrowdError: a share is out of range, or a part would be empty.
    """
    for name in ("test", "validation"):
        share = getattr(config, name)
        if not 0 <= share < 1 or (name == "test" and share == 0):
            raise CrowdError(f"split.{name}: {share} is not a share between 0 and 1")
    if config.test + config.validation >= 1:
        raise CrowdError("split: test and validation leave nothing to train on")
    if not 0 < config.fraction <= 1:
        raise CrowdError(f"split.fraction: {config.fraction} is not above 0 and at most 1")
    unit = study.task if config.by == "tasks" else study.person
    units = np.unique(unit)
    random = np.random.default_rng([seed, 1])
    shuffled = random.permutation(units)
    n_test = max(1, round(config.test * len(units)))
    test = np.isin(unit, shuffled[:n_test])
    rest = shuffled[n_test:]
    pool = rest if config.by == "people" else np.unique(study.person)
    pool = np.random.default_rng([seed, 2]).permutation(pool)
    kept = pool[: max(1, round(config.fraction * len(pool)))]
    used = ~test & np.isin(study.person, kept)
    if config.by == "people":
        # Of the first n people kept, so many validate; two train before the first one does.
        due = np.ceil(config.validation / (1 - config.test) * np.arange(-1, len(kept) - 1).clip(0))
        validating = kept[np.diff(due, prepend=0) > 0]
    else:
        count = max(1, round(config.validation * len(units))) if config.validation else 0
        validating = rest[:count]
    validation = used & np.isin(unit, validating)
    train = used & ~validation
    if not train.any():
        raise CrowdError(
            f"split: {len(units)} {config.by} are too few to hold out {config.test:.0%} for the "
            f"test and {config.validation:.0%} for validation and still train; lower the shares"
        )
    return Split(config.by, train, validation, test)
