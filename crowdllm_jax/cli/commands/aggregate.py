"""`aggregate`, which says what a crowd decides."""

import argparse
from pathlib import Path

from crowdllm_jax.cli.arguments import (
    TABLE,
    Commands,
    add_processes,
    add_quiet_command,
    add_table_out,
    add_where,
)
from crowdllm_jax.cli.outcome import Outcome, tabled
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.runtime.progress import Progress


def add_aggregate(commands: Commands) -> None:
    """Add `aggregate`."""
    command = add_quiet_command(
        commands,
        "aggregate",
        aggregate,
        "what a crowd decides",
        "Aggregate the answers of a population (or its counts, or a study's real people) to one\n"
        "row per task, print it, and write it where --out says. Rules:\n"
        "  summary       mean with an interval that does not shrink with the number of agents,\n"
        "                most frequent answer; ballots' totals (approvals, Borda points, points)\n"
        "  dawid-skene   the true answer, inferred with everybody's way to err, and confidence\n"
        "  greedy        projects funded by votes, while the budget lasts\n"
        "  equal-shares  projects funded so that every voter decides on the same part of it",
        "crowdllm aggregate runs/votes/population --rule equal-shares --costs projects.csv \\\n"
        "      --budget 60000 --columns project_id,cost",
        TABLE,
    )
    add_processes(command)
    command.add_argument(
        "path",
        metavar="PATH",
        type=Path,
        help="folder that `crowdllm sample` wrote, or a study or configuration (YAML)",
    )
    command.add_argument(
        "--rule",
        choices=("summary", "dawid-skene", "greedy", "equal-shares"),
        default="summary",
        help="(default: summary)",
    )
    command.add_argument(
        "--data", metavar="DIR", help="folder of the study's tables, where PATH is a study"
    )
    add_where(command)
    _add_budget(command)
    add_table_out(command)


def _add_budget(command: argparse.ArgumentParser) -> None:
    """Take what a rule needs that spends a budget on projects."""
    command.add_argument(
        "--costs",
        metavar="FILE",
        type=Path,
        help="CSV or Parquet table of the projects' costs (greedy, equal-shares)",
    )
    command.add_argument(
        "--columns",
        metavar="TASK,COST",
        type=tidy_name,
        default="task_id,cost",
        help="its columns with the projects' ids and costs; a name that holds a comma stands in "
        "quotes (default: task_id,cost)",
    )
    command.add_argument("--budget", metavar="B", type=float, help="what there is to spend")
    command.add_argument(
        "--worth",
        choices=("cost", "votes"),
        default="cost",
        help="what a funded project is worth to a voter: votes x cost, or votes (default: cost)",
    )


def aggregate(arguments: argparse.Namespace, progress: Progress) -> Outcome:
    """Aggregate a crowd's answers to one row per task."""
    from crowdllm_jax.aggregate.decide import check_table, decide, read_costs
    from crowdllm_jax.runtime import processes

    rule = arguments.rule
    if arguments.out is not None:
        check_table(arguments.out)
    costs = None
    if rule in ("greedy", "equal-shares"):
        if arguments.costs is None or arguments.budget is None:
            raise CrowdError(f"--rule {rule}: give --costs FILE and --budget B, too")
        costs = read_costs(arguments.costs, arguments.columns)
    elif arguments.costs is not None or arguments.budget is not None:
        raise CrowdError(
            f"--rule {rule}: takes no --costs and no --budget; give --rule greedy or "
            "--rule equal-shares"
        )
    table = decide(
        arguments.path,
        rule,
        data=arguments.data,
        costs=costs,
        budget=arguments.budget,
        worth=arguments.worth,
        where=arguments.where,
        progress=progress,
    )
    # Of several processes, each of which has the whole table, the first writes it.
    return tabled(table, rule, arguments.out if processes.rank() == 0 else None)
