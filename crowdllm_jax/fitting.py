"""In memory: a study becomes a fitted crowd, and a crowd becomes scores.

`prepare` splits a study and gets its references, `fit` fits the configured crowd to its training
part, and `evaluate` scores crowds on what was held out. Folders are the business of `pipeline`.
"""

import dataclasses
import itertools
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from flax import nnx

from crowdllm_jax.backbone.prompts import Question
from crowdllm_jax.baselines import baseline_crowds, persona_crowd
from crowdllm_jax.caution import warn_of_new_tasks
from crowdllm_jax.checkpoint import Checkpoints
from crowdllm_jax.config import Config
from crowdllm_jax.correlations import score_correlations
from crowdllm_jax.encode import Coding, encode, fit_coding, task_features
from crowdllm_jax.epoch import TERMS
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.humans import Humans, held_out
from crowdllm_jax.metrics import UNDEFINED, Score, score_crowd, score_humans, score_of
from crowdllm_jax.model.crowd import Crowd, CvaeInputs, ModelConfig, numbers_of
from crowdllm_jax.model.cvae import CvaeConfig
from crowdllm_jax.model.design import Design, gather_answers, make_design
from crowdllm_jax.model.marginal import fit_marginal
from crowdllm_jax.model.persistent import PersistentConfig
from crowdllm_jax.population import check_scales, sample
from crowdllm_jax.profiles import ProfileGenerator, fit_profiles, rake
from crowdllm_jax.progress import Progress, silent
from crowdllm_jax.reference import (
    AskedReference,
    Reference,
    ask_reference,
    ask_together,
    make_reference,
)
from crowdllm_jax.reference.personas import Personas, make_personas
from crowdllm_jax.reference.record import Spent, unit
from crowdllm_jax.split import Fold, Split, folds_of, split_study
from crowdllm_jax.study import Attribute, Study
from crowdllm_jax.subgroups import score_groups
from crowdllm_jax.train import Data, Fitted, Losses, Run, TrainConfig
from crowdllm_jax.train import fit as train_model

SCORED_AGENTS = 10_000
"""Agents that stand for a crowd in the scores; more would change the last digit."""


@dataclass(frozen=True)
class Prepared:
    """A study ready for training with one seed."""

    study: Study
    split: Split
    x: np.ndarray
    reference: Reference
    codings: tuple[Coding, ...]
    generator: ProfileGenerator


@dataclass(frozen=True)
class Splits:
    """A study under a configuration, made ready split by split; each is prepared once, when it is
    first asked for."""

    study: Study
    config: Config
    progress: Progress
    _made: dict[tuple[int, Fold], Prepared] = field(default_factory=dict, repr=False)

    @property
    def folds(self) -> tuple[Fold, ...]:
        """The splits of a seed that are scored: a single one, or one for each fold."""
        return folds_in(self.study, self.config)

    def ready(self, seed: int, fold: Fold) -> Prepared:
        """What the crowds of a seed's split are fitted to and scored on."""
        if (seed, fold) not in self._made:
            made = prepare(self.study, self.config, seed, self.progress, fold)
            self._made[seed, fold] = made
        return self._made[seed, fold]


def folds_in(study: Study, config: Config) -> tuple[Fold, ...]:
    """The splits of a seed that a run scores."""
    folds = folds_of(study, config.split)
    return tuple(range(folds)) if folds > 1 else (None,)


def prepare(
    study: Study, config: Config, seed: int, progress: Progress = silent, fold: Fold = None
) -> Prepared:
    """Split the study, get its references, and fit the profile generator on training people."""
    if isinstance(config.model, CvaeConfig):
        check_scales(study.tasks.ids, study.scales, study.tasks.scale)
    split, generator = _split_and_recruit(study, config, seed, fold)
    folder = "." if isinstance(config.study, str) else config.study.folder
    # A head fitted on who a task is cannot say anything of the tasks it leaves out.
    known = task_features(study.tasks, identity=False)
    reference = make_reference(study, split, config.reference, folder, known, progress)
    if study.tasks.embedding is None and reference.embedding is not None:
        # A language model's states share a large common part, beside which tasks hardly differ.
        centred = reference.embedding - reference.embedding.mean(0)
        tasks = dataclasses.replace(study.tasks, embedding=centred)
        study = dataclasses.replace(study, tasks=tasks)
    features = task_features(study.tasks, identity=config.split.by == "people")
    people = split.people(study, split.seen)
    codings = tuple(fit_coding(attribute, people) for attribute in study.participants.profile)
    return Prepared(study, split, features, reference, codings, generator)


def _split_and_recruit(
    study: Study, config: Config, seed: int, fold: Fold
) -> tuple[Split, ProfileGenerator]:
    """A seed's split, and the profile generator of its training people."""
    split = split_study(study, config.split, seed, fold)
    people = split.people(study, split.seen)
    profile = study.participants.profile
    rows = tuple(Attribute(a.name, a.kind, a.levels, a.cells[people]) for a in profile)
    return split, fit_profiles(rows, study.participants.weight[people], config.profiles)


