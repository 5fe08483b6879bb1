"""Choices among options that no known task has, by what describes them.

An option called as a learnt one is, such as "none of these", is that one, whatever describes it;
any other is taken for the described ones on average, and what tells it apart is its description.
"""

from collections.abc import Mapping

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.persistent.design import Design
from crowdllm_jax.model.persistent.layout import Layout
from crowdllm_jax.model.scales import nominal
from crowdllm_jax.model.scales.kinds import SINGLE
from crowdllm_jax.runtime.names import as_shown
from crowdllm_jax.study import scales
from crowdllm_jax.study.questions import Questions
from crowdllm_jax.study.scales import Scale


def of_described(
    arrays: dict[str, np.ndarray], design: Design, row: int, scale: Scale, options: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Logits (K,) of the levels of a choice task with options that no known task has, by what
    describes them (K, Q), and what beliefs do to these (K, L).

    Args:
      arrays: a crowd's parameters by name. row: the task's index among the crowd's, where it stands
        on the scale that it borrows from.
    Raises:
      CrowdError: an option that is described by nothing, and that no known task has.
    """
    lends = int(design.tasks.scale[row])
    size = scales.size(scale)
    alike = _alike(design, lends, scale, options[:size])
    level = alike @ arrays["level"][lends] + options[:size] @ arrays["effects.mean.part_worth"]
    by_option = options[:size] @ arrays["effects.mean.part_worth_loading"]
    return level, alike @ arrays["effects.mean.level_loading"][lends] + by_option


def _alike(design: Design, lends: int, scale: Scale, options: np.ndarray) -> np.ndarray:
    """(K', K) which learnt levels new ones are taken for, whatever describes them: those called
    alike, or all that are described on average."""
    assert design.tasks.options is not None
    learnt = scales.labels(design.layout.scales[lends])
    on_scale = design.tasks.options[(design.tasks.scale == lends) & (design.tasks.known > 0)]
    described = on_scale.any((0, 2))[: len(learnt)]
    alike = np.zeros((scales.size(scale), design.layout.levels))
    for place, name in enumerate(scales.labels(scale)):
        if name in learnt:
            alike[place, learnt.index(name)] = 1.0
        elif options[place].any():
            alike[place, : len(learnt)] = described / described.sum()
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
    options: Mapping[int, np.ndarray],
) -> np.ndarray:
    """What beliefs (or profiles) do to single levels of nominal scales; to new ones nothing, or of
    scales whose levels are described (K, Q) what they do to those that these are like."""
    lender, layout = lent
    shape = list(source.shape)
    shape[0], shape[axis] = len(lender), layout.levels
    values = np.zeros(shape, np.float32)
    for place, (scale, lends) in enumerate(zip(layout.scales, lender, strict=True)):
        if SINGLE[type(scale)] is nominal and scale == design.layout.scales[lends]:
            own = source[lends].take(range(scales.size(scale)), axis - 1)
        elif place in options:
            alike = _alike(design, int(lends), scale, options[place])
            own = np.moveaxis(np.tensordot(alike, source[lends], (1, axis - 1)), 0, axis - 1)
        else:
            continue
        values[place][tuple(map(slice, own.shape))] = own
    return values


def options_of(questions: Questions, options: np.ndarray | None) -> dict[int, np.ndarray]:
    """What describes the levels (K, Q) of the first question on each scale, if anything does."""
    if options is None:
        return {}
    first = {int(scale): row for row, scale in reversed(list(enumerate(questions.scale)))}
    sizes = list(map(scales.size, questions.scales.values()))
    return {s: options[row, : sizes[s]] for s, row in first.items() if options[row].any()}
