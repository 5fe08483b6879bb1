"""Whom to ask what next, so that estimates about people become most precise per answer.

The estimates are those of `infer` with twins as predictors. The error of a prediction is expected
from how uncertain the twin is, set right by how far twins were off in the answers there are.
"""

from dataclasses import dataclass, replace
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.infer.allocation import Prospect, allocate, chances, draw
from crowdllm_jax.infer.by_answers import Expected, may_stand_for, predict_by_answers
from crowdllm_jax.infer.estimate import FEWEST, RARE
from crowdllm_jax.infer.planned import check_all_held, decided_by
from crowdllm_jax.infer.prospects import Question, Told, questions_of
from crowdllm_jax.infer.question import MEAN, Estimand, choose_tasks
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.population.frames import html_of
from crowdllm_jax.runtime.progress import Progress, silent
from crowdllm_jax.runtime.randomness import key_of
from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.routing import people_asked

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Goal:
    """What more answers are for.

    Attributes:
      budget: answers that may be gathered; None, as many as `width` needs.
      width: of an interval, as a part of the question's range; stop where all are so narrow. None
        makes the mean width as small as the budget allows.
      seed: of the draw.
    """

    budget: int | None = None
    width: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Plan:
    """Whom to ask what.

    Attributes:
      asks: rank (the order to ask in), participant, task, probability (of being drawn: `infer`
        needs it), a row per answer to be gathered.
      questions: task_id, answers (that there are), open (people who have given none), ask (how many
        of them to ask), and the width of the interval that is expected now, then, and then if
        people and questions had been drawn by equal chances; in the scale's units, empty where
        there is no interval.
      notes: sentences on what the plan reaches.
    """

    asks: pa.Table
    questions: pa.Table
    notes: tuple[str, ...]

    def to_pandas(self) -> "pandas.DataFrame":
        """The rows of `asks` as a data frame of pandas.

        Examples:
          >>> planned.to_pandas().columns.tolist()
          ['rank', 'participant', 'task', 'probability']
        """
        return self.asks.to_pandas()

    def __repr__(self) -> str:
        people = len(set(self.asks["participant"].to_pylist()))
        return f"Plan({self.asks.num_rows:,} answers of {people:,} people)"

    def _repr_html_(self) -> str:
        return html_of(self.questions, " ".join(self.notes), self.questions.num_rows)


def plan_answers(
    crowds: tuple[Crowd, ...],
    study: Study,
    held: np.ndarray,
    goal: Goal,
    question: Estimand = MEAN,
    tasks: tuple[str, ...] | None = None,
    progress: Progress = silent,
) -> Plan:
    """Plan which of a study's people to ask which questions that they have not answered.

    Args:
      crowds, held: as `infer` takes them. question: a mean or a share, task by task.
      tasks: ids; None takes all that suit the question.
    Raises:
      CrowdError: nobody may be asked, or the goal or the question is none that can be planned for.
    """
    _check(goal, question)
    held = np.atleast_2d(held)
    chosen, level = choose_tasks(study, np.asarray(held.any(0)), question, tasks)
    check_all_held(study, held, chosen)
    expected = predict_by_answers(crowds, study, held, chosen, level, progress)
    questions = _questions(study, held, chosen, level, expected)
    if not any(len(one.open) for one in questions):
        raise CrowdError(
            "plan: everybody who may be asked these questions has answered them; name others "
            "(--tasks), or add people to the study's table of participants"
        )
    prospects = [one.prospect for one in questions]
    everybody = sum(one.open for one in prospects)
    budget = everybody if goal.budget is None else min(goal.budget, everybody)
    more = allocate(prospects, budget, level=question.confidence, width=goal.width)
    asks = _asks(study, questions, more, goal.seed)
    table = _table(study, questions, more, question.confidence)
    notes = _notes(asks, questions, more, goal, question.confidence)
    return Plan(asks, table, (*notes, *_lost(study, questions, more)))


def _lost(study: Study, questions: list[Question], more: list[int]) -> list[str]:
    """Sentences on questions of which nothing is estimated once another that decides who is asked
    them was asked by plan."""
    ids = study.tasks.ids
    planned = {one.task for one, count in zip(questions, more, strict=True) if count}
    found = {task: decided_by(study, task, planned) for task in sorted(planned)}
    return [
        f"'{ids[task]}' is asked by the answer to '{ids[decides]}' (ask_if): with this plan "
        "`infer` refuses it; plan for one of the two (--tasks)."
        for task, decides in found.items()
        if decides is not None
    ]


