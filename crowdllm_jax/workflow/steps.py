"""The one way through: study -> reference -> fitted crowd -> population -> scores -> report.

`run` does all of it in a folder; `fit`, `sample`, `evaluate` and `report` do one step each from
what the folder holds. Every step leaves finished work alone, so an interrupted run continues where
it stopped:

    config.yaml       the whole configuration, defaults included
    run.json          the data's fingerprint, the versions it was run with, and what a server took
    seed-0/           one folder per repetition: for each fitted model its training checkpoint,
                      losses and fitted crowd. With folds these stand in fold-0/, fold-1/, ...;
                      beside them the crowd that is fitted to all, whose population is written.
                      reference.npz keeps a fitted reference for questions that are asked later
    population/       Parquet parts and a manifest
    asked/            what agents answer to questions asked later (`workflow.ask`)
    scores.json       a list of {model, split, seed, metric, value, low, high}; null and {why} for
                      what is not defined
    diagnostics.json  a list of {name, measure, value, fires, threshold, advice, detail}; none
                      where answers are held out
    report.html       all of it to look at
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd import Crowd, ModelConfig, numbers_of
from crowdllm_jax.model.crowd_file import load_crowd, save_crowd
from crowdllm_jax.model.cvae.fit import Losses
from crowdllm_jax.model.fit import fit_devices, fit_model
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.population.agents import Agents
from crowdllm_jax.population.count import count
from crowdllm_jax.population.sample import crowd_among, sample
from crowdllm_jax.population.write import told_whom, write_population
from crowdllm_jax.population.write_counts import write_counts
from crowdllm_jax.runs.config import Config, PopulationConfig, check_config, dump_config
from crowdllm_jax.runs.evaluate import SCORED_AGENTS, profile_of, score_all
from crowdllm_jax.runs.folder import (
    crowd_folder,
    fitted_crowd,
    keep_reference,
    main_model,
    models_of,
    run_facts,
    split_crowd,
    start_run,
)
from crowdllm_jax.runs.folds import ScoredFold, held_out_of, pool_folds
from crowdllm_jax.runs.held_out_answers import score_answers
from crowdllm_jax.runs.prepare import Splits
from crowdllm_jax.runtime import handing_out, processes
from crowdllm_jax.runtime.files import check_new, write_whole
from crowdllm_jax.runtime.given import as_path
from crowdllm_jax.runtime.progress import Progress, silent, stage
from crowdllm_jax.score.diagnostics import diagnose, too_few
from crowdllm_jax.score.effects import profile_effects
from crowdllm_jax.score.finding import Finding
from crowdllm_jax.score.groups import groups_of
from crowdllm_jax.score.held_out import held_out
from crowdllm_jax.score.metrics import Score, answer_rps, read_scores
from crowdllm_jax.score.part_worths import part_worths
from crowdllm_jax.score.scores import Scores
from crowdllm_jax.study.split import Fold, split_study


def run(config: Config, out: str | Path, progress: Progress = silent) -> Scores:
    """Do everything, or what is left of it, in the folder `out`.

    Args:
      config: what to do; it names its study. out: a new folder, or that of the same run.
      progress: called with a stage's name and how far it is; see `progress_bar`.
    Returns:
      The scores of all models and seeds; the folder holds the population, the fitted crowds,
      `scores.json`, `diagnostics.json` and `report.html`.
    Raises:
      CrowdError: bad data or configuration, or `out` holds something else.

    Examples:
      >>> quick = {"kind": "persistent", "steps": 20}
      >>> people = {"by": "people", "test": 0.2}
      >>> small = {"model": quick, "models": [], "population": {"agents": 500}}
      >>> scores = cl.run(
      ...     cl.load_config({"study": "anes96", "split": people, **small}), "runs/example"
      ... )
      >>> Path("runs/example/report.html").exists()
      True
    """
    check_config(config)
    folder = as_path(out, "run: give the path of a folder")
    scores: list[Score] = []
    with start_run(folder, config, progress) as splits:
        fit_run(folder, splits)
        sample_run(folder, config.population, None, progress)
        of_all = evaluate_run(folder, splits)
        if processes.rank() == 0:
            scores = of_all
            with stage(progress, "report"):
                report_run(folder, splits)
        processes.meet("the report")
    return Scores(scores)


class _Fit(NamedTuple):
    """One model of one split that a run fits."""

    seed: int
    fold: Fold
    name: str
    model: ModelConfig
    label: str


def fit_run(folder: Path, splits: Splits) -> None:
    """Fit every model of every split that the folder does not hold yet.

    Several processes first do together what takes the devices of all (`model.devices`,
    `train.devices`), and then the other fits side by side, each the next one that nobody does.
    """
    missing = [fit for fit in _fits(splits) if not _place(folder, fit).exists()]
    if processes.rank() == 0:
        handing_out.sweep(folder)
    processes.meet("what is to be fitted")
    train = splits.config.train
    shared = [fit for fit in missing if processes.takes_all(fit_devices(fit.model, train))]
    for fit in shared:
        _fit_one(folder, splits, fit)
    own = [fit for fit in missing if fit not in shared]
    with handing_out.apart(folder):
        for fit in own:
            if handing_out.take(folder, _place(Path(), fit).parent.as_posix().replace("/", "-")):
                with processes.alone():
                    _fit_one(folder, splits, fit)
        _await([_place(folder, fit) for fit in own], splits, "fits of all processes")
    processes.meet("all fits")
    if processes.rank() == 0:
        handing_out.sweep(folder)


def _fits(splits: Splits) -> Iterator[_Fit]:
    """What a run fits, split by split."""
    config, folds = splits.config, splits.folds
    models = models_of(config, splits.study)
    for seed in range(config.seeds):
        for fold in folds:
            where = [f"seed {seed}"] if config.seeds > 1 else []
            where += [f"fold {fold + 1} of {len(folds)}"] if isinstance(fold, int) else []
            for name, model in models.items():
                label = f"{name} ({', '.join(where)})" if where else name
                yield _Fit(seed, fold, name, model, label)
    if len(folds) > 1:
        main = main_model(config)
        yield _Fit(0, "all", main, models[main], f"{main} (all)")


def _place(folder: Path, fit: _Fit) -> Path:
    return crowd_folder(folder, fit.seed, fit.name, fit.fold)


def _fit_one(folder: Path, splits: Splits, fit: _Fit) -> None:
    """Fit one model, alone or together with the other processes."""
    prepared = splits.prepared(fit.seed, fit.fold)
    target = _place(folder, fit)
    first = processes.rank() == 0
    if first:
        target.parent.parent.mkdir(parents=True, exist_ok=True)
    if first and fit.name == main_model(splits.config):  # once per split, whoever fits the others
        keep_reference(target.parent.parent, prepared.reference)
    train, progress = splits.config.train, splits.progress
    crowd, losses = fit_model(
        prepared, fit.model, train, fit.seed, target.parent, progress, fit.label
    )
    unfinished = target.with_name(".tmp-crowd")
    if first:
        write_whole(target.parent / "losses.json", msgspec.json.encode(losses))
        shutil.rmtree(unfinished, ignore_errors=True)
    processes.meet("the fitted crowd")
    save_crowd(crowd, unfinished)
    if first:
        unfinished.rename(target)


def sample_run(
    folder: Path,
    population: PopulationConfig,
    out: Path | None,
    progress: Progress = silent,
    where: str | None = None,
    margins: Mapping[str, Mapping[str, float]] | None = None,
) -> Path:
    """Write a population of the first seed's crowd; returns its folder.

    Args:
      where: a condition on profiles, and margins: shares of them, under which agents are recruited
        (see `profiles.where`).
    """
    progress("sample", 0, population.agents)
    crowd = crowd_among(fitted_crowd(folder), where, margins)
    target = out or folder / "population"
    write_population(
        crowd,
        target,
        population.agents,
        population.seed,
        lambda done, total: progress("sample", done, total),
        population.layout,
        told_whom(where, margins),
    )
    return target


def count_run(
    folder: Path,
    agents: int,
    seed: int,
    out: Path | None,
    by: str | None = None,
    progress: Progress = silent,
    where: str | None = None,
    margins: Mapping[str, Mapping[str, float]] | None = None,
) -> Path:
    """Write how many agents of the first seed's crowd give each answer; returns the folder."""
    progress("count", 0, agents)
    crowd = crowd_among(fitted_crowd(folder), where, margins)
    target = out or folder / "counts"
    if processes.rank() == 0:
        check_new(target)
    # Before anything is drawn, or written.
    processes.meet("the counts' folder")
    counts = count(crowd, agents, seed, by=by, progress=progress)
    if processes.rank() == 0:
        write_counts(crowd, counts, target, seed, told_whom(where, margins))
    processes.meet("the counts")
    return target


