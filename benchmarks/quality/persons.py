"""People in many dimensions: single answers of persons, beside strong rivals.

    python benchmarks/quality/persons.py movielens FOLDER [--folds 5] [--json FILE]
    python benchmarks/quality/persons.py bfi [--folds 5]
    python benchmarks/quality/persons.py twin2k FOLDER
    python benchmarks/quality/persons.py twin_llm FOLDER
    python benchmarks/quality/persons.py opinionqa FOLDER

    movielens  80% of everybody's ratings known (folds of the answers): RMSE of the others
    bfi        a fifth of the people are tested: three items of each Big Five trait are known, the
               other two asked (another draw each fold); and agents beside people
    twin2k     35% of people known whole, 60% by 40% of their answers, 5% by attributes alone
    twin_llm   a fifth of the people are tested, each question given their other answers and what
               LLMs answered for them; and questions that nobody answered (folds of questions)
    opinionqa  published shares: a tenth of the questions is held out in turn (--folds 10 holds out
               all); Wasserstein-1 with options equally spaced on [0, 1], refusals left out. A
               log-linear pool of the LLMs and of the words of the options is a rival, and cross-
               fitted a further reference

What rivals are is in `person_rivals.py`. Settings of the persistent model are those of --latent and
--steps for all sets.
"""

import argparse
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from person_rivals import (
    ALS_GRID,
    SVD_GRID,
    Answers,
    als_forecast,
    bias_forecast,
    copula,
    cross_fitted,
    multinomial,
    option_words,
    pool_columns,
    ridge,
    svd_forecast,
    tuned,
)
from persons_data import WITNESSES, bfi, opinions, twin2k, twin_llm
from table import Row, Table, write

from crowdllm_jax.model.crowd import Crowd, numbers_of
from crowdllm_jax.model.cvae.fit import TrainConfig
from crowdllm_jax.model.fit import Prepared, fit_model
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.population.predicted import Predictions, predict_answers
from crowdllm_jax.population.sample import sample
from crowdllm_jax.profiles.generator import ProfilesConfig, fit_profiles
from crowdllm_jax.reference.record import Reference, from_levels
from crowdllm_jax.runs.config import load_config, load_study
from crowdllm_jax.runtime.progress import silent
from crowdllm_jax.study.coding import encode, fit_coding
from crowdllm_jax.study.records import Attribute, Study
from crowdllm_jax.study.split import Split, SplitConfig, split_study
from crowdllm_jax.study.statistics import ends


class Shown(Table):
    """A table whose rows are told as they are measured."""

    def add(self, name: str, measures: Row) -> None:
        tell(f"{name}: {', '.join(f'{key} {value:.4f}' for key, value in measures.items())}")
        super().add(name, measures)


class Settings(NamedTuple):
    """What the command line says of the fits."""

    latent: int
    steps: int
    folds: int
    folder: Path


def fitted(
    study: Study,
    train: np.ndarray,
    settings: Settings,
    by: str,
    seed: int,
    reference: Reference | None = None,
) -> Crowd:
    """The persistent crowd of some responses (R,) bool."""
    low, width = ends(study)
    people = np.unique(study.person[train])
    profile = study.participants.profile
    rows = tuple(Attribute(a.name, a.kind, a.levels, a.cells[people]) for a in profile)
    ready = Prepared(
        study,
        Split(by, train, np.zeros_like(train), ~train),
        np.zeros((len(low), 1), np.float32),
        reference or Reference("marginal", low + width / 2),
        tuple(fit_coding(attribute, people) for attribute in profile),
        fit_profiles(rows, study.participants.weight[people], ProfilesConfig()),
    )
    jax.clear_caches()
    model = PersistentConfig(latent=settings.latent, injected=0, steps=settings.steps)
    return fit_model(ready, model, TrainConfig(), seed, None, silent, "persistent")[0]


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def within(task: np.ndarray, expected: np.ndarray, value: np.ndarray) -> float:
    """Correlation within each task, averaged; 0 where the same is expected of everybody."""
    each = []
    for one in np.unique(task):
        rows = task == one
        if np.ptp(value[rows]) == 0:
            continue
        varies = expected[rows].std() > 1e-9
        each.append(np.corrcoef(expected[rows], value[rows])[0, 1] if varies else 0.0)
    return float(np.mean(each))


def rps(chance: np.ndarray, level: np.ndarray) -> float:
    below = (chance.cumsum(1) - (level[:, None] <= np.arange(chance.shape[1])))[:, :-1]
    return float((below**2).sum(1).mean())


