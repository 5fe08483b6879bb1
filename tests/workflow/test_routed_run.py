"""A run whose people were not all asked everything, from its table to what is said of people."""

import json
import re

import numpy as np
import pytest
from synthetic import make_study, write_study, write_table

from crowdllm_jax.aggregate.decide import decide
from crowdllm_jax.explore.compare import compare
from crowdllm_jax.explore.data import explore_run
from crowdllm_jax.explore.view import Query, view
from crowdllm_jax.infer.question import MEAN
from crowdllm_jax.runs.config import load_config, load_study
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.routing import people_asked
from crowdllm_jax.workflow.infer import infer_run
from crowdllm_jax.workflow.steps import run

PEOPLE = 200
CONDITION = "t00 >= 2 and age >= 30"
CONFIG = """\
study:
  folder: {folder}
  responses: {{path: responses.csv}}
  tasks: {{path: tasks.csv, task: task, ask_if: ask_if}}
  participants: {{path: people.csv, profile: {{age: numeric, city: categorical}}}}
  scales: {{rating: {{kind: ordinal, levels: [1, 2, 3, 4, 5]}}}}
split: {{by: people, test: 0.5, validation: 0.0}}
model: {{kind: persistent, latent: 2, injected: 0, nodes: 16, steps: 10, learning_rate: 0.1}}
models: []
population: {{agents: 400}}
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A run's folder, and its study: t01 is asked of some alone, and t03 of those who said 4 or 5
    to it."""
    root = tmp_path_factory.mktemp("routed")
    study = make_study(people=PEOPLE)
    age, city = study.participants.profile
    value = np.full((PEOPLE, 4), 0)
    value[study.person, study.task] = study.answer + 1
    asked = np.ones((PEOPLE, 4), bool)
    asked[:, 1] = (value[:, 0] >= 2) & (age.cells >= 30)
    asked[:, 3] = asked[:, 1] & (value[:, 1] >= 3)
    rows = [(p, t) for p in range(PEOPLE) for t in range(4) if asked[p, t]]
    write_study(root, study)
    write_table(
        root / "responses.csv",
        {
            "participant": [f"p{p:03d}" for p, _ in rows],
            "task": [f"t{t:02d}" for _, t in rows],
            "response": [str(value[row]) for row in rows],
        },
    )
    write_table(
        root / "people.csv",
        {
            "participant": list(study.participants.ids),
            "age": ["" if np.isnan(a) else f"{a:g}" for a in age.cells],
            "city": [city.levels[c] for c in city.cells],
        },
    )
    conditions = ["", CONDITION, "", "t01 >= 3"]
    write_table(root / "tasks.csv", {"task": [f"t{t:02d}" for t in range(4)], "ask_if": conditions})
    (root / "run.yaml").write_text(CONFIG.format(folder=root))
    config = load_config(root / "run.yaml")
    run(config, root / "run")
    return root / "run", load_study(config), asked


def test_everybody_who_was_asked_answered(done):
    _, study, asked = done
    assert isinstance(study, Study)
    assert (study.missing, study.skipped) == (0, 0)
    of = people_asked(study)
    np.testing.assert_array_equal(np.stack([of[1], of[3]], 1), asked[:, [1, 3]])


def test_the_population_is_asked_as_people_are(done):
    """Of 400 agents, a share is known to 0.025; the crowd's own error comes on top."""
    folder, _, asked = done
    table = decide(folder / "population").to_pylist()
    assert [row["asked"] for row in table][::2] == [1.0, 1.0]
    for task in (1, 3):
        assert table[task]["answers"] == round(400 * table[task]["asked"])
        assert abs(table[task]["asked"] - asked[:, task].mean()) < 0.2
    # Those who answer t01 with 3 or more are asked t03.
    assert table[3]["asked"] < table[1]["asked"] < 1


def test_scores_are_of_those_who_were_asked(done):
    """Nothing is undefined that would not be, and the report is made."""
    folder, _, _ = done
    scores = json.loads((folder / "scores.json").read_text())
    own = {s["metric"]: s for s in scores if s["model"] == "persistent"}
    assert {name for name, s in own.items() if s["value"] is None} <= {"skill"}
    assert own["mae"]["value"] < 1.5
    page = (folder / "report.html").read_text()
    assert not re.search(r"\bnan\b", page)


def test_estimates_are_about_those_who_are_asked(done):
    """Labelled and unlabelled people together are those who are asked, not all."""
    folder, study, asked = done
    table = infer_run(folder, MEAN, ("t00", "t01")).to_pylist()
    together = {row["task_id"]: row["people"] + row["profiles"] for row in table}
    assert together == {"t00": PEOPLE, "t01": asked[:, 1].sum()}
    said = study.value[study.task == 1]
    row = table[1]
    assert row["low"] < said.mean() < row["high"]


def test_who_was_not_asked_is_not_shown_as_an_answer(done):
    """Agents are counted who were asked; of two questions, who were asked both."""
    folder, _, _ = done
    explored = explore_run(folder)
    table = {row["task_id"]: row["answers"] for row in decide(folder / "population").to_pylist()}
    seen = view(explored, Query(task="t01"))
    assert seen.agents == sum(seen.crowd.counts) == table["t01"]
    cross = compare(explored, Query(task="t01", across="t03")).cross
    assert np.sum(cross.agents) == table["t03"]
