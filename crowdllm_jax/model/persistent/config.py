"""The persistent model's configuration."""

from typing import Annotated

import msgspec

FEWEST = 8
"""Dimensions that are never too many: what learned shrinkage leaves of them costs nothing."""
ANYWHERE, NEAR = 0.05, 0.02
"""Adam's highest rate in a fit that starts anywhere, and in one that starts near its end."""
MANY = 20
"""Answers to a task, on average, that say where it is so well that a fit starts near its end."""
Positive = Annotated[int, msgspec.Meta(ge=1)]


class PersistentConfig(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="kind",
    tag="persistent",
    forbid_unknown_fields=True,
):
    """The persistent model.

    Attributes:
      latent: numbers in a belief, besides the personal scale. The first moves all tasks of a scale
        alike; the others load on task features and on single known tasks, under priors that are
        learned, so that a dimension for which the answers do not speak shrinks to nothing. By
        default 8, and more where single tasks are known by numbers and answers that are left out
        say that more pay (`factors.enough`).
      injected: numbers of noise fed through the small network that makes the belief's
        distribution semi-implicit (Yin & Zhou 2018); 0 leaves it normal.
      components: principal components of the task features that effects may use.
      nodes: quasi-random beliefs, around where each person is, over which a person's likelihood is
        averaged.
      steps, people: Adam steps, and people per step.
      learning_rate: its highest rate; by default 0.05, and 0.02 where single tasks are known by
        numbers, at least 20 answers each on average: a fit to these starts near its end (`start`).
      devices: how many share the people of a step; of several processes, all that they have. A
        fit's rounding errors, and nothing else, depend on it.
      shares: into how many equal shares the people of a step are cut. With more than 1, the fit is
        the same bit for bit on any number of devices, from 2, that divides it.
    """

    latent: Positive | None = None
    injected: Annotated[int, msgspec.Meta(ge=0, le=8)] = 2
    components: Positive = 64
    nodes: Annotated[int, msgspec.Meta(ge=16)] = 16
    steps: Positive = 1000
    people: Positive = 64
    learning_rate: Annotated[float, msgspec.Meta(gt=0)] | None = None
    devices: Positive = 1
    shares: Positive = 1

    @property
    def dimensions(self) -> int:
        """Numbers in a belief: `latent`, and where nothing has chosen it the least."""
        return FEWEST if self.latent is None else self.latent

    @property
    def rate(self) -> float:
        """Adam's highest rate: `learning_rate`, and where nothing has chosen it that of a fit that
        starts anywhere."""
        return ANYWHERE if self.learning_rate is None else self.learning_rate
