"""Training the published model: one run against torch, and 32 runs together against one by one.

    python benchmarks/training.py [--compile] [--json FILE]

The sizes are those of the three configurations (400 hidden units, 32 latent, batches of 64); the
data are made up.

    one    an epoch of ours, of a torch DataLoader loop, and of torch with care (tensors on the
           device, batches by index, fused Adam; torch.compile with --compile). All start from the
           same weights, and two epochs on the same batches with the same noise are checked to give
           the same losses before anything is timed.
    many   8 seeds x 4 shares of the people (1, 5, 20, 100%): `fit` one after the other, `fit_many`
           over all devices (on a CPU, one device per core), and on a CPU also the program in which
           all runs step together (vmap), which `fit_many` is on an accelerator. The losses are
           checked to be equal. "first" is the time of the first call, compiling included.

The variants take turns; medians are printed, with the ratio to ours. The ceiling is the machine's
own matrix product, measured in the same turns.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax

if "JAX_NUM_CPU_DEVICES" not in os.environ:
    jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))

import jax.numpy as jnp
import numpy as np
import torch
from jax.sharding import AxisType, Mesh
from torch_cvae import copy_weights
from torch_training import TorchTrainer, with_care, with_loader

from crowdllm_jax.model.cvae import epoch as program_of
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.cvae.decision import Noise, draw_noise
from crowdllm_jax.model.cvae.fit import Data, Run, TrainConfig, begin, fit, fit_many


class Shape(NamedTuple):
    features: int
    profile: int
    tasks: int
    people: int
    responses: int


SHAPES = {
    "offensiveness": Shape(384, 31, 1200, 262, 6000),
    "zurich_voting": Shape(32, 7, 24, 135, 2424),
    "anes96": Shape(6, 10, 6, 944, 4242),
}
SHARES = (0.01, 0.05, 0.2, 1.0)
SEEDS = 8
EVERYTHING = np.int32(2**30)
"""Responses in a piece: an epoch is one."""
TOLERANCE = 1e-4  # relative, of a loss; float32 rounding through two epochs of Adam is below 1e-5


def make_run(shape: Shape, share: float, seed: int, epochs: int, held: int) -> Run:
    """Answers that follow the reference and the person."""
    tables = np.random.default_rng(0)
    x = np.tanh(tables.normal(size=(shape.tasks, shape.features)) / 4).astype(np.float32)
    c = (tables.random((shape.people, shape.profile)) < 0.16).astype(np.float32)
    reference = tables.random(shape.tasks).astype(np.float32)
    bias = tables.normal(size=shape.people)
    rng = np.random.default_rng([1, seed])

    def data(count: int, people: int) -> Data:
        person = rng.integers(0, people, count).astype(np.int32)
        task = rng.integers(0, shape.tasks, count).astype(np.int32)
        answer = np.clip(reference[task] + 0.2 * bias[person], 0, 1).round(1).astype(np.float32)
        return Data(x, c, reference, person, task, answer)

    part = data(round(shape.responses * share), max(1, round(shape.people * share)))
    return Run(part, data(held, shape.people), CvaeConfig(), TrainConfig(epochs=epochs), seed)


class Ours:
    """The compiled epoch of one run, and what it trains on."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.program, self.mesh, self.state, self.tables, self.inputs = begin([run])
        self.first = jax.device_get(jax.tree.map(lambda leaf: leaf[0], self.state.params))

    def epoch(self) -> float:
        epoch = np.int32(np.asarray(self.state.epoch)[0])
        order = program_of.order_of(self.mesh, epoch, self.inputs)
        piece = program_of.Piece(epoch, order, EVERYTHING)
        self.state, info = program_of.advance(
            self.program, self.mesh, self.state, self.tables, self.inputs, piece
        )
        return float(info.losses[0, 0, 0])

    def batches(self, epoch: int) -> tuple[list[list[int]], list[Noise]]:
        """The rows and the noise of an epoch's batches."""
        size, count = self.program.batch, len(self.run.train.answer)
        key = jax.random.fold_in(jax.random.key(self.run.seed), epoch)
        order_key, noise_key = jax.random.split(key)
        order = np.asarray(program_of.shuffled(order_key, count, jnp.int32(count)))
        rows = [order[begin : begin + size].tolist() for begin in range(0, count, size)]
        noises = [
            draw_noise(jax.random.fold_in(noise_key, number), len(batch), self.run.model)
            for number, batch in enumerate(rows)
        ]
        return rows, noises


def check_equal(ours: Ours, rivals: dict[str, TorchTrainer]) -> None:
    """Two epochs of everyone on the same batches give the same losses."""
    for epoch in range(2):
        batches, noises = ours.batches(epoch)
        own = ours.epoch()
        for name, rival in rivals.items():
            if epoch == 0:
                copy_weights(rival.model, ours.first)
            other = rival.epoch(batches, noises)
            if not abs(own - other) <= TOLERANCE * abs(own):
                raise SystemExit(f"{name}: loss {other} in epoch {epoch + 1}, ours is {own}")


