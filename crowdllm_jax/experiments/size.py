"""More agents are not more people: the crowd's error against its size.

For every task, exactly (the ambiguity decomposition of Krogh & Vedelsby 1994, Page's diversity
prediction theorem):

    (mean of agents - truth)^2 = mean (agent - truth)^2 - mean (agent - mean of agents)^2
    crowd error                = mean individual error  - diversity

The truth here is the mean of the held-out people, which is itself uncertain. As the crowd grows,
diversity comes to all that it has and the error flattens at the crowd's bias and that uncertainty.
Beside it stands what N people would do: s^2 / N and the same uncertainty.
"""

import warnings
from dataclasses import replace

import numpy as np

from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.experiments import figure
from crowdllm_jax.experiments.fits import Job, drawn, fit_all, studied_models
from crowdllm_jax.experiments.results import Results, Row, rows_of
from crowdllm_jax.runs.config import Config
from crowdllm_jax.runs.evaluate import SCORED_AGENTS
from crowdllm_jax.runs.prepare import prepare
from crowdllm_jax.runtime.progress import Progress
from crowdllm_jax.score.held_out import Humans, held_out
from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Study

MOST_CROWDS = 200
"""Crowds of one size over which the errors are averaged."""
METRICS = {
    "crowd_error": "Crowd error",
    "individual_error": "Individual error",
    "diversity": "Diversity",
    "rmse": "RMSE",
}
PEOPLE = "people"


def size(study: Study, config: Config, progress: Progress) -> Results:
    """Draw one population per model and seed, and measure crowds of every size within it.

    Raises:
      CrowdError: no task has two held-out answers on a scale that has a mean.
    """
    models = studied_models(config, study)
    jobs: list[Job] = []
    rows: list[Row] = []
    for seed in range(config.seeds):
        progress("prepare", seed, config.seeds)
        prepared = prepare(study, config, seed)
        jobs += [Job((n,), prepared, model, config.train, seed) for n, model in models.items()]
    progress("prepare", config.seeds, config.seeds)
    crowds = fit_all(jobs, progress)
    sizes = _sizes(min(config.population.agents, SCORED_AGENTS))
    for done, (job, crowd) in enumerate(zip(jobs, crowds, strict=True), 1):
        humans = held_out(job.prepared.study, job.prepared.split)
        tasks, truth, variance, count = targets(study, humans)
        values = _shares(humans, drawn(crowd, config, humans.tasks).astype(np.float64))[:, tasks]
        for n in sizes:
            parts = decompose(values, truth, n)
            condition = (*job.condition, str(n))
            rows += rows_of(condition, job.seed, {k: float(v.mean()) for k, v in parts.items()})
            rows += rows_of(condition, job.seed, {"rmse": parts["crowd_error"].mean() ** 0.5})
        beyond = worth(values.mean(0), truth, variance, count)
        rows += rows_of((*job.condition, str(sizes[-1])), job.seed, beyond)
        if job.condition[0] == next(iter(models)):
            for n in sizes:
                error = float(np.mean(variance / n + variance / count))
                every = float(np.mean(variance * (1 + 1 / count)))
                rows += rows_of(
                    (PEOPLE, str(n)),
                    job.seed,
                    {
                        "crowd_error": error,
                        "individual_error": every,
                        "diversity": every - error,
                        "rmse": error**0.5,
                    },
                )
        progress("measure", done, len(jobs))
    order = [*models, PEOPLE]
    rows.sort(key=lambda row: (order.index(row.condition[0]), int(row.condition[1]), row.seed))
    unit = "squared shares of the scale" if len(study.scales) > 1 else "squared points"
    results = Results(
        f"Error of the crowd's mean against its size ({unit}); held-out {config.split.by}",
        ("crowd", "agents"),
        tuple(rows),
        METRICS,
        decimals=5,
    )
    return replace(results, notes=tuple(_worth(results, n, str(sizes[-1])) for n in models))


