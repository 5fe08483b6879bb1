"""What a language model brings to crowds that answer new questions: its answers, its states, both.

    python benchmarks/quality/language_model.py offensiveness FOLDER --model MODEL [--seeds 5]
    python benchmarks/quality/language_model.py twin2k FOLDER --model MODEL --encoder ENCODER

FOLDER holds the tables of the data set, MODEL is a Hugging Face folder or GGUF file, ENCODER a
sentence encoder's folder (offensiveness comes with its embedding). Parts (--only):

    sources    held-out tasks; for each source of a reference the reference itself, sampled, the
               persistent and the published model
    references the same without the two models (minutes)
    useless    what a reference that says nothing costs the persistent model: a constant, and
               MiniLM's and the model's answers shuffled among tasks
    tuned      adapters tuned on the training tasks' answers, cross-fitted (hours on a CPU; only if
               asked for): alone, and as a second reference beside all stacked

All that is measured is kept in a folder (--keep), row by row: the command, started again, goes on.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import jax
import msgspec
import numpy as np
from language_model_data import (
    ANSWERS,
    LAYER,
    MINILM,
    offensiveness,
    sources,
    tuned,
    twin2k,
    with_encoder,
)
from ratings import AGENTS, answers_of, ceiling, fit
from table import Row, Table, write
from task_features import of_crowd

from crowdllm_jax.cli.compiled import cache_folder
from crowdllm_jax.model.fit import Prepared
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.reference.record import Reference, from_levels
from crowdllm_jax.reference.tuned import tune_reference
from crowdllm_jax.runs.config import Config, load_study
from crowdllm_jax.runs.prepare import prepare
from crowdllm_jax.score.baselines import baseline_crowds
from crowdllm_jax.score.reference_signal import reference_signal
from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Study

COLUMNS = {"rps": "RPS", "mae": "MAE", "avg_wd": "Avg. WD", "r": "r"}
SAMPLED, PERSISTENT, CVAE = "reference, sampled", "**persistent**", "cvae"
BOTH = "all stacked, and tuned"
PARTS = (MINILM, LAYER, ANSWERS, f"{MINILM} + layer")
"""What `all stacked` stacks."""


class Kept:
    """Rows that were measured, in a file with a line for each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.rows: dict[str, Row] = dict(map(json.loads, lines))

    def row(self, key: str, measure: Callable[[], Row]) -> Row:
        """The row of a key; measured, if it is not there yet."""
        if key not in self.rows:
            began = time.monotonic()
            self.rows[key] = measure()
            with self.path.open("a") as file:
                file.write(json.dumps([key, self.rows[key]]) + "\n")
            tell(f"{key}, {time.monotonic() - began:.0f} s", 1, 1)
        return self.rows[key]


class Source(NamedTuple):
    """What a reference is made of, and the study that holds it."""

    name: str
    config: Config
    study: Study

    def prepared(self, seed: int) -> Prepared:
        return prepare(self.study, self.config, seed, tell)


class Bench(NamedTuple):
    """What all parts measure with; `sources` by their names."""

    name: str
    kept: Kept
    steps: int
    seeds: int
    sources: dict[str, Source]

    def fitted(self, ready: Prepared, config: Config, seed: int, way: str = PERSISTENT) -> Row:
        """The row of a fitted crowd."""
        model = PersistentConfig(steps=self.steps) if way == PERSISTENT else config.published
        return of_crowd(ready, answers_of(fit(ready, model, config, seed)))

    def crowds(
        self, source: Source, seed: int, ways: Collection[str] = (SAMPLED, PERSISTENT, CVAE)
    ) -> dict[str, Row]:
        """The rows of one source and seed; it is prepared if any is not there yet."""
        ready = cache(partial(source.prepared, seed))

        def measure(way: str) -> Row:
            if way != SAMPLED:
                return self.fitted(ready(), source.config, seed, way)
            crowds = baseline_crowds(source.study, ready().split, ready().reference, AGENTS, seed)
            return of_crowd(ready(), crowds["reference_sampled"])

        keys = {way: f"{source.name}, {way}, {seed}" for way in ways}
        return {way: self.kept.row(key, partial(measure, way)) for way, key in keys.items()}


def by_source(bench: Bench, ways: Collection[str] = (SAMPLED, PERSISTENT, CVAE)) -> Table:
    """The crowds of each source, all on the same splits."""
    table = Table(f"{bench.name}: held-out tasks, by what the reference is made of", COLUMNS)
    for seed in range(bench.seeds):
        first = next(iter(bench.sources.values()))
        humans = cache(lambda s=seed, f=first: ceiling(f.prepared(s), s))
        table.add("humans (ceiling)", bench.kept.row(f"humans, {seed}", humans))
        for name, source in bench.sources.items():
            # The published model, and what is sampled, are of one reference.
            several = isinstance(source.config.reference, tuple)
            for way, row in bench.crowds(
                source, seed, {PERSISTENT} & set(ways) if several else ways
            ).items():
                floor = name == "marginal" and way == SAMPLED
                table.add("training answers, pooled" if floor else f"{name}: {way}", row)
    return table


def gaps(table: Table, one: str, others: list[str]) -> np.ndarray:
    """(seeds,) RPS of one row less that of the best of some others, seed by seed."""
    best = np.min([table.values(name, "rps") for name in others], axis=0)
    return table.values(one, "rps") - best


