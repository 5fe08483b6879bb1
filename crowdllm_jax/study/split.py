"""Hold out tasks, people or answers, so that a crowd is judged on what it has not seen."""

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.numerals import check_seed
from crowdllm_jax.study.known_answers import (
    hold_out_fold,
    hold_out_later,
    hold_out_share,
    hold_out_told,
    may_be_held,
)
from crowdllm_jax.study.records import Study

Fold = int | Literal["all"] | None
"""Which split of a seed: one by `test` (None), the one that holds out the k-th fold, or one that
tests nobody ("all")."""

FOLDS, TEST, KNOWN = 5, 0.2, 0.8

SMALL, MOST_ANSWERS = 150, 20_000
"""A fifth of fewer tasks (people) than this is fewer than 30, on which no interval stands firm; a
study of more answers is not fitted several times unless asked for."""


class SplitConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is held out.

    Attributes:
      by: tasks (can the crowd answer new tasks?), people (does it look like people not asked?) or
        answers (what else would a person say of whom some answers are known?).
      test: share of the tasks or people held out for the scores, once; 0.2 unless there are folds.
      folds: cut the tasks or people in so many parts and hold out each in turn, so that all are
        held out once; 0 or 1 is a single split. None leaves it to `folds_of`. By answers, each
        person's are cut.
      known: by answers, the share of each person's that the fit and the twin may see; 0.8 unless
        there are folds.
      first: instead of a share, how many of each person's answers, in the order of the responses'
        table, are known.
      column: instead of a share, the column of the responses' table that says which are known.
      validation: share held out for early stopping; 0 trains for all epochs. None by answers.
      fraction: share of the remaining participants whose answers are used at all.
    """

    by: Literal["tasks", "people", "answers"] = "tasks"
    test: float | None = None
    known: float | None = None
    first: Annotated[int, msgspec.Meta(ge=1)] | None = None
    column: str | None = None
    folds: Annotated[int, msgspec.Meta(ge=0, le=1000)] | None = None
    validation: float = 0.1
    fraction: float = 1.0


@dataclass(frozen=True)
class Split:
    """Which responses serve what; the three (R,) masks do not overlap.

    Attributes:
      by: "tasks", "people" or "answers".
      train, validation, test: (R,) bool over the study's responses.
      folds: of how many folds the test part is one; 1 of a single split.
    """

    by: str
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    folds: int = 1

    @property
    def seen(self) -> np.ndarray:
        """(R,) bool: all that is not held out, for models that choose nothing by validation."""
        seen: np.ndarray = self.train | self.validation
        return seen

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


def folds_of(study: Study, config: SplitConfig) -> int:
    """In how many folds a study is held out; 1 is a single split.

    Where the configuration gives neither `folds` nor `test`: FOLDS if there are fewer than SMALL
    tasks (people, if these are held out) and at most MOST_ANSWERS answers.

    Raises:
      CrowdError: there are fewer tasks (people) than folds, or a test share beside them.
    """
    if config.by == "answers":
        return _folds_of_answers(study, config)
    units = len(np.unique(study.task if config.by == "tasks" else study.person))
    if config.folds is None:
        small = units < SMALL and len(study.task) <= MOST_ANSWERS
        return min(FOLDS, units) if small and config.test is None else 1
    if config.folds > 1 and config.test is not None:
        raise CrowdError(
            f"split: test: {config.test} holds out a share once, folds: {config.folds}"
            " everything in turn; give one of the two"
        )
    if config.folds > units:
        raise CrowdError(
            f"split.folds: {config.folds} are more than the {units} {config.by} there are"
        )
    return max(config.folds, 1)


def _folds_of_answers(study: Study, config: SplitConfig) -> int:
    folds = config.folds or 1
    once = next(iter(_told_known(config)), None)
    if folds > 1 and once is not None:
        raise CrowdError(
            f"split: {once} holds out the rest once, folds: {folds} every answer in turn; give one "
            "of the two"
        )
    most = int(np.bincount(study.person[may_be_held(study)], minlength=1).max())
    if folds > max(most, 1):
        raise CrowdError(f"split.folds: {folds} are more than the {most} answers anybody gives")
    return folds


def split_study(study: Study, config: SplitConfig, seed: int, fold: Fold = None) -> Split:
    """Draw a split; the same study, configuration, seed and fold give the same one.

    The test part is the same for every `fraction`. A larger one adds people to those of a smaller
    one, and nobody moves between training and validation.

    Args:
      fold: None for the seed's single split, whatever `config.folds` says.
    Raises:
      CrowdError: a share is out of range, or a part would be empty.
    """
    check_seed(seed)
    if study.toplines:
        _check_shares(config)
    if config.by == "answers":
        return _split_answers(study, config, seed, fold)
    if told := _told_known(config):
        raise CrowdError(
            f"split.{told[-1]}: is about a person's answers; with by: {config.by} give split.test"
        )
    share = TEST if config.test is None else config.test
    for name, held_out in (("test", share), ("validation", config.validation)):
        if not 0 <= held_out < 1 or (name == "test" and held_out == 0):
            raise CrowdError(f"split.{name}: {held_out} is not a share between 0 and 1")
    if share + config.validation >= 1:
        raise CrowdError("split: test and validation leave nothing to train on")
    if not 0 < config.fraction <= 1:
        raise CrowdError(f"split.fraction: {config.fraction} is not above 0 and at most 1")
    unit = study.task if config.by == "tasks" else study.person
    units = np.unique(unit)
    random = np.random.default_rng([seed, 1])
    shuffled = random.permutation(units)
    folds = 1 if fold is None else folds_of(study, config)
    if fold is None:
        tested = shuffled[: max(1, round(share * len(units)))]
    elif fold == "all":
        tested, share = shuffled[:0], 0.0
    else:
        tested, share = _held_in_turn(study, config, shuffled, folds)[fold], 1 / folds
    test = np.isin(unit, tested)
    rest = shuffled[~np.isin(shuffled, tested)]
    pool = rest if config.by == "people" else np.unique(study.person)
    pool = np.random.default_rng([seed, 2]).permutation(pool)
    kept = pool[: max(1, round(config.fraction * len(pool)))]
    used = ~test & np.isin(study.person, kept)
    if config.by == "people":
        # Of the first n people kept, so many validate; two train before the first one does.
        due = np.ceil(config.validation / (1 - share) * np.arange(-1, len(kept) - 1).clip(0))
        validating = kept[np.diff(due, prepend=0) > 0]
    else:
        count = max(1, round(config.validation * len(units))) if config.validation else 0
        validating = rest[:count]
    validation = used & np.isin(unit, validating)
    train = used & ~validation
    if not train.any():
        raise CrowdError(
            f"split: {len(units)} {config.by} are too few to hold out {share:.0%} for the "
            f"test and {config.validation:.0%} for validation and still train; lower the shares"
        )
    return Split(config.by, train, validation, test, folds)


def _held_in_turn(
    study: Study, config: SplitConfig, shuffled: np.ndarray, folds: int
) -> list[np.ndarray]:
    """The people (tasks) that each fold holds out. Whoever counts for nothing is dealt apart from
    the others, so that no fold holds out such people alone."""
    counts = np.ones(len(shuffled), bool)
    if config.by == "people":
        counts = study.participants.weight[shuffled] > 0
    both = (np.array_split(shuffled[part], folds) for part in (counts, ~counts))
    return [np.concatenate(parts) for parts in zip(*both, strict=True)]


def _check_shares(config: SplitConfig) -> None:
    """Raise CrowdError if a split of published shares needs people."""
    if config.by != "tasks":
        raise CrowdError(
            f"split.by: {config.by} needs people, of whom published shares say nothing; give by: "
            "tasks"
        )
    if config.fraction != 1:
        raise CrowdError(
            f"split.fraction: {config.fraction} of the people are to be used, of whom published "
            "shares say nothing; leave it out"
        )


def _told_known(config: SplitConfig) -> list[str]:
    """The keys that say which of a person's answers are known."""
    return [name for name in ("known", "first", "column") if getattr(config, name) is not None]