def movielens(settings: Settings) -> Iterable[Table]:
    config = load_config(
        Path(__file__).parents[2] / "configs" / "movielens100k.yaml", data=str(settings.folder)
    )
    study = load_study(config)
    shape = (len(study.participants.ids), len(study.tasks.ids))
    everything = Answers(study.person, study.task, study.value)
    split = SplitConfig(by="answers", folds=5)
    table = Shown("MovieLens 100K, 80% of ratings known", {"rmse": "RMSE", "s": "CPU seconds"})
    for fold in range(settings.folds):
        tell(f"movielens, fold {fold}")
        test = split_study(study, split, 0, fold).test
        known, asked = everything.some(~test), everything.some(test)

        def add(name: str, expected: np.ndarray, begun: float, asked: Answers = asked) -> None:
            error = float(np.sqrt(((expected.clip(1, 5) - asked.value) ** 2).mean()))
            table.add(name, {"rmse": error, "s": time.process_time() - begun})

        begun = time.process_time()
        crowd = fitted(study, ~test, settings, "answers", fold)
        found = predict_answers(crowd, study, ~test, asked.person, asked.task)
        add("**twins**", found.mean, begun)
        for name, forecast, grid in (
            ("task + person bias", bias_forecast(shape), (2.0, 5.0, 10.0)),
            ("ALS", als_forecast(shape), ALS_GRID),
            ("soft-thresholded SVD", svd_forecast(shape), SVD_GRID),
        ):
            begun = time.process_time()
            add(name, tuned(forecast, grid, known, asked)[0], begun)
    yield table


