"""Sampling populations, against torch on the same weights and against the machine's ceilings.

    python benchmarks/population.py [--json FILE] [--plot FILE] [--agents 100000 --tasks 300]

F=384 task features, C=31 profile columns, 262 distinct profiles, K=5; the published model with 400
hidden units and L=32, the persistent one with its own settings. Before anything is timed, torch's
answers are compared with ours: a chi-square test per profile and task, and for the persistent
model one of agents' averages. Then all take turns; medians are printed, and ratios within a turn.

Ours counts everything until the answers lie on the host: recruiting, drawing, copying; "made ready
as well" also what is done once per crowd (the table over profiles); "on the device" leaves the
answers there (on a CPU that is the same place), and "counted" counts them there. The slow rivals
are timed on few agents, and what they take per decision is extrapolated; torch's answers are copied
to the host but where it says otherwise. The ceiling of a decision is 16 random
bits, of `jax.random.bits` or, which is harder, of our generator with nothing else to do.

How cost grows is measured with one size changed at a time: N, T, P (distinct profiles), L.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import ceilings
import jax
import numpy as np
import torch
import torch_path
from crowds import make_crowd
from scipy import stats

from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.population.count import tally
from crowdllm_jax.population.drawers import drawers
from crowdllm_jax.population.grouped import GroupedDrawer, draw_in_order
from crowdllm_jax.population.sample import (
    BLOCK,
    blocks_in,
    draw_blocks,
    in_flight,
    sample,
    sample_blocks,
)
from crowdllm_jax.profiles.generator import recruit_rows
from crowdllm_jax.runtime.prefetch import ahead
from crowdllm_jax.runtime.randomness import seed_halves, split_ids

ALPHA = 1e-4
"""Chance that equal samplers are called different, over all cells of one comparison."""


def from_nothing(crowd: Crowd, agents: int) -> Callable[[], int]:
    """Make a crowd ready and sample a population block by block onto the host."""
    return lambda: sum(block.answers.size for block in sample_blocks(crowd, agents, seed=0))


def ours(crowd: Crowd, agents: int) -> Callable[[], int]:
    """The same with a crowd that is ready."""
    draws, tasks, spans = drawers(crowd), len(crowd.task_ids), blocks_in(0, agents)
    return lambda: sum(b.answers.size for b in draw_blocks(draws, tasks, 0, spans))


def on_device(crowd: Crowd, agents: int) -> Callable[[], int]:
    """Sample a population and leave it on the device."""
    draw, tasks = drawers(crowd)[0], len(crowd.task_ids)
    size = draw.size(agents) if isinstance(draw, GroupedDrawer) else BLOCK

    def block(first: int) -> jax.Array:
        if not isinstance(draw, GroupedDrawer):
            return draw(0, first + np.arange(BLOCK))[1]
        halves = seed_halves(0), split_ids(np.array(first))
        return draw_in_order(draw.drawn, size, draw.fitted, draw.recruits, *halves)[0]

    def work() -> int:
        starts = range(0, agents, size)
        for drawn in ahead(block, starts, in_flight([draw])):
            jax.block_until_ready(drawn)
        return len(starts) * size * tasks

    return work


def counted(crowd: Crowd, agents: int) -> Callable[[], int]:
    """Draw a population and count its answers on the device; only the counts reach the host."""
    draw, tasks = drawers(crowd)[0], len(crowd.task_ids)
    size, levels = BLOCK, 5
    if isinstance(draw, GroupedDrawer):
        size = draw.size(agents)
    group = np.zeros(size, np.int32)

    def block(first: int) -> np.ndarray:
        if isinstance(draw, GroupedDrawer):
            everyone = np.zeros(draw.real, np.int32)
            return draw.count(0, first, size, size, everyone, (1, levels))[1]
        drawn = draw(0, first + np.arange(BLOCK))[1]
        return np.asarray(tally(crowd.task_scales, (1, tasks, levels), drawn, group))

    def work() -> int:
        starts = range(0, agents, size)
        total = sum(ahead(block, starts, in_flight([draw])))
        assert np.sum(total) == len(starts) * size * tasks
        return len(starts) * size * tasks

    return work


def rival(
    sampler: torch_path.Sampler, agents: int, profiles: int, *, copied: bool = True
) -> Callable[[], int]:
    row = torch.from_numpy(np.random.default_rng(0).integers(0, profiles, agents))
    row = row.to(torch_path.device())

    def work() -> int:
        answers = sampler(row)
        if copied and answers.is_cuda:
            # Into pinned memory, which torch keeps for the next turn, as ours.
            host = torch.empty(answers.shape, dtype=answers.dtype, pin_memory=True)
            answers = host.copy_(answers)
        elif answers.is_cuda:
            torch.cuda.synchronize()
        return answers.numel()

    return work


def check_equal(crowd: Crowd, sampler: torch_path.Sampler, name: str, agents: int) -> None:
    """Compare torch's answers with ours, for the two profiles that most of our agents have.

    A chi-square test per profile and task on two samples; levels with fewer than 20 answers in
    both together are joined, so that 5 and more are expected. All of them reject equal samplers
    with a chance below ALPHA (Bonferroni).
    """
    profiles = len(crowd.generator.weight)
    population = sample(crowd, min(1_000_000, 80 * agents), seed=1)
    rows = recruit_rows(crowd.generator, 1, population.ids)
    common = np.argsort(-np.bincount(rows, minlength=profiles))[:2]
    tasks = len(crowd.task_ids)
    k = 5
    for profile in common:
        own = population.answers[rows == profile]
        row = torch.full((agents,), int(profile), device=torch_path.device())
        other = sampler(row).cpu().numpy()
        tests = 2 * (tasks + 1)
        for task in range(tasks):
            table = np.stack([np.bincount(a[:, task], minlength=k) for a in (own, other)])
            rare = table.sum(0) < 20
            table = np.column_stack([table[:, ~rare], table[:, rare].sum(1)])
            table = table[:, table.sum(0) > 0]
            if table.shape[1] > 1:
                p = stats.chi2_contingency(table, correction=False).pvalue
                if p < ALPHA / tests:
                    raise SystemExit(f"{name}: task {task} is answered unlike ours (p = {p:.2g})")
        p = stats.ks_2samp(own.mean(1), other.mean(1)).pvalue
        if p < ALPHA / tests:
            raise SystemExit(f"{name}: agents' averages are unlike ours (p = {p:.2g})")


class Records:
    """Collects records for --json."""

    def __init__(self) -> None:
        self.device = jax.devices()[0].device_kind
        self.all: list[dict[str, object]] = []

    def add(self, part: str, variant: str, metric: str, value: float, unit: str) -> None:
        device = torch_path.device() if variant.startswith("torch") else self.device
        self.all.append(
            {
                "benchmark": f"population {part}",
                "variant": variant,
                "metric": metric,
                "value": value,
                "unit": unit,
                "device": device,
            }
        )


def take_turns(jobs: dict[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Run jobs that return a rate in turns; the first turn, which compiles, does not count."""
    rates: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(repeats + 1):
        for name, job in jobs.items():
            rate = job()
            if turn:
                rates[name].append(rate)
    return rates


