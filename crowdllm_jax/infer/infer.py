"""What held-out people and the crowd say together, as a table with intervals.

The labelled people are those whose answers the crowd was not fitted on (`split.test`; with folds
everybody, each predicted by the crowd of the fold that holds them out); the unlabelled ones are
everybody else in the study, or in a table of profiles that the user gives.
`estimate` says what is assumed of them.
"""

import contextlib
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.infer.estimate import Estimate, EstimationRows, estimate
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.population.expected import expected_answers
from crowdllm_jax.runtime.progress import Progress, silent
from crowdllm_jax.study import scale_text, scales
from crowdllm_jax.study.coding import recode
from crowdllm_jax.study.csv_file import Dialect
from crowdllm_jax.study.ids import MISSING, Entities, attribute_of
from crowdllm_jax.study.missing import drop_missing
from crowdllm_jax.study.records import Attribute, Study
from crowdllm_jax.study.scales import Nominal, Scale
from crowdllm_jax.study.spec import StudySpec, attribute_spec
from crowdllm_jax.study.tables import read_table

RARE = 5
"""People who must give, and who must not give, one of two answers for its share to have an
interval."""
MOST = 1 << 27
"""Numbers that are kept at once: people x tasks x columns."""


@dataclass(frozen=True)
class Estimand:
    """What is asked of every task.

    Attributes:
      kind: the mean answer, the share of a level, or the coefficients of the answer on attributes.
      level: as the data writes it, or its label. attributes: names.
      pool: all tasks together, instead of each task by itself.
      confidence: of the intervals.
    """

    kind: Literal["mean", "share", "regress"] = "mean"
    level: str = ""
    attributes: tuple[str, ...] = ()
    pool: bool = False
    confidence: float = 0.95


MEAN = Estimand()


@dataclass(frozen=True)
class KnownProfiles:
    """Real people of whom the profile is known: attributes of N cells, and (N,) weights."""

    attributes: tuple[Attribute, ...]
    weight: np.ndarray


@dataclass(frozen=True)
class _Side:
    """People ready to be put into rows.

    Attributes:
      first: the number of the first of them; nobody of the other side has it.
      weight: (N,), columns: (N, k), predicted: (N, T) of the chosen tasks.
      usable: (N,) whose weight is above 0 and whose columns are known.
    """

    first: int
    weight: np.ndarray
    columns: np.ndarray
    predicted: np.ndarray
    usable: np.ndarray


