"""The way through as a whole: continued runs end as uninterrupted ones, and leak nothing."""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from few_drawings import few_drawings  # noqa: F401
from synthetic import make_study, write_config, write_table

import crowdllm_jax as cl
from crowdllm_jax.cli.main import main
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd_file import crowd_fingerprint
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.profiles.generator import ProfilesConfig
from crowdllm_jax.runs import evaluate, prepare
from crowdllm_jax.runs.config import load_config, load_study
from crowdllm_jax.runs.folder import fitted_crowd, models_of, start_run
from crowdllm_jax.runtime import progress
from crowdllm_jax.score.metrics import METRICS
from crowdllm_jax.study.read import read_study
from crowdllm_jax.study.spec import StudySpec
from crowdllm_jax.study.split import SplitConfig, split_study
from crowdllm_jax.workflow import steps

REAL = os.environ.get("CROWDLLM_TEST_DATA")
"""Folder of real ratings for development; they do not come with the package."""


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> tuple[Path, Path]:
    """A configuration and its finished run."""
    folder = tmp_path_factory.mktemp("run")
    config = write_config(folder / "input")
    steps.run(load_config(config), folder / "out")
    return config, folder / "out"


def population_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "population").iterdir()}


MOMENTS = {
    "begun": "run.json",
    "training": "seed-0/cvae/checkpoint/1",
    "fitted": "seed-0/cvae/crowd",
    "sampled": "population/plan.json",
    "scored": "seed-0/scores.json",
}


def start(config: Path, out: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "crowdllm_jax.cli", "run", str(config), "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def wait_for(process: subprocess.Popen, path: Path) -> None:
    deadline = time.monotonic() + 120
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)


@pytest.mark.parametrize("moment", ["training", "sampled"])
def test_a_killed_run_ends_as_an_uninterrupted_one(uninterrupted, tmp_path, moment):
    """Killed twice where a stage has just begun to write, and started again each time."""
    config, finished = uninterrupted
    out = tmp_path / "out"
    process = start(config, out)
    wait_for(process, out / MOMENTS[moment])
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, process.stdout.read()
    process.stdout.close()
    assert not (out / "report.html").exists()
    steps.run(load_config(config), out)
    assert (out / "scores.json").read_bytes() == (finished / "scores.json").read_bytes()
    assert population_of(out) == population_of(finished)


def test_ctrl_c_exits_with_130(uninterrupted, tmp_path):
    config, _ = uninterrupted
    out = tmp_path / "out"
    process = start(config, out)
    wait_for(process, out / MOMENTS["begun"])
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 130, text.decode()
    assert b"the same command continues" in text
    assert b"Traceback" not in text


@pytest.mark.parametrize("gone", MOMENTS)
def test_whatever_is_missing_is_made_again(uninterrupted, tmp_path, gone):
    """A run folder cut back to each moment is completed to the same scores."""
    config, finished = uninterrupted
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    for name in ("report.html", "scores.json", MOMENTS[gone]):
        path = out / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if gone == "sampled":
        shutil.rmtree(out / "population")
    steps.run(load_config(config), out)
    assert (out / "scores.json").read_bytes() == (finished / "scores.json").read_bytes()
    assert population_of(out) == population_of(finished)


def test_a_finished_run_is_left_alone(uninterrupted):
    config, finished = uninterrupted
    files = [p for p in finished.rglob("*") if p.is_file() and "seed-0" in p.parts]
    before = {path: path.stat().st_mtime_ns for path in files}
    steps.run(load_config(config), finished)
    assert before == {path: path.stat().st_mtime_ns for path in files}


def test_a_split_is_prepared_once(tmp_path, monkeypatch):
    """Of 1,682 tasks it took a minute, four times a seed."""
    seeds = []
    unpatched = prepare.prepare

    def counted(study, config, seed, *rest):
        seeds.append(seed)
        return unpatched(study, config, seed, *rest)

    monkeypatch.setattr(prepare, "prepare", counted)
    config = load_config(write_config(tmp_path / "input"), ("seeds=2",))
    steps.run(config, tmp_path / "out")
    assert seeds == [0, 1]
    steps.run(config, tmp_path / "out")
    assert seeds == [0, 1]  # a finished run needs none


