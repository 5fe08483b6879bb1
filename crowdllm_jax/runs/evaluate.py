"""Fitted crowds become scores, beside the noise ceiling and the floors."""

from collections.abc import Iterator, Mapping

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd import Crowd, check_crowd, kind, numbers_of
from crowdllm_jax.model.fit import Prepared
from crowdllm_jax.population.sample import sample
from crowdllm_jax.reference.make import AskedReference, ask_reference
from crowdllm_jax.runs.config import Config, check_config
from crowdllm_jax.runs.held_out_answers import score_answers
from crowdllm_jax.runs.prepare import personas_of, prepare
from crowdllm_jax.runtime.numerals import check_seed
from crowdllm_jax.runtime.progress import Progress, silent
from crowdllm_jax.score.baselines import baseline_crowds, persona_crowd
from crowdllm_jax.score.ceiling import score_humans
from crowdllm_jax.score.correlations import score_correlations
from crowdllm_jax.score.groups import score_groups
from crowdllm_jax.score.held_out import Humans, held_out
from crowdllm_jax.score.metrics import UNDEFINED, Score, score_crowd, score_of
from crowdllm_jax.score.scores import Scores
from crowdllm_jax.study.records import Attribute, Study, check_study

SCORED_AGENTS = 10_000
"""Agents that stand for a crowd in the scores; more would change the last digit."""


def evaluate(
    study: Study,
    config: Config,
    crowds: Crowd | dict[str, Crowd],
    seed: int = 0,
    *,
    progress: Progress = silent,
) -> Scores:
    """Score fitted crowds on the held-out responses, beside the noise ceiling and the baselines.

    Where answers are held out, the twins of the (persistent) model are scored beside their floors.

    Args:
      study: what the crowds were fitted to.
      config: the same; its split says which responses are held out. seed: the same.
      crowds: a fitted crowd, or several by the names they get in the scores.
    Returns:
      A score for each model ("humans" is the ceiling) and metric: value, 95% interval, and why
      there is none; `Scores` is a list that a notebook shows as a table.
    Raises:
      CrowdError: all held-out people have weight 0, or twins of several crowds are asked for.

    Examples:
      >>> scores = cl.evaluate(study, config, crowd, seed=0)
      >>> "skill" in {score.metric for score in scores}
      True
    """
    check_study(study)
    check_config(config)
    check_seed(seed)
    seed = int(seed)
    crowds = _named(crowds, study)
    if config.split.by == "answers":
        if len(crowds) != 1:
            raise CrowdError(f"split.by: answers scores the twins of one crowd, not {len(crowds)}")
        crowd = next(iter(crowds.values()))
        return Scores(score_answers([(prepare(study, config, seed), crowd)], seed, progress))
    prepared = prepare(study, config, seed)
    return Scores(score_all(prepared, config, crowds, seed, progress)[0])


def _named(crowds: Crowd | Mapping[str, Crowd], study: Study) -> dict[str, Crowd]:
    """Crowds by their names; raises CrowdError if one is none, or was fitted to another study."""
    if not isinstance(crowds, Mapping):
        check_crowd(crowds)
        crowds = {kind(crowds.config): crowds}
    attributes = tuple((a.name, a.kind) for a in study.participants.profile)
    for name, crowd in crowds.items():
        check_crowd(crowd)
        own = tuple((a.name, a.kind) for a in crowd.generator.attributes)
        if crowd.task_ids != study.tasks.ids or own != attributes:
            raise CrowdError(
                f"evaluate: the crowd '{name}' was fitted to other tasks or attributes than the "
                "study's; give the study that it was fitted to"
            )
    return dict(crowds)


def profile_of(study: Study, humans: Humans) -> tuple[Attribute, ...]:
    """The held-out people's profiles."""
    return tuple(
        Attribute(a.name, a.kind, a.levels, a.cells[humans.who]) for a in study.participants.profile
    )


def score_all(
    prepared: Prepared, config: Config, crowds: dict[str, Crowd], seed: int, progress: Progress
) -> tuple[list[Score], dict[str, np.ndarray]]:
    """Scores, and the agents' answers they were computed from: (N, held-out tasks) per model."""
    progress(f"score (seed {seed})", 0, 1)
    study = prepared.study
    humans = held_out(study, prepared.split)
    agents = min(config.population.agents, SCORED_AGENTS)
    answers: dict[str, np.ndarray] = {}
    group_measures = {}
    for name, crowd in crowds.items():
        drawn = sample(crowd, agents, config.population.seed)
        answers[name] = numbers_of(crowd, drawn.answers)[:, humans.tasks]
        group_measures[name] = score_groups(
            humans, prepared.codings, profile_of(study, humans), drawn.profile, answers[name]
        )
    for name, values in _unfitted_crowds(prepared, config, agents, seed, progress).items():
        answers[name] = values[:, humans.tasks]
    scores = score_humans(humans, seed)
    for done, (name, values) in enumerate(answers.items()):
        scores += score_crowd(humans, values, name, seed, answers["marginal"])
        progress(f"score (seed {seed})", done + 1, len(answers))
    errors = score_correlations(humans, answers, seed) or dict.fromkeys(crowds, UNDEFINED)
    scores += [
        score_of(humans, name, seed, "correlation_error", error) for name, error in errors.items()
    ]
    expected = ("gap_error", "regression_agreement") if study.participants.profile else ()
    scores += [
        score_of(humans, name, seed, metric, value)
        for name, metric, value in _by_model(group_measures, expected)
    ]
    return scores, answers


def _unfitted_crowds(
    prepared: Prepared, config: Config, agents: int, seed: int, progress: Progress
) -> dict[str, np.ndarray]:
    """(N, T) answers of the crowds that no model makes: the baselines, and a language model that is
    asked as personas, where that is configured."""
    study = prepared.study
    crowds = baseline_crowds(study, prepared.split, prepared.reference, agents, seed)
    personas = personas_of(study, config, prepared.split, prepared.generator)
    if personas and isinstance(config.first_reference, AskedReference):
        asked = config.first_reference
        _, scored = ask_reference(study, asked, personas.questions, progress)
        probs = personas.probs(scored)
        crowds["personas"] = persona_crowd(study, personas, probs, asked.prompt, agents, seed)
    return crowds


def _by_model(
    group_measures: dict[str, dict[str, dict[str, tuple[float, float, float]]]],
    expected: tuple[str, ...],
) -> Iterator[tuple[str, str, tuple[float, float, float]]]:
    """(model, metric, its value and interval) of every crowd's `score_groups`.

    Args:
      expected: metrics that each crowd has, if only as not defined.
    """
    for number, (name, measures) in enumerate(group_measures.items()):
        for metric, values in measures.items():
            if "crowd" in values:
                yield name, metric, values["crowd"]
            if number == 0:
                # What the people alone say stands once, whatever crowd they are compared with.
                yield "humans", metric, values["humans"]
                yield "marginal", metric, values["none"]
        for metric in expected:
            if "crowd" not in measures.get(metric, {}):
                yield name, metric, UNDEFINED