def infer(
    crowds: Crowd | tuple[Crowd, ...],
    study: Study,
    held: np.ndarray,
    question: Estimand = MEAN,
    tasks: tuple[str, ...] | None = None,
    others: KnownProfiles | None = None,
    *,
    per_profile: int | None = None,
    progress: Progress = silent,
) -> pa.Table:
    """Estimate from labelled people and a crowd, or one crowd for each fold.

    Args:
      held: (R,) bool, the study's responses that the crowd was not fitted on; (K, R) of K crowds,
        each response held out from one of them at most.
      tasks: ids; None takes all that suit the question, and warns of those with too few people.
      others: unlabelled people; None takes those of the study who give no labelled answer to the
        task at hand.
      per_profile: agents of each profile that make a prediction (see `expected_answers`).
    Returns:
      a row per task (and coefficient): task_id, (term,) estimate, low, high, humans_alone,
      humans_low, humans_high, people, effective_people, crowd_weight (lambda), profiles.
    Raises:
      CrowdError: it cannot be done, and why.
    """
    if not 0 < question.confidence < 1:
        raise CrowdError(
            f"--level {question.confidence:g}: give a share between 0 and 1, such as 0.95"
        )
    crowds = crowds if isinstance(crowds, tuple) else (crowds,)
    held = np.atleast_2d(held)
    labelled = np.asarray(held.any(axis=0))
    chosen, level = _chosen(study, labelled, question, tasks)
    own = study.participants
    known = KnownProfiles(recode(crowds[0].codings, own.profile), own.weight)
    terms = regressors(known.attributes, question.attributes, len(own.ids))[1]

    def side(people: KnownProfiles, first: int) -> _Side:
        n = len(people.weight)
        columns, _ = regressors(people.attributes, question.attributes, n)
        if columns.size * len(chosen) > MOST:
            raise CrowdError(
                f"{n:,} people times {len(chosen):,} tasks are too many at once; "
                "choose fewer with --tasks"
            )
        by_fold = np.stack(
            [
                expected_answers(
                    crowd,
                    people.attributes,
                    n,
                    chosen,
                    level,
                    per_profile=per_profile,
                    progress=progress,
                )
                for crowd in crowds
            ]
        )
        whose = _crowd_of(study, held, chosen, n if people is known else 0)
        predicted = cross_predicted(by_fold, people.weight, whose)
        complete = np.isfinite(columns).all(1)
        if not complete.all():
            lack = " or ".join(question.attributes)
            warnings.warn(
                f"{n - complete.sum():,} of {n:,} people are left out: they lack {lack}",
                CrowdWarning,
                stacklevel=3,
            )
        return _Side(first, people.weight, columns, predicted, complete & (people.weight > 0))

    here = side(known, 0)
    there = here if others is None else side(others, len(own.ids))
    value = study.value if level is None else study.answer

    def rows(place: int) -> tuple[EstimationRows, np.ndarray, EstimationRows]:
        """Labelled people, their answers, and unlabelled people of one task."""
        answers = np.flatnonzero(labelled & (study.task == chosen[place]))
        answers = answers[here.usable[study.person[answers]]]
        asked = study.person[answers]
        rest = there.usable.copy()
        if others is None:
            rest[study.person[labelled & (study.task == chosen[place])]] = False
        if not rest.any():
            raise CrowdError(
                "everybody in the study answered, so there is nobody whose answer "
                "the crowd could stand for; give real people's profiles: --profiles "
                "FILE"
            )
        given = value[answers] if level is None else (value[answers] == level[place]) * 1.0
        return _rows(here, asked, place), given, _rows(there, np.flatnonzero(rest), place)

    def of(places: list[int]) -> Estimate:
        ours, given, theirs = zip(*(rows(place) for place in places), strict=True)
        answer = np.concatenate(given)
        asked = _join(ours)
        one = estimate(asked, answer, _join(theirs), level=question.confidence)
        for column, what in ((answer, "answer"), *zip(asked.columns.T[1:], terms[1:], strict=True)):
            each = np.unique(column)
            fewest = min(len(np.unique(asked.person[column == value])) for value in each[:2])
            if len(each) == 2 and fewest < RARE:
                raise CrowdError(
                    f"{what}: only {fewest} of {one.people} people differ from the "
                    f"others, too few for an interval; {RARE} are needed"
                )
        if question.kind == "regress":
            return one
        return _within(one, study, chosen[places[0]], level)

    names = [study.tasks.ids[task] for task in chosen]
    groups = {name: [place] for place, name in enumerate(names)}
    if question.pool:
        groups = {f"{len(names)} tasks": list(range(len(names)))}
    found, refused = {}, []
    for name, places in groups.items():
        try:
            found[name] = of(places)
        except CrowdError as error:
            refused.append(f"{name}: {error}")
            if tasks is not None:
                break
    if refused and (tasks is not None or not found):
        more = ""
        if len(refused) > 1:
            pool = ""
            with contextlib.suppress(CrowdError):
                of(list(range(len(names))))
                pool = "; --pool takes tasks together"
            more = f" (and {len(refused) - 1} more tasks likewise{pool})"
        raise CrowdError(refused[0] + more)
    if refused:
        warnings.warn(
            f"{len(refused)} of {len(names)} tasks are left out; {refused[0]}",
            CrowdWarning,
            stacklevel=2,
        )
    return _table(found, terms)


def _crowd_of(study: Study, held: np.ndarray, chosen: np.ndarray, n: int) -> np.ndarray:
    """(N or 1, T) which of K crowds must predict a person's answer to a task: the one that it, or
    the person's other answers, or the task's, are held out from; -1 if any may."""
    k, people = len(held), len(study.participants.ids)
    by_person, by_task = (
        np.stack([np.bincount(unit[own], minlength=size) for own in held])
        for unit, size in ((study.person, people), (study.task, len(study.tasks.ids)))
    )
    # Where people are held out all of a person's answers are in one fold, else all of a task's.
    if k > 1 and ((by_task > 0).sum(0) <= 1).all():
        return np.where(by_task.any(0), by_task.argmax(0), -1)[chosen][None]
    if n == 0:
        return np.full((1, 1), -1)
    return np.where(by_person.any(0), by_person.argmax(0), -1)[:, None]


