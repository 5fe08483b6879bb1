"""Compile the hot programs for accelerators that are not here, and look at what comes out.

    pip install '.[aot]'
    python benchmarks/aot.py [--chips v5e] [--parts "sample train backbone many"] [--json FILE]
    python benchmarks/aot.py --check benchmarks/results/aot-tpu.json    # fails if anything grew

For each program: bundles (`bundles.py`) and the rate that they allow at the chip's clock, bytes
written to main memory and accessed there, peak memory, collectives. "Roofline" is the time that the
chip's memory and matrix units would take at their best, as a share of the time of the bundles.
What must not be in a hot program fails the script: float64, callbacks of the host, products of
float32 in fewer bits; in a sampler, a scatter, gathers of more than a fifth of an element for each
decision, or gathers that take more than 3% of its bundles.

For GPUs, which have no compiler that works without one, programs are lowered for cuda and rocm and
held to the same rules.
"""

import argparse
import collections
import json
import math
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from bundles import dump_flags, kernels, looking_up, loop_turns, written

DUMP = Path(tempfile.mkdtemp(prefix="crowdllm-aot-"))


def without_a_tpu() -> None:
    """Before libtpu is loaded: there is none to look for, and bundles are wanted."""
    os.environ |= {
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_ACCELERATOR_TYPE": "v5litepod-4",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
        "TPU_STDERR_LOG_LEVEL": "3",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "JAX_ENABLE_COMPILATION_CACHE": "false",
        "LIBTPU_INIT_ARGS": dump_flags(DUMP),
    }


class Chip(NamedTuple):
    """A TPU: four and 32 of them, cycles, bytes and bfloat16 operations per second of one."""

    four: str
    many: str
    clock: float
    bandwidth: float
    flops: float


CHIPS = {
    "v5e": Chip("v5e:2x2", "v5e:4x8", 1.5e9, 819e9, 197e12),
    "v5p": Chip("v5p:2x2x1", "v5p:2x4x4", 1.75e9, 2765e9, 459e12),
    "v6e": Chip("v6e:2x2", "v6e:4x8", 1.75e9, 1640e9, 918e12),
}
GPUS = ("cuda", "rocm")
GATHERS, FEW_GATHERS = 0.03, 0.15
"""Share of a sampler's bundles that gathers may take, and what they may where sizes are small."""

GATHERED = 0.2
"""Elements that a sampler may look up for each decision, by its lowered program."""

COLLECTIVES = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute"
GREW = 1.05


def faults_of(program: Any, text: str) -> list[str]:
    """What must not be in a hot program, by its lowered form (StableHLO)."""
    found = faults(text)
    if not program.gathers:
        found += lookups(text, program.number)
    return found


def lookups(text: str, number: int) -> list[str]:
    """Scatters, and gathers of more than a little, in a lowered program that makes so many."""
    found = ["a scatter"] if "stablehlo.scatter" in text else []
    shapes = re.findall(r'stablehlo\.(?:dynamic_)?gather".*-> tensor<([\dx]*?)x?[a-z]+\d+>', text)
    elements = sum(math.prod(int(n) for n in shape.split("x") if n) for shape in shapes)
    if elements > GATHERED * number:
        found.append(f"gathers look up {elements / number:.2f} elements each")
    return found


def faults(text: str) -> list[str]:
    """What must not be in any lowered program (StableHLO)."""
    found = []
    if "f64>" in text:
        found.append("float64")
    if re.search(r"custom_call @\w*callback|stablehlo\.(infeed|outfeed|send|recv)\b", text):
        found.append("calls the host")
    products = re.findall(r"stablehlo\.dot_general .*xf32>, tensor<[^>]*f32>\).*", text)
    if not all("[HIGHEST, HIGHEST]" in line for line in products):
        found.append("products in fewer bits")
    return found


def devices_for(program: Any, chip: Chip) -> Any:
    """As many devices as a program needs, of a chip that is not here.

    Raises:
      RuntimeError: libtpu is not installed, or does not know it.
    """
    from jax.experimental import topologies

    name = chip.four if math.prod(program.devices or (1,)) <= 4 else chip.many
    return topologies.get_topology_desc(platform="tpu", topology_name=name).devices


