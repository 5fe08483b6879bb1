"""Ratings (offensiveness): new texts, better references, little data, unseen people, twins.

    python benchmarks/quality/ratings.py FOLDER [--only texts ...] [--seeds 5] [--json FILE]

FOLDER holds ratings.csv and task_embeddings.parquet (see configs/offensiveness.yaml). Needs
scikit-learn (pip install '.[benchmarks]'). Parts:

    texts      held-out texts; ridge reference; beside a multinomial and an ordinal mixed model
    raters     the same with a reference built from four raters a text, set aside
    people     held-out people
    twins      a person's answers on held-out texts, from that person's answers on other texts
    fractions  1, 5, 20 and 100% of the people, with a ridge reference (fitted to all training
               ratings, in place of an LLM) and with a constant one
    profiles   what the profile does to the answers, against the same with profiles shuffled
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import msgspec
import numpy as np
from rivals import bias_and_slope, multinomial_answers, normal_rps
from table import Row, Table, write

from crowdllm_jax.model.crowd import Crowd, ModelConfig, numbers_of
from crowdllm_jax.model.fit import Prepared, fit_model
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.population.sample import sample
from crowdllm_jax.population.twins import make_twins
from crowdllm_jax.reference.marginal import MarginalReference
from crowdllm_jax.reference.record import from_levels
from crowdllm_jax.runs.config import Config, load_config, load_study
from crowdllm_jax.runs.prepare import prepare
from crowdllm_jax.runtime.progress import silent
from crowdllm_jax.score.baselines import baseline_crowds
from crowdllm_jax.score.ceiling import score_humans
from crowdllm_jax.score.held_out import held_out
from crowdllm_jax.score.metrics import measure_crowd
from crowdllm_jax.study.records import Attribute, Study, only_answers
from crowdllm_jax.study.statistics import level_shares

AGENTS = 10_000
FLOORS = {
    "reference_sampled": "reference, sampled",
    "task_marginal": "training answers per task",
    "marginal": "training answers, pooled",
}
"""Crowds that no model made, by what tables call them."""
MIXED = PersistentConfig(latent=1, injected=0)
"""The ordinal mixed model: a personal location and a personal scale, nothing else."""
COLUMNS = {
    "rps": "RPS",
    "avg_wd": "Avg. WD",
    "mae": "MAE",
    "rmse": "RMSE",
    "cs": "CS",
    "variance_ratio": "Variance ratio",
    "pooled_wd": "Pooled WD",
    "icc": "ICC",
    "personal_sd": "Personal SD",
    "personal_wd": "Personal WD",
}


def fit(ready: Prepared, model: ModelConfig, config: Config, seed: int) -> Crowd:
    jax.clear_caches()  # programs of shapes that never come back would fill the memory
    return fit_model(ready, model, config.train, seed, None, silent, "crowd")[0]


def answers_of(crowd: Crowd) -> np.ndarray:
    """(N, T) numbers on the scale."""
    return numbers_of(crowd, sample(crowd, AGENTS, 0).answers)


def measured(ready: Prepared, values: np.ndarray) -> Row:
    humans = held_out(ready.study, ready.split)
    return measure_crowd(humans, values[:, humans.tasks])


def ceiling(ready: Prepared, seed: int) -> Row:
    return {s.metric: s.value for s in score_humans(held_out(ready.study, ready.split), seed)}


def compare(table: Table, ready: Prepared, config: Config, seed: int, simple: bool) -> None:
    """Add a row for each crowd to the table."""
    table.add("humans (ceiling)", ceiling(ready, seed))
    models: dict[str, ModelConfig] = {
        "**persistent**": PersistentConfig(),
        "ordinal mixed": MIXED,
        "cvae": config.published,
    }
    for name, model in models.items():
        table.add(name, measured(ready, answers_of(fit(ready, model, config, seed))))
    if simple:
        levels = np.array(config.study.scales["offensiveness"].levels)
        drawn = multinomial_answers(ready, AGENTS, seed)
        table.add("multinomial", measured(ready, levels[drawn]))
    crowds = baseline_crowds(ready.study, ready.split, ready.reference, AGENTS, seed)
    for name, called in FLOORS.items():
        if name in crowds:
            table.add(called, measured(ready, crowds[name]))


def texts(study: Study, config: Config, seeds: int) -> list[Table]:
    table = Table("Held-out texts, ridge reference", COLUMNS)
    for seed in progress("texts", range(seeds)):
        compare(table, prepare(study, config, seed), config, seed, simple=True)
    gaps = table.values("**persistent**", "rps") - table.values("cvae", "rps")
    table.title += "; persistent - cvae in RPS by seed: " + " ".join(f"{g:+.3f}" for g in gaps)
    return [table]


def raters(study: Study, config: Config, seeds: int) -> list[Table]:
    table = Table("Held-out texts, reference of four set-aside raters", COLUMNS)
    for seed in progress("raters", range(seeds)):
        order = np.random.default_rng([seed, 4]).permutation(len(study.task))
        rank = np.empty(len(order), int)
        for task in range(len(study.tasks.ids)):
            own = order[study.task[order] == task]
            rank[own] = np.arange(len(own))
        aside = rank < 4
        kept = only_answers(study, ~aside)
        probs = level_shares(study, aside, 0)
        ready = prepare(kept, msgspec.structs.replace(config, reference=MarginalReference()), seed)
        ready = replace(ready, reference=from_levels(study, "column", probs))
        compare(table, ready, config, seed, simple=True)
    return [table]


def people(study: Study, config: Config, seeds: int) -> list[Table]:
    table = Table("Held-out people", COLUMNS)
    config = msgspec.structs.replace(
        config, split=msgspec.structs.replace(config.split, by="people")
    )
    for seed in progress("people", range(seeds)):
        compare(table, prepare(study, config, seed), config, seed, simple=False)
    return [table]


def twins(study: Study, config: Config, seeds: int) -> list[Table]:
    columns = {"rps": "RPS", "r": "r", "covered": "in 90% interval"}
    table = Table("One person's ratings of held-out texts", columns)
    levels = np.array(config.study.scales["offensiveness"].levels, float)
    for seed in progress("twins", range(seeds)):
        ready = prepare(study, config, seed)
        split = ready.split
        crowd = fit(ready, PersistentConfig(), config, seed)
        test = split.test & np.isin(study.person, split.people(study, split.seen))
        person, task, value = study.person[test], study.task[test], study.value[test]
        for name, known in (
            ("**twins**", split.seen),
            ("the same person, by profile alone", ~split.seen & ~split.test),
        ):
            made = make_twins(crowd, ready.study, known, draws=400, seed=seed)
            drawn = levels[made.answers[person, :, task].astype(int)]
            low, high = np.quantile(drawn, [0.05, 0.95], axis=1, method="inverted_cdf")
            table.add(
                name,
                {
                    "rps": _drawn_rps(drawn, value, levels),
                    "r": float(np.corrcoef(drawn.mean(1), value)[0, 1]),
                    "covered": float(((low <= value) & (value <= high)).mean()),
                },
            )
        mean = answers_of(crowd).mean(0)
        used = test | split.seen
        expected, sd = bias_and_slope(
            mean[study.task[used]], study.person[used], study.value[used], split.seen[used]
        )
        expected = expected[test[used]]
        table.add(
            "shrunken bias and slope per person",
            {
                "rps": normal_rps(expected, sd, value, levels),
                "r": float(np.corrcoef(expected, value)[0, 1]),
            },
        )
    return [table]


def _drawn_rps(drawn: np.ndarray, value: np.ndarray, levels: np.ndarray) -> float:
    """Ranked probability score of (R,) answers under (R, M) draws, without the draws' own noise."""
    below = (drawn[:, :, None] <= levels[:-1]).mean(1)
    noise = below * (1 - below) / (drawn.shape[1] - 1)
    hit = value[:, None] <= levels[:-1]
    return float((((below - hit) ** 2 - noise) @ np.diff(levels)).mean())


