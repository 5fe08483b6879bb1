"""`explore`, which serves a page to look at a population."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from crowdllm_jax.cli.arguments import Commands, add_data, add_quiet_command, add_run_folder
from crowdllm_jax.cli.outcome import Outcome
from crowdllm_jax.runtime.progress import Progress

if TYPE_CHECKING:
    from crowdllm_jax.explore.asking import Asker


def add_explore(commands: Commands) -> None:
    """Add `explore`."""
    command = add_quiet_command(
        commands,
        "explore",
        explore,
        "look at a population on a local page",
        "Load a run's population (1 GB of memory holds a million agents' answers to 1,000 tasks)\n"
        "and serve a page, to this machine alone, on which one filters agents by profile, picks a\n"
        "question, sees the answers beside those of the held-out people of that profile, and asks\n"
        "new questions. Ctrl-C ends it.",
        "crowdllm explore runs/anes96 --open",
    )
    add_run_folder(command)
    command.add_argument(
        "--population",
        metavar="DIR",
        type=Path,
        help="folder that `crowdllm sample RUN --out DIR` wrote (default: RUN/population)",
    )
    add_data(command)
    command.add_argument(
        "--port", metavar="P", type=int, default=0, help="(default: any that is free)"
    )
    command.add_argument("--open", action="store_true", help="open the page in the browser")


def explore(arguments: argparse.Namespace, progress: Progress) -> Outcome:
    """Load a population, say where its page is, and serve it until Ctrl-C."""
    from crowdllm_jax.explore.data import explore_run
    from crowdllm_jax.explore.server import make_server, serve

    # Before the population is read, which takes a while.
    server = make_server(arguments.port)
    explored = explore_run(arguments.run, arguments.population, arguments.data, progress)

    asker = asker_of(arguments.run, arguments.data)

    def then() -> Outcome:
        serve(server, explored, asker, browse=arguments.open)
        return Outcome("ended")

    size = f"{explored.agents:,} agents, {len(explored.task_ids):,} questions"
    shown = {"population": f"{size}, {explored.bytes / 1e6:,.1f} MB in memory", "page": server.url}
    return Outcome(written={**shown, "to end it": "Ctrl-C"}, then=then)


def asker_of(run: Path, data: str | None = None) -> "Asker":
    """Who answers new questions on the page: the run's crowd, by the workflow of `ask`.

    Args:
      data: folder of the study's tables, where they have moved.
    """
    import warnings

    from crowdllm_jax.explore.asking import Asker, NewQuestion, Reply, described, reply_of
    from crowdllm_jax.runs.folder import fitted_crowd
    from crowdllm_jax.study import scales
    from crowdllm_jax.workflow.ask import ask
    from crowdllm_jax.workflow.asking import Asking

    def put(new: NewQuestion) -> Reply:
        asking = Asking(
            scale=new.scale or None,
            options=new.options or None,
            kind="nominal" if new.unordered and new.options else None,
            shares=new.shares or None,
            people=new.people,
            where=new.where,
            by=new.by or None,
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            answered = ask(run, new.question, asking, data=data)
        return reply_of(answered.table, [*answered.notes, *(str(w.message) for w in caught)])

    known = fitted_crowd(run).scales.items()
    return Asker({n: described(scale) for n, scale in known if not scales.is_joint(scale)}, put)
