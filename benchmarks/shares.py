"""What it costs to cut steps into shares: milliseconds a step of fits by two devices of a CPU.

    python benchmarks/shares.py [--repeats 5]

Medians of interleaved fits of the published model (384 features, 400 hidden units) in pieces of
one epoch, compiled before.
"""

import argparse
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from crowdllm_jax.model.cvae import epoch
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.cvae.fit import Data, Run, TrainConfig, begin

ANSWERS = 64 * 64


def data(answers: int, seed: int) -> Data:
    random = np.random.default_rng(seed)
    x, c = random.normal(size=(200, 384)), random.normal(size=(500, 31))
    person, task = random.integers(0, 500, answers), random.integers(0, 200, answers)
    return Data(x, c, random.uniform(size=200), person, task, random.uniform(size=answers))


class Fit:
    """A fit of which epochs are computed one after another."""

    def __init__(self, batch: int, shares: int) -> None:
        config = TrainConfig(
            batch_size=batch, devices=2, shares=shares, epochs=10_000, patience=10_000
        )
        run = Run(data(ANSWERS, 0), data(1, 1), CvaeConfig(), config, 0)
        self.program, self.mesh, self.state, self.tables, self.inputs = begin([run])
        self.batch, self.number = batch, 0

    def step(self) -> float:
        """Milliseconds that one of the next epoch's steps takes."""
        number = jnp.int32(self.number)
        order = epoch.order_of(self.mesh, number, self.inputs)
        piece = epoch.Piece(number, order, jnp.int32(2**30))
        began = time.perf_counter()
        self.state, info = epoch.advance(
            self.program, self.mesh, self.state, self.tables, self.inputs, piece
        )
        jax.block_until_ready(info)
        self.number += 1
        return 1000 * (time.perf_counter() - began) / (ANSWERS // self.batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    jax.config.update("jax_num_cpu_devices", 2)
    for batch in (64, 1024):
        fits = {shares: Fit(batch, shares) for shares in (1, 2, 8)}
        for fit in fits.values():
            fit.step()
        turns = [{shares: fit.step() for shares, fit in fits.items()} for _ in range(repeats)]
        for shares in fits:
            took = statistics.median(turn[shares] for turn in turns)
            print(f"batch {batch:5}  shares {shares}  {took:7.2f} ms a step", flush=True)


if __name__ == "__main__":
    main()
