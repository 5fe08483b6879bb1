"""Answers that were gathered by a plan: the chance that each had, and the weight that it has.

Whoever was asked with a small chance stands for many. What a batch of planned answers says of
everybody is the answers that were there before it, plus its own, each over its chance; that is
unbiased whatever was planned, and so is any average of what the answers before and the batch say
whose weights do not depend on the batch. Here they are as the numbers of answers.
"""

import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.runtime.names import as_shown
from crowdllm_jax.study.formats.delimited import read_separated
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.routing import routes_in
from crowdllm_jax.study.tables import rows

KEYS = ("participant", "task", "probability")


@dataclass(frozen=True)
class PlannedAnswers:
    """One plan: whose answer to what was to be gathered, and the chance that it had to be.

    Attributes:
      person, task: (R,) indices into the study. chance: (R,) above 0, at most 1.
    """

    person: np.ndarray
    task: np.ndarray
    chance: np.ndarray


def read_plan(path: Path, study: Study) -> PlannedAnswers:
    """Read a plan that `crowdllm plan` wrote: participant, task, probability; also as a spreadsheet
    program saves it, with semicolons and decimal commas.

    Raises:
      CrowdError: names the file, the row and the column.
    """
    table = read_separated(path, list(KEYS), numbers=["probability"])
    found = []
    for key, ids in (("participant", study.participants.ids), ("task", study.tasks.ids)):
        column, at = table[key], {name: i for i, name in enumerate(ids)}
        if np.any(column.codes < 0):
            raise CrowdError(column.no_id())
        for code, name in enumerate(column.distinct):
            if name not in at:
                raise CrowdError(
                    f"{column.where}: the study has no {key} {as_shown(name)} "
                    f"({column.rows_of(code)}); give the plan that was made of this study"
                )
        found.append(np.array([at[name] for name in column.distinct])[column.codes])
    person, task = found
    column = table["probability"]
    number = np.array([column.number(code) or np.nan for code in range(len(column.distinct))])
    chance = np.append(number, np.nan)[column.codes]
    wrong = np.flatnonzero(~((chance > 0) & (chance <= 1)))
    if len(wrong):
        raise CrowdError(
            f"{column.where}: {rows(wrong[:1])} holds no chance above 0 and at most 1; leave the "
            "column as `crowdllm plan` wrote it"
        )
    pair = person * len(study.tasks.ids) + task
    _, first = np.unique(pair, return_index=True)
    if len(first) < len(pair):
        twice = int(np.setdiff1d(np.arange(len(pair)), first)[0])
        who, what = study.participants.ids[person[twice]], study.tasks.ids[task[twice]]
        raise CrowdError(
            f"{path}: '{who}' is asked '{what}' twice ({rows(np.array([twice]))}); keep one row"
        )
    return PlannedAnswers(person, task, chance)


def gathered(plans: Sequence[PlannedAnswers], study: Study) -> str:
    """A sentence on how many of the answers that plans asked for there are.

    Warns:
      CrowdWarning: there are none of a plan's.
    """
    many = len(study.tasks.ids)
    there, counts = study.person.astype(np.int64) * many + study.task, []
    for plan in plans:
        wanted = plan.person.astype(np.int64) * many + plan.task
        counts.append(int(np.isin(wanted, there).sum()))
    told = ", ".join(
        f"{count:,} of {len(plan.person):,}" for count, plan in zip(counts, plans, strict=True)
    )
    each = " (plan by plan)" if len(plans) > 1 else ""
    if 0 in counts:
        warnings.warn(
            f"--plan: no answer that plan {counts.index(0) + 1} asked for is there; add the "
            "answers to the study's table of responses, and fit anew",
            CrowdWarning,
            stacklevel=2,
        )
    return f"{told} planned answers are there{each}."


def check_all_held(study: Study, held: np.ndarray, tasks: np.ndarray) -> None:
    """Make sure that no answer to some tasks is one that every crowd was fitted on: plans are of
    all people, and those who gave it could neither be asked nor be predicted.

    Args:
      held: (K, R) bool, the responses that each of K crowds was not fitted on.
    Raises:
      CrowdError: there is such an answer.
    """
    counts = np.isin(study.task, tasks) & (study.participants.weight[study.person] > 0)
    fitted = np.flatnonzero(counts & ~held.any(0))
    if len(fitted):
        raise CrowdError(
            f"plan: the crowd was fitted on {len(fitted):,} of {counts.sum():,} answers to these "
            f"questions (the first to '{study.tasks.ids[study.task[fitted[0]]]}'), and a plan is "
            "of everybody, so every answer must be held out from some crowd; fit with split: "
            "{by: people, folds: 5} (or by: answers in folds, where everybody gave several)"
        )


def decided_by(study: Study, task: int, asked: Collection[int]) -> int | None:
    """One of some tasks that decides, itself or through others, who is asked a task; None if none
    does."""
    reads = {route.task: route.reads for route in routes_in(study)}
    waiting = list(reads.get(task, ()))
    while waiting:
        decides = waiting.pop()
        if decides in asked:
            return decides
        waiting += reads.get(decides, ())
    return None


def check_different(plans: Sequence[PlannedAnswers]) -> None:
    """Raise CrowdError if a plan is given twice."""
    seen: dict[frozenset[tuple[int, int, float]], int] = {}
    for number, plan in enumerate(plans, start=1):
        cells = (plan.person.tolist(), plan.task.tolist(), plan.chance.tolist())
        first = seen.setdefault(frozenset(zip(*cells, strict=True)), number)
        if first != number:
            raise CrowdError(
                f"--plan: number {number} has the same rows as number {first}; give each plan once"
            )


def planned_weights(
    plans: Sequence[PlannedAnswers],
    task: int,
    answered: np.ndarray,
    frame: np.ndarray,
    weight: np.ndarray,
) -> np.ndarray:
    """(N,) how many people's answers each person's answer to a task stands for; 0 of who gave none.

    Answers that no plan asked for are taken to be those of a random sample of the people. Of a
    batch those who did not answer are taken to be missing at random. Whoever is in several plans
    did not answer until the last of them, whose answer it is.

    Args:
      plans: in the order in which they were made. answered: (N,) bool, whose labelled answers there
        are. frame: (N,) bool, the people who are estimated about, those who answered among them.
      weight: (N,) survey weights.
    """
    last, chance = np.full(len(frame), -1), np.ones(len(frame))
    for number, plan in enumerate(plans):
        own = plan.task == task
        last[plan.person[own]], chance[plan.person[own]] = number, plan.chance[own]
    before = answered & (last < 0)
    total = before * 1.0 * weight[frame].sum() / max(weight[before].sum(), 1e-300)
    for number in range(len(plans)):
        drawn = answered & (last == number)
        if not drawn.any():
            continue
        own = np.where(drawn, 1 / chance, 0.0)
        rest = weight[frame & ~before].sum()
        own = np.where(before, 1.0, own * rest / (weight * own).sum())
        part = drawn.sum() / (drawn.sum() + before.sum())
        total = (1 - part) * total + part * own
        before = before | drawn
    return np.asarray(total)
