"""A study becomes what a fit needs: its split, references, features and profile generator.

`prepare` does it once per seed; `fit` also fits the configured crowd."""

import dataclasses
import itertools
from dataclasses import dataclass, field
from pathlib import Path

from crowdllm_jax.backbone.questions import Question
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd import Crowd, kind
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.cvae.fit import Losses
from crowdllm_jax.model.fit import Prepared, fit_model
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.population.sample import check_scales
from crowdllm_jax.profiles.generator import ProfileGenerator, fit_profiles
from crowdllm_jax.profiles.raking import rake
from crowdllm_jax.reference.fitted import as_trained
from crowdllm_jax.reference.make import AskedReference, ask_together, make_reference
from crowdllm_jax.reference.record import Spent
from crowdllm_jax.runs.config import Config, check_config
from crowdllm_jax.runtime.numerals import check_seed
from crowdllm_jax.runtime.progress import Progress, silent
from crowdllm_jax.score.personas import Personas, make_personas
from crowdllm_jax.study.coding import fit_coding, task_features
from crowdllm_jax.study.records import Attribute, Study, check_study
from crowdllm_jax.study.spec import StudySpec
from crowdllm_jax.study.split import Fold, Split, folds_of, split_study


@dataclass(frozen=True)
class Splits:
    """A study under a configuration, made ready split by split; each is prepared once, when it is
    first asked for."""

    study: Study
    config: Config
    progress: Progress
    _prepared: dict[tuple[int, Fold], Prepared] = field(default_factory=dict, repr=False)

    @property
    def folds(self) -> tuple[Fold, ...]:
        """The splits of a seed that are scored: a single one, or one for each fold."""
        return folds_in(self.study, self.config)

    def prepared(self, seed: int, fold: Fold) -> Prepared:
        """What the crowds of a seed's split are fitted to and scored on."""
        if (seed, fold) not in self._prepared:
            prepared = prepare(self.study, self.config, seed, self.progress, fold)
            self._prepared[seed, fold] = prepared
        return self._prepared[seed, fold]


def folds_in(study: Study, config: Config) -> tuple[Fold, ...]:
    """The splits of a seed that a run scores."""
    folds = folds_of(study, config.split)
    return tuple(range(folds)) if folds > 1 else (None,)


def prepare(
    study: Study, config: Config, seed: int, progress: Progress = silent, fold: Fold = None
) -> Prepared:
    """Split the study, get its references, and fit the profile generator on training people."""
    check_model(study, config)
    split, generator = _split_and_recruit(study, config, seed, fold)
    folder = config.study.folder if isinstance(config.study, StudySpec) else "."
    study = as_trained(study, split)
    reference = make_reference(study, split, config.reference, folder, progress)
    if study.tasks.embedding is None and reference.embedding is not None:
        # A language model's states share a large common part, beside which tasks hardly differ.
        centred = reference.embedding - reference.embedding[study.tasks.measured].mean(0)
        tasks = dataclasses.replace(study.tasks, embedding=centred)
        study = dataclasses.replace(study, tasks=tasks)
    features = task_features(study.tasks, identity=config.split.by != "tasks")
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


def check_model(study: Study, config: Config) -> None:
    """Make sure that the configured model can answer this study, and be scored on its split.

    Raises:
      CrowdError: it cannot, or has several references and is not the persistent model.
    """
    if not isinstance(config.model, PersistentConfig):
        if isinstance(config.reference, tuple) and len(config.reference) > 1:
            raise CrowdError(
                f"reference: a list of {len(config.reference)} needs model.kind: persistent; "
                f"the {kind(config.model)} model has one reference; give it one"
            )
        if config.split.by == "answers":
            raise CrowdError(
                "split.by: answers needs model.kind: persistent; agents of the "
                f"{kind(config.model)} model are nobody in particular, whatever answers are known"
            )
    if isinstance(config.model, CvaeConfig):
        check_scales(study.tasks.ids, study.scales, study.tasks.scale)


def check_margins(study: Study, config: Config) -> None:
    """Make sure that the people of every split can be weighted to the margins.

    Raises:
      CrowdError: names the seed and fold, if it is their training people alone who cannot.
    """
    people = study.participants
    rake(people.profile, people.weight, config.profiles.margins, nobody="nobody in the study")
    for seed, fold in itertools.product(range(config.seeds), folds_in(study, config)):
        try:
            _split_and_recruit(study, config, seed, fold)
        except CrowdError as error:
            if not config.profiles.margins:
                raise
            split_name = f"seed {seed}" + (f", fold {fold}" if fold is not None else "")
            fewer = f", or run fewer seeds (--seeds {seed})" if seed else ""
            less = "split.test: 0.2 holds out once" if fold is not None else "split.test"
            raise CrowdError(
                f"{split_name}: {error}. The study's people reach the margins, those of this "
                f"split's training part do not; one can also hold out fewer ({less}){fewer}"
            ) from error


def ask_ahead(study: Study, config: Config, progress: Progress = silent) -> Spent | None:
    """Ask a language model, where one is configured, all that the run will want to know of it:
    later steps find it in the cache.

    Returns:
      What this took, where it has a price.
    """
    if not isinstance(config.first_reference, AskedReference):
        return None
    questions = persona_questions(study, config)
    return ask_together(study, config.first_reference, questions, progress)[0].spent


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
    """The personas that a language model is asked as; None where it is not, or none is asked, or
    answers are held out, of which agents that are nobody in particular say nothing."""
    asked = config.first_reference
    if not isinstance(asked, AskedReference) or asked.personas is None or split.by == "answers":
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
      study: from `load_study`, or from `study`, whose configuration needs no `study:`.
      seed: of the split and of the initial weights.
      folder: where to keep the training checkpoints; None keeps them nowhere.
      progress: called with a stage's name and how far it is; see `progress_bar`.
    Returns:
      The crowd to sample from, and the losses on the way.
    Raises:
      CrowdError: the study does not suit the configuration, or training diverges.

    Examples:
      >>> quick = {"kind": "persistent", "steps": 20}  # 1,000 steps, where it is not said
      >>> config = cl.load_config({"split": {"by": "people", "test": 0.2}, "model": quick})
      >>> crowd, losses = cl.fit(study, config, seed=0)
      >>> crowd
      Crowd(persistent, 6 tasks; profile: age, education, income, log_place_size)
    """
    check_study(study)
    check_config(config)
    check_seed(seed)
    seed = int(seed)  # numpy's numbers are none to JAX
    prepared = prepare(study, config, seed, progress)
    return fit_model(prepared, config.model, config.train, seed, folder, progress, "crowd")
