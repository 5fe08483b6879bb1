"""The one way through: study -> reference -> fitted crowd -> population -> scores -> report.

`run` does all of it in a folder; `fit`, `sample`, `evaluate` and `report` do one step each from
what the folder holds. Every step leaves finished work alone, so an interrupted run continues where
it stopped:

    config.yaml       the whole configuration, defaults included
    run.json          the data's fingerprint, the versions it was run with, and what a server took
    seed-0/           one folder per repetition: for each fitted model its training checkpoint,
                      losses and fitted crowd. With folds these stand in fold-0/, fold-1/, ...;
                      beside them the crowd that is fitted to all, whose population is written
    population/       Parquet parts and a manifest
    scores.json       a list of {model, split, seed, metric, value, low, high}; null and {why} for
                      what is not defined
    diagnostics.json  a list of {name, measure, value, fires, threshold, advice, detail}
    report.html       all of it to look at
"""

import fcntl
import importlib.metadata
import json
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np

from crowdllm_jax import __version__, cluster, report
from crowdllm_jax.config import (
    Config,
    PopulationConfig,
    differences,
    dump_config,
    load_config,
    load_study,
)
from crowdllm_jax.counts import count
from crowdllm_jax.counts_file import write_counts
from crowdllm_jax.diagnostics import Finding, diagnose, too_few
from crowdllm_jax.effects import profile_effects
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.fitting import (
    SCORED_AGENTS,
    Progress,
    Splits,
    ask_ahead,
    check_margins,
    fit_model,
    profile_of,
    score_all,
    silent,
)
from crowdllm_jax.folds import ScoredFold, held_out_of, pool_folds
from crowdllm_jax.humans import held_out
from crowdllm_jax.metrics import Score, answer_rps, read_scores
from crowdllm_jax.model.crowd import Crowd, ModelConfig, load_crowd, numbers_of, save_crowd
from crowdllm_jax.model.persistent import PersistentConfig
from crowdllm_jax.output import write_population
from crowdllm_jax.population import Agents, sample
from crowdllm_jax.progress import READ, stage
from crowdllm_jax.reference.record import Spent
from crowdllm_jax.scales import Nominal
from crowdllm_jax.split import Fold, split_study, told_folds
from crowdllm_jax.study import Study, fingerprint
from crowdllm_jax.subgroups import groups_of
from crowdllm_jax.train import Losses
from crowdllm_jax.whole import check_new, make_folder, write_whole


def run(config: Config, out: str | Path, progress: Progress = silent) -> list[Score]:
    """Do everything, or what is left of it, in the folder `out`.

    Returns:
      The scores of all models and seeds.
    Raises:
      CrowdError: bad data or configuration, or `out` holds something else.
    """
    folder = Path(out)
    scores: list[Score] = []
    with start_run(folder, config, progress) as splits:
        fit_run(folder, splits)
        sample_run(folder, config.population, None, progress)
        if cluster.rank() == 0:
            scores = evaluate_run(folder, splits)
            with stage(progress, "report"):
                report_run(folder, splits)
        cluster.meet("the report")
    return scores


@contextmanager
def start_run(folder: Path, config: Config, progress: Progress = silent) -> Iterator[Splits]:
    """Begin or continue a run; what does not fit together is told before the folder is made."""
    with stage(progress, READ):
        study = load_study(config)
    check_margins(study, config)
    spent = ask_ahead(study, config, progress)
    splits = Splits(study, config, progress)
    if cluster.rank() > 0:
        # The first process makes the folder for all.
        cluster.meet("the run's folder")
        stored = stored_config(folder)
        if changed := _changed(stored, config):
            raise CrowdError(f"{folder}: process {cluster.rank()} was started with another "
                             f"configuration than the first (differs in {changed})")  # fmt: skip
        _check_data(folder, stored, study, None)
        yield splits
        return
    if not (folder / "config.yaml").exists():
        splits.ready(0, splits.folds[0])
    with open_run(folder, config, study, spent):
        cluster.meet("the run's folder")
        yield splits


