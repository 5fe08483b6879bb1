"""What each part of a crowd brings: the language model's reference, the belief, the blender."""

from dataclasses import replace

import msgspec

from crowdllm_jax.experiments import figure
from crowdllm_jax.experiments.fits import (
    Job,
    ceiling,
    fit_all,
    measured,
    measured_crowd,
    studied_models,
    with_attributes,
)
from crowdllm_jax.experiments.results import Results, Row, rows_of
from crowdllm_jax.model.crowd import ModelConfig
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.fit import Prepared
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.reference.marginal import crowd_average
from crowdllm_jax.runs.config import Config
from crowdllm_jax.runs.evaluate import SCORED_AGENTS
from crowdllm_jax.runs.prepare import prepare
from crowdllm_jax.runtime.progress import Progress
from crowdllm_jax.score.baselines import baseline_crowds
from crowdllm_jax.study.records import Study

MEANINGS = {
    "humans": "the noise ceiling: what the people's own distributions would score",
    "reference": "backbone alone: every agent gives the reference decision",
    "reference_sampled": "backbone alone, answers drawn from its option probabilities",
    "reference_noise": "backbone and noise of one fitted size: no belief, no profile",
    "vae_only": "published, without backbone: belief and blender on a constant reference",
    "cvae, no profile": "published, agents without a profile",
    "cvae": "published, all parts: backbone, belief, blender",
    "persistent, no reference": "without backbone: task features, profile and belief",
    "persistent, no profile": "agents without a profile",
    "persistent, one dimension": "belief of a location and a scale only (ordinal mixed model)",
    "persistent": "all parts, one belief per agent",
    "task_marginal": "floor: training people's answers to that task",
    "marginal": "floor: training people's answers, whatever the task",
    "uniform": "floor: every answer equally likely",
}
"""Every row, in the table's order, in plain words."""
METRICS = {
    "rps": "RPS",
    "mae": "MAE",
    "avg_wd": "Avg. WD",
    "cs": "CS",
    "variance_ratio": "Var. ratio",
    "personal_sd": "Pers. SD",
    "icc": "ICC",
}


def ablate(study: Study, config: Config, progress: Progress) -> Results:
    """Fit the models with and without their parts, with each seed."""
    models = studied_models(config, study)
    rows: list[Row] = []
    jobs: list[Job] = []
    by_seed: list[Prepared] = []
    for seed in range(config.seeds):
        progress("prepare", seed, config.seeds)
        prepared = prepare(study, config, seed)
        by_seed.append(prepared)
        rows += rows_of(("humans",), seed, ceiling(prepared, seed))
        for name, (variant, model) in _variants(prepared, models).items():
            jobs.append(Job((name,), variant, model, config.train, seed))
    progress("prepare", config.seeds, config.seeds)
    crowds = fit_all(jobs, progress)
    for done, (job, crowd) in enumerate(zip(jobs, crowds, strict=True), 1):
        rows += rows_of(job.condition, job.seed, measured_crowd(job.prepared, crowd, config))
        progress("score", done, len(jobs))
    agents = min(config.population.agents, SCORED_AGENTS)
    for seed, prepared in enumerate(by_seed):
        baselines = baseline_crowds(
            prepared.study, prepared.split, prepared.reference, agents, seed
        )
        for name, values in baselines.items():
            rows += rows_of((name,), seed, measured(prepared, values))
    order = list(MEANINGS)
    rows.sort(key=lambda row: (order.index(row.condition[0]), row.seed))
    notes = []
    if by_seed[0].reference.kind == "marginal":
        notes.append(
            "the reference is the training people's own average (reference.kind: "
            "marginal), so no row says what a language model brings"
        )
    if not study.participants.profile:
        notes.append("the study has no profile attributes, so there are no rows without them")
    return Results(
        f"What each part brings; held-out {config.split.by}",
        ("crowd",),
        tuple(rows),
        METRICS,
        tuple(notes),
        {(name,): meaning for name, meaning in MEANINGS.items()},
    )


def draw(results: Results) -> str:
    """A dot per crowd and measure."""
    panels = {"rps": "RPS", "mae": "MAE", "variance_ratio": "variance ratio", "icc": "ICC"}
    return figure.dots(results, panels)


def _variants(
    prepared: Prepared, models: dict[str, ModelConfig]
) -> dict[str, tuple[Prepared, ModelConfig]]:
    """What is fitted: the models, and each without one of its parts."""
    without_profile = with_attributes(prepared, ())
    variants: dict[str, tuple[Prepared, ModelConfig]] = {}
    for name, model in models.items():
        variants[name] = (prepared, model)
        if prepared.codings:
            variants[f"{name}, no profile"] = (without_profile, model)
        if isinstance(model, CvaeConfig):
            constant = msgspec.structs.replace(model, constant_reference=True)
            variants["vae_only"] = (prepared, constant)
        if not isinstance(model, PersistentConfig):
            continue
        narrow = msgspec.structs.replace(model, latent=1, injected=0)
        if narrow != model:
            variants["persistent, one dimension"] = (prepared, narrow)
        if prepared.reference.kind != "marginal":
            # The crowd's own average says nothing that the model does not learn itself.
            average = crowd_average(prepared.study, prepared.split)
            variants["persistent, no reference"] = (replace(prepared, reference=average), model)
    return variants
