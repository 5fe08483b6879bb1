"""`ask`, which puts a question that nobody has answered yet to a fitted crowd."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from crowdllm_jax.cli.arguments import (
    Commands,
    add_margins,
    add_quiet_command,
    add_run_folder,
    add_where,
)
from crowdllm_jax.cli.outcome import Outcome
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.runtime.progress import Progress

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.table import Table


def add_ask(commands: Commands) -> None:
    """Add `ask`."""
    command = add_quiet_command(
        commands,
        "ask",
        ask,
        "ask the agents a question that nobody has answered yet",
        "The same agents, with the beliefs they have, answer new questions; nothing is fitted.\n"
        "Where people stand on a question is told by what the run knows of its own tasks (their\n"
        "texts' embedding, a language model, a table), or by some people's answers, or known\n"
        "shares.\n"
        "Prints the shares of the answers with 90% intervals and how far to trust them, and\n"
        "writes the agents' answers: agent 17 is the run's agent 17.",
        'crowdllm ask runs/anes96 "Where would you place Ross Perot?" --scale placement \\\n'
        "      --shares 4,8,13,41,20,11,3 --by education",
    )
    add_run_folder(command)
    command.add_argument(
        "question", metavar="QUESTION", nargs="*", type=tidy_name, help="what is asked"
    )
    command.add_argument(
        "--tasks",
        metavar="FILE",
        type=Path,
        help="CSV or Parquet table of questions, a row each: task (an id), text, and scale, or "
        "options (with | between) and kind; ask_if, a condition on profiles or on questions above, "
        "if only some are asked; in place of QUESTION",
    )
    _add_scale(command)
    _add_known(command)
    command.add_argument(
        "--again",
        metavar="N",
        type=_times,
        nargs="?",
        const=1,
        default=0,
        help="ask a question that the run has anew, as in a retest (3: for the third time); "
        "without it, agents answer it as they did",
    )
    add_where(command)
    add_margins(command)
    command.add_argument(
        "--by",
        metavar="ATTRIBUTE",
        type=tidy_name,
        help="tell the agents of each value of an attribute apart",
    )
    command.add_argument(
        "--agents", metavar="N", type=int, help="number of agents (default: as configured)"
    )
    command.add_argument(
        "--seed", metavar="S", type=int, help="seed of the population (default: as configured)"
    )
    command.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="folder for the agents' answers (default: one of its own in RUN/asked)",
    )


def _times(text: str) -> int:
    """How often a question is asked again."""
    try:
        return int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"'{text}' is no number; put the question before it (\"{text}\" --again), or say how "
            "often it is asked again (--again 2)"
        ) from error


def _add_scale(command: argparse.ArgumentParser) -> None:
    """Take how questions are answered."""
    command.add_argument(
        "--scale",
        metavar="NAME",
        type=tidy_name,
        help="the run's scale on which it is answered (default: its only one)",
    )
    command.add_argument(
        "--options",
        metavar="A,B,..",
        type=tidy_name,
        help="the answers that may be given, from the lowest to the highest, in place of --scale; "
        "one that holds a comma stands in quotes",
    )
    command.add_argument(
        "--kind",
        choices=("ordinal", "nominal", "binary", "continuous"),
        help="of --options: nominal if they have no order; continuous if they are the ends of a "
        "range (default: ordinal, or binary if there are two)",
    )
    command.add_argument(
        "--alternatives",
        metavar="FILE",
        type=Path,
        help="CSV or Parquet table of options to choose among, a row each: task (unless there is "
        "one choice alone), level (the option's name) and what the study's own options are "
        "described by; in place of --scale, and with one QUESTION or none",
    )


def _add_known(command: argparse.ArgumentParser) -> None:
    """Take what is known of the questions beside their texts."""
    command.add_argument(
        "--answers",
        metavar="FILE",
        type=Path,
        help="CSV or Parquet table of some people's answers to the questions: task, response, and "
        "perhaps people (how many a row stands for)",
    )
    command.add_argument(
        "--shares",
        metavar="P,P,..",
        help="known shares of a single question's answers, lowest first, such as a published "
        "survey's",
    )
    command.add_argument(
        "--people",
        metavar="N",
        type=float,
        help="how many people's --shares these are (default: 1000)",
    )
    command.add_argument(
        "--embedder",
        metavar="MODEL",
        help="what the run's texts were embedded with (a folder or hub id), where their table does "
        "not say",
    )


def ask(arguments: argparse.Namespace, progress: Progress) -> Outcome:
    """Put new questions to a run's agents."""
    from crowdllm_jax.profiles.where import margins_of
    from crowdllm_jax.runtime.named import named
    from crowdllm_jax.workflow.ask_written import ask_run
    from crowdllm_jax.workflow.asking import Asking

    several = (arguments.tasks is not None) + bool(arguments.question)
    if several == 2 or (several == 0 and arguments.alternatives is None):
        raise CrowdError(
            'ask: give a question in quotes ("..."), or a table of them (--tasks FILE)'
        )
    options = arguments.options
    asking = Asking(
        scale=arguments.scale,
        options=None if options is None else named("--options", [options]),
        kind=arguments.kind,
        alternatives=arguments.alternatives,
        answers=arguments.answers,
        shares=arguments.shares,
        people=arguments.people,
        embedder=arguments.embedder,
        again=arguments.again,
        where=arguments.where,
        margins=None if arguments.margins is None else margins_of(arguments.margins),
        by=arguments.by,
    )
    answered, folder = ask_run(
        arguments.run,
        arguments.tasks or arguments.question,
        asking,
        arguments.out,
        agents=arguments.agents,
        seed=arguments.seed,
        progress=progress,
    )
    whom = f", {arguments.where}" if arguments.where else ""
    whom += ", of another population" if arguments.margins else ""
    return Outcome(
        text="\n".join(answered.notes),
        table=_table(answered.table, f"What agents answer{whom}"),
        written={"agents' answers": folder},
        data={"answers": answered.table.to_pylist(), "notes": list(answered.notes)},
    )


def _table(answers: "pa.Table", title: str) -> "Table":
    """The shares and means of each question (and group), with their intervals."""
    from rich.markup import escape
    from rich.table import Table

    by = [name for name in answers.column_names[1:2] if name != "answer"]
    shown = Table(title=title, title_justify="left")
    shown.add_column("question", max_width=40)
    for name in (*by, "answer"):
        shown.add_column(escape(name))
    for name in ("share", "90% interval", "as many people"):
        shown.add_column(name, justify="right", no_wrap=True)
    before: list[str] = []
    for row in answers.to_pylist():
        heads = [row["task_id"], *(row[name] for name in by)]
        if before and heads[0] != before[0]:
            shown.add_section()
        new = [head if heads[: i + 1] != before[: i + 1] else "" for i, head in enumerate(heads)]
        unit = "{:.2f}" if row["answer"] == "(mean)" else "{:.0%}"
        share, low, high = (unit.format(row[name]) for name in ("share", "low", "high"))
        people = "–" if row["people"] != row["people"] else f"{row['people']:,.0f}"
        shown.add_row(*map(escape, (*new, row["answer"])), share, f"{low} to {high}", people)
        before = heads
    return shown