def _check(goal: Goal, question: Estimand) -> None:
    if question.kind == "regress" or question.pool:
        raise CrowdError("plan: is for means and shares of single tasks (--mean, --share LEVEL)")
    if not 0 < question.confidence < 1:
        raise CrowdError(
            f"--level {question.confidence:g}: give a share between 0 and 1, such as 0.95"
        )
    if goal.budget is None and goal.width is None:
        raise CrowdError("plan: give the number of answers (--budget N), a --width, or both")
    if goal.budget is not None and (
        isinstance(goal.budget, bool) or not isinstance(goal.budget, Integral)
    ):
        raise CrowdError(f"--budget {goal.budget!r}: give a whole number of answers")
    if goal.budget is not None and goal.budget < 1:
        raise CrowdError(f"--budget {goal.budget}: give a number of answers from 1")
    if goal.width is not None and not 0 < goal.width < 1:
        raise CrowdError(
            f"--width {goal.width:g}: is a part of the range of the answers, such as 0.05"
        )
    if not 0 <= goal.seed < 2**63:
        raise CrowdError(f"--seed: {goal.seed} is not from 0 to 2**63 - 1")


def _questions(
    study: Study,
    held: np.ndarray,
    tasks: np.ndarray,
    level: np.ndarray | None,
    expected: Expected,
) -> list[Question]:
    """What may be asked of whom, and how much it would tell."""
    n, weight = len(study.participants.ids), study.participants.weight
    labelled = np.asarray(held.any(0))
    asked, stands = people_asked(study), may_stand_for(study, held)
    told = []
    for column, task in enumerate(tasks.tolist()):
        answer, gave = np.full(n, np.nan), np.zeros(n, bool)
        rows = np.flatnonzero(study.task == task)
        number = study.value if level is None else (study.answer == level[column]) * 1.0
        answer[study.person[rows]] = number[rows]
        gave[study.person[rows[labelled[rows]]]] = True
        counts = (weight > 0) & np.isfinite(expected.mean[:, column])
        may = stands[:, task] & np.isnan(answer) & asked.get(task, np.ones(n, bool)) & counts
        ends = scales.values(study.scale_of(task))
        unit = 1.0 if level is not None else float(ends[-1] - ends[0])
        mean, variance = expected.mean[:, column] / unit, expected.variance[:, column] / unit**2
        low = 0.0 if level is not None else ends[0] / unit
        two = level is not None or scales.size(study.scale_of(task)) == 2
        known = (answer / unit, mean, variance, gave & counts, may)
        told.append(Told(task, unit, *known, low if two else None))
    return questions_of(told, weight)


def _asks(study: Study, questions: list[Question], more: list[int], seed: int) -> pa.Table:
    """The people drawn for each question, in one random order: whoever stops early has asked a fair
    part of each."""
    person, task, chance = [], [], []
    for one, count in zip(questions, more, strict=True):
        # Another draw after every batch, and for every question whatever else is asked.
        key = [seed, key_of(study.tasks.ids[one.task]), one.prospect.answers]
        each = chances(one.share, count)
        drawn = draw(each, np.random.default_rng(key)) if count else np.zeros(0, int)
        person.append(one.open[drawn])
        task.append(np.full(len(drawn), one.task))
        chance.append(each[drawn])
    people, tasks, probability = (np.concatenate(part) for part in (person, task, chance))
    order = np.random.default_rng([seed, len(people)]).permutation(len(people))
    return pa.table(
        {
            "rank": 1 + np.arange(len(order)),
            "participant": [study.participants.ids[i] for i in people[order]],
            "task": [study.tasks.ids[i] for i in tasks[order]],
            "probability": probability[order],
        }
    )


def at_random(prospect: Prospect) -> Prospect:
    """The same question, of people drawn by equal chances."""
    return replace(prospect, drawn=(prospect.equal,), kish=(prospect.even,))