def _split_answers(study: Study, config: SplitConfig, seed: int, fold: Fold) -> Split:
    """Everybody's known answers train; nothing is chosen by validation."""
    known = KNOWN if config.known is None else config.known
    if config.test is not None:
        raise CrowdError("split.test: with by: answers give split.known, the share not held out")
    if config.fraction != 1:
        raise CrowdError("split.fraction: is of people; with by: answers give split.known alone")
    if len(told := _told_known(config)) > 1:
        raise CrowdError(f"split: {' and '.join(told)} both say which answers are known; give one")
    if not 0 < known < 1:
        raise CrowdError(f"split.known: {known} is not a share between 0 and 1")
    folds = 1 if fold is None else folds_of(study, config)
    if fold == "all":
        test = np.zeros(len(study.task), bool)
    elif fold is None and config.column is not None:
        test = hold_out_told(study, config.column)
    elif fold is None and config.first is not None:
        test = hold_out_later(study, config.first)
    elif fold is None:
        test = hold_out_share(study, known, seed)
    else:
        test = hold_out_fold(study, folds, fold, seed)
    if fold != "all" and not test.any():
        raise CrowdError(
            "split.by: answers holds out nothing: nobody gives several answers to tasks that are "
            "answered one at a time (or split.known, first or column leaves nothing)"
        )
    return Split("answers", ~test, np.zeros_like(test), test, folds)


def told_folds(study: Study, config: SplitConfig) -> str | None:
    """What a user should know of a run in folds; None of a single split."""
    folds = folds_of(study, config)
    if folds == 1:
        return None
    if config.by == "answers":
        return (
            f"each of {may_be_held(study).sum():,} answers once (but nobody's only one), in "
            f"{folds} folds; the population is of a crowd fitted to all"
        )
    units = len(np.unique(study.task if config.by == "tasks" else study.person))
    why = "" if config.folds is not None else " as they are few (`test: 0.2` holds out once)"
    return (
        f"each of {units} {config.by} once, in {folds} folds{why}; the population is of a "
        "crowd fitted to all"
    )