def check_margins(study: Study, config: Config) -> None:
    """Make sure that the people of every split can be weighted to the margins.

    Raises:
      CrowdError: names the seed and fold, if it is their training people alone who cannot.
    """
    own = study.participants
    rake(own.profile, own.weight, config.profiles.margins, nobody="nobody in the study")
    for seed, fold in itertools.product(range(config.seeds), folds_in(study, config)):
        try:
            _split_and_recruit(study, config, seed, fold)
        except CrowdError as error:
            if not config.profiles.margins:
                raise
            place = f"seed {seed}" + (f", fold {fold}" if fold is not None else "")
            fewer = f", or run fewer seeds (--seeds {seed})" if seed else ""
            less = "split.test: 0.2 holds out once" if fold is not None else "split.test"
            raise CrowdError(
                f"{place}: {error}. The study's people reach the margins, those of this "
                f"split's training part do not; one can also hold out fewer ({less}){fewer}"
            ) from error


def ask_ahead(study: Study, config: Config, progress: Progress = silent) -> Spent | None:
    """Ask a language model, where one is configured, all that the run will want to know of it:
    later steps find it in the cache.

    Returns:
      What this took, where it has a price.
    """
    if not isinstance(config.reference, AskedReference):
        return None
    questions = persona_questions(study, config)
    return ask_together(study, config.reference, questions, progress)[0].spent


def persona_questions(study: Study, config: Config) -> list[Question]:
    """All that personas are asked for the scores of every seed; nothing where none are wanted."""
    questions: dict[Question, None] = {}
    for seed, fold in itertools.product(range(config.seeds), folds_in(study, config)):
        split, generator = _split_and_recruit(study, config, seed, fold)
        personas = personas_of(study, config, split, generator)
        questions |= dict.fromkeys(personas.questions if personas else ())
    return list(questions)


def personas_of(
    study: Study, config: Config, split: Split, generator: ProfileGenerator
) -> Personas | None:
    asked = config.reference
    if not isinstance(asked, AskedReference) or asked.personas is None:
        return None
    seed = config.population.seed
    return make_personas(study, split, generator, asked.prompt, asked.personas, seed)


def fit(
    study: Study,
    config: Config,
    seed: int = 0,
    *,
    folder: Path | None = None,
    progress: Progress = silent,
) -> tuple[Crowd, Losses]:
    """Fit the configured crowd to the training part of a study.

    Args:
      folder: where to keep the training checkpoints; None keeps them nowhere.
    Returns:
      The crowd to sample from, and the losses on the way.
    Raises:
      CrowdError: the study does not suit the configuration, or training diverges.
    """
    ready = prepare(study, config, seed, progress)
    return fit_model(ready, config.model, config.train, seed, folder, progress, "crowd")


def fit_model(
    ready: Prepared,
    model: ModelConfig,
    train: TrainConfig,
    seed: int,
    folder: Path | None,
    progress: Progress,
    name: str,
) -> tuple[Crowd, Losses]:
    """Fit one model; see `fit`."""
    study = ready.study
    kept = Checkpoints(folder / "checkpoint") if folder is not None else nullcontext()
    with kept as checkpoints:
        if isinstance(model, PersistentConfig):
            # Nothing is chosen by validation here, so its responses serve the fit.
            part = ready.split.seen
            known = ready.split.by == "people"
            progress(f"fit {name}", 0, model.steps)
            design = make_design(study, ready.reference, ready.codings, part, model, known=known)
            _, answers = gather_answers(study, ready.codings, design, part)
            graph, params, steps = fit_marginal(
                design,
                answers,
                model,
                seed,
                checkpoints=checkpoints,
                on_step=lambda step, loss: progress(
                    f"fit {name} (loss {loss:.3f})", step, model.steps
                ),
            )
            losses = Losses("step", ("negative bound per person",), len(steps),
                            steps[:, None].tolist(), [])  # fmt: skip
        else:
            progress(f"fit {name}", 0, train.epochs)
            run = cvae_run(ready, model, train, seed)

            def on_epoch(epoch: int, losses: np.ndarray) -> None:
                held = losses[1, 0] if np.isfinite(losses[1, 0]) else losses[0, 0]
                progress(f"fit {name} (loss {held:.3f})", epoch, train.epochs)

            fitted = train_model(*run, checkpoints=checkpoints, on_epoch=on_epoch)
            # It may have stopped before the last epoch.
            progress(f"fit {name}", train.epochs, train.epochs)
            losses = Losses("epoch", TERMS, fitted.best_epoch, fitted.history[:, 0].tolist(),
                            fitted.history[:, 1].tolist())  # fmt: skip
            return cvae_crowd(ready, run, fitted), losses
    crowd = _crowd(ready, model, graph, params, design)
    warn_of_new_tasks(study, crowd, ready.reference.kind)
    return crowd, losses


