"""The command line as a user meets it."""

import csv
import io
import json
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from few_drawings import few_drawings, importing  # noqa: F401
from hypothesis import given
from hypothesis import strategies as st
from synthetic import write_config

from crowdllm_jax import __version__
from crowdllm_jax.cli import main as cli
from crowdllm_jax.cli.console import ERRORS, PlainConsole
from crowdllm_jax.cli.display import Log, duration
from crowdllm_jax.cli.main import main
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runs.config import dump_config, load_config
from crowdllm_jax.runtime.named import named
from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.workflow import steps


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished run's folder; beside it its configuration and data, and what it showed."""
    folder = tmp_path_factory.mktemp("made")
    config = write_config(folder / "input", beside=("vae_only",))
    with (
        redirect_stdout((folder / "shown").open("w")) as out,
        redirect_stderr((folder / "told").open("w")) as err,
    ):
        assert main(["run", str(config), "--out", str(folder / "out")]) == 0
    out.close()
    err.close()
    return folder / "out"


@pytest.fixture
def finished(made):
    """The same with its data as they were, whatever a test does to these."""
    data = made.parent / "input" / "responses.csv"
    before = data.read_bytes()
    yield made
    data.write_bytes(before)


def config_of(folder):
    return folder.parent / "input" / "config.yaml"


def test_run_shows_the_scoreboard_and_says_where_things_are(made):
    folder = made
    out, err = (folder.with_name(name).read_text() for name in ("shown", "told"))
    shown = ("Held-out people", "Humans (noise ceiling)", "CrowdLLM as published (cvae)", "Uniform")
    shown += ("VAE only (no reference)",)
    for text in (*shown, "RPS", str(folder / "report.html"), str(folder / "scores.json")):
        assert text in out, text
    assert "Traceback" not in err
    for name in ("config.yaml", "run.json", "scores.json", "report.html", "population"):
        assert (folder / name).exists(), name
    scores = json.loads((folder / "scores.json").read_text())
    assert {"model", "split", "seed", "metric", "value", "low", "high"} == set(scores[0])


def test_every_step_can_be_run_by_itself(tmp_path, finished, capsys):
    folder = tmp_path / "steps"
    assert main(["fit", str(config_of(finished)), "--out", str(folder)]) == 0
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
    config = load_config(config_file)
    (folder / "config.yaml").write_text(dump_config(config))
    for command in ("sample", "evaluate"):
        assert main([command, str(folder)]) == 2
        assert "crowdllm fit" in capsys.readouterr().err


@pytest.mark.parametrize("agents", ["0", "-3", str(2**70)])
def test_bad_numbers_of_agents(finished, tmp_path, agents, capsys):
    target = tmp_path / "target"
    assert main(["sample", str(finished), "--agents", agents, "--out", str(target)]) == 2
    assert "population.agents" in capsys.readouterr().err
    assert not target.exists()


def test_another_configuration_in_the_same_folder_is_refused(finished, capsys):
    before = (finished / "config.yaml").read_bytes()
    argv = ["run", str(config_of(finished)), "--out", str(finished), "--set", "train.epochs=3"]
    assert main(argv) == 2
    assert "another configuration (differs in train.epochs)" in capsys.readouterr().err
    assert (finished / "config.yaml").read_bytes() == before


@pytest.mark.parametrize("command", ["run", "evaluate", "report"])
def test_changed_data_are_refused(finished, command, capsys):
    path = config_of(finished).with_name("responses.csv")
    text = path.read_text().splitlines()
    path.write_text("\n".join(text[:-4]) + "\n")
    argv = [command, str(finished)]
    if command == "run":
        argv = [command, str(config_of(finished)), "--out", str(finished)]
    assert main(argv) == 2
    told = capsys.readouterr().err
    assert "was made from other data" in told
    # Of ask, infer and report --out is something else, or nothing.
    assert "put the data back, or fit again into another folder" in told


def test_a_run_can_be_sampled_without_its_data(finished, tmp_path):
    config_of(finished).with_name("responses.csv").unlink()
    assert main(["sample", str(finished), "--agents", "5", "--out", str(tmp_path / "p")]) == 0


def test_several_seeds(config_file, tmp_path, capsys):
    folder = tmp_path / "out"
    argv = [
        "run",
        str(config_file),
        "--out",
        str(folder),
        "--seeds",
        "2",
        "--set",
        "train.epochs=1",
        "--quiet",
    ]
    assert main(argv) == 0
    assert "mean of 2 seeds" in capsys.readouterr().out
    seeds = {score["seed"] for score in json.loads((folder / "scores.json").read_text())}
    assert seeds == {0, 1}


