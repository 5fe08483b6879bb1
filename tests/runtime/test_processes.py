"""Several processes and devices: the same agents, and an end whatever happens to a peer."""

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from asked_study import write_asked
from few_drawings import few_drawings, importing  # noqa: F401
from known_people import make_known
from synthetic import EVERY_SCALE, make_study, write_config

from crowdllm_jax.aggregate.budgeting import distinct_ballots
from crowdllm_jax.aggregate.decide import decide, write_table
from crowdllm_jax.backbone.tune.peft import read_adapter
from crowdllm_jax.cli.main import main
from crowdllm_jax.errors import CrowdError, CrowdWarning, PeerError
from crowdllm_jax.model.crowd_file import load_crowd, save_crowd
from crowdllm_jax.population import count, sample, write
from crowdllm_jax.population.read import open_population
from crowdllm_jax.population.write import write_population
from crowdllm_jax.population.write_counts import write_counts
from crowdllm_jax.runs.config import load_config, load_study
from crowdllm_jax.runs.folder import crowd_folder, open_run
from crowdllm_jax.runs.prepare import Splits
from crowdllm_jax.runtime import processes
from crowdllm_jax.runtime.checkpoints import ALONE, flatten
from crowdllm_jax.runtime.progress import silent
from crowdllm_jax.workflow.steps import fit_run

AGENTS = 20_001
"""Three parts of a block each, the last with an odd rest: both of two processes draw some."""

MODEL = "model={kind: persistent, steps: 5}"
SHARED_MODEL = "model={kind: persistent, steps: 5, devices: 2}"
PUBLISHED = ("--set", "model={kind: cvae, hidden: 8, latent: 2}", "--set", "models=[]")
BATCHES = (*PUBLISHED, "--set", "train.batch_size=16")
SHARES = (*PUBLISHED, "--set", "train={epochs: 2, batch_size: 16, devices: 2, shares: 4}")

STOPPED = ("--set", "train={epochs: 12, batch_size: 16}")

CLI = ("-m", "crowdllm_jax.cli")
SMALL_PIECES = """
import time
from crowdllm_jax.cli.main import main
from crowdllm_jax.runtime import pieces
pieces.PIECE, after = 0.0, pieces.Pieces.after
pieces.Pieces.after = lambda self, done: time.sleep(0.1) or after(self, done)
main()
"""
"""The command line, with a request to stop heeded after every batch of a fit, of which each takes a
while: one process may start later than another."""

SMALL_PARTS = """
import time
from crowdllm_jax.cli.main import main
from crowdllm_jax.population import write
write.PART_ROWS, rows = 1, write.write_rows
write.write_rows = lambda *part, **how: time.sleep(1) or rows(*part, **how)
main()
"""
"""The command line, with a population in parts of a block, of which each takes a second."""

COMMANDS = """
import json
import sys
import pytest
from few_drawings import draw_few
from crowdllm_jax.cli import main as cli
from crowdllm_jax.population import count, sample, write, write_twins
from crowdllm_jax.runtime import processes
draw_few(pytest.MonkeyPatch())
write_twins.PART_PEOPLE, write_part, parts = 2, write_twins._write_part, []
write_twins._write_part = lambda *part: (parts.append(part), write_part(*part))
write.PART_ROWS, count.STRETCH, several = 1, sample.BLOCK, sys.argv[2:]
for command in json.loads(sys.argv[1]):
    assert cli.main([*command, *several]) == 0, command
    cli._join = lambda _: processes.rank() == 0
"""
"""Many commands by the same processes, with a block of agents or twins of two people in a part."""