def fractions(study: Study, config: Config, seeds: int) -> list[Table]:
    shares = (0.01, 0.05, 0.2, 1.0)
    columns = {f"{f}": f"{f:.0%} of people" for f in shares}
    tables = []
    for kind in ("ridge", "constant"):
        table = Table(f"RPS on held-out texts, {kind} reference", columns)
        for seed in progress(f"fractions, {kind}", range(seeds)):
            rows: dict[str, Row] = {}
            whole = prepare(study, config, seed)
            for share in shares:
                part = msgspec.structs.replace(
                    config,
                    reference=MarginalReference(),
                    split=msgspec.structs.replace(config.split, fraction=share),
                )
                ready = prepare(study, part, seed)
                if kind == "ridge":
                    ready = replace(ready, reference=whole.reference)
                # As many steps as with all the data; the best epoch by validation is kept.
                longer = msgspec.structs.replace(
                    config.train, epochs=round(config.train.epochs / share)
                )
                every = msgspec.structs.replace(config, train=longer)
                own = {
                    "**persistent**": PersistentConfig(),
                    "ordinal mixed": MIXED,
                    "cvae": config.published,
                }
                for name, model in own.items():
                    crowd = fit(ready, model, every, seed)
                    rows.setdefault(name, {})[f"{share}"] = measured(ready, answers_of(crowd))[
                        "rps"
                    ]
                crowds = baseline_crowds(ready.study, ready.split, ready.reference, AGENTS, seed)
                for name in ("reference_sampled", "marginal"):
                    if name in crowds and not (name == "reference_sampled" and kind == "constant"):
                        rps = measured(ready, crowds[name])["rps"]
                        rows.setdefault(FLOORS[name], {})[f"{share}"] = rps
            for name, row in rows.items():
                table.add(name, row)
        tables.append(table)
    return tables


