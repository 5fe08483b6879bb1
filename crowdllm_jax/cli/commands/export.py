"""`export`: a population as one file for other programs."""

import argparse
from pathlib import Path

from crowdllm_jax.cli.arguments import Commands, add_quiet_command
from crowdllm_jax.cli.outcome import Outcome
from crowdllm_jax.runtime.progress import Progress, stage


def add_export(commands: Commands) -> None:
    """Add `export`."""
    command = add_quiet_command(
        commands,
        "export",
        export,
        "write a population as one CSV, Parquet or SPSS file",
        "Write the agents of a population, their profiles and answers, into one file: .csv (in\n"
        "which no text can be taken for a formula), .parquet or .sav (with value labels). It\n"
        "says in a column, and in a note, that it is synthetic.",
        "crowdllm export runs/anes96 --out agents.csv",
    )
    command.add_argument(
        "population",
        metavar="POPULATION",
        type=Path,
        help="folder that `crowdllm sample` wrote, or a run's folder",
    )
    command.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        required=True,
        help="file that ends in .csv, .parquet or .sav, not there yet",
    )
    command.add_argument(
        "--layout",
        choices=("wide", "long"),
        default="wide",
        help="a row per agent, or a row per decision (default: wide)",
    )
    command.add_argument("--agents", metavar="N", type=int, help="only the first N agents")


def export(arguments: argparse.Namespace, progress: Progress) -> Outcome:
    """Write a population as one file."""
    from crowdllm_jax.population.export import export_population

    with stage(progress, "export"):
        files = export_population(
            arguments.population,
            arguments.out,
            layout=arguments.layout,
            agents=arguments.agents,
        )
    return Outcome(written=dict(zip(("exported", "note"), files, strict=False)))
