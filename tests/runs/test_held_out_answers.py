"""A run that holds answers out: twins are scored where knowing a person helps."""

import dataclasses
import json

import msgspec
import numpy as np
import pytest
from synthetic import make_study, write_config

from crowdllm_jax.cli.main import main
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.runs import prepare
from crowdllm_jax.runs.config import load_config, load_study
from crowdllm_jax.runs.evaluate import evaluate
from crowdllm_jax.score.metrics import read_scores
from crowdllm_jax.workflow.infer import infer_run


def two_kinds(people: int = 80, tasks: int = 16):
    """People of two kinds who disagree on every second task: no bias of persons, but a pattern."""
    random = np.random.default_rng(1)
    study = make_study(tasks=tasks, people=people)
    kind = random.choice([-1, 1], people)
    sign = np.where(np.arange(tasks) % 2, 1, -1)
    level = (
        2 + 1.3 * kind[study.person] * sign[study.task] + 0.8 * random.normal(size=people * tasks)
    )
    answer = np.clip(np.round(level), 0, 4)
    return dataclasses.replace(study, answer=answer)


MODEL = "model={kind: persistent, latent: 2, injected: 0, steps: 120, nodes: 16}"


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return write_config(tmp_path_factory.mktemp("answers"), two_kinds())


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    """A run by the command."""
    out = tmp_path_factory.mktemp("out") / "run"
    command = ["run", str(config), "--out", str(out), "--quiet", "--set", "split={by: answers}"]
    assert main([*command, "--set", MODEL]) == 0
    return out


def test_knowing_a_person_helps(finished):
    scores = read_scores((finished / "scores.json").read_bytes())
    by = {(score.model, score.metric): score for score in scores}
    assert {score.split for score in scores} == {"answers"}
    assert {model for model, _ in by} == {"twin", "task_person", "task_marginal"}
    # The kinds cannot be told apart by how high a person answers, only by to what.
    assert by["twin", "gain"].low > 0.2
    assert by["twin", "r_tasks"].value > 0.6 > 0.3 > by["task_person", "r_tasks"].value
    assert by["twin", "log_loss"].value < by["task_marginal", "log_loss"].value - 0.2
    # 250 answers or so: a deviation of 2 points.
    assert abs(by["twin", "coverage"].value - by["twin", "claimed"].value) < 0.08


def test_the_report_and_the_command_tell_it(finished, capsys):
    page = (finished / "report.html").read_text()
    assert "Twin (persistent)" in page
    assert "lower (between" in page
    assert "answers of 80 people to 16 questions" in page
    assert not (finished / "diagnostics.json").exists()
    assert main(["evaluate", str(finished), "--quiet"]) == 0
    told = capsys.readouterr().out
    assert "Task + person bias" in told
    assert "left out" in told
    assert main(["report", str(finished), "--quiet"]) == 0


def test_held_out_answers_do_not_reach_the_twins(finished):
    """Changed, they change what is measured, and not what is predicted: the chances are the same
    numbers, so the chance of each 90% set is."""
    config = load_config(finished / "config.yaml")
    study = load_study(config)
    small = msgspec.structs.replace(
        config, model=PersistentConfig(latent=1, injected=0, steps=3, people=16)
    )
    test = prepare.prepare(study, small, 0).split.test
    turned = np.where(test, 4 - study.answer, study.answer)
    claimed = []
    for other in (study, dataclasses.replace(study, answer=turned)):
        crowd, _ = prepare.fit(other, small)
        scores = {(s.model, s.metric): s.value for s in evaluate(other, small, {"c": crowd})}
        claimed.append([scores[m, "claimed"] for m in ("twin", "task_person", "task_marginal")])
    np.testing.assert_array_equal(claimed[0], claimed[1])


def test_folds_predict_every_answer(config, tmp_path):
    out = tmp_path / "run"
    short = MODEL.replace("120", "3")
    command = ["run", str(config), "--out", str(out), "--quiet", "--set", short]
    assert main([*command, "--set", "split={by: answers, folds: 2}"]) == 0
    facts = json.loads((out / "run.json").read_text())
    assert facts["held_out"].startswith("each of 1,280 answers once")
    assert "1,280 answers of 80 people" in (out / "report.html").read_text()


def test_what_has_no_twins_is_refused(config, finished, tmp_path, capsys):
    load = load_config(config, ("split={by: answers}",))
    with pytest.raises(CrowdError, match="needs model"):
        prepare.prepare(load_study(load), load, 0)
    with pytest.raises(CrowdError, match="fitted to some answers of everybody"):
        infer_run(finished)
    study = ["study", "size", str(config), "--out", str(tmp_path / "s"), "--quiet"]
    persistent = "model={kind: persistent, steps: 2}"
    assert main([*study, "--set", "split={by: answers}", "--set", persistent]) == 2
    assert "experiments compare crowds" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
