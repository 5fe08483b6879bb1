"""Two processes of four devices each against one process of one device.

    PYTHONPATH=tests:tests/backbone python benchmarks/machines.py

Of a study of 24 people, 30 tasks and a language model of random weights, on virtual CPU devices: a
language model's scores and the adapters that it is tuned to (its weights divided among the four
devices of each process, the rows among the processes), fits of both models shared by all eight
devices, and a population. Fits that are cut into shares are held against one process of eight
devices, whose bits they have to have. Exit code 1 if anything is not as docs/reliability.md says.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from asked_study import write_asked

from crowdllm_jax.backbone.tune.peft import read_adapter
from crowdllm_jax.model.crowd_file import load_crowd
from crowdllm_jax.runtime.checkpoints import flatten

AGENTS = 20_001
TUNE = {"folds": 2, "rank": 2, "epochs": 2, "batch": 8, "learning_rate": 0.02}
NOTING = """
import json, sys
from pathlib import Path
import jax
from crowdllm_jax.backbone import weights
from crowdllm_jax.cli.main import main
load = weights.load
def noted(*given, **more):
    backbone = load(*given, **more)
    of_each = dict.fromkeys(range(jax.device_count()), 0)
    arrays = jax.tree.leaves(backbone.weights)
    for shard in (shard for array in arrays for shard in array.addressable_shards):
        of_each[shard.device.id] = of_each.get(shard.device.id, 0) + shard.data.nbytes
    told = [sum(array.nbytes for array in arrays), *filter(None, of_each.values())]
    Path(f"bytes-{jax.process_index()}.json").write_text(json.dumps(told))
    return backbone
weights.load = noted
sys.exit(main(sys.argv[1:]))
"""
"""The command line, which notes the bytes of a language model's weights, whole and per device."""


def run(folder: Path, processes: int, devices: int, *command: str) -> None:
    """One command, by so many processes of so many devices, in a folder."""
    folder.mkdir(exist_ok=True)
    flags = f"--xla_force_host_platform_device_count={devices}"
    env = os.environ | {"XLA_FLAGS": flags, "NPROC": "32", "JAX_PLATFORMS": "cpu"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        at = f"127.0.0.1:{free.getsockname()[1]}"
    several = ["--distributed", "--wait", "120", "--coordinator", at, "--processes", str(processes)]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", NOTING, *command, "--quiet"]
            + ([*several, "--process", str(rank)] if processes > 1 else []),
            cwd=folder,
            env=env,
            stdout=subprocess.DEVNULL,
        )
        for rank in range(processes)
    ]
    codes = [process.wait() for process in started]
    if any(codes):
        raise SystemExit(f"failed: {processes}x{devices} {' '.join(command)}")


def make_input(folder: Path) -> Path:
    """A study with texts, a tiny language model, and the configuration that asks it."""
    path, model = write_asked(folder)
    reference = {"kind": "backbone", "model": str(model), "dtype": "float32", "tune": TUNE}
    asking = f"{path.read_text()}reference: {json.dumps(reference)}\n"
    path.with_name("asking.yaml").write_text(asking)
    return path


def gap(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    """The largest difference of arrays by name."""
    if one.keys() != other.keys():
        raise SystemExit("not the same arrays")
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


def fitted(run_folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """The weights of a run's crowds by model."""
    folder = run_folder / "seed-0"
    models = ("cvae", "persistent")
    return {name: flatten(load_crowd(folder / name / "crowd").params) for name in models}


def adapters(folder: Path) -> dict[str, np.ndarray]:
    """The arrays of both parts' adapters."""
    (tuned,) = (folder / "adapters").iterdir()
    return {
        f"{part} {name}": np.asarray(array)
        for part in ("part-0", "part-1")
        for name, array in read_adapter(tuned / part).arrays.items()
    }


class Findings:
    """What was found, told line by line."""

    def __init__(self) -> None:
        self.holds = True

    def tell(self, what: str, value: object, holds: bool) -> None:
        print(f"{what:66}{value!s:>14}  {'ok' if holds else 'FAILED'}", flush=True)
        self.holds &= holds


def language_model(config: Path, one: Path, two: Path, found: Findings) -> None:
    asking = str(config.with_name("asking.yaml"))
    spread = ["--set", "reference.mesh={model: 4}"]
    plain = ["reference", asking, "--set", "reference.tune=null", "--out", "table.parquet"]
    run(one, 1, 1, *plain)
    run(two, 2, 4, *plain, *spread)
    probs = [np.stack(pq.read_table(f / "table.parquet")["probs"].to_numpy()) for f in (one, two)]
    apart = float(np.abs(probs[0] - probs[1]).max())
    found.tell("scores of a language model: largest difference", f"{apart:.1e}", apart <= 1e-5)
    for rank in range(2):
        whole, *of_each = json.loads((two / f"bytes-{rank}.json").read_text())
        told = f"{max(of_each)} of {whole}"
        holds = len(of_each) == 4 and len(set(of_each)) == 1 and max(of_each) < 0.3 * whole
        found.tell(f"bytes of its weights on each of 4 devices of process {rank}", told, holds)
    run(one, 1, 1, "tune", asking)
    run(two, 2, 4, "tune", asking, *spread)
    apart = gap(adapters(one), adapters(two))
    found.tell("tuned adapters: largest difference", f"{apart:.1e}", apart <= 1e-5)


def fits(config: Path, one: Path, two: Path, found: Findings) -> None:
    def fit(out: str, more: str = "") -> list[str]:
        model = f"model={{kind: persistent, steps: 20, people: 16{more}}}"
        train = f"train={{epochs: 2, batch_size: 16{more}}}"
        command = ["fit", str(config), "--out", out, "--set", "models=[cvae]"]
        return [*command, "--set", model, "--set", train]

    run(one, 1, 1, *fit("run"))
    run(two, 2, 4, *fit("run", ", devices: 8"))
    run(one, 1, 8, *fit("shares", ", devices: 8, shares: 8"))
    run(two, 2, 4, *fit("shares", ", devices: 8, shares: 8"))
    whole, cut = ([fitted(folder / name) for folder in (one, two)] for name in ("run", "shares"))
    for model in whole[0]:
        apart = gap(whole[0][model], whole[1][model])
        found.tell(
            f"{model}, whole steps: largest difference of a weight", f"{apart:.1e}", apart <= 1e-4
        )
        apart = gap(cut[0][model], cut[1][model])
        found.tell(f"{model}, in 8 shares: the same of 2x4 and 1x8", f"{apart:.1e}", apart == 0)


def population(one: Path, two: Path, found: Findings) -> None:
    command = ["sample", str(one / "run"), "--agents", str(AGENTS), "--out", "population"]
    run(one, 1, 1, *command)
    run(two, 2, 4, *command)
    files = [path.name for path in sorted((one / "population").iterdir())]
    same = [
        (one / "population" / n).read_bytes() == (two / "population" / n).read_bytes()
        for n in files
    ]
    found.tell("a population's files with the same bytes", f"{sum(same)} of {len(same)}", all(same))


def main() -> None:
    found = Findings()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = make_input(folder)
        one, two = folder / "one", folder / "two"
        language_model(config, one, two, found)
        fits(config, one, two, found)
        population(one, two, found)
    sys.exit(not found.holds)


if __name__ == "__main__":
    main()
