"""What may be written behind `crowdllm study`: look at a study, or compare crowds of it."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

STUDIES = {
    "ablate": "what backbone, belief and blender bring",
    "attributes": "what knowing people's attributes brings",
    "fractions": "how few people are enough",
    "size": "how the error falls with the number of agents, and where it stays",
    "sensitivity": "how much seeds, learning rates and references move the scores",
}


def add_study(commands: Any, with_config: Callable[[argparse.ArgumentParser], None]) -> None:
    """Add `study` and its own commands to the command line's (argparse's subparsers).

    Args:
      with_config: adds a configuration and what may be changed in it.
    """
    study = commands.add_parser(
        "study",
        help="look at a study, or compare crowds made in several ways",
        description="Look at a study, or make its crowd in several ways and compare them.",
    )
    studies = study.add_subparsers(dest="study_command", required=True, metavar="COMMAND")
    check = studies.add_parser(
        "check",
        help="validate a study and say what it holds",
        description="Read a study file (or a configuration's study), refuse it with one message\n"
        "if anything is wrong, and say what it holds: people, tasks, scales, answers, missing\n"
        "cells, profile attributes. Nothing is written.",
        epilog="example:\n  crowdllm study check configs/zurich_voting.yaml --data my/data",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.add_argument("--quiet", action="store_true", help="show no progress")
    check.add_argument("path", metavar="PATH", type=Path, help="study or configuration file (YAML)")
    check.add_argument("--data", metavar="DIR", help="folder of the study's tables")
    for name, summary in STUDIES.items():
        one = studies.add_parser(
            name,
            help=summary,
            description=f"Fit crowds anew to see {summary}.\nPrints a table and writes a folder: "
            "table.csv (a row per condition, seed and metric),\nsummary.csv, figure.svg, notes.txt "
            "and config.yaml.",
            epilog=f"example:\n  crowdllm study {name} configs/anes96.yaml --seeds 5",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        with_config(one)
        one.add_argument("--quiet", action="store_true", help="show no progress")
        one.add_argument(
            "--seeds", metavar="N", type=int, help="repeat with N splits (replaces seeds)"
        )
        one.add_argument(
            "--out",
            metavar="DIR",
            type=Path,
            help="new folder (default: studies/ and the names of configuration and study)",
        )
        if name == "fractions":
            one.add_argument(
                "--fractions",
                metavar="F,..",
                default="0.01,0.05,0.2,1",
                help="shares of the training people (default: %(default)s)",
            )
            one.add_argument(
                "--whole-reference",
                action="store_true",
                help="take the reference from all training people at every share, as a language "
                "model would give it (default: from the share's own people)",
            )
