"""Fit the conditions of a study, and measure each crowd on what was held out.

Trainings of the published model run together in one program wherever they share its shapes
(`cvae.fit.fit_many`); persistent ones, whose programs depend on the data, run one after another.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from crowdllm_jax.errors import CrowdWarning
from crowdllm_jax.experiments.results import Condition
from crowdllm_jax.model.crowd import Crowd, ModelConfig, kind, numbers_of
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.cvae.epoch import Program
from crowdllm_jax.model.cvae.fit import Run, TrainConfig, fit_many, shapes
from crowdllm_jax.model.fit import Prepared, cvae_crowd, cvae_run, fit_model
from crowdllm_jax.population.sample import sample
from crowdllm_jax.profiles.generator import ProfileGenerator
from crowdllm_jax.runs.config import Config
from crowdllm_jax.runs.evaluate import SCORED_AGENTS
from crowdllm_jax.runs.folder import models_of
from crowdllm_jax.runtime.progress import Progress
from crowdllm_jax.score.ceiling import score_humans
from crowdllm_jax.score.held_out import held_out
from crowdllm_jax.score.metrics import measure_crowd
from crowdllm_jax.study.records import Attribute, Study


@dataclass(frozen=True)
class Job:
    """One condition to be fitted with one seed."""

    condition: Condition
    prepared: Prepared
    model: ModelConfig
    train: TrainConfig
    seed: int

    @property
    def label(self) -> str:
        """What its progress is called."""
        return f"{', '.join(self.condition)} (seed {self.seed})"


def studied_models(config: Config, study: Study) -> dict[str, ModelConfig]:
    """The configured model, and the published one beside it where it can answer."""
    models = models_of(config, study)
    models.pop("vae_only", None)
    if "cvae" in config.models and "cvae" not in models:
        warnings.warn(
            "the published model (cvae) cannot answer on a nominal scale; its rows are left out",
            CrowdWarning,
            stacklevel=2,
        )
    return models


def fit_all(jobs: Sequence[Job], progress: Progress) -> list[Crowd]:
    """Fit every job; the crowds stand in the jobs' order."""
    crowds: dict[int, Crowd] = {}
    together: dict[Program, list[tuple[int, Run]]] = {}
    for index, job in enumerate(jobs):
        if isinstance(job.model, CvaeConfig):
            run = cvae_run(job.prepared, job.model, job.train, job.seed)
            together.setdefault(shapes(run), []).append((index, run))
    for number, (_, members) in enumerate(together.items(), 1):
        many = f" {number} of {len(together)}" if len(together) > 1 else ""
        stage = f"fit {len(members)} cvae together{many}"
        most = max(run.config.epochs for _, run in members)

        def on_epoch(epoch: int, _losses: np.ndarray, stage: str = stage, most: int = most) -> None:
            progress(stage, epoch, most)

        fitted = fit_many([run for _, run in members], on_epoch=on_epoch)
        for (index, run), outcome in zip(members, fitted, strict=True):
            crowds[index] = cvae_crowd(jobs[index].prepared, run, outcome)
        # Early stopping may end all of them before the last epoch.
        progress(stage, most, most)
    alone = [index for index in range(len(jobs)) if index not in crowds]
    for done, index in enumerate(alone):
        job = jobs[index]
        stage = f"fit {len(alone)} {kind(job.model)}"

        def on_step(
            _name: str, step: int, total: int, stage: str = stage, done: int = done
        ) -> None:
            progress(stage, done * total + step, len(alone) * total)

        crowds[index] = fit_model(
            job.prepared, job.model, job.train, job.seed, None, on_step, job.label
        )[0]
    return [crowds[index] for index in range(len(jobs))]


def drawn(crowd: Crowd, config: Config, tasks: np.ndarray) -> np.ndarray:
    """(N, T) answers of the agents that stand for a crowd, on the scales of some tasks."""
    agents = min(config.population.agents, SCORED_AGENTS)
    return numbers_of(crowd, sample(crowd, agents, config.population.seed).answers)[:, tasks]


def measured(prepared: Prepared, values: np.ndarray) -> dict[str, float]:
    """All measures of (N, every task) answers."""
    humans = held_out(prepared.study, prepared.split)
    return measure_crowd(humans, values[:, humans.tasks])


def measured_crowd(prepared: Prepared, crowd: Crowd, config: Config) -> dict[str, float]:
    """All measures of a fitted crowd."""
    return measured(prepared, drawn(crowd, config, np.arange(len(prepared.study.tasks.ids))))


def ceiling(prepared: Prepared, seed: int) -> dict[str, float]:
    """What the people's own distributions would score; see `ceiling.score_humans`."""
    scores = score_humans(held_out(prepared.study, prepared.split), seed)
    return {score.metric: score.value for score in scores if np.isfinite(score.value)}


def with_attributes(prepared: Prepared, names: Sequence[str]) -> Prepared:
    """The same study, of whose people only some attributes are known."""
    kept = [i for i, coding in enumerate(prepared.codings) if coding.name in names]
    people, old = prepared.study.participants, prepared.generator

    def kept_of(rows: Sequence[Attribute]) -> tuple[Attribute, ...]:
        return tuple(rows[i] for i in kept)

    generator = ProfileGenerator(
        old.generator,
        old.smoothing,
        kept_of(old.attributes),
        old.weight,
        tuple(old.values[i] for i in kept),
        tuple(old.shares[i] for i in kept),
        old.effective,
    )
    participants = replace(people, profile=kept_of(people.profile))
    return replace(
        prepared,
        study=replace(prepared.study, participants=participants),
        codings=tuple(prepared.codings[i] for i in kept),
        generator=generator,
    )
