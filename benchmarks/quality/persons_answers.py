"""Rivals of twins on people's own answers: MovieLens, the Big Five, Twin-2K."""

import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from person_rivals import (
    ALS_GRID,
    BIAS_GRID,
    SVD_BY_DESCENT_GRID,
    SVD_GRID,
    SVDPP_GRID,
    Answers,
    als_forecast,
    bias_forecast,
    copula,
    fold_in,
    multinomial,
    ridge,
    surprise_forecast,
    svd_forecast,
    tuned,
)
from persons_agents import of_halves
from persons_data import bfi, quiz, twin2k, without_order
from persons_fit import Settings, Shown, fitted, rps, tell, within
from table import Row, Table

from crowdllm_jax.model.crowd import numbers_of
from crowdllm_jax.population.predicted import predict_answers
from crowdllm_jax.population.sample import sample
from crowdllm_jax.runs.config import load_config, load_study
from crowdllm_jax.study.coding import encode, fit_coding
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.split import SplitConfig, split_study

KNOWN = (5, 10, 20)
"""Ratings that are known of people whom a fit has not seen."""


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
            ("task + person bias", bias_forecast(shape), [2.0, 5.0, 10.0]),
            ("ALS", als_forecast(shape), ALS_GRID),
            ("soft-thresholded SVD", svd_forecast(shape), SVD_GRID),
            ("SVD", surprise_forecast("SVD"), SVD_BY_DESCENT_GRID),
            ("SVD++", surprise_forecast("SVDpp"), SVDPP_GRID),
        ):
            begun = time.process_time()
            add(name, tuned(forecast, grid, known, asked)[0], begun)
    yield table
    yield _new_people(settings, study)
    yield from of_halves(settings, study, "MovieLens 100K")


def _new_people(settings: Settings, study: Study) -> Table:
    """People whom a fit has not seen, a few of whose ratings are known; the other ratings, the same
    however many are known, are asked for."""
    columns = {f"known {n}": f"RMSE, {n} known" for n in KNOWN}
    table = Shown("MovieLens 100K: a fifth of the people are new", columns)
    people, shape = len(study.participants.ids), (len(study.participants.ids), len(study.tasks.ids))
    everything = Answers(study.person, study.task, study.value)
    for seed in range(settings.folds):
        tell(f"movielens, new people {seed}")
        random = np.random.default_rng([seed, 5])
        new = random.permutation(people)[: people // 5]
        of_new = np.isin(study.person, new)
        order = _place_within(study.person, random.permutation(len(study.person)))
        asked_rows = of_new & (order >= max(KNOWN))
        asked, trained = everything.some(asked_rows), everything.some(~of_new)
        crowd = fitted(study, ~of_new, settings, "people", seed)
        rows: dict[str, Row] = {"**twins**": {}, "task + person bias": {}, "ALS, folded in": {}}
        for n in KNOWN:
            told = of_new & (order < n)
            known = everything.some(told)
            found = predict_answers(crowd, study, told, asked.person, asked.task).mean
            for name, expected in (
                ("**twins**", found),
                ("task + person bias", fold_in(trained, shape, n, BIAS_GRID)(known, asked)),
                ("ALS, folded in", fold_in(trained, shape, n, ALS_GRID)(known, asked)),
            ):
                error = ((expected.clip(1, 5) - asked.value) ** 2).mean()
                rows[name][f"known {n}"] = float(np.sqrt(error))
        for name, row in rows.items():
            table.add(name, row)
    return table


def _place_within(person: np.ndarray, order: np.ndarray) -> np.ndarray:
    """(R,) which of its person's answers each is, from 0, in an order (R,) of the answers."""
    by_person = order[np.argsort(person[order], kind="stable")]
    begin = np.searchsorted(person[by_person], np.arange(person.max() + 1))
    place = np.empty(len(person), int)
    place[by_person] = np.arange(len(person)) - begin[person[by_person]]
    return place


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
    yield from of_halves(settings, study, "Big Five")


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


def choices(settings: Settings) -> Iterable[Table]:
    columns = {"right": "Accuracy", "log": "Log loss"}
    for name, made in (("a quiz", quiz), ("Big Five", lambda _: without_order(bfi()))):
        table = Shown(f"Choices without an order: {name}", columns)
        for seed in range(settings.folds):
            tell(f"choices, {name}, fold {seed}")
            study = made(seed)
            held = np.random.default_rng(seed).random(len(study.answer)) < 0.2
            rows = np.flatnonzero(held)
            task, level = study.task[rows], study.answer[rows].astype(int)
            crowd = fitted(study, ~held, settings, "answers", seed)
            found = predict_answers(crowd, study, ~held, study.person[rows], task).chance
            forecasts = {
                "**twins**": found,
                "majority": _shares(study, ~held)[task],
                "multinomial of the others": _by_others(study, held, rows),
            }
            for who, chance in forecasts.items():
                of_row = chance[np.arange(len(rows)), level]
                right = (chance.argmax(1) == level).mean()
                loss = -np.log(of_row.clip(1e-9)).mean()
                table.add(who, {"right": float(right), "log": float(loss)})
        yield table


def _shares(study: Study, part: np.ndarray) -> np.ndarray:
    """(T, K) shares of the levels in some answers (R,) bool, one answer added in all."""
    levels = study.answer.astype(int)
    count = np.full((len(study.tasks.ids), levels.max() + 1), 1 / (levels.max() + 1))
    np.add.at(count, (study.task[part], levels[part]), 1)
    return np.asarray(count / count.sum(1, keepdims=True))


def _by_others(study: Study, held: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(rows, K) by scikit-learn's multinomial regression of each task on all others, whose levels
    are columns of 0 and 1, all 0 where nothing is known."""
    from sklearn.linear_model import LogisticRegression

    levels, tasks = study.answer.astype(int), len(study.tasks.ids)
    people, k = len(study.participants.ids), levels.max() + 1
    x = np.zeros((people, tasks, k), np.float32)
    x[study.person[~held], study.task[~held], levels[~held]] = 1.0
    chance = np.zeros((len(rows), k))
    for task in range(tasks):
        told, asked = ~held & (study.task == task), study.task[rows] == task
        others = np.delete(x, task, axis=1).reshape(people, -1)
        model = LogisticRegression(C=0.05, max_iter=300)
        model.fit(others[study.person[told]], levels[told])
        of_asked = model.predict_proba(others[study.person[rows[asked]]])
        chance[np.ix_(asked, model.classes_)] = of_asked
    return chance


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
    yield from of_halves(settings, study, "Twin-2K")


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
