"""`sample` and `twin`, which write agents, and `verify`, which makes sure of what was written."""

import argparse
from pathlib import Path

from crowdllm_jax.cli.arguments import (
    Commands,
    add_margins,
    add_processes,
    add_quiet_command,
    add_run_folder,
    add_where,
)
from crowdllm_jax.cli.outcome import Outcome
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.runtime.progress import Progress


def add_sample(commands: Commands) -> None:
    """Add `sample`."""
    command = add_quiet_command(
        commands,
        "sample",
        sample,
        "write a population of a fitted run",
        "Draw agents from a run's fitted crowd into Parquet parts. An agent's answers depend on\n"
        "the crowd, the seed and its id alone, so a larger population begins with the smaller\n"
        "one. With --aggregate only the answers' counts are written; the published model's agents\n"
        "need not be drawn for that, so a billion take seconds. The study's data are not needed.",
        "crowdllm sample runs/anes96 --agents 1000000 --out million",
    )
    add_processes(command)
    add_run_folder(command)
    command.add_argument(
        "--agents", metavar="N", type=int, help="number of agents (default: as configured)"
    )
    command.add_argument(
        "--seed", metavar="S", type=int, help="seed of the population (default: as configured)"
    )
    command.add_argument(
        "--layout",
        choices=("long", "wide"),
        help="a row per decision, or a row per agent with a column per task, which is quicker to "
        "ask across tasks (default: as configured)",
    )
    command.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="folder to write to (default: RUN/population, which holds the configured population;"
        " RUN/counts with --aggregate)",
    )
    command.add_argument(
        "--aggregate",
        action="store_true",
        help="write only how many agents give each answer (counts.parquet), not the agents",
    )
    add_where(command)
    add_margins(command)
    command.add_argument(
        "--by",
        metavar="ATTRIBUTE",
        type=tidy_name,
        help="with --aggregate: count each value of a profile attribute apart",
    )


def sample(arguments: argparse.Namespace, progress: Progress) -> Outcome:
    """Write a population of a run's crowd, or only its counts."""
    import msgspec

    from crowdllm_jax.profiles.where import margins_of
    from crowdllm_jax.runs.folder import open_run
    from crowdllm_jax.workflow import steps

    folder, out, where = arguments.run, arguments.out, arguments.where
    margins = None if arguments.margins is None else margins_of(arguments.margins)
    if out is None and (where is not None or margins is not None):
        flag = "--where" if where is not None else "--margins"
        raise CrowdError(f"{flag}: these are other agents than the run's; give --out DIR, too")
    with open_run(folder) as config:
        wanted = {
            name: value
            for name in ("agents", "seed", "layout")
            if (value := getattr(arguments, name)) is not None
        }
        population = msgspec.structs.replace(config.population, **wanted)
        if arguments.aggregate:
            agents, seed, by = population.agents, population.seed, arguments.by
            counts = steps.count_run(folder, agents, seed, out, by, progress, where, margins)
            return Outcome(written={"counts": counts})
        if arguments.by is not None:
            raise CrowdError("--by: counts are grouped; give --aggregate, too")
        written = steps.sample_run(folder, population, out, progress, where, margins)
        return Outcome(written={"population": written})


def add_twin(commands: Commands) -> None:
    """Add `twin`."""
    command = add_quiet_command(
        commands,
        "twin",
        twin,
        "write digital twins of people who answered a little",
        "Sample, for each person in a table, how that person would answer every task, given the\n"
        "answers the table holds. It has the columns of the run's responses and profiles; people\n"
        "may be new, tasks must be the run's, an empty response counts as none. Writes Parquet\n"
        "tables: twins, their expected answers with 90% intervals, and beliefs.",
        "crowdllm twin runs/anes96 --answers few.csv --draws 500 --out twins",
    )
    add_processes(command)
    add_run_folder(command)
    command.add_argument(
        "--answers",
        metavar="FILE",
        type=Path,
        required=True,
        help="CSV or Parquet table, one row per person and task",
    )
    command.add_argument(
        "--data",
        metavar="DIR",
        help="folder with the run's own table of participants, to take profiles from "
        "(default: profiles are columns of FILE)",
    )
    command.add_argument(
        "--witness",
        metavar="NAME=FILE",
        action="append",
        default=[],
        help="a table of what one of the run's witnesses said of these people; may be repeated",
    )
    command.add_argument(
        "--draws", metavar="N", type=int, default=200, help="twins per person (default: 200)"
    )
    command.add_argument(
        "--seed", metavar="S", type=int, default=0, help="seed of the twins (default: 0)"
    )
    command.add_argument(
        "--out", metavar="DIR", type=Path, required=True, help="folder to write, not there yet"
    )


def twin(arguments: argparse.Namespace, progress: Progress) -> Outcome:
    """Write twins of people by a run's crowd."""
    from crowdllm_jax.workflow.twins import twin_run

    for text in arguments.witness:
        if not all(text.partition("=")[::2]):
            raise CrowdError(f"--witness {text}: write it as NAME=FILE")
    twin_run(
        arguments.run,
        arguments.answers,
        arguments.out,
        data=arguments.data,
        witnesses=dict(text.split("=", 1) for text in arguments.witness),
        draws=arguments.draws,
        seed=arguments.seed,
        progress=progress,
    )
    return Outcome(written={"twins": arguments.out})


def add_verify(commands: Commands) -> None:
    """Add `verify`."""
    command = add_quiet_command(
        commands,
        "verify",
        verify,
        "make sure that what was written is still as it was",
        "Compare every file of a population, of counts, of twins, or of a whole run (its fitted\n"
        "crowds included) with the sha256 that was noted when it was written. Of a run's scores,\n"
        "which are written anew, it is seen whether they can be read. Exit code 2 and a list of\n"
        "what is damaged, missing or foreign if anything is.",
        "crowdllm verify runs/anes96",
    )
    command.add_argument("folder", metavar="FOLDER", type=Path, help="written by this program")


def verify(arguments: argparse.Namespace, progress: Progress) -> Outcome:
    """Compare files with what was noted when they were written."""
    from crowdllm_jax.population.manifest import verify as compare

    folder = arguments.folder
    count = compare(folder, lambda done, total: progress("verify", done, total))
    return Outcome(written={"whole": f"{folder}: all {count} files and fitted crowds are whole"})
