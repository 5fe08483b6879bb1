"""What held-out people and the crowd say together, as a table with intervals.

The labelled people are those whose answers the crowd was not fitted on (`split.test`; with folds
everybody, each predicted by the crowd of the fold that holds them out); the unlabelled ones are
everybody else in the study, or in a table of profiles that the user gives. The crowd predicts from
people's profiles, or, as twins, from their other answers too.
`estimate` says what is assumed of them.
"""

import contextlib
import warnings
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.infer.by_answers import may_stand_for, predict_by_answers
from crowdllm_jax.infer.estimate import RARE, Estimate, EstimationRows, estimate
from crowdllm_jax.infer.known_profiles import KnownProfiles, regressors
from crowdllm_jax.infer.planned import (
    PlannedAnswers,
    check_all_held,
    check_different,
    decided_by,
    planned_weights,
)
from crowdllm_jax.infer.predictions import PredictedPeople, crowd_that_predicts, predict
from crowdllm_jax.infer.question import MEAN, Estimand, choose_tasks
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.runtime.progress import Progress, silent
from crowdllm_jax.study import scales
from crowdllm_jax.study.coding import recode
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.routing import people_asked, routes_in

MOST = 1 << 27
"""Numbers that are kept at once: people x tasks x columns."""


@dataclass(frozen=True)
class _Evidence:
    """What every estimate is made of.

    Attributes:
      labelled: (R,) bool, the study's responses that no crowd that predicts them was fitted on.
      tasks: (T,) that are asked of. level: (T,) whose share is asked for; None asks for the mean.
      terms: (k,) what the columns are called.
      people: those of the study. others: unlabelled people; None takes those of the study for whom
        the crowd may stand.
      stands: (N, T) bool, for which unlabelled people's answer to which of the tasks: not for that
        of who is not asked.
      plans: by which answers were gathered; none if those of a random sample were.
    """

    study: Study
    labelled: np.ndarray
    question: Estimand
    tasks: np.ndarray
    level: np.ndarray | None
    terms: tuple[str, ...]
    people: PredictedPeople
    others: PredictedPeople | None
    stands: np.ndarray
    plans: tuple[PlannedAnswers, ...] = ()


