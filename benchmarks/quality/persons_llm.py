"""Rivals where language models answered as well: for persons, and for published shares."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from person_rivals import (
    cross_fitted,
    option_words,
    pool_columns,
    ridge,
    rotated,
)
from persons_data import WITNESSES, opinions, twin_llm
from persons_fit import Settings, Shown, fitted, tell, within
from table import Row, Table

from crowdllm_jax.population.predicted import Predictions, predict_answers
from crowdllm_jax.population.sample import sample
from crowdllm_jax.reference.column import ColumnReference
from crowdllm_jax.reference.pooled import PooledReference, pool_references
from crowdllm_jax.reference.record import from_levels
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.split import Split

POOLED = PooledReference(of=(ColumnReference(path="llm.parquet", answer="option"),))
"""Whatever the models are: they are handed over."""


def llm_twins(settings: Settings) -> Iterable[Table]:
    shuffled = tuple(f"{name}:shuffled" for name in WITNESSES[:1])
    cases = {"no witness": (), "a shuffled one": shuffled, "one": WITNESSES[:1], "three": WITNESSES}
    known = Shown("Twin-2K, a known question", {"r": "r"})
    for seed in range(settings.folds):
        for name, witnesses in cases.items():
            tell(f"twin_llm, {name}, fold {seed}")
            study = twin_llm(settings.folder, witnesses)
            known.add(f"twins, {name}", {"r": _known_question(study, settings, seed)})
        known.add("ridge", {"r": _by_ridge(settings.folder, (), seed)})
        known.add("ridge, one witness", {"r": _by_ridge(settings.folder, WITNESSES[:1], seed)})
        known.add("ridge, three witnesses", {"r": _by_ridge(settings.folder, WITNESSES, seed)})
    yield known
    unseen = Shown("Twin-2K, a question nobody answered", {"r": "r"})
    for fold in range(settings.folds):
        tell(f"twin_llm, unseen questions, fold {fold}")
        for name, measures in _unseen(twin_llm(settings.folder), settings, fold).items():
            unseen.add(name, measures)
    yield unseen


def _tested(people: int, seed: int) -> np.ndarray:
    chosen = np.random.default_rng(seed).permutation(people)[: people // 5]
    return np.isin(np.arange(people), chosen)


def _known_question(study: Study, settings: Settings, seed: int) -> float:
    """Tested people's answers, each from nineteen twentieths of the same person's others."""
    of_tested = _tested(len(study.participants.ids), seed)[study.person]
    crowd = fitted(study, ~of_tested, settings, "people", seed)
    rows = np.flatnonzero(of_tested)
    part = np.random.default_rng([seed, 1]).integers(0, 20, len(rows))
    expected = np.zeros(len(rows))
    for one in range(20):
        told = of_tested.copy()
        told[rows[part == one]] = False
        asked = rows[part == one]
        found: Predictions = predict_answers(
            crowd, study, told, study.person[asked], study.task[asked]
        )
        expected[part == one] = found.mean
    return within(study.task[rows], expected, study.value[rows])


def _by_ridge(folder: Path, witnesses: tuple[str, ...], seed: int) -> float:
    """Each question from all others, and from what witnesses say of it."""
    study = twin_llm(folder, witnesses)
    people, tasks = len(study.participants.ids), len(study.tasks.ids)

    def standardised(person: np.ndarray, task: np.ndarray, value: np.ndarray) -> np.ndarray:
        x = np.full((people, tasks), np.nan)
        x[person, task] = value
        return (x - np.nanmean(x, 0)) / np.nanstd(x, 0)

    tested = _tested(people, seed)
    z = standardised(study.person, study.task, study.value)
    said = [np.nan_to_num(standardised(w.person, w.task, w.value)) for w in study.witnesses]
    each = []
    for task in range(tasks):
        rows = tested & np.isfinite(z[:, task])
        more = np.stack([5 * one[:, task] for one in said], 1) if said else np.zeros((people, 0))
        expected = ridge(z, ~tested, task, more, 1000.0)
        each.append(np.corrcoef(expected[rows], z[rows, task])[0, 1])
    return float(np.mean(each))


def _unseen(study: Study, settings: Settings, fold: int) -> dict[str, Row]:
    """A fifth of the questions, answered by nobody; a fifth of the people are asked them."""
    parts = np.random.default_rng(0).permutation(len(study.tasks.ids)) % 5
    train = (parts != fold)[study.task]
    crowd = fitted(study, train, settings, "tasks", fold)
    tested = _tested(len(study.participants.ids), fold)[study.person]
    rows = np.flatnonzero(~train & tested)
    person, task, value = study.person[rows], study.task[rows], study.value[rows]
    found = predict_answers(crowd, study, train, person, task)
    out = {"**twins, three witnesses**": {"r": within(task, found.mean, value)}}
    for witness in study.witnesses:
        said = np.full((len(study.participants.ids), len(study.tasks.ids)), np.nan)
        said[witness.person, witness.task] = witness.value
        said = np.where(np.isfinite(said), said, np.nanmean(said, 0))
        out[f"{witness.name} alone"] = {"r": within(task, said[person, task], value)}
    return out


def toplines(settings: Settings) -> Iterable[Table]:
    study, runs = opinions(settings.folder)
    people = np.zeros((len(study.tasks.ids), 10))
    people[study.task, study.answer.astype(int)] = study.participants.weight
    people /= people.sum(1, keepdims=True)
    size = np.array([len(s.levels) for s in study.scales.values()])[study.tasks.scale]
    exists = np.arange(10) < size[:, None]
    probs = np.stack([run.probs for run in runs if run.probs is not None], axis=2)
    longest = probs.shape[1]
    probs = np.pad(probs, ((0, 0), (0, 10 - longest), (0, 0)))
    words = option_words([text.split(" | ")[1:] for text in study.tasks.text], 10)
    columns = rotated(np.concatenate([words, pool_columns(probs, exists)], axis=2), exists)
    place = np.random.default_rng(0).permutation(len(size)) % 10
    table = Shown("OpinionQA: shares of questions held out", {"w1": "Wasserstein-1"})

    def add(name: str, chance: np.ndarray, held: np.ndarray) -> None:
        gap = np.abs((chance[held] - people[held]).cumsum(1)).sum(1) / (size[held] - 1)
        table.add(name, {"w1": float(gap.mean())})

    uniform, mean = exists / size[:, None], probs.mean(2)
    for fold in range(settings.folds):
        tell(f"opinionqa, fold {fold}")
        held = place == fold
        train = ~held[study.task]
        add("uniform", uniform, held)
        add("mean of the LLMs", mean, held)
        add("the same, shrunk by half", (mean + uniform) / 2, held)
        first, *others = runs
        several = replace(first, others=tuple(others))
        pooled = cross_fitted(columns, people, exists, held)
        add("log-linear pool of LLMs and words", pooled, held)
        average = from_levels(study, "column", mean[:, :longest])
        split = Split("tasks", train, np.zeros_like(train), ~train)
        ours = pool_references(study, split, POOLED, runs)
        add("`kind: pooled`, by itself", np.pad(ours.probs, ((0, 0), (0, 10 - longest))), held)
        for name, reference in (
            ("**crowd, mean of the LLMs**", average),
            ("**crowd, all LLMs**", several),
            ("**crowd, all LLMs pooled**", ours),
            ("**crowd, mean of the LLMs and all pooled**", replace(average, others=(ours,))),
        ):
            crowd = fitted(study, train, settings, "tasks", fold, reference)
            answers = sample(crowd, 10_000, 0).answers.astype(int)
            chance = np.stack([np.bincount(column, minlength=10) for column in answers.T]) / 10_000
            add(name, chance, held)
    yield table
