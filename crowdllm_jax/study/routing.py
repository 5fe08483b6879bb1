"""Who is asked which question.

A task may have a condition (`Tasks.ask_if`) on profiles and on answers to earlier tasks. Whoever
does not fulfil it skips the task: that is no missing answer, and shares are of those who are asked.
"""

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.runtime.names import as_shown
from crowdllm_jax.study import scales
from crowdllm_jax.study.condition import (
    Condition,
    TaskAnswers,
    attribute_named,
    condition_of,
    missing,
)
from crowdllm_jax.study.ids import Entities, code_of_each, first_rows
from crowdllm_jax.study.records import Attribute, Study, only_answers
from crowdllm_jax.study.scales import Scale
from crowdllm_jax.study.tables import Column, rows


@dataclass(frozen=True)
class Route:
    """A task that only some are asked.

    Attributes:
      task: its index. reads: indices of the tasks, and attributes: the names of the attributes,
        that its condition is on.
    """

    task: int
    condition: Condition
    reads: tuple[int, ...]
    attributes: tuple[str, ...]


def routes_of(
    ask_if: Mapping[str, str],
    ids: Sequence[str],
    task_scales: Sequence[Scale],
    attributes: Collection[str],
    heads: Mapping[str, str] | None = None,
) -> tuple[Route, ...]:
    """The tasks that have a condition, each behind those that its condition is on.

    Args:
      ask_if: conditions by the task's id. ids, task_scales: of T tasks. attributes: names of those
        of people. heads: what an error about a task's condition begins with.
    Raises:
      CrowdError: a condition cannot be read, names what is not there, or waits for itself.
    """
    at, heads = {name: i for i, name in enumerate(ids)}, heads or {}
    left: dict[str, Route] = {}
    for name, text in ask_if.items():
        head = heads.get(name, f"ask_if of '{name}': {text}")
        condition = condition_of(text, head)
        if scales.is_ballot(task_scales[at[name]]):
            raise CrowdError(
                f"{head}: '{name}' is one project of a ballot, which is asked as a whole; give "
                "ask_if to tasks that are asked one by one"
            )
        read = condition.reads((*attributes, *at))
        for one in sorted(read):
            attribute_named(one, head, dict.fromkeys((*attributes, *at)), "attribute and no task")
            if one in at and one in attributes:
                raise CrowdError(f"{head}: '{one}' is an attribute and a task; rename one of them")
        tasks = tuple(sorted(at[one] for one in read if one in at))
        own = tuple(one for one in attributes if one in read)
        left[name] = Route(at[name], condition, tasks, own)
    ordered: list[Route] = []
    while left:
        ready = [n for n, route in left.items() if not any(ids[t] in left for t in route.reads)]
        if not ready:
            raise CrowdError(_circular(left, ids))
        ordered += [left.pop(name) for name in ready]
    return tuple(ordered)


def _circular(left: Mapping[str, Route], ids: Sequence[str]) -> str:
    """Tells of tasks that wait for each other."""
    path = [next(iter(left))]
    while path[-1] not in path[:-1]:
        path.append(next(ids[t] for t in left[path[-1]].reads if ids[t] in left))
    circle = path[path.index(path[-1]) :]
    told = " is asked by the answer to ".join(f"'{name}'" for name in circle)
    return f"{left[circle[0]].condition.head}: {told}, so none of them can be asked first"


def conditions_in(column: Column, entities: Entities) -> dict[str, str]:
    """The conditions in a column of a table of tasks, by the task's id; empty cells have none."""
    code = code_of_each(column, entities, "task")
    told = zip(entities.ids, code.tolist(), strict=True)
    return {name: column.distinct[c] for name, c in told if c >= 0}


def heads_of(column: Column, entities: Entities) -> dict[str, str]:
    """What an error about each task's condition begins with: where it stands."""
    first, ask_if = first_rows(entities), conditions_in(column, entities)
    return {
        name: f"{column.where}: {rows(first[[i]])} ('{name}'): {ask_if[name]}"
        for i, name in enumerate(entities.ids)
        if name in ask_if
    }


def check_order(routes: Sequence[Route], entities: Entities) -> None:
    """Raise CrowdError if a task's condition is on one that stands behind it in their table."""
    first = first_rows(entities)
    for route in routes:
        later = [task for task in route.reads if first[task] > first[route.task]]
        if later:
            raise CrowdError(
                f"{route.condition.head}: '{entities.ids[later[0]]}' is asked after it "
                f"({rows(first[[later[0]]])}); put it above, as the tasks stand in the order in "
                "which they are asked"
            )