def evaluate_run(folder: Path, splits: Splits) -> list[Score]:
    """Score every seed's crowds and write scores.json; several processes hand the seeds out."""
    paths = [folder / f"seed-{seed}" / "scores.json" for seed in range(splits.config.seeds)]
    with handing_out.apart(folder):
        for seed, path in enumerate(paths):
            if not path.exists() and handing_out.take(folder, f"scores-{seed}"):
                with processes.alone():
                    seed_scores = _evaluate_seed(folder, splits, seed)
                write_whole(path, msgspec.json.encode(seed_scores))
        _await(paths, splits, "scores of all processes")
    processes.meet("all scores")
    scores = [score for path in paths for score in _read_scores(path)]
    if processes.rank() == 0:
        handing_out.sweep(folder)
        write_whole(folder / "scores.json", msgspec.json.format(msgspec.json.encode(scores)))
    return scores


def _await(paths: Sequence[Path], splits: Splits, stage: str) -> None:
    """Wait until other processes have written what they have taken."""

    def there() -> int:
        return sum(path.exists() for path in paths)

    handing_out.wait_for_all(there, len(paths), splits.progress, stage)


def _evaluate_seed(folder: Path, splits: Splits, seed: int) -> list[Score]:
    """Score a seed's crowds; of the first seed, write the diagnostics (of its first split)."""
    config, study = splits.config, splits.study
    if config.split.by == "answers":
        return _evaluate_answers(folder, splits, seed)
    folds: list[ScoredFold] = []
    for fold in splits.folds:
        crowds = {
            name: load_crowd(crowd_folder(folder, seed, name, fold))
            for name in models_of(config, study)
        }
        prepared = splits.prepared(seed, fold)
        fold_scores, answers = score_all(prepared, config, crowds, seed, splits.progress)
        humans = held_out(study, prepared.split)
        if not folds:
            first = prepared, crowds[main_model(config)], humans, answers["marginal"]
        costs = {name: answer_rps(humans, values) for name, values in answers.items()}
        folds.append(ScoredFold(prepared.split, fold_scores, costs))
    scores = pool_folds(study, folds, seed) if len(folds) > 1 else folds[0].scores
    if seed == 0:
        prepared, crowd, humans, floor = first
        everyone = held_out_of(study, [scored.split for scored in folds])
        few = too_few(everyone, scores, main_model(config))
        _, values = _agents_of(crowd, config)
        diagnosed = diagnose(prepared, crowd, humans, values, floor, few)
        text = msgspec.json.format(msgspec.json.encode(diagnosed))
        write_whole(folder / "diagnostics.json", text)
    return scores