def test_study_check(config_file, capsys):
    assert main(["study", "check", str(config_file)]) == 0
    out = capsys.readouterr().out
    for text in ("participants  24", "questions     4", "age: numeric", "city: categorical"):
        assert text in out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("json", [(), ("--json",)])
def test_output_to_a_full_disk_is_told(config_file, json):
    """What is left in Python's own buffer is no error at the end either."""
    command = [sys.executable, "-m", "crowdllm_jax", "study", "check", str(config_file), *json]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "crowdllm: standard output cannot be written: No space left on device; files that were "
        "made are whole"
    )


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
    monkeypatch.setattr(steps, "fit_run", lambda *_: signal.raise_signal(number))
    assert main(["run", str(config_file), "--out", str(tmp_path / "out")]) == code
    assert f"{what}; the same command continues" in capsys.readouterr().err
    assert signal.getsignal(number) is before


def test_a_scheduler_that_asks_again_does_not_cut_off_what_is_saved(
    config_file, tmp_path, monkeypatch, capsys
):
    """srun asks a second time as soon as one process has ended; another Ctrl-C does not wait."""
    ended = []
    monkeypatch.setattr(cli.os, "_exit", ended.append)
    monkeypatch.setattr(cli, "TWICE", 0.0)

    def fit(*_):
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            ended.append("saved")
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(steps, "fit_run", fit)
    assert main(["run", str(config_file), "--out", str(tmp_path / "out")]) == 143
    assert ended == ["saved", 143]
    assert "terminated; the same command continues" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [
        [],
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
    wrong = [sys.executable, "-m", "crowdllm_jax", "run", "nowhere.yaml", "--quiet"]
    done = subprocess.run(wrong, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip() == "crowdllm: nowhere.yaml: no such file"


NAMES = ("質問[a]", "Q1, part b", "[red]q3[/red]", "naïve 🙂", "bell\x07 and \x1b[31m")

EVERY_COMMAND = """
import os
import sys
import pytest
from crowdllm_jax.cli import main as cli
config, run, new = "config.yaml", "out", "新しい"
for command in (
    ["study", "check", config],
    ["aggregate", config],
    ["run", config, "--out", run],
    ["aggregate", run + "/population"],
    ["infer", run, "--tasks", "Q1, part b", "--tasks", '"Q1, part b",質問[a]'],
    ["infer", run, "--tasks", "質問 2"],
    ["report", run],
    ["verify", run],
    ["aggregate", "存在しない.yaml"],
    ["sample", run, "--out", new],
    ["--help"],
):
    sys.argv[1:] = command
    if command[0] == "run":
        from few_drawings import draw_few
        draw_few(pytest.MonkeyPatch())
    try:
        code = cli.main()
    except SystemExit as stopped:
        code = stopped.code
    print("code", code, *command[:1], flush=True)
print("level", os.environ["TF_CPP_MIN_LOG_LEVEL"])
"""


@pytest.fixture(scope="module")
def outlandish(tmp_path_factory):
    """A folder with a study of such names and a script of every command, whose run is made by the
    first process that comes, and looked at by the next."""
    folder = tmp_path_factory.mktemp("outlandish")
    with (folder / "answers.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["participant", "task", "response", "école"])
        rows.writerows(
            [f"参加者{i}", name, 1 + (i + 3 * t) % 5, "été" if i % 2 else "冬"]
            for i in range(80)
            for t, name in enumerate(NAMES)
        )
    (folder / "config.yaml").write_text(
        f"""
study:
  folder: {folder}
  responses: {{path: answers.csv}}
  participants: {{profile: {{école: categorical}}}}
  scales: {{評価: {{kind: ordinal, levels: [1, 2, 3, 4, 5]}}}}
split: {{by: people, test: 0.4, validation: 0.1}}
model: {{kind: cvae, hidden: 8, latent: 2}}
train: {{epochs: 1}}
models: []
population: {{agents: 200}}
""",
        encoding="utf-8",
    )
    (folder / "commands.py").write_text(EVERY_COMMAND, encoding="utf-8")
    return folder


# ASCII makes the run: its locale is the one under which files could be written in no such names.
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_no_name_is_too_much_for_a_console(outlandish, encoding):
    """Every command in one process whose streams are a pipe's, as on Windows or under LANG=C."""
    made = (outlandish / "out").exists()
    locale = "C" if encoding == "ascii" else "C.UTF-8"
    env = importing() | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "LC_ALL": locale}
    env.pop("TF_CPP_MIN_LOG_LEVEL", None)
    done = subprocess.run(
        [sys.executable, "commands.py"], capture_output=True, check=False, env=env, cwd=outlandish
    )
    out, err = done.stdout.decode(encoding), done.stderr.decode(encoding)
    assert "Traceback" not in err, err
    codes = [line.split()[1] for line in out.splitlines() if line.startswith("code ")]
    names_files = "2" if encoding == "ascii" else "0"
    assert codes == ["0", "0", "0", "0", "0", "2", "0", "0", "2", names_files, "0"], err
    assert ("PYTHONUTF8=1" in err) == (encoding == "ascii")
    accent = r"na\xefve \U0001f642" if encoding == "ascii" else r"naïve \U0001f642"
    for name in (
        r"\u8cea\u554f[a]",
        "Q1, part b",
        "[red]q3[/red]",
        accent,
        r"bell\x07 and \x1b[31m",
    ):
        assert name in out, name
    assert "\x1b" not in out + err
    assert r"the study has no task '\u8cea\u554f 2'" in err
    # Tables are laid out as they come to stand there.
    board = [line for line in out.splitlines() if line.startswith(("|", "+-"))]
    assert len(board) > len(NAMES)
    assert all(len(line) == len(board[0]) for line in board[: len(NAMES) + 4])
    stages = ["start", "read the study", "report"]
    # These the second finds done.
    stages += [] if made else ["fit cvae", "sample", "score (seed 0)"]
    for stage in stages:
        lines = [line[9:] for line in err.splitlines() if line[9:].startswith(stage)]
        assert lines[0] == stage
        assert any(": done in" in line for line in lines), stage
    assert out.splitlines()[-1] == "level 3"


def test_a_log_says_a_line_a_minute_and_how_long_it_takes():
    now, lines = [0.0], []
    log = Log(lambda line: lines.append(line[9:]), lambda: now[0])
    for step in range(101):  # two seconds a step, from a fit that goes on at 20
        log(f"fit (loss {step})", step + 20, 120)
        now[0] += 2
    log("fit", 120, 120)  # what has ended is not told of again
    assert lines == [
        "fit",
        "fit (loss 30): 42%, about 2 min 20 s left",
        "fit (loss 60): 67%, about 1 min 20 s left",
        "fit (loss 90): 92%, about 20 s left",
        "fit (loss 100): done in 3 min 20 s",
    ]
    log("fit", 1, 2)
    assert lines[-1] == "fit"
    assert [duration(s) for s in (0.04, 9.94, 59.6, 3600, 7380)] == [
        "0.0 s",
        "9.9 s",
        "1 min 0 s",
        "1 h 0 min",
        "2 h 3 min",
    ]


def test_quiet_says_nothing_and_a_pipe_gets_stages(config_file, capsys):
    for command in (["study", "check", str(config_file)], ["aggregate", str(config_file)]):
        assert main([*command, "--quiet"]) == 0
        assert capsys.readouterr().err == ""
        assert main(command) == 0
        err = capsys.readouterr().err
        assert "read the study: done in" in err
        assert "\x1b" not in err


@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1).filter(
            lambda name: name == name.strip()
        ),
        min_size=1,
    )
)
def test_names_are_listed_as_a_csv_file_lists_them(names):
    line = io.StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL, lineterminator="").writerow(names)
    assert named("--tasks", [line.getvalue()]) == tuple(map(tidy_name, names))
    # Each by itself needs no quotes where it is known.
    assert named("--tasks", names, set(names)) == tuple(names)


