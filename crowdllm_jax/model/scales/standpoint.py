"""What an answer depends on where tasks are answered one at a time."""

from typing import NamedTuple

import jax


class Given(NamedTuple):
    """Answers: task, level (integers), and value in [0, 1], all of one shape (B, J)."""

    task: jax.Array
    level: jax.Array
    value: jax.Array


class Standpoint(NamedTuple):
    """Where agents stand on J tasks.

    Attributes:
      location: (B, J, M) under M beliefs; (N, J) of N agents.
      scale: personal scales that broadcast with it.
      utility: location's shape and (K,), of each level; None unless tasks are nominal.
      cuts: (T, K + 1) ends of the levels on the axis of the location.
      log_residual: (T,) log deviation of values.
    """

    location: jax.Array
    scale: jax.Array
    utility: jax.Array | None
    cuts: jax.Array
    log_residual: jax.Array
