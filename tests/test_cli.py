"""The command line as a user meets it."""

import json
import signal
import subprocess
import sys

import pytest

from crowdllm_jax import __version__, pipeline
from crowdllm_jax.cli import main


@pytest.fixture
def finished(config_file, tmp_path, capsys):
    """A finished run's folder."""
    folder = tmp_path / "out"
    assert main(["run", str(config_file), "--out", str(folder), "--quiet"]) == 0
    capsys.readouterr()
    return folder


def test_run_shows_the_scoreboard_and_says_where_things_are(config_file, tmp_path, capsys):
    folder = tmp_path / "out"
    assert main(["run", str(config_file), "--out", str(folder)]) == 0
    out, err = capsys.readouterr()
    shown = ("Held-out people", "Humans (noise ceiling)", "CrowdLLM as published (cvae)", "Uniform")
    for text in (*shown, "RPS", str(folder / "report.html"), str(folder / "scores.json")):
        assert text in out, text
    assert "Traceback" not in err
    for name in ("config.yaml", "run.json", "scores.json", "report.html", "population"):
        assert (folder / name).exists(), name
    scores = json.loads((folder / "scores.json").read_text())
    assert {"model", "split", "seed", "metric", "value", "low", "high"} == set(scores[0])


def test_every_step_can_be_run_by_itself(config_file, tmp_path, finished, capsys):
    folder = tmp_path / "steps"
    assert main(["fit", str(config_file), "--out", str(folder)]) == 0
    assert not (folder / "scores.json").exists()
    assert main(["report", str(folder)]) == 2
    assert "crowdllm evaluate" in capsys.readouterr().err
    assert main(["evaluate", str(folder)]) == 0
    assert main(["sample", str(folder), "--agents", "20", "--out", str(tmp_path / "few")]) == 0
    assert main(["sample", str(folder)]) == 0
    assert main(["report", str(folder)]) == 0
    assert "Traceback" not in capsys.readouterr().err
    assert (folder / "scores.json").read_bytes() == (finished / "scores.json").read_bytes()
    assert json.loads((tmp_path / "few" / "manifest.json").read_text())["agents"] == 20


def test_sampling_before_fitting_is_told(config_file, tmp_path, capsys):
    folder = tmp_path / "out"
    folder.mkdir()
    config = pipeline.load_config(config_file)
    (folder / "config.yaml").write_text(pipeline.dump_config(config))
    for command in ("sample", "evaluate"):
        assert main([command, str(folder)]) == 2
        assert "crowdllm fit" in capsys.readouterr().err


@pytest.mark.parametrize("agents", ["0", "-3", str(2**70)])
def test_bad_numbers_of_agents(finished, tmp_path, agents, capsys):
    target = tmp_path / "target"
    assert main(["sample", str(finished), "--agents", agents, "--out", str(target)]) == 2
    assert "population.agents" in capsys.readouterr().err
    assert not target.exists()


def test_another_configuration_in_the_same_folder_is_refused(config_file, finished, capsys):
    before = (finished / "config.yaml").read_bytes()
    argv = ["run", str(config_file), "--out", str(finished), "--set", "train.epochs=3"]
    assert main(argv) == 2
    assert "another configuration (differs in train.epochs)" in capsys.readouterr().err
    assert (finished / "config.yaml").read_bytes() == before


@pytest.mark.parametrize("command", ["run", "evaluate", "report"])
def test_changed_data_are_refused(config_file, finished, command, capsys):
    path = config_file.with_name("responses.csv")
    text = path.read_text().splitlines()
    path.write_text("\n".join(text[:-4]) + "\n")
    argv = [command, str(finished)]
    if command == "run":
        argv = [command, str(config_file), "--out", str(finished)]
    assert main(argv) == 2
    assert "was made from other data" in capsys.readouterr().err


def test_a_run_can_be_sampled_without_its_data(config_file, finished, tmp_path, capsys):
    config_file.with_name("responses.csv").unlink()
    assert main(["sample", str(finished), "--agents", "5", "--out", str(tmp_path / "p")]) == 0


def test_several_seeds(config_file, tmp_path, capsys):
    folder = tmp_path / "out"
    argv = ["run", str(config_file), "--out", str(folder), "--seeds", "2", "--set",
            "train.epochs=1", "--quiet"]  # fmt: skip
    assert main(argv) == 0
    assert "mean of 2 seeds" in capsys.readouterr().out
    seeds = {score["seed"] for score in json.loads((folder / "scores.json").read_text())}
    assert seeds == {0, 1}


def test_study_check(config_file, capsys):
    assert main(["study", "check", str(config_file)]) == 0
    out = capsys.readouterr().out
    for text in ("participants  24", "tasks         4", "age: numeric", "city: categorical"):
        assert text in out


def test_markup_in_messages_is_text(config_file, capsys):
    """Rich would swallow [bold] or fail on [/nothing]."""
    path = config_file.with_name("responses.csv")
    path.write_text(path.read_text().replace("response", "[/nothing]", 1))
    assert main(["study", "check", str(config_file)]) == 2
    assert "[/nothing]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "code", "what"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_an_interruption_is_no_error(
    number, code, what, config_file, tmp_path, monkeypatch, capsys
):
    before = signal.getsignal(number)
    monkeypatch.setattr(pipeline, "fit_run", lambda *_: signal.raise_signal(number))
    assert main(["run", str(config_file), "--out", str(tmp_path / "out")]) == code
    assert f"{what}; the same command continues" in capsys.readouterr().err
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(
    "argv",
    [
        ["--help"],
        ["--version"],
        ["run", "--help"],
        ["twin", "--help"],
        ["study", "--help"],
        ["aggregate", "--help"],
        ["infer", "--help"],
    ],
)
def test_help_is_at_hand(argv, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    assert stopped.value.code == 0
    assert capsys.readouterr().out


def test_the_command_is_installed_and_quick_to_help():
    """A process of its own: the exit code of a mistake, and no JAX for --version."""
    command = [sys.executable, "-X", "importtime", "-m", "crowdllm_jax.cli", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"crowdllm-jax {__version__}"
    assert not any(line.rstrip().endswith("| jax") for line in done.stderr.splitlines())
    wrong = [sys.executable, "-m", "crowdllm_jax.cli", "run", "nowhere.yaml"]
    done = subprocess.run(wrong, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip() == "crowdllm: nowhere.yaml: no such file"
