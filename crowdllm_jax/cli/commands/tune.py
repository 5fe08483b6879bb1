"""`tune`, which teaches a language model how people answer."""

import argparse
from pathlib import Path

from crowdllm_jax.cli.arguments import (
    Commands,
    add_config,
    add_processes,
    add_quiet_command,
    changes,
)
from crowdllm_jax.cli.outcome import Outcome
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.progress import READ, Progress, stage


def add_tune(commands: Commands) -> None:
    """Add `tune`."""
    command = add_quiet_command(
        commands,
        "tune",
        tune,
        "tune a language model on people's answers",
        "Fit low-rank adapters of a configuration's language model (reference.kind: backbone,\n"
        "with a section reference.tune) to how training people answer the training tasks. They\n"
        "are kept in reference.tune.adapters, in the format of PEFT, and `crowdllm run` answers\n"
        "with them: a training task with adapters that have not seen its answers. The command,\n"
        "started again, continues.",
        "crowdllm tune configs/mine.yaml",
    )
    add_config(command)
    command.add_argument("--seeds", metavar="N", type=int, help="how many splits (replaces seeds)")
    add_processes(command)


def tune(arguments: argparse.Namespace, progress: Progress) -> Outcome:
    """Tune the language model of a configuration for each of its splits."""
    from crowdllm_jax.reference.backbone import BackboneReference
    from crowdllm_jax.reference.tuned import tune_reference
    from crowdllm_jax.runs.config import load_config, load_study
    from crowdllm_jax.runs.prepare import folds_in
    from crowdllm_jax.study.split import split_study

    config = load_config(arguments.config, changes(arguments), arguments.data)
    backbones = (r for r in config.every_reference if isinstance(r, BackboneReference))
    tuned = [(r, r.tune) for r in backbones if r.tune is not None]
    if not tuned:
        raise CrowdError(
            f"{arguments.config}: there is nothing to tune; it takes reference.kind: backbone and "
            "a section reference.tune ({} for the defaults)"
        )
    with stage(progress, READ):
        study = load_study(config)
    written: dict[str, Path | str] = {}
    for seed in range(config.seeds):
        for fold in folds_in(study, config):
            split = split_study(study, config.split, seed, fold)
            name = f"seed {seed}" + ("" if fold is None else f", fold {fold}")
            for reference, tuning in tuned:
                folder, losses = tune_reference(study, split, reference, tuning, progress)
                told = "; ".join(f"{before:.3f} to {after:.3f}" for before, after in losses)
                whose = name if len(tuned) == 1 else f"{name}, {reference.model}"
                written[whose] = f"{folder} (validation loss {told})" if told else folder
    return Outcome(written=written)
