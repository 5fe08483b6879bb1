"""A study made ready, and the model that is fitted to it."""

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx
from msgspec.structs import replace

from crowdllm_jax.model.caution import warn_of_new_tasks
from crowdllm_jax.model.crowd import Crowd, CvaeInputs, Inputs, ModelConfig
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.cvae.epoch import TERMS
from crowdllm_jax.model.cvae.fit import Data, Fitted, Losses, Run, TrainConfig
from crowdllm_jax.model.cvae.fit import fit as train_model
from crowdllm_jax.model.persistent.answers import gather_answers
from crowdllm_jax.model.persistent.config import ANYWHERE, MANY, NEAR, PersistentConfig
from crowdllm_jax.model.persistent.design import make_design
from crowdllm_jax.model.persistent.draw import ready_to_draw
from crowdllm_jax.model.persistent.fit import fit_marginal
from crowdllm_jax.model.persistent.start import dimensions_paid_for, starts_at_answers
from crowdllm_jax.model.persistent.witness import unwitnessed
from crowdllm_jax.profiles.generator import ProfileGenerator
from crowdllm_jax.reference.record import Reference
from crowdllm_jax.runtime.checkpoints import Checkpoints
from crowdllm_jax.runtime.precision import float32_products
from crowdllm_jax.runtime.progress import Progress
from crowdllm_jax.study.coding import Coding, encode
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.split import Split
from crowdllm_jax.study.statistics import unit


@dataclass(frozen=True)
class Prepared:
    """A study ready for training with one seed."""

    study: Study
    split: Split
    x: np.ndarray
    reference: Reference
    codings: tuple[Coding, ...]
    generator: ProfileGenerator


def fit_model(
    prepared: Prepared,
    model: ModelConfig,
    train: TrainConfig,
    seed: int,
    folder: Path | None,
    progress: Progress,
    name: str,
) -> tuple[Crowd, Losses]:
    """Fit one model; see `fit`."""
    kept = Checkpoints(folder / "checkpoint") if folder is not None else nullcontext()
    with kept as checkpoints, float32_products():
        match model:
            case PersistentConfig():
                return _fit_persistent(prepared, model, seed, checkpoints, progress, name)
            case CvaeConfig():
                return _fit_published(prepared, model, train, seed, checkpoints, progress, name)


def fit_devices(model: ModelConfig, train: TrainConfig) -> int:
    """How many devices a fit takes."""
    match model:
        case PersistentConfig():
            return model.devices
        case CvaeConfig():
            return train.devices


def completed(model: PersistentConfig, prepared: Prepared) -> PersistentConfig:
    """The configuration with its dimensions and learning rate, where it leaves them open."""
    study, split = prepared.study, prepared.split
    # Known tasks have loadings of their own: answers that are numbers say how many dimensions pay,
    # and where a fit may start. Published shares are answers of nobody twice.
    alone = split.by != "tasks" or bool(study.witnesses)
    if study.toplines or not alone or not starts_at_answers(study, split.seen):
        return replace(model, latent=model.dimensions, learning_rate=model.rate)
    latent = model.latent or dimensions_paid_for(study, split.seen)
    near = split.seen.sum() >= MANY * len(np.unique(study.task[split.seen]))
    rate = model.learning_rate or (NEAR if near else ANYWHERE)
    return replace(model, latent=latent, learning_rate=rate)


def _fit_persistent(
    prepared: Prepared,
    model: PersistentConfig,
    seed: int,
    checkpoints: Checkpoints | None,
    progress: Progress,
    name: str,
) -> tuple[Crowd, Losses]:
    study = prepared.study
    # Nothing else is chosen by validation here, so its responses serve the fit.
    part = prepared.split.seen
    known = prepared.split.by != "tasks"
    progress(f"fit {name}", 0, model.steps)
    model = completed(model, prepared)
    design = make_design(study, prepared.reference, prepared.codings, part, model, known=known)
    people, answers = gather_answers(study, prepared.codings, design, part)
    graph, params, steps = fit_marginal(
        design,
        answers,
        model,
        seed,
        checkpoints=checkpoints,
        on_step=lambda step, loss: progress(f"fit {name} (loss {loss:.3f})", step, model.steps),
    )
    losses = Losses("step", ("negative bound per person",), len(steps), steps[:, None].tolist(), [])
    if design.witnesses is not None:
        trust = np.asarray(ready_to_draw(graph, params, design).items.trust)
        absent = unwitnessed(study, design.witnesses, trust, people, answers.profile)
        design = design._replace(unwitnessed=absent)
    crowd = _crowd(prepared, model, graph, params, design)
    warn_of_new_tasks(study, crowd, prepared.reference.kind)
    return crowd, losses


def _fit_published(
    prepared: Prepared,
    model: CvaeConfig,
    train: TrainConfig,
    seed: int,
    checkpoints: Checkpoints | None,
    progress: Progress,
    name: str,
) -> tuple[Crowd, Losses]:
    progress(f"fit {name}", 0, train.epochs)
    run = cvae_run(prepared, model, train, seed)

    def on_epoch(epoch: int, losses: np.ndarray) -> None:
        held = losses[1, 0] if np.isfinite(losses[1, 0]) else losses[0, 0]
        progress(f"fit {name} (loss {held:.3f})", epoch, train.epochs)

    fitted = train_model(*run, checkpoints=checkpoints, on_epoch=on_epoch)
    # It may have stopped before the last epoch.
    progress(f"fit {name}", train.epochs, train.epochs)
    losses = Losses(
        "epoch",
        TERMS,
        fitted.best_epoch,
        fitted.history[:, 0].tolist(),
        fitted.history[:, 1].tolist(),
    )
    return cvae_crowd(prepared, run, fitted), losses


def cvae_run(prepared: Prepared, model: CvaeConfig, train: TrainConfig, seed: int) -> Run:
    """A training of the published model, ready for `cvae.fit.fit_many`."""
    study = prepared.study
    everything = np.arange(len(study.tasks.ids))
    reference = unit(study, prepared.reference.mean, everything).astype(np.float32)
    if model.constant_reference:
        reference = np.full_like(reference, 0.5)
    profile = study.participants.profile
    c = encode(prepared.codings, profile) if profile else np.zeros((len(study.participants.ids), 0))
    answer = unit(study, study.value, study.task).astype(np.float32)

    def part(mask: np.ndarray) -> Data:
        mask = mask & (study.weight > 0)
        return Data(
            x=prepared.x,
            c=c.astype(np.float32),
            reference=reference,
            person=study.person[mask],
            task=study.task[mask],
            answer=answer[mask],
            weight=study.weight[mask],
        )

    return Run(part(prepared.split.train), part(prepared.split.validation), model, train, seed)


def cvae_crowd(prepared: Prepared, run: Run, fitted: Fitted) -> Crowd:
    """The crowd of a training that `cvae_run` made ready."""
    inputs = CvaeInputs(run.train.x, run.train.reference)
    return _crowd(prepared, run.model, fitted.graph, fitted.params, inputs)


def _crowd(
    prepared: Prepared,
    model: ModelConfig,
    graph: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    inputs: Inputs,
) -> Crowd:
    study = prepared.study
    return Crowd(
        model,
        graph,
        params,
        study.tasks.ids,
        study.scales,
        study.tasks.scale,
        inputs,
        prepared.codings,
        prepared.generator,
        ask_if=study.tasks.ask_if,
    )