SEVERAL = f"""{COMMANDS}
from pathlib import Path
import numpy as np
from crowdllm_jax.aggregate.budgeting import distinct_ballots
from crowdllm_jax.aggregate.decide import decide, write_table
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd_file import load_crowd
from crowdllm_jax.population.read import open_population
from crowdllm_jax.population.write_counts import write_counts
print(len(parts), file=sys.stderr)
*_, (*counted, place), (_, population, *_) = json.loads(sys.argv[1])
out, population = Path(place).with_name("aggregates") / str(processes.rank()), Path(population)
out.mkdir(parents=True)
sample.BLOCK, count.STRETCH = 64, 128
crowd = load_crowd(population.with_name("crowd"))
write_counts(crowd, count.count(crowd, 700, 3, by="city"), out / "counts", 3)
write_table(decide(population, where="age >= 40"), out / "where.parquet")
write_table(decide(population, "dawid-skene"), out / "truth.parquet")
answers = open_population(population)
approved = np.flatnonzero(answers.task_scale == list(answers.scales).index("approve"))
np.savez(out / "ballots.npz", *distinct_ballots(answers, approved))
def fail(_):
    raise CrowdError("no more")
if processes.rank() == 1:
    count.drawers = fail
cli.main([*counted, place + "-none", *several])
"""
"""Many commands, of which the last but one counts agents and the last aggregates a population (it
tells how many parts of twins it drew); the counts and the rules that no command shows in full; and
the count again, in which one process fails."""

SOON = 30
"""Seconds in which a run must have ended after a peer has."""


def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start(processes: int, devices: int, *command: str, only=None, main=CLI, **places) -> list:
    """The same command in several processes, each with its own virtual devices."""
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
    env = importing() | {"XLA_FLAGS": flags, "NPROC": "32", "JAX_PLATFORMS": "cpu"}
    at = f"127.0.0.1:{port()}"
    several = ["--distributed", "--coordinator", at, "--processes", str(processes)]
    return [
        subprocess.Popen(
            [sys.executable, *main, *command, *several, "--process", str(i)],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **places,
        )
        for i in (range(processes) if only is None else only)
    ]


def ends(process: subprocess.Popen, within: float) -> tuple[int, str]:
    try:
        _, err = process.communicate(timeout=within)
    finally:
        process.kill()
    return process.returncode, err


def digests(folder: Path) -> dict[str, str]:
    parts = sorted(folder.glob("*.parquet"))
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in parts}


@pytest.fixture(autouse=True, scope="module")
def small_parts() -> Iterator[None]:
    """Of a block of agents, as `COMMANDS` has them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "PART_ROWS", 1)
        yield


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> Path:
    """A run folder with a fitted persistent crowd, in its parent a population of one process."""
    folder = tmp_path_factory.mktemp("cluster")
    path = write_config(folder / "input", beside=("vae_only",))
    config = load_config(path, (MODEL, "models=[]"))
    study = load_study(config)
    with open_run(folder / "run", config, study):
        fit_run(folder / "run", Splits(study, config, silent))
    command = ["sample", str(folder / "run"), "--agents", str(AGENTS)]
    assert main([*command, "--seed", "3", "--out", str(folder / "one")]) == 0
    assert main([*command, "--seed", "4", "--out", str(folder / "other")]) == 0
    return folder / "run"


def population_of(fitted: Path) -> tuple[str, ...]:
    return ("sample", str(fitted), "--agents", str(AGENTS), "--seed", "3", "--out")


def counts_of(fitted: Path) -> tuple[str, ...]:
    return (*population_of(fitted)[:-1], "--aggregate", "--by", "city", "--out")


def written(*commands: tuple[str | Path, ...]) -> str:
    """Commands for `COMMANDS`."""
    return json.dumps([[str(word) for word in command] for command in commands])


@pytest.mark.parametrize("layout", ["one of three", "two of one", "two of two"])
def test_a_population_is_the_same_on_every_layout(request, fitted, tmp_path, layout):
    """By so many processes of so many devices."""
    if layout == "one of three":
        out = tmp_path / "p"
        alone = written((*population_of(fitted), out))
        (process,) = start(1, 3, alone, main=("-c", COMMANDS))
        code, err = ends(process, 120)
        assert code == 0, err
    elif layout == "two of one":
        out = request.getfixturevalue("both").folder / "population"
    else:
        out = request.getfixturevalue("tuned").folder / "population"
    assert digests(out) == digests(fitted.parent / "one")
    # And another seed's is another.
    assert digests(out) != digests(fitted.parent / "other")
    assert main(["verify", str(out)]) == 0


def weights(run: Path, model: str) -> dict[str, np.ndarray]:
    return flatten(load_crowd(crowd_folder(run, 0, model)).params)


@pytest.fixture(scope="module")
def known(tmp_path_factory) -> Path:
    """A population in six parts; beside it, its crowd."""
    folder = tmp_path_factory.mktemp("known")
    several = {name: EVERY_SCALE[name] for name in ("rating", "price", "approve")}
    crowd = make_known(make_study(several, tasks=2)).crowd
    save_crowd(crowd, folder / "crowd")
    with small_blocks() as patch:
        patch.setattr(write, "PART_ROWS", 128 * len(crowd.task_ids))
        write_population(crowd, folder / "population", 700, 3)
    assert len(list((folder / "population").glob("part-*"))) == 6
    return folder / "population"


@contextmanager
def small_blocks() -> Iterator[pytest.MonkeyPatch]:
    """Of agents that are drawn and counted, as `SEVERAL` has them."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (sample, write):
            patch.setattr(module, "BLOCK", 64)
        patch.setattr(count, "STRETCH", 128)
        yield patch


