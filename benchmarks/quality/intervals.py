"""Simulated studies of known truth: do the intervals of `crowdllm infer` cover it?

    python benchmarks/quality/intervals.py [--studies 2000] [--json FILE]

In every study n people are asked for a rating (1 to 5) and N more are known by their profile: a
number x and a group g that goes with it. Estimated are the mean, the share of ratings of 4 and 5,
and the coefficient of g in a regression on g alone. The crowd is

    perfect    it expects of every profile just what people of that profile answer
    biased     the same a point higher, and x has half its effect
    useless    it expects of every profile what people of some other profile answer
    fitted     a regression on x and g, fitted to answers of the N people whose profiles are used
    memoriser  it expects what the one of these N people answers who is most alike in x

and some rows are of another design: people chosen by x with weights that make up for it; six tasks
together of which each person answers about half, with habits of their own; and `twins`, the mean of
one of these tasks: a regression on what else a person answers, in five folds, each fitted to the
answers of the others.

`agents as people` is what the table is a warning of: the mean of 10,000 agents with the N people's
profiles, in an interval as if they were 10,000 people. `answers as people` takes one person's
several answers for several people's.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.special import expit, ndtr
from table import Table, write

from crowdllm_jax.infer.estimate import EstimationRows, estimate

LEVEL = 0.9
ENDS = np.array([-1.5, -0.5, 0.5, 1.5])
NOISE = 0.7
AGENTS = 10_000
ESTIMANDS = ("mean", "share", "coefficient")
COLUMNS = {
    "covers": "covers",
    "alone": "people alone cover",
    "width": "width / people alone",
    "effective": "effective people / n",
    "naive": "agents (answers) as people cover",
}

Profile = tuple[np.ndarray, np.ndarray]
Predict = Callable[[Profile], np.ndarray]


def people(random: np.random.Generator, count: int) -> Profile:
    """x: (count,) normal; g: (count,) 0 or 1, more often 1 where x is high."""
    x = random.normal(size=count)
    return x, (x + random.normal(size=count) > 0).astype(float)


def location(profile: Profile) -> np.ndarray:
    return profile[0] + 0.5 * profile[1]


def chances(where: np.ndarray) -> np.ndarray:
    """(N, 5) chance of each rating."""
    above = expit((where[:, None] - ENDS) / NOISE)
    return -np.diff(above, axis=1, prepend=1.0, append=0.0)


def ratings(random: np.random.Generator, where: np.ndarray) -> np.ndarray:
    return 1.0 + np.searchsorted(ENDS, where + NOISE * random.logistic(size=len(where)))


def expected(where: np.ndarray, estimand: str) -> np.ndarray:
    worth = np.array([0, 0, 0, 1, 1]) if estimand == "share" else np.arange(1, 6)
    return chances(where) @ worth


def columns(profile: Profile, estimand: str) -> np.ndarray:
    ones = np.ones_like(profile[0])
    return np.stack([ones, profile[1]] if estimand == "coefficient" else [ones], axis=1)


def truths() -> dict[str, float]:
    """By summing over a fine grid of x."""
    x = np.linspace(-7, 7, 20_001)
    density = np.exp(-(x**2) / 2)
    of_group = np.stack([ndtr(-x), ndtr(x)]) * density
    found = {}
    for estimand in ESTIMANDS:
        f = np.stack([expected(location((x, np.full_like(x, g))), estimand) for g in (0, 1)])
        by_group = (f * of_group).sum(1) / of_group.sum(1)
        total = (f * of_group).sum() / of_group.sum()
        found[estimand] = float(by_group[1] - by_group[0] if estimand == "coefficient" else total)
    return found


def crowd(kind: str, random: np.random.Generator, known: Profile, estimand: str) -> Predict:
    """f of a crowd; `known` are the N people some crowds are fitted to."""
    if kind == "perfect":
        return lambda profile: expected(location(profile), estimand)
    if kind == "biased":
        return lambda profile: 1 + expected(location((profile[0] / 2, profile[1])), estimand)
    if kind == "useless":
        return lambda profile: expected(location(people(random, len(profile[0]))), estimand)
    answer = ratings(random, location(known))
    answer = (answer >= 4) * 1.0 if estimand == "share" else answer
    if kind == "fitted":
        design = np.stack([np.ones_like(known[0]), *known], axis=1)
        beta = np.linalg.lstsq(design, answer, rcond=None)[0]
        return lambda profile: np.stack([np.ones_like(profile[0]), *profile], axis=1) @ beta
    order = np.argsort(known[0])
    ends = (known[0][order][1:] + known[0][order][:-1]) / 2
    return lambda profile: answer[order][np.searchsorted(ends, profile[0])]


def one_study(
    random: np.random.Generator, kind: str, estimand: str, n: int, profiles: int, truth: float
) -> dict[str, float]:
    asked, known = people(random, n), people(random, profiles)
    answer = ratings(random, location(asked))
    if estimand == "share":
        answer = (answer >= 4) * 1.0
    predict = crowd(kind, random, known, estimand)

    def rows(profile: Profile, first: int) -> EstimationRows:
        count = len(profile[0])
        return EstimationRows(
            first + np.arange(count),
            np.zeros(count, int),
            np.ones(count),
            columns(profile, estimand),
            predict(profile),
        )

    ours, theirs = rows(asked, 0), rows(known, n)
    found = scored(ours, answer, theirs, truth)
    if estimand == "mean" and kind in ("perfect", "biased", "useless"):
        drawn = random.integers(0, profiles, AGENTS)
        where = theirs.predicted[drawn]
        # Around what the crowd expects agents differ as people do.
        spread = np.sqrt(where.var() + answer.var())
        half = 1.645 * spread / np.sqrt(AGENTS)
        found["naive"] = float(abs(where.mean() - truth) < half)
    return found


def scored(
    ours: EstimationRows, answer: np.ndarray, theirs: EstimationRows, truth: float
) -> dict[str, float]:
    found = estimate(ours, answer, theirs, level=LEVEL)
    return {
        "covers": float(found.low[-1] <= truth <= found.high[-1]),
        "alone": float(found.alone_low[-1] <= truth <= found.alone_high[-1]),
        "width": float((found.high - found.low)[-1] / (found.alone_high - found.alone_low)[-1]),
        "effective": float(found.effective[-1] / found.people),
    }


def weighted_study(
    random: np.random.Generator, n: int, profiles: int, truth: float
) -> dict[str, float]:
    """The mean from people who are the likelier to be asked the higher their x."""
    many = people(random, 8 * n)
    chance = 0.2 + 0.8 * expit(many[0])
    order = np.flatnonzero(random.random(8 * n) < chance)[:n]
    asked = (many[0][order], many[1][order])
    known = people(random, profiles)
    answer = ratings(random, location(asked))

    def rows(profile: Profile, weight: np.ndarray, first: int) -> EstimationRows:
        count = len(weight)
        return EstimationRows(
            first + np.arange(count),
            np.zeros(count, int),
            weight,
            np.ones((count, 1)),
            expected(location(profile), "mean"),
        )

    ours = rows(asked, 1 / chance[order], 0)
    return scored(ours, answer, rows(known, np.ones(profiles), n), truth)


TASKS, HABIT = np.array([-1.0, -0.5, 0.0, 0.2, 0.7, 1.2]), 0.8


def clustered_truth() -> float:
    node, weight = np.polynomial.hermite_e.hermegauss(200)
    # Habits are normal: their sum with x is another normal.
    where = node * np.sqrt(1 + HABIT**2)
    means = [weight @ expected(where + task, "mean") / weight.sum() for task in TASKS]
    return float(np.mean(means))


def clustered_study(random: np.random.Generator, everyone: int, truth: float) -> dict[str, float]:
    """The mean of six tasks; whoever answers one is unlabelled on another."""
    x, habit = random.normal(size=everyone), HABIT * random.normal(size=everyone)
    person, task = (a.ravel() for a in np.indices((everyone, len(TASKS))))
    asked = random.random(len(person)) < 0.5
    answer = ratings(random, x[person] + habit[person] + TASKS[task])
    predicted = expected(x[person] + TASKS[task], "mean")

    def rows(part: np.ndarray, who: np.ndarray) -> EstimationRows:
        count = int(part.sum())
        return EstimationRows(
            who[part], task[part], np.ones(count), np.ones((count, 1)), predicted[part]
        )

    found = scored(rows(asked, person), answer[asked], rows(~asked, person), truth)
    apart = np.arange(len(person))
    naive = scored(rows(asked, apart), answer[asked], rows(~asked, apart), truth)
    return found | {"naive": naive["covers"]}


FOLDS = 5


def twins_study(random: np.random.Generator, everyone: int, truth: float) -> dict[str, float]:
    """The mean of a task that a third of the people answered, whose other answers are known."""
    habit = random.normal(size=everyone) + HABIT * random.normal(size=everyone)
    asked = random.random((everyone, len(TASKS))) < 0.6
    answers = ratings(random, (habit[:, None] + TASKS).ravel()).reshape(asked.shape)
    labelled = random.random(everyone) < 1 / 3
    others = asked[:, 1:]
    apart = answers[:, 1:] - (answers[:, 1:] * others).sum(0) / others.sum(0)
    # Drawn towards nothing, the more the fewer they are.
    known = (apart * others).sum(1) / (others.sum(1) + 1.0)
    design, fold = np.stack([np.ones(everyone), known], 1), random.integers(0, FOLDS, everyone)
    by_fold = []
    for number in range(FOLDS):
        seen = labelled & (fold != number)
        beta = np.linalg.lstsq(design[seen], answers[seen, 0], rcond=None)[0]
        by_fold.append(design @ beta)
    predicted = np.stack(by_fold)
    unseen = np.where(labelled, predicted[fold, np.arange(everyone)], predicted.mean(0))

    def rows(people: np.ndarray) -> EstimationRows:
        count = len(people)
        ones = np.ones(count)
        return EstimationRows(people, np.zeros(count, int), ones, ones[:, None], unseen[people])

    whose = np.flatnonzero(labelled)
    return scored(rows(whose), answers[whose, 0], rows(np.flatnonzero(~labelled)), truth)


def twins_truth() -> float:
    node, weight = np.polynomial.hermite_e.hermegauss(200)
    where = node * np.sqrt(1 + HABIT**2) + TASKS[0]
    return float(weight @ expected(where, "mean") / weight.sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--json", type=Path, help="write the records here")
    args = parser.parse_args()
    truth, tables = truths(), []
    plans = [(60, 300, kind) for kind in ("perfect", "biased", "useless", "fitted", "memoriser")]
    plans += [
        (32, 300, "perfect"),
        (32, 300, "useless"),
        (300, 100, "perfect"),
        (300, 100, "memoriser"),
    ]
    for estimand in ESTIMANDS:
        table = Table(f"{estimand}: {args.studies} studies", COLUMNS)
        for n, profiles, kind in plans:
            name = f"{kind}, n {n}, N {profiles}"
            print(f"{estimand}: {name} ...", file=sys.stderr, flush=True)
            for seed in range(args.studies):
                random = np.random.default_rng([seed, n])
                table.add(name, one_study(random, kind, estimand, n, profiles, truth[estimand]))
        if estimand == "mean":
            whole, one = clustered_truth(), twins_truth()
            for seed in range(args.studies):
                random = np.random.default_rng([seed, 1])
                table.add(
                    "perfect, weights, n 100, N 300",
                    weighted_study(random, 100, 300, truth["mean"]),
                )
                table.add("perfect, six tasks, 80 people", clustered_study(random, 80, whole))
                for size in (150, 300, 900):
                    table.add(f"twins, n {size // 3}, N {size}", twins_study(random, size, one))
        tables.append(table)
        print(averages(table))
    write(tables, args.json)


def averages(table: Table) -> str:
    """The table of averages; a share of 2,000 studies has a deviation of 0.007."""
    lines = [
        f"### {table.title}",
        "",
        "| | " + " | ".join(COLUMNS.values()) + " |",
        "| --- " * (1 + len(COLUMNS)) + "|",
    ]
    for name, every in table.rows.items():
        cells = [f"{table.values(name, c).mean():.3f}" if c in every[0] else "" for c in COLUMNS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