def big_five(settings: Settings) -> Iterable[Table]:
    study = bfi()
    people, tasks = len(study.participants.ids), len(study.tasks.ids)
    answers = np.full((people, tasks), np.nan)
    answers[study.person, study.task] = study.value
    columns = {"r": "r", "rps": "RPS"}
    table = Shown("Big Five: 15 items known, 10 asked", columns)
    agents = Shown(
        "Big Five: agents",
        {"apart": "Correlation error", "alpha": "Alpha of traits, mean gap", "sd": "Personal SD"},
    )
    for seed in range(settings.folds):
        tell(f"bfi, fold {seed}")
        random = np.random.default_rng(seed)
        tested = np.isin(np.arange(people), random.permutation(people)[: people // 5])
        asked = np.concatenate([5 * k + random.permutation(5)[:2] for k in range(5)])
        given = np.setdiff1d(np.arange(tasks), asked)
        of_tested = tested[study.person]
        rows = np.flatnonzero(of_tested & np.isin(study.task, asked))
        task, value = study.task[rows], study.value[rows]
        crowd = fitted(study, ~of_tested, settings, "people", seed)
        told = of_tested & np.isin(study.task, given)
        found = predict_answers(crowd, study, told, study.person[rows], task)
        table.add(
            "**twins**",
            {"r": within(task, found.mean, value), "rps": rps(found.chance, study.answer[rows])},
        )
        for name, (expected, chance) in _of_items(answers, tested, given, asked).items():
            measures = {"r": within(task, expected[study.person[rows], task], value)}
            if chance is not None:
                by_row = chance[study.person[rows], task]
                measures["rps"] = rps(by_row, study.answer[rows])
            table.add(name, measures)
        drawn = numbers_of(crowd, sample(crowd, 10_000, 0).answers)
        whole = answers[tested & np.isfinite(answers).all(1)]
        again = answers[~tested & np.isfinite(answers).all(1)]
        again = again[random.integers(0, len(again), len(whole))]
        agents.add("people, others", _agents(whole, again))
        agents.add("**agents**", _agents(whole, drawn))
    yield table
    yield agents


Forecast = tuple[np.ndarray, np.ndarray | None]


def _of_items(
    answers: np.ndarray, tested: np.ndarray, given: np.ndarray, asked: np.ndarray
) -> dict[str, Forecast]:
    """By rival, expected answers (P, T) and the chances of levels (P, T, K) to the items asked."""
    train, levels = ~tested, int(np.nanmax(answers))
    mean, sd = np.nanmean(answers[train], 0), np.nanstd(answers[train], 0)
    z = (answers - mean) / sd
    x = np.nan_to_num(z[:, given])
    shares = np.zeros((*answers.shape, levels))
    by_ridge, by_copula = np.zeros((2, *answers.shape))
    by_multinomial = np.zeros((*answers.shape, levels))
    scores = copula(answers, train, given, asked)
    for place, task in enumerate(asked):
        own = train & np.isfinite(answers[:, task])
        level = answers[own, task].astype(int) - 1
        shares[:, task] = np.bincount(level, minlength=levels) / own.sum()
        only = np.full(z.shape, np.nan)
        only[:, np.append(given, task)] = z[:, np.append(given, task)]
        by_ridge[:, task] = ridge(only, train, task, np.zeros((len(z), 0)), 10.0)
        by_multinomial[:, task] = multinomial(x[own], level, 0.03, levels)(x)
        by_copula[:, task] = scores[:, place]
    support = np.arange(1, levels + 1)
    bias = np.nan_to_num(z[:, given]).mean(1)[:, None] + mean[None]
    return {
        "task mean": (shares @ support, shares),
        "task + person bias": (bias, None),
        "ridge": (by_ridge, None),
        "multinomial": (by_multinomial @ support, by_multinomial),
        "Gaussian copula": (by_copula, None),
    }


def _agents(people: np.ndarray, agents: np.ndarray) -> Row:
    """How agents' items hang together, beside people's."""
    upper = np.triu_indices(people.shape[1], 1)
    apart = np.abs(np.corrcoef(people.T) - np.corrcoef(agents.T))[upper].mean()
    gap = [
        abs(_alpha(people[:, k : k + 5]) - _alpha(agents[:, k : k + 5])) for k in range(0, 25, 5)
    ]
    ratio = agents.mean(1).std() / people.mean(1).std()
    return {"apart": float(apart), "alpha": float(np.mean(gap)), "sd": float(ratio)}


def _alpha(items: np.ndarray) -> float:
    """Cronbach's alpha, items turned to the side of the first component."""
    z = (items - items.mean(0)) / items.std(0)
    first = np.linalg.svd(z, full_matrices=False)[2][0]
    turned = items * np.sign(first)
    k = items.shape[1]
    return float(k / (k - 1) * (1 - turned.var(0, ddof=1).sum() / turned.sum(1).var(ddof=1)))


def gems(settings: Settings) -> Iterable[Table]:
    study = twin2k(settings.folder)
    table = Shown(
        "Twin-2K: accuracy of what is held out",
        {"known": "40% known", "log": "Log loss", "none": "By attributes alone"},
    )
    people, tasks = len(study.participants.ids), len(study.tasks.ids)
    levels = study.answer.astype(int)
    for seed in range(settings.folds):
        tell(f"twin2k, split {seed}")
        random = np.random.default_rng(seed)
        place = random.permutation(people) / people
        partly = ((place >= 0.35) & (place < 0.95))[study.person]
        alone = (place >= 0.95)[study.person]
        held = alone | (partly & (random.random(len(partly)) >= 0.4))
        rows = np.flatnonzero(held)
        task, level = study.task[rows], levels[rows]
        crowd = fitted(study, ~held, settings, "answers", seed)
        found = predict_answers(crowd, study, ~held, study.person[rows], task).chance
        count = np.zeros((tasks, levels.max() + 1))
        np.add.at(count, (study.task[~held], levels[~held]), 1)
        shares = (count / count.sum(1, keepdims=True))[task]
        forecasts = {
            "**twins**": found,
            "majority": shares,
            "soft-thresholded SVD": _one_hot_svd(study, held, rows, shares.shape[1]),
        }
        for name, chance in forecasts.items():
            right = chance.argmax(1) == level
            of_row = chance[np.arange(len(rows)), level]
            row = {
                "known": float(right[partly[rows]].mean()),
                "none": float(right[alone[rows]].mean()),
            }
            if chance.min() >= 0:
                row["log"] = float(-np.log(of_row[partly[rows]].clip(1e-9)).mean())
            table.add(name, row)
    yield table


def _one_hot_svd(study: Study, held: np.ndarray, rows: np.ndarray, levels: int) -> np.ndarray:
    """(rows, levels) scores of a soft-thresholded SVD of levels and attributes as columns of 0 and
    1, centred."""
    people, tasks = len(study.participants.ids), len(study.tasks.ids)
    profile = study.participants.profile
    everyone = np.arange(people)
    c = encode(tuple(fit_coding(a, everyone) for a in profile), profile)
    x = np.full((people, tasks, levels), np.nan)
    x[study.person[~held], study.task[~held]] = 0.0
    x[study.person[~held], study.task[~held], study.answer[~held].astype(int)] = 1.0
    x = np.concatenate([x.reshape(people, -1), c], axis=1)
    mean = np.nan_to_num(np.nanmean(x, axis=0))
    known, filled = np.isfinite(x), np.zeros(x.shape)
    rest = np.nan_to_num(x - mean)
    for _ in range(30):
        filled = np.where(known, rest, filled)
        u, s, v = np.linalg.svd(filled, full_matrices=False)
        s = (s - 12.0).clip(0)
        filled = (u[:, s > 0] * s[s > 0]) @ v[s > 0]
    scores = (filled + mean)[:, : tasks * levels].reshape(people, tasks, levels)
    return scores[study.person[rows], study.task[rows]]


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
    columns = np.concatenate([words, pool_columns(probs, exists)], axis=2)
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
        told = from_levels(study, "column", pooled[:, :longest])
        for name, reference in (
            ("**crowd, all LLMs**", several),
            ("**crowd, all LLMs and the pool**", replace(several, others=(*others, told))),
        ):
            crowd = fitted(study, train, settings, "tasks", fold, reference)
            answers = sample(crowd, 10_000, 0).answers.astype(int)
            chance = np.stack([np.bincount(column, minlength=10) for column in answers.T]) / 10_000
            add(name, chance, held)
    yield table


SETS = {
    "movielens": movielens,
    "bfi": big_five,
    "twin2k": gems,
    "twin_llm": llm_twins,
    "opinionqa": toplines,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("set", choices=SETS)
    parser.add_argument("folder", type=Path, nargs="?", default=Path())
    parser.add_argument("--folds", type=int, default=1)
    parser.add_argument("--latent", type=int, default=8)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--json", type=Path, help="write the records here")
    args = parser.parse_args()
    settings = Settings(args.latent, args.steps, args.folds, args.folder)
    tables = list(SETS[args.set](settings))
    for table in tables:
        print(table.markdown())
    write(tables, args.json)


if __name__ == "__main__":
    main()
