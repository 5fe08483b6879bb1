"""Does diversity lower the risk of a crowd? The claim, its conditions and limits, by simulation.

    python benchmarks/theory.py [--json FILE] [--figure FILE.svg]

Agents decide y_i = truth + bias + e_i with e_i of variance D (their diversity) and correlation rho
(what they get wrong together). Three things are checked, each against a formula:

1. identity    squared error of the crowd's mean = mean individual squared error - diversity, in
               every single draw (Krogh & Vedelsby 1995; Page 2007). So of two crowds whose agents
               err alike, the more diverse one errs less.
2. risk        the expected squared error of N agents is bias^2 + rho D + (1 - rho) D / N. At a
               fixed bias diversity never lowers it: it costs (1 - rho) D / N, which many agents
               remove, and rho D, which none do. It pays where beliefs take bias away.
3. forecast    the expected CRPS of the crowd's distribution, for people of variance H around the
               truth, is lowest near D = H + bias^2: neither a homogeneous nor a wild crowd
               forecasts people best.

Prints every comparison with its largest deviation in standard errors of the simulation, and fails
where simulation and formula disagree.
"""

import argparse
import json
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from scipy.optimize import minimize_scalar
from scipy.stats import norm

SIZES = (1, 3, 10, 30, 100, 1000)
DRAWS = 4000


def crowds(
    random: np.random.Generator, n: int, bias: float, diversity: float, rho: float
) -> np.ndarray:
    """(DRAWS, n) errors of crowds."""
    shared = random.normal(size=(DRAWS, 1))
    own = random.normal(size=(DRAWS, n))
    return bias + np.sqrt(diversity) * (np.sqrt(rho) * shared + np.sqrt(1 - rho) * own)


def identity(random: np.random.Generator) -> float:
    """The largest deviation of the identity over all draws: rounding, and nothing else."""
    worst = 0.0
    for n in SIZES:
        error = crowds(random, n, 0.3, 0.5, 0.2)
        mean = error.mean(1, keepdims=True)
        right = (error**2).mean(1) - ((error - mean) ** 2).mean(1)
        worst = max(worst, float(np.abs(mean[:, 0] ** 2 - right).max()))
    return worst


def risk(random: np.random.Generator) -> list[dict[str, float]]:
    """Simulated and expected risk of every size, bias, diversity and correlation."""
    rows = []
    for bias in (0.0, 0.3):
        for diversity in (0.1, 0.5, 1.0):
            for rho in (0.0, 0.2):
                for n in SIZES:
                    square = crowds(random, n, bias, diversity, rho).mean(1) ** 2
                    rows.append(
                        {
                            "bias": bias,
                            "diversity": diversity,
                            "rho": rho,
                            "agents": n,
                            "simulated": float(square.mean()),
                            "expected": bias**2 + rho * diversity + (1 - rho) * diversity / n,
                            "error": float(square.std(ddof=1) / np.sqrt(DRAWS)),
                        }
                    )
    return rows


def crps(mean: float, sd: float, human_sd: float) -> float:
    """Expected CRPS, E|X - Y| - E|X - X'| / 2, of N(mean, sd^2) for N(0, human_sd^2)."""

    def size(m: float, s: float) -> float:
        return float(
            s * np.sqrt(2 / np.pi) * np.exp(-((m / s) ** 2) / 2) + m * (1 - 2 * norm.cdf(-m / s))
        )

    return size(mean, float(np.hypot(sd, human_sd))) - size(0.0, sd * np.sqrt(2)) / 2


def forecast(random: np.random.Generator) -> list[dict[str, float]]:
    """Where the simulated score is lowest, and where the formula says, for several biases."""
    grid = np.linspace(0.05, 2.0, 79)
    rows = []
    for bias in (0.0, 0.3, 0.6):
        people = random.normal(size=(1, 200_000))
        # The same normal numbers at every spread, so that the lowest point is not one of noise.
        agents = np.sort(random.normal(size=2000))
        weight = (2 * np.arange(2000) - 1999) / 2000**2
        found = []
        for sd in grid:
            crowd = bias + sd * agents
            at = np.searchsorted(crowd, people[0])
            below = np.concatenate([[0.0], np.cumsum(crowd)])
            apart = (2 * at - 2000) * people[0] + below[-1] - 2 * below[at]
            found.append(float((apart / 2000).mean() - weight @ crowd))
        best = minimize_scalar(
            lambda sd, bias=bias: crps(bias, sd, 1.0), bounds=(0.05, 3), method="bounded"
        )
        rows.append(
            {
                "bias": bias,
                "simulated": float(grid[int(np.argmin(found))]),
                "expected": float(best.x),
                "score": float(min(found)),
                "homogeneous": crps(bias, 1e-6, 1.0),
                "best": float(best.fun),
                "twice": crps(bias, 2 * float(best.x), 1.0),
            }
        )
    return rows


