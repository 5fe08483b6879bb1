"""Simulated people of known parameters: does a fit find them, and do its intervals cover?

    python benchmarks/quality/recovery.py [--simulations 200] [--answers 5 20 100] [--json FILE]

In every simulation 100 people answer as many ratings as --answers says; their tasks, beliefs and
answers are drawn anew, and the model is fitted anew:

    one dimension    each person has a location and a scale. Share of people whose true location
                     (and log scale) lies in the 90% interval of its posterior, which uses the
                     fitted model, not the true one. Both are taken beside the average of the 100:
                     where this is, against the tasks, no answer tells.
    two dimensions   the second divides the tasks into two camps. Correlation of the tasks'
                     covariances over people (which no rotation of the belief changes) with those
                     of the 100, and their total over the total of these.

There are a quarter as many of two dimensions. In both: the intra-class correlation of the fitted
model's agents minus that of the 100 people's answers.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from flax import nnx
from table import Table, write

from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.persistent.answers import gather_answers
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.model.persistent.design import Design, make_design
from crowdllm_jax.model.persistent.draw import draw_beliefs, ready_to_draw
from crowdllm_jax.model.persistent.effects import Persistent, items, mean_effects
from crowdllm_jax.model.persistent.fit import fit_marginal, new_persistent
from crowdllm_jax.model.persistent.layout import level_mask
from crowdllm_jax.population.sample import sample
from crowdllm_jax.population.twins import make_twins
from crowdllm_jax.profiles.generator import ProfilesConfig, fit_profiles
from crowdllm_jax.reference.record import Reference
from crowdllm_jax.runtime.randomness import seed_halves, split_ids
from crowdllm_jax.study.records import Participants, Study, Tasks
from crowdllm_jax.study.scales import Ordinal

PEOPLE = 100
SPREAD, SCALE = 0.9, 0.3
COLUMNS = {
    "location": "location in its 90% interval",
    "scale": "log scale in its 90% interval",
    "shape": "r of covariances with theirs",
    "total": "total variance / theirs",
    "icc": "ICC - theirs",
}


def blank_study(count: int) -> Study:
    """Everyone answers every one of so many tasks; the answers are still to be drawn."""
    people, tasks = (tuple(f"{i:04d}" for i in range(n)) for n in (PEOPLE, count))
    return Study(
        "simulated",
        {"rating": Ordinal(levels=(1, 2, 3, 4, 5))},
        Tasks(tasks, tasks, np.zeros(count, np.int32), (), None),
        Participants(people, (), np.ones(PEOPLE)),
        np.repeat(np.arange(PEOPLE, dtype=np.int32), count),
        np.tile(np.arange(count, dtype=np.int32), PEOPLE),
        np.zeros(PEOPLE * count),
    )


def truth(design: Design, config: PersistentConfig, seed: int) -> Persistent:
    random = np.random.default_rng([seed, 1])
    model, tasks = new_persistent(design, config, seed), len(design.tasks.scale)
    model.level[...] = jnp.asarray(np.log([[0.35, 0.25, 0.2, 0.12, 0.08]]), jnp.float32)
    model.effects.mean["task"][...] = jnp.asarray(0.7 * random.normal(size=tasks), jnp.float32)
    unsure = model.effects.log_sd["task"]
    unsure[...] = jnp.full_like(unsure[...], -9.0)
    camps = np.zeros((tasks, config.dimensions), np.float32)
    if config.latent == 2:
        camps[:, 1] = np.where(random.permutation(tasks) < tasks / 2, 1.2, -1.2)
    nothing = model.effects.mean["loading"]
    nothing[...] = jnp.zeros_like(nothing[...])
    model.effects.mean["task_loading"][...] = jnp.asarray(camps)
    spread = [SPREAD] * config.latent + [SCALE]
    model.belief.log_spread[...] = jnp.log(jnp.asarray(spread))
    return model


def simulate(table: Table, latent: int, count: int, seed: int) -> None:
    study = blank_study(count)
    config = PersistentConfig(latent=latent, injected=0, nodes=64, steps=400)
    nobody = Reference("marginal", np.zeros(count))
    everything = np.ones(len(study.task), bool)
    design = make_design(study, nobody, (), everything, config, known=True)
    model = truth(design, config, seed)

    def crowd_of(model: Persistent) -> Crowd:
        profiles = fit_profiles((), study.participants.weight, ProfilesConfig())
        return Crowd(
            config,
            *nnx.split(model, nnx.Param),
            study.tasks.ids,
            study.scales,
            study.tasks.scale,
            design,
            (),
            profiles,
        )

    ready = ready_to_draw(*nnx.split(model, nnx.Param), design)
    people = split_ids(np.arange(PEOPLE))
    z, scale = draw_beliefs(ready.graph, ready.params, seed_halves(seed), people)
    drawn = sample(crowd_of(model), PEOPLE, seed).answers  # by agents of these very beliefs
    study = replace(study, answer=drawn.ravel().astype(float))
    _, answers = gather_answers(study, (), design, everything)
    graph, params, _ = fit_marginal(design, answers, config, seed)
    fitted = nnx.merge(graph, params)
    agents = sample(crowd_of(fitted), 8192, 1).answers
    row = {"icc": icc(agents) - icc(drawn)}
    if latent == 1:
        made = make_twins(crowd_of(fitted), study, draws=1)
        # A fit may stretch the belief and shrink its loading alike, and what they move with the
        # noise in answers: compare this, in units of the noise.
        noise = float(fitted.belief.usual_scale)
        stretch = float(fitted.first_loading[...][0]) / noise
        gap = stretch * made.belief[:, 0] - np.asarray(z)[:, 0]
        row["location"] = inside(gap, abs(stretch) * made.belief_sd[:, 0])
        row["scale"] = inside(made.belief[:, 1] - np.log(np.asarray(scale)), made.belief_sd[:, 1])
    else:
        spread = np.exp(np.asarray(fitted.belief.log_spread[...]))[:-1]
        theirs = np.cov(np.asarray(z).T) / np.exp(2 * np.log(np.asarray(scale)).mean())
        true = covariance(model, design, theirs)
        found = covariance(fitted, design, np.diag(spread**2) / fitted.belief.usual_scale**2)
        off = np.triu_indices(count, 1)
        row["shape"] = float(np.corrcoef(true[off], found[off])[0, 1])
        row["total"] = float(np.trace(found) / np.trace(true))
    table.add(f"{latent} dimension{'s' * (latent > 1)}, {count} answers", row)


def inside(gap: np.ndarray, sd: np.ndarray) -> float:
    return float((np.abs(gap - gap.mean()) < 1.645 * sd).mean())


def covariance(model: Persistent, design: Design, beliefs: np.ndarray) -> np.ndarray:
    """(T, T) covariance of the tasks' locations over people whose beliefs have one (L, L), all in
    units of the noise in answers."""
    fitted = items(model, mean_effects(model), design.tasks, level_mask(design.layout))
    loading = np.asarray(fitted.loading)
    return loading @ beliefs @ loading.T


def icc(answers: np.ndarray) -> float:
    """Average correlation of two answers of one person: ICC of standardised answers (N, T)."""
    r = np.corrcoef(np.asarray(answers, float).T)
    return float(r[np.triu_indices(len(r), 1)].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=200)
    parser.add_argument("--answers", type=int, nargs="+", default=[20], help="that a person gives")
    parser.add_argument("--json", type=Path, help="write the records here")
    args = parser.parse_args()
    table = Table(f"{args.simulations} simulated studies", COLUMNS)
    for answers in args.answers:
        for latent, count in ((1, args.simulations), (2, -(-args.simulations // 4))):
            for seed in range(count):
                if seed % 20 == 0:
                    told = f"{answers} answers, {latent} dimension(s), simulation {seed} ..."
                    print(told, file=sys.stderr, flush=True)
                simulate(table, latent, answers, seed)
    print(table.markdown())
    write([table], args.json)


if __name__ == "__main__":
    main()
