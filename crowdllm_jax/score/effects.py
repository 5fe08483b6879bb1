"""What a profile does to the answers, with its uncertainty.

Read off the persistent model: every effect of a profile column on the location has a normal
posterior under a prior that the data may shrink to nothing, so that attributes which say nothing
of the answers come out as none. Effects are logits, averaged over the tasks of a scale and
relative to the average training participant (by survey weight, and as raked to
margins): +0.4 lifts a chance of 50% to 60%.
"""

from dataclasses import dataclass

import numpy as np
from flax import nnx

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd import Crowd, check_crowd
from crowdllm_jax.model.persistent.belief import even_beliefs
from crowdllm_jax.model.persistent.design import Design, profile_matrix
from crowdllm_jax.model.persistent.draw import ready_to_draw
from crowdllm_jax.study import scales

WIDTH = 1.96  # posterior standard deviations to either end of a 95% interval


@dataclass(frozen=True)
class LevelEffect:
    """What one level of an attribute (or one standard deviation of a number) does, in logits.

    Attributes:
      people: weighted share of the training participants with this level; NaN for a number.
      effect, low, high: posterior mean and 95% interval.
    """

    level: str
    people: float
    effect: float
    low: float
    high: float


@dataclass(frozen=True)
class AttributeEffect:
    """What one attribute does to the answers on one scale.

    Attributes:
      spread, low, high: standard deviation over the training participants of what the attribute
        adds to their location, in logits: posterior median and 95% interval.
      belief: the same of what agents of one profile differ by, to compare.
      levels: of each level alone.
    """

    scale: str
    attribute: str
    spread: float
    low: float
    high: float
    belief: float
    levels: tuple[LevelEffect, ...]


def profile_effects(crowd: Crowd) -> list[AttributeEffect]:
    """Every attribute's effect on every scale but the nominal ones, which have no location.

    Returns:
      One `AttributeEffect` for each scale and attribute, in logits with 95% intervals.
    Raises:
      CrowdError: the crowd is not of the persistent model.

    Examples:
      >>> first = cl.profile_effects(crowd)[0]
      >>> first.attribute, first.low <= first.spread <= first.high
      ('age', True)
    """
    check_crowd(crowd)
    if not isinstance(crowd.inputs, Design):
        raise CrowdError("profile effects need the persistent model (model.kind: persistent)")
    design, model = crowd.inputs, nnx.merge(crowd.graph, crowd.params)
    drawable = ready_to_draw(crowd.graph, crowd.params, design)
    z = even_beliefs(model.belief, 4096)
    rows = crowd.generator.attributes
    if not rows:
        return []
    people = profile_matrix(crowd.codings, rows, len(rows[0].cells))
    weight = crowd.generator.weight / crowd.generator.weight.sum()
    centre = weight @ people if np.ptp(weight) else design.centre
    people = people - centre
    mean = {n: np.asarray(model.effects.mean[n][...]) for n in ("profile", "interaction")}
    sd = {n: np.exp(np.asarray(model.effects.log_sd[n][...])) for n in ("profile", "interaction")}
    random = np.random.default_rng(0)
    effects = []
    for index, (name, scale) in enumerate(crowd.scales.items()):
        on_scale = crowd.task_scale == index
        if not scales.is_ordered(scale) or not on_scale.any():
            continue
        loading = design.tasks.loading[on_scale].mean(0)
        # Logits are those of people in the middle, whose noise is the unit.
        usual = 1.0 if scales.is_continuous(scale) else float(model.belief.usual_scale)
        size = np.exp(float(model.log_unit[...][index])) / usual
        effect = (mean["profile"] + mean["interaction"] @ loading) * size
        noise = np.sqrt(sd["profile"] ** 2 + sd["interaction"] ** 2 @ loading**2) * size
        belief = float(np.std(z @ np.asarray(drawable.items.loading)[on_scale].mean(0) / usual))
        first = 0
        for coding in crowd.codings:
            span = slice(first, first := first + len(coding.columns))
            moved = people[:, span]
            drawn = effect[span] + noise[span] * random.standard_normal((2000, len(noise[span])))
            spread = np.sqrt(weight @ (moved @ drawn.T) ** 2)
            low, middle, high = map(float, np.quantile(spread, [0.025, 0.5, 0.975]))
            own = centre[span], effect[span], noise[span]
            levels = tuple(
                _level(coding.kind == "numeric", column, position, *own)
                for position, column in enumerate(coding.columns)
            )
            effects.append(AttributeEffect(name, coding.name, middle, low, high, belief, levels))
    return effects


def _level(
    numeric: bool,
    column: str,
    position: int,
    centre: np.ndarray,
    effect: np.ndarray,
    noise: np.ndarray,
) -> LevelEffect:
    """One column's effect relative to the average person's."""
    contrast = np.eye(len(effect))[position] - (0 if numeric else centre)
    middle = float(contrast @ effect)
    half = WIDTH * float(np.sqrt(contrast**2 @ noise**2))
    share = float("nan") if numeric else float(centre[position])
    return LevelEffect(column, share, middle, middle - half, middle + half)