def cross_predicted(by_fold: np.ndarray, weight: np.ndarray, whose: np.ndarray) -> np.ndarray:
    """(N, T) predictions for people by crowds that have not seen their answers.

    Where people are held out, a crowd's level follows the answers it was fitted on, which are those
    of all but one fold: it is high where that fold's people answer low. Crowds are therefore moved
    to one average over all people, and differ in what they say of profiles alone.

    Args:
      by_fold: (K, N, T) what each of K crowds expects. weight: (N,) of the people.
      whose: which crowd to take, (N, 1) by person or (1, T) by task; -1 takes the mean of all.
    """
    if len(by_fold) == 1:
        return by_fold[0]
    moved = by_fold
    if len(whose) > 1 and weight.any():
        level = np.average(by_fold, axis=1, weights=weight)[:, None]
        moved = by_fold - level + level.mean(0)
    own = np.take_along_axis(moved, np.broadcast_to(whose, by_fold.shape[1:]).clip(0)[None], 0)[0]
    return np.where(whose >= 0, own, by_fold.mean(0))


def _rows(side: _Side, people: np.ndarray, place: int) -> EstimationRows:
    task = np.full(len(people), place)
    return EstimationRows(
        side.first + people,
        task,
        side.weight[people],
        side.columns[people],
        side.predicted[people, place],
    )


def _join(parts: tuple[EstimationRows, ...]) -> EstimationRows:
    fields = ("person", "task", "weight", "columns", "predicted")
    return EstimationRows(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in fields)
    )


def _within(found: Estimate, study: Study, task: int, level: np.ndarray | None) -> Estimate:
    """No interval leaves the range of what it is of."""
    low, high = (0.0, 1.0)
    if level is None:
        low, *_, high = scales.values(study.scale_of(task)).tolist()
    names = ("value", "low", "high", "alone", "alone_low", "alone_high")
    return replace(found, **{name: np.clip(getattr(found, name), low, high) for name in names})


def _chosen(
    study: Study, labelled: np.ndarray, question: Estimand, tasks: tuple[str, ...] | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """(T,) the tasks that are asked of, and (T,) the level whose share is asked for."""
    held = np.unique(study.task[labelled])
    if not len(held):
        raise CrowdError(
            "nobody's answers are held out, so none are left that the crowd was not "
            "fitted on; fit with split.test above 0"
        )
    chosen, odd = held, ""
    if tasks is not None:
        index = {name: place for place, name in enumerate(study.tasks.ids)}
        for name in tasks:
            if name not in index:
                raise CrowdError(
                    f"--tasks: the study has no task '{name}'; it has: {_few(study.tasks.ids)}"
                )
            if index[name] not in held:
                raise CrowdError(
                    f"--tasks: nobody's answers to '{name}' are held out: the crowd was fitted on "
                    f"them; held out are: {_few(tuple(study.tasks.ids[t] for t in held))}"
                )
        chosen = np.array([index[name] for name in dict.fromkeys(tasks)])
    level = np.array([_level(study.scale_of(task), question.level) for task in chosen])
    if question.kind == "share":
        suits = level >= 0
        shown = "; ".join(
            f"{name}: {scale_text.describe(scale)}" for name, scale in study.scales.items()
        )
        odd = f"has no level '{question.level}' ({shown})"
    else:
        suits = np.array([not isinstance(study.scale_of(task), Nominal) for task in chosen])
        odd = "has a nominal scale, whose answers have no mean; ask for --share LEVEL"
    if not suits.all() and (tasks is not None or not suits.any()):
        raise CrowdError(f"task '{study.tasks.ids[chosen[np.argmin(suits)]]}' {odd}")
    chosen, level = chosen[suits], level[suits]
    used = np.unique(study.tasks.scale[chosen])
    if question.pool and len(used) > 1:
        names = ", ".join(tuple(study.scales)[index] for index in used)
        raise CrowdError(
            f"--pool: these tasks have several scales ({names}); choose --tasks of one"
        )
    return chosen, level if question.kind == "share" else None


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:10]) + (f", ... ({len(names):,})" if len(names) > 10 else "")