def profiles(study: Study, config: Config, seeds: int) -> list[Table]:
    columns = {
        "r": "r of profile-only forecast with unseen people's mean deviation",
        "sd": "SD of profile effect",
    }
    table = Table("What profiles say of people not seen", columns)
    config = msgspec.structs.replace(
        config, split=msgspec.structs.replace(config.split, by="people")
    )
    for seed in progress("profiles", range(seeds)):
        shuffle = np.random.default_rng([seed, 5]).permutation(len(study.participants.ids))
        rows = tuple(
            Attribute(a.name, a.kind, a.levels, a.cells[shuffle])
            for a in study.participants.profile
        )
        shuffled = replace(study, participants=replace(study.participants, profile=rows))
        for name, data in (("**persistent**", study), ("profiles shuffled", shuffled)):
            ready = prepare(data, config, seed)
            crowd = fit(ready, PersistentConfig(), config, seed)
            table.add(name, _profile_forecast(crowd, ready))
    return [table]


def _profile_forecast(crowd: Crowd, ready: Prepared) -> Row:
    """Twins of held-out people who answered nothing, against what these people answered."""
    study, test = ready.study, ready.split.test
    made = make_twins(crowd, study, np.zeros(len(study.task), bool), draws=400)
    expected = (made.answers + 1.0).mean(1)  # (H, T)
    forecast = expected - expected.mean(0)
    seen = np.bincount(study.person[ready.split.seen], minlength=len(study.participants.ids)) > 0
    mean = expected[seen].mean(0)
    who = np.unique(study.person[test])
    own = [(study.value - mean[study.task])[test & (study.person == p)].mean() for p in who]
    said = [forecast[p, study.task[test & (study.person == p)]].mean() for p in who]
    return {"r": float(np.corrcoef(own, said)[0, 1]), "sd": float(np.std(said))}


def progress(name: str, seeds: range) -> range:
    print(f"{name} ...", file=sys.stderr, flush=True)
    return seeds


PARTS: dict[str, Callable[[Study, Config, int], list[Table]]] = {
    "texts": texts,
    "raters": raters,
    "people": people,
    "twins": twins,
    "fractions": fractions,
    "profiles": profiles,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the records here")
    args = parser.parse_args()
    root = Path(__file__).parents[2]
    config = load_config(root / "configs" / "offensiveness.yaml", data=args.folder)
    study = load_study(config)
    tables = []
    for part in args.only:
        for table in PARTS[part](study, config, args.seeds):
            tables.append(table)
            print(table.markdown(), flush=True)
    write(tables, args.json)


if __name__ == "__main__":
    main()