def who_is_asked(
    routes: Sequence[Route],
    profile: Sequence[Attribute],
    people: int,
    column: Callable[[int], TaskAnswers],
    *,
    believed: bool = False,
) -> dict[int, np.ndarray]:
    """Who is asked each task that has a condition, (N,) bool by the task's index.

    Args:
      profile: attributes of N people or agents. people: N. column: gives their answers to a task;
        those of who is not asked are taken for none.
      believed: whoever answered, and of whom something that the condition is on is not known, is
        taken to have been asked.
    """
    asked: dict[int, np.ndarray] = {}

    def heard(task: int) -> TaskAnswers:
        answers = column(task)
        if task not in asked:
            return answers
        return replace(answers, cells=silenced(answers.cells, asked[task], answers.scale))

    for route in routes:
        earlier = [heard(task) for task in route.reads]
        holds = route.condition.holds(profile, people, earlier)
        if believed:
            unknown = [missing(a) for a in profile if a.name in route.attributes]
            unknown += [
                missing(answers) & asked.get(task, np.ones(people, bool))
                for task, answers in zip(route.reads, earlier, strict=True)
            ]
            gave = ~missing(column(route.task))
            holds = holds | (gave & np.logical_or.reduce([np.zeros(people, bool), *unknown]))
        asked[route.task] = holds
    return asked


def silenced(cells: np.ndarray, asked: np.ndarray, scale: Scale) -> np.ndarray:
    """(N,) answers without those of who is not asked: -1, or NaN on a continuous scale."""
    none = np.nan if scales.is_continuous(scale) else -1
    return np.where(asked, cells, np.asarray(none, cells.dtype))


def routes_in(study: Study, heads: Mapping[str, str] | None = None) -> tuple[Route, ...]:
    """The routes of a study's tasks."""
    several = tuple(study.scales.values())
    task_scales = [several[index] for index in study.tasks.scale]
    names = [attribute.name for attribute in study.participants.profile]
    return routes_of(study.tasks.ask_if, study.tasks.ids, task_scales, names, heads)


def people_asked(study: Study, heads: Mapping[str, str] | None = None) -> dict[int, np.ndarray]:
    """Who of a study's people is asked each task that has a condition: see `who_is_asked`.

    Of published shares this is told of conditions on profiles alone: those who stand behind them
    answer one task each.
    """
    routes = routes_in(study, heads)
    if study.toplines:
        routes = tuple(route for route in routes if not route.reads)
    return believed_asked(study, routes)


def believed_asked(study: Study, routes: Sequence[Route]) -> dict[int, np.ndarray]:
    """Who of a study's people is asked by some routes, those who answered among them."""
    people, answers = study.participants, partial(answers_to, study)
    return who_is_asked(routes, people.profile, len(people.ids), answers, believed=True)


def answers_to(study: Study, task: int) -> TaskAnswers:
    """What a study's people answered to a task."""
    scale = study.scale_of(task)
    cells = np.full(len(study.participants.ids), np.nan if scales.is_continuous(scale) else -1.0)
    gave = study.task == task
    cells[study.person[gave]] = study.answer[gave]
    return TaskAnswers(study.tasks.ids[task], scale, cells)


def skipped(asked: Mapping[int, np.ndarray], task: np.ndarray, person: np.ndarray) -> np.ndarray:
    """(R,) bool: which of R pairs of a task and a person are not asked."""
    out = np.zeros(len(task), bool)
    for index, who in asked.items():
        rows_of = np.flatnonzero(task == index)
        out[rows_of] = ~who[person[rows_of]]
    return out


def without_skipped(study: Study, where: str, heads: Mapping[str, str]) -> Study:
    """The study without answers to questions that, by their condition, these people skipped: the
    question that decides is believed, as in survey editing.

    Args:
      where: the column of answers, for the warning. heads: see `routes_of`.
    Raises:
      CrowdError: nobody who answered a question was asked it.
    Warns:
      CrowdWarning: how many answers there are, and in which rows.
    """
    asked = people_asked(study, heads)
    outside = skipped(asked, study.task, study.person)
    if not outside.any():
        return study
    t = len(study.tasks.ids)
    given, lost = (np.bincount(study.task[r], minlength=t) for r in (slice(None), outside))
    if len(nobody := np.flatnonzero((lost > 0) & (lost == given))):
        name = study.tasks.ids[nobody[0]]
        raise CrowdError(
            f"{heads.get(name, where)}: none of the {given[nobody[0]]:,} people who answered "
            f"'{name}' fulfils it, so it is not what they were asked by; correct it"
        )
    at = "" if study.row is None else f" ({rows(study.row[outside])})"
    shown = np.argsort(-lost, kind="stable")[:3]
    told = ", ".join(
        f"{lost[i]:,} of {given[i]:,} to {as_shown(study.tasks.ids[i])}" for i in shown if lost[i]
    )
    warnings.warn(
        f"{where}: {outside.sum():,} answers{at} are to questions that, by ask_if, these people "
        f"were not asked ({told}); the question that decides is believed, and they count as "
        "skipped. Correct the condition, or the answers, if that is not so",
        CrowdWarning,
        stacklevel=2,
    )
    return only_answers(study, ~outside)
