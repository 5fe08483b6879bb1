"""Of every held-out question, the shares of its answers: people's with intervals, and the crowd's.

How far the crowd is off a question is the *distance*: the share of people who would have to answer
otherwise for both to be alike (the total variation distance). Few people make any crowd look far
off, so beside it stands what *chance* alone gives: the distance to expect of as many people who
answer just as the crowd does.
"""

from dataclasses import dataclass

import numpy as np

from crowdllm_jax.report.bars import bars, tally
from crowdllm_jax.score.asked import given
from crowdllm_jax.score.held_out import Humans
from crowdllm_jax.study import scales
from crowdllm_jax.study.bins import cells_of
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.statistics import kish

MOST_BARS, STRETCHES = 12, 10
"""Answers that get a bar each on the page; of more, about so many stretches of them."""

FEWEST = 5
"""People below whom a question is not ranked among the closest or the furthest."""


@dataclass(frozen=True)
class Question:
    """The answers to one question, in B bars.

    Attributes:
      task: its index in `Humans.tasks`. scale: index of its scale in the study.
      people: how many answered, or stand behind published shares. human, low, high: (B,) their
        shares by survey weight, and the ends of the 95% intervals of these (Wilson's, with Kish's
        effective number of people).
      crowd: (B,) the agents' shares.
      distance: the share of people who would have to answer otherwise for both to be alike.
      chance: the distance to expect of as many people who answer as the crowd does.
    """

    task: int
    id: str
    text: str
    scale: int
    labels: tuple[str, ...]
    people: int
    human: np.ndarray
    low: np.ndarray
    high: np.ndarray
    crowd: np.ndarray
    distance: float
    chance: float

    @property
    def excess(self) -> float:
        """How much further off the crowd is than chance would have it."""
        return self.distance - self.chance


def questions_of(study: Study, humans: Humans, answers: np.ndarray) -> list[Question]:
    """Every held-out question, in the study's order.

    Args:
      answers: (N, T) the crowd's, in the scales' units.
    """
    order = np.argsort(humans.task, kind="stable")
    rows_of = np.split(order, np.searchsorted(humans.task[order], np.arange(1, len(humans.tasks))))
    shown = [bars(scale, MOST_BARS, STRETCHES, numbered=False) for scale in study.scales.values()]
    questions = []
    for task, rows in enumerate(rows_of):
        index = int(humans.scale[task])
        scale, weight = study.scale_of(humans.tasks[task]), humans.answer_weight[rows]
        people, crowd = humans.value[rows], given(answers[:, task])
        if not scales.is_continuous(scale):
            people, crowd = (cells_of(value, humans.support[index]) for value in (people, crowd))
        human = tally(scale, shown[index], people, weight)[0] / weight.sum()
        agents = tally(scale, shown[index], crowd)[0] / max(len(crowd), 1)
        n = float(weight.sum()) if humans.shares else kish(weight)
        low, high = wilson(human, n)
        questions.append(
            Question(
                task,
                study.tasks.ids[humans.tasks[task]],
                study.tasks.text[humans.tasks[task]],
                index,
                shown[index].labels,
                round(n) if humans.shares else len(rows),
                human,
                low,
                high,
                agents,
                float(np.abs(human - agents).sum() / 2),
                # The mean absolute deviation of a normal is sqrt(2 / pi) of its standard deviation.
                float(np.sqrt(2 * agents * (1 - agents) / (np.pi * n)).sum() / 2),
            )
        )
    return questions


def wilson(share: np.ndarray, n: float) -> tuple[np.ndarray, np.ndarray]:
    """The ends of the 95% intervals of shares (B,) of n people."""
    # Imported here: statsmodels takes a third of a second to load.
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(share * n, n, method="wilson")
    return np.asarray(low), np.asarray(high)


def closest_first(questions: list[Question]) -> list[Question]:
    """The questions that enough people answered to be ranked, by how far the crowd is off beyond
    chance."""
    ranked = [question for question in questions if question.people >= FEWEST]
    return sorted(ranked, key=lambda question: question.excess)


MANY = 30
"""People who tell enough of a question for its chart to be singled out, if there are such."""


def best_known(ranked: list[Question], enough: int) -> list[Question]:
    """Of ranked questions those that many people answered (or more people than three quarters of
    them), if there are enough: with few people, chance picks both ends."""
    people = [question.people for question in ranked]
    for many in (MANY, np.quantile(people, 0.75) if people else 0):
        known = [question for question in ranked if question.people >= many]
        if len(known) >= enough:
            return known
    return ranked


def typical(questions: list[Question]) -> Question:
    """The question in the middle of these, among those that no fewer people answered than most and
    whose chart is short enough to lead."""
    ranked = closest_first(questions) or questions
    many = np.median([question.people for question in ranked])
    ranked = [question for question in ranked if question.people >= many]
    short = [question for question in ranked if len(question.labels) <= 8] or ranked
    return short[(len(short) - 1) // 2]


def axis_end(questions: list[Question]) -> float:
    """Where the percent axis of all charts ends: at the first fifth that holds all of them."""
    most = max(float(max(q.high.max(), q.crowd.max())) for q in questions)
    return next(end / 5 for end in range(1, 6) if most <= end / 5 + 1e-9)
