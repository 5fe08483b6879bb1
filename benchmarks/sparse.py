"""What a fit of either model and a twin cost, by people, tasks, answers and dimensions.

    python benchmarks/sparse.py [--json FILE] [--only NAME ...]

The answers are made up: a location per person and task, and five levels. Every study is made, laid
out and fitted in a process of its own, so that its peak memory is its own:

    seconds a step   median of the compiled steps (64 people each), without the first chunk of 50
    step / answer    the same by the answers that a step looks at
    published        seconds of processor time (on an accelerator: of time) that a step of the
                     published model takes (64 answers, 400 hidden units; tasks are known by who
                     they are, as in a split by people), and that an epoch of all answers would
    peak             resident memory at its highest, the study's making included
    twin             the same a person, warm, for people of the study's median
                     number of answers, 200 draws each

`people` and `tasks` show what does not cost: the answers a person gives stay the same.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Size(NamedTuple):
    people: int
    tasks: int
    answers: int
    latent: int


SIZES = {
    "base": Size(2_000, 500, 50, 4),
    "people": Size(20_000, 500, 50, 4),
    "tasks": Size(2_000, 2_000, 50, 4),
    "answers": Size(2_000, 500, 200, 4),
    "dimensions": Size(2_000, 500, 50, 8),
    "both": Size(20_000, 2_000, 50, 4),
    "large": Size(100_000, 2_000, 100, 4),
}
STEPS = 200
COLUMNS = (
    *("people", "tasks", "answers each", "dimensions"),
    *("ms a step", "ns an answer", "peak GB", "twin ms"),
    *("published ms a step", "published s an epoch"),
)


def study_of(size: Size, seed: int = 0):
    """People who each answer so many tasks drawn at random."""
    from crowdllm_jax.study.records import Participants, Study, Tasks
    from crowdllm_jax.study.scales import Ordinal

    random = np.random.default_rng(seed)
    people, tasks = size.people, size.tasks
    person = np.repeat(np.arange(people, dtype=np.int32), size.answers)
    # Evenly spaced around a random start: distinct tasks without a draw per person.
    start = np.repeat(random.integers(tasks, size=people), size.answers)
    step = tasks // size.answers
    task = ((start + step * np.tile(np.arange(size.answers), people)) % tasks).astype(np.int32)
    place = random.normal(size=people)[person] * 0.7 + random.normal(size=tasks)[task] * 0.8
    answer = np.searchsorted([-2, -0.7, 0.7, 2], place + random.logistic(size=len(task)))
    ids = tuple(f"t{t}" for t in range(tasks))
    return Study(
        name="sparse",
        tasks=Tasks(ids, ids, np.zeros(tasks, np.int32), (), None),
        scales={"rating": Ordinal(levels=(1, 2, 3, 4, 5))},
        participants=Participants(tuple(f"p{p}" for p in range(people)), (), np.ones(people)),
        person=person,
        task=task,
        answer=answer.astype(np.float32),
        missing=0,
    )


def measure(size: Size) -> dict[str, Any]:
    import jax

    from crowdllm_jax.model.crowd import Crowd
    from crowdllm_jax.model.persistent import fit
    from crowdllm_jax.model.persistent.answers import gather_answers
    from crowdllm_jax.model.persistent.config import PersistentConfig
    from crowdllm_jax.model.persistent.design import make_design
    from crowdllm_jax.population.twins import make_twins
    from crowdllm_jax.profiles.generator import ProfilesConfig, fit_profiles
    from crowdllm_jax.reference.record import Reference

    study = study_of(size)
    config = PersistentConfig(latent=size.latent, injected=0, steps=STEPS)
    everything = np.ones(len(study.task), bool)
    marginal = Reference("marginal", np.full(size.tasks, 3.0))
    design = make_design(study, marginal, (), everything, config, known=True)
    _, answers = gather_answers(study, (), design, everything)
    ends = [time.perf_counter()]
    graph, params, _ = fit.fit_marginal(
        design, answers, config, 0, on_step=lambda *_: ends.append(time.perf_counter())
    )
    step = float(np.median(np.diff(ends)[1:])) / fit.CHUNK
    profiles = fit_profiles((), study.participants.weight, ProfilesConfig())
    crowd = Crowd(
        config,
        graph,
        params,
        study.tasks.ids,
        study.scales,
        study.tasks.scale,
        design,
        (),
        profiles,
    )
    some = people_of(study, 50)
    make_twins(crowd, some)
    clock = clock_of(jax.default_backend())
    start = clock()
    make_twins(crowd, some)
    twin = (clock() - start) / len(some.participants.ids)
    return published(study, clock) | {
        "device": jax.devices()[0].device_kind,
        "seconds a step": step,
        "step / answer": step / (config.people * size.answers),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "twin": twin,
    }


def clock_of(backend: str):
    """Processor time on a CPU, which others may be using; else time, since the device works."""
    return time.process_time if backend == "cpu" else time.perf_counter


def published(study, clock, steps: int = 50, epochs: int = 5) -> dict[str, float]:
    """Of the published model's fit, by some of the answers; the first epoch also compiles."""
    from crowdllm_jax.model.cvae.config import CvaeConfig
    from crowdllm_jax.model.cvae.fit import Data, TrainConfig, fit
    from crowdllm_jax.study.coding import task_features

    config = TrainConfig(epochs=epochs)
    x, people = task_features(study.tasks, identity=True), len(study.participants.ids)
    chosen = np.random.default_rng(0).permutation(len(study.task))[: steps * config.batch_size]
    tables = x, np.zeros((people, 1), np.float32), np.full(len(x), 0.5, np.float32)
    unit = (study.answer - 1) / 4
    train, none = (
        Data(*tables, study.person[rows], study.task[rows], unit[rows])
        for rows in (chosen, chosen[:0])
    )
    ends = [clock()]
    fit(train, none, CvaeConfig(), config, 0, on_epoch=lambda *_: ends.append(clock()))
    step = float(np.median(np.diff(ends)[1:])) / steps
    return {"published": step, "published epoch": step * len(study.task) / config.batch_size}


