"""New questions asked of a fitted crowd: how close, how well its intervals hold, how quick.

    python benchmarks/quality/ask.py DATA FOLDER [--short] [--seeds 1]
    python benchmarks/quality/ask.py run RUN

The second form fits nothing: the held-out questions of RUN (one scale) are asked again under other
names. Each half of them tells how far to trust the answers to the other half.

DATA is offensiveness (FOLDER holds ratings.csv and task_embeddings.parquet, see
configs/offensiveness.yaml) or twin2k (FOLDER holds responses.parquet, participants.csv, tasks.csv:
its 43 yes-no questions, whose features are the texts' words, by TF-IDF and 24 singular vectors).
Needs scikit-learn (pip install '.[benchmarks]'). A fifth of the questions is taken out of the
study, a crowd is fitted to the others (and measures itself on those it holds out), and is then
asked those.
Beside it: `fit`, a crowd whose study had them as tasks without answers. --short: 60 steps.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from table import Row, Table

import crowdllm_jax as cl
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.model.persistent.forecast import Outlook, unsure_of
from crowdllm_jax.population.panel import panel_of
from crowdllm_jax.reference.fitted import choose_blocks
from crowdllm_jax.reference.make import make_reference
from crowdllm_jax.runs.config import Config, load_config
from crowdllm_jax.runs.folder import fitted_crowd, stored_config
from crowdllm_jax.runs.trust import (
    EDGE,
    NORMAL,
    held_out_outlook,
    stretched_interval,
    trust_of,
)
from crowdllm_jax.study.records import Study, Tasks
from crowdllm_jax.study.split import Split, split_study
from crowdllm_jax.study.statistics import level_shares
from crowdllm_jax.workflow.ask import ask
from crowdllm_jax.workflow.ask_audience import PANEL

AGENTS = 10_000
ASKED = 0.2
COLUMNS = {
    "rps": "RPS",
    "coverage": "90% intervals that hold",
    "width": "their width",
    "way": "way",
}


def offensiveness(folder: str) -> tuple[Study, Config]:
    root = Path(__file__).parents[2]
    config = load_config(root / "configs" / "offensiveness.yaml", data=folder)
    return cl.load_study(config), config


def twin2k(folder: str) -> tuple[Study, Config]:
    """The yes-no questions, with features of their words."""
    import csv

    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    with (Path(folder) / "tasks.csv").open(encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["options"].lower().startswith('{"1": "yes')]
    text = TfidfVectorizer(sublinear_tf=True, stop_words="english").fit_transform(
        [r["text"] for r in rows]
    )
    vectors = TruncatedSVD(24, random_state=0).fit_transform(text).astype(np.float32)
    work = Path(tempfile.mkdtemp())
    ids = [r["task"] for r in rows]
    cells = pa.array(vectors.tolist(), pa.list_(pa.float32()))
    pq.write_table(pa.table({"task": ids, "embedding": cells}), work / "embedding.parquet")
    answers = pq.read_table(Path(folder) / "responses.parquet")
    kept = np.isin(np.array(answers["task"].to_pylist()), ids)
    pq.write_table(answers.filter(pa.array(kept)), work / "responses.parquet")
    people = Path(folder).absolute() / "participants.csv"
    columns = people.read_text(encoding="utf-8").splitlines()[0].split(",")
    profile = {name: "categorical" for name in columns if name not in ("participant", "weight")}
    tree = {
        "study": {
            "name": "twin2k yes-no",
            "folder": str(work),
            "responses": {"path": "responses.parquet"},
            "tasks": {"embedding": {"path": "embedding.parquet"}},
            "participants": {"path": str(people), "profile": profile},
            "scales": {"yes": {"kind": "binary", "levels": [2, 1]}},
        },
        "split": {"by": "tasks", "test": 0.4, "validation": 0.0},
        "reference": {"kind": "fitted"},
    }
    config = msgspec.convert(tree, Config)
    return cl.load_study(config), config


def without(study: Study, asked: np.ndarray, *, drop: bool) -> Study:
    """The study without some tasks, or with them but without their answers."""
    kept = ~np.isin(study.task, asked)
    fewer = replace(
        study,
        person=study.person[kept],
        task=study.task[kept],
        answer=study.answer[kept],
        row=None if study.row is None else study.row[kept],
    )
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


def questions_of(study: Study, asked: np.ndarray, before: str = "") -> Path:
    """A table of the questions with their vectors, under the study's own names for its columns."""
    path = Path(tempfile.mkdtemp()) / "questions.parquet"
    assert study.tasks.embedding is not None
    cells = pa.array(study.tasks.embedding[asked].tolist(), pa.list_(pa.float32()))
    ids = pa.array([before + study.tasks.ids[i] for i in asked])
    pq.write_table(pa.table({"task": ids, "instance_id": ids, "embedding": cells}), path)
    return path


def measured(study: Study, asked: np.ndarray, shares: np.ndarray) -> float:
    """RPS of forecasts (A, K), a number per answer to the asked questions."""
    place = np.full(len(study.tasks.ids), -1)
    place[asked] = np.arange(len(asked))
    rows = np.isin(study.task, asked)
    below = shares.cumsum(1)[place[study.task[rows]], :-1]
    gave = study.answer[rows][:, None] <= np.arange(below.shape[1])
    return float(((below - gave) ** 2).sum(1).mean())


