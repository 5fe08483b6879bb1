"""What a person would answer, given some of that person's answers: the chance of every level.

The chances are averages over the weighted beliefs that stand for the person's posterior, without
drawing any answer. The cost grows with the number of answers that are asked for.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.persistent.answers import AnswerTable
from crowdllm_jax.model.persistent.decision import Responses, Standing, standpoint
from crowdllm_jax.model.persistent.layout import Layout
from crowdllm_jax.model.persistent.witness import Said, said_of
from crowdllm_jax.model.scales import continuous
from crowdllm_jax.model.scales.standpoint import Given
from crowdllm_jax.population.twins import Posterior, design_for_twins, posteriors, ready_for
from crowdllm_jax.runtime.precision import SAME_BITS, float32_products
from crowdllm_jax.runtime.progress import Progress, silent
from crowdllm_jax.study.bins import BINS, bins
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.scales import is_ordered, size


@dataclass(frozen=True)
class Predictions:
    """What is expected of A answers.

    Attributes:
      chance: (A, K) of each bin of the task's scale (`study.bins`): of each level, or of each of
        BINS stretches of a continuous scale; 0 beyond the scale's own.
      mean: (A,) expected answer in the scale's units; NaN on nominal scales.
    """

    chance: np.ndarray
    mean: np.ndarray


def predict_answers(
    crowd: Crowd,
    study: Study,
    known: np.ndarray,
    person: np.ndarray,
    task: np.ndarray,
    progress: Progress = silent,
) -> Predictions:
    """The chances of answers, each given the known answers of its person.

    Args:
      crowd: a fitted persistent crowd that answers the study's tasks.
      known: (R,) bool, the responses of the study that may be used.
      person, task: (A,) whose answer to what is asked, as indices into the study.
    Raises:
      CrowdError: the crowd has no twins of these people, or a task is part of a ballot whose tasks
        limit each other.
    """
    design = design_for_twins(crowd, study)
    layout = design.layout
    asked_of: dict[int, int] = {}
    for number, (_, tasks) in enumerate(layout.single):
        asked_of |= dict.fromkeys(tasks, number)
    kind = np.array([asked_of.get(t, -1) for t in range(len(study.tasks.ids))])[task]
    if np.any(kind < 0):
        name = study.tasks.ids[int(task[np.argmin(kind)])]
        raise CrowdError(f"task '{name}' is one of a ballot: no answer to it is predicted alone")
    support = [bins(scale) for scale in layout.scales]
    chance = np.zeros((len(task), max(map(len, support))), np.float32)
    ready_of = ready_for(crowd, study)
    people, count = np.unique(person, return_counts=True)
    rows_of = np.split(np.argsort(person, kind="stable"), np.cumsum(count)[:-1])
    beliefs = posteriors(crowd, ready_of, study, known, people)
    said = None
    if design.witnesses is not None:
        said = said_of(study, design.witnesses, person, task)
    for done, (rows, posterior) in enumerate(zip(rows_of, beliefs, strict=True)):
        progress("twins", done, len(people))
        responses = ready_of(int(people[done])).tables.responses
        for number in np.unique(kind[rows]):
            asked = rows[kind[rows] == number]
            told = None if said is None else Said(*(part[asked] for part in said))
            table = _questions(task[asked], posterior, told)
            levels = _chances(layout, int(number), responses, table, *posterior[1:3])
            chance[asked, : levels.shape[1]] = np.asarray(levels)[: len(asked)]
    progress("twins", len(people), len(people))
    mean = np.full(len(task), np.nan)
    for index, scale in enumerate(layout.scales):
        if is_ordered(scale):
            on_scale = study.tasks.scale[task] == index
            mean[on_scale] = chance[on_scale, : len(support[index])] @ support[index]
    return Predictions(chance, mean)


def _questions(task: np.ndarray, posterior: Posterior, said: Said | None) -> AnswerTable:
    """One person's row of questions, filled up to a power of 2 so that few programs are
    compiled."""
    row = np.zeros((1, 1 << max(0, len(task) - 1).bit_length()), np.int32)
    row[0, : len(task)] = task
    if said is not None:
        empty = ((0, row.shape[1] - len(task)), (0, 0))
        said = Said(*(np.pad(part, empty)[None] for part in said))
    blank = np.zeros(row.shape, np.float32)
    nobody = np.zeros(1, np.int32)
    profile, weight = posterior.profile[None], np.ones(1, np.float32)
    return AnswerTable(row, np.zeros_like(row), blank, blank, nobody, (), profile, weight, said)


@partial(jax.jit, static_argnums=(0, 1), compiler_options=SAME_BITS)
@float32_products()
def _chances(
    layout: Layout,
    number: int,
    responses: Responses,
    asked: AnswerTable,
    standing: Standing,
    weight: jax.Array,
) -> jax.Array:
    """(J, K) chances of one person's answers to tasks of the layout's `number`-th kind."""
    kind, tasks = layout.single[number]
    at = standpoint(responses, layout, asked, Standing(*(part[None] for part in standing)))

    def average(level: jax.Array, value: jax.Array) -> jax.Array:
        levels = jnp.broadcast_to(level, asked.task.shape)
        given = Given(asked.task, levels, jnp.broadcast_to(value, asked.task.shape))
        return (jnp.exp(kind.log_prob(given, at)[0]) * weight[None]).sum(1)

    if kind is not continuous:
        most = max(size(layout.scales[index]) for index in {layout.task_scale[t] for t in tasks})
        by_level = jax.lax.map(lambda k: average(k, jnp.float32(0)), jnp.arange(most))
        return (by_level / by_level.sum(0)[None]).T
    # Both ends have mass; between them, the density at the middle of every stretch.
    ends = jax.lax.map(lambda value: average(jnp.int32(0), value), jnp.array([0.0, 1.0]))
    middle = (jnp.arange(BINS, dtype=jnp.float32) + 0.5) / BINS
    inside = jax.lax.map(lambda value: average(jnp.int32(0), value), middle) + 1e-30
    inside *= ((1 - ends.sum(0)) / inside.sum(0))[None]
    return inside.at[0].add(ends[0]).at[-1].add(ends[1]).T