def take_turns(ways: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, work in ways.items():
            began = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def matmul_ceiling() -> Callable[[], float]:
    """Seconds for a known number of operations; all devices' cores take part on a CPU."""
    n = 2048 if jax.default_backend() == "cpu" else 8192
    a = jax.random.normal(jax.random.key(0), (n, n))
    product = jax.jit(lambda a: a @ a)
    product(a).block_until_ready()
    matmul_ceiling.operations = 2 * n**3
    return lambda: product(a).block_until_ready()


def operations(run: Run, state: object) -> int:
    """Of the matrix products in one step: forward, and backward to weights and to inputs (but not
    to the features)."""
    kernels = [leaf for leaf in jax.tree.leaves(state) if leaf.ndim == 2]
    first = (run.train.x.shape[1] + run.train.c.shape[1]) * run.model.hidden
    return 2 * run.config.batch_size * (3 * sum(leaf.size for leaf in kernels) - first)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--compile", action="store_true", help="torch.compile the careful rival")
    parser.add_argument("--only", nargs="+", choices=("one", "many"), default=("one", "many"))
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=tuple(SHAPES))
    parser.add_argument("--repeats", type=int, default=7, help="epochs timed in `one`")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of each run in `many`")
    parser.add_argument("--json", type=Path, help="write the records here")
    args = parser.parse_args()
    device = jax.devices()[0].device_kind
    rival_device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"ours on {len(jax.devices())} x {device}, torch {torch.__version__} on {rival_device}")
    records: list[dict] = []

    def note(benchmark: str, variant: str, metric: str, value: float, unit: str) -> None:
        where = rival_device if variant.startswith("torch") else device
        print(f"{benchmark:26} {variant:28} {metric:34} {value:12.4g} {unit}", flush=True)
        records.append(
            {
                "benchmark": benchmark,
                "variant": variant,
                "metric": metric,
                "value": value,
                "unit": unit,
                "device": where,
            }
        )

    for shape in args.shapes:
        if "one" in args.only:
            one(shape, args.repeats, args.compile, rival_device, note)
        if "many" in args.only:
            many(shape, args.epochs, note)
    if args.json:
        args.json.write_text(json.dumps(records, indent=1) + "\n")


def one(
    shape: str, repeats: int, compiled: bool, rival_device: str, note: Callable[..., None]
) -> None:
    # Neither side validates here: an epoch is its steps.
    ours = Ours(make_run(SHAPES[shape], 1.0, 0, epochs=10_000, held=0))
    rivals = {
        "torch, DataLoader": with_loader(ours.run, rival_device),
        "torch, with care": with_care(ours.run, rival_device, False),
    }
    if compiled:
        rivals["torch, with care, compiled"] = with_care(ours.run, rival_device, True)
    check_equal(ours, rivals)
    batches, _ = ours.batches(2)
    ceiling = matmul_ceiling()
    ways = {"ours": ours.epoch}
    ways |= {name: partial(rival.epoch, batches, None) for name, rival in rivals.items()}
    seconds = take_turns(ways | {"ceiling": ceiling}, repeats)
    steps, name = len(batches), f"training one, {shape}"
    for variant in ways:
        median = statistics.median(seconds[variant])
        ratio = statistics.median(
            b / a for a, b in zip(seconds["ours"], seconds[variant], strict=True)
        )
        note(name, variant, "steps", steps / median, "1/s")
        note(name, variant, "time relative to ours", ratio, "x")
    rate = matmul_ceiling.operations / statistics.median(seconds["ceiling"])
    done = steps * operations(ours.run, ours.first) / statistics.median(seconds["ours"])
    note(name, "ours", "matmul ceiling", rate, "FLOP/s")
    note(name, "ours", "share of the matmul ceiling", done / rate, "1")


def together(runs: list[Run]) -> Callable[[], np.ndarray]:
    """All runs in one program on one device, one step at a time for all of them (vmap)."""
    program, *_, tables, inputs = begin(runs)
    tables, inputs = jax.device_put((tables, inputs), jax.devices()[0])
    mesh = Mesh(np.array(jax.devices()[:1]), ("runs",), axis_types=(AxisType.Auto,))
    axes = (0, None, 0, program_of.PIECE_AXES)
    every = jax.jit(jax.vmap(partial(program_of._one, program, mesh), axes), donate_argnums=0)

    def train_all() -> np.ndarray:
        state = program_of.start(program, inputs.key)
        for epoch in range(max(run.config.epochs for run in runs)):
            order = program_of.order_of(mesh, np.int32(epoch), inputs)
            piece = program_of.Piece(np.int32(epoch), order, EVERYTHING)
            state, _ = every(state, tables, inputs, piece)
        return np.asarray(state.history)

    return train_all


def many(shape: str, epochs: int, note: Callable[..., None]) -> None:
    # Long runs among short ones: every device gets as much.
    held = SHAPES[shape].responses // 10
    runs = [
        make_run(SHAPES[shape], share, seed, epochs, held)
        for seed in range(SEEDS)
        for share in SHARES
    ]
    name = f"training {len(runs)}, {shape}"
    found: dict[str, np.ndarray] = {}

    def one_by_one() -> None:
        found["one after another"] = np.array([fit(*run).history for run in runs])

    def in_one_program() -> None:
        found["ours"] = np.array([fitted.history for fitted in fit_many(runs)])

    ways = {"ours": in_one_program, "one after another": one_by_one}
    if jax.default_backend() == "cpu":
        vmapped = together(runs)

        def step_by_step() -> None:
            found["together, vmap"] = vmapped()[:, :epochs]

        ways["together, vmap"] = step_by_step
    first = take_turns(ways, 1)
    for variant, losses in found.items():
        gap = np.abs(losses / found["one after another"] - 1).max()
        note(name, variant, "largest relative gap of a loss", float(gap), "1")
        if not gap <= TOLERANCE:
            raise SystemExit(f"{variant}: the losses differ from the runs' own by {gap:.2g}")
    seconds = take_turns(ways, 3)
    for variant in ways:
        median = statistics.median(seconds[variant])
        ratio = statistics.median(
            b / a for a, b in zip(seconds["ours"], seconds[variant], strict=True)
        )
        note(name, variant, "first, compiling included", first[variant][0], "s")
        note(name, variant, "time", median, "s")
        note(name, variant, "time relative to ours", ratio, "x")


if __name__ == "__main__":
    main()
