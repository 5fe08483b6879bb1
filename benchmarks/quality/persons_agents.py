"""Do agents differ, and hang together, as people do? Of one half of the people a crowd is made; its
agents are measured beside the other half."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from person_rivals import Answers
from persons_fit import Settings, Shown, fitted, tell
from table import Row, Table

from crowdllm_jax.model.crowd import numbers_of
from crowdllm_jax.population.sample import sample
from crowdllm_jax.runs.config import load_config, load_study
from crowdllm_jax.study.records import Study

AGENTS = 10_000
OFTEN = 30
"""People who answered both of two tasks, at least, for a correlation of them to be looked at."""
COLUMNS = {
    "r": "Mean correlation of two tasks",
    "apart": "Error of the correlations",
    "icc": "ICC",
    "sd": "SD of personal means",
}


def of_halves(settings: Settings, study: Study, name: str) -> Iterable[Table]:
    """A table of agents beside people, who answer the very tasks that these answered."""
    table = Shown(f"{name}: agents of half of the people, beside the other half", COLUMNS)
    people, tasks = len(study.participants.ids), len(study.tasks.ids)
    for seed in range(settings.folds):
        tell(f"{name}, halves {seed}")
        place = np.random.default_rng([seed, 3]).permutation(people)
        first = (place < people // 2)[study.person]
        everything = Answers(study.person, study.task, study.value)
        others, own = everything.some(~first), everything.some(first)
        crowd = fitted(study, first, settings, "people", seed)
        drawn = numbers_of(crowd, sample(crowd, AGENTS, 0).answers)
        sd = _deviations(study)
        look = looked_at(others, tasks)
        # A task's mean is known as well of agents as of people: by as many answers.
        agents = [look(crowd, sd) for crowd in _crowds(drawn, others)]
        of_people = look(others, sd)
        for who, found in (
            ("people", of_people),
            ("people, others", look(own, sd)),
            ("**agents**", Look(*(np.mean(one, axis=0) for one in zip(*agents, strict=True)))),
        ):
            table.add(who, _measured(found, of_people))
    yield table


def offensiveness(settings: Settings) -> Iterable[Table]:
    config = Path(__file__).parents[2] / "configs" / "offensiveness.yaml"
    study = load_study(load_config(config, data=str(settings.folder)))
    return of_halves(settings, study, "offensiveness")


def _crowds(drawn: np.ndarray, people: Answers) -> Iterator[Answers]:
    """As many agents as people at a time (N, T), who answer what these answered."""
    who, place = np.unique(people.person, return_inverse=True)
    for begin in range(0, len(drawn) - len(who) + 1, len(who)):
        yield Answers(place, people.task, drawn[begin + place, people.task])


def _deviations(study: Study) -> np.ndarray:
    """(T,) of answers on the task's scale from their tasks' means."""
    tasks, scale = len(study.tasks.ids), study.tasks.scale
    count = np.bincount(study.task, minlength=tasks).clip(1)
    gap = study.value - (np.bincount(study.task, study.value, tasks) / count)[study.task]
    on_scale = scale[study.task]
    square = np.bincount(on_scale, gap**2) / np.bincount(on_scale).clip(1)
    return np.sqrt(square)[scale]


class Look(NamedTuple):
    """ICC, SD of personal means, and (pairs,) correlations of two tasks."""

    icc: float
    sd: float
    correlation: np.ndarray


def looked_at(people: Answers, tasks: int) -> Callable[[Answers, np.ndarray], Look]:
    """How answers are looked at: the pairs of tasks are those that people often answered both."""
    often = np.bincount(people.task, minlength=tasks) >= OFTEN
    number = np.cumsum(often) - 1
    frequent = people.some(often[people.task])
    given = np.zeros((people.person.max() + 1, often.sum()))
    given[frequent.person, number[frequent.task]] = 1.0
    pairs = np.triu(given.T @ given >= OFTEN, 1)

    def look(answers: Answers, sd: np.ndarray) -> Look:
        count = np.bincount(answers.task, minlength=tasks).clip(1)
        mean = np.bincount(answers.task, answers.value, tasks) / count
        z = (answers.value - mean[answers.task]) / sd[answers.task]
        n, total = np.bincount(answers.person), np.bincount(answers.person, z)
        square = np.bincount(answers.person, z**2)
        together = (total**2 - square).sum() / (n * (n - 1.0)).sum()
        icc = together / (square.sum() / n.sum())
        rows = often[answers.task]
        at = answers.person[rows], number[answers.task[rows]]
        x, present = np.zeros((2, len(n), often.sum()))
        x[at], present[at] = z[rows], 1.0
        product, squares = x.T @ x, (x**2).T @ present
        r = product / np.sqrt(squares * squares.T).clip(1e-12)
        return Look(float(icc), float((total[n > 0] / n[n > 0]).std()), r[pairs])

    return look


def _measured(look: Look, people: Look) -> Row:
    row = {"icc": look.icc, "sd": look.sd}
    if len(look.correlation):
        row |= {"r": float(look.correlation.mean())}
        row |= {"apart": float(np.abs(look.correlation - people.correlation).mean())}
    return row
