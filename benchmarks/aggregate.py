"""Counting and aggregating crowds against numpy (and crowd-kit), on the same answers.

    python benchmarks/aggregate.py [--json FILE]

Three jobs, each checked for equal results before anything is timed; then the ways take turns, and
medians are printed with the ratio to ours:

    counts       a billion agents of the published model (F=384, C=31, 400 hidden, L=32, 262 people
                 to recruit from) on 1,000 ratings: multinomial counts (`cl.count`), against
                 drawing agents and counting them with numpy (some blocks of them, scaled up)
    reduction    the persistent model on 300 ratings: draw and count on the device, against drawing,
                 fetching the answers and counting with numpy; and drawing alone
    dawid-skene  EM steps on 20,000 agents, 300 tasks, 5 levels: ours, numpy with the same products
                 in float32, numpy as the textbook says it (a confusion matrix per person, float64);
                 where installed, crowd-kit on 500 of the agents
"""

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from crowdllm_jax.aggregate import dawid_skene
from crowdllm_jax.model.crowd import Crowd, CvaeInputs
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.cvae.decision import Cvae
from crowdllm_jax.model.levels import to_host
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.model.persistent.design import make_design
from crowdllm_jax.model.persistent.fit import new_persistent
from crowdllm_jax.population import sample
from crowdllm_jax.population.count import count, tally
from crowdllm_jax.population.drawers import drawers
from crowdllm_jax.population.grouped import GroupedDrawer, draw_in_order
from crowdllm_jax.population.read import block_size
from crowdllm_jax.profiles.generator import ProfilesConfig, fit_profiles
from crowdllm_jax.reference.record import Reference
from crowdllm_jax.runtime.randomness import seed_halves, split_ids
from crowdllm_jax.study.coding import fit_coding
from crowdllm_jax.study.records import Attribute, Participants, Study, Tasks
from crowdllm_jax.study.scales import Ordinal

RATING = Ordinal(levels=(1, 2, 3, 4, 5))
LEVELS, PROFILES, BLOCKS = 5, 262, 4
ANSWERS = 130_000_000
"""Of a block on an accelerator, about: what numpy counts in a second."""


def people(random: np.random.Generator) -> tuple[Attribute, ...]:
    """262 people of five attributes with 31 levels together."""
    return tuple(
        Attribute(
            f"a{k}",
            "categorical",
            tuple(map(str, range(k))),
            random.integers(0, k, PROFILES).astype(np.int32),
        )
        for k in (2, 5, 6, 8, 10)
    )


def published(tasks: int) -> Crowd:
    """The published model with random weights."""
    random = np.random.default_rng(0)
    profile = people(random)
    codings = tuple(fit_coding(a, np.arange(PROFILES)) for a in profile)
    columns = sum(len(coding.columns) for coding in codings)
    config = CvaeConfig()
    network = nnx.split(Cvae(384, columns, config, rngs=nnx.Rngs(0)), nnx.Param)
    x = random.normal(0, 0.05, (tasks, 384)).astype(np.float32)
    inputs = CvaeInputs(x, random.random(tasks).astype(np.float32))
    return Crowd(
        config,
        *network,
        tuple(f"t{i}" for i in range(tasks)),
        {"rating": RATING},
        np.zeros(tasks, np.int32),
        inputs,
        codings,
        fit_profiles(profile, np.ones(PROFILES), ProfilesConfig()),
    )


def persistent(tasks: int) -> Crowd:
    """The persistent model with random effects."""
    random = np.random.default_rng(0)
    profile, ids = people(random), tuple(f"t{i}" for i in range(tasks))
    scale = np.zeros(tasks, np.int32)
    person, task = (a.ravel().astype(np.int32) for a in np.indices((PROFILES, tasks)))
    study = Study(
        "random",
        {"rating": RATING},
        Tasks(ids, ids, scale, (), None),
        Participants(tuple(map(str, range(PROFILES))), profile, np.ones(PROFILES)),
        person,
        task,
        random.integers(0, LEVELS, len(task)).astype(float),
    )
    codings = tuple(fit_coding(a, np.arange(PROFILES)) for a in profile)
    config = PersistentConfig()
    everything = np.ones(len(task), bool)
    reference = Reference("marginal", np.zeros(tasks))
    design = make_design(study, reference, codings, everything, config, known=True)
    model = new_persistent(design, config, 0)
    for effect in model.effects.mean.values():
        effect[...] = 0.3 * random.normal(size=effect.shape)
    return Crowd(
        config,
        *nnx.split(model, nnx.Param),
        ids,
        study.scales,
        scale,
        design,
        codings,
        fit_profiles(profile, np.ones(PROFILES), ProfilesConfig()),
    )