@pytest.fixture(scope="module")
def stopped(fitted, tmp_path_factory) -> Path:
    """A run of two processes, each with a fit of its own, of which one was asked to stop: both end
    with what they have."""
    run, fits = tmp_path_factory.mktemp("stopped") / "run", ("cvae", "vae_only")
    command = ["fit", str(fitted.parent / "input" / "config.yaml"), *STOPPED, "--out", str(run)]
    both = start(2, 1, *command, main=("-c", SMALL_PIECES))
    while not all(list((run / f"seed-0/{fit}/checkpoint").glob("[0-9]*")) for fit in fits):
        assert all(process.poll() is None for process in both)
        time.sleep(0.05)
    began = time.monotonic()
    both[1].send_signal(signal.SIGTERM)
    (other, told), (asked, why) = (ends(process, SOON) for process in both)
    assert time.monotonic() - began < 10
    assert asked == 143, why
    assert other == 130, told
    assert "terminated; the same command continues" in why
    assert not any(crowd_folder(run, 0, fit).exists() for fit in fits)
    return run


class Both(NamedTuple):
    """What two processes made together: the folder, how many parts of twins each drew, and what
    each said."""

    folder: Path
    parts: tuple[int, ...]
    told: tuple[str, ...]


@pytest.fixture(scope="module")
def both(fitted, known, stopped, tmp_path_factory) -> Both:
    """Started once: most of what a command takes here is until its processes have met."""
    two = tmp_path_factory.mktemp("both") / "two"
    config = str(fitted.parent / "input" / "config.yaml")
    # As a fit that was stopped after its last checkpoint.
    shutil.copytree(fitted, two / "elsewhere")
    shutil.rmtree(crowd_folder(two / "elsewhere", 0, "persistent"))
    (stopped / ".tmp-taken-seed-0-cvae").touch()  # nobody waits for whom an earlier start had
    shared = ("--set", SHARED_MODEL, "--set", "models=[]")
    commands = (
        (*population_of(fitted), two / "population"),
        ("run", config, "--out", two / "run"),
        ("fit", config, "--out", two / "fit", *shared),
        ("fit", config, "--out", two / "elsewhere", *shared),
        ("fit", config, "--out", two / "batches", *BATCHES, "--set", "train.devices=2"),
        ("fit", config, "--out", two / "shares", *SHARES),
        ("fit", config, "--out", stopped, *STOPPED),
        (*twins_of(fitted), two / "twins"),
        (*counts_of(fitted), two / "counts"),
        ("aggregate", known, "--quiet", "--out", two / "aggregates" / "summary.parquet"),
    )
    codes, told = zip(
        *(ends(one, 900) for one in start(2, 1, written(*commands), main=("-c", SEVERAL))),
        strict=True,
    )
    parts = [re.findall(r"^\d+$", err, re.MULTILINE) for err in told]
    assert all(parts), told
    # The last count failed in one of them, of which the other is told.
    assert codes == (3, 2), told
    return Both(two, tuple(int(count) for (*_, count) in parts), told)


