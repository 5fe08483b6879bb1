"""How much the scores move when what should not matter changes: seeds, learning rates, references.

split           seeds as `run` takes them: a split and initial weights each
weights         the first split, other initial weights
learning rate   a quarter to four times the configured ones
reference       the configured one, the crowd's own average, and a fitted one
"""

from dataclasses import replace

import msgspec
import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.experiments import figure
from crowdllm_jax.experiments.fits import Job, ceiling, fit_all, measured_crowd, studied_models
from crowdllm_jax.experiments.results import Condition, Results, Row, rows_of
from crowdllm_jax.model.crowd import ModelConfig
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.cvae.fit import TrainConfig
from crowdllm_jax.model.fit import Prepared
from crowdllm_jax.reference.fitted import FittedReference, fit_reference
from crowdllm_jax.reference.marginal import crowd_average
from crowdllm_jax.run.config import Config
from crowdllm_jax.run.prepare import prepare
from crowdllm_jax.runtime.progress import Progress
from crowdllm_jax.study.coding import feature_blocks
from crowdllm_jax.study.records import Study

RATES = {"x1/4": 0.25, "x1/2": 0.5, "x1": 1.0, "x2": 2.0, "x4": 4.0}
METRICS = {
    "rps": "RPS",
    "mae": "MAE",
    "avg_wd": "Avg. WD",
    "variance_ratio": "Variance ratio",
    "personal_sd": "Personal SD",
    "icc": "ICC",
}
FEWEST_WEIGHTS = 3


def sensitivity(study: Study, config: Config, progress: Progress) -> Results:
    """Fit every model in every condition; rates and references with each seed."""
    models = studied_models(config, study)
    rows: list[Row] = []
    jobs: list[Job] = []
    same: dict[Condition, Condition] = {}
    notes: list[str] = []
    first = None
    for seed in range(config.seeds):
        progress("prepare", seed, config.seeds)
        ready = prepare(study, config, seed)
        first = first or ready
        rows += rows_of(("humans", "", ""), seed, ceiling(ready, seed))
        others = _references(ready, notes if seed == 0 else [])
        for name, model in models.items():
            for rate, factor in RATES.items():
                jobs.append(
                    Job(
                        (name, "learning rate", rate),
                        ready,
                        *_faster(model, config.train, factor),
                        seed,
                    )
                )
            for kind, other in others.items():
                jobs.append(Job((name, "reference", kind), other, model, config.train, seed))
            # What is the same fit is fitted once.
            configured = (name, "reference", f"{ready.reference.kind} (configured)")
            same[configured] = (name, "learning rate", "x1")
    assert first is not None
    weights = max(config.seeds, FEWEST_WEIGHTS)
    for name, model in models.items():
        same[name, "seeds", "splits"] = (name, "learning rate", "x1")
        jobs += [
            Job((name, "seeds", "weights alone"), first, model, config.train, seed)
            for seed in range(1, weights)
        ]
    progress("prepare", config.seeds, config.seeds)
    crowds = fit_all(jobs, progress)
    for done, (job, crowd) in enumerate(zip(jobs, crowds, strict=True), 1):
        rows += rows_of(job.condition, job.seed, measured_crowd(job.ready, crowd, config))
        progress("score", done, len(jobs))
    for condition, base in same.items():
        rows += [row._replace(condition=condition) for row in rows if row.condition == base]
    rows += [
        row._replace(condition=(row.condition[0], "seeds", "weights alone"))
        for row in rows
        if row.condition[1:] == ("learning rate", "x1") and row.seed == 0
    ]
    order = ["humans", *models]
    varied = ["", "seeds", "learning rate", "reference"]
    values = ["", "splits", "weights alone", *RATES]

    def place(row: Row) -> tuple[int, int, float]:
        name, what, value = row.condition
        return (
            order.index(name),
            varied.index(what),
            values.index(value) if value in values else "(configured)" not in value,
        )

    rows.sort(key=lambda row: row.seed)
    rows.sort(key=place)
    results = Results(
        f"How much the scores move; held-out {config.split.by}",
        ("crowd", "varied", "setting"),
        tuple(rows),
        METRICS,
    )
    return replace(results, notes=(*notes, *(_moves(results, name) for name in models)))


def draw(results: Results) -> str:
    """A dot per condition and measure."""
    panels = {"rps": "RPS", "mae": "MAE", "variance_ratio": "variance ratio", "icc": "ICC"}
    return figure.dots(results, panels)


def _faster(
    model: ModelConfig, train: TrainConfig, factor: float
) -> tuple[ModelConfig, TrainConfig]:
    """The same training with other learning rates."""
    if isinstance(model, CvaeConfig):
        return model, msgspec.structs.replace(
            train,
            learning_rate=factor * train.learning_rate,
            blender_learning_rate=factor * train.blender_learning_rate,
        )
    return msgspec.structs.replace(model, learning_rate=factor * model.learning_rate), train


def _references(ready: Prepared, notes: list[str]) -> dict[str, Prepared]:
    """The study with other references than the configured one."""
    found = {}
    if ready.reference.kind != "marginal":
        average = crowd_average(ready.study, ready.split)
        found["marginal"] = replace(ready, reference=average)
    if ready.reference.kind != "fitted":
        known = feature_blocks(ready.study.tasks)
        try:
            if not known:
                raise CrowdError("the study has no task features")
            fitted = fit_reference(ready.study, ready.split, FittedReference(), known)
            found["fitted"] = replace(ready, reference=fitted)
        except CrowdError as error:
            notes.append(f"no fitted reference: {error}")
    return found


def _moves(results: Results, name: str) -> str:
    """How far the mean RPS moves in each direction, in words."""
    parts = []
    for what in ("learning rate", "reference"):
        means = [
            found[0]
            for c in results.conditions
            if c[:2] == (name, what) and (found := results.summary(c, "rps"))
        ]
        if len(means) > 1:
            parts.append(f"{np.ptp(means):.3f} over {what}s")
    for value in ("splits", "weights alone"):
        found = results.summary((name, "seeds", value), "rps")
        if found and not np.isnan(found[1]):
            parts.append(f"{found[1]:.3f} (standard deviation) over {value}")
    return f"{name}: RPS moves by " + ", ".join(parts)
