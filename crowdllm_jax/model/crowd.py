"""A fitted crowd: everything that sampling needs, and nothing of the people's answers.

It can be saved, moved to another machine and sampled there without the study. It does hold the
training participants' profiles (without ids), from which agents are recruited.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax import nnx

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.model.persistent.design import Design
from crowdllm_jax.profiles.generator import ProfileGenerator
from crowdllm_jax.study import scales
from crowdllm_jax.study.coding import Coding
from crowdllm_jax.study.scales import Scale

ModelConfig = PersistentConfig | CvaeConfig


class CvaeInputs(NamedTuple):
    """x: (T, F) task features. reference: (T,) reference decision in [0, 1]."""

    x: np.ndarray
    reference: np.ndarray


Inputs = Design | CvaeInputs
"""What a model reads of the tasks; a tuple of arrays is kept and restored as it is."""


@dataclass(frozen=True)
class Crowd:
    """A fitted model with the tasks it answers and the people it recruits from.

    Attributes:
      graph, params: the network (`nnx.merge` joins them) and its weights.
      inputs: what the model reads of the tasks.
      scales: by name; task_scale: (T,) index into them.
      codings: how a profile becomes C numbers.
      asked: its tasks were asked after the fit: each is answered by itself, from draws keyed by its
        own id, whatever else is asked.
      ask_if: by the id of a task that only some agents are asked, the condition (`study.routing`).

    Examples:
      >>> crowd
      Crowd(persistent, 6 tasks; profile: age, education, income, log_place_size)
    """

    config: ModelConfig
    graph: nnx.GraphDef[Any]
    params: nnx.State[Any, Any]
    task_ids: tuple[str, ...]
    scales: dict[str, Scale]
    task_scale: np.ndarray
    inputs: Inputs
    codings: tuple[Coding, ...]
    generator: ProfileGenerator
    asked: bool = False
    ask_if: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        known = ", ".join(coding.name for coding in self.codings) or "nothing"
        return f"Crowd({kind(self.config)}, {len(self.task_ids):,} tasks; profile: {known})"

    @property
    def task_scales(self) -> tuple[Scale, ...]:
        """The scale of each of T tasks.

        Examples:
          >>> len(crowd.task_scales)
          6
        """
        in_order = tuple(self.scales.values())
        return tuple(in_order[index] for index in self.task_scale)


def kind(model: ModelConfig) -> str:
    """The model's name in a configuration, in a run's folder and in its scores."""
    return str(model.__struct_config__.tag)


def numbers_of(crowd: Crowd, answers: np.ndarray) -> np.ndarray:
    """(N, T) float32 numbers that answers (levels, or values if continuous) stand for; NaN where
    an agent was not asked."""
    numbers = answers.astype(np.float32)
    for index, scale in enumerate(crowd.scales.values()):
        tasks = np.flatnonzero(crowd.task_scale == index)
        numbers[:, tasks] = scales.numbers(scale, answers[:, tasks])
    return numbers


def check_crowd(crowd: object) -> None:
    """Raise CrowdError if it is none, such as the path of one."""
    if not isinstance(crowd, Crowd):
        what = f"'{crowd}'" if isinstance(crowd, str | Path) else type(crowd).__name__
        raise CrowdError(
            f"crowd: {what} is no fitted crowd; fit one with cl.fit(study, config), or load that "
            "of a run with cl.load_crowd('RUN/seed-0/persistent/crowd')"
        )
