"""`infer`, which estimates about people from their answers and the crowd's."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from crowdllm_jax.cli.arguments import (
    TABLE,
    Commands,
    add_level,
    add_quiet_command,
    add_run_folder,
    add_table_out,
    add_tasks,
    add_where,
)
from crowdllm_jax.cli.outcome import Outcome, tabled
from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.runtime.progress import Progress

if TYPE_CHECKING:
    from crowdllm_jax.infer.question import Estimand


def add_infer(commands: Commands) -> None:
    """Add `infer`."""
    command = add_quiet_command(
        commands,
        "infer",
        infer,
        "estimates about people, with valid intervals",
        "Estimate a mean, a share or regression coefficients from the answers that a run held out\n"
        "and its crowd (prediction-powered inference). The crowd's predictions are corrected by\n"
        "these people's answers; where they are good the interval is narrower than that of the\n"
        "people alone, and agents do not count as people. effective_people says how many people's\n"
        "answers alone would do as well.",
        "crowdllm infer runs/anes96 --share Dole --tasks vote",
        TABLE,
    )
    add_run_folder(command)
    _add_estimand(command)
    command.add_argument(
        "--profiles",
        metavar="FILE",
        type=Path,
        help="CSV or Parquet table of real people's profiles, a row each, such as a census sample "
        "(default: the study's people who give no held-out answer)",
    )
    command.add_argument(
        "--weight", metavar="COLUMN", type=tidy_name, help="survey weights in FILE"
    )
    command.add_argument(
        "--plan",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="the plan by which answers were gathered, as `crowdllm plan` wrote it: people are "
        "weighted by the chance they had to be asked; of several, each by itself, first to last",
    )
    add_where(command)
    command.add_argument(
        "--twins",
        action="store_true",
        help="predict people's answers from their other answers, too, not from the profile alone "
        "(persistent model)",
    )
    add_level(command)
    add_table_out(command)


def _add_estimand(command: argparse.ArgumentParser) -> None:
    """Take what is to be estimated, and of which tasks."""
    estimand = command.add_mutually_exclusive_group()
    estimand.add_argument("--mean", action="store_true", help="mean answers (the default)")
    estimand.add_argument(
        "--share", metavar="LEVEL", type=tidy_name, help="share of people who give an answer"
    )
    estimand.add_argument(
        "--regress",
        metavar="ATTR,..",
        type=tidy_name,
        action="append",
        help="coefficients of least squares of the answer on profile attributes; listed as tasks "
        "are",
    )
    add_tasks(command, "tasks to ask of (default: all held out that suit and have enough people)")
    command.add_argument(
        "--pool",
        action="store_true",
        help="take the tasks together, each counting the same, instead of one by one",
    )


def infer(arguments: argparse.Namespace, progress: Progress) -> Outcome:
    """Estimate about people by a run."""
    from crowdllm_jax.aggregate.decide import check_table
    from crowdllm_jax.workflow.infer import Whom, infer_run

    if arguments.out is not None:
        check_table(arguments.out)
    title, estimand = _estimand(arguments)
    whom = Whom(arguments.profiles, arguments.weight, arguments.where, tuple(arguments.plan))
    table = infer_run(
        arguments.run,
        estimand,
        None if arguments.tasks is None else tuple(arguments.tasks),
        whom,
        twins=arguments.twins,
        progress=progress,
    )
    title = f"{title}, {100 * arguments.level:g}% intervals"
    notes = (table.schema.metadata or {}).get(b"notes", b"").decode()
    return replace(tabled(table, title, arguments.out), text=notes)


def _estimand(arguments: argparse.Namespace) -> "tuple[str, Estimand]":
    """What is to be estimated, in words and as it is computed."""
    from crowdllm_jax.infer.question import Estimand

    pool, level = arguments.pool, arguments.level
    if arguments.share is not None:
        title = f"Share of people who answer {arguments.share}"
        return title, Estimand("share", level=arguments.share, pool=pool, confidence=level)
    if arguments.regress is not None:
        names = tuple(arguments.regress)
        title = f"Least squares of the answer on {', '.join(names)}"
        return title, Estimand("regress", attributes=names, pool=pool, confidence=level)
    return "Mean answers", Estimand(pool=pool, confidence=level)
