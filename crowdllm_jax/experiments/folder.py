"""What a study leaves: a folder with its table, its figure, and where both come from.

table.csv     a row per condition, seed and metric
summary.csv   mean and standard deviation over the seeds
figure.svg    the picture
notes.txt     what the table says in sentences, and the rows in plain words
config.yaml   the configuration, under a head with the command, the versions and the data's hash
"""

import importlib.metadata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.experiments import ablate, attributes, fractions, sensitivity, size
from crowdllm_jax.experiments.results import Results, summarised, tidy
from crowdllm_jax.runs.config import Config, dump_config, load_study
from crowdllm_jax.runs.prepare import ask_ahead, check_margins
from crowdllm_jax.runtime.files import check_new, new_folder, write_whole
from crowdllm_jax.runtime.progress import Progress, silent
from crowdllm_jax.runtime.version import __version__
from crowdllm_jax.score.held_out import Humans, held_out
from crowdllm_jax.score.metrics import METRICS
from crowdllm_jax.score.undefined import no_value
from crowdllm_jax.study.records import Study, fingerprint
from crowdllm_jax.study.split import split_study


def run_study(
    name: str,
    config: Config,
    out: Path,
    progress: Progress = silent,
    *,
    shares: Sequence[float] = fractions.SHARES,
    whole_reference: bool = False,
) -> Results:
    """Run one study and write its folder.

    Args:
      name: ablate, attributes, fractions, size or sensitivity.
      shares, whole_reference: of `fractions`.
    Returns:
      the results; its notes say why a measure is not defined.
    Raises:
      CrowdError: the folder holds something, or the study or configuration does not suit.
    """
    check_new(out)
    if config.split.by == "answers":
        raise CrowdError(
            "split.by: answers scores twins, in a run; experiments compare crowds on held-out "
            "tasks or people (split.by: people)"
        )
    study = load_study(config)
    check_margins(study, config)
    ask_ahead(study, config, progress)
    options = ""
    match name:
        case "ablate":
            results, draw = ablate.ablate(study, config, progress), ablate.draw
        case "attributes":
            results, draw = attributes.attributes(study, config, progress), attributes.draw
        case "fractions":
            results = fractions.fractions(
                study, config, progress, shares, whole_reference=whole_reference
            )
            draw = fractions.draw
            options = f" --fractions {','.join(f'{share:g}' for share in shares)}"
            options += " --whole-reference" if whole_reference else ""
        case "size":
            results, draw = size.size(study, config, progress), size.draw
        case "sensitivity":
            results, draw = sensitivity.sensitivity(study, config, progress), sensitivity.draw
        case _:
            raise ValueError(f"there is no study '{name}'")
    humans = held_out(study, split_study(study, config.split, 0))
    results = replace(results, notes=(*results.notes, *_notes_on_people(results, humans)))
    command = f"crowdllm study {name} THIS_FILE{options}"
    with new_folder(out) as folder:
        for file, text in _files(results, command, config, study).items():
            write_whole(folder / file, text.encode())
        write_whole(folder / "figure.svg", draw(results).encode())
    return results


def _files(results: Results, command: str, config: Config, study: Study) -> dict[str, str]:
    """Everything but the figure: {file's name: text}."""
    head = (
        f"# {command}\n"
        f"# crowdllm-jax {__version__}, jax {importlib.metadata.version('jax')}; "
        f"sha256 of the study: {fingerprint(study)}\n"
        "# Crowds are synthetic.\n"
    )
    meanings = [f"{', '.join(c)}: {text}" for c, text in results.meanings.items()]
    notes = [results.title, "", *results.notes, *([""] if results.notes else []), *meanings]
    return {
        "config.yaml": head + dump_config(config),
        "table.csv": tidy(results),
        "summary.csv": summarised(results),
        "notes.txt": "\n".join(notes).rstrip() + "\n",
    }


def _notes_on_people(results: Results, humans: Humans) -> list[str]:
    """Which measures no crowd has, and why; and that people are weighted."""
    measured = {row.metric for row in results.rows}
    notes = [
        f"{heading}: not defined ({no_value(humans, metric)})"
        for metric, heading in results.metrics.items()
        if metric in METRICS and metric not in measured
    ]
    if humans.weighted:
        notes.append("people count by survey weight")
    return notes
