"""Products of floats that decide answers are as exact on every device.

An accelerator multiplies the factors of a matrix product rounded to 10 bits (TF32, on a GPU) or 7
(bfloat16, on a TPU) unless it is told otherwise. Some answers would then come out otherwise than on
a CPU, and a fit would end elsewhere.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import jax

SAME_BITS = {"xla_gpu_deterministic_ops": True}
"""Compiler options of fits and samplers: a GPU adds up in a fixed order, and does not choose its
programs by timing them, so that the same command gives the same bits. Others do so anyway."""


@contextmanager
def float32_products() -> Iterator[None]:
    """Where programs are traced, let their products of float32 be products of float32.

    Also a decorator, below `jax.jit`. A CPU computes the same with it and without.
    """
    with jax.default_matmul_precision("highest"):
        yield
