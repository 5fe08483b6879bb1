"""A run's folder: begun, locked, checked, and what stands where in it."""

import importlib.metadata
import io
import json
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
from filelock import FileLock, Timeout

from crowdllm_jax.errors import CrowdError, named_errors
from crowdllm_jax.model.crowd import Crowd, ModelConfig, kind
from crowdllm_jax.model.crowd_file import load_crowd
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.reference.record import Reference, Spent
from crowdllm_jax.reference.ridge import Head
from crowdllm_jax.runs.config import Config, differences, dump_config, load_config, load_study
from crowdllm_jax.runs.prepare import Splits, ask_ahead, check_margins, check_model
from crowdllm_jax.runs.references import check_references, noted_references
from crowdllm_jax.runtime import processes
from crowdllm_jax.runtime.files import make_folder, write_whole
from crowdllm_jax.runtime.progress import READ, Progress, silent, stage
from crowdllm_jax.runtime.version import __version__
from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Study, fingerprint
from crowdllm_jax.study.split import Fold, told_folds

REFERENCE = "reference.npz"


@contextmanager
def start_run(folder: Path, config: Config, progress: Progress = silent) -> Iterator[Splits]:
    """Begin or continue a run; what does not fit together is told before the folder is made."""
    with stage(progress, READ):
        study = load_study(config)
    check_model(study, config)
    check_margins(study, config)
    spent = ask_ahead(study, config, progress)
    splits = Splits(study, config, progress)
    if processes.rank() > 0:
        # The first process makes the folder for all.
        processes.meet("the run's folder")
        stored = stored_config(folder)
        if changed := _changed(stored, config):
            raise CrowdError(
                f"{folder}: process {processes.rank()} was started with another "
                f"configuration than the first (differs in {changed})"
            )
        _check_data(folder, stored, study)
        yield splits
        return
    if not (folder / "config.yaml").exists():
        splits.prepared(0, splits.folds[0])
    with open_run(folder, config, study, spent, references=True):
        processes.meet("the run's folder")
        yield splits


@contextmanager
def open_run(
    folder: Path,
    config: Config | None = None,
    study: Study | None = None,
    spent: Spent | None = None,
    *,
    references: bool = False,
) -> Iterator[Config]:
    """Lock a run folder; start it with a configuration, or make sure it is that one's.

    Args:
      spent: what the run's reference took, to be noted when the run starts.
      references: make sure that references are as they were when the run began.
    Raises:
      CrowdError: the folder is in use, is no run folder, or belongs to another configuration or
        other data.
    """
    if config is not None:
        make_folder(folder, "run", "config.yaml", (".lock",))
    elif processes.rank() > 0:  # the first process holds the lock for all
        yield stored_config(folder)
        return
    else:
        stored_config(folder)
    try:
        held = FileLock(folder / ".lock", timeout=0).acquire()
    except Timeout as error:
        raise CrowdError(f"{folder}: another crowdllm process is using it") from error
    except OSError as error:
        raise CrowdError(f"{folder}: cannot be written: {error.strerror}") from error
    with held:
        path = folder / "config.yaml"
        if config is not None and not path.exists():
            write_whole(path, dump_config(config).encode())
        stored = load_config(path)
        if config is not None and (changed := _changed(stored, config)):
            raise CrowdError(
                f"{folder}: holds a run of another configuration (differs in {changed});"
                " give --out another folder"
            )
        if study is not None:
            _check_data(folder, stored, study, spent)
            if references:
                check_references(folder, run_facts(folder), study, stored)
        yield stored


def _changed(stored: Config, config: Config) -> str:
    """In what two configurations differ besides where and how they compute, for a run may go on
    elsewhere."""
    mesh = ("reference.mesh", "reference.mesh.data", "reference.mesh.model")
    how = ("model.devices", "train.devices", *mesh, "reference.tune.recompute")
    return ", ".join([key for key in differences(stored, config) if key not in how][:5])


def stored_config(folder: Path) -> Config:
    """The configuration a run folder was made with."""
    if not (folder / "config.yaml").is_file():
        raise CrowdError(
            f"{folder}: is no run folder (no config.yaml); make one with `crowdllm run`"
        )
    return load_config(folder / "config.yaml")