def _even(questions: list[Question], budget: int) -> list[int]:
    """So many answers spread evenly over the questions, as far as there are people."""
    counts = [0] * len(questions)
    while budget > 0:
        left = [i for i, one in enumerate(questions) if counts[i] < one.prospect.open]
        if not left:
            break
        each, rest = divmod(budget, len(left))
        for place, i in enumerate(left):
            more = min(each + (place < rest), questions[i].prospect.open - counts[i])
            counts[i], budget = counts[i] + more, budget - more
    return counts


def _table(study: Study, questions: list[Question], more: list[int], level: float) -> pa.Table:
    def width(one: Question, count: int, *, equal: bool = False) -> float | None:
        prospect = at_random(one.prospect) if equal else one.prospect
        found = one.unit * prospect.width(count, level)
        return found if np.isfinite(found) else None

    even = _even(questions, sum(more))
    several = list(zip(questions, more, even, strict=True))
    return pa.table(
        {
            "task_id": [study.tasks.ids[one.task] for one in questions],
            "answers": [one.prospect.answers for one in questions],
            "open": [one.prospect.open for one in questions],
            "ask": more,
            "width_now": pa.array([width(one, 0) for one in questions], pa.float64()),
            "width_then": pa.array([width(q, count) for q, count, _ in several], pa.float64()),
            "width_at_random": pa.array(
                [width(q, count, equal=True) for q, _, count in several], pa.float64()
            ),
        }
    )


def _notes(
    asks: pa.Table, questions: list[Question], more: list[int], goal: Goal, level: float
) -> tuple[str, ...]:
    people = len(set(asks["participant"].to_pylist()))
    asked = sum(count > 0 for count in more)
    notes = [
        f"{_count(asks.num_rows, 'answer')} of {_count(people, 'person')} to "
        f"{_count(asked, 'question')}."
    ]
    prospects = [one.prospect for one in questions]
    then = np.array([p.width(count, level) for p, count in zip(prospects, more, strict=True)])
    told = np.isfinite(then)
    if not told.all():
        notes.append(
            f"{_count(int((~told).sum()), 'question')} will have too few answers for an interval "
            f"({FEWEST + 1} are needed, as they are weighted, and of two answers {RARE} people's "
            "each); plan a larger budget, or fewer questions (--tasks)."
        )
    if told.any():
        even = _even(questions, sum(more))
        equal = np.array(
            [at_random(p).width(n, level) for p, n in zip(prospects, even, strict=True)]
        )
        now = np.array([p.width(0, level) for p in prospects])
        notes.append(
            f"Expected width of the {100 * level:g}% intervals, as a part of the range: "
            f"{then[told].mean():.3f} on average (now {_mean(now[told])}); by equal chances, "
            f"spread evenly: {_mean(equal[told])}."
        )
    if goal.width is not None:
        notes.append(_reached(prospects, then, goal, level))
    return tuple(notes)


def _mean(widths: np.ndarray) -> str:
    """The mean width, of questions some of which may be without an interval."""
    there = np.isfinite(widths)
    if there.all():
        return f"{widths.mean():.3f}"
    none = f"too few answers to {int((~there).sum())} of {_count(len(there), 'question')}"
    return f"{widths[there].mean():.3f}, and {none}" if there.any() else none


def _reached(prospects: list[Prospect], then: np.ndarray, goal: Goal, level: float) -> str:
    """Whether all intervals are as narrow as they should be, and what it would take."""
    assert goal.width is not None
    if (then <= goal.width).all():
        return f"All intervals are expected to be at most {goal.width:g} wide: stop there."
    widest = f"{then.max():.3f}" if np.isfinite(then.max()) else "missing"
    reach = f"Not reached: the widest interval will be {widest}, not {goal.width:g}"
    everybody = sum(p.open for p in prospects)
    all_of_them = allocate(prospects, everybody, level=level, width=goal.width)
    end = [p.width(count, level) for p, count in zip(prospects, all_of_them, strict=True)]
    if max(end) <= goal.width:
        return f"{reach}; {_count(sum(all_of_them), 'answer')} would do."
    return f"{reach}; not even everybody's answers would do: these people are too few."


def _count(number: int, what: str) -> str:
    several = {"person": "people"}.get(what, f"{what}s")
    return f"{number:,} {what if number == 1 else several}"
