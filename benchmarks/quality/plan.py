"""Does `crowdllm plan` save answers, and do estimates from what it plans cover?

    python benchmarks/quality/plan.py twin2k FOLDER [--studies 2000] [--parts 1] [--json FILE]

Questions are taken out of a study, 40 at a time (--parts 3 takes all of twin2k's 116 in turn). A
crowd is fitted to everybody's answers to the others, and to 200 people's to these. What the twins
of everybody else say of these questions is then fixed, and the answers that were held out are real.

In every simulated study 1,000 of these people are drawn with replacement, so that the truth, which
is the mean of all who answered, is known, and n people's answers to every question are there. Then
as many more are gathered as are --budget a question on average, in two batches:

    by chance  people are drawn by equal chances, as many for every question
    plan       by `crowdllm plan`: as many to each question, and of whom, as its twins tell

Both are estimated by `crowdllm infer --twins`: prediction-powered, with intervals at nominal 90%.
What is saved is told by drawing by chance with larger budgets until the same width is reached: the
mean over questions, the root of the mean square, or the widest. Effective people are told of
estimates by chance, of all questions, and of those of which twins say beforehand that they know
--known of the variance (0.2). Questions that nine in ten answer alike are left out.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from persons_data import twin2k
from persons_fit import Settings, fitted, tell
from table import Table, write

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.infer.allocation import allocate, chances, draw
from crowdllm_jax.infer.estimate import Estimate, EstimationRows, estimate
from crowdllm_jax.infer.planned import PlannedAnswers, planned_weights
from crowdllm_jax.infer.prospects import Question, Told, questions_of
from crowdllm_jax.population.predicted import predict_answers
from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Study

LEVEL, FITTED, PEOPLE, BATCHES = 0.9, 200, 1000, 2
RARE = 0.1
"""Questions are left out to which fewer answer otherwise than most."""
MORE = (1.0, 1.25, 1.5)
"""Budgets by chance, as multiples of that of the plan."""


@dataclass(frozen=True)
class Pool:
    """People who answered a question: what twins expected of them, and what they said.

    Attributes:
      mean, variance, answer: (N, T) in parts of the range; answer is NaN where there is none.
    """

    mean: np.ndarray
    variance: np.ndarray
    answer: np.ndarray

    @property
    def foretold(self) -> np.ndarray:
        """(T,) the part of the variance that twins say they know."""
        told = np.nanvar(self.mean, 0)
        return np.asarray(told / (told + np.nanmean(self.variance, 0)))


def pool_of(study: Study, tasks: np.ndarray, settings: Settings, seed: int) -> Pool:
    """Fit a crowd that has seen few answers to some tasks, and foretell the others."""
    n, t = len(study.participants.ids), len(study.tasks.ids)
    place = np.random.default_rng(seed).random((n, t)).argsort(0).argsort(0)
    held = np.isin(study.task, tasks) & (place[study.person, study.task] >= FITTED)
    crowd = fitted(study, ~held, settings, "answers", seed)
    rows = np.flatnonzero(held)
    found = predict_answers(crowd, study, ~held, study.person[rows], study.task[rows])
    mean, variance, answer = np.full((3, n, len(tasks)), np.nan)
    for column, task in enumerate(tasks):
        own = study.task[rows] == task
        numbers = scales.values(study.scale_of(task))
        unit = numbers[-1] - numbers[0]
        apart = numbers - found.mean[own, None]
        who = study.person[rows[own]]
        mean[who, column] = found.mean[own] / unit
        square = (found.chance[own, : len(numbers)] * apart**2).sum(1)
        variance[who, column] = square / unit**2
        answer[who, column] = study.value[rows[own]] / unit
    return Pool(mean, variance, answer)


@dataclass
class State:
    """A simulated study: whose answers there are, and by which plans."""

    pool: Pool
    gave: np.ndarray
    plans: list[PlannedAnswers]

    def told(self) -> list[Question]:
        pool, ones = self.pool, np.ones(len(self.gave))
        answer = np.where(self.gave, pool.answer, np.nan)
        may = ~self.gave & np.isfinite(pool.answer)
        columns = zip(answer.T, pool.mean.T, pool.variance.T, self.gave.T, may.T, strict=True)
        told = [
            Told(task, 1.0, a, np.nan_to_num(m), np.nan_to_num(v), gave, open_to)
            for task, (a, m, v, gave, open_to) in enumerate(columns)
        ]
        return questions_of(told, ones)

    def gather_planned(self, budget: int, random: np.random.Generator) -> None:
        """Gather answers as planned."""
        told = self.told()
        counts = allocate([one.prospect for one in told], budget, level=LEVEL)
        asks = [
            (one.task, one.open, chances(one.share, count))
            for one, count in zip(told, counts, strict=True)
        ]
        self._ask(asks, random)

    def gather_by_chance(self, counts: list[int], random: np.random.Generator) -> None:
        """Gather answers of people drawn by equal chances."""
        open_to = [np.flatnonzero(may) for may in (~self.gave & np.isfinite(self.pool.answer)).T]
        parts = zip(range(len(counts)), open_to, counts, strict=True)
        self._ask(
            [(task, who, np.full(len(who), count / len(who))) for task, who, count in parts], random
        )

    def _ask(
        self, asks: list[tuple[int, np.ndarray, np.ndarray]], random: np.random.Generator
    ) -> None:
        person, task, chance = [], [], []
        for one, who, each in asks:
            drawn = draw(each, random)
            person.append(who[drawn])
            task.append(np.full(len(drawn), one))
            chance.append(each[drawn])
        plan = PlannedAnswers(*map(np.concatenate, (person, task, chance)))
        self.gave[plan.person, plan.task] = True
        self.plans.append(plan)

    def estimates(self) -> list[Estimate]:
        found = []
        n, ones = len(self.gave), np.ones((len(self.gave), 1))
        for task in range(self.gave.shape[1]):
            gave, frame = self.gave[:, task], np.isfinite(self.pool.answer[:, task])
            weight = planned_weights(self.plans, task, gave, frame, np.ones(n))
            f = self.pool.mean[:, task]

            def rows(who: np.ndarray, weight: np.ndarray, f: np.ndarray = f) -> EstimationRows:
                who = np.flatnonzero(who)
                zeros = np.zeros(len(who), int)
                return EstimationRows(who, zeros, weight[who], ones[who], f[who])

            answer = self.pool.answer[gave, task]
            found.append(estimate(rows(gave, weight), answer, rows(frame, ones[:, 0]), level=LEVEL))
        return found


def one_study(
    pool: Pool, truth: np.ndarray, first: int, budget: int, random: np.random.Generator
) -> dict[str, dict[str, np.ndarray]]:
    """By the way of asking, (T,) widths, coverage and effective people."""
    drawn = random.integers(0, len(pool.answer), PEOPLE)
    pool = Pool(*(part[drawn] for part in (pool.mean, pool.variance, pool.answer)))
    there, tasks = np.isfinite(pool.answer), pool.answer.shape[1]
    place = np.where(there, random.random(there.shape), 2.0).argsort(0).argsort(0)
    known = there & (place < first)
    found = {}
    for name, times in [("plan", 1.0), *((f"by chance x {m:g}", m) for m in MORE)]:
        state = State(pool, known.copy(), [])
        for batch in range(BATCHES):
            count = round(budget * tasks * times) // BATCHES
            if name == "plan":
                state.gather_planned(count, random)
            else:
                even = [(count + task + batch) // tasks for task in range(tasks)]
                state.gather_by_chance(even, random)
        by_task = state.estimates()
        low, high = (np.array([getattr(e, end)[0] for e in by_task]) for end in ("low", "high"))
        found[name] = {
            "width": high - low,
            "covers": ((low <= truth) & (truth <= high)) * 1.0,
            "off": np.array([e.value[0] for e in by_task]) - truth,
            "effective": np.array([e.effective[0] / e.people for e in by_task]),
            "answers": np.array([e.people - first for e in by_task]),
        }
    return found


MEASURES = {
    "mean": lambda width: width.mean(-1),
    "root mean square": lambda width: np.sqrt((width**2).mean(-1)),
    "widest": lambda width: width.max(-1),
}


def saved(studies: dict[str, list[np.ndarray]], measure: str) -> float:
    """The part of the answers that drawing by chance needs more for the plan's width."""
    of = MEASURES[measure]
    by_chance = [of(np.stack(studies[f"by chance x {m:g}"])).mean() for m in MORE]
    wanted = of(np.stack(studies["plan"])).mean()
    # Between budgets 1 / width^2 grows evenly.
    times = np.interp(wanted**-2.0, np.power(by_chance, -2.0), MORE)
    return float(1 - 1 / times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("set", choices=["twin2k"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--questions", type=int, default=40)
    parser.add_argument("--first", type=int, default=40, help="answers to each that there are")
    parser.add_argument("--budget", type=int, default=100, help="answers to each on average")
    parser.add_argument("--known", type=float, default=0.2)
    parser.add_argument("--pool", type=Path, help="keep predictions here, and find them again")
    parser.add_argument("--json", type=Path, help="write the records here")
    args = parser.parse_args()
    tables = [part_of(args, part) for part in range(args.parts)]
    for table in tables:
        print(table.markdown())
    write(tables, args.json)


def part_of(args: argparse.Namespace, part: int) -> Table:
    """One set of questions."""
    study = twin2k(args.folder)
    order = np.random.default_rng(0).permutation(len(study.tasks.ids))
    tasks = np.sort(order[part * args.questions : (part + 1) * args.questions])
    kept = None if args.pool is None else args.pool / f"part-{part}.npz"
    if kept is not None and kept.exists():
        pool = Pool(**np.load(kept))
    else:
        tell(f"part {part}: fit")
        pool = pool_of(study, tasks, Settings(8, 600, 1, args.folder), part)
        if kept is not None:
            np.savez(kept, mean=pool.mean, variance=pool.variance, answer=pool.answer)
    # A question that nearly everybody answers alike has no interval from a few.
    usual, there = np.nanmedian(pool.answer, 0), np.isfinite(pool.answer)
    rare = (there & (pool.answer != usual)).sum(0) < RARE * there.sum(0)
    pool = Pool(*(one[:, ~rare] for one in (pool.mean, pool.variance, pool.answer)))
    truth, foretold = np.nanmean(pool.answer, 0), pool.foretold >= args.known
    studies: dict[str, dict[str, list[np.ndarray]]] = {}
    refused = 0
    for seed in range(args.studies):
        random = np.random.default_rng([part, seed])
        try:
            found = one_study(pool, truth, args.first, args.budget, random)
        except CrowdError:
            refused += 1
            continue
        for name, measures in found.items():
            for key, value in measures.items():
                studies.setdefault(key, {}).setdefault(name, []).append(value)
        if seed % 100 == 99:
            tell(f"part {part}: {seed + 1} studies")
    print(f"part {part}: {refused} studies without an interval", file=sys.stderr)
    return shown(studies, foretold, f"part {part}: {len(truth)} questions, {args.studies} studies")


def shown(
    studies: dict[str, dict[str, list[np.ndarray]]], foretold: np.ndarray, title: str
) -> Table:
    """Averages over studies and questions, and of the questions that twins foretell."""
    columns = {
        "answers": "answers a question",
        "width": "mean width",
        "rms": "root mean square",
        "widest": "widest",
        "covers": "covers",
        "bias": "largest bias / sd",
        "foretold covers": "covers, foretold",
        "effective": "effective people / n",
        "foretold effective": "the same, foretold",
    }
    table = Table(f"{title}; {foretold.sum()} foretold", columns)
    for name in studies["width"]:
        width, covers, off, effective = (
            np.stack(studies[key][name]) for key in ("width", "covers", "off", "effective")
        )
        table.add(
            name,
            {
                "answers": float(np.mean(studies["answers"][name])),
                "width": float(width.mean()),
                "rms": float(MEASURES["root mean square"](width).mean()),
                "widest": float(MEASURES["widest"](width).mean()),
                "covers": float(covers.mean()),
                "bias": float(np.abs(off.mean(0) / off.std(0)).max()),
                "foretold covers": float(covers[:, foretold].mean()),
                "effective": float(effective.mean()),
                "foretold effective": float(effective[:, foretold].mean()),
            },
        )
    row = {
        key: saved(studies["width"], measure)
        for key, measure in zip(("width", "rms", "widest"), MEASURES, strict=True)
    }
    table.add("answers saved", row)
    return table


if __name__ == "__main__":
    main()