def compiled_figures(program: Any, chip: Chip, gathers: float) -> tuple[dict[str, Any], list[str]]:
    """Figures of a program compiled for a chip, and what must not be in it."""
    from hot_programs import mesh_of

    kernels(DUMP)
    began = time.monotonic()
    mesh = mesh_of(program, devices_for(program, chip))
    lowered = program.trace(mesh).lower(lowering_platforms=("tpu",))
    wrong = faults_of(program, lowered.as_text())
    compiled = lowered.compile()
    seconds = time.monotonic() - began
    hlo, cost, memory = compiled.as_text(), compiled.cost_analysis(), compiled.memory_analysis()
    turns = loop_turns(hlo)
    bundles = {name: count * turns.get(name, 1) for name, count in kernels(DUMP).items()}
    total = max(1, sum(bundles.values()))
    gathering = sum(bundles.get(name, 0) for name in looking_up(hlo)) / total
    if not program.gathers:
        if gathering > gathers:
            wrong.append(f"gathers take {gathering:.1%} of the bundles")
        if looking_up(hlo, "scatter"):
            wrong.append("a scatter")
    best = max(cost["bytes accessed"] / chip.bandwidth, cost.get("flops", 0) / chip.flops)
    collectives = [
        f"{kind} {shape}"
        for shape, kind in re.findall(
            rf" = \(?(\w+\[[\d,]*\])[^=]*? ({COLLECTIVES})(?:-start)?\(", hlo
        )
    ]
    return {
        "bundles": total / program.number,
        "rate": program.number * chip.clock / total,
        "gathers": gathering,
        "written": written(hlo) / program.number,
        "accessed": cost["bytes accessed"] / program.number,
        "peak": memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        + memory.temp_size_in_bytes
        - memory.alias_size_in_bytes,
        "roofline": best / (total / chip.clock),
        "collectives": dict(collections.Counter(collectives)),
        "seconds": seconds,
        "heaviest": dict(sorted(bundles.items(), key=lambda pair: -pair[1])[:6]),
    }, wrong


def shown(name: str, unit: str, figures: dict[str, Any]) -> str:
    """One line of the table."""
    kinds: collections.Counter[str] = collections.Counter()
    for collective, count in figures["collectives"].items():
        kinds[collective.split()[0]] += count
    together = " ".join(f"{count} {kind}" for kind, count in kinds.items())
    return (
        f"{name:36} {figures['rate']:9.3g} {unit}s/s {figures['gathers']:6.1%} "
        f"{figures['written']:9.3g} {figures['accessed']:9.3g} {figures['peak'] / 2**20:9.1f} "
        f"{figures['roofline']:7.1%}  {together}"
    )


def grown(figures: dict[str, Any], before: dict[str, Any]) -> list[str]:
    """What takes more than it did."""
    return [
        f"{what} grew from {before[what]:.4g} to {figures[what]:.4g}"
        for what in ("bundles", "written", "accessed", "peak")
        if figures[what] > GREW * before[what]
    ]


def on_gpus(programs: list[Any]) -> list[str]:
    """Lower every program for GPUs; says what is in it that must not be."""
    import jax
    from hot_programs import mesh_of

    wrong = []
    for program in programs:
        traced = program.trace(mesh_of(program, jax.devices("cpu")))
        calls = set()
        for gpu in GPUS:
            text = traced.lower(lowering_platforms=(gpu,)).as_text()
            wrong += [f"{program.name} on {gpu}: {fault}" for fault in faults_of(program, text)]
            calls |= set(re.findall(r"custom_call @([\w.$]+)", text))
        print(f"{program.name:36} lowered for {', '.join(GPUS)}", *sorted(calls), flush=True)
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chips", nargs="+", choices=CHIPS, default=list(CHIPS))
    parser.add_argument("--parts", default="sample train backbone many")
    parser.add_argument("--only", default="", help="programs whose name holds this")
    parser.add_argument("--small", action="store_true", help="small sizes, as in the tests")
    parser.add_argument("--agents", type=int, help="in a block")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument(
        "--check", type=Path, help="only the programs of this file, which must not have grown"
    )
    args = parser.parse_args()
    without_a_tpu()
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=32"
    import hot_programs
    import jax

    sizes = hot_programs.SMALL if args.small else hot_programs.Sizes()
    sizes = sizes._replace(agents=args.agents or sizes.agents)
    programs = [p for p in hot_programs.hot_programs(sizes, args.parts) if args.only in p.name]
    before = json.loads(args.check.read_text()) if args.check else {}
    if before:
        programs = [p for p in programs if any(f"{chip} {p.name}" in before for chip in args.chips)]
    wrong, found = on_gpus(programs), {}
    head = f"{'rate':>9} {'':11} gather   written  accessed  peak MiB roofline"
    for name in args.chips:
        chip = CHIPS[name]
        print(f"\n{name:36} {head}")
        for program in programs:
            key = f"{name} {program.name}"
            if before and key not in before:
                continue
            try:
                figures, bad = compiled_figures(
                    program, chip, FEW_GATHERS if args.small else GATHERS
                )
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error):
                    raise
                print(f"{program.name:36} does not fit: {str(error).splitlines()[0]}", flush=True)
                if key in before:
                    wrong.append(f"{key}: does not fit")
                continue
            found[key] = figures
            wrong += [f"{key}: {fault}" for fault in bad]
            if key in before:
                wrong += [f"{key}: {fault}" for fault in grown(figures, before[key])]
            print(shown(program.name, program.unit, figures), flush=True)
            if args.json:
                args.json.write_text(json.dumps(found, indent=1) + "\n")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
