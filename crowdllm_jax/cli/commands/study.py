"""`study`: look at a study (`check`), or compare crowds of it."""

import argparse
from pathlib import Path

from crowdllm_jax.cli.arguments import Commands, add_quiet_command
from crowdllm_jax.cli.commands.experiments import add_experiments
from crowdllm_jax.cli.outcome import Outcome
from crowdllm_jax.runtime.progress import READ, Progress, stage


def add_study(commands: Commands) -> None:
    """Add `study` and its own commands."""
    study = commands.add_parser(
        "study",
        help="look at a study, or compare crowds made in several ways",
        description="Look at a study, or make its crowd in several ways and compare them.",
    )
    study_commands = study.add_subparsers(dest="study_command", required=True, metavar="COMMAND")
    _add_check(study_commands)
    add_experiments(study_commands)


def _add_check(commands: Commands) -> None:
    command = add_quiet_command(
        commands,
        "check",
        check,
        "validate a study and say what it holds",
        "Read a study file (or a configuration's study), refuse it with one message\n"
        "if anything is wrong, and say what it holds: people, tasks, scales, answers, missing\n"
        "cells, profile attributes. Nothing is written.",
        "crowdllm study check configs/zurich_voting.yaml --data my/data",
    )
    command.add_argument(
        "path", metavar="PATH", type=Path, help="study or configuration file (YAML)"
    )
    command.add_argument("--data", metavar="DIR", help="folder of the study's tables")


def check(arguments: argparse.Namespace, progress: Progress) -> Outcome:
    """Say what a study holds."""
    from crowdllm_jax.runs.config import load_study
    from crowdllm_jax.study import scale_text
    from crowdllm_jax.study.describe import describe

    with stage(progress, READ):
        study = load_study(arguments.path, arguments.data)
    people = study.participants
    data = {
        "study": study.name,
        "participants": len(people.ids),
        "tasks": len(study.tasks.ids),
        "responses": len(study.task),
        "scales": {name: scale_text.describe(scale) for name, scale in study.scales.items()},
        "profile": {attribute.name: attribute.kind for attribute in people.profile},
    }
    return Outcome(describe(study), data=data)