def twins_of(fitted: Path) -> tuple[str | Path, ...]:
    answers = fitted.parent / "input" / "responses.csv"
    return ("twin", fitted, "--answers", answers, "--draws", "7", "--out")


def test_a_run_of_two_processes_is_a_run_of_one(fitted, both, tmp_path):
    """Of its two fits (the published model, with and without its reference) each is one process's,
    and has the bits that it has in a run of one."""
    shutil.copytree(both.folder / "run", tmp_path / "two")
    command = ["run", str(fitted.parent / "input" / "config.yaml")]
    assert main([*command, "--out", str(tmp_path / "one"), "--quiet"]) == 0
    assert digests(tmp_path / "one/population") == digests(tmp_path / "two/population")
    one, two = (tmp_path / name / "scores.json" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    for model in ("cvae", "vae_only"):
        one, two = weights_of(model, tmp_path / "one", tmp_path / "two")
        for name in one:
            np.testing.assert_array_equal(two[name], one[name], err_msg=f"{model} {name}")
        # Nobody waited for the other to save it.
        assert (crowd_folder(tmp_path / "two", 0, model) / "arrays" / ALONE).is_file()
    assert not list((tmp_path / "two").glob(".tmp-*"))


def test_two_processes_share_twins(fitted, both, tmp_path):
    """Each part is drawn by one of them, and the folder has the bytes of one process's, which drew
    all in one part."""
    answers = fitted.parent / "input" / "responses.csv"
    assert main([*map(str, twins_of(fitted)), str(tmp_path / "one")]) == 0
    shutil.copytree(both.folder / "twins", tmp_path / "two")
    people = len({row.split(",")[0] for row in answers.read_text().splitlines()[1:]})
    assert sum(both.parts) == -(-people // 2)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == names
    for name in names:
        one, two = (tmp_path / folder / name for folder in ("one", "two"))
        assert one.read_bytes() == two.read_bytes(), name
    assert not list(both.folder.glob(".tmp-*"))


def test_two_processes_share_aggregates(known, both, tmp_path):
    """Each reads some parts of a population, and draws some stretches of agents that are counted;
    both come to the bits of one process."""
    one, two = tmp_path / "one", both.folder / "aggregates"
    one.mkdir()
    crowd = load_crowd(known.with_name("crowd"))
    with small_blocks():
        command = ["aggregate", str(known), "--quiet", "--out", str(one / "summary.parquet")]
        assert main(command) == 0
        write_table(decide(known, where="age >= 40"), one / "where.parquet")
        with pytest.warns(CrowdWarning, match="few for a matrix"):
            write_table(decide(known, "dawid-skene"), one / "truth.parquet")
        approved = np.flatnonzero(crowd.task_scale == list(crowd.scales).index("approve"))
        np.savez(one / "ballots.npz", *distinct_ballots(open_population(known), approved))
        write_counts(crowd, count.count(crowd, 700, 3, by="city"), one / "counts", 3)
    for path in filter(Path.is_file, one.rglob("*")):
        for place in (two,) if path.stem == "summary" else (two / "0", two / "1"):
            name = path.relative_to(one)
            assert (place / name).read_bytes() == path.read_bytes(), name


def test_two_processes_count_agents(fitted, both, tmp_path):
    """To the bytes of one process; where one fails, the other says so, and nothing is written."""
    assert main([*counts_of(fitted), str(tmp_path / "one"), "--quiet"]) == 0
    assert "another process of this run has ended" in both.told[0]
    assert "crowdllm: no more" in both.told[1]
    assert not (both.folder / "counts-none").exists()
    for path in (tmp_path / "one").iterdir():
        assert (both.folder / "counts" / path.name).read_bytes() == path.read_bytes(), path.name


def weights_of(model: str, *runs: Path) -> list[dict[str, np.ndarray]]:
    found = [weights(run, model) for run in runs]
    assert all(one.keys() == found[0].keys() for one in found)
    return found


def test_two_processes_share_a_fit(fitted, both):
    """Sums in another order, and hence to float rounding (after 5 steps of Adam) the weights of a
    fit by one."""
    alone, shared = weights_of("persistent", fitted, both.folder / "fit")
    for name in alone:
        np.testing.assert_allclose(shared[name], alone[name], atol=1e-4, err_msg=name)
    # Another order it was: a fit that each did alone would be equal to the last bit.
    assert any(np.any(shared[name] != alone[name]) for name in alone)


def test_two_processes_share_every_batch_of_the_published_model(fitted, both, tmp_path):
    """As the fit by one, up to the order of its sums (`tests/model/test_many_runs.py` looks at the
    program)."""
    command = ["fit", str(fitted.parent / "input" / "config.yaml"), *BATCHES]
    assert main([*command, "--out", str(tmp_path / "one"), "--quiet"]) == 0
    # One of the two alone, now, goes on from their last state, which is the end.
    shutil.copytree(both.folder / "batches", tmp_path / "two")
    shutil.rmtree(crowd_folder(tmp_path / "two", 0, "cvae"))
    assert main([*command, "--out", str(tmp_path / "two"), "--quiet"]) == 0
    one, two = weights_of("cvae", tmp_path / "one", tmp_path / "two")
    for name in one:
        np.testing.assert_allclose(two[name], one[name], atol=1e-4, err_msg=name)
    assert any(np.any(two[name] != one[name]) for name in one)


def test_two_processes_make_the_bits_of_two_devices(fitted, both, tmp_path):
    """Of every batch of the published model, cut into shares."""
    command = ["fit", str(fitted.parent / "input" / "config.yaml"), *SHARES]
    assert main([*command, "--out", str(tmp_path / "one"), "--quiet"]) == 0
    one, two = weights_of("cvae", tmp_path / "one", both.folder / "shares")
    for name in one:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)


def test_a_fit_goes_on_elsewhere(fitted, both):
    """Its last checkpoint was one process's: two find the same state, and make the same crowd."""
    alone, shared = weights_of("persistent", fitted, both.folder / "elsewhere")
    for name in alone:
        np.testing.assert_array_equal(shared[name], alone[name], err_msg=name)


def test_processes_stop_within_an_epoch_together(fitted, stopped, both, tmp_path):
    """And go on from there to the bits of fits that were left alone."""
    command = ["fit", str(fitted.parent / "input" / "config.yaml"), *STOPPED]
    assert main([*command, "--out", str(tmp_path / "whole"), "--quiet"]) == 0
    for fit in ("cvae", "vae_only"):
        one, two = weights_of(fit, stopped, tmp_path / "whole")
        for name in one:
            np.testing.assert_array_equal(one[name], two[name], err_msg=f"{fit} {name}")


class Tuned(NamedTuple):
    """What two processes of two devices made together, and the adapters that one made."""

    folder: Path
    alone: Path


@pytest.fixture(scope="module")
def tuned(fitted, tmp_path_factory) -> Tuned:
    folder = tmp_path_factory.mktemp("tuned")
    path, model = write_asked(folder)
    few = {"folds": 2, "rank": 2, "epochs": 1, "batch": 8, "targets": ["q", "up"]}
    tune = few | {"learning_rate": 0.02}
    reference = {"kind": "backbone", "model": str(model), "dtype": "float32", "tune": tune}
    path.write_text(f"{path.read_text()}reference: {json.dumps(reference)}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["tune", str(path), "--quiet"]) == 0
    (alone,) = (folder / "adapters").iterdir()
    two = ["--set", "reference.tune.adapters=two", "--set", "reference.mesh={model: 2}"]
    commands = written(("tune", path, *two), (*population_of(fitted), folder / "population"))
    for process in start(2, 2, commands, main=("-c", COMMANDS), cwd=folder):
        code, err = ends(process, 900)
        assert code == 0, err
    return Tuned(folder, alone)


def test_two_processes_share_tuning(tuned):
    """Each has a half of every batch's rows, and the weights on its two devices: sums in another
    order, and the adapters of one process to float rounding, which one of the two writes."""
    alone = tuned.alone
    names = sorted(p.relative_to(alone) for p in alone.rglob("*"))
    shared = tuned.folder / "two" / alone.name
    assert sorted(p.relative_to(shared) for p in shared.rglob("*")) == names
    moved = different = 0.0
    for part in ("part-0", "part-1"):
        one, other = (read_adapter(folder / part).arrays for folder in (alone, shared))
        for name in one:
            np.testing.assert_allclose(other[name], one[name], rtol=0, atol=1e-5, err_msg=name)
            moved = max(moved, np.abs(one[name]).max() if name.endswith("_b") else 0.0)
            different += np.any(one[name] != other[name])
    assert moved > 1e-3  # they learnt something,
    assert different  # and not each by itself


def test_devices_that_are_not_there_are_told(fitted, tmp_path, capsys):
    command = ["fit", str(fitted.parent / "input" / "config.yaml"), "--out", str(tmp_path / "x")]
    assert main([*command, "--set", "model={kind: persistent, devices: 64}"]) == 2
    assert "model.devices: 64, but there are" in capsys.readouterr().err


@pytest.mark.parametrize("dead", [0, 1])
def test_no_process_outlives_a_dead_peer(fitted, tmp_path, dead):
    """One is killed while both write so many parts that they would not end for minutes."""
    out = tmp_path / "p"
    command = ("sample", str(fitted), "--agents", "9000000", "--out", str(out))
    both = start(2, 1, *command, main=("-c", SMALL_PARTS))
    while not list(out.glob("part-*.parquet")):
        assert all(process.poll() is None for process in both)
        time.sleep(0.1)
    both[dead].send_signal(signal.SIGKILL)
    began = time.monotonic()
    code, err = ends(both[1 - dead], SOON)
    assert code != 0
    assert time.monotonic() - began < SOON
    assert re.search("another process|another task", err), err
    ends(both[dead], SOON)


@pytest.mark.parametrize(
    ("present", "says"),
    [(1, "process 0 cannot be reached"), (0, "the other processes did not come in time")],
)
def test_missing_processes_are_told(present, says, fitted, tmp_path):
    command = ["sample", str(fitted), "--out", str(tmp_path / "p"), "--wait", "2"]
    (alone,) = start(2, 1, *command, only=[present])
    code, err = ends(alone, SOON)
    assert code == 3
    assert says in " ".join(err.split())
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("given", "says"),
    [((None, 2, None), "go together"), (("h:1", 2, 2), "from 0 to 1")],
)
def test_what_does_not_fit_together_is_told(given, says):
    with pytest.raises(CrowdError, match=says):
        processes.join(*given)


@pytest.mark.parametrize(
    ("address", "told"),
    [("127.0.1.1", "its name .* stands for 127.0.1.1 here"), ("10.9.0.1", "has ended before")],
)
def test_a_machine_that_only_knows_itself_is_told(monkeypatch, address, told):
    """Between machines the processes connect by their names; Debian installs each as 127.0.1.1."""

    def sync(_: str) -> None:
        raise RuntimeError("UNKNOWN: Gloo context initialization failed: connection refused")

    monkeypatch.setattr(processes, "size", lambda: 2)
    monkeypatch.setattr(processes.multihost_utils, "sync_global_devices", sync)
    monkeypatch.setattr(processes.socket, "gethostbyname", lambda _: address)
    with pytest.raises(PeerError, match=told):
        processes.meet("a step")
