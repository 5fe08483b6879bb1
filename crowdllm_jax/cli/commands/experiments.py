"""`study ablate` and the others, which compare crowds made in several ways."""

import argparse
from pathlib import Path
from typing import TypedDict

from crowdllm_jax.cli.arguments import Commands, add_config, add_quiet_command, changes
from crowdllm_jax.cli.outcome import Outcome
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.progress import Progress

EXPERIMENTS = {
    "ablate": "what backbone, belief and blender bring",
    "attributes": "what knowing people's attributes brings",
    "fractions": "how few people are enough",
    "size": "how the error falls with the number of agents, and where it stays",
    "sensitivity": "how much seeds, learning rates and references move the scores",
}


def add_experiments(commands: Commands) -> None:
    """Add a command for each experiment."""
    for name, summary in EXPERIMENTS.items():
        command = add_quiet_command(
            commands,
            name,
            compare,
            summary,
            f"Fit crowds anew to see {summary}.\nPrints a table and writes a folder: "
            "table.csv (a row per condition, seed and metric),\nsummary.csv, figure.svg, notes.txt "
            "and config.yaml.",
            f"crowdllm study {name} configs/anes96.yaml --seeds 5",
        )
        add_config(command)
        command.add_argument(
            "--seeds", metavar="N", type=int, help="repeat with N splits (replaces seeds)"
        )
        command.add_argument(
            "--out",
            metavar="DIR",
            type=Path,
            help="new folder (default: studies/ and the names of configuration and study)",
        )
        if name == "fractions":
            _add_fractions(command)


def _add_fractions(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--fractions",
        metavar="F,..",
        default="0.01,0.05,0.2,1",
        help="shares of the training people (default: %(default)s)",
    )
    command.add_argument(
        "--whole-reference",
        action="store_true",
        help="take the reference from all training people at every share, as a language "
        "model would give it (default: from the share's own people)",
    )


def compare(arguments: argparse.Namespace, progress: Progress) -> Outcome:
    """Make a study's crowd in several ways."""
    from crowdllm_jax.cli.terminal import results_of
    from crowdllm_jax.experiments.folder import run_study
    from crowdllm_jax.runs.config import load_config

    name = arguments.study_command
    config = load_config(arguments.config, changes(arguments), arguments.data)
    folder = arguments.out or Path("studies") / f"{arguments.config.stem}-{name}"
    options = _fractions(arguments) if name == "fractions" else _Fractions()
    results = run_study(name, config, folder, progress, **options)
    text = "\n".join(f"- {note}" for note in results.notes)
    rows: list[dict[str, object]] = [
        dict(zip(results.keys, condition, strict=True)) for condition in results.conditions
    ]
    for row, condition in zip(rows, results.conditions, strict=True):
        for metric in results.metrics:
            summary = results.summary(condition, metric)
            row[metric] = None if summary is None else {"mean": summary[0], "sd": summary[1]}
    data = {"conditions": rows, "notes": list(results.notes)}
    return Outcome(text, results_of(results), {"written": folder}, data=data)


class _Fractions(TypedDict, total=False):
    """What `fractions` alone takes."""

    shares: list[float]
    whole_reference: bool


def _fractions(arguments: argparse.Namespace) -> _Fractions:
    try:
        shares = [float(share) for share in arguments.fractions.split(",")]
    except ValueError:
        raise CrowdError(
            f"--fractions {arguments.fractions}: give numbers above 0 and at most "
            "1 with commas between, such as 0.01,0.2,1"
        ) from None
    return {"shares": shares, "whole_reference": arguments.whole_reference}