def _evaluate_answers(folder: Path, splits: Splits, seed: int) -> list[Score]:
    """Score the twins of a seed's crowds on the answers that these have not seen."""
    main = main_model(splits.config)
    fitted = (
        (splits.prepared(seed, fold), load_crowd(crowd_folder(folder, seed, main, fold)))
        for fold in splits.folds
    )
    return score_answers(fitted, seed, splits.progress)


def report_run(folder: Path, splits: Splits) -> Path:
    """Write report.html from what the folder holds; returns its path.

    Scores are of all splits, pictures of the first.
    """
    config, study = splits.config, splits.study
    path = folder / "scores.json"
    if not path.exists():
        raise CrowdError(f"{folder}: has no scores yet; run `crowdllm evaluate` first")
    scores = _read_scores(path)
    first = splits.folds[0]
    losses = {
        name: msgspec.json.decode(
            (crowd_folder(folder, 0, name, first).parent / "losses.json").read_bytes(), type=Losses
        )
        for name in models_of(config, study)
    }
    described = study.tasks.alternatives is not None
    worths = part_worths(fitted_crowd(folder), study) if described else []
    if config.split.by == "answers":
        held = [split_study(study, config.split, 0, fold) for fold in splits.folds]
        humans = held_out_of(study, held)
        text, facts = dump_config(config), run_facts(folder)
        # Imported here, as below: pictures take a second to load, which no other step needs.
        from crowdllm_jax.report.answers_page import AnswersReport, render_answers

        page = render_answers(AnswersReport(study, text, scores, humans, losses, facts, worths))
        write_whole(folder / "report.html", page.encode())
        return folder / "report.html"
    crowd = split_crowd(folder, first)
    humans = held_out(study, split_study(study, config.split, 0, first))
    agents, values = _agents_of(crowd, config)
    # The published model's agents are nobody in particular, so there is no such effect to read off.
    everybodys = fitted_crowd(folder)
    effects = profile_effects(everybodys) if isinstance(crowd.config, PersistentConfig) else []
    values = values[:, humans.tasks]
    groups = groups_of(humans, profile_of(study, humans), agents.profile, values)
    from crowdllm_jax.report.page import ReportedRun, render

    page = render(
        ReportedRun(
            study=study,
            config=dump_config(config),
            scores=scores,
            humans=humans,
            answers=values,
            losses=losses,
            effects=effects,
            worths=worths,
            groups=groups,
            findings=findings(folder),
            facts=run_facts(folder),
        )
    )
    write_whole(folder / "report.html", page.encode())
    return folder / "report.html"


def _agents_of(crowd: Crowd, config: Config) -> tuple[Agents, np.ndarray]:
    """The first agents of the configured population, and (N, T) their answers as numbers."""
    agents = sample(crowd, min(config.population.agents, SCORED_AGENTS), config.population.seed)
    return agents, numbers_of(crowd, agents.answers)


def findings(folder: Path) -> list[Finding]:
    """What the diagnostics say of the first seed's crowd."""
    path = folder / "diagnostics.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Finding])
    except (OSError, msgspec.MsgspecError) as error:
        raise CrowdError(
            f"{path}: cannot be read; delete {folder / 'seed-0' / 'scores.json'} and run `crowdllm "
            "evaluate` again"
        ) from error


def _read_scores(path: Path) -> list[Score]:
    try:
        return read_scores(path.read_bytes())
    except msgspec.MsgspecError as error:
        raise CrowdError(f"{path}: cannot be read ({error}); delete it to score anew") from error