# Ten arguments: who predicts, what is known, what is asked, and four choices with defaults.
def infer(
    crowds: Crowd | tuple[Crowd, ...],
    study: Study,
    held: np.ndarray,
    question: Estimand = MEAN,
    tasks: tuple[str, ...] | None = None,
    others: KnownProfiles | None = None,
    *,
    twins: bool = False,
    plans: tuple[PlannedAnswers, ...] = (),
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
      twins: predict people's answers from their profile and their other answers, with a persistent
        crowd; False, from their profile alone.
      plans: by which some answers were gathered, in the order in which they were made; people are
        then weighted by the chance they had to be asked.
      per_profile: agents of each profile that make a prediction (see `expected_answers`).
    Returns:
      a row per task (and coefficient): task_id, (term,) estimate, low, high, humans_alone,
      humans_low, humans_high, people, effective_people, crowd_weight (lambda), profiles.
    Raises:
      CrowdError: it cannot be done, and why.
    """
    _check(question, twins=twins, others=others, plans=plans)
    crowds = crowds if isinstance(crowds, tuple) else (crowds,)
    held = np.atleast_2d(held)
    labelled = np.asarray(held.any(axis=0))
    chosen, level = choose_tasks(study, labelled, question, tasks)
    if plans:
        check_all_held(study, held, chosen)
    n, profile = len(study.participants.ids), study.participants.profile
    in_study = KnownProfiles(recode(crowds[0].codings, profile), study.participants.weight)
    terms = regressors(in_study.attributes, question.attributes, n)[1]

    def predicted(known: KnownProfiles, size: int, first: int) -> PredictedPeople:
        columns = _columns(known, question.attributes, len(chosen))
        complete = np.isfinite(columns).all(1)
        usable = complete & (known.weight > 0)
        if twins:
            expected = predict_by_answers(crowds, study, held, chosen, level, progress).mean
        else:
            of = crowd_that_predicts(study, held, chosen, size)
            expected = predict(
                crowds, known, of, chosen, level, per_profile=per_profile, progress=progress
            )
        if not complete.all():
            _warn_incomplete(complete, question.attributes, stacklevel=4)
        return PredictedPeople(first, known.weight, columns, expected, usable)

    people = predicted(in_study, n, 0)
    unlabelled = None if others is None else predicted(others, 0, n)
    stands = _stands(study, held, chosen, others, twins=twins)
    evidence = _Evidence(
        study, labelled, question, chosen, level, terms, people, unlabelled, stands, plans
    )
    return _table(_estimates(evidence, strict=tasks is not None), terms)


def _check(
    question: Estimand,
    *,
    twins: bool,
    others: KnownProfiles | None,
    plans: tuple[PlannedAnswers, ...],
) -> None:
    if plans and others is not None:
        raise CrowdError(
            "--plan: was made of the study's people, not of those of --profiles: leave out one of "
            "the two"
        )
    check_different(plans)
    if not 0 < question.confidence < 1:
        raise CrowdError(
            f"--level {question.confidence:g}: give a share between 0 and 1, such as 0.95"
        )
    if twins and others is not None:
        raise CrowdError(
            "--twins predicts from people's other answers, and the people of --profiles have given "
            "none: leave out one of the two"
        )


def _unlabelled(study: Study, labelled: np.ndarray) -> np.ndarray:
    """(N, T) bool, who has given no labelled answer to which task."""
    none = np.ones((len(study.participants.ids), len(study.tasks.ids)), bool)
    none[study.person[labelled], study.task[labelled]] = False
    return none


def _stands(
    study: Study, held: np.ndarray, tasks: np.ndarray, others: KnownProfiles | None, *, twins: bool
) -> np.ndarray:
    """(N, T) bool, for which unlabelled people's answer to which of some tasks the crowd may stand:
    they are asked it, and give no labelled answer."""
    if others is not None:
        return _asked_by_profile(study, tasks, others)
    may = may_stand_for(study, held) if twins else _unlabelled(study, np.asarray(held.any(axis=0)))
    asked, everybody = people_asked(study), np.ones(len(may), bool)
    of_task = np.stack([asked.get(task, everybody) for task in tasks.tolist()], axis=1)
    return np.asarray(may[:, tasks] & of_task)


def _asked_by_profile(study: Study, tasks: np.ndarray, others: KnownProfiles) -> np.ndarray:
    """(M, T) bool, who of people of whom the profile is known is asked which of some tasks.

    Raises:
      CrowdError: that depends on what they answer.
    """
    m, routes = len(others.weight), {route.task: route for route in routes_in(study)}
    stands = np.ones((m, len(tasks)), bool)
    for column, task in enumerate(tasks.tolist()):
        if (route := routes.get(task)) is None:
            continue
        if route.reads:
            raise CrowdError(
                f"--profiles: '{study.tasks.ids[task]}' is asked by what people answered to "
                f"'{study.tasks.ids[route.reads[0]]}' (ask_if), which profiles do not say; name "
                "other tasks (--tasks), or leave out --profiles"
            )
        stands[:, column] = route.condition.holds(others.attributes, m)
    return stands


def _columns(people: KnownProfiles, attributes: tuple[str, ...], tasks: int) -> np.ndarray:
    """(N, k) regressors, where they and the predictions of so many tasks fit into memory."""
    n = len(people.weight)
    columns, _ = regressors(people.attributes, attributes, n)
    if columns.size * tasks > MOST:
        raise CrowdError(
            f"{n:,} people times {tasks:,} tasks are too many at once; choose fewer with --tasks"
        )
    return columns


def _warn_incomplete(complete: np.ndarray, attributes: tuple[str, ...], stacklevel: int) -> None:
    n = len(complete)
    lack = " or ".join(attributes)
    warnings.warn(
        f"{n - complete.sum():,} of {n:,} people are left out: they lack {lack}",
        CrowdWarning,
        stacklevel=stacklevel,
    )


def _task_rows(
    evidence: _Evidence, column: int
) -> tuple[EstimationRows, np.ndarray, EstimationRows]:
    """Labelled people, their answers, and unlabelled people of one of the chosen tasks."""
    study, people = evidence.study, evidence.people
    on_task = evidence.labelled & (study.task == evidence.tasks[column])
    responses = np.flatnonzero(on_task)
    responses = responses[people.usable[study.person[responses]]]
    unlabelled = people if evidence.others is None else evidence.others
    usable = unlabelled.usable & evidence.stands[:, column]
    asked = people
    if evidence.plans:
        asked, usable = _planned(evidence, column, responses, usable)
    name = study.tasks.ids[evidence.tasks[column]]
    if not usable.any() and evidence.others is not None and name in study.tasks.ask_if:
        raise CrowdError(
            f"none of these people is asked '{name}' (ask_if: {study.tasks.ask_if[name]}); leave "
            "it out of --tasks, or give profiles of people who are"
        )
    if not usable.any():
        asked_it = " who is asked it" if name in study.tasks.ask_if else ""
        raise CrowdError(
            f"everybody in the study{asked_it} answered, so there is nobody whose answer "
            "the crowd could stand for; give real people's profiles: --profiles "
            "FILE"
        )
    if evidence.level is None:
        answer = study.value[responses]
    else:
        answer = (study.answer[responses] == evidence.level[column]) * 1.0
    return (
        asked.rows(study.person[responses], column),
        answer,
        unlabelled.rows(np.flatnonzero(usable), column),
    )


def _planned(
    evidence: _Evidence, column: int, responses: np.ndarray, usable: np.ndarray
) -> tuple[PredictedPeople, np.ndarray]:
    """The people weighted by the chance they had to be asked, and (N,) bool, whom they stand for:
    unlike those of a random sample, the others are none, so all are compared with them."""
    study, people = evidence.study, evidence.people
    answered = np.zeros(len(usable), bool)
    answered[study.person[responses]] = True
    task, everybody = int(evidence.tasks[column]), answered | usable
    _check_route(evidence, task)
    times = planned_weights(evidence.plans, task, answered, everybody, people.weight)
    return replace(people, weight=people.weight * times), everybody


def _check_route(evidence: _Evidence, task: int) -> None:
    """Raise CrowdError if a plan asked what decides who is asked a task: of whom that is known is
    then no longer by chance."""
    study = evidence.study
    planned = {one for plan in evidence.plans for one in np.unique(plan.task).tolist()}
    decides = decided_by(study, task, planned)
    if decides is not None:
        raise CrowdError(
            f"'{study.tasks.ids[task]}' is asked by the answer to '{study.tasks.ids[decides]}' "
            "(ask_if), which a plan asked of some people rather than others, so who is known "
            "to be asked it is no fair part of those who are; leave it out (--tasks)"
        )


def _estimates(evidence: _Evidence, *, strict: bool) -> dict[str, Estimate]:
    """What is asked of every task, or of all together.

    Args:
      strict: no task may be left out, as the user named them.
    """
    names = [evidence.study.tasks.ids[task] for task in evidence.tasks]
    groups = {name: [column] for column, name in enumerate(names)}
    if evidence.question.pool:
        groups = {f"{len(names)} tasks": list(range(len(names)))}
    estimates, refused = {}, []
    for name, columns in groups.items():
        try:
            estimates[name] = _estimate(evidence, columns)
        except CrowdError as error:
            refused.append(f"{name}: {error}")
            if strict:
                break
    if refused and (strict or not estimates):
        raise CrowdError(refused[0] + _likewise(evidence, refused))
    if refused:
        warnings.warn(
            f"{len(refused)} of {len(names)} tasks are left out; {refused[0]}",
            CrowdWarning,
            stacklevel=3,
        )
    return estimates


def _estimate(evidence: _Evidence, columns: list[int]) -> Estimate:
    """What is asked, of the chosen tasks in these columns together."""
    labelled, answers, unlabelled = zip(
        *(_task_rows(evidence, column) for column in columns), strict=True
    )
    answer, rows = np.concatenate(answers), _join(labelled)
    estimated = estimate(rows, answer, _join(unlabelled), level=evidence.question.confidence)
    for values, what in (
        (answer, "answer"),
        *zip(rows.columns.T[1:], evidence.terms[1:], strict=True),
    ):
        different = np.unique(values)
        fewest = min(len(np.unique(rows.person[values == value])) for value in different[:2])
        if len(different) == 2 and fewest < RARE:
            raise CrowdError(
                f"{what}: only {fewest} of {estimated.people} people differ from the "
                f"others, too few for an interval; {RARE} are needed"
            )
    if evidence.question.kind == "regress":
        return estimated
    return _within(estimated, evidence.study, evidence.tasks[columns[0]], evidence.level)


def _likewise(evidence: _Evidence, refused: list[str]) -> str:
    """How many more tasks are refused, and whether all together would do."""
    if len(refused) == 1:
        return ""
    pool = ""
    with contextlib.suppress(CrowdError):
        _estimate(evidence, list(range(len(evidence.tasks))))
        pool = "; --pool takes tasks together"
    return f" (and {len(refused) - 1} more tasks likewise{pool})"


def _join(tasks: tuple[EstimationRows, ...]) -> EstimationRows:
    fields = ("person", "task", "weight", "columns", "predicted")
    return EstimationRows(
        *(np.concatenate([getattr(rows, name) for rows in tasks]) for name in fields)
    )


def _within(estimated: Estimate, study: Study, task: int, level: np.ndarray | None) -> Estimate:
    """No interval leaves the range of what it is of."""
    low, high = (0.0, 1.0)
    if level is None:
        low, *_, high = scales.values(study.scale_of(task)).tolist()
    names = ("value", "low", "high", "alone", "alone_low", "alone_high")
    clipped = {name: np.clip(getattr(estimated, name), low, high) for name in names}
    return replace(estimated, **clipped)


def _table(estimates: dict[str, Estimate], terms: tuple[str, ...]) -> pa.Table:
    k, n = len(terms), len(estimates)
    columns: dict[str, object] = {"task_id": np.repeat(list(estimates), k)}
    if k > 1:
        columns["term"] = list(terms) * n

    def joined(name: str) -> np.ndarray:
        return np.concatenate(
            [np.broadcast_to(getattr(estimated, name), k) for estimated in estimates.values()]
        )

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
