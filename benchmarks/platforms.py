"""The same agents on an accelerator and on this machine's processor.

    JAX_PLATFORMS=cuda,cpu python benchmarks/platforms.py [--json FILE]

Agents have the same random words everywhere, and what decides their answers is float32 arithmetic;
processors round sums, exponentials and logarithms each in their own way. How many answers hang on
that is counted here: crowds of the published and of the persistent model are drawn on both, from
the same weights and the same seed. On the accelerator itself not one may differ, whatever the size
of the blocks. Without an accelerator there is nothing to compare.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
from crowds import make_crowd

from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.population.drawers import _drawer
from crowdllm_jax.population.grouped import GroupedDrawer
from crowdllm_jax.population.sample import draw_blocks
from crowdllm_jax.study.records import Attribute

MODELS = {
    "cvae": CvaeConfig(),
    "persistent, 2 dimensions": PersistentConfig(latent=2),
    "persistent, 16 dimensions": PersistentConfig(latent=16),
}
SPAN = 8192


def drawn_on(
    device: jax.Device, crowd: Crowd, agents: int, *, small: bool = False
) -> tuple[list[tuple[Attribute, ...]], np.ndarray]:
    """Profiles by block, and answers (N, T), of agents whose every number is made on a device;
    `small`: in as small blocks as it ever draws together."""
    with jax.default_device(device):
        spans = [(first, SPAN) for first in range(0, agents, SPAN)]
        draw = _drawer(crowd, device)
        if small and isinstance(draw, GroupedDrawer):
            draw = replace(draw, sizes=draw.sizes[:1])
        blocks = list(draw_blocks([draw], len(crowd.task_ids), 0, spans))
    return [block.profile for block in blocks], np.concatenate([b.answers for b in blocks])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=1 << 19)
    parser.add_argument("--tasks", type=int, default=300)
    parser.add_argument("--json", type=Path, help="write the records here")
    args = parser.parse_args()
    device, host = jax.devices()[0], jax.devices("cpu")[0]
    if device.platform == "cpu":
        raise SystemExit("JAX has no accelerator here (JAX_PLATFORMS=cuda,cpu asks for both)")
    print(f"{args.agents} agents x {args.tasks} tasks on {device.device_kind} and on a CPU")
    records: list[dict[str, object]] = []
    for name, config in MODELS.items():
        made = make_crowd(config, tasks=args.tasks)
        crowd = replace(made, params=jax.device_get(made.params))
        profiles, answers = drawn_on(device, crowd, args.agents)
        again = drawn_on(device, crowd, args.agents, small=True)[1]
        if not np.array_equal(answers, again):
            raise SystemExit(f"{name}: agents answer otherwise in smaller blocks")
        same_profiles, expected = drawn_on(host, crowd, args.agents)
        for one, two in zip(profiles, same_profiles, strict=True):
            for mine, other in zip(one, two, strict=True):
                if not np.array_equal(mine.cells, other.cells):
                    raise SystemExit(f"{name}: agents have other profiles on {device.device_kind}")
        unlike = answers != expected
        far = np.abs(answers.astype(int) - expected)[unlike].max(initial=0)
        found = {
            "answers that differ": float(unlike.mean()),
            "agents with one": float(unlike.any(1).mean()),
        }
        shown = ", ".join(f"{metric} {value:.2g}" for metric, value in found.items())
        print(f"{name:26} {shown}; by {far} level at most; profiles equal", flush=True)
        records += [
            {
                "benchmark": "platforms",
                "variant": name,
                "metric": metric,
                "value": value,
                "unit": "1",
                "device": device.device_kind,
            }
            for metric, value in found.items()
        ]
    if args.json:
        args.json.write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    main()
