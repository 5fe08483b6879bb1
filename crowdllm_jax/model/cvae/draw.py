"""Draw decisions of the published model: through thresholds where a score has a closed form.

On scales that are answered one task at a time the score of every (profile, task) is turned into
integer thresholds once, and a decision costs 16 random bits and K - 1 comparisons. Continuous
answers and shared ballots need the score itself: one normal draw. A semi-implicit belief has no
closed form; its network runs once per decision, about a thousand times slower.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.cvae.decision import Cvae, Noise, answer_scores, score_moments
from crowdllm_jax.model.levels import (
    LANES,
    beyond,
    by_lane,
    draw_levels,
    signed_ends,
    take_rows,
    unpack,
)
from crowdllm_jax.model.response import (
    level_dtype,
    nearest_level,
    score_cuts,
    thresholds,
)
from crowdllm_jax.model.scales.kinds import fill_ballots
from crowdllm_jax.runtime.precision import SAME_BITS, float32_products
from crowdllm_jax.runtime.randomness import Pair, Stream, normal, words
from crowdllm_jax.study.scales import Continuous, Joint, Scale


@dataclass(frozen=True)
class ScoreLayout:
    """Which tasks are drawn in which way; hashable, so that programs are compiled per layout.

    Attributes:
      levels: tasks drawn through thresholds. scores: all other tasks, which need their score.
      groups: (scale, places among `scores`) of each continuous scale or shared ballot.
    """

    tasks: int
    levels: tuple[int, ...]
    scores: tuple[int, ...]
    groups: tuple[tuple[Scale, tuple[int, ...]], ...]
    dtype: str


def score_layout_of(crowd: Crowd) -> ScoreLayout:
    """Which tasks of a crowd are drawn in which way."""
    levels, scores, members = [], [], {name: [] for name in crowd.scales}  # type: ignore[var-annotated]
    names = list(crowd.scales)
    for task, scale in enumerate(crowd.task_scales):
        if isinstance(scale, Continuous | Joint):
            members[names[crowd.task_scale[task]]].append(len(scores))
            scores.append(task)
        else:
            levels.append(task)
    groups = tuple((crowd.scales[name], tuple(m)) for name, m in members.items() if m)
    dtype = level_dtype(crowd.task_scales).name
    return ScoreLayout(len(crowd.task_ids), tuple(levels), tuple(scores), groups, dtype)


def cut_table(crowd: Crowd, layout: ScoreLayout) -> np.ndarray:
    """(K - 1, levels) scores between the levels, infinite beyond a task's own."""
    of_scale = crowd.task_scales
    per_task = [score_cuts(of_scale[task]) for task in layout.levels]
    most = max((len(cut) for cut in per_task), default=0)
    table = np.full((most, len(per_task)), np.inf, np.float32)
    for column, cut in enumerate(per_task):
        table[: len(cut), column] = cut
    return table


Table = tuple[jax.Array, jax.Array, jax.Array]


@partial(jax.jit, static_argnums=(0, 1, 2), compiler_options=SAME_BITS)
@float32_products()
def make_table(
    graph: nnx.GraphDef[Any],
    config: CvaeConfig,
    layout: ScoreLayout,
    params: nnx.State[Any, Any],
    x: jax.Array,
    c: jax.Array,
    reference: jax.Array,
    cut: jax.Array,
) -> Table:
    """Ends (P 4 (K - 1), B), and score moments (P, scores) twice, of P profiles."""
    mean, sd = score_moments(nnx.merge(graph, params), x, c, reference, config)
    levels, scores = np.array(layout.levels, int), np.array(layout.scores, int)
    ends = by_lane(signed_ends(thresholds(mean[:, levels], sd[:, levels], cut)))
    # A profile's ends lie next to each other in memory: a block reads them in one stretch.
    ends = ends.transpose(2, 0, 1, 3)
    return (
        ends.reshape(int(np.prod(ends.shape[:-1])), ends.shape[-1]),
        mean[:, scores],
        sd[:, scores],
    )


