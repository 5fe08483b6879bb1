"""How fast answers come to the host: into pages, and into pinned memory.

    python benchmarks/copies.py [--json FILE]

150 MB of int8 that the device has just made, by JAX and by torch; and four million agents of the
published model on 300 tasks, drawn and fetched block by block as `population.py` does, through
pinned memory and not. Medians.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch_path
from crowds import make_crowd

from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.population import grouped
from crowdllm_jax.population.drawers import drawers
from crowdllm_jax.population.sample import blocks_in, draw_blocks

TASKS = 300


def rate(prepare: Callable[[int], object], work: Callable[[object], object], repeats: int) -> float:
    """Median number of calls a second, what they start from made before; a first one compiles."""
    taken = []
    for turn in range(repeats + 1):
        given = prepare(turn)
        began = time.perf_counter()
        kept = work(given)
        taken.append(time.perf_counter() - began)
        del kept
    return 1 / statistics.median(taken[1:])


def copies(size: int, repeats: int) -> dict[str, float]:
    """Bytes a second of `size` numbers."""
    made = jax.jit(lambda i: (jnp.arange(size, dtype=jnp.int32) * (i + 3)).astype(jnp.int8))
    fresh = lambda i: made(i).block_until_ready()  # noqa: E731
    ways = {
        "JAX, into pages": (fresh, np.asarray),
        "JAX, into pinned memory": (fresh, lambda array: grouped._fetched((array,))),
    }
    if torch.cuda.is_available():
        numbers = torch.randint(-100, 100, (size,), dtype=torch.int8, device=torch_path.device())
        pinned = torch.empty(size, dtype=torch.int8, pin_memory=True)

        def synchronised(array: torch.Tensor) -> torch.Tensor:
            torch.cuda.synchronize()
            return array

        again = lambda i: synchronised(numbers + i)  # noqa: E731
        ways["torch, into pages"] = again, lambda array: array.cpu()
        ways["torch, into pinned memory"] = (
            again,
            lambda array: synchronised(pinned.copy_(array, non_blocking=True)),
        )
    return {name: size * rate(*way, repeats) for name, way in ways.items()}


def drawn(agents: int, repeats: int) -> dict[str, float]:
    """Decisions a second, drawn and fetched."""
    draws = drawers(make_crowd(CvaeConfig(), tasks=TASKS))

    def work(_: object) -> int:
        spans = blocks_in(0, agents)
        return sum(block.answers.size for block in draw_blocks(draws, TASKS, 0, spans))

    found, kind = {}, grouped.PINNED
    for name, grouped.PINNED in (("cvae, into pages", ""), ("cvae, into pinned memory", kind)):
        found[name] = agents * TASKS * rate(lambda _: None, work, repeats)
    grouped.PINNED = kind
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=150_000_000)
    parser.add_argument("--agents", type=int, default=4_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the records here")
    args = parser.parse_args()
    device, records = jax.devices()[0].device_kind, []
    for metric, unit, found in (
        ("bytes", "B/s", copies(args.size, args.repeats)),
        ("decisions", "1/s", drawn(args.agents, args.repeats)),
    ):
        for variant, value in found.items():
            print(f"{variant:28}{value:12.3g} {metric}/s", flush=True)
            records.append(
                {
                    "benchmark": "copies to the host",
                    "variant": variant,
                    "metric": metric,
                    "value": value,
                    "unit": unit,
                    "device": device,
                }
            )
    if args.json:
        args.json.write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    main()
