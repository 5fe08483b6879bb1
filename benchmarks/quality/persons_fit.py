"""Fits and measures that the comparisons of persons share."""

import sys
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from table import Row, Table

from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.cvae.fit import TrainConfig
from crowdllm_jax.model.fit import Prepared, fit_model
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.profiles.generator import ProfilesConfig, fit_profiles
from crowdllm_jax.reference.record import Reference
from crowdllm_jax.runtime.progress import silent
from crowdllm_jax.study.coding import fit_coding
from crowdllm_jax.study.records import Attribute, Study
from crowdllm_jax.study.split import Split
from crowdllm_jax.study.statistics import ends


class Shown(Table):
    """A table whose rows are told as they are measured."""

    def add(self, name: str, measures: Row) -> None:
        tell(f"{name}: {', '.join(f'{key} {value:.4f}' for key, value in measures.items())}")
        super().add(name, measures)


class Settings(NamedTuple):
    """What the command line says of the fits."""

    latent: int | None
    steps: int
    folds: int
    folder: Path


def fitted(
    study: Study,
    train: np.ndarray,
    settings: Settings,
    by: str,
    seed: int,
    reference: Reference | None = None,
) -> Crowd:
    """The persistent crowd of some responses (R,) bool."""
    low, width = ends(study)
    people = np.unique(study.person[train])
    profile = study.participants.profile
    rows = tuple(Attribute(a.name, a.kind, a.levels, a.cells[people]) for a in profile)
    ready = Prepared(
        study,
        Split(by, train, np.zeros_like(train), ~train),
        np.zeros((len(low), 1), np.float32),
        reference or Reference("marginal", low + width / 2),
        tuple(fit_coding(attribute, people) for attribute in profile),
        fit_profiles(rows, study.participants.weight[people], ProfilesConfig()),
    )
    jax.clear_caches()
    model = PersistentConfig(latent=settings.latent, injected=0, steps=settings.steps)
    return fit_model(ready, model, TrainConfig(), seed, None, silent, "persistent")[0]


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def within(task: np.ndarray, expected: np.ndarray, value: np.ndarray) -> float:
    """Correlation within each task, averaged; 0 where the same is expected of everybody."""
    each = []
    for one in np.unique(task):
        rows = task == one
        if np.ptp(value[rows]) == 0:
            continue
        varies = expected[rows].std() > 1e-9
        each.append(np.corrcoef(expected[rows], value[rows])[0, 1] if varies else 0.0)
    return float(np.mean(each))


def rps(chance: np.ndarray, level: np.ndarray) -> float:
    below = (chance.cumsum(1) - (level[:, None] <= np.arange(chance.shape[1])))[:, :-1]
    return float((below**2).sum(1).mean())
