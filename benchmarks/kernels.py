"""What a GPU does while a block of agents is drawn: its kernels, and the time that each takes.

    python benchmarks/kernels.py [--json FILE]

The crowds of `population.py` (300 tasks, 262 profiles), blocks as large as the device takes: drawn
and counted, and drawn and put in order. Two rates: by the time until a block is there, one after
the other, and by the time that its kernels take (JAX's profiler), which is what is left where the
next block is asked for before the last one has come.
"""

import argparse
import collections
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from crowds import make_crowd
from jax.profiler import ProfileData

from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.population.drawers import drawers
from crowdllm_jax.population.grouped import GroupedDrawer, count_block, draw_in_order
from crowdllm_jax.runtime.randomness import seed_halves, split_ids

MODELS = {
    "cvae": CvaeConfig(),
    "persistent, 2 dimensions": PersistentConfig(latent=2),
    "persistent, 16 dimensions": PersistentConfig(latent=16),
}
TASKS, LEVELS = 300, 5


def kernels(work: Callable[[], object]) -> collections.Counter[str]:
    """Nanoseconds of each kernel, by its name."""
    spent: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            work()
        for file in Path(folder).rglob("*.xplane.pb"):
            for plane in ProfileData.from_file(str(file)).planes:
                streams = [s for s in plane.lines if "GPU" in plane.name and "Stream" in s.name]
                for event in (event for stream in streams for event in stream.events):
                    spent[event.name] += round(event.duration_ns)
    return spent


def seconds(work: Callable[[], object], repeats: int) -> float:
    work()  # compiles
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def programs(draw: GroupedDrawer) -> dict[str, Callable[[], object]]:
    size = draw.sizes[-1]
    given = (draw.fitted, draw.recruits, seed_halves(0), split_ids(np.array(0)))
    everyone = np.zeros(draw.drawn.profiles, np.int32)
    counted = (np.int32(size), everyone)
    return {
        "counted": lambda: jax.block_until_ready(
            count_block(draw.drawn, size, (1, LEVELS), *given, *counted)
        ),
        "in order": lambda: jax.block_until_ready(draw_in_order(draw.drawn, size, *given)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--top", type=int, default=6, help="kernels shown of each program")
    parser.add_argument("--json", type=Path, help="write the records here")
    args = parser.parse_args()
    device, records = jax.devices()[0], []
    for model, config in MODELS.items():
        draw = drawers(make_crowd(config, tasks=TASKS))[0]
        if not isinstance(draw, GroupedDrawer) or device.platform != "gpu":
            raise SystemExit("JAX has no GPU here")
        for name, work in programs(draw).items():
            decisions = draw.sizes[-1] * TASKS
            wall, spent = seconds(work, args.repeats), kernels(work)
            rates = {"by time": decisions / wall, "by kernels": decisions * 1e9 / spent.total()}
            print(
                f"{model}, {name}: {wall * 1e3:.2f} ms, kernels {spent.total() / 1e6:.2f} ms; "
                f"{rates['by time']:.3g} and {rates['by kernels']:.3g} decisions/s"
            )
            for kernel, nanoseconds in spent.most_common(args.top):
                print(f"{nanoseconds / 1e6:10.3f} ms {kernel[:100]}", flush=True)
            records += [
                {
                    "benchmark": f"kernels {model}",
                    "variant": name,
                    "metric": f"decisions {metric}",
                    "value": rate,
                    "unit": "1/s",
                    "device": device.device_kind,
                }
                for metric, rate in rates.items()
            ]
    if args.json:
        args.json.write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    main()
