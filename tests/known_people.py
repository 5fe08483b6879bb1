"""Persistent models whose parameters are known, and every answer there is on a small scale."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from synthetic import make_study

from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.levels import to_host
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.model.persistent.decision import AnswerTable, Standing, log_likelihood
from crowdllm_jax.model.persistent.design import Design, make_design
from crowdllm_jax.model.persistent.draw import (
    Ready,
    Recruited,
    draw_answers,
    draw_beliefs,
    ready_profiles,
    ready_to_draw,
)
from crowdllm_jax.model.persistent.effects import Persistent
from crowdllm_jax.model.persistent.fit import new_persistent
from crowdllm_jax.profiles.generator import ProfilesConfig, fit_profiles
from crowdllm_jax.reference.record import Reference
from crowdllm_jax.runtime.randomness import seed_halves, split_ids
from crowdllm_jax.study.coding import Coding, fit_coding
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.scales import KApproval, Points, Ranking, Scale


class Known(NamedTuple):
    """A model with known parameters, and the study it answers."""

    study: Study
    codings: tuple[Coding, ...]
    config: PersistentConfig
    design: Design
    model: Persistent

    def __repr__(self) -> str:
        return f"a model of {self.study.name}"

    @property
    def ready(self) -> Ready:
        return ready_to_draw(*nnx.split(self.model, nnx.Param), self.design)

    @property
    def crowd(self) -> Crowd:
        people = self.study.participants
        return Crowd(
            self.config,
            *nnx.split(self.model, nnx.Param),
            self.study.tasks.ids,
            self.study.scales,
            self.study.tasks.scale,
            self.design,
            self.codings,
            fit_profiles(people.profile, people.weight, ProfilesConfig()),
        )


def make_known(study: Study | None = None, *, seed: int = 0, loud: float = 0.5, **config) -> Known:
    """A model of a study (without a reference), with random effects of size `loud`."""
    study = make_study() if study is None else study
    settings = PersistentConfig(**{"latent": 2, "injected": 0, **config})
    people = np.arange(len(study.participants.ids))
    codings = tuple(fit_coding(attribute, people) for attribute in study.participants.profile)
    reference = Reference("marginal", np.zeros(len(study.tasks.ids)))
    everything = np.ones(len(study.task), bool)
    design = make_design(study, reference, codings, everything, settings, known=True)
    model = new_persistent(design, settings, seed)
    random = np.random.default_rng(seed)
    for param in (*model.effects.mean.values(), model.level):
        param[...] = jnp.asarray((loud * random.normal(size=param.shape)).astype(np.float32))
    # Where tasks are is known for sure.
    sd = model.effects.log_sd["task"]
    sd[...] = jnp.full_like(sd[...], -9.0)
    return Known(study, codings, settings, design, model)


def draw_people(
    known: Known,
    profile: np.ndarray,
    seed: int,
    z: jax.Array | None = None,
    scale: jax.Array | None = None,
    ready: Ready | None = None,
) -> np.ndarray:
    """(N, T) answers of agents 0 to N - 1 with these centred profiles (N, C), and these beliefs
    (their own if none are given)."""
    ready = known.ready if ready is None else ready
    ids, n = split_ids(np.arange(len(profile))), len(profile)
    if z is None:
        z, scale = draw_beliefs(ready.graph, ready.params, seed_halves(seed), ids)
    layout = known.design.layout
    profiles = ready_profiles(layout, ready.items, np.asarray(profile, np.float32))
    agents = Recruited(profiles, np.arange(n, dtype=np.int32), seed_halves(seed), ids)
    drawn = draw_answers(layout, ready.tables, agents, Standing(z, scale))
    return to_host(drawn, len(known.study.tasks.ids))


def every_ballot(scale: Scale, tasks: int) -> np.ndarray:
    """(B, tasks) levels of all valid ballots."""
    match scale:
        case KApproval(k=k):
            kept = itertools.combinations(range(tasks), k)
            return np.array([[t in chosen for t in range(tasks)] for chosen in kept], int)
        case Ranking(k=k):
            orders = list(itertools.permutations(range(tasks), k))
            out = np.zeros((len(orders), tasks), int)
            for row, order in enumerate(orders):
                out[row, list(order)] = range(k, 0, -1)
            return out
        case Points(budget=budget):
            grid = itertools.product(range(budget + 1), repeat=tasks)
            return np.array([points for points in grid if sum(points) == budget])
    raise AssertionError(scale)


def one_answer_each(
    known: Known, task: int, levels: np.ndarray, profile: np.ndarray
) -> AnswerTable:
    """B people of one profile (C,), each with one answer (a level, or a value in [0, 1])."""
    b = len(levels)
    blank = tuple(
        (np.zeros((b, len(tasks)), np.int32), np.zeros(b, np.float32))
        for _, tasks in known.design.layout.ballots
    )
    whole = np.issubdtype(levels.dtype, np.integer)
    return AnswerTable(
        np.full((b, 1), task, np.int32),
        (levels[:, None] if whole else np.zeros((b, 1))).astype(np.int32),
        (np.zeros((b, 1)) if whole else levels[:, None]).astype(np.float32),
        np.ones((b, 1), np.float32),
        np.arange(b, dtype=np.int32),
        blank,
        np.repeat(profile[None], b, 0).astype(np.float32),
        np.ones(b, np.float32),
    )


def one_ballot_each(
    known: Known, number: int, levels: np.ndarray, profile: np.ndarray
) -> AnswerTable:
    """B people of one profile (C,), each with one ballot, the `number`-th of the layout."""
    blank = one_answer_each(known, 0, np.zeros(len(levels), int), profile)
    ballots = list(blank.ballots)
    ballots[number] = (levels.astype(np.int32), np.ones(len(levels), np.float32))
    return blank._replace(present=np.zeros_like(blank.present), ballots=tuple(ballots))


def log_chance(
    known: Known, answers: AnswerTable, standing: Standing, ready: Ready | None = None
) -> np.ndarray:
    """(B, M) through the product's own likelihood, of beliefs (M,) that everybody may have; people,
    of whom each has one row, are filled up to one compiled shape."""
    ready = known.ready if ready is None else ready
    b = len(answers.weight)
    filled = -(-b // 64) * 64
    padded = jax.tree.map(
        lambda part: np.concatenate([part, np.repeat(part[:1], filled - b, 0)]), answers
    )._replace(person=np.arange(filled, dtype=np.int32))
    standing = Standing(*(np.broadcast_to(np.asarray(n), (filled, *n.shape)) for n in standing))
    found = _log_chance(ready.tables.responses, known.design.layout, padded, standing)
    return np.asarray(found, np.float64)[:b]


_log_chance = jax.jit(log_likelihood, static_argnums=1)


def standing_of(known: Known, count: int, seed: int = 0, loud: float = 1.0) -> Standing:
    """Some beliefs, with personal scales from 0.4 to 2.5."""
    key = jax.random.key(seed)
    z = loud * jax.random.normal(key, (count, known.config.latent))
    return Standing(z, jnp.exp(jnp.linspace(-0.9, 0.9, count)))


def one_profile(known: Known, seed: int = 0) -> np.ndarray:
    """(C,) a centred profile unlike the average."""
    random = np.random.default_rng(seed)
    c = known.design.groups["profile"].shape[0]
    return random.normal(size=c).astype(np.float32)
