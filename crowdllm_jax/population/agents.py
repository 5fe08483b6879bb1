"""Agents in memory: who they are and what they answer, also as tables of other libraries."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.population.frames import SHOWN, agents_table, html_of, numbers_on, to_arviz
from crowdllm_jax.study.records import Attribute
from crowdllm_jax.study.scales import Scale

if TYPE_CHECKING:
    import pandas
    import polars
    import xarray


@dataclass(frozen=True)
class Agents:
    """A population in memory, or a block of one: N agents and their answers to T tasks.

    Attributes:
      ids: (N,) int64. profile: attributes with N cells.
      answers: (N, T) levels of discrete tasks (values of continuous ones), smallest type that fits;
        -1 (NaN) where an agent was not asked.
      tasks: id and scale of each task; empty of blocks, which whoever draws them knows.

    Examples:
      >>> agents
      Agents(1,000 agents, 6 tasks; profile: age, education, income, log_place_size)
      >>> agents.answers.shape, agents.profile[0].name
      ((1000, 6), 'age')
    """

    ids: np.ndarray
    profile: tuple[Attribute, ...]
    answers: np.ndarray
    tasks: tuple[tuple[str, Scale], ...] = ()

    def to_arrow(self) -> pa.Table:
        """A row per agent: agent_id, the profile, and a column per task with the answers as the
        study writes them (numbers, codes or words).

        Examples:
          >>> agents.to_arrow().num_rows
          1000
        """
        return agents_table(self.ids, self.profile, self.tasks, self.answers)

    def to_pandas(self) -> "pandas.DataFrame":
        """The same as a data frame of pandas.

        Examples:
          >>> frame = agents.to_pandas()
          >>> list(frame.columns[:3]), len(frame)
          (['agent_id', 'age', 'education'], 1000)
        """
        return self.to_arrow().to_pandas()

    def to_polars(self) -> "polars.DataFrame":
        """The same as a data frame of polars.

        Raises:
          CrowdError: polars is not installed.

        Examples:
          >>> agents.to_polars().height
          1000
        """
        try:
            import polars
        except ImportError as error:
            raise CrowdError("to_polars: polars is not installed: pip install polars") from error
        return polars.from_arrow(self.to_arrow())

    @property
    def numbers(self) -> np.ndarray:
        """(N, T) float64: the number that each answer counts as, in its scale's units (of a nominal
        scale, the place of the level); NaN where an agent was not asked.

        Examples:
          >>> agents.numbers.mean(0).shape
          (6,)
        """
        return numbers_on(self.tasks, self.answers)

    def to_arviz(self) -> "xarray.DataTree":
        """`numbers` as draws for ArviZ: `posterior_predictive.answer` of dimensions chain (1), draw
        (N, the agents) and task (T).

        Raises:
          CrowdError: ArviZ is not installed.

        Examples:
          >>> agents.to_arviz().posterior_predictive["answer"].sizes["draw"]
          1000
        """
        return to_arviz(self.numbers[None], ["task"], {"task": [task for task, _ in self.tasks]})

    def __repr__(self) -> str:
        n, t = self.answers.shape
        known = ", ".join(attribute.name for attribute in self.profile) or "nothing"
        return f"Agents({n:,} agents, {t:,} tasks; profile: {known})"

    def _repr_html_(self) -> str | None:
        if not self.tasks:
            return None
        shown = replace(self, answers=self.answers[:, :SHOWN], tasks=self.tasks[:SHOWN])
        return html_of(shown.to_arrow(), repr(self))