@contextmanager
def open_run(
    folder: Path,
    config: Config | None = None,
    study: Study | None = None,
    spent: Spent | None = None,
) -> Iterator[Config]:
    """Lock a run folder; start it with a configuration, or make sure it is that one's.

    Args:
      spent: what the run's reference took, to be noted when the run starts.
    Raises:
      CrowdError: the folder is in use, is no run folder, or belongs to another configuration or
        other data.
    """
    if config is not None:
        make_folder(folder, "run", "config.yaml", (".lock",))
    elif cluster.rank() > 0:  # the first process holds the lock for all
        yield stored_config(folder)
        return
    else:
        stored_config(folder)
    try:
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise CrowdError(f"{folder}: cannot be written: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CrowdError(f"{folder}: another crowdllm process is using it") from error
        path = folder / "config.yaml"
        if config is not None and not path.exists():
            write_whole(path, dump_config(config).encode())
        stored = load_config(path)
        if config is not None and (changed := _changed(stored, config)):
            raise CrowdError(
                f"{folder}: holds a run of another configuration (differs in {changed});"
                " give --out another folder"
            )
        if study is not None:
            _check_data(folder, stored, study, spent)
        yield stored


def _changed(stored: Config, config: Config) -> str:
    """In what two configurations differ besides the devices, for a run may go on elsewhere."""
    mesh = ("reference.mesh", "reference.mesh.data", "reference.mesh.model")
    devices = ("model.devices", *mesh)
    return ", ".join([key for key in differences(stored, config) if key not in devices][:5])


def stored_config(folder: Path) -> Config:
    """The configuration a run folder was made with."""
    if not (folder / "config.yaml").is_file():
        raise CrowdError(
            f"{folder}: is no run folder (no config.yaml); make one with `crowdllm run`"
        )
    return load_config(folder / "config.yaml")


def run_facts(folder: Path) -> dict[str, str]:
    """What a run was made from: versions, the data's fingerprint, what is held out where that is
    done in folds (`held_out`) and, where a server was asked for the reference, what that took
    (`reference_spent`)."""
    path = folder / "run.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except (OSError, msgspec.MsgspecError) as error:
        raise CrowdError(f"{path}: cannot be read; give --out another folder") from error


def _check_data(folder: Path, config: Config, study: Study, spent: Spent | None) -> None:
    """Note the data a run was made from, or make sure they have not changed."""
    path = folder / "run.json"
    own = fingerprint(study)
    if not path.exists():
        packages = ("jax", "flax", "optax", "orbax-checkpoint", "numpy")
        facts = {
            "crowdllm_jax": __version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages},
            "study_sha256": own,
            **({"held_out": told} if (told := told_folds(study, config.split)) else {}),
            **({"reference_spent": str(spent)} if spent is not None else {}),
        }
        write_whole(path, json.dumps(facts, indent=1).encode())
    if run_facts(folder).get("study_sha256") != own:
        raise CrowdError(
            f"{folder}: was made from other data (the study has changed since); give "
            "--out another folder"
        )


def main_model(config: Config) -> str:
    """The name of the model whose population is written."""
    return "persistent" if isinstance(config.model, PersistentConfig) else "cvae"


def models_of(config: Config, study: Study) -> dict[str, ModelConfig]:
    """The models a run fits, the configured one first.

    Beside the persistent model stands the published one, and beside that the same without a
    reference (VAE-only); `config.models` leaves them out. The published model cannot answer on
    nominal scales, so a study that has one is fitted without it.
    """
    models: dict[str, ModelConfig] = {main_model(config): config.model}
    cvae = config.published
    if isinstance(config.model, PersistentConfig):
        used = [tuple(study.scales.values())[i] for i in np.unique(study.tasks.scale)]
        if any(isinstance(scale, Nominal) for scale in used):
            return models
    else:
        cvae = config.model
    if "cvae" in config.models:
        models["cvae"] = cvae
    if "vae_only" in config.models and not cvae.constant_reference:
        models["vae_only"] = msgspec.structs.replace(cvae, constant_reference=True)
    return models


def fit_run(folder: Path, splits: Splits) -> None:
    """Fit every model of every split that the folder does not hold yet.

    Several processes fit together: a model whose `devices` are all of theirs splits its work over
    them, any other is fitted by all alike.
    """
    config = splits.config
    models = models_of(config, splits.study)
    for seed in range(config.seeds):
        for fold in splits.folds:
            where = [f"seed {seed}"] if config.seeds > 1 else []
            where += [f"fold {fold + 1} of {len(splits.folds)}"] if isinstance(fold, int) else []
            _fit_split(folder, splits, models, seed, fold, ", ".join(where))
    if len(splits.folds) > 1:
        main = main_model(config)
        _fit_split(folder, splits, {main: models[main]}, 0, "all", "all")
    cluster.meet("all fits")


def _fit_split(
    folder: Path, splits: Splits, models: dict[str, ModelConfig], seed: int, fold: Fold, where: str
) -> None:
    missing = [name for name in models if not crowd_folder(folder, seed, name, fold).exists()]
    cluster.meet("what is to be fitted")
    if not missing:
        return
    ready = splits.ready(seed, fold)
    for name in missing:
        target = crowd_folder(folder, seed, name, fold)
        label = f"{name} ({where})" if where else name
        crowd, losses = fit_model(
            ready, models[name], splits.config.train, seed, target.parent, splits.progress, label
        )
        unfinished = target.with_name(".tmp-crowd")
        if cluster.rank() == 0:
            write_whole(target.parent / "losses.json", msgspec.json.encode(losses))
            shutil.rmtree(unfinished, ignore_errors=True)
        cluster.meet("the fitted crowd")
        save_crowd(crowd, unfinished)
        if cluster.rank() == 0:
            unfinished.rename(target)


