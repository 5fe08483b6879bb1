"""Choices among options that no known task has, by what describes them.

An option called as a learnt one is, such as "none of these", is that one, whatever describes it;
any other is taken for the described ones on average, and what tells it apart is its description.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.persistent.design import Design
from crowdllm_jax.model.persistent.layout import Layout
from crowdllm_jax.model.scales import nominal
from crowdllm_jax.model.scales.kinds import SINGLE
from crowdllm_jax.runtime.names import as_shown
from crowdllm_jax.study import scales
from crowdllm_jax.study.alternatives import Options
from crowdllm_jax.study.questions import Questions
from crowdllm_jax.study.scales import Scale


class Worth(NamedTuple):
    """What the options of a choice task are worth that no known task has.

    Attributes:
      level: (K,) logits, of everybody alike. belief: (K, L) what beliefs do to these. profile:
        (C, K) what profiles do, besides moving beliefs.
    """

    level: np.ndarray
    belief: np.ndarray
    profile: np.ndarray


def of_described(
    arrays: dict[str, np.ndarray], design: Design, lends: int, scale: Scale, own: Options
) -> Worth:
    """What options are worth by what describes them.

    Args:
      arrays: a crowd's parameters by name. lends: the learnt scale that the task borrows from.
      own: of the one task.
    Raises:
      CrowdError: an option that is described by nothing, and that no known task has.
    """
    columns, described = (part[0][: scales.size(scale)] for part in own)
    alike = _alike(design, lends, scale, described)
    effects = {n.removeprefix("effects.mean."): a for n, a in arrays.items()}
    return Worth(
        alike @ arrays["level"][lends] + columns @ effects["part_worth"],
        alike @ effects["level_loading"][lends] + columns @ effects["part_worth_loading"],
        effects["level_profile"][lends] @ alike.T,
    )


def _alike(design: Design, lends: int, scale: Scale, described: np.ndarray) -> np.ndarray:
    """(K', K) which learnt levels new ones are taken for, whatever describes them: those called
    alike, or all that are described on average."""
    assert design.tasks.described is not None
    learnt = scales.labels(design.layout.scales[lends])
    known = (design.tasks.scale == lends) & (design.tasks.known > 0)
    of_learnt = design.tasks.described[known].any(0)[: len(learnt)]
    alike = np.zeros((scales.size(scale), design.layout.levels))
    for place, name in enumerate(scales.labels(scale)):
        if name in learnt and described[place] < of_learnt[learnt.index(name)]:
            raise CrowdError(
                f"ask: nothing describes the option '{name}', and in the run it is always told "
                "what it is; fill in its row"
            )
        if name in learnt:
            alike[place, learnt.index(name)] = 1.0
        elif described[place]:
            alike[place, : len(learnt)] = of_learnt / of_learnt.sum()
        else:
            raise CrowdError(
                f"ask: nothing describes the option '{name}', and the run has none of that name "
                f"(it has: {', '.join(map(as_shown, learnt))}); say what it is, or leave it out"
            )
    return alike


def of_levels(
    source: np.ndarray,
    axis: int,
    design: Design,
    lent: tuple[np.ndarray, Layout],
    described: Mapping[int, np.ndarray],
) -> np.ndarray:
    """What beliefs (or profiles) do to single levels of nominal scales; to new ones nothing, or of
    scales whose levels are described what they do to those that these are like.

    Args:
      source: (S, ...) of a crowd's scales, whose levels stand along `axis`. lent: (S',) which of
        them each new scale borrows from, and the new scales' layout. described: by new scale, which
        of its levels (K,) bool are.
    """
    lender, layout = lent
    shape = list(source.shape)
    shape[0], shape[axis] = len(lender), layout.levels
    values = np.zeros(shape, np.float32)
    for place, (scale, lends) in enumerate(zip(layout.scales, lender, strict=True)):
        if SINGLE[type(scale)] is nominal and scale == design.layout.scales[lends]:
            own = source[lends].take(range(scales.size(scale)), axis - 1)
        elif place in described:
            alike = _alike(design, int(lends), scale, described[place])
            own = np.moveaxis(np.tensordot(alike, source[lends], (1, axis - 1)), 0, axis - 1)
        else:
            continue
        values[place][tuple(map(slice, own.shape))] = own
    return values


def by_scale(questions: Questions, options: Options | None) -> dict[int, np.ndarray]:
    """Which levels (K,) bool of the first question on each scale are described, if any is."""
    if options is None:
        return {}
    first = {int(scale): row for row, scale in reversed(list(enumerate(questions.scale)))}
    sizes = list(map(scales.size, questions.scales.values()))
    described = {s: options.described[row, : sizes[s]] for s, row in first.items()}
    return {s: levels for s, levels in described.items() if levels.any()}