def draw(rows: list[dict[str, float]], path: Path) -> None:
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(9.5, 3.3), layout="constrained")
        left, middle, right = figure.subplots(1, 3)
        individual = 1.0
        diversity = np.linspace(0, 0.9, 10)
        left.plot(diversity, individual - diversity, "o-")
        left.set(
            xlabel="diversity D",
            ylabel="crowd's squared error",
            title="At an individual error of 1",
        )
        for bias, rho in ((0.0, 0.0), (0.0, 0.2), (0.3, 0.2)):
            own = [r for r in rows if (r["bias"], r["rho"], r["diversity"]) == (bias, rho, 0.5)]
            x = [r["agents"] for r in own]
            (line,) = middle.plot(x, [r["expected"] for r in own])
            middle.plot(
                x,
                [r["simulated"] for r in own],
                "o",
                color=line.get_color(),
                ms=4,
                label=f"bias {bias:g}, correlation {rho:g}",
            )
        middle.set(xscale="log", yscale="log", xlabel="agents", title="Risk at diversity 0.5")
        middle.legend(frameon=False, fontsize=8)
        sd = np.linspace(0.02, 2.2, 100)
        for bias in (0.0, 0.3, 0.6):
            right.plot(sd, [crps(bias, s, 1.0) for s in sd], label=f"bias {bias:g}")
        right.set(
            xlabel="SD of agents (people: 1)", ylabel="expected CRPS", title="Forecast of people"
        )
        right.legend(frameon=False, fontsize=8)
        figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the records here")
    parser.add_argument("--figure", type=Path, help="write the picture here (.svg, .png, .pdf)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    random = np.random.default_rng(args.seed)
    gap = identity(random)
    print(f"1. identity: largest deviation in {len(SIZES) * DRAWS:,} crowds {gap:.1e}")
    rows = risk(random)
    off = [abs(r["simulated"] - r["expected"]) / r["error"] for r in rows]
    print(f"2. risk: {len(rows)} settings, largest deviation {max(off):.1f} standard errors")
    print(
        "\n| bias | correlation | D | risk of 10 | risk of 1,000 |\n| --- | --- | --- | --- | --- |"
    )
    for r in rows:
        if r["agents"] == 10:
            key = ("bias", "rho", "diversity")
            many = next(o for o in rows if o["agents"] == 1000 and all(o[k] == r[k] for k in key))
            print(
                f"| {r['bias']:g} | {r['rho']:g} | {r['diversity']:g} | {r['simulated']:.3f} | "
                f"{many['simulated']:.3f} |"
            )
    best = forecast(random)
    print("\n3. forecast of people with a standard deviation of 1\n")
    print(
        "| bias | best SD, formula | best SD, simulated | CRPS there | homogeneous | twice the SD |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for b in best:
        print(
            f"| {b['bias']:g} | {b['expected']:.3f} | {b['simulated']:.3f} | {b['best']:.3f} | "
            f"{b['score']:.3f} | {b['homogeneous']:.3f} | {b['twice']:.3f} |"
        )
    if args.figure is not None:
        draw(rows, args.figure)
    if args.json is not None:
        record = [
            {
                "benchmark": "theory",
                "variant": name,
                "metric": metric,
                "value": value,
                "unit": unit,
                "device": "cpu",
            }
            for name, metric, value, unit in (
                ("identity", "largest deviation", gap, ""),
                ("risk", "largest deviation", max(off), "standard errors"),
            )
        ]
        args.json.write_text(json.dumps(record, indent=1))
    if gap > 1e-12 or max(off) > 4.5:
        sys.exit("the simulation and the formulas disagree")


if __name__ == "__main__":
    main()
