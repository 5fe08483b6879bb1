"""One result on any layout, through any crash: the long form of what the tests show in short.

    python benchmarks/reliability.py [--only layouts training sampling]

    layouts   one population (an odd number of agents) on 1x1, 1x3, 1x8, 2x1 and 2x4 processes x
              devices and in three block sizes: sha256 of its rows; and another seed's, which must
              differ
    training  a fit killed with -9 twenty times, every other time while a checkpoint is being
              written, then finished: sha256 of the crowd beside that of one that was left alone
    sampling  20 million rows, killed with -9 ten times, then finished: rows, agents, manifest

Exit code 1 if anything is not as it should be. Virtual CPU devices; about 15 minutes on two cores.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

AGENTS = 100_003
LAYOUTS = ((1, 1), (1, 3), (1, 8), (2, 1), (2, 4))
BLOCKS = (512, 2048, 8192)
CONFIG = """
study: anes96
split: {by: people}
model: {kind: persistent, steps: 600}
published: {hidden: 8}
train: {epochs: 1}
"""
MAIN = "from crowdllm_jax.cli.main import main; import sys; sys.exit(main(sys.argv[1:]))"
SMALLER = (
    "import crowdllm_jax.population.sample as one; "
    "import crowdllm_jax.population.write as two; one.BLOCK = two.BLOCK = {}; "
)


def start(*command: str, devices: int = 1, block: int | None = None) -> subprocess.Popen:
    flags = f"--xla_force_host_platform_device_count={devices}"
    env = os.environ | {"XLA_FLAGS": flags, "NPROC": "32", "JAX_PLATFORMS": "cpu"}
    code = (SMALLER.format(block) if block else "") + MAIN
    return subprocess.Popen(
        [sys.executable, "-c", code, *command, "--quiet"],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def run(*command: str, processes: int = 1, devices: int = 1, block: int | None = None) -> None:
    several = [[]]
    if processes > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            at = f"127.0.0.1:{free.getsockname()[1]}"
        shared = ["--distributed", "--coordinator", at, "--processes", str(processes)]
        several = [[*shared, "--process", str(i)] for i in range(processes)]
    started = [start(*command, *more, devices=devices, block=block) for more in several]
    codes = [process.wait() for process in started]
    if any(codes):
        raise SystemExit(f"failed: {' '.join(command)}")


def rows_digest(folder: Path) -> str:
    """sha256 of all rows, which stand by agent in files that stand by agent."""
    # A hash per column: where batches end differs with the sizes of blocks and parts.
    columns = {name: hashlib.sha256() for name in ("agent_id", "task_id", "decision")}
    for path in sorted(folder.glob("part-*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(columns=list(columns)):
            for name, digest in columns.items():
                column = batch.column(name)
                if pa.types.is_dictionary(column.type):
                    digest.update("".join(f"{text}\n" for text in column.to_pylist()).encode())
                else:
                    digest.update(column.to_numpy().tobytes())
    together = "".join(digest.hexdigest() for digest in columns.values())
    return hashlib.sha256(together.encode()).hexdigest()[:16]


Tell = Callable[[str, object, bool], None]


def layouts(fitted: Path, folder: Path, tell: Tell) -> None:
    def digest(name: str, seed: int = 0, **how: int) -> str:
        out = folder / name
        run(
            "sample",
            str(fitted),
            "--agents",
            str(AGENTS),
            "--seed",
            str(seed),
            "--out",
            str(out),
            **how,
        )
        return rows_digest(out)

    first = digest("1x1")
    tell("1x1 processes x devices", first, True)
    for processes, devices in LAYOUTS[1:]:
        found = digest(f"{processes}x{devices}", processes=processes, devices=devices)
        tell(f"{processes}x{devices}", found, found == first)
    for block in BLOCKS[:-1]:
        found = digest(f"block{block}", block=block)
        tell(f"blocks of {block} agents", found, found == first)
    other = digest("other", seed=1)
    tell("another seed (must differ)", other, other != first)


def training(config: Path, folder: Path, tell: Tell) -> None:
    def digest(run_folder: Path) -> str:
        crowd = run_folder / "seed-0" / "persistent" / "crowd" / "crowd.json"
        return json.loads(crowd.read_text())["sha256"]

    run("fit", str(config), "--out", str(folder / "alone"))
    killed, checkpoint = folder / "killed", folder / "killed/seed-0/persistent/checkpoint"
    in_mid_save = 0
    for number in range(20):
        process = start("fit", str(config), "--out", str(killed))
        if number % 2:
            while not (saving := list(checkpoint.glob("*tmp*"))) and process.poll() is None:
                time.sleep(0.002)
            in_mid_save += bool(saving)
        else:
            time.sleep(random.uniform(1, 14))
        process.kill()
        process.wait()
    run("fit", str(config), "--out", str(killed))
    tell("fits killed while a checkpoint was written, of 20", in_mid_save, in_mid_save > 0)
    alone, found = digest(folder / "alone"), digest(killed)
    tell("crowd left alone", alone[:16], True)
    tell("crowd killed 20 times", found[:16], found == alone)


def sampling(fitted: Path, folder: Path, tell: Tell) -> None:
    agents, tasks = 3_333_334, 6
    command = ["sample", str(fitted), "--agents", str(agents), "--out"]
    began = time.monotonic()
    run(*command, str(folder / "alone"))
    whole = time.monotonic() - began
    for _ in range(10):
        process = start(*command, str(folder / "killed"))
        time.sleep(random.uniform(0.2, 1) * whole)
        process.kill()
        process.wait()
    run(*command, str(folder / "killed"))
    ids = [
        pq.read_table(p, columns=["agent_id"])["agent_id"].to_numpy()
        for p in sorted((folder / "killed").glob("agents-*.parquet"))
    ]
    rows = sum(pq.read_metadata(p).num_rows for p in (folder / "killed").glob("part-*.parquet"))
    tell("rows", f"{rows:,}", rows == agents * tasks)
    once = [int(i) for part in ids for i in (part[0], part[-1] + 1)]
    in_order = once[0] == 0 and once[-1] == agents and once[1:-1:2] == once[2::2]
    tell("every agent once", agents, in_order and sum(map(len, ids)) == agents)
    alone, killed = ((folder / n / "manifest.json").read_bytes() for n in ("alone", "killed"))
    tell("manifest", hashlib.sha256(killed).hexdigest()[:16], killed == alone)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=("layouts", "training", "sampling"))
    args = parser.parse_args()
    random.seed(0)
    failed = []

    def tell(what: str, value: object, holds: bool) -> None:
        print(f"{what:52}{value!s:>20}  {'ok' if holds else 'FAILED'}", flush=True)
        if not holds:
            failed.append(what)

    folder = Path(tempfile.mkdtemp())
    try:
        config = folder / "config.yaml"
        config.write_text(CONFIG)
        fitted = folder / "run"
        run("fit", str(config), "--out", str(fitted))
        for name, job in (("layouts", layouts), ("sampling", sampling)):
            if args.only is None or name in args.only:
                (folder / name).mkdir()
                job(fitted, folder / name, tell)
        if args.only is None or "training" in args.only:
            training(config, folder / "training", tell)
    finally:
        shutil.rmtree(folder)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
