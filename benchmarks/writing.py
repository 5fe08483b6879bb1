"""Populations written to Parquet: how fast beside sampling and writing alone, in how much memory.

    python benchmarks/writing.py [--json FILE] [--decisions 100000000]

Speed: `write_population` of so many decisions (T=300, K=5, the published model), in turns with the
same population only sampled, and with the same rows only written (one block of answers, over and
over). Memory: the peak of a fresh process that samples (or writes) 10^5, 10^6 and 10^7 agents.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
from crowds import make_crowd

from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.population.agents import Agents
from crowdllm_jax.population.drawers import drawers
from crowdllm_jax.population.sample import blocks_in, draw_blocks, sample_blocks
from crowdllm_jax.population.write import write_population, write_rows

TASKS = 300
PEAK = """
import sys
sys.path.insert(0, {here!r})
from writing import {job}
{job}({agents})
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def sample_cvae(agents: int) -> None:
    for _ in sample_blocks(make_crowd(CvaeConfig(), tasks=TASKS), agents, 0):
        pass


def sample_persistent(agents: int) -> None:
    for _ in sample_blocks(make_crowd(PersistentConfig(), tasks=TASKS), agents, 0):
        pass


def write_cvae(agents: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_population(make_crowd(CvaeConfig(), tasks=TASKS), Path(folder) / "p", agents, 0)


def peak(job: str, agents: int) -> float:
    """MiB that a fresh process held at most (Linux; getrusage would count its parent, too)."""
    code = PEAK.format(here=str(Path(__file__).parent), job=job, agents=agents)
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE)
    return int(done.stdout) / 1024


def repeated(block: Agents, agents: int) -> Iterator[Agents]:
    for first, count in blocks_in(0, agents):
        profile = tuple(replace(a, cells=a.cells[:count]) for a in block.profile)
        yield Agents(np.arange(first, first + count), profile, block.answers[:count])


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_turns(crowd: Crowd, agents: int, repeats: int) -> dict[str, list[float]]:
    draws = drawers(crowd)
    (block,) = draw_blocks(draws, TASKS, 0, blocks_in(0, 8192))

    def only_sample() -> None:
        for _ in draw_blocks(draws, TASKS, 0, blocks_in(0, agents)):
            pass

    def only_write() -> None:
        with tempfile.TemporaryDirectory() as folder:
            write_rows(crowd, Path(folder), ("part", "agents"), repeated(block, agents), {})

    def both() -> None:
        with tempfile.TemporaryDirectory() as folder:
            write_population(crowd, Path(folder) / "p", agents, 0)

    work = {"sampled": only_sample, "written": only_write, "sampled and written": both}
    found: dict[str, list[float]] = {name: [] for name in work}
    only_sample()
    for _ in range(repeats):
        for name, job in work.items():
            found[name].append(seconds(job))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--decisions", type=int, default=100_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-memory", action="store_true", help="only the speed")
    parser.add_argument("--no-speed", action="store_true", help="only the memory")
    parser.add_argument("--json", type=Path, help="write the records here")
    args = parser.parse_args()
    device = jax.devices()[0].device_kind
    records: list[dict[str, object]] = []

    def add(variant: str, metric: str, value: float, unit: str) -> None:
        records.append(
            {
                "benchmark": "writing",
                "variant": variant,
                "metric": metric,
                "value": value,
                "unit": unit,
                "device": device,
            }
        )

    if not args.no_speed:
        agents = args.decisions // TASKS
        found = in_turns(make_crowd(CvaeConfig(), tasks=TASKS), agents, args.repeats)
        for name, times in found.items():
            rate = agents * TASKS / statistics.median(times)
            print(f"{name:22}{rate:10.3g} decisions/s")
            add(name, "decisions", rate, "1/s")
        turns = zip(*found.values(), strict=True)
        share = statistics.median(max(sampled, written) / both for sampled, written, both in turns)
        print(f"{'':22}{share:10.0%} of the slower of the two alone")
        add("sampled and written", "share of the slower alone", share, "1")
    if not args.no_memory:
        for job, sizes in (
            ("sample_cvae", (5, 6, 7)),
            ("sample_persistent", (5, 6, 7)),
            ("write_cvae", (5, 6)),
        ):
            found_peaks = [peak(job, 10**size) for size in sizes]
            for size, value in zip(sizes, found_peaks, strict=True):
                print(f"{job:22}10^{size} agents: peak {value:6.0f} MiB", flush=True)
                add(f"{job}, N = 10^{size}", "peak memory", value, "MiB")
    if args.json:
        args.json.write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    main()