def fitted_crowd(folder: Path) -> Crowd:
    """The first seed's crowd of the configured model; with folds, the one fitted to all.

    Raises:
      CrowdError: the folder is no run folder, or nothing is fitted in it yet.
    """
    return split_crowd(folder, None)


def split_crowd(folder: Path, fold: Fold) -> Crowd:
    """The configured model's crowd of one of the first seed's splits; see `fitted_crowd`."""
    source = crowd_folder(folder, 0, main_model(stored_config(folder)), fold)
    if not source.exists():
        raise CrowdError(f"{folder}: nothing is fitted yet; run `crowdllm fit` first")
    return load_crowd(source)


def sample_run(
    folder: Path, population: PopulationConfig, out: Path | None, progress: Progress = silent
) -> Path:
    """Write a population of the first seed's crowd; returns its folder."""
    progress("sample", 0, population.agents)
    crowd = fitted_crowd(folder)
    target = out or folder / "population"
    write_population(
        crowd,
        target,
        population.agents,
        population.seed,
        lambda done, total: progress("sample", done, total),
        population.layout,
    )
    return target


def count_run(
    folder: Path,
    agents: int,
    seed: int,
    out: Path | None,
    by: str | None = None,
    progress: Progress = silent,
) -> Path:
    """Write how many agents of the first seed's crowd give each answer; returns the folder."""
    progress("count", 0, agents)
    crowd = fitted_crowd(folder)
    target = out or folder / "counts"
    # Asked before anything is drawn.
    check_new(target)
    write_counts(crowd, count(crowd, agents, seed, by=by, progress=progress), target, seed)
    return target


def evaluate_run(folder: Path, splits: Splits) -> list[Score]:
    """Score every seed's crowds and write scores.json."""
    scores: list[Score] = []
    for seed in range(splits.config.seeds):
        path = folder / f"seed-{seed}" / "scores.json"
        if path.exists():
            scores += _read_scores(path)
            continue
        own = _evaluate_seed(folder, splits, seed)
        write_whole(path, msgspec.json.encode(own))
        scores += own
    write_whole(folder / "scores.json", msgspec.json.format(msgspec.json.encode(scores)))
    return scores


def _evaluate_seed(folder: Path, splits: Splits, seed: int) -> list[Score]:
    """Score a seed's crowds; of the first seed, write the diagnostics (of its first split)."""
    config, study = splits.config, splits.study
    folds: list[ScoredFold] = []
    for fold in splits.folds:
        crowds = {
            name: load_crowd(crowd_folder(folder, seed, name, fold))
            for name in models_of(config, study)
        }
        ready = splits.ready(seed, fold)
        own, answers = score_all(ready, config, crowds, seed, splits.progress)
        humans = held_out(study, ready.split)
        if not folds:
            first = ready, crowds[main_model(config)], humans, answers["marginal"]
        costs = {name: answer_rps(humans, values) for name, values in answers.items()}
        folds.append(ScoredFold(ready.split, own, costs))
    scores = pool_folds(study, folds, seed) if len(folds) > 1 else folds[0].scores
    if seed == 0:
        ready, crowd, humans, floor = first
        everyone = held_out_of(study, [one.split for one in folds])
        few = too_few(everyone, scores, main_model(config))
        _, values = _agents_of(crowd, config)
        found = msgspec.json.encode(diagnose(ready, crowd, humans, values, floor, few))
        write_whole(folder / "diagnostics.json", msgspec.json.format(found))
    return scores


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
    crowd = split_crowd(folder, first)
    humans = held_out(study, split_study(study, config.split, 0, first))
    agents, values = _agents_of(crowd, config)
    losses = {
        name: msgspec.json.decode(
            (crowd_folder(folder, 0, name, first).parent / "losses.json").read_bytes(), type=Losses
        )
        for name in models_of(config, study)
    }
    # The published model's agents are nobody in particular, so there is no such effect to read off.
    whole = fitted_crowd(folder)
    effects = profile_effects(whole) if isinstance(crowd.config, PersistentConfig) else []
    values = values[:, humans.tasks]
    groups = groups_of(humans, profile_of(study, humans), agents.profile, values)
    page = report.render(
        study, config, scores, humans, values, losses, effects, groups, findings(folder),
        run_facts(folder),
    )  # fmt: skip
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


def crowd_folder(folder: Path, seed: int, model: str, fold: Fold = None) -> Path:
    """Where a run keeps a fitted crowd."""
    part = f"fold-{fold}" if isinstance(fold, int) else ""
    return folder / f"seed-{seed}" / part / model / "crowd"
