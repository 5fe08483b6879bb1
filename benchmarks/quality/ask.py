"""New questions asked of a fitted crowd: how close, how well its intervals hold, how quick.

    python benchmarks/quality/ask.py DATA FOLDER [--parts 1] [--people N] [--embedder MODEL]
    python benchmarks/quality/ask.py run RUN

The second form fits nothing: the held-out questions of RUN (one scale) are asked again under other
names. Each half of them tells how far to trust the answers to the other half.

DATA is one of

    offensiveness  ratings.csv and task_embeddings.parquet (see configs/offensiveness.yaml)
    twin2k         responses.parquet, participants.csv, tasks.csv: its 43 yes-no questions
    opinionqa      human.csv, llm.parquet, questions.csv: shares of its questions with four options
    opinionqa-llm  the same, with what language models answered (their mean) as the reference

--embedder is what the texts of the last three are embedded with (a folder of all-MiniLM-L6-v2);
without it, their features are the words, by TF-IDF and 24 singular vectors. Needs scikit-learn and
pandas (pip install '.[benchmarks]').

The questions are cut into five parts. --parts of them, one after the other, are taken out of the
study; a crowd is fitted to the others (and measures itself on those it holds out), and is asked.
Beside it: `fit`, a crowd fitted to the very same answers whose study had the questions as tasks
without answers. --people takes so many of the people. --short: 60 steps.
"""

import argparse
import json
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from table import Row, Table

import crowdllm_jax as cl
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.fit import Prepared, fit_model
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.model.persistent.forecast import Outlook, unsure_of
from crowdllm_jax.population.panel import panel_of
from crowdllm_jax.profiles.generator import fit_profiles
from crowdllm_jax.reference.fitted import FittedReference, choose_blocks
from crowdllm_jax.reference.make import make_reference
from crowdllm_jax.reference.task_embeddings import Embedder, embed_texts
from crowdllm_jax.runs.config import Config, load_config
from crowdllm_jax.runs.folder import fitted_crowd, stored_config
from crowdllm_jax.runs.trust import (
    EDGE,
    NORMAL,
    held_out_outlook,
    stretched_interval,
    trust_of,
)
from crowdllm_jax.study.coding import fit_coding, task_features
from crowdllm_jax.study.records import Study, Tasks, only_answers
from crowdllm_jax.study.split import Split, split_study
from crowdllm_jax.study.statistics import level_shares
from crowdllm_jax.workflow.ask import ask
from crowdllm_jax.workflow.ask_audience import PANEL

ROOT = Path(__file__).parents[2]
AGENTS = 10_000
PARTS = 5
FOUR = 4
BEHIND = 2000
"""People that published shares are taken to be of, where nothing says it."""
TASKS = {
    "path": "tasks.parquet",
    "task": "task",
    "embedding": {"path": "tasks.parquet", "task": "task"},
}
COLUMNS = {
    "rps": "RPS",
    "accuracy": "accuracy",
    "coverage": "90% intervals that hold",
    "width": "their width",
    "way": "way",
    "worth": "as many people",
}


@dataclass(frozen=True)
class Data:
    """A study with an embedding of its texts, and (T, K) shares that language models gave."""

    study: Study
    config: Config
    llm: np.ndarray | None = None


def offensiveness(args: argparse.Namespace) -> Data:
    config = load_config(ROOT / "configs" / "offensiveness.yaml", data=str(args.folder))
    return Data(cl.load_study(config), config)


def embedded(texts: list[str], embedder: str | None) -> list[list[float]]:
    """(T, F) vectors of texts."""
    if embedder is not None:
        return embed_texts(Embedder(embedder), texts)[0]["embedding"].tolist()
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(sublinear_tf=True, stop_words="english").fit_transform(texts)
    return TruncatedSVD(24, random_state=0).fit_transform(words).tolist()


def write_tasks(work: Path, ids: list[str], vectors: list[list[float]], **more: Any) -> None:
    cells = pa.array(vectors, pa.list_(pa.float32()))
    pq.write_table(pa.table({"task": ids, "embedding": cells, **more}), work / "tasks.parquet")


def configured(work: Path, study: dict[str, Any], **more: Any) -> Config:
    tree = {
        "study": {"folder": str(work), "tasks": TASKS, **study},
        "split": {"by": "tasks", "test": 0.25, "validation": 0.0},
        "reference": {"kind": "fitted"},
        **more,
    }
    return msgspec.convert(tree, Config)


