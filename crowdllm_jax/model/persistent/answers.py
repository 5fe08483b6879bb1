"""People's answers as arrays whose size grows with the number of answers, whoever gave them."""

from typing import Any, NamedTuple

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.persistent.design import Design, profile_matrix
from crowdllm_jax.model.persistent.witness import Said, said_of
from crowdllm_jax.study import scales
from crowdllm_jax.study.coding import Coding
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.statistics import unit

WIDEST = 8
"""Answers in a row; people with more have several rows, the last filled up."""


class AnswerTable(NamedTuple):
    """B people's answers; every kind of answer finds its own. Host or device arrays.

    Attributes:
      task, level, value, present: (R, J) answers given one at a time, J of one person to a row;
        value in [0, 1]; present: 0 where a row is filled up.
      person: (R,) whose row it is, in order.
      ballots: per ballot of the layout, (B, Tb) levels, -1 where a task is held out, and (B,)
        whether there is one.
      profile: (B, C). weight: (B,).
      said: (R, J, G) what witnesses say of each answer; None without any.
    """

    task: Any
    level: Any
    value: Any
    present: Any
    person: Any
    ballots: tuple[tuple[Any, Any], ...]
    profile: Any
    weight: Any
    said: Said | None = None


def gather_answers(
    study: Study,
    codings: tuple[Coding, ...],
    design: Design,
    part: np.ndarray,
    *,
    everyone: bool = False,
) -> tuple[np.ndarray, AnswerTable]:
    """The answers of everyone with a response in a part (R,) bool.

    Args:
      everyone: take in those without any response as well, and make rows of one length, whatever
        the answers are.
    Returns:
      (B,) the participants, and their answers.
    """
    layout = design.layout
    people, person = np.unique(study.person[part], return_inverse=True)
    if everyone:
        people, person = np.arange(len(study.participants.ids)), study.person[part]
    task, answer, value = study.task[part], study.answer[part], study.value[part]
    on_ballot = np.zeros(len(study.tasks.ids), bool)
    for _, tasks in layout.ballots:
        on_ballot[list(tasks)] = True
    single = np.flatnonzero(~on_ballot[task])
    single = single[np.argsort(person[single], kind="stable")]
    owner, row, column, shape = _rows(person[single], len(people), everyone)
    asked = task[single]
    continuous = scales.which(scales.is_continuous, layout.scales)
    is_level = ~continuous[study.tasks.scale[asked]]

    def in_rows(values: np.ndarray, dtype: type) -> np.ndarray:
        table: np.ndarray = np.zeros((*shape, *values.shape[1:]), dtype)
        table[row, column] = values
        return table

    said = None
    if design.witnesses is not None:
        told = said_of(study, design.witnesses, people[person[single]], asked)
        said = Said(in_rows(told.number, np.float32), in_rows(told.level, np.int32))
    ballots = []
    for index, tasks in layout.ballots:
        given = study.tasks.scale[task] == index
        ballots.append(_ballots(person[given], task[given], answer[given], tasks, len(people)))
    profiles = profile_matrix(codings, study.participants.profile, len(study.participants.ids))
    return people, AnswerTable(
        in_rows(asked, np.int32),
        in_rows(np.where(is_level, answer[single], 0), np.int32),
        in_rows(unit(study, value[single], asked), np.float32),
        in_rows(np.ones(len(asked)), np.float32),
        owner,
        tuple(ballots),
        (profiles[people] - design.centre).astype(np.float32),
        study.participants.weight[people].astype(np.float32),
        said,
    )


def _ballots(
    person: np.ndarray, task: np.ndarray, answer: np.ndarray, tasks: tuple[int, ...], people: int
) -> tuple[np.ndarray, np.ndarray]:
    """(B, Tb) levels of people's ballots, and (B,) who cast one."""
    levels = np.zeros((people, len(tasks)), np.int32)
    present = np.zeros(people, np.float32)
    present[person] = 1.0
    # A ballot is whole in the study: what is not in this part of it is held out.
    levels[present > 0] = -1
    levels[person, np.searchsorted(tasks, task)] = answer
    return levels, present


def _rows(
    person: np.ndarray, people: int, full: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int]]:
    """Where answers go that are sorted by person: the rows' owners (R,), each answer's row and
    column, and the shape (R, J). Everybody has a row, empty or not."""
    count = np.bincount(person, minlength=people)
    width = WIDEST if full else int(count.max(initial=1).clip(1, WIDEST))
    rows = np.maximum(1, -(-count // width))
    place = np.arange(len(person)) - np.repeat(np.cumsum(count) - count, count)
    first = np.cumsum(rows) - rows
    owner = np.repeat(np.arange(people, dtype=np.int32), rows)
    return owner, first[person] + place // width, place % width, (len(owner), width)


class Batches(NamedTuple):
    """Which people's answers serve which step of a fit.

    Attributes:
      people: (S, B). rows: (S, R) of the answer table, -1 where fewer are needed.
      slot: (S, R) whose row it is among the B people.

    Where steps are cut into shares these have an axis of their own, the second.
    """

    people: np.ndarray
    rows: np.ndarray
    slot: np.ndarray


def batches(
    owner: np.ndarray, people: int, size: int, steps: int, seed: int, shares: int = 1
) -> Batches:
    """Everybody once in every round, a few people at a time, in an order drawn anew.

    Steps are of one size, so that where it does not divide the people up to one a step (one a
    share) sits out a round, at random.

    Args:
      owner: (R,) whose rows there are, in order. size: people per step, at most. shares: into which
        each step is cut.
    Raises:
      CrowdError: a step has fewer people than shares.
    """
    per_round = -(-people // size)
    share = people // per_round // shares
    if not share:
        raise CrowdError(
            f"model.shares: {shares}, but a step has {people // per_round} of the {people} people; "
            "give at most as many, that divide model.people"
        )
    size = share * shares
    random = np.random.default_rng([seed, 3])
    rounds = [random.permutation(people) for _ in range(-(-steps // per_round))]
    chosen = np.concatenate([one[: per_round * size] for one in rounds]).reshape(-1, size)[:steps]
    chosen = chosen.reshape(-1, share)
    first = np.searchsorted(owner, np.arange(people))
    count = np.bincount(owner, minlength=people)
    needed = count[chosen]
    shape = (len(chosen), int(needed.sum(1).max()))
    rows, slot = np.full(shape, -1, np.int32), np.zeros(shape, np.int32)
    for number, members in enumerate(chosen):
        length = needed[number]
        offset = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
        rows[number, : len(offset)] = np.repeat(first[members], length) + offset
        slot[number, : len(offset)] = np.repeat(np.arange(share), length)
        slot[number, len(offset) :] = share - 1
    plan = Batches(chosen.astype(np.int32), rows, slot)
    return plan if shares == 1 else Batches(*(c.reshape(steps, shares, -1) for c in plan))


def take(answers: AnswerTable, people: Any, rows: Any, slot: Any) -> AnswerTable:
    """The answers of one step's people; rows of -1 hold none."""
    return AnswerTable(
        answers.task[rows],
        answers.level[rows],
        answers.value[rows],
        answers.present[rows] * (rows >= 0)[:, None],
        slot,
        tuple((levels[people], present[people]) for levels, present in answers.ballots),
        answers.profile[people],
        answers.weight[people],
        None if answers.said is None else Said(*(part[rows] for part in answers.said)),
    )
