"""`plan`, which says whom to ask what next."""

import argparse
from pathlib import Path

from crowdllm_jax.cli.arguments import (
    Commands,
    add_level,
    add_quiet_command,
    add_run_folder,
    add_table_out,
    add_tasks,
    add_where,
)
from crowdllm_jax.cli.outcome import Outcome
from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.runtime.progress import Progress


def add_plan(commands: Commands) -> None:
    """Add `plan`."""
    command = add_quiet_command(
        commands,
        "plan",
        plan,
        "whom to ask which questions next",
        "Choose which of the study's people to ask which of its questions that they have not\n"
        "answered, so that estimates about people (`crowdllm infer --twins`) become most precise\n"
        "per answer: more answers to questions that the crowd foretells badly, and of people whom\n"
        "it does not know well. Writes a table for the field with the chance that everybody had\n"
        "to be drawn, which `crowdllm infer --plan` takes into account.",
        "crowdllm plan RUN --budget 200 --out plan.csv",
        "what is told, the questions, and what was written where: an object",
    )
    add_run_folder(command)
    _add_goal(command)
    estimand = command.add_mutually_exclusive_group()
    estimand.add_argument("--mean", action="store_true", help="for mean answers (the default)")
    estimand.add_argument(
        "--share", metavar="LEVEL", type=tidy_name, help="for the share of people who answer so"
    )
    add_tasks(command, "questions that may be asked (default: all that suit)")
    command.add_argument(
        "--people",
        metavar="FILE",
        type=Path,
        help="CSV or Parquet table of people who have answered nothing, with the study's columns "
        "of ids and profiles, who may be asked, too",
    )
    add_where(command)
    add_level(command)
    add_table_out(command)


def _add_goal(command: argparse.ArgumentParser) -> None:
    """Take what more answers are for, and how many there may be."""
    command.add_argument(
        "--budget",
        metavar="N",
        type=int,
        help="answers to be gathered, at most (default: as many as --width needs)",
    )
    command.add_argument(
        "--width",
        metavar="W",
        type=float,
        help="stop where every interval is so wide, as a part of the range of the answers "
        "(0.05: 5 percentage points of a share); default: the narrowest on average",
    )
    command.add_argument(
        "--seed", metavar="S", type=int, default=0, help="of the draw (default: 0)"
    )


def plan(arguments: argparse.Namespace, progress: Progress) -> Outcome:
    """Plan by a run whom to ask what."""
    from crowdllm_jax.aggregate.decide import check_table, write_table
    from crowdllm_jax.cli.terminal import table_of
    from crowdllm_jax.infer.plan import Goal
    from crowdllm_jax.infer.question import Estimand
    from crowdllm_jax.workflow.plan import plan as plan_by

    if arguments.out is not None:
        check_table(arguments.out)
    question = Estimand(confidence=arguments.level)
    if arguments.share is not None:
        question = Estimand("share", level=arguments.share, confidence=arguments.level)
    planned = plan_by(
        arguments.run,
        Goal(arguments.budget, arguments.width, arguments.seed),
        question,
        None if arguments.tasks is None else tuple(arguments.tasks),
        people=arguments.people,
        where=arguments.where,
        progress=progress,
    )
    if arguments.out is not None:
        write_table(planned.asks, arguments.out)
    notes = list(planned.notes)
    if arguments.out is None:
        notes.append("--out FILE writes whom to ask what.")
    return Outcome(
        text="\n".join(notes),
        table=table_of(
            planned.questions,
            f"Answers to gather, {100 * arguments.level:g}% intervals (widths in the units of the "
            "answers)",
        ),
        written={} if arguments.out is None else {"plan": arguments.out},
        data={"notes": notes, "questions": planned.questions.to_pylist()},
    )
