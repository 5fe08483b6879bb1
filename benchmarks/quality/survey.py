"""A survey (ANES 1996): do agents' answers hang together as people's do?

    python benchmarks/quality/survey.py [--seeds 5] [--json FILE]

People are held out. The three placements on the liberal-conservative scale (oneself, Clinton, Dole)
are compared by the mean absolute error of their three correlations and by their distributions;
`all items` takes the six questions' fifteen correlations. Humans: as many training people, drawn
anew, against the held-out ones.
"""

import argparse
import sys
from pathlib import Path

import jax
import msgspec
import numpy as np
from scipy.stats import wasserstein_distance
from table import Row, Table, write

from crowdllm_jax.model.crowd import numbers_of
from crowdllm_jax.model.fit import Prepared, fit_model
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.population.sample import sample
from crowdllm_jax.runs.config import load_config, load_study
from crowdllm_jax.runs.prepare import prepare
from crowdllm_jax.runtime.progress import silent
from crowdllm_jax.study.records import Study

AGENTS = 10_000
COLUMNS = {
    "three": "Correlation error, 3 placements",
    "all": "Correlation error, all items",
    "wd": "Avg. WD, 3 placements",
}


def sheet(study: Study, part: np.ndarray) -> np.ndarray:
    """(people, T) answers of those who have a response in a part; everybody answers all tasks."""
    who = np.unique(study.person[part])
    answers = np.full((len(study.participants.ids), len(study.tasks.ids)), np.nan)
    answers[study.person, study.task] = study.value
    return answers[who]


def measured(study: Study, humans: np.ndarray, crowd: np.ndarray) -> Row:
    placements = np.flatnonzero(study.tasks.scale == list(study.scales).index("placement"))

    def apart(items: np.ndarray) -> float:
        upper = np.triu_indices(len(items), 1)
        gap = np.corrcoef(humans[:, items].T) - np.corrcoef(crowd[:, items].T)
        return float(np.abs(gap[upper]).mean())

    return {
        "three": apart(placements),
        "all": apart(np.arange(humans.shape[1])),
        "wd": float(np.mean([wasserstein_distance(humans[:, i], crowd[:, i]) for i in placements])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the records here")
    args = parser.parse_args()
    config = load_config(Path(__file__).parents[2] / "configs" / "anes96.yaml")
    study = load_study(config)
    table = Table("ANES 1996, held-out people", COLUMNS)
    models = {
        "**persistent**": PersistentConfig(),
        "ordinal mixed": PersistentConfig(latent=1, injected=0),
        "cvae": config.published,
        "VAE only": msgspec.structs.replace(config.published, constant_reference=True),
    }
    for seed in range(args.seeds):
        print(f"seed {seed} ...", file=sys.stderr, flush=True)
        ready: Prepared = prepare(study, config, seed)
        humans, seen = sheet(study, ready.split.test), sheet(study, ready.split.seen)
        random = np.random.default_rng(seed)
        again = [
            measured(study, humans, seen[random.integers(0, len(seen), len(humans))])
            for _ in range(20)
        ]
        table.add("humans", {name: float(np.mean([a[name] for a in again])) for name in again[0]})
        for name, model in models.items():
            jax.clear_caches()
            crowd = fit_model(ready, model, config.train, seed, None, silent, name)[0]
            drawn = numbers_of(crowd, sample(crowd, AGENTS, 0).answers)
            table.add(name, measured(study, humans, drawn))
        alone = np.stack(
            [random.choice(column, AGENTS) for column in seen.T], axis=1
        )  # each item by itself
        table.add("training answers per task", measured(study, humans, alone))
    print(table.markdown())
    write([table], args.json)


if __name__ == "__main__":
    main()