def cvae_run(ready: Prepared, model: CvaeConfig, train: TrainConfig, seed: int) -> Run:
    """A training of the published model, ready for `train.fit_many`."""
    study = ready.study
    everything = np.arange(len(study.tasks.ids))
    reference = unit(study, ready.reference.mean, everything).astype(np.float32)
    if model.constant_reference:
        reference = np.full_like(reference, 0.5)
    profile = study.participants.profile
    c = encode(ready.codings, profile) if profile else np.zeros((len(study.participants.ids), 0))
    answer = unit(study, study.value, study.task).astype(np.float32)

    def part(mask: np.ndarray) -> Data:
        mask = mask & (study.weight > 0)
        return Data(
            x=ready.x,
            c=c.astype(np.float32),
            reference=reference,
            person=study.person[mask],
            task=study.task[mask],
            answer=answer[mask],
            weight=study.weight[mask],
        )

    return Run(part(ready.split.train), part(ready.split.validation), model, train, seed)


def cvae_crowd(ready: Prepared, run: Run, fitted: Fitted) -> Crowd:
    """The crowd of a training that `cvae_run` made ready."""
    inputs = CvaeInputs(run.train.x, run.train.reference)
    return _crowd(ready, run.model, fitted.graph, fitted.params, inputs)


def _crowd(
    ready: Prepared,
    model: ModelConfig,
    graph: nnx.GraphDef,
    params: nnx.State,
    inputs: CvaeInputs | Design,
) -> Crowd:
    study = ready.study
    return Crowd(
        model,
        graph,
        params,
        study.tasks.ids,
        study.scales,
        study.tasks.scale,
        inputs,
        ready.codings,
        ready.generator,
    )


def evaluate(
    study: Study,
    config: Config,
    crowds: dict[str, Crowd],
    seed: int = 0,
    *,
    progress: Progress = silent,
) -> list[Score]:
    """Score fitted crowds on the held-out responses, beside the noise ceiling and the baselines."""
    return score_all(prepare(study, config, seed), config, crowds, seed, progress)[0]


def profile_of(study: Study, humans: Humans) -> tuple[Attribute, ...]:
    """The held-out people's profiles."""
    return tuple(
        Attribute(a.name, a.kind, a.levels, a.cells[humans.who]) for a in study.participants.profile
    )


def score_all(
    ready: Prepared, config: Config, crowds: dict[str, Crowd], seed: int, progress: Progress
) -> tuple[list[Score], dict[str, np.ndarray]]:
    """Scores, and the agents' answers they were computed from: (N, held-out tasks) per model."""
    progress(f"score (seed {seed})", 0, 1)
    humans = held_out(ready.study, ready.split)
    agents = min(config.population.agents, SCORED_AGENTS)
    answers: dict[str, np.ndarray] = {}
    grouped = {}
    for name, crowd in crowds.items():
        drawn = sample(crowd, agents, config.population.seed)
        answers[name] = numbers_of(crowd, drawn.answers)[:, humans.tasks]
        grouped[name] = score_groups(
            humans, ready.codings, profile_of(ready.study, humans), drawn.profile, answers[name]
        )
    for name, values in baseline_crowds(
        ready.study, ready.split, ready.reference, agents, seed
    ).items():
        answers[name] = values[:, humans.tasks]
    personas = personas_of(ready.study, config, ready.split, ready.generator)
    if personas and isinstance(config.reference, AskedReference):
        asked, prompt = config.reference, config.reference.prompt
        _, scored = ask_reference(ready.study, asked, personas.questions, progress)
        probs = personas.probs(scored)
        values = persona_crowd(ready.study, personas, probs, prompt, agents, seed)
        answers["personas"] = values[:, humans.tasks]
    scores = score_humans(humans, seed)
    for done, (name, values) in enumerate(answers.items()):
        scores += score_crowd(humans, values, name, seed, answers["marginal"])
        progress(f"score (seed {seed})", done + 1, len(answers))

    def add(model: str, metric: str, found: tuple[float, float, float] = UNDEFINED) -> None:
        scores.append(score_of(humans, model, seed, metric, found))

    correlated = score_correlations(humans, answers, seed)
    for name, found in correlated.items():
        add(name, "correlation_error", found)
    for name in crowds if not correlated else ():
        add(name, "correlation_error")
    wanted = ("gap_error", "regression_agreement") if ready.study.participants.profile else ()
    for place, (name, measures) in enumerate(grouped.items()):
        for metric, own in measures.items():
            if "crowd" in own:
                add(name, metric, own["crowd"])
            if place == 0:
                # What the people alone say stands once, whatever crowd they are compared with.
                add("humans", metric, own["humans"])
                add("marginal", metric, own["none"])
        for metric in wanted:
            if "crowd" not in measures.get(metric, {}):
                add(name, metric)
    return scores, answers
