"""What is learnt from: questions as tokens beside people's answers, cut into batches of few shapes.

The batches of an epoch depend on the seed and the epoch alone, so that tuning which was interrupted
goes on with the very batch that it would have come to.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from crowdllm_jax.backbone.scoring import TokenRows, pack, padded, shape_of
from crowdllm_jax.backbone.tokens import Encoded


@dataclass(frozen=True)
class Example:
    """A question, and what people answer to it.

    Attributes:
      shares: (K,) of its options among people, in the order in which they are offered, sum 1.
      weight: how many people these are.
      steps: (K - 1,) from each option to the next, of the scale's whole width; zeros where the
        options have no order.
      scale: which of the study's scales it is answered on.
    """

    encoded: Encoded
    shares: np.ndarray
    weight: float
    steps: np.ndarray
    scale: int


class Batch(NamedTuple):
    """B examples as arrays; rows that fill it up have the weight 0."""

    rows: TokenRows
    shares: np.ndarray  # (B, K)
    offered: np.ndarray  # (B, K) 1 where there is such an option
    steps: np.ndarray  # (B, K - 1)
    weight: np.ndarray  # (B,), on average 1 over all examples
    scale: np.ndarray  # (B,)


def until_task(example: Example) -> Example:
    """The example without what stands behind the task's own text, for a model that does not read
    it."""
    e = example.encoded
    first_tokens = tuple(option[:1] for option in e.options)
    return replace(example, encoded=replace(e, prompt=e.prompt[: e.task[1]], options=first_tokens))


@dataclass(frozen=True)
class Batches:
    """Examples, and how they are cut: `rows` of similar length at a time."""

    examples: Sequence[Example]
    rows: int

    def order(self, seed: tuple[int, ...] | None = None) -> list[np.ndarray]:
        """Places of the examples of each batch; shuffled, but for the lengths, if there is a
        seed."""
        length = np.array(
            [padded(len(e.encoded.prompt) + _tail(e.encoded)) for e in self.examples],
            dtype=np.int64,
        )
        random = None if seed is None else np.random.default_rng(seed)
        batches = []
        for size in np.unique(length):
            places = np.flatnonzero(length == size)
            if random is not None:
                places = random.permutation(places)
            batches += [places[i : i + self.rows] for i in range(0, len(places), self.rows)]
        if random is not None:
            batches = [batches[i] for i in random.permutation(len(batches))]
        return batches

    def batch(self, places: np.ndarray) -> Batch:
        """The arrays of some examples."""
        chosen = [self.examples[i] for i in places]
        shape = shape_of([e.encoded for e in self.examples])
        B, K = self.rows, shape[2]
        shares, offered = np.zeros((B, K), np.float32), np.zeros((B, K), np.float32)
        steps = np.zeros((B, K - 1), np.float32)
        weight, scale = np.zeros(B, np.float32), np.zeros(B, np.int32)
        average = np.mean([e.weight for e in self.examples])
        offered[:, 0] = 1  # no row is without any, and none has an undefined loss
        for b, e in enumerate(chosen):
            k = len(e.shares)
            shares[b, :k], offered[b, :k], steps[b, : k - 1] = e.shares, 1, e.steps
            weight[b], scale[b] = e.weight / average, e.scale
        rows = pack([e.encoded for e in chosen], 0, shape, B)
        return Batch(rows, shares, offered, steps, weight, scale)


def tokens_of(batch: Batch) -> int:
    """How many tokens of a batch are no padding."""
    return int((batch.rows.segment >= 0).sum())


def _tail(e: Encoded) -> int:
    return sum(len(option) - 1 for option in e.options)
