"""Scores where answers are held out: each is predicted from its person's known answers."""

from collections.abc import Iterable

import numpy as np

from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.fit import Prepared
from crowdllm_jax.population.predicted import predict_answers
from crowdllm_jax.runs.folds import held_out_of
from crowdllm_jax.runtime.progress import Progress, silent
from crowdllm_jax.score.answer_floors import answer_floors
from crowdllm_jax.score.answers import score_predictions
from crowdllm_jax.score.held_out import held_out
from crowdllm_jax.score.metrics import Score

LEFT_OUT = (
    "measures and diagnostics of the agents (split.by: tasks or people), and the published model: "
    "their agents are nobody whose answers are known"
)
"""What a run does not tell where answers are held out."""


def score_answers(
    fitted: Iterable[tuple[Prepared, Crowd]], seed: int, progress: Progress = silent
) -> list[Score]:
    """Score twins and floors on every answer that some splits of a study hold out.

    Args:
      fitted: splits of one study, and the crowd that was fitted to each.
    """
    chances: dict[str, np.ndarray] = {}
    splits = []
    for prepared, crowd in fitted:
        study, known = prepared.study, prepared.split.seen
        humans = held_out(study, prepared.split)
        rows = np.flatnonzero(prepared.split.test & (study.weight > 0))
        predicted = predict_answers(
            crowd, study, known, study.person[rows], study.task[rows], progress
        )
        floors = answer_floors(study, known, humans)
        for name, chance in (
            ("twin", predicted.chance),
            ("task_person", floors.task_person),
            ("task_marginal", floors.task),
        ):
            if name not in chances:
                chances[name] = np.zeros((len(study.task), chance.shape[1]), np.float32)
            chances[name][rows, : chance.shape[1]] = chance
        splits.append(prepared.split)
    humans = held_out_of(study, splits)
    everything = np.any([split.test for split in splits], axis=0) & (study.weight > 0)
    held = {name: chance[everything] for name, chance in chances.items()}
    return score_predictions(humans, held, "task_person", seed)