def test_models_beside_the_main_one_can_be_left_out(tiny, tmp_path):
    study = make_study()
    change = msgspec.structs.replace
    persistent = change(tiny, model=PersistentConfig())
    for config, models, expected in (
        (persistent, ("cvae", "vae_only"), ["persistent", "cvae", "vae_only"]),
        (persistent, ("vae_only",), ["persistent", "vae_only"]),
        (persistent, (), ["persistent"]),
        (tiny, ("cvae",), ["cvae"]),
        (tiny, (), ["cvae"]),
    ):
        assert list(models_of(change(config, models=models), study)) == expected
    path = write_config(tmp_path / "input")
    scores = steps.run(load_config(path), tmp_path / "out")
    assert "cvae" in {score.model for score in scores}
    assert "vae_only" not in {score.model for score in scores}
    assert not (tmp_path / "out" / "seed-0" / "vae_only").exists()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "VAE only" not in page
    assert "cvae, training" in page


def test_two_runs_are_equal_to_the_last_byte(uninterrupted, tmp_path):
    config, finished = uninterrupted
    steps.run(load_config(config), tmp_path / "again")
    for name in ("scores.json", "config.yaml", "run.json", "report.html"):
        assert (tmp_path / "again" / name).read_bytes() == (finished / name).read_bytes(), name
    assert population_of(tmp_path / "again") == population_of(finished)


@pytest.mark.parametrize("by", ["tasks", "people"])
def test_held_out_answers_never_reach_the_crowd(tiny, by):
    """The crowd, its reference and its baselines are the same whatever the held-out people say."""
    study = make_study(tasks=6, people=20)
    config = msgspec.structs.replace(tiny, split=SplitConfig(by=by, test=0.25, validation=0.2))
    prepared = prepare.prepare(study, config, 0)
    answer = study.answer.copy()
    answer[prepared.split.test] = 4 - answer[prepared.split.test]
    other = dataclasses.replace(study, answer=answer)
    crowd_of_study, crowd_of_other = (prepare.fit(s, config)[0] for s in (study, other))
    assert crowd_fingerprint(crowd_of_study) == crowd_fingerprint(crowd_of_other)
    crowds = [
        evaluate.score_all(
            prepare.prepare(s, config, 0), config, {"cvae": crowd}, 0, progress.silent
        )[1]
        for s, crowd in ((study, crowd_of_study), (other, crowd_of_other))
    ]
    for name in crowds[0]:
        np.testing.assert_array_equal(crowds[0][name], crowds[1][name], err_msg=name)


def test_every_scale_goes_all_the_way(mixed_study, mixed_crowd, tiny):
    scores = evaluate.evaluate(mixed_study, tiny, {"cvae": mixed_crowd})
    models = {score.model for score in scores}
    assert models >= {"humans", "cvae", "uniform", "marginal", "reference", "task_marginal"}
    for model in models:
        metrics = {score.metric for score in scores if score.model == model}
        # One answer each does not tell how accurate people are.
        assert metrics >= set(METRICS) - ({"accuracy"} if model == "humans" else set())


def test_the_vae_only_baseline_does_not_see_the_reference(tiny):
    study = make_study()
    model = msgspec.structs.replace(tiny.model, constant_reference=True)
    crowd, _ = prepare.fit(study, msgspec.structs.replace(tiny, model=model))
    assert np.unique(crowd.inputs.reference).tolist() == [0.5]
    assert set(models_of(tiny, study)) == {"cvae", "vae_only"}


def test_margins_reach_the_population(tiny):
    study = make_study(people=60)
    profiles = ProfilesConfig(margins={"city": {"A": 0.1, "B": 0.1, "C": 0.8}})
    prepared = prepare.prepare(study, msgspec.structs.replace(tiny, profiles=profiles), 0)
    city = prepared.generator.attributes[1]
    share = np.bincount(city.cells, prepared.generator.weight)
    np.testing.assert_allclose(share, [0.1, 0.1, 0.8], atol=1e-8)
    assert prepared.generator.effective < len(city.cells)