def comparisons(table: Table, sources: Collection[str]) -> str:
    """Differences by seed, as lines of text."""
    pairs = {
        f"{source}, persistent - cvae": (f"{source}: {PERSISTENT}", [f"{source}: {CVAE}"])
        for source in sources
        if f"{source}: {CVAE}" in table.rows
    }
    parts = [source for source in PARTS if source in sources]
    ways = [way for way in (SAMPLED, PERSISTENT) if f"all stacked: {way}" in table.rows]
    for way in ways if parts else ():
        told = f"all stacked - best part, {way.strip('*')}"
        pairs[told] = (f"all stacked: {way}", [f"{source}: {way}" for source in parts])
    lines = []
    for told, (one, others) in pairs.items():
        by_seed = " ".join(f"{gap:+.4f}" for gap in gaps(table, one, others))
        lines.append(f"RPS of {told}, by seed: {by_seed}")
    return "\n".join(lines)


def constant(ready: Prepared) -> Reference:
    """An answer that is the same for every task of a scale: its second level, mostly."""
    size = np.array([scales.size(scale) for scale in ready.study.scales.values()])
    probs = np.zeros((len(size), size.max()))
    for row, levels in zip(probs, size, strict=True):
        row[:levels] = 0.3 / levels
        row[1] += 0.7
    return from_levels(ready.study, "column", probs[ready.study.tasks.scale])


def shuffled(ready: Prepared, seed: int) -> Reference:
    """The reference of each task is another's on its scale."""
    random, order = np.random.default_rng([seed, 6]), np.arange(len(ready.study.tasks.ids))
    for index in range(len(ready.study.scales)):
        rows = np.flatnonzero(ready.study.tasks.scale == index)
        order[rows] = random.permutation(rows)
    assert ready.reference.probs is not None
    return from_levels(ready.study, "column", ready.reference.probs[order])


def useless(bench: Bench) -> Table:
    """What references without any signal cost, beside the training people's average. The study has
    no other features, so that nothing hides it."""
    told = {"cost": "RPS above that with the marginal one", "told": "said to be without signal"}
    table = Table(f"{bench.name}: the persistent model with a useless reference", COLUMNS | told)
    marginal = bench.sources["marginal"]

    def measure(name: str, seed: int) -> Row:
        ready = marginal.prepared(seed)
        if name == "constant":
            reference = constant(ready)
        else:
            reference = shuffled(bench.sources[name].prepared(seed), seed)
        ready = replace(ready, reference=reference)
        fires = reference_signal(ready.study, ready.split, reference).fires
        return bench.fitted(ready, marginal.config, seed) | {"told": float(fires)}

    for seed in range(bench.seeds):
        base = bench.crowds(marginal, seed)[PERSISTENT]
        table.add("marginal", base)
        for name in ("constant", MINILM, ANSWERS):
            if name == "constant" or name in bench.sources:
                row = bench.kept.row(f"useless {name}, {seed}", partial(measure, name, seed))
                title = name if name == "constant" else f"{name}, shuffled"
                table.add(title, row | {"cost": row["rps"] - base["rps"]})
    return table


def tell(stage: str, done: int, total: int) -> None:
    if done == total:
        print(f"{time.strftime('%H:%M:%S')} {stage}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=("offensiveness", "twin2k"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--encoder", help="for a data set without a sentence embedding")
    parts = ("sources", "references", "useless", "tuned")
    parser.add_argument("--only", nargs="+", choices=parts, default=["sources", "useless"])
    parser.add_argument("--sources", nargs="+", help="those of these names; all by default")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=PersistentConfig().steps)
    parser.add_argument("--keep", type=Path, default=Path("runs/language_model"))
    parser.add_argument("--json", type=Path, help="write the records here")
    args = parser.parse_args()
    # Sources of one kind share a split's programs.
    jax.config.update("jax_compilation_cache_dir", str(cache_folder()))
    keep = args.keep / args.data
    keep.mkdir(parents=True, exist_ok=True)
    own = args.data == "offensiveness"
    asked = offensiveness(args.folder) if own else twin2k(args.folder, keep)
    if args.encoder is not None:
        asked = with_encoder(asked, args.encoder, keep, tell)
    configs = sources(asked, args.model, keep, tell)
    if "tuned" in args.only:
        configs["tuned"], stacked = tuned(asked, args.model, keep), configs["all stacked"]
        both = (stacked.reference, configs["tuned"].reference)
        configs[BOTH] = msgspec.structs.replace(stacked, reference=both)
    chosen = {name: config for name, config in configs.items() if name in (args.sources or configs)}
    every = {name: Source(name, config, load_study(config)) for name, config in chosen.items()}
    bench = Bench(args.data, Kept(keep / "rows.jsonl"), args.steps, args.seeds, every)
    tables = []
    if "tuned" in args.only:
        for seed in range(args.seeds):
            ready, reference = every["marginal"].prepared(seed), configs["tuned"].reference
            tune_reference(ready.study, ready.split, reference, reference.tune, tell)
    if {"sources", "references", "tuned"} & set(args.only):
        alone = args.only == ["references"]
        tables.append(by_source(bench, (SAMPLED,)) if alone else by_source(bench))
        print(tables[-1].markdown(), comparisons(tables[-1], every), "", sep="\n", flush=True)
    if "useless" in args.only:
        tables.append(useless(bench))
        print(tables[-1].markdown(), flush=True)
    write(tables, args.json)


if __name__ == "__main__":
    main()
