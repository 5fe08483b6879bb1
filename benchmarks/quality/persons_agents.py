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
        look = looked_at((others, own), tasks)
        # A task's mean is known as well of agents as of people: by as many answers.
        of_people = look(others, sd)
        crowds = [_measured(look(crowd, sd), of_people) for crowd in _crowds(drawn, others)]
        table.add("people", _measured(of_people, of_people))
        table.add("people, others", _measured(look(own, sd), of_people))
        mean = {key: float(np.mean([row[key] for row in crowds])) for key in crowds[0]}
        table.add("**agents**", mean)
    yield table


def offensiveness(settings: Settings) -> Iterable[Table]:
    config = Path(__file__).parents[2] / "configs" / "offensiveness.yaml"
    study = load_study(load_config(config, data=str(settings.folder)))
    return of_halves(settings, study, "offensiveness")


def _crowds(drawn: np.ndarray, people: Answers) -> Iterator[Answers]:
    """As many agents as people at a time (N, T), who answer what these answered."""
    who, place = np.unique(people.person, return_inverse=True)
    if len(who) > len(drawn):
        raise SystemExit(f"{len(who):,} people, and only {len(drawn):,} agents: raise AGENTS")
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


def looked_at(halves: tuple[Answers, ...], tasks: int) -> Callable[[Answers, np.ndarray], Look]:
    """How answers are looked at: the pairs of tasks are those that people of every half often
    answered both."""
    often = np.all([np.bincount(half.task, minlength=tasks) >= OFTEN for half in halves], axis=0)
    number = np.cumsum(often) - 1
    pairs = np.ones((often.sum(), often.sum()), bool)
    for half in halves:
        frequent = half.some(often[half.task])
        given = np.zeros((half.person.max() + 1, often.sum()))
        given[frequent.person, number[frequent.task]] = 1.0
        pairs &= given.T @ given >= OFTEN
    pairs = np.triu(pairs, 1)

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