def timed(work: Callable[[], int]) -> Callable[[], float]:
    def job() -> float:
        began = time.perf_counter()
        decisions = work()
        return decisions / (time.perf_counter() - began)

    return job


CEILINGS = {
    "random words": "words/s",
    "jax.random.bits": "words/s",
    "memory bandwidth": "B/s",
    "matrix product": "FLOP/s",
}
"""What no sampler can beat here, and its units."""
WORDS = {
    "random words": "random-word ceiling",
    "jax.random.bits": "words of jax.random.bits",
}
"""The ceilings that a decision's share of a word is held against, as the records call them."""


def compare(args: argparse.Namespace, records: Records) -> dict[str, float]:
    cvae = make_crowd(CvaeConfig(), tasks=args.tasks, profiles=args.profiles)
    persistent = make_crowd(PersistentConfig(), tasks=args.tasks, profiles=args.profiles)
    samplers = {
        "torch, published": (torch_path.published(cvae), 30),
        "torch, batched": (torch_path.batched(cvae), 64),
        "torch, split": (torch_path.split(cvae), 512),
        "torch, folded": (torch_path.folded(cvae), args.agents),
        "torch, persistent": (torch_path.persistent(persistent), args.agents),
    }
    for name, (sampler, _) in samplers.items():
        crowd = persistent if name == "torch, persistent" else cvae
        few = name in ("torch, published", "torch, batched")
        check_equal(crowd, sampler, name, 400 if few else 8192)
    print("torch's answers are distributed as ours\n")
    # What never reaches the host is over at once on an accelerator: more agents, to be timed.
    many = args.agents * (1 if ceilings.on_cpu() else 16)
    jobs = {
        "random words": ceilings.random_words(),
        "jax.random.bits": ceilings.jax_words(),
        "cvae": timed(ours(cvae, args.agents)),
        "cvae, made ready as well": timed(from_nothing(cvae, args.agents)),
        "cvae, on the device": timed(on_device(cvae, many)),
        "cvae, counted": timed(counted(cvae, many)),
        "persistent": timed(ours(persistent, args.agents)),
        "persistent, made ready as well": timed(from_nothing(persistent, args.agents)),
        "persistent, on the device": timed(on_device(persistent, many)),
        "persistent, counted": timed(counted(persistent, many)),
        "memory bandwidth": ceilings.bandwidth(),
        "matrix product": ceilings.matmul(),
        **{n: timed(rival(s, agents, args.profiles)) for n, (s, agents) in samplers.items()},
        **{
            f"{n}, on the device": timed(rival(s, agents, args.profiles, copied=False))
            for n, (s, agents) in list(samplers.items())[-2:]
        },
    }
    return tell_speeds(take_turns(jobs, args.repeats), records)