def twin2k(args: argparse.Namespace) -> Data:
    """The yes-no questions."""
    import pandas as pd

    folder = args.folder

    tasks = pd.read_csv(folder / "tasks.csv")
    tasks = tasks[tasks.options.str.lower().str.startswith('{"1": "yes')]
    work, who = Path(tempfile.mkdtemp()), pd.read_csv(folder / "participants.csv", dtype=str)
    write_tasks(work, list(tasks.task), embedded(list(tasks.text), args.embedder))
    if args.people is not None:
        who = who.sample(args.people, random_state=0)
    who.to_csv(work / "people.csv", index=False)
    answers = pd.read_parquet(folder / "responses.parquet")
    kept = answers.task.isin(tasks.task) & answers.participant.astype(str).isin(who.participant)
    answers[kept].to_parquet(work / "responses.parquet")
    profile = {name: "categorical" for name in who if name not in ("participant", "weight")}
    study = {
        "name": "twin2k yes-no",
        "responses": {"path": "responses.parquet"},
        "participants": {"path": "people.csv", "profile": profile},
        "scales": {"yes": {"kind": "binary", "levels": [2, 1]}},
    }
    # Of few questions more are held out, so that there are enough to tell how far to trust them.
    config = configured(work, study, split={"by": "tasks", "test": 0.4, "validation": 0.0})
    return Data(cl.load_study(config), config)


def opinionqa(args: argparse.Namespace, *, llm: bool = False) -> Data:
    """Published shares of questions with four options, refusals left out."""
    import pandas as pd

    folder = args.folder
    questions = pd.read_csv(folder / "questions.csv")
    options = {
        q.task: [option for option in json.loads(q.options) if option != "Refused"]
        for q in questions.itertuples()
    }
    ids = [task for task in sorted(options) if len(options[task]) == FOUR]
    place = {(task, option): i for task in ids for i, option in enumerate(options[task])}

    def shares(table: "pd.DataFrame") -> np.ndarray:
        out = np.zeros((len(ids), FOUR))
        for task, option, share in zip(table.task, table.option, table.share, strict=True):
            if (task, option) in place:
                out[ids.index(task), place[task, option]] += share
        return out / out.sum(1, keepdims=True)

    human = shares(pd.read_csv(folder / "human.csv"))
    said = pd.read_parquet(folder / "llm.parquet")
    of_llm = shares(said[~said["run"].str.contains("baseline")])
    text = dict(zip(questions.task, questions.text, strict=True))
    texts = [f"{text[task]} {' | '.join(options[task])}" for task in ids]
    work = Path(tempfile.mkdtemp())
    cells = pa.array(of_llm.tolist(), pa.list_(pa.float64()))
    write_tasks(work, ids, embedded(texts, args.embedder), llm=cells)
    rows = [(task, i + 1, human[row, i]) for row, task in enumerate(ids) for i in range(FOUR)]
    names = ["task", "response", "share"]
    pd.DataFrame(rows, columns=names).to_csv(work / "shares.csv", index=False)
    study = {
        "name": "opinionqa",
        "responses": {"path": "shares.csv", "share": "share"},
        "scales": {"options": {"kind": "ordinal", "levels": [1, 2, 3, 4]}},
    }
    reference = {"kind": "column", "path": "tasks.parquet", "probs": "llm"}
    config = configured(work, study, **({"reference": reference} if llm else {}))
    return Data(cl.load_study(config), config, of_llm)


def opinionqa_llm(args: argparse.Namespace) -> Data:
    return opinionqa(args, llm=True)


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
    cells = pa.array(study.tasks.embedding[asked].tolist(), pa.list_(pa.float32()))
    ids = pa.array([before + study.tasks.ids[i] for i in asked])
    columns = {"task": ids, "instance_id": ids, "embedding": cells}
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
    rows = {name: measured(study, asked, forecast) for name, forecast in shares.items()}
    rows |= {f"{n} people asked": {"rps": people_asked(study, asked, n)} for n in (5, 20)}
    everybody = level_shares(study, np.isin(study.task, asked), 0)[asked]
    most = measured(study, asked, everybody)["accuracy"]
    rows["all people"] = {"rps": best, "accuracy": most}
    floor = next(iter(rows.values()))["rps"]
    for name, row in rows.items():
        way = (floor - row["rps"]) / (floor - best)
        worth = {"worth": best / (row["rps"] - best)} if row["rps"] > best * 1.001 else {}
        table.add(name, row | {"way": way} | worth | more.get(name, {}))