def people_asked(study: Study, asked: np.ndarray, count: float) -> float:
    """RPS that the shares of so many people (infinitely many: the best there is) would have."""
    share = level_shares(study, np.isin(study.task, asked), 0)[asked]
    n = np.bincount(study.task, minlength=len(study.tasks.ids))[asked]
    below = share.cumsum(1)[:, :-1]
    enough = n > 1
    variance = (below * (1 - below)).sum(1)[enough] * n[enough] / (n[enough] - 1)
    return float(np.average(variance * (1 + 1 / count), weights=n[enough]))


def coverage(study: Study, asked: np.ndarray, rows: list[dict[str, Any]]) -> tuple[float, float]:
    """How many of people's shares lie inside the intervals, given that so many gave them; and the
    intervals' width."""
    people = level_shares(study, np.isin(study.task, asked), 0)[asked]
    n = np.bincount(study.task, minlength=len(study.tasks.ids))[asked]
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


def drawn(crowd: Crowd, tasks: np.ndarray, k: int) -> np.ndarray:
    """(A, K) shares of agents' answers to some tasks."""
    answers = cl.sample(crowd, AGENTS, 0).answers[:, tasks]
    return np.stack([(answers == level).mean(0) for level in range(k)], axis=1)


def compare(
    study: Study,
    asked: np.ndarray,
    shares: dict[str, np.ndarray],
    more: dict[str, Row],
    table: Table,
) -> None:
    """Add a row for each forecast, the pooled shares' first, and for people who are asked."""
    best = people_asked(study, asked, np.inf)
    rps = {name: measured(study, asked, forecast) for name, forecast in shares.items()}
    rps |= {f"{count} people asked": people_asked(study, asked, count) for count in (5, 20)}
    rps["all people"] = best
    floor = next(iter(rps.values()))
    for name, value in rps.items():
        way = (floor - value) / (floor - best)
        table.add(name, {"rps": value, "way": way} | more.get(name, {}))


def one_seed(study: Study, config: Config, seed: int, table: Table) -> None:
    random = np.random.default_rng([seed, 9])
    t = len(study.tasks.ids)
    asked = np.sort(random.choice(t, round(ASKED * t), replace=False))
    fewer, same = (without(study, asked, drop=drop) for drop in (True, False))
    crowd = cl.fit(fewer, config, 0)[0]
    began = time.perf_counter()
    answered = ask((crowd, fewer, config), questions_of(study, asked))
    order = [answered.crowd.task_ids.index(study.tasks.ids[i]) for i in asked]
    k = len(next(iter(study.scales.values())).levels)  # type: ignore[union-attr]
    told = np.array(
        [r["share"] for r in answered.table.to_pylist() if r["answer"] != "(mean)"]
    ).reshape(-1, k)[order]
    print(f"seed {seed}: asked {len(asked)} in {time.perf_counter() - began:.1f} s")
    print(answered.notes[-1], flush=True)

    rows = [row for row in answered.table.to_pylist() if row["answer"] != "(mean)"]
    held, width = coverage(study, asked, rows)
    agents = drawn(answered.crowd, np.array(order), k)
    split = split_study(same, config.split, 0)
    ridge = make_reference(
        choose_blocks(same, split), split, config.reference, ".", lambda *_: None
    ).probs
    assert ridge is not None
    seen = np.bincount(fewer.answer.astype(int), fewer.weight, k)
    pooled = np.tile(seen / seen.sum(), (len(asked), 1))
    shares = {
        "pooled shares": pooled,
        "ridge on the embedding": ridge[asked],
        "ask (agents)": agents,
        "ask (shares told)": told,
    }
    compare(study, asked, shares, {"ask (shares told)": {"coverage": held, "width": width}}, table)
    print(table.markdown(), flush=True)
    fitted = drawn(cl.fit(same, config, 0)[0], asked, k)
    table.add("fit that had the questions", {"rps": measured(study, asked, fitted)})


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
        low, high = stretched_interval(shares, trust.stretch)
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
    inside, width = coverage(study, held, rows)
    began = time.perf_counter()
    answered = ask(folder, questions_of(study, held, "asked again: "))
    print(f"asked {len(held)} in {time.perf_counter() - began:.1f} s")
    print(answered.notes[-1], flush=True)
    place = [answered.crowd.task_ids.index(f"asked again: {study.tasks.ids[i]}") for i in held]
    seen = np.bincount(study.answer[split.seen].astype(int), study.weight[split.seen], k)
    reference = make_reference(
        choose_blocks(study, split), split, config.reference, ".", lambda *_: None
    )
    assert reference.probs is not None
    shares = {
        "pooled shares": np.tile(seen / seen.sum(), (len(held), 1)),
        "ridge on the embedding": reference.probs[held],
        "ask (agents)": drawn(answered.crowd, np.array(place), k),
        "ask (shares told)": np.array([row["share"] for row in rows]).reshape(-1, k),
        "held-out tasks of the fit": drawn(crowd, held, k),
    }
    told = {"coverage": inside, "width": width}
    compare(study, held, shares, {"ask (shares told)": told}, table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=("offensiveness", "twin2k", "run"))
    parser.add_argument("folder")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--short", action="store_true")
    args = parser.parse_args()
    if args.data == "run":
        table = Table(f"New questions ({args.folder})", COLUMNS)
        of_run(Path(args.folder), table)
        print(table.markdown())
        return
    study, config = {"offensiveness": offensiveness, "twin2k": twin2k}[args.data](args.folder)
    if args.short:
        config = msgspec.structs.replace(config, model=PersistentConfig(latent=2, steps=60))
    table = Table(f"New questions ({args.data})", COLUMNS)
    for seed in range(args.seeds):
        one_seed(study, config, seed, table)
    print(table.markdown())


if __name__ == "__main__":
    main()
