"""Small studies made of nothing but a seed."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Attribute, Participants, Study, Tasks
from crowdllm_jax.study.scales import (
    Approval,
    Binary,
    Continuous,
    KApproval,
    Ordinal,
    Points,
    Ranking,
)

RATING = Ordinal(levels=(1, 2, 3, 4, 5))
EVERY_SCALE = {
    "rating": RATING,
    "frequency": Ordinal(levels=("never", "sometimes", "always")),
    "agree": Binary(levels=("no", "yes")),
    "price": Continuous(low=-10.0, high=30.0),
    "approve": Approval(),
    "pick": KApproval(k=2),
    "rank": Ranking(k=3),
    "share": Points(budget=10),
}


def make_study(
    by_name: dict[str, scales.Scale] | None = None,
    *,
    tasks: int = 4,
    people: int = 24,
    seed: int = 0,
    embedding: int = 0,
    share: float = 1.0,
) -> Study:
    """A study with `tasks` tasks on each scale.

    Args:
      share: of the (person, task) pairs that are answered; must be 1 with ballots.
    """
    by_name = {"rating": RATING} if by_name is None else by_name
    random = np.random.default_rng(seed)
    t = tasks * len(by_name)
    scale = np.repeat(np.arange(len(by_name), dtype=np.int32), tasks)
    age = random.integers(18, 80, people).astype(float)
    age[0] = np.nan
    profile = (
        Attribute("age", "numeric", (), age),
        Attribute("city", "categorical", ("A", "B", "C"), _levels(random, people, 3)),
    )
    answers = np.empty((people, t))
    for index, one in enumerate(by_name.values()):
        answers[:, scale == index] = _answers(random, one, people, tasks)
    person, task = (axis.ravel().astype(np.int32) for axis in np.indices((people, t)))
    keep = random.random(people * t) < share
    return Study(
        name="synthetic",
        scales=by_name,
        tasks=Tasks(
            ids=tuple(f"t{i:02d}" for i in range(t)),
            text=tuple(f"Task number {i}" for i in range(t)),
            scale=scale,
            attributes=(),
            embedding=random.normal(size=(t, embedding)).astype(np.float32) if embedding else None,
        ),
        participants=Participants(
            tuple(f"p{i:03d}" for i in range(people)), profile, np.ones(people)
        ),
        person=person[keep],
        task=task[keep],
        answer=answers.ravel()[keep],
    )


def _levels(random: np.random.Generator, count: int, k: int) -> np.ndarray:
    return random.integers(0, k, count).astype(np.int32)


def _answers(random: np.random.Generator, scale: scales.Scale, n: int, t: int) -> np.ndarray:
    place = random.random((n, t)).argsort(1)
    match scale:
        case Continuous(low=low, high=high):
            return random.uniform(low, high, (n, t))
        case KApproval(k=k):
            return place < k
        case Ranking(k=k):
            return np.maximum(k - place, 0)
        case Points(budget=budget):
            return random.multinomial(budget, np.full(t, 1 / t), n)
        case _:
            # Tasks differ in how high they are answered.
            k = scales.size(scale)
            return random.binomial(k - 1, np.linspace(0.2, 0.8, t), (n, t))


STUDY = """\
name: demo
folder: {folder}
responses: {{path: responses.csv}}
scales:
  rating: {{kind: ordinal, levels: [1, 2, 3, 4, 5]}}
participants:
  profile: {{age: numeric, city: categorical}}
"""


def rows_of(study: Study) -> dict[str, list[str]]:
    """A study of one scale as columns of a long table, in the texts a user would write."""
    (scale,) = study.scales.values()
    words = scales.written(scale)
    age, city = study.participants.profile
    return {
        "participant": [study.participants.ids[p] for p in study.person],
        "task": [study.tasks.ids[t] for t in study.task],
        "response": [str(words[int(a)]) if words else repr(float(a)) for a in study.answer],
        "age": ["" if np.isnan(age.cells[p]) else f"{age.cells[p]:g}" for p in study.person],
        "city": [city.levels[city.cells[p]] for p in study.person],
    }


def write_table(path: Path, columns: dict[str, list[str]]) -> None:
    """Write text columns as CSV, or as Parquet where the name says so."""
    table = pa.table(columns)
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    else:
        pyarrow.csv.write_csv(table, path)


def write_study(folder: Path, study: Study | None = None) -> Path:
    """Write a study's responses.csv and study.yaml; returns the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / "responses.csv", rows_of(study or make_study()))
    path = folder / "study.yaml"
    path.write_text(STUDY.format(folder=folder))
    return path


CONFIG = """\
study:
{study}
split: {{by: people, test: 0.25, validation: 0.2}}
model: {{kind: cvae, hidden: 8, latent: 2}}
train: {{epochs: 2, batch_size: 32}}
models: [{beside}]
population: {{agents: 50, seed: 3}}
"""


def write_config(folder: Path, study: Study | None = None, *, beside: tuple[str, ...] = ()) -> Path:
    """Write a study and a configuration that is quick to run; returns the latter.

    Args:
      beside: the models that are fitted to compare the configured one with.
    """
    text = write_study(folder, study).read_text()
    path = folder / "config.yaml"
    indented = "".join(f"  {line}\n" for line in text.splitlines())
    path.write_text(CONFIG.format(study=indented.rstrip("\n"), beside=", ".join(beside)))
    return path
