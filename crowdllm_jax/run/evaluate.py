"""Fitted crowds become scores, beside the noise ceiling and the floors."""

import numpy as np

from crowdllm_jax.model.crowd import Crowd, numbers_of
from crowdllm_jax.model.fit import Prepared
from crowdllm_jax.population.sample import sample
from crowdllm_jax.reference.make import AskedReference, ask_reference
from crowdllm_jax.run.config import Config
from crowdllm_jax.run.prepare import personas_of, prepare
from crowdllm_jax.runtime.progress import Progress, silent
from crowdllm_jax.score.baselines import baseline_crowds, persona_crowd
from crowdllm_jax.score.ceiling import score_humans
from crowdllm_jax.score.correlations import score_correlations
from crowdllm_jax.score.groups import score_groups
from crowdllm_jax.score.held_out import Humans, held_out
from crowdllm_jax.score.metrics import UNDEFINED, Score, score_crowd, score_of
from crowdllm_jax.study.records import Attribute, Study

SCORED_AGENTS = 10_000
"""Agents that stand for a crowd in the scores; more would change the last digit."""


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
