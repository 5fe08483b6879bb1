"""What it is worth to people that an option has something: the part-worths of conjoint analysis.

Read off the persistent model: a person's utility of an option is the sum of what its attributes are
worth to that person (Green & Srinivasan 1978), which profile and belief move. Worths are logits:
+1 multiplies the odds of an option against any other by 2.7.
"""

from dataclasses import dataclass

import numpy as np
from flax import nnx

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd import Crowd, check_crowd
from crowdllm_jax.model.persistent.asked import arrays_of
from crowdllm_jax.model.persistent.belief import even_beliefs
from crowdllm_jax.model.persistent.design import Design, profile_matrix
from crowdllm_jax.study.alternatives import codings_of
from crowdllm_jax.study.records import Study, check_study

PEOPLE = 4096
"""With whose profiles and beliefs worths are averaged: as many are drawn."""
WIDTH = 1.96
"""Posterior standard deviations to either end of a 95% interval."""


@dataclass(frozen=True)
class PartWorth:
    """What one level of an attribute, or one unit of a number, is worth to people, in logits.

    Attributes:
      level: empty of a number; worths of levels are relative to the attribute's average level.
      worth, low, high: the average over people, and its 95% interval.
      spread: standard deviation between people.
      importance: of the attribute: how far the options of the study lie apart by it, as a share of
        that by all attributes, averaged over people.
    """

    attribute: str
    level: str
    worth: float
    low: float
    high: float
    spread: float
    importance: float


def part_worths(crowd: Crowd, study: Study) -> list[PartWorth]:
    """What options' attributes are worth to people like those a crowd was fitted to.

    Args:
      study: that the crowd was fitted to, whose options are described.
    Returns:
      One `PartWorth` for each level, and each number.
    Raises:
      CrowdError: nothing describes the study's options, or the model is not the persistent one.

    Examples:
      >>> cl.part_worths(crowd, study)
      Traceback (most recent call last):
      crowdllm_jax.errors.CrowdError: nothing describes the options of the study (`alternatives`)
    """
    check_crowd(crowd)
    check_study(study)
    described, design = study.tasks.alternatives, crowd.inputs
    if described is None:
        raise CrowdError("nothing describes the options of the study (`alternatives`)")
    if not isinstance(design, Design):
        raise CrowdError("part-worths need the persistent model (model.kind: persistent)")
    arrays = arrays_of(crowd)
    worth = _by_person(crowd, design, arrays)
    sd = np.exp(arrays["effects.log_sd.part_worth"])
    codings, first, found = codings_of(described, design.tasks.known > 0), 0, []
    for coding, attribute in zip(codings, described.attributes, strict=True):
        span = slice(first, first := first + len(coding.columns))
        own, noise = worth[:, span], sd[span]
        if coding.kind == "numeric":
            unit = np.eye(len(noise))[:1] / coding.sd
            apart = np.abs(own[:, 0]) * np.ptp(attribute.cells[~np.isnan(attribute.cells)])
            apart, levels = apart / coding.sd, [""]
        else:
            unit = np.eye(len(noise)) - 1 / len(noise)
            apart, levels = np.ptp(own, axis=1), list(coding.levels)
        by_person = own @ unit.T
        half = WIDTH * np.sqrt(unit**2 @ noise**2)
        found.append((coding.name, levels, by_person, half, apart))
    total = np.sum([apart for *_, apart in found], axis=0)
    return [
        PartWorth(
            name,
            level,
            float(by_person[:, place].mean()),
            float(by_person[:, place].mean() - half[place]),
            float(by_person[:, place].mean() + half[place]),
            float(by_person[:, place].std()),
            float((apart / total).mean()),
        )
        for name, levels, by_person, half, apart in found
        for place, level in enumerate(levels)
    ]


def _by_person(crowd: Crowd, design: Design, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """(PEOPLE, Q) what the columns that describe options are worth to people."""
    model, generator = nnx.merge(crowd.graph, crowd.params), crowd.generator
    weight = generator.weight / generator.weight.sum()
    profile = profile_matrix(crowd.codings, generator.attributes, len(weight)) - design.centre
    who = np.random.default_rng(0).choice(len(weight), PEOPLE, p=weight)
    by_profile = profile @ arrays["effects.mean.belief_profile"]
    moved = even_beliefs(model.belief, PEOPLE) + by_profile[who]
    by_person = moved @ arrays["effects.mean.part_worth_loading"].T
    return np.asarray(arrays["effects.mean.part_worth"] + by_person)