def tell_speeds(rates: dict[str, list[float]], records: Records) -> dict[str, float]:
    """Print and note the median rate of every sampler beside the published one and the ceilings."""
    median = {name: statistics.median(found) for name, found in rates.items()}

    def ratio(name: str, other: str, factor: float = 1.0) -> float:
        pairs = zip(rates[name], rates[other], strict=True)
        return statistics.median(factor * a / b for a, b in pairs)

    print(
        f"{'':32}{'decisions/s':>12} {'x published':>12} "
        + " ".join(f"{'of ' + name:>18}" for name in WORDS)
    )
    for name in rates:
        if name in CEILINGS:
            continue
        times = ratio(name, "torch, published")
        shares = {ceiling: ratio(name, ceiling, 0.5) for ceiling in WORDS}
        print(
            f"{name:32}{median[name]:12.3g} {times:12,.1f} "
            + " ".join(f"{share:18.1%}" for share in shares.values())
        )
        records.add("speed", name, "decisions", median[name], "1/s")
        records.add("speed", name, "relative to torch, published", times, "x")
        for ceiling, share in shares.items():
            records.add("speed", name, f"share of the {WORDS[ceiling]}", share, "1")
    print()
    for name, unit in CEILINGS.items():
        print(f"{name:32}{median[name]:12.3g} {unit}")
        records.add("ceiling", name, name, median[name], unit)
    return median


def growth(args: argparse.Namespace, records: Records) -> dict[str, dict[str, list[float]]]:
    """Decisions per second with one size changed at a time."""
    base = {"N": args.agents, "T": args.tasks, "P": args.profiles, "L": 0}
    steps = {
        "N": (8192, 65_536, 524_288),
        "T": (10, 100, 1000),
        "P": (16, 256, 3000),
        "L": (2, 8, 32, 128),
    }
    found: dict[str, dict[str, list[float]]] = {}
    print(f"\n{'':6}{'':>8}{'cvae, decisions/s':>20}{'persistent, decisions/s':>26}")
    for size, values in steps.items():
        for value in values:
            now = {**base, size: value}
            agents = now["N"] if size == "N" else max(BLOCK, now["N"] * args.tasks // now["T"])
            row = []
            for model, config in (("cvae", CvaeConfig), ("persistent", PersistentConfig)):
                made = config(latent=value) if size == "L" else config()
                crowd = make_crowd(made, tasks=now["T"], profiles=now["P"])
                rate = take_turns({"": timed(ours(crowd, agents))}, 3)[""]
                row.append(statistics.median(rate))
                records.add(
                    f"growth with {size}", f"{model}, {size} = {value}", "decisions", row[-1], "1/s"
                )
                found.setdefault(size, {"values": list(values)}).setdefault(model, []).append(
                    row[-1]
                )
            print(f"{size:>6}{value:>8}{row[0]:20.3g}{row[1]:26.3g}", flush=True)
    return found


def plot(path: Path, median: dict[str, float], grown: dict, device: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 5, figsize=(18, 3.6), width_ratios=(2.2, 1, 1, 1, 1))
    names = [n for n in median if n.startswith("torch") or n in ("cvae", "persistent")]
    names.sort(key=median.__getitem__)
    colours = ["tab:orange" if n.startswith("torch") else "tab:blue" for n in names]
    axes[0].barh(names, [median[n] for n in names], color=colours)
    axes[0].axvline(2 * median["random words"], color="black", linestyle="--")
    axes[0].set(xscale="log", xlabel="decisions/s (dashed: 16 random bits each)", title=device)
    for axis, (size, found) in zip(axes[1:], grown.items(), strict=True):
        for model in ("cvae", "persistent"):
            axis.plot(found["values"], found[model], marker="o", label=model)
        axis.set(xscale="log", yscale="log", xlabel=size, ylim=(1e7, None))
    axes[1].set_ylabel("decisions/s")
    axes[1].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=100_000)
    parser.add_argument("--tasks", type=int, default=300)
    parser.add_argument("--profiles", type=int, default=262)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-growth", action="store_true", help="only the comparison")
    parser.add_argument("--json", type=Path, help="write the records here")
    parser.add_argument("--plot", type=Path, help="draw them here")
    args = parser.parse_args()
    records = Records()
    print(
        f"N={args.agents} T={args.tasks} P={args.profiles}; ours on {records.device}, "
        f"torch {torch.__version__} on {torch_path.device()}"
    )
    median = compare(args, records)
    grown = {} if args.no_growth else growth(args, records)
    if args.json:
        args.json.write_text(json.dumps(records.all, indent=1) + "\n")
    if args.plot and grown:
        plot(args.plot, median, grown, records.device)


if __name__ == "__main__":
    main()