def host_counts(answers: np.ndarray) -> np.ndarray:
    """(T, K) counts with numpy."""
    t = answers.shape[1]
    at = answers + np.arange(t, dtype=np.int32) * LEVELS
    return np.bincount(at.ravel(), minlength=t * LEVELS).reshape(t, LEVELS)


def drawn(crowd: Crowd, way: str) -> tuple[Callable[[], np.ndarray | None], int]:
    """Draw BLOCKS blocks of agents, one after the other, and count them in some way; with how many
    agents these are. An accelerator counts as it draws."""
    draw, t = drawers(crowd)[0], len(crowd.task_ids)
    grouped = isinstance(draw, GroupedDrawer)
    block = draw.size(ANSWERS // t) if grouped else sample.BLOCK
    group, everyone = np.zeros(block, np.int32), np.zeros(draw.real if grouped else 0, np.int32)

    def to_be_read(first: int) -> jax.Array | np.ndarray:
        return draw(0, first + np.arange(block, dtype=np.int64))[1]

    def left_there(first: int) -> jax.Array:
        """Packed answers where they were drawn."""
        if not grouped:
            return to_be_read(first)
        halves = seed_halves(0), split_ids(np.array(first))
        return draw_in_order(draw.drawn, block, draw.fitted, draw.recruits, *halves)[0]

    def device_counts(first: int) -> np.ndarray:
        if grouped:
            return draw.count(0, first, block, block, everyone, (1, LEVELS))[1][0]
        shape = (1, t, LEVELS)
        return np.asarray(tally(crowd.task_scales, shape, left_there(first), group))[0]

    def work() -> np.ndarray | None:
        total = np.zeros((t, LEVELS), np.int64)
        for first in range(0, BLOCKS * block, block):
            if way == "device":
                total += device_counts(first)
            elif way == "host":
                total += host_counts(to_host(to_be_read(first), t))
            else:
                jax.block_until_ready(left_there(first))
        return None if way == "none" else total

    return work, BLOCKS * block


def numpy_step(answers: np.ndarray, belief: np.ndarray) -> np.ndarray:
    """Our step's products with numpy, in float32."""
    said = [(answers == level).astype(np.float32) for level in range(LEVELS)]
    number = np.maximum(np.stack([one @ belief for one in said]), dawid_skene.NEVER)
    log = np.log(number) - np.log(number.sum(0))
    return sum(one.T @ own for one, own in zip(said, log, strict=True))


def textbook_step(answers: np.ndarray, belief: np.ndarray) -> np.ndarray:
    """A confusion matrix per person, then every answer's term, in float64."""
    n, t = answers.shape
    confusion = np.zeros((n, LEVELS, LEVELS))
    person = np.arange(n)
    for task in range(t):
        confusion[person, answers[:, task]] += belief[task]
    confusion = np.log(np.maximum(confusion, dawid_skene.NEVER) / confusion.sum(1, keepdims=True))
    return np.stack([confusion[person, answers[:, task]].sum(0) for task in range(t)])


def our_step(answers: np.ndarray, belief: np.ndarray) -> np.ndarray:
    size = block_size(answers.shape[1])
    total = np.zeros(belief.shape)
    for first in range(0, len(answers), size):
        block = dawid_skene._filled(answers[first : first + size], size)
        total += np.asarray(dawid_skene.step_block(block, belief))
    return total


def turns(ways: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each way, taking turns; a first turn compiles."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, work in ways.items():
            began = time.perf_counter()
            work()
            if turn:
                seconds[name].append(time.perf_counter() - began)
    return seconds


class Notes:
    """What is printed, line by line, and kept as records."""

    def __init__(self, job: str, records: list[dict[str, object]]) -> None:
        self.job, self.records = job, records

    def note(self, variant: str, metric: str, value: float, unit: str) -> None:
        print(f"{self.job:12} {variant:26} {metric:26} {value:12.4g} {unit}", flush=True)
        self.records.append(
            {
                "benchmark": f"aggregate {self.job}",
                "variant": variant,
                "metric": metric,
                "value": value,
                "unit": unit,
                "device": jax.devices()[0].device_kind,
            }
        )

    def compare(self, seconds: dict[str, list[float]], amount: dict[str, float], what: str) -> None:
        """How much of `what` each way does in a second, and its time as a multiple of ours."""
        for name, times in seconds.items():
            self.note(name, what, amount[name] / statistics.median(times), "1/s")
            ratio = statistics.median(
                (b / amount[name]) / (a / amount["ours"])
                for a, b in zip(seconds["ours"], times, strict=True)
            )
            self.note(name, "time relative to ours", ratio, "x")


def compare_counts(notes: Notes, agents: int, repeats: int) -> None:
    """Counts without agents."""
    crowd = published(1000)
    began = time.perf_counter()
    few = count(crowd, 10**6, 0)
    notes.note("ours, first call", "time", time.perf_counter() - began, "s")
    by_numpy, number = drawn(crowd, "host")
    share, other = few.counts[0] / 10**6, by_numpy() / number
    if np.abs(share - other).max() > 6 * np.sqrt(0.25 / number + 0.25 / 10**6):
        raise SystemExit("counts: the two ways disagree")
    ways = {"ours": lambda: count(crowd, agents, 1), "drawn, numpy": by_numpy}
    seconds = turns(ways, repeats)
    notes.note("ours", "time", statistics.median(seconds["ours"]), "s")
    decisions = {"ours": agents * 1000.0, "drawn, numpy": number * 1000.0}
    notes.compare(seconds, decisions, "decisions")


def compare_reduction(notes: Notes, repeats: int) -> None:
    """Drawn, and counted on the device."""
    crowd = persistent(300)
    names = {"ours": "device", "drawn, numpy": "host", "drawn, not counted": "none"}
    made = {name: drawn(crowd, way) for name, way in names.items()}
    ways = {name: work for name, (work, _) in made.items()}
    if np.any(ways["ours"]() != ways["drawn, numpy"]()):
        raise SystemExit("reduction: the two ways disagree")
    amount = {name: agents * 300.0 for name, (_, agents) in made.items()}
    notes.compare(turns(ways, repeats), amount, "decisions")


def compare_dawid_skene(notes: Notes, repeats: int) -> None:
    """Steps of expectation and maximisation."""
    answers = np.ascontiguousarray(sample.sample(persistent(300), 20_000, 0).answers)
    votes = dawid_skene.count_votes([answers], 300, LEVELS, len(answers))
    belief = (votes / votes.sum(1, keepdims=True)).astype(np.float32)
    steps = {"ours": our_step, "numpy, same products": numpy_step, "numpy, textbook": textbook_step}
    found = [step(answers, belief) for step in steps.values()]
    if any(np.abs(one / found[-1] - 1).max() > 1e-4 for one in found):
        raise SystemExit("dawid-skene: the ways disagree")
    ways = {name: lambda step=step: step(answers, belief) for name, step in steps.items()}
    amount = dict.fromkeys(ways, float(answers.size))
    try:
        import pandas
        from crowdkit.aggregation import DawidSkene
    except ImportError:
        print("dawid-skene  crowd-kit is not installed and left out")
    else:
        warnings.filterwarnings("ignore", module="crowdkit")
        person, task = (axis.ravel() for axis in np.indices((500, 300)))
        rows = {"worker": person, "task": task, "label": answers[:500].ravel()}
        frame, rounds = pandas.DataFrame(rows), 3
        # Negative tolerance: all rounds are taken. It begins with one more estimate of the errors.
        ways["crowd-kit, 500 agents"] = lambda: DawidSkene(n_iter=rounds, tol=-np.inf).fit(frame)
        amount["crowd-kit, 500 agents"] = rounds * 500 * 300.0
    seconds = turns(ways, repeats)
    notes.note("ours", "steps", 1 / statistics.median(seconds["ours"]), "1/s")
    notes.compare(seconds, amount, "answers")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=10**9)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the records here")
    args = parser.parse_args()
    records: list[dict[str, object]] = []
    compare_counts(Notes("counts", records), args.agents, args.repeats)
    compare_reduction(Notes("reduction", records), args.repeats)
    compare_dawid_skene(Notes("dawid-skene", records), args.repeats)
    if args.json:
        args.json.write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    main()