def test_python_recruits_whom_the_command_recruits(uninterrupted, tmp_path):
    """The answers and profiles that `sample --margins --where` writes, and its counts' members."""
    _, run = uninterrupted
    margins, where = {"city": {"A": 0.7, "B": 0.2, "C": 0.1}}, "age >= 40"
    flags = ["--margins", json.dumps(margins), "--where", where, "--agents", "300"]
    assert main(["sample", str(run), *flags, "--out", str(tmp_path / "some")]) == 0
    assert (
        main(
            [
                "sample",
                str(run),
                *flags,
                "--aggregate",
                "--by",
                "city",
                "--out",
                str(tmp_path / "counts"),
            ]
        )
        == 0
    )
    crowd, seed = fitted_crowd(run), load_config(run / "config.yaml").population.seed
    agents = cl.sample(crowd, 300, seed, where=where, margins=margins)
    mine = agents.to_pandas()
    written = pq.read_table(tmp_path / "some" / "part-00000.parquet")["decision"].to_pylist()
    assert (
        list(map(str, written))
        == mine[list(crowd.task_ids)].astype(str).to_numpy().ravel().tolist()
    )
    people = pq.read_table(tmp_path / "some" / "agents-00000.parquet").to_pandas()
    assert people["city"].tolist() == mine["city"].tolist()
    assert (mine["age"] >= 40).all()
    counted = cl.count(crowd, 300, seed, by="city", where=where, margins=margins)
    told = pq.read_table(tmp_path / "counts" / "counts.parquet").to_pandas()
    members = told[told["task_id"] == "t00"].groupby("city")["count"].sum()
    assert members.tolist() == counted.members.tolist()
    assert told["count"].sum() == counted.counts.sum()
    shares = pd.DataFrame({"city": ["A"] * 7 + ["B"] * 2 + ["C"]}).value_counts(
        normalize=True, subset="city"
    )
    again = cl.sample(crowd, 300, seed, where=where, margins={"city": shares})
    np.testing.assert_array_equal(again.answers, agents.answers)


@pytest.mark.parametrize(
    ("margins", "message"),
    [
        ({"city": 3}, r"--margins\.city: '3' is no share; write \{gender"),
        ({"city": {"A": "half"}}, r"--margins\.city\.A: 'half' is no share"),
        ({"city": {"A": True}}, r"--margins\.city\.A: 'True' is no share"),
        ("city", r"--margins: 'city' is no share"),
        ({}, "--margins: gives no shares"),
        ({"town": {"A": 1.0}}, r"--margins\.town: no such attribute; there are: age, city"),
    ],
)
def test_margins_from_python_that_are_none_are_told(uninterrupted, margins, message):
    with pytest.raises(CrowdError, match=message):
        cl.sample(fitted_crowd(uninterrupted[1]), 10, margins=margins)


