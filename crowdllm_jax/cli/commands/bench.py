"""`bench`, which runs the repository's benchmarks."""

import argparse
from pathlib import Path

from crowdllm_jax.cli.arguments import Commands, add_quiet_command
from crowdllm_jax.cli.outcome import Outcome
from crowdllm_jax.runtime.progress import Progress


def add_bench(commands: Commands) -> None:
    """Add `bench`."""
    command = add_quiet_command(
        commands,
        "bench",
        bench,
        "measure speed against torch and this machine's ceilings",
        "Run the benchmark scripts of the repository (a few minutes each) and print what they\n"
        "measured as one table, shares of the measured ceilings included. They need the extra\n"
        "`benchmarks`: pip install 'crowdllm-jax[benchmarks]'.",
        "crowdllm bench --only population --out bench",
    )
    command.add_argument(
        "--folder",
        metavar="DIR",
        type=Path,
        default=Path("benchmarks"),
        help="the repository's folder of benchmarks (default: ./benchmarks)",
    )
    command.add_argument(
        "--only",
        metavar="NAME",
        action="append",
        default=[],
        help="population, writing, training, aggregate or backbone; may be given several times",
    )
    command.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        default=Path("bench"),
        help="folder for the records, a JSON file per benchmark (default: ./bench)",
    )


def bench(arguments: argparse.Namespace, progress: Progress) -> Outcome:
    """Run benchmarks and show what they measured."""
    import msgspec

    from crowdllm_jax.cli.bench import run_benchmarks
    from crowdllm_jax.cli.terminal import benchmarks_of

    records = run_benchmarks(arguments.folder, arguments.out, arguments.only, progress)
    data = {"measured": [msgspec.to_builtins(record) for record in records]}
    return Outcome(table=benchmarks_of(records), written={"records": arguments.out}, data=data)
