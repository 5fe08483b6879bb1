"""`reference` and `embed`, which ask a language model about the tasks and write a table."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from crowdllm_jax.cli.arguments import (
    Commands,
    add_config,
    add_data,
    add_processes,
    add_quiet_command,
)
from crowdllm_jax.cli.outcome import Outcome
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.files import about
from crowdllm_jax.runtime.progress import READ, Progress, stage

if TYPE_CHECKING:
    from crowdllm_jax.backbone.questions import Question
    from crowdllm_jax.reference.make import AskedReference
    from crowdllm_jax.study.records import Study


def add_reference(commands: Commands) -> None:
    """Add `reference`."""
    command = add_quiet_command(
        commands,
        "reference",
        reference,
        "ask a language model about every task",
        "Get the reference decisions of a configuration whose reference.kind is backbone or\n"
        "endpoint, and write them as a table that `reference: {kind: column}` reads anywhere.\n"
        "Answers are kept in reference.cache as they come, so that the command, started again,\n"
        "asks only what is missing, and `crowdllm run` asks nothing twice.",
        "crowdllm reference configs/mine.yaml --show 2",
    )
    add_config(command)
    add_processes(command)
    command.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help="table to write (default: the configuration's name and -reference.parquet)",
    )
    instead = command.add_mutually_exclusive_group()
    instead.add_argument(
        "--show",
        metavar="N",
        type=int,
        help="print the first N prompts as the model sees them, and do nothing else",
    )
    instead.add_argument(
        "--dry-run",
        action="store_true",
        help="print how much there is to ask and what it may cost, and do nothing else",
    )


def reference(arguments: argparse.Namespace, progress: Progress) -> Outcome:
    """Ask a language model about every task, or look at what it would be asked."""
    if arguments.show is not None or arguments.dry_run:
        return Outcome(_look_at_reference(arguments, progress))
    import numpy as np

    from crowdllm_jax.reference.make import ask_together
    from crowdllm_jax.reference.questions import write_reference
    from crowdllm_jax.runtime import processes

    path = arguments.out or Path(f"{arguments.config.stem}-reference.parquet")
    _check_table(path, "reference")
    study, config, personas = _asked(arguments, progress)
    answered, _ = ask_together(study, config, personas, progress)
    if processes.rank() == 0:
        write_reference(study, answered, config, path)
    assert answered.mass is not None
    low, middle = np.quantile(answered.mass, [0, 0.5])
    mass = f"of the listed options, by task: median {middle:.3g}, lowest {low:.3g}"
    written: dict[str, Path | str] = {"reference": path, "answers": config.cache}
    if personas:
        written["personas"] = f"{len(personas):,} answers, in {config.cache} too"
    if answered.spent is not None:
        written["asked"] = str(answered.spent)
    return Outcome(written={**written, "option mass": mass})


def _look_at_reference(arguments: argparse.Namespace, progress: Progress) -> str:
    from crowdllm_jax.reference.make import plan_reference, show_reference

    if arguments.show is not None and arguments.show < 1:
        raise CrowdError(f"--show {arguments.show}: give a number of prompts, 1 or more")
    study, config, personas = _asked(arguments, progress)
    if arguments.dry_run:
        return plan_reference(study, config, personas)
    return show_reference(study, config, personas, arguments.show)


def _asked(
    arguments: argparse.Namespace, progress: Progress
) -> "tuple[Study, AskedReference, list[Question]]":
    """The study, the language model that a configuration asks about it, and what it is asked as
    personas."""
    from crowdllm_jax.reference.make import AskedReference
    from crowdllm_jax.runs.config import load_config, load_study
    from crowdllm_jax.runs.prepare import persona_questions

    config = load_config(arguments.config, tuple(arguments.overrides), arguments.data)
    if not isinstance(config.first_reference, AskedReference):
        kind = config.first_reference.__struct_config__.tag
        raise CrowdError(
            f"{arguments.config}: reference.kind is {kind}, which asks no language model; this "
            "command is for kind: backbone and kind: endpoint"
        )
    with stage(progress, READ):
        study = load_study(config)
    return study, config.first_reference, persona_questions(study, config)


def add_embed(commands: Commands) -> None:
    """Add `embed`."""
    command = add_quiet_command(
        commands,
        "embed",
        embed,
        "write embeddings of the tasks' texts",
        "Embed every task's text with a sentence encoder of the BERT family, or with a language\n"
        "model's hidden states, and write the table that `study.tasks.embedding: {path: FILE}`\n"
        "reads. The fitted reference and the crowd generalise to new tasks through it.",
        "crowdllm embed configs/mine.yaml --model sentence-transformers/all-MiniLM-L6-v2",
    )
    command.add_argument("path", metavar="STUDY", type=Path, help="study file or configuration")
    command.add_argument(
        "--model", metavar="MODEL", required=True, help="a Hugging Face folder or hub id"
    )
    command.add_argument("--revision", metavar="NAME", help="branch, tag or commit of a hub id")
    command.add_argument(
        "--layer",
        metavar="N",
        help="of a language model: after how many layers (default: a third of them); several "
        "(8,10,15), or auto for a few, are written side by side for the study to choose from",
    )
    command.add_argument(
        "--before",
        metavar="TEXT",
        default="",
        help="of a language model: what stands in front of every text, such as the question that "
        "people answer about it",
    )
    add_data(command)
    command.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help="table to write (default: the study file's name and -embeddings.parquet)",
    )


def embed(arguments: argparse.Namespace, progress: Progress) -> Outcome:
    """Write the embeddings of a study's tasks."""
    from crowdllm_jax.reference.task_embeddings import embed_study, read_layers
    from crowdllm_jax.runs.config import load_study

    path = arguments.out or Path(f"{arguments.path.stem}-embeddings.parquet")
    _check_table(path, "layers")
    layers = read_layers(arguments.layer) if arguments.layer else None
    # The file that is named as the study's embedding may be the one that is to be written.
    with stage(progress, READ):
        study = load_study(arguments.path, arguments.data, embedding=False)
    widths = embed_study(
        study,
        arguments.model,
        path,
        layers=layers,
        before=f"{arguments.before.strip()}\n\n" if arguments.before.strip() else "",
        revision=arguments.revision,
        progress=progress,
    )
    texts, width = len(study.tasks.ids), next(iter(widths.values()))
    told = f"{path}: {texts:,} texts, {width:,} numbers each"
    if len(widths) > 1:
        told += f"; to choose from: study.tasks.embedding.column: [{', '.join(widths)}]"
    return Outcome(written={"embeddings": told})


def _check_table(path: Path, holds: str) -> None:
    """Raise CrowdError, before anything is asked, where a table cannot be written. One that such a
    command wrote, which says what it `holds`, is replaced; somebody else's file is not.
    """
    if path.suffix != ".parquet" or path.is_dir():
        raise CrowdError(f"--out {path}: give the name of a file that ends in .parquet")
    if path.exists() and holds not in about(path):
        raise CrowdError(
            f"{path}: is there already, and this command did not write it; nothing was asked or "
            "written. Give --out another name"
        )
