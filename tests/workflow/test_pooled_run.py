"""A run whose questions have options of their own, and new ones with others, asked of it."""

import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from crowdllm_jax.cli.main import main
from crowdllm_jax.runs.folder import fitted_crowd, kept_reference

PEOPLE, TASKS, SETS = 60, 60, 30
WORDS = ("red", "blue", "green", "pink")
CONFIG = """\
study:
  folder: {folder}
  responses: {{path: responses.csv, participant: who, task: task, response: response}}
  tasks: {{path: tasks.csv, task: task, text: text, scale: scale}}
  participants: {{}}
  scales:
{scales}
split: {{by: tasks, test: 0.2, validation: 0}}
reference:
  kind: pooled
  of:
    - {{kind: column, path: told.csv, task: task, probabilities: [o0, o1, o2, o3]}}
model: {{kind: persistent, latent: 1, injected: 0, nodes: 16, steps: 150}}
models: []
population: {{agents: 4000}}
"""


def write(path: Path, header: str, rows: list[tuple]) -> None:
    with path.open("w", newline="") as sink:
        csv.writer(sink).writerows([header.split(","), *rows])


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """People choose as the model says, but much more often `green` options, wherever these stand;
    two questions have the same options."""
    folder, random = tmp_path_factory.mktemp("pooled"), np.random.default_rng(0)
    place = [random.permutation(4) for _ in range(SETS)]
    said = random.dirichlet(np.ones(4), TASKS)
    answers, tasks = [], []
    for task in range(TASKS):
        own = [f"{WORDS[i]} {task % SETS:02d}" for i in place[task % SETS]]
        chance = said[task] * np.where(place[task % SETS] == 2, 4.0, 1.0)
        for person in range(PEOPLE):
            level = random.choice(4, p=chance / chance.sum())
            answers.append((f"p{person}", f"t{task:02d}", own[level]))
        tasks.append((f"t{task:02d}", f"Question {task}", f"s{task % SETS:02d}"))
    write(folder / "responses.csv", "who,task,response", answers)
    write(folder / "tasks.csv", "task,text,scale", tasks)
    told = [(f"t{task:02d}", *said[task]) for task in range(TASKS)]
    write(folder / "told.csv", "task,o0,o1,o2,o3", told)
    levels = [", ".join(f'"{WORDS[i]} {s:02d}"' for i in place[s]) for s in range(SETS)]
    scales = [f"    s{s:02d}: {{kind: nominal, levels: [{levels[s]}]}}" for s in range(SETS)]
    config = folder / "study.yaml"
    config.write_text(CONFIG.format(folder=folder, scales="\n".join(scales)))
    assert main(["fit", str(config), "--out", str(folder / "run"), "--quiet"]) == 0
    return folder


@pytest.mark.filterwarnings("ignore::crowdllm_jax.errors.CrowdWarning")
def test_new_options_are_chosen_as_the_pool_says(run, capsys):
    """Of `four` the model says nothing, so that `green` tells; of `others` no word is known."""
    questions = run / "new.csv"
    header = "task,text,options,kind,o0,o1,o2,o3"
    rows = [
        ("four", "Which one?", "green 77|red 77|blue 77|pink 77", "nominal", *[0.25] * 4),
        ("others", "Which way?", "bus|car|bike|train", "nominal", 0.7, 0.1, 0.1, 0.1),
    ]
    write(questions, header, rows)
    out = run / "asked"
    assert main(["ask", str(run / "run"), "--tasks", str(questions), "--out", str(out)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "placed by the options' words and answers in new.csv" in text
    assert "agents choose among them as the reference says" in text
    answers = pq.read_table(out / "part-00000.parquet").to_pandas()
    share = answers.groupby("task_id")["decision"].value_counts(normalize=True)
    # By the model's chances and the study's law: 4 / 7 and .7. 4,000 agents: within .02 by chance;
    # the rest is what 48 questions and the penalty leave open.
    assert share["four"]["green 77"] == pytest.approx(4 / 7, abs=0.12)
    assert share["others"]["bus"] == pytest.approx(0.7, abs=0.12)


def test_the_pool_is_kept_for_questions(run):
    crowd = run / "run" / "seed-0" / "persistent"
    kept = kept_reference(next(p.parent for p in crowd.parent.rglob("reference.npz")))
    assert kept.kind == "pooled"
    assert len(kept.heads) == 1
    assert len(kept.mean) == len(fitted_crowd(run / "run").task_ids) == TASKS