def same_answers(study: Study, split: Split, config: Config) -> Crowd:
    """A crowd fitted to the answers that a split of another study trains, which are this one's in
    the same order."""
    study = choose_blocks(study, split)
    people = split.people(study, split.seen)
    rows = tuple(replace(a, cells=a.cells[people]) for a in study.participants.profile)
    profiles = fit_profiles(rows, study.participants.weight[people], config.profiles)
    folder = config.study.folder  # type: ignore[union-attr]
    reference = make_reference(study, split, config.reference, folder, lambda *_: None)
    features = task_features(study.tasks, identity=False)
    codings = tuple(fit_coding(a, people) for a in study.participants.profile)
    prepared = Prepared(study, split, features, reference, codings, profiles)
    return fit_model(prepared, config.model, config.train, 0, None, lambda *_: None, "same")[0]


Forecasts = dict[str, np.ndarray]
"""(T, K) shares by who forecasts them; NaN of questions that were not asked."""


def one_part(data: Data, asked: np.ndarray, out: Forecasts) -> list[dict[str, Any]]:
    """Ask some questions; returns the rows of shares that are told."""
    study, config = data.study, data.config
    k = len(next(iter(study.scales.values())).levels)  # type: ignore[union-attr]
    fewer, same = (without(study, asked, drop=drop) for drop in (True, False))
    crowd = cl.fit(fewer, config, 0)[0]
    began = time.perf_counter()
    answered = ask((crowd, fewer, config), questions_of(study, asked, llm=data.llm))
    print(f"asked {len(asked)} in {time.perf_counter() - began:.1f} s")
    print(answered.notes[-1], flush=True)
    order = [answered.crowd.task_ids.index(study.tasks.ids[i]) for i in asked]
    rows = [row for row in answered.table.to_pylist() if row["answer"] != "(mean)"]
    told = np.array([row["share"] for row in rows]).reshape(-1, k)[order]
    split = split_study(fewer, config.split, 0)
    ridge = make_reference(
        choose_blocks(same, split), split, FittedReference(), ".", lambda *_: None
    ).probs
    assert ridge is not None
    seen = np.bincount(fewer.answer[split.seen].astype(int), fewer.weight[split.seen], k)
    found = {
        "pooled shares": np.tile(seen / seen.sum(), (len(asked), 1)),
        **({} if data.llm is None else {"LLM alone": data.llm[asked]}),
        "ridge on the embedding": ridge[asked],
        "asked, the agents' shares": drawn(answered.crowd, np.array(order), k),
        "asked, the shares told": told,
        "fit that had the questions": drawn(same_answers(same, split, config), asked, k),
    }
    for name, forecast in found.items():
        out.setdefault(name, np.full((len(study.tasks.ids), k), np.nan))[asked] = forecast
    return rows


def of_parts(data: Data, parts: int, table: Table) -> None:
    """Ask some of the five parts of the questions, and compare all that were asked."""
    t = len(data.study.tasks.ids)
    cut = np.array_split(np.random.default_rng(9).permutation(t), PARTS)
    out: Forecasts = {}
    rows = [row for part in cut[:parts] for row in one_part(data, np.sort(part), out)]
    asked = np.sort(np.concatenate(cut[:parts]))
    inside, width = coverage(data.study, asked, rows)
    told = {"asked, the shares told": {"coverage": inside, "width": width}}
    compare(data.study, asked, {name: f[asked] for name, f in out.items()}, told, table)


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
        "asked, the agents' shares": drawn(answered.crowd, np.array(place), k),
        "asked, the shares told": np.array([row["share"] for row in rows]).reshape(-1, k),
        "the fit's own held-out tasks": drawn(crowd, held, k),
    }
    told = {"coverage": inside, "width": width}
    compare(study, held, shares, {"asked, the shares told": told}, table)


DATA = {
    "offensiveness": offensiveness,
    "twin2k": twin2k,
    "opinionqa": opinionqa,
    "opinionqa-llm": opinionqa_llm,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=(*DATA, "run"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parts", type=int, default=1, choices=range(1, PARTS + 1))
    parser.add_argument("--people", type=int)
    parser.add_argument("--embedder")
    parser.add_argument("--short", action="store_true")
    args = parser.parse_args()
    table = Table(f"New questions ({args.data})", COLUMNS)
    if args.data == "run":
        of_run(args.folder, table)
        print(table.markdown())
        return
    data = DATA[args.data](args)
    if args.short:
        model = PersistentConfig(latent=2, steps=60)
        data = replace(data, config=msgspec.structs.replace(data.config, model=model))
    of_parts(data, args.parts, table)
    print(table.markdown())


if __name__ == "__main__":
    main()
