"""`run` and `fit`, which begin or continue a run; `evaluate` and `report`, which take one up."""

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from crowdllm_jax.cli.arguments import (
    Commands,
    add_config,
    add_processes,
    add_quiet_command,
    add_run_folder,
    changes,
)
from crowdllm_jax.cli.outcome import Outcome
from crowdllm_jax.runtime.progress import READ, Progress, stage

if TYPE_CHECKING:
    from crowdllm_jax.runs.prepare import Splits
    from crowdllm_jax.score.finding import Finding
    from crowdllm_jax.score.metrics import Score


def add_run(commands: Commands) -> None:
    """Add `run`."""
    command = add_quiet_command(
        commands,
        "run",
        run,
        "study to report in one go",
        "Load a study, fit a crowd, write a population, score it on held-out answers and write a\n"
        "report, all in one run folder: config.yaml, population/, scores.json, report.html.\n"
        "Started again after an interruption, it continues.",
        "crowdllm run configs/offensiveness.yaml --data my/data --seeds 5 --out runs/mine",
    )
    _add_beginning(command)


def add_fit(commands: Commands) -> None:
    """Add `fit`."""
    command = add_quiet_command(
        commands,
        "fit",
        fit,
        "only train the models of a run",
        "Load a study and train the crowd and the VAE-only baseline into a run folder.\n"
        "Interrupted, it continues from the last epoch.",
        "crowdllm fit configs/anes96.yaml --set train.epochs=80 --out runs/long",
    )
    _add_beginning(command)


def _add_beginning(command: argparse.ArgumentParser) -> None:
    """Take what a run is begun with."""
    add_config(command)
    command.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="run folder (default: runs/ and the configuration's name); a folder "
        "that holds part of this very run is continued",
    )
    command.add_argument(
        "--seeds",
        metavar="N",
        type=int,
        help="repeat with N splits and initial weights (replaces seeds)",
    )
    add_processes(command)


def run(arguments: argparse.Namespace, progress: Progress) -> Outcome:
    """Do everything in a folder."""
    from crowdllm_jax.cli.terminal import scoreboard_of
    from crowdllm_jax.runs.config import load_config
    from crowdllm_jax.runs.folder import main_model, run_facts
    from crowdllm_jax.workflow import steps

    config = load_config(arguments.config, changes(arguments), arguments.data)
    folder = _folder(arguments)
    scores = steps.run(config, folder, progress)
    files = {"report": "report.html", "population": "population", "scores": "scores.json"}
    written: dict[str, Path | str] = {heading: folder / name for heading, name in files.items()}
    facts = run_facts(folder)
    headings = {"reference_spent": "asked", "held_out": "held out"}
    written |= {heading: facts[fact] for fact, heading in headings.items() if fact in facts}
    if scores and config.split.by == "answers":
        written |= _answers_in_short(scores)
    elif scores:
        written |= _in_short(scores, steps.findings(folder), main_model(config))
    # Of several processes only the first has scores, and speaks.
    return Outcome(table=scoreboard_of(scores) if scores else None, written=written)


def fit(arguments: argparse.Namespace, progress: Progress) -> Outcome:
    """Only fit the models."""
    from crowdllm_jax.runs.config import load_config
    from crowdllm_jax.runs.folder import start_run
    from crowdllm_jax.workflow import steps

    config = load_config(arguments.config, changes(arguments), arguments.data)
    folder = _folder(arguments)
    with start_run(folder, config, progress) as splits:
        steps.fit_run(folder, splits)
    return Outcome(written={"fitted": folder})


def _folder(arguments: argparse.Namespace) -> Path:
    folder: Path = arguments.out or Path("runs") / arguments.config.stem
    return folder


def add_evaluate(commands: Commands) -> None:
    """Add `evaluate`."""
    command = add_quiet_command(
        commands,
        "evaluate",
        evaluate,
        "score a run's crowds on held-out answers",
        "Score every fitted crowd of a run beside the human noise ceiling and the baselines;\n"
        "prints the scoreboard and writes scores.json.",
        "crowdllm evaluate runs/anes96",
        "what is written to scores.json",
    )
    add_run_folder(command)


def evaluate(arguments: argparse.Namespace, progress: Progress) -> Outcome:
    """Score a run's crowds."""
    from crowdllm_jax.cli.terminal import scoreboard_of
    from crowdllm_jax.runs.folder import main_model
    from crowdllm_jax.workflow import steps

    folder = arguments.run
    with _splits_of(folder, progress, references=True) as splits:
        scores = steps.evaluate_run(folder, splits)
        if splits.config.split.by == "answers":
            short = _answers_in_short(scores)
        else:
            short = _in_short(scores, steps.findings(folder), main_model(splits.config))
    written = {"scores": folder / "scores.json", **short}
    data = json.loads((folder / "scores.json").read_bytes())
    return Outcome(table=scoreboard_of(scores), written=written, data=data)


def add_report(commands: Commands) -> None:
    """Add `report`."""
    command = add_quiet_command(
        commands,
        "report",
        report,
        "write report.html of a scored run",
        "Write one self-contained page: scoreboard, human and crowd histograms, training curves,\n"
        "provenance.",
        "crowdllm report runs/anes96",
    )
    add_run_folder(command)


def report(arguments: argparse.Namespace, progress: Progress) -> Outcome:
    """Write a run's page."""
    from crowdllm_jax.workflow import steps

    with _splits_of(arguments.run, progress) as splits, stage(progress, "report"):
        return Outcome(written={"report": steps.report_run(arguments.run, splits)})


@contextmanager
def _splits_of(folder: Path, progress: Progress, *, references: bool = False) -> "Iterator[Splits]":
    """The study of a run, whose folder is locked, split by split; see `open_run`."""
    from crowdllm_jax.runs.config import load_study
    from crowdllm_jax.runs.folder import open_run, stored_config
    from crowdllm_jax.runs.prepare import Splits

    with stage(progress, READ):
        study = load_study(stored_config(folder))
    with open_run(folder, study=study, references=references) as config:
        yield Splits(study, config, progress)


def _in_short(scores: "list[Score]", findings: "list[Finding]", main: str) -> dict[str, str]:
    """What the diagnostics and the scores of the run's main model say in a line each."""
    from crowdllm_jax.report.page import scoreboard
    from crowdllm_jax.report.scorecard import headline
    from crowdllm_jax.score.diagnostics import summary

    skill = dict(scoreboard(scores))[main].get("skill")
    seeds = len({score.seed for score in scores})
    return {"diagnostics": summary(findings), "in short": headline(skill, findings, seeds)}


def _answers_in_short(scores: "list[Score]") -> dict[str, str]:
    """What twins gain, and what is not told where answers are held out."""
    from crowdllm_jax.report.answers_page import headline
    from crowdllm_jax.runs.held_out_answers import LEFT_OUT

    return {"left out": LEFT_OUT, "in short": headline(scores)}