def draw(results: Results) -> str:
    """The three parts of the identity against the number of agents."""
    agents = {c: float(c[1]) for c in results.conditions}
    panels = {
        "crowd_error": "crowd error",
        "individual_error": "= mean individual error",
        "diversity": "− diversity",
    }
    return figure.lines(
        results, panels, agents, "agents (or people) in the crowd", log_y=["crowd_error"]
    )


def decompose(values: np.ndarray, truth: np.ndarray, n: int) -> dict[str, np.ndarray]:
    """The identity per task, averaged over disjoint crowds of n of the agents.

    Args:
      values: (N, T) answers. truth: (T,).
    Returns:
      crowd_error, individual_error and diversity, (T,) each: the first is the second less the
      third, up to float rounding.
    """
    crowds = min(MOST_CROWDS, len(values) // n)
    crowd_values = values[: crowds * n].reshape(crowds, n, -1)
    mean = crowd_values.mean(1)
    return {
        "crowd_error": ((mean - truth) ** 2).mean(0),
        "individual_error": ((crowd_values - truth) ** 2).mean((0, 1)),
        "diversity": ((crowd_values - mean[:, None]) ** 2).mean((0, 1)),
    }


def targets(study: Study, humans: Humans) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Tasks that at least two held-out people answered on a scale that has a mean.

    Returns:
      (T',) their places in `humans.tasks`; mean and unbiased variance of the answers by survey
      weight, and (Kish's effective) number of them.
    """
    mean_exists = scales.which(scales.is_ordered, study.scales.values())[humans.scale]
    t = len(humans.tasks)
    value = _shares(humans, humans.value, humans.task)
    weight = humans.answer_weight
    total, squares = np.bincount(humans.task, weight, t), np.bincount(humans.task, weight**2, t)
    count = total**2 / squares
    mean = np.bincount(humans.task, weight * value, t) / total
    square = np.bincount(humans.task, weight * (value - mean[humans.task]) ** 2, t)
    used = np.flatnonzero(mean_exists & (np.bincount(humans.task, minlength=t) > 1))
    if not len(used):
        raise CrowdError(
            "study size: no task has two held-out answers on a scale that has a mean; "
            "hold out more (split.test)"
        )
    if not mean_exists.all():
        warnings.warn(
            f"{(~mean_exists).sum()} tasks of nominal scales are left out: they have no mean",
            CrowdWarning,
            stacklevel=3,
        )
    freedom = total - squares / total
    return used, mean[used], square[used] / freedom[used], count[used]


def worth(
    crowd: np.ndarray, truth: np.ndarray, variance: np.ndarray, count: np.ndarray
) -> dict[str, float]:
    """How far a crowd's means (T',) lie from people's beyond these people's own chance (bias2), and
    of how many people the means lie as far (left out where the bias cannot be told)."""
    floor = float(np.mean(variance / count))
    bias = float(np.mean((crowd - truth) ** 2)) - floor
    measures = {"bias2": bias, "truth_error": floor}
    return measures | ({"worth_people": float(np.mean(variance)) / bias} if bias > 0 else {})


def _shares(humans: Humans, values: np.ndarray, task: np.ndarray | None = None) -> np.ndarray:
    """Answers as they are, or on [0, 1] where the study has several scales."""
    if len(humans.support) == 1:
        return values
    return humans.as_share(values, np.arange(len(humans.tasks)) if task is None else task)


def _sizes(most: int) -> list[int]:
    """1, 2, 5, 10, ... and the whole population."""
    steps = [m * 10**p for p in range(7) for m in (1, 2, 5)]
    return [n for n in steps if n < most] + [most]


def _worth(results: Results, name: str, most: str) -> str:
    people = results.summary((name, most), "worth_people")
    biases = results.by_seed((name, most), "bias2")
    defined = results.by_seed((name, most), "worth_people")
    if people is None or len(defined) < len(biases):
        return f"{name}: its bias cannot be told from the held-out people's own chance"
    return (
        f"{name}: however many agents, its means are as far from people's as those of about "
        f"{people[0]:,.0f} people"
    )
