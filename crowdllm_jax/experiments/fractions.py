"""How few people are enough: everything is made anew from 1%, 5%, 20%, 100% of the training people.

The published model takes as many steps (and waits as many for a better validation loss) at every
size, so that fewer people do not also mean less training. With so few people that nobody is left
for validation it trains to the last epoch.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import msgspec
import numpy as np

from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.experiments import figure
from crowdllm_jax.experiments.fits import (
    Job,
    ceiling,
    fit_all,
    measured,
    measured_crowd,
    studied_models,
)
from crowdllm_jax.experiments.results import Results, Row, rows_of
from crowdllm_jax.model.cvae.fit import TrainConfig
from crowdllm_jax.model.fit import Prepared
from crowdllm_jax.reference.fitted import FittedReference
from crowdllm_jax.runs.config import Config
from crowdllm_jax.runs.evaluate import SCORED_AGENTS
from crowdllm_jax.runs.prepare import prepare
from crowdllm_jax.runtime.progress import Progress
from crowdllm_jax.score.baselines import baseline_crowds
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.split import split_study

SHARES = (0.01, 0.05, 0.2, 1.0)
FEWEST = 2
"""People: one person's answers do not say how people differ."""
METRICS = {
    "rps": "RPS",
    "mae": "MAE",
    "avg_wd": "Avg. WD",
    "cs": "CS",
    "variance_ratio": "Variance ratio",
    "personal_sd": "Personal SD",
    "icc": "ICC",
}


def fractions(
    study: Study,
    config: Config,
    progress: Progress,
    shares: Sequence[float] = SHARES,
    *,
    whole_reference: bool = False,
) -> Results:
    """Fit every model to each share of the training people, with each seed.

    Args:
      whole_reference: take a fitted reference from all training people at every share: it then
        stands for a language model, which is as good however few people are asked.
    Raises:
      CrowdError: a share is not above 0 and at most 1, or there are too few people or tasks.
    """
    models = studied_models(config, study)
    everyone, sizes = _sizes(study, config, shares)
    rows: list[Row] = []
    jobs: list[Job] = []
    conditions: list[tuple[tuple[str, str], int, Prepared]] = []
    for done, seed in enumerate(range(config.seeds)):
        everyones = prepare(study, config, seed) if whole_reference else None
        for number, people in enumerate(sizes):
            progress("prepare", done * len(sizes) + number, config.seeds * len(sizes))
            condition = (f"{people / everyone:.3g}", f"{people}")
            prepared = _prepare(study, config, people / everyone, seed)
            if everyones is not None:
                prepared = replace(prepared, reference=everyones.reference)
            conditions.append((condition, seed, prepared))
            train = _as_long(config.train, people / everyone)
            jobs += [
                Job((name, *condition), prepared, model, train, seed)
                for name, model in models.items()
            ]
        rows += rows_of(("humans", "", ""), seed, ceiling(conditions[-1][2], seed))
    progress("prepare", len(conditions), len(conditions))
    crowds = fit_all(jobs, progress)
    for done, (job, crowd) in enumerate(zip(jobs, crowds, strict=True), 1):
        rows += rows_of(job.condition, job.seed, measured_crowd(job.prepared, crowd, config))
        progress("score", done, len(jobs))
    agents = min(config.population.agents, SCORED_AGENTS)
    for condition, seed, prepared in conditions:
        baselines = baseline_crowds(
            prepared.study, prepared.split, prepared.reference, agents, seed
        )
        for name in ("reference_sampled", "task_marginal", "marginal"):
            if name in baselines:
                rows += rows_of((name, *condition), seed, measured(prepared, baselines[name]))
    rows.sort(key=lambda row: [*map(_order(models), row.condition), row.seed])
    title = f"Shares of {everyone:,} training people; held-out {config.split.by}"
    results = Results(title, ("crowd", "share", "people"), tuple(rows), METRICS)
    return replace(results, notes=tuple(_enough(results, name) for name in models))


def draw(results: Results) -> str:
    """Measures against the number of people."""
    people = {c: float(c[2]) for c in results.conditions if c[2]}
    return figure.lines(results, {"rps": "RPS", "mae": "MAE", "icc": "ICC"}, people, "people asked")


def _sizes(study: Study, config: Config, shares: Sequence[float]) -> tuple[int, list[int]]:
    """How many people there are to train on, and how many each share takes."""
    for share in shares:
        if not 0 < share <= 1:
            raise CrowdError(f"--fractions: {share:g} is not above 0 and at most 1")
    unreduced = msgspec.structs.replace(config.split, fraction=1.0)
    split = split_study(study, unreduced, 0)
    by_people = split.by == "people"
    everyone = len(np.unique(study.person[split.seen] if by_people else study.person))
    if everyone < FEWEST:
        raise CrowdError(
            f"study fractions: there is {everyone} person to train on; at least {FEWEST} are needed"
        )
    sizes: list[int] = []
    for share in sorted(shares):
        people = round(share * everyone)
        if people < FEWEST:
            warnings.warn(
                f"{share:g} of {everyone} training people is {people}; {FEWEST}, the fewest from "
                "whom one can see how people differ, are taken instead",
                CrowdWarning,
                stacklevel=3,
            )
            people = FEWEST
        if people not in sizes:
            sizes.append(people)
    return everyone, sizes


def _prepare(study: Study, config: Config, share: float, seed: int) -> Prepared:
    reduced = msgspec.structs.replace(
        config, split=msgspec.structs.replace(config.split, fraction=share)
    )
    try:
        return prepare(study, reduced, seed)
    except CrowdError as error:
        hint = ""
        if isinstance(config.first_reference, FittedReference) and share < 1:
            hint = "; --whole-reference fits the reference to all training people"
        raise CrowdError(f"with a share of {share:.3g} of the people: {error}{hint}") from error


def _as_long(train: TrainConfig, share: float) -> TrainConfig:
    """As many steps with a share of the answers as with all."""
    return msgspec.structs.replace(
        train, epochs=round(train.epochs / share), patience=round(train.patience / share)
    )


def _order(models: Iterable[str]) -> Callable[[str], float]:
    """Sorts crowds as people read them, and numbers by size."""
    names = ["humans", *models, "reference_sampled", "task_marginal", "marginal"]

    def key(part: str) -> float:
        return names.index(part) if part in names else float(part or 0)

    return key


def _enough(results: Results, name: str) -> str:
    """From which numbers of people a crowd is closer than these people's own answers."""
    floor = next(
        f for f in ("task_marginal", "marginal") if any(c[0] == f for c in results.conditions)
    )
    closer: dict[bool, list[str]] = {True: [], False: []}
    for condition in results.conditions:
        if condition[0] == name:
            crowd = results.summary(condition, "rps")
            people = results.summary((floor, *condition[1:]), "rps")
            assert crowd is not None
            assert people is not None
            closer[crowd[0] < people[0]].append(condition[2])
    verdicts = [
        f"{word} closer from {', '.join(sizes)}"
        for word, sizes in (("is", closer[True]), ("is not", closer[False]))
        if sizes
    ]
    floor_answers = "answers to each task" if floor == "task_marginal" else "pooled answers"
    return (
        f"{name}, beside the same people's own {floor_answers} (mean RPS): "
        f"{'; '.join(verdicts)} people"
    )