def run_facts(folder: Path) -> dict[str, str]:
    """What a run was made from: versions, the data's fingerprint, what tells its references from
    others (see `noted_references`), what is held out where that is done in folds (`held_out`) and,
    where a server was asked for the reference, what that took (`reference_spent`)."""
    path = folder / "run.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except (OSError, msgspec.MsgspecError) as error:
        raise CrowdError(
            f"{path}: cannot be read; restore it, or make the run again in another folder"
        ) from error


def _check_data(folder: Path, config: Config, study: Study, spent: Spent | None = None) -> None:
    """Note the data a run was made from, or make sure they have not changed."""
    path = folder / "run.json"
    sha256 = fingerprint(study, ordered=config.split.first is not None)
    if not path.exists():
        packages = ("jax", "flax", "optax", "orbax-checkpoint", "numpy")
        facts = {
            "crowdllm_jax": __version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages},
            "study_sha256": sha256,
            **noted_references(study, config),
            **({"held_out": folds} if (folds := told_folds(study, config.split)) else {}),
            **({"reference_spent": str(spent)} if spent is not None else {}),
        }
        write_whole(path, json.dumps(facts, indent=1).encode())
    if run_facts(folder).get("study_sha256") != sha256:
        raise CrowdError(
            f"{folder}: was made from other data (the study has changed since); put the data back, "
            "or fit again into another folder (crowdllm run CONFIG --out FOLDER)"
        )


def main_model(config: Config) -> str:
    """The name of the model whose population is written."""
    return kind(config.model)


def models_of(config: Config, study: Study) -> dict[str, ModelConfig]:
    """The models a run fits, the configured one first.

    Beside another model stands the published one, and beside that the same without a reference
    (VAE-only); `config.models` leaves them out. The published model cannot answer on nominal
    scales, so a study that has one is fitted without it; nor has it twins to be scored where
    answers are held out.
    """
    models: dict[str, ModelConfig] = {main_model(config): config.model}
    if config.split.by == "answers":
        return models
    cvae = config.published
    if isinstance(config.model, CvaeConfig):
        cvae = config.model
    else:
        used = [tuple(study.scales.values())[i] for i in np.unique(study.tasks.scale)]
        if not all(map(scales.is_ordered, used)):
            return models
    if "cvae" in config.models:
        models["cvae"] = cvae
    if "vae_only" in config.models and not cvae.constant_reference:
        models["vae_only"] = msgspec.structs.replace(cvae, constant_reference=True)
    return models


def fitted_crowd(folder: Path) -> Crowd:
    """The first seed's crowd of the configured model; with folds, the one fitted to all.

    Raises:
      CrowdError: the folder is no run folder, or nothing is fitted in it yet.
    """
    return split_crowd(folder, None)


def split_crowd(folder: Path, fold: Fold) -> Crowd:
    """The configured model's crowd of one of the first seed's splits; see `fitted_crowd`."""
    source = crowd_folder(folder, 0, main_model(stored_config(folder)), fold)
    if not source.exists():
        raise CrowdError(f"{folder}: nothing is fitted yet; run `crowdllm fit` first")
    return load_crowd(source)


def crowd_folder(folder: Path, seed: int, model: str, fold: Fold = None) -> Path:
    """Where a run keeps a fitted crowd."""
    fold_name = f"fold-{fold}" if isinstance(fold, int) else ""
    return folder / f"seed-{seed}" / fold_name / model / "crowd"


def keep_reference(folder: Path, reference: Reference) -> None:
    """Keep a reference that was learnt beside the crowds of a split, for tasks asked later."""
    if not reference.heads:
        return
    sink = io.BytesIO()
    probs = np.zeros((0, 0)) if reference.probs is None else reference.probs
    heads = np.array(reference.heads)
    np.savez(sink, kind=reference.kind, mean=reference.mean, probs=probs, heads=heads)
    write_whole(folder / REFERENCE, sink.getvalue())


def kept_reference(folder: Path) -> Reference | None:
    """The reference that a split's crowds were fitted with; None where none was kept."""
    path = folder / REFERENCE
    if not path.is_file():
        return None
    with named_errors(path, "cannot be read", OSError, ValueError, KeyError, remedy="delete it"):
        arrays = np.load(path)
        probs = arrays["probs"] if arrays["probs"].size else None
        heads = tuple(Head(float(rate), int(penalty)) for rate, penalty in arrays["heads"])
        kind = str(arrays["kind"]) if "kind" in arrays else "fitted"  # an earlier version's
        return Reference(kind, arrays["mean"], probs, heads=heads)
