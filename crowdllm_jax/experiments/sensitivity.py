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
from crowdllm_jax.experiments.results import Results, Row, rows_of
from crowdllm_jax.model.crowd import ModelConfig
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.cvae.fit import TrainConfig
from crowdllm_jax.model.fit import Prepared, completed
from crowdllm_jax.reference.fitted import FittedReference, fit_reference
from crowdllm_jax.reference.marginal import crowd_average
from crowdllm_jax.runs.config import Config
from crowdllm_jax.runs.prepare import prepare
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
    notes: list[str] = []
    first = None
    for seed in range(config.seeds):
        progress("prepare", seed, config.seeds)
        prepared = prepare(study, config, seed)
        first = first or prepared
        rows += rows_of(("humans", "", ""), seed, ceiling(prepared, seed))
        references = _references(prepared, notes if seed == 0 else [])
        for name, model in models.items():
            jobs += _jobs(name, model, config.train, prepared, references, seed)
    assert first is not None
    weights = max(config.seeds, FEWEST_WEIGHTS)
    jobs += [
        Job((name, "seeds", "weights alone"), first, model, config.train, seed)
        for name, model in models.items()
        for seed in range(1, weights)
    ]
    progress("prepare", config.seeds, config.seeds)
    crowds = fit_all(jobs, progress)
    for done, (job, crowd) in enumerate(zip(jobs, crowds, strict=True), 1):
        rows += rows_of(job.condition, job.seed, measured_crowd(job.prepared, crowd, config))
        progress("score", done, len(jobs))
    rows += _shared(rows, f"{first.reference.kind} (configured)")
    results = Results(
        f"How much the scores move; held-out {config.split.by}",
        ("crowd", "varied", "setting"),
        tuple(_sorted(rows, list(models))),
        METRICS,
    )
    return replace(results, notes=(*notes, *(_moves(results, name) for name in models)))


def _jobs(
    name: str,
    model: ModelConfig,
    train: TrainConfig,
    prepared: Prepared,
    references: dict[str, Prepared],
    seed: int,
) -> list[Job]:
    """A model's learning rates and its other references, with one seed."""
    rates = [
        Job((name, "learning rate", rate), prepared, *_faster(model, train, factor, prepared), seed)
        for rate, factor in RATES.items()
    ]
    return rates + [
        Job((name, "reference", kind), other, model, train, seed)
        for kind, other in references.items()
    ]


def _shared(rows: list[Row], configured: str) -> list[Row]:
    """The rows of conditions that are the same fit as a learning rate of x1; it is fitted once."""
    base = [row for row in rows if row.condition[1:] == ("learning rate", "x1")]
    return [
        row._replace(condition=(row.condition[0], varied, setting))
        for varied, setting, shared in (
            ("reference", configured, base),
            ("seeds", "splits", base),
            ("seeds", "weights alone", [row for row in base if row.seed == 0]),
        )
        for row in shared
    ]


def _sorted(rows: list[Row], models: list[str]) -> list[Row]:
    """By crowd, what is varied, its setting (of references the configured one first), and seed."""
    crowds = ["humans", *models]
    varied = ["", "seeds", "learning rate", "reference"]
    settings = ["", "splits", "weights alone", *RATES]

    def position(row: Row) -> tuple[int, int, float, int]:
        crowd, direction, setting = row.condition
        within = settings.index(setting) if setting in settings else "(configured)" not in setting
        return crowds.index(crowd), varied.index(direction), within, row.seed

    return sorted(rows, key=position)


def draw(results: Results) -> str:
    """A dot per condition and measure."""
    panels = {"rps": "RPS", "mae": "MAE", "variance_ratio": "variance ratio", "icc": "ICC"}
    return figure.dots(results, panels)


def _faster(
    model: ModelConfig, train: TrainConfig, factor: float, prepared: Prepared
) -> tuple[ModelConfig, TrainConfig]:
    """The same training with other learning rates."""
    if isinstance(model, CvaeConfig):
        return model, msgspec.structs.replace(
            train,
            learning_rate=factor * train.learning_rate,
            blender_learning_rate=factor * train.blender_learning_rate,
        )
    model = completed(model, prepared)
    return msgspec.structs.replace(model, learning_rate=factor * model.rate), train


def _references(prepared: Prepared, notes: list[str]) -> dict[str, Prepared]:
    """The study with other references than the configured one."""
    others = {}
    if prepared.reference.kind != "marginal":
        average = crowd_average(prepared.study, prepared.split)
        others["marginal"] = replace(prepared, reference=average)
    if prepared.reference.kind != "fitted":
        sources = feature_blocks(prepared.study.tasks)
        try:
            if not sources:
                raise CrowdError("the study has no task features")
            fitted = fit_reference(prepared.study, prepared.split, FittedReference(), sources)
            others["fitted"] = replace(prepared, reference=fitted)
        except CrowdError as error:
            notes.append(f"no fitted reference: {error}")
    return others


def _moves(results: Results, name: str) -> str:
    """How far the mean RPS moves in each direction, in words."""
    moves = []
    for varied in ("learning rate", "reference"):
        means = [
            summary[0]
            for c in results.conditions
            if c[:2] == (name, varied) and (summary := results.summary(c, "rps"))
        ]
        if len(means) > 1:
            moves.append(f"{np.ptp(means):.3f} over {varied}s")
    for setting in ("splits", "weights alone"):
        summary = results.summary((name, "seeds", setting), "rps")
        if summary and not np.isnan(summary[1]):
            moves.append(f"{summary[1]:.3f} (standard deviation) over {setting}")
    return f"{name}: RPS moves by " + ", ".join(moves)
