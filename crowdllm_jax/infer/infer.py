"""What held-out people and the crowd say together, as a table with intervals.

The labelled people are those whose answers the crowd was not fitted on (`split.test`; with folds
everybody, each predicted by the crowd of the fold that holds them out); the unlabelled ones are
everybody else in the study, or in a table of profiles that the user gives.
`estimate` says what is assumed of them.
"""

import contextlib
import warnings
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.infer.estimate import Estimate, EstimationRows, estimate
from crowdllm_jax.infer.known_profiles import KnownProfiles, regressors
from crowdllm_jax.infer.question import MEAN, Estimand, _chosen
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.population.expected import expected_answers
from crowdllm_jax.runtime.progress import Progress, silent
from crowdllm_jax.study import scales
from crowdllm_jax.study.coding import recode
from crowdllm_jax.study.records import Study

RARE = 5
"""People who must give, and who must not give, one of two answers for its share to have an
interval."""
MOST = 1 << 27
"""Numbers that are kept at once: people x tasks x columns."""


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