def _level(scale: Scale, text: str) -> int:
    """The level that a written answer stands for; -1 if none."""
    found = None if scales.size(scale) == 0 else scale_text.parse(scale, text)
    return -1 if found is None else int(found)


def regressors(
    attributes: tuple[Attribute, ...], names: tuple[str, ...], people: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Columns of a regression and what they are called; without names, that of a mean.

    A number is a column in its own units, an ordinal attribute one that counts its levels from 1, a
    categorical one a column for each level but the first. NaN where a number or an ordinal level is
    missing.

    Returns:
      (people, k) float64, the first column all ones.
    """
    by_name = {attribute.name: attribute for attribute in attributes}
    columns, terms = [np.ones(people)], ["intercept"]
    for name in names:
        if name not in by_name:
            raise CrowdError(
                f"--regress: profiles have no attribute '{name}'; they have: "
                f"{', '.join(by_name) or 'none'}"
            )
        if names.count(name) > 1:
            raise CrowdError(f"--regress: '{name}' stands there twice")
        attribute = by_name[name]
        if attribute.kind == "categorical":
            for place, level in enumerate(attribute.levels[1:], start=1):
                columns.append((attribute.cells == place).astype(float))
                terms.append(f"{name}={level}")
            continue
        cells = attribute.cells.astype(float)
        if attribute.kind == "ordinal":
            absent = np.array([level == MISSING for level in attribute.levels])[attribute.cells]
            cells = np.where(absent, np.nan, cells + 1)
        columns.append(cells)
        terms.append(name)
    return np.stack(columns, axis=1), tuple(terms)


def read_profiles(
    path: Path, crowd: Crowd, study: StudySpec | str, weight: str | None = None
) -> KnownProfiles:
    """Read real people's profiles, a row each, in the columns of the study a crowd was fitted on.

    Raises:
      CrowdError: a column is not there, or a cell is none that the crowd knows.
    """
    if isinstance(study, str):
        # A study that comes with a package has no columns; these are the defaults.
        specs = {c.name: attribute_spec(c.kind, c.levels) for c in crowd.codings}
        dialect = Dialect()
    else:
        specs = study.participants.profile
        dialect = study.dialect()
    names = [*specs, *([weight] if weight and weight not in specs else [])]
    if not specs:
        raise CrowdError("--profiles: the study knows nothing of people, so profiles say nothing")
    table = read_table(path, names, dialect=dialect)
    if not isinstance(study, str):
        table = {n: drop_missing(study, "participants", n, table[n]) for n in names}
    n = len(table[names[0]].codes)
    rows = Entities(tuple(map(str, range(2, n + 2))), np.arange(n))
    found = tuple(
        attribute_of(name, spec, table[name], rows, "row") for name, spec in specs.items()
    )
    weights = np.ones(n)
    if weight:
        weights = attribute_of(weight, "numeric", table[weight], rows, "row").cells
        bad = np.isnan(weights) | (weights < 0)
        if bad.any():
            raise CrowdError(
                f"{table[weight].where}: row {rows.ids[int(np.argmax(bad))]} has no "
                "weight of 0 or more"
            )
    return KnownProfiles(recode(crowd.codings, found), weights)


def _table(found: dict[str, Estimate], terms: tuple[str, ...]) -> pa.Table:
    k, n = len(terms), len(found)
    columns: dict[str, object] = {"task_id": np.repeat(list(found), k)}
    if k > 1:
        columns["term"] = list(terms) * n

    def joined(name: str) -> np.ndarray:
        return np.concatenate([np.broadcast_to(getattr(one, name), k) for one in found.values()])

    fields = {
        "estimate": "value",
        "low": "low",
        "high": "high",
        "humans_alone": "alone",
        "humans_low": "alone_low",
        "humans_high": "alone_high",
        "people": "people",
        "effective_people": "effective",
        "crowd_weight": "tuning",
        "profiles": "profiles",
    }
    return pa.table(columns | {name: joined(field) for name, field in fields.items()})
