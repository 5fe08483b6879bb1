"""A fitted run that is opened to be asked something new."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd import Crowd, check_crowd
from crowdllm_jax.reference.record import Reference
from crowdllm_jax.runs.config import Config, check_config, load_config, load_study
from crowdllm_jax.runs.folder import (
    crowd_folder,
    fitted_crowd,
    kept_reference,
    main_model,
    open_run,
    split_crowd,
    stored_config,
)
from crowdllm_jax.runs.prepare import folds_in
from crowdllm_jax.runtime.progress import READ, Progress, stage
from crowdllm_jax.study.records import Study, check_study
from crowdllm_jax.study.split import Split, split_study
from crowdllm_jax.study.toplines import check_people


@dataclass(frozen=True)
class OpenedRun:
    """A fitted run: its crowd, the split this was fitted to, the splits that hold tasks out, the
    reference it was fitted with, where it is kept, and its folder, where it has one."""

    crowd: Crowd
    study: Study
    config: Config
    split: Split
    held: tuple[tuple[Crowd, Split], ...]
    kept: Reference | None = None
    folder: Path | None = None


def checked(
    run: tuple[Any, ...], what: str, *, of_people: bool = False
) -> tuple[Crowd, Study, Config]:
    """A crowd with the study and the configuration that it was fitted with.

    Raises:
      CrowdError: it is not these three, or the study, which is to be `of_people`, tells of none.
    """
    if len(run) != 3:
        raise CrowdError(f"{what}: give a run's folder, or (crowd, study, config)")
    crowd, study, config = run
    check_study(study)
    if of_people:
        check_people(study)
    check_crowd(crowd)
    check_config(config)
    return crowd, study, config


@contextmanager
def opened(folder: Path, progress: Progress, data: str | None = None) -> Iterator[OpenedRun]:
    """A run's folder, locked, with its study."""
    config = stored_config(folder)
    if data is not None:
        config = load_config(folder / "config.yaml", data=data)
    with stage(progress, READ):
        study = load_study(config)
    folds = folds_in(study, config)
    with open_run(folder, study=study):
        crowd = fitted_crowd(folder)
        single = len(folds) == 1
        split = split_study(study, config.split, 0, None if single else "all")
        held: list[tuple[Crowd, Split]] = [(crowd, split)]
        if not single and config.split.by == "tasks":
            held = [
                (split_crowd(folder, fold), split_study(study, config.split, 0, fold))
                for fold in folds
            ]
        kept = kept_reference(crowd_folder(folder, 0, main_model(config)).parent.parent)
        yield OpenedRun(crowd, study, config, split, tuple(held), kept, folder)
