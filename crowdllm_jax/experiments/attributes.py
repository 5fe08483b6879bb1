"""What knowing a person's attributes brings: none, each alone, all.

Two questions are apart: whether the crowd as a whole comes closer, and whether a single person's
answers are forecast better from that person's profile (`person_mse`; `gain` is the share of the
squared error that goes away against knowing nothing). The second is what an attribute is for.
"""

import warnings
from dataclasses import replace

import numpy as np

from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.experiments import figure
from crowdllm_jax.experiments.fits import (
    Job,
    ceiling,
    fit_all,
    measured_crowd,
    studied_models,
    with_attributes,
)
from crowdllm_jax.experiments.results import Results, Row, paired, rows_of
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.fit import Prepared
from crowdllm_jax.population.expected import expected_answers
from crowdllm_jax.runs.config import Config
from crowdllm_jax.runs.prepare import prepare
from crowdllm_jax.runtime.progress import Progress
from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Attribute, Study
from crowdllm_jax.study.routing import routes_in
from crowdllm_jax.study.statistics import unit

NONE, ALL = "none", "all"
METRICS = {
    "gain": "Gain, persons",
    "person_mse": "MSE, persons",
    "rps": "RPS",
    "mae": "MAE",
    "avg_wd": "Avg. WD",
    "personal_sd": "Personal SD",
    "icc": "ICC",
}


def attributes(study: Study, config: Config, progress: Progress) -> Results:
    """Fit every model with no attribute, each single one, and all.

    Raises:
      CrowdError: the study has no profile attributes, or needs one to tell who is asked what.
    """
    attribute_names = _names_of(study)
    kinds: dict[str, list[str]] = {NONE: [], **{f"{name} only": [name] for name in attribute_names}}
    if len(attribute_names) > 1:
        kinds[ALL] = attribute_names
    usable = _answerable(study)
    models = studied_models(config, study)
    rows: list[Row] = []
    jobs: list[Job] = []
    for seed in range(config.seeds):
        progress("prepare", seed, config.seeds)
        prepared = prepare(study, config, seed)
        rows += rows_of(("humans", ""), seed, ceiling(prepared, seed))
        jobs += [
            Job((name, kind), with_attributes(prepared, names), model, config.train, seed)
            for name, model in models.items()
            for kind, names in kinds.items()
        ]
    progress("prepare", config.seeds, config.seeds)
    crowds = fit_all(jobs, progress)
    least: dict[tuple[str, int], float] = {}
    for done, (job, crowd) in enumerate(zip(jobs, crowds, strict=True), 1):
        error = person_error(job.prepared, crowd, usable)
        name, kind = job.condition
        if kind == NONE:
            least[name, job.seed] = error
        measures = {
            **measured_crowd(job.prepared, crowd, config),
            "person_mse": error,
            "gain": 1 - error / least[name, job.seed] if least[name, job.seed] > 0 else np.nan,
        }
        rows += rows_of(job.condition, job.seed, measures)
        progress("score", done, len(jobs))
    order = ["humans", *models]
    rows.sort(key=lambda row: (order.index(row.condition[0]), row.seed))
    rows.sort(key=lambda row: ["", *kinds].index(row.condition[1]))
    rows.sort(key=lambda row: order.index(row.condition[0]))
    results = Results(
        f"What attributes bring; held-out {config.split.by}",
        ("crowd", "attributes"),
        tuple(rows),
        METRICS,
    )
    others = [kind for kind in kinds if kind != NONE]
    return replace(results, notes=tuple(_verdict(results, name, others) for name in models))


def _names_of(study: Study) -> list[str]:
    """The attributes that may be left out."""
    for route in routes_in(study):
        if route.attributes:
            raise CrowdError(
                f"study attributes: who is asked '{study.tasks.ids[route.task]}' depends on the "
                f"attribute '{route.attributes[0]}' (ask_if), which crowds without it cannot tell; "
                "take the condition out of the tasks for this comparison"
            )
    names = [attribute.name for attribute in study.participants.profile]
    if not names:
        raise CrowdError(
            "study attributes: the study has no profile attributes; name columns "
            "under study.participants.profile"
        )
    return names


def draw(results: Results) -> str:
    """A dot per crowd, attribute and measure."""
    panels = {"gain": "gain in forecasting persons", "rps": "RPS", "personal_sd": "personal SD"}
    return figure.dots(results, panels)


def _answerable(study: Study) -> np.ndarray:
    """(T,) tasks whose mean answer means something."""
    usable: np.ndarray = scales.which(scales.is_ordered, study.scales.values())[study.tasks.scale]
    if not usable.any():
        raise CrowdError(
            "study attributes: every task has a nominal scale, whose answers have no "
            "mean to forecast; ask each level as a binary task"
        )
    if not usable.all():
        warnings.warn(
            f"{(~usable).sum()} tasks of nominal scales count in no person's error: their answers "
            "have no mean",
            CrowdWarning,
            stacklevel=3,
        )
    return usable


def person_error(prepared: Prepared, crowd: Crowd, usable: np.ndarray) -> float:
    """Mean squared error (by survey weight) of held-out answers, each forecast by the mean answer
    of agents with that person's profile; answers on [0, 1] where a study has several scales.

    Args:
      usable: (T,) tasks that count.
    """
    study = prepared.study
    test = prepared.split.test & usable[study.task] & (study.weight > 0)
    people, row = np.unique(study.person[test], return_inverse=True)
    tasks, column = np.unique(study.task[test], return_inverse=True)
    profile = tuple(
        Attribute(a.name, a.kind, a.levels, a.cells[people]) for a in study.participants.profile
    )
    expected = expected_answers(crowd, profile, len(people), tasks)[row, column]
    answer, task = study.value[test], study.task[test]
    if len(study.scales) > 1:
        expected, answer = unit(study, expected, task), unit(study, answer, task)
    return float(np.average((expected - answer) ** 2, weights=study.weight[test]))


def _verdict(results: Results, name: str, kinds: list[str]) -> str:
    """Whether any attribute forecasts persons better than none, paired over the seeds."""
    none = dict.fromkeys(results.by_seed((name, NONE), "gain"), 0.0)
    if not none:
        return f"{name}: gain is not defined (people answer just as forecast without attributes)"
    better, best = [], (-np.inf, "")
    for kind in kinds:
        gap, low, _ = paired(results.by_seed((name, kind), "gain"), none, len(kinds))
        best = max(best, (gap, kind))
        if low > 0:
            better.append(f"{kind} ({gap:+.1%} of the squared error gone)")
    if len(results.seeds) < 2:
        return (
            f"{name}: best is {best[1]} with a gain of {best[0]:+.1%}; one seed cannot tell "
            "this from chance, --seeds 5 or more can"
        )
    if better:
        return f"{name}: forecasts of persons are better than with no attribute with " + ", ".join(
            better
        )
    return (
        f"{name}: no attribute beats none in forecasting persons (the best, {best[1]}, has a gain "
        f"of {best[0]:+.1%}; over {len(results.seeds)} seeds its interval reaches below 0)"
    )
