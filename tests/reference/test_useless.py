"""A language model that knows nothing: what the persistent model loses, and that a run says so."""

import csv
import json

import numpy as np
import pytest
from few_drawings import few_drawings  # noqa: F401
from synthetic import make_study, write_config

from crowdllm_jax.cli.main import main

TASKS = 40
pytestmark = pytest.mark.filterwarnings("ignore:.*the reference .column. has shown no signal")
USELESS = "reference without signal"


def ways_to_answer(study):
    """(T, 5) shares by name: what people answer to other tasks, and the same for all."""
    counts = np.zeros((TASKS, 5))
    np.add.at(counts, (study.task, study.answer.astype(int)), 1)
    known = (counts + 0.5) / (counts + 0.5).sum(1, keepdims=True)
    return {
        "shuffled": np.random.default_rng(0).permutation(known),
        "constant": np.tile([0.05, 0.1, 0.6, 0.2, 0.05], (TASKS, 1)),
    }


def scores_of(folder):
    scores = json.loads((folder / "scores.json").read_text())
    return {s["metric"]: s["value"] for s in scores if s["model"] == "persistent"}


def test_a_shuffled_or_constant_model_costs_little_and_is_told(tmp_path, capsys):
    study = make_study(tasks=TASKS, people=40, seed=3)
    path = write_config(tmp_path / "input", study)
    text = path.read_text().replace("{by: people, test: 0.25,", "{by: tasks, test: 0.3,")
    small = "model: {kind: persistent, steps: 100}"
    text = text.replace("model: {kind: cvae, hidden: 8, latent: 2}", small)
    path.write_text(text.replace("agents: 50", "agents: 2000"))
    rps, told = {}, {}
    references = {"marginal": "{kind: marginal}"}
    for name, shares in ways_to_answer(study).items():
        with (tmp_path / "input" / f"{name}.csv").open("w") as file:
            rows = [[i, *row] for i, row in zip(study.tasks.ids, shares, strict=True)]
            csv.writer(file).writerows([["task", *"abcde"], *rows])
        references[name] = f"{{kind: column, path: {name}.csv, probabilities: [a, b, c, d, e]}}"
    for name, reference in references.items():
        out = tmp_path / name
        command = ["run", str(path), "--out", str(out), "--quiet"]
        assert main([*command, "--set", f"reference={reference}"]) == 0
        rps[name] = scores_of(out)["rps"]
        told[name] = USELESS in next(
            line for line in capsys.readouterr().out.splitlines() if line.startswith("diagnostics")
        )
        assert USELESS in (out / "report.html").read_text()
    assert told == {"marginal": False, "shuffled": True, "constant": True}
    # The agents' own draws move shares by .01 (of 2,000) and so, squared, RPS by less than .0005.
    for name in ("shuffled", "constant"):
        assert rps[name] < rps["marginal"] + 0.002