def test_margins_are_checked_for_every_seed_before_anything_is_fitted(tmp_path):
    """One person of city C: some seeds' training parts lack them, and the first such is named."""
    study = make_study(people=40)
    age, city = study.participants.profile
    cells = np.where(np.arange(40) == 13, 2, city.cells % 2).astype(np.int32)
    people = dataclasses.replace(
        study.participants, profile=(age, dataclasses.replace(city, cells=cells))
    )
    path = write_config(tmp_path / "input", dataclasses.replace(study, participants=people))
    margins = "profiles.margins={city: {A: 0.5, B: 0.48, C: 0.02}}"
    config = load_config(path, (margins, "seeds=9"))
    loaded = load_study(config)
    where = loaded.participants.ids.index("p013")
    lacking = [
        seed
        for seed in range(9)
        if where not in loaded.person[split_study(loaded, config.split, seed).seen]
    ]
    assert lacking[0] > 0
    with pytest.raises(CrowdError, match=f"^seed {lacking[0]}: .*is 'C'.*--seeds {lacking[0]}"):
        steps.run(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    other = load_config(path, ("profiles.margins={city: {A: 0.5, B: 0.5}}",))
    with pytest.raises(CrowdError, match=r"^profiles\.margins\.city: 'C' is not given"):
        steps.run(other, tmp_path / "out")


def test_a_run_goes_on_with_the_references_it_was_begun_with(tmp_path):
    """What was fitted before would stand beside fits to others, or be scored by them. Rows of
    other tasks, and the report, do not need them."""
    path, out = write_config(tmp_path / "input"), tmp_path / "out"
    table = tmp_path / "input" / "said.csv"

    def write(*means: float) -> None:
        names = [*make_study().tasks.ids, "another"]
        write_table(table, {"task": names, "mean": list(map(str, means))})

    write(2, 3, 3.5, 1.5, 1)
    said = "reference={kind: column, path: said.csv, value: mean}"
    config = load_config(path, (said,))
    with start_run(out, config) as splits:
        steps.fit_run(out, splits)
    write(2, 3, 3.5, 2.5, 1)
    told = r"out: was begun with other references \(a table that `reference` names has changed"
    with pytest.raises(CrowdError, match=told):
        steps.run(config, out)
    assert main(["evaluate", str(out)]) == 2
    assert not (out / "scores.json").exists()
    write(2, 3, 3.5, 1.5, 5)
    steps.run(config, out)
    table.unlink()
    assert main(["report", str(out)]) == 0
    facts = json.loads((out / "run.json").read_text())
    del facts["reference_sha256"]  # as an earlier version's
    (out / "run.json").write_text(json.dumps(facts))
    write(1, 1, 1, 1, 1)
    steps.run(config, out)


def test_damaged_scores_are_named(uninterrupted, tmp_path):
    config, finished = uninterrupted
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    (out / "seed-0" / "scores.json").write_text("[{}]")
    with pytest.raises(CrowdError, match=r"seed-0/scores\.json: cannot be read .*delete it"):
        steps.run(load_config(config), out)


def test_damaged_notes_are_named(uninterrupted, tmp_path):
    config, finished = uninterrupted
    for number, text in enumerate(("[]", "{", "{}", '{"study_sha256": 3}')):
        out = tmp_path / str(number)
        shutil.copytree(finished, out)
        (out / "run.json").write_text(text)
        with pytest.raises(CrowdError, match=r"run\.json: cannot be read|other data"):
            steps.run(load_config(config), out)


def test_the_report_holds_no_markup_of_the_study(tmp_path):
    study = make_study()
    evil = dataclasses.replace(
        study.tasks, text=("<script>alert(1)</script>", "$x_{", "ünïcode", "a" * 500)
    )
    folder = tmp_path / "input"
    config = write_config(folder, study)
    text = dict(zip(study.tasks.ids, evil.text, strict=True))
    write_table(folder / "tasks.csv", {"task": list(text), "text": list(text.values())})
    config.write_text(
        config.read_text().replace(
            "  participants:", "  tasks: {path: tasks.csv, text: text}\n  participants:"
        )
    )
    command = ["run", str(config), "--out", str(tmp_path / "out"), "--quiet"]
    assert main(command) == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<script>alert" not in page
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page), "the page is not alone"


@pytest.mark.skipif(not REAL, reason="CROWDLLM_TEST_DATA names no folder of real ratings")
def test_real_ratings_load_and_split():
    spec = {
        "folder": f"{REAL}/offensiveness",
        "responses": {
            "path": "ratings.csv",
            "participant": "user_id",
            "task": "instance_id",
            "response": "offensiveness",
        },
        "scales": {"rating": {"kind": "ordinal", "levels": [1, 2, 3, 4, 5]}},
        "tasks": {
            "text": "text",
            "embedding": {"path": "task_embeddings.parquet", "task": "instance_id"},
        },
        "participants": {"profile": {"gender": "categorical", "race": "categorical"}},
    }
    study = read_study(msgspec.convert(spec, StudySpec))
    assert (len(study.answer), len(study.tasks.ids)) == (10_430, 1200)
    assert len(study.participants.ids) == 262
