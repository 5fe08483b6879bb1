"""The record every kind of reference returns."""

from dataclasses import dataclass

import numpy as np

from crowdllm_jax.reference.ridge import Head
from crowdllm_jax.runtime.numerals import numbers_of
from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.scales import Binary, Scale


@dataclass(frozen=True)
class Spent:
    """What it took to ask a server, all tries counted.

    Attributes:
      calls: how many; none if all answers were kept from before. input_tokens, output_tokens: as
        the server reports them, guessed on the high side where it does not.
      cost: USD; None where no prices are configured.
    """

    calls: int
    input_tokens: int
    output_tokens: int
    cost: float | None
    how: str

    def __str__(self) -> str:
        cost = "" if self.cost is None else f", {self.cost:,.4f} USD"
        return (
            f"{self.calls:,} calls, {self.input_tokens:,} tokens in, {self.output_tokens:,} out"
            f"{cost}; {self.how}"
        )


@dataclass(frozen=True)
class Gain:
    """What one source of task features brings to a forecast of left-out training tasks: ranked
    probability score (NaN on continuous scales) and correlation with people's averages, of a
    forecast from it alone, and of one from all the others. Heads have not seen the tasks; the
    weights of several heads are of all training tasks."""

    source: str
    alone: tuple[float, float]
    without: tuple[float, float]


@dataclass(frozen=True)
class Reference:
    """Reference decisions for T tasks.

    Attributes:
      kind: where they come from.
      mean: (T,) expected answer as a number in the task's own scale.
      probs: (T, K) probability of each level, K of the longest scale, rows padded with zeros; None
        where only the mean is known.
      mass: (T,) probability the model gave to the listed options at all; None where unknown.
      embedding: (T, D) float32, what the model made of each task's text; None where there is none.
      order: (T,) total variation between the answers in one order of the options and in the other;
        None where they were asked in one.
      spent: what asking took this time; None where no server is asked.
      others: further references of the same tasks, each to be trusted by itself.
      fitted: RPS and correlation of a fitted reference of several sources, as in `Gain`; and gains,
        what each of these brings.
      heads: per scale, the head of a fitted reference of one source, that predicts new tasks; of a
        pooled one, that of all.
    """

    kind: str
    mean: np.ndarray
    probs: np.ndarray | None = None
    mass: np.ndarray | None = None
    embedding: np.ndarray | None = None
    order: np.ndarray | None = None
    spent: Spent | None = None
    fitted: tuple[float, float] | None = None
    gains: tuple[Gain, ...] = ()
    others: tuple["Reference", ...] = ()
    heads: tuple[Head, ...] = ()

    @property
    def is_forecast(self) -> bool:
        """Whether it was learnt from training people's answers, each task's from the others', and
        so is in their own units."""
        return self.kind in ("fitted", "pooled")


def from_levels(
    study: Study,
    kind: str,
    probs: np.ndarray,
    mass: np.ndarray | None = None,
    embedding: np.ndarray | None = None,
) -> Reference:
    """A reference from the probabilities of the levels (T, K), rows summing to 1, on discrete
    scales alone."""
    mean = np.empty(len(probs))
    for index, scale in enumerate(study.scales.values()):
        on_scale = study.tasks.scale == index
        mean[on_scale] = probs[on_scale, : scales.size(scale)] @ scales.values(scale)
    return Reference(kind, mean, probs, mass, embedding)


def written_ends(scale: Scale) -> tuple[float, float]:
    """The numbers that the study writes for the lowest and highest level of an ordered scale.

    They are what these levels count as, unless a binary scale's levels are other numbers than 0 and
    1: with levels 1 and 2, a mean of answers lies between 1 and 2.
    """
    low, *_, high = scales.values(scale).tolist()
    if isinstance(scale, Binary):
        numbers = numbers_of(scale.levels, ordered=False)
        if numbers[0] is not None and numbers[1] is not None:
            return numbers[0], numbers[1]
    return low, high
