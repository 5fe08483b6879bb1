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
    chances: dict[str, list[np.ndarray]] = {"twin": [], "task_person": [], "task_marginal": []}
    splits, held = [], []
    for prepared, crowd in fitted:
        study, known = prepared.study, prepared.split.seen
        rows = np.flatnonzero(prepared.split.test & (study.weight > 0))
        person, task = study.person[rows], study.task[rows]
        chances["twin"].append(predict_answers(crowd, study, known, person, task, progress).chance)
        floors = answer_floors(study, known, held_out(study, prepared.split))
        chances["task_person"].append(floors.task_person)
        chances["task_marginal"].append(floors.task)
        splits.append(prepared.split)
        held.append(rows)
    humans = held_out_of(study, splits)
    # No answer is held out twice; `humans` has them in the order of the study.
    order = np.argsort(np.concatenate(held))
    in_order = {name: np.concatenate(parts)[order] for name, parts in chances.items()}
    return score_predictions(humans, in_order, "task_person", seed)
