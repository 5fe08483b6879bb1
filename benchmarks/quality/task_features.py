"""Task features of a language model beside a sentence encoder's, on texts nobody has rated yet.

    crowdllm embed configs/offensiveness.yaml --data FOLDER --model MODEL --layer auto \\
        --before "How offensive is this comment, from 1 (not at all) to 5 (very)?" \\
        --out layers.parquet
    python benchmarks/quality/task_features.py FOLDER layers.parquet [--seeds 5] [--persistent]

FOLDER holds ratings.csv and task_embeddings.parquet (see configs/offensiveness.yaml). The rows are
the fitted reference's own forecast (ridge), and the persistent model's with that reference.
"""

import argparse
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
from ratings import answers_of, fit, measured
from table import Row, Table

from crowdllm_jax.model.fit import Prepared
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.runs.config import load_config, load_study
from crowdllm_jax.runs.prepare import prepare
from crowdllm_jax.study.spec import EmbeddingSpec
from crowdllm_jax.study.statistics import task_means, unit


def people_of(ready: Prepared) -> tuple[np.ndarray, np.ndarray]:
    """The held-out tasks, and what people say of each on average."""
    tasks = ready.split.tasks(ready.study, ready.split.test)
    return tasks, task_means(ready.study, ready.split.test)[0][tasks]


def of_reference(ready: Prepared) -> Row:
    """The reference's own forecast: exact, not sampled."""
    study, split, forecast = ready.study, ready.split, ready.reference
    tasks, people = people_of(ready)
    assert forecast.probs is not None
    below = forecast.probs.cumsum(1)[study.task[split.test], :-1]
    answered = study.answer[split.test][:, None] <= np.arange(below.shape[1])
    rps = float(((below - answered) ** 2).sum(1).mean())
    return {"rps": rps, "r": float(np.corrcoef(forecast.mean[tasks], people)[0, 1])}


def of_crowd(ready: Prepared, values: np.ndarray) -> Row:
    """All measures of a crowd's answers (N, T), and how its averages go with people's: r over
    tasks, as shares of their scale's range less the scale's average."""
    tasks, people = people_of(ready)
    said = unit(ready.study, values[:, tasks].mean(0), tasks)
    of_scale = ready.study.tasks.scale[tasks]
    for numbers in (said, people):
        for index in np.unique(of_scale):
            numbers[of_scale == index] -= numbers[of_scale == index].mean()
    return measured(ready, values) | {"r": float(np.corrcoef(said, people)[0, 1])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("layers", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--persistent", action="store_true", help="fit the persistent model, too")
    args = parser.parse_args()
    root = Path(__file__).parents[2]
    config = load_config(root / "configs" / "offensiveness.yaml", data=args.folder)
    encoder = config.study.tasks.embedding
    columns = tuple(name for name in pq.read_schema(args.layers).names if name != "task")
    layers = EmbeddingSpec(path=str(args.layers.absolute()), column=columns)
    sources = {"MiniLM": (encoder,), "layer": (layers,), "MiniLM + layer": (encoder, layers)}
    table = Table("Held-out texts, by task features", {"rps": "RPS", "r": "r"})
    for name, embedding in sources.items():
        tasks = msgspec.structs.replace(config.study.tasks, embedding=embedding)
        own = msgspec.structs.replace(
            config, study=msgspec.structs.replace(config.study, tasks=tasks)
        )
        study = load_study(own)
        for seed in range(args.seeds):
            ready = prepare(study, own, seed)
            table.add(f"ridge, {name}", of_reference(ready))
            if args.persistent:
                crowd = fit(ready, PersistentConfig(), own, seed)
                table.add(f"persistent, {name}", of_crowd(ready, answers_of(crowd)))
            print(name, seed, [b.name for b in ready.study.tasks.blocks], flush=True)
    for kind in ("ridge", "persistent") if args.persistent else ("ridge",):
        gaps = table.values(f"{kind}, MiniLM + layer", "rps") - table.values(
            f"{kind}, MiniLM", "rps"
        )
        told = " ".join(f"{gap:+.4f}" for gap in gaps)
        print(f"{kind}: RPS of MiniLM + layer minus MiniLM, by seed: {told}")
    print(table.markdown())


if __name__ == "__main__":
    main()
