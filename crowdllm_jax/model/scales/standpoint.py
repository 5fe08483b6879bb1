"""What an answer depends on where tasks are answered one at a time."""

from typing import NamedTuple

import jax


class Given(NamedTuple):
    """Answers: task, level (integers), and value in [0, 1], all of one shape (R, J)."""

    task: jax.Array
    level: jax.Array
    value: jax.Array


class Standpoint(NamedTuple):
    """Where agents stand on J tasks.

    Attributes:
      location: (R, J, M) under M beliefs of a row's person; (N, J) of N agents.
      scale: personal scales that broadcast with it.
      utility: location's shape and (K,), of each level; None unless tasks are nominal.
      cuts: (T, K + 1) ends of the levels on the axis of the location, of all tasks. None of agents,
        whose levels are drawn faster (`ordered.draw`).
      log_residual: log deviation of values: (T,) of all tasks; (J,) of agents.
    """

    location: jax.Array
    scale: jax.Array
    utility: jax.Array | None
    cuts: jax.Array | None
    log_residual: jax.Array