def people_of(study, count: int):
    """The study of its first people."""
    from dataclasses import replace

    from crowdllm_jax.study.records import only_answers

    keep = study.person < count
    people = replace(
        study.participants,
        ids=study.participants.ids[:count],
        weight=study.participants.weight[:count],
    )
    return replace(only_answers(study, keep), participants=people)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--json", type=Path, help="write the records here")
    parser.add_argument("--one", choices=SIZES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(SIZES[args.one])))
        return
    records = []
    print(f"| | {' | '.join(COLUMNS)} |\n{'| --- ' * (1 + len(COLUMNS))}|")
    for name in args.only:
        size = SIZES[name]
        done = subprocess.run(
            [sys.executable, __file__, "--one", name], capture_output=True, text=True, check=True
        )
        found = json.loads(done.stdout.splitlines()[-1])
        device = found.pop("device")
        print(
            f"| {name} | {size.people:,} | {size.tasks:,} | {size.answers} | {size.latent} "
            f"| {1e3 * found['seconds a step']:.1f} | {1e9 * found['step / answer']:,.0f} "
            f"| {found['peak'] / 1e9:.2f} | {1e3 * found['twin']:.1f} "
            f"| {1e3 * found['published']:.1f} | {found['published epoch']:.0f} |",
            flush=True,
        )
        records += [
            {
                "benchmark": "sparse",
                "variant": name,
                "metric": metric,
                "value": value,
                "unit": "bytes" if metric == "peak" else "s",
                "device": device,
                **size._asdict(),
            }
            for metric, value in found.items()
        ]
        if args.json:  # each as it comes: the last ones take minutes
            args.json.write_text(json.dumps(records, indent=1))


if __name__ == "__main__":
    main()
