"""How a command is added to the command line, and the arguments that several commands take."""

import argparse
from pathlib import Path
from typing import TypeAlias

from crowdllm_jax.cli.outcome import Handler
from crowdllm_jax.runtime.names import tidy_name

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""The commands of the command line, or of one of its commands."""


def add_quiet_command(
    commands: Commands,
    name: str,
    handler: Handler,
    summary: str,
    text: str,
    example: str,
    as_json: str = "what is told, and what was written where: an object",
) -> argparse.ArgumentParser:
    """Add a command that can be told to show no progress, and to print JSON; see `add_command`.

    Args:
      as_json: what --json prints.
    """
    command = add_command(commands, name, handler, summary, text, example)
    command.add_argument("--quiet", action="store_true", help="show no progress")
    command.add_argument("--json", action="store_true", help=f"print {as_json}, as JSON alone")
    return command


TABLE = "the table: a list with an object per row"
"""What --json prints where a command shows a table."""


def add_command(
    commands: Commands, name: str, handler: Handler, summary: str, text: str, example: str
) -> argparse.ArgumentParser:
    """Add a command.

    Args:
      handler: what it does; stands in the parsed arguments as `handler`.
      summary: its line in the list of commands. text: at the head of its own help.
    """
    command = commands.add_parser(
        name,
        help=summary,
        description=text,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(handler=handler)
    return command


def add_config(command: argparse.ArgumentParser) -> None:
    """Take a configuration and what may be changed in it; see `load_config`."""
    command.add_argument(
        "config",
        metavar="CONFIG",
        type=Path,
        help="configuration (YAML), such as configs/anes96.yaml",
    )
    add_data(command)
    command.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="overrides",
        help="replace one entry of the configuration, such as "
        "train.epochs=20; may be given several times",
    )


def changes(arguments: argparse.Namespace) -> tuple[str, ...]:
    """What --set and --seeds change in a configuration."""
    overrides = tuple(arguments.overrides)
    return overrides if arguments.seeds is None else (*overrides, f"seeds={arguments.seeds}")


def add_data(command: argparse.ArgumentParser) -> None:
    """Take the place of the study's tables."""
    command.add_argument(
        "--data", metavar="DIR", help="folder of the study's tables (replaces study.folder)"
    )


def add_run_folder(command: argparse.ArgumentParser) -> None:
    """Take a run's folder."""
    command.add_argument(
        "run",
        metavar="RUN",
        type=Path,
        help="run folder, made by `crowdllm run` or `crowdllm fit`",
    )


def add_level(command: argparse.ArgumentParser) -> None:
    """Take how sure intervals are."""
    command.add_argument(
        "--level",
        metavar="C",
        type=float,
        default=0.95,
        help="confidence of the intervals (default: 0.95)",
    )


def add_tasks(command: argparse.ArgumentParser, which: str) -> None:
    """Take the ids of some tasks."""
    command.add_argument(
        "--tasks",
        metavar="ID,..",
        type=tidy_name,
        action="append",
        help=f"{which}; may be given several times. An id that holds a comma is given by itself "
        "(--tasks 'Q1, part b'), or in quotes inside a list (--tasks '\"Q1, part b\",Q2')",
    )


def add_where(command: argparse.ArgumentParser) -> None:
    """Take a condition on profiles."""
    command.add_argument(
        "--where",
        metavar="CONDITION",
        help="only people (agents) who are so, such as \"age >= 60 and gender == 'woman'\"",
    )


def add_margins(command: argparse.ArgumentParser) -> None:
    """Take the shares of another population."""
    command.add_argument(
        "--margins",
        metavar="SHARES",
        help="agents of another population, with these shares (or percents): "
        '"{gender: {f: 0.52, m: 0.48}}", or a YAML file that says so',
    )


def add_processes(command: argparse.ArgumentParser) -> None:
    """Take --distributed and who the other processes are."""
    group = command.add_argument_group(
        "several processes",
        "The same command on every machine, with a folder that all share. Results do not\n"
        "depend on how many there are; docs/reliability.md shows SLURM and Kubernetes.",
    )
    group.add_argument("--distributed", action="store_true", help="be one of several processes")
    group.add_argument(
        "--coordinator",
        metavar="HOST:PORT",
        help="of process 0; leave these out where a scheduler knows",
    )
    group.add_argument("--processes", metavar="P", type=int, help="how many there are")
    group.add_argument("--process", metavar="I", type=int, help="which this is, from 0")
    group.add_argument(
        "--wait",
        metavar="SECONDS",
        type=int,
        default=25,
        help="for the others at the start (default: %(default)s)",
    )


def add_table_out(command: argparse.ArgumentParser) -> None:
    """Take a file for the table that is printed."""
    command.add_argument(
        "--out", metavar="FILE", type=Path, help="table to write, .csv or .parquet, not there yet"
    )