def test_lists_of_names_as_people_write_them():
    known = {"Q1, part b", "a", "b"}
    assert named("--tasks", ["a, b", "Q1, part b"], known) == ("a", "b", "Q1, part b")
    assert named("--tasks", ['a, "Q1, part b"'], known) == ("a", "Q1, part b")
    with pytest.raises(CrowdError, match=r'--tasks "a: .*quotes around a whole name'):
        named("--tasks", ['"a'], known)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8", "shift_jis"])
def test_a_console_measures_what_it_writes(encoding):
    raw = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=ERRORS, newline="")
    console = PlainConsole(file=raw, width=200)
    console.print("0.61±0.02 – 質 \udce9 \x1b[0m", markup=False)
    raw.flush()
    shown = raw.buffer.getvalue().decode(encoding).rstrip("\n")
    assert shown.isprintable()
    assert ("+-" in shown) == (encoding == "ascii")
    assert ("質" in shown) == (encoding in ("utf-8", "shift_jis"))


def test_an_interruption_that_a_library_swallows_comes_again(config_file, monkeypatch, capsys):
    """As in a callback that is called where nothing can be raised."""

    outlived = []

    class Callback:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    def swallowing(*_):
        callback = Callback()
        del callback
        for _ in range(50):
            time.sleep(0.1)
        outlived.append(True)

    monkeypatch.setattr("crowdllm_jax.cli.commands.study.check", swallowing)
    assert main(["study", "check", str(config_file)]) == 130
    assert not outlived
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert "Exception ignored" not in err
    assert err.splitlines()[-1] == "crowdllm: interrupted; the same command begins anew"