@partial(jax.jit, static_argnums=(0, 1), compiler_options=SAME_BITS)
def draw_folded(
    layout: ScoreLayout, cuts: int, seed: Pair, ids: Pair, table: Table, row: jax.Array
) -> jax.Array:
    """(N, T) answers of agents with profile `row` (N,) of the table; packed if all are levels."""
    ends, mean, sd = table
    parts = []

    def above(lane: int, word: jax.Array) -> Callable[[Any], jax.Array]:
        def above_end(k: Any) -> jax.Array:
            return beyond(word, take_rows(ends, row * (LANES * cuts) + (lane * cuts + k)))

        return above_end

    if layout.levels:
        drawn = draw_levels(seed, ids, len(layout.levels), cuts, above)
        if not layout.scores:
            return drawn
        parts.append(unpack(drawn, len(layout.levels)).astype(layout.dtype))
    if layout.scores:
        noise = normal(words(seed, ids, Stream.SCORE, len(layout.scores)))
        parts.append(_answer_scores(layout, mean[row] + sd[row] * noise))
    return _in_task_order(layout, parts)


def draw_grouped(
    layout: ScoreLayout, cuts: int, seed: Pair, ids: Pair, table: Table, row: jax.Array
) -> jax.Array:
    """(G, B, A) packed answers of agents (G, A) in groups with one profile (G,) each.

    The answers of `draw_folded`, where all tasks are levels: ends are read once per group.
    """
    ends = table[0].reshape(-1, LANES * cuts * table[0].shape[1])
    of_group = take_rows(ends, row).reshape(len(row), LANES * cuts, -1, 1)

    def above(lane: int, word: jax.Array) -> Callable[[Any], jax.Array]:
        return lambda k: beyond(word, of_group[:, lane * cuts + k])

    return draw_levels(seed, ids, len(layout.levels), cuts, above)


def _answer_scores(layout: ScoreLayout, score: jax.Array) -> jax.Array:
    """(N, scores) answers where the score itself is needed."""
    answers = jnp.zeros(score.shape, layout.dtype)
    for scale, places in layout.groups:
        group_score = score[:, np.array(places)]
        if isinstance(scale, Continuous):
            answer = scale.low + (scale.high - scale.low) * jnp.clip(group_score, 0, 1)
        else:
            assert isinstance(scale, Joint)
            answer = fill_ballots(scale, group_score)
        answers = answers.at[:, np.array(places)].set(answer.astype(layout.dtype))
    return answers


def _in_task_order(layout: ScoreLayout, parts: list[jax.Array]) -> jax.Array:
    if len(parts) == 1:
        return parts[0]
    order = np.argsort(layout.levels + layout.scores)
    return jnp.concatenate(parts, axis=1)[:, order]


@partial(jax.jit, static_argnums=(0, 1, 2, 3), compiler_options=SAME_BITS)
@float32_products()
def draw_plain(
    graph: nnx.GraphDef[Any],
    config: CvaeConfig,
    layout: ScoreLayout,
    task_scales: tuple[Scale, ...],
    params: nnx.State[Any, Any],
    x: jax.Array,
    reference: jax.Array,
    seed: Pair,
    ids: Pair,
    c: jax.Array,
) -> jax.Array:
    """(N, T) answers through the network itself, a fresh belief for every decision.

    Ten arguments: what is static, what is a weight and what differs by block stay apart for jit.
    """
    model: Cvae = nnx.merge(graph, params)
    n, t = len(c), layout.tasks
    width = config.latent + 1 + (config.injected if config.semi_implicit else 0)
    drawn = normal(words(seed, ids, Stream.LATENT, t * width)).reshape(n * t, width)
    latent, decision, injected = jnp.split(drawn, [config.latent, config.latent + 1], axis=1)
    noise = Noise(latent, decision[:, 0], injected[None] if config.semi_implicit else None)
    score = answer_scores(
        model,
        jnp.tile(x, (n, 1)),
        jnp.repeat(c, t, axis=0),
        jnp.tile(reference, n),
        noise,
        config.noise_scale,
        config.diversity,
    ).score.reshape(n, t)
    parts = []
    if layout.levels:
        columns = [nearest_level(task_scales[task], score[:, task]) for task in layout.levels]
        parts.append(jnp.stack(columns, axis=1).astype(layout.dtype))
    if layout.scores:
        parts.append(_answer_scores(layout, score[:, np.array(layout.scores)]))
    return _in_task_order(layout, parts)
