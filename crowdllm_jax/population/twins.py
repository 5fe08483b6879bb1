"""Digital twins: know a few of a person's answers, sample that person's other answers.

The posterior of a person's belief given their answers is represented, exactly up to Monte Carlo, by
beliefs around its mode and some of the population's, weighted by how likely each is given the
answers (`model/persistent/posterior.py`). A twin is an agent whose belief is drawn from it.

A person's twins depend on the crowd, the seed, the person's id, profile and answers, and on nothing
else: each person is computed alone, in one of a few shapes, and has random draws keyed by their id.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import tee
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
from flax import nnx
from jax.scipy.special import ndtri

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd import Crowd, check_crowd, kind
from crowdllm_jax.model.levels import to_host
from crowdllm_jax.model.persistent.answers import AnswerTable, gather_answers, take
from crowdllm_jax.model.persistent.decision import (
    Responses,
    Standing,
    by_witnesses,
    log_likelihood,
)
from crowdllm_jax.model.persistent.design import Design
from crowdllm_jax.model.persistent.draw import (
    Ready,
    Recruited,
    draw_answers,
    ready_profiles,
    ready_to_draw,
)
from crowdllm_jax.model.persistent.layout import Layout
from crowdllm_jax.model.persistent.posterior import SETTLED, find, sobol, weighed
from crowdllm_jax.model.persistent.witness import check_witnesses, said_of
from crowdllm_jax.population.frames import SHOWN, agents_table, html_of, numbers_on, to_arviz
from crowdllm_jax.runtime.given import as_whole
from crowdllm_jax.runtime.numerals import check_seed
from crowdllm_jax.runtime.precision import SAME_BITS, float32_products
from crowdllm_jax.runtime.randomness import key_of, seed_halves, split_ids, threefry
from crowdllm_jax.study.coding import recode
from crowdllm_jax.study.records import Study, check_study, only_answers
from crowdllm_jax.study.scales import Scale
from crowdllm_jax.study.toplines import check_people

if TYPE_CHECKING:
    import pandas
    import xarray

NODES = 1024
"""Beliefs that represent a posterior."""

MOST_DRAWS = 1_000_000


@dataclass(frozen=True)
class Twins:
    """Twins of H people.

    Attributes:
      ids: the people. answers: (H, draws, T) levels (values of continuous tasks) of their twins.
      belief: (H, L + 1) posterior mean of each belief and of the log of the personal scale.
      belief_sd: (H, L + 1) posterior standard deviations.
      effective: (H,) effective number of the posterior's weighted beliefs; below about 50 the
        intervals of that person are rough.
      tasks: id and scale of each of T tasks.

    Examples:
      >>> twins
      Twins(189 people, 20 twins of each, 6 tasks)
    """

    ids: tuple[str, ...]
    answers: np.ndarray
    belief: np.ndarray
    belief_sd: np.ndarray
    effective: np.ndarray
    tasks: tuple[tuple[str, Scale], ...] = ()

    @property
    def numbers(self) -> np.ndarray:
        """(H, draws, T) float64: the number that each answer counts as, in its scale's units.

        Examples:
          >>> twins.numbers.mean(1).shape  # of everybody, the expected answer to each task
          (189, 6)
        """
        return numbers_on(self.tasks, self.answers)

    def to_arrow(self) -> pa.Table:
        """A row per twin: participant (whose it is), draw, and a column per task with the answers
        as the study writes them.

        Examples:
          >>> twins.to_arrow().column_names[:3]
          ['participant', 'draw', 'self_placement']
        """
        h, draws, t = self.answers.shape
        flat = agents_table(np.arange(h * draws), (), self.tasks, self.answers.reshape(-1, t))
        person = pa.DictionaryArray.from_arrays(
            np.repeat(np.arange(h, dtype=np.int32), draws), list(self.ids)
        )
        taken = {name.casefold() for name in flat.column_names[1:]}
        keys = [f"twin_{n}" if n in taken else n for n in ("participant", "draw")]
        columns = [person, pa.array(np.tile(np.arange(draws), h)), *flat.columns[1:]]
        return pa.table(columns, names=[*keys, *flat.column_names[1:]])

    def to_pandas(self) -> "pandas.DataFrame":
        """The same as a data frame of pandas.

        Examples:
          >>> len(twins.to_pandas()) == 189 * 20
          True
        """
        return self.to_arrow().to_pandas()

    def to_arviz(self) -> "xarray.DataTree":
        """`numbers` as draws for ArviZ: `posterior_predictive.answer` of dimensions chain (1),
        draw, participant (H) and task (T).

        Raises:
          CrowdError: ArviZ is not installed.

        Examples:
          >>> dict(twins.to_arviz().posterior_predictive["answer"].sizes)
          {'chain': 1, 'draw': 20, 'participant': 189, 'task': 6}
        """
        return to_arviz(
            np.swapaxes(self.numbers, 0, 1)[None],
            ["participant", "task"],
            {"participant": self.ids, "task": [task for task, _ in self.tasks]},
        )

    def __repr__(self) -> str:
        h, draws, t = self.answers.shape
        return f"Twins({h:,} people, {draws:,} twins of each, {t:,} tasks)"

    def _repr_html_(self) -> str:
        shown = replace(self, answers=self.answers[:, :, :SHOWN], tasks=self.tasks[:SHOWN])
        return html_of(shown.to_arrow(), repr(self))


def make_twins(
    crowd: Crowd, study: Study, known: np.ndarray | None = None, *, draws: int = 200, seed: int = 0
) -> Twins:
    """Sample twins of everyone in a study, given (part of) their answers.

    Args:
      crowd: a fitted persistent crowd that answers the study's tasks.
      study: the people and their answers; people who answered nothing get the population's belief,
        and those of whom no witness tells may be anybody's of whom one would.
      known: (R,) bool, the responses that may be used; None uses all.
      draws: twins per person. seed: of their answers.
    Returns:
      Twins of all H people: (H, draws, T) answers, and what is known of each person's beliefs.
    Raises:
      CrowdError: the crowd is not persistent, or knows other tasks, scales or profile attributes;
        or the study tells of no people.

    Examples:
      >>> some = np.arange(len(held.task)) % 2 == 0  # every second answer is given to the twins
      >>> cl.make_twins(crowd, held, some, draws=20).answers.shape
      (189, 20, 6)
    """
    check_study(study)
    check_people(study)
    check_crowd(crowd)
    draws = as_whole(draws, "draws")
    check_seed(seed)
    if known is not None:
        known = np.asarray(known, bool)
        if known.shape != study.task.shape:
            raise CrowdError(
                f"known: {known.size:,} values for {len(study.task):,} responses; give one for each"
            )
    everyone = range(len(study.participants.ids))
    return gathered(crowd, study, draw_twins(crowd, study, known, draws, seed, everyone))


class TwinsOfOne(NamedTuple):
    """(draws, T) answers of one person's twins; (L + 1,) mean and sd of the person's beliefs, and
    their effective number; see `Twins`."""

    answers: np.ndarray
    belief: np.ndarray
    belief_sd: np.ndarray
    effective: np.ndarray


def draw_twins(
    crowd: Crowd,
    study: Study,
    known: np.ndarray | None,
    draws: int,
    seed: int,
    people: Iterable[int],
) -> Iterator[TwinsOfOne]:
    """Sample twins of some people of a study, one person after the other; see `make_twins`.

    Raises:
      CrowdError: at once, where the crowd does not suit the study, or a number is out of range.
    """
    design = design_for_twins(crowd, study)
    if not 1 <= draws <= MOST_DRAWS:
        raise CrowdError(f"draws: {draws} is not a number of twins from 1 to {MOST_DRAWS:,}")
    if not 0 <= seed < 2**63:
        raise CrowdError(f"seed: {seed} is not from 0 to 2**63 - 1")
    ready_of = ready_for(crowd, study)
    wanted, whose = tee(people)
    beliefs = posteriors(crowd, ready_of, study, known, wanted)

    def drawn() -> Iterator[TwinsOfOne]:
        for posterior in beliefs:
            person = next(whose)
            key = key_of(study.participants.ids[person])
            random = np.random.default_rng([seed, key])
            node = _resample(np.asarray(posterior.weight), draws, random)
            told = _told_of(study, design, ready_of(person), person)
            profile, standing = posterior.profile, posterior.standing
            answers = _draw_one(design, told, profile, node, standing, seed, key)
            moments = (posterior.mean, posterior.sd, posterior.effective)
            yield TwinsOfOne(answers, *map(np.asarray, moments))

    return drawn()


def gathered(crowd: Crowd, study: Study, everyone: Iterable[TwinsOfOne]) -> Twins:
    """The twins of all people of a study, who stand in its order."""
    answers, belief, sd, effective = map(np.stack, zip(*everyone, strict=True))
    tasks = tuple(zip(crowd.task_ids, crowd.task_scales, strict=True))
    return Twins(study.participants.ids, answers, belief, sd, effective, tasks)


class Posterior(NamedTuple):
    """One person's belief, given the person's known answers.

    Attributes:
      profile: (C,) centred. standing: M beliefs, weight: (M,) of each.
      mean, sd: (L + 1,) of the beliefs and the log of the personal scale, without what witnesses
        would say. effective: () number of
        the weighted beliefs.
    """

    profile: np.ndarray
    standing: Standing
    weight: jax.Array
    mean: jax.Array
    sd: jax.Array
    effective: jax.Array


def ready_for(crowd: Crowd, study: Study) -> Callable[[int], Ready]:
    """The model that a person of a study is an agent of: people of whom no witness tells differ by
    what one would say of them, too."""
    design = design_for_twins(crowd, study)
    told = np.zeros(len(study.participants.ids), bool)
    for witness in study.witnesses:
        told[witness.person] = True

    @cache
    def ready(witnessed: bool) -> Ready:
        return ready_to_draw(crowd.graph, crowd.params, design, witnessed=witnessed)

    return lambda person: ready(design.witnesses is None or bool(told[person]))


def posteriors(
    crowd: Crowd,
    ready_of: Callable[[int], Ready],
    study: Study,
    known: np.ndarray | None,
    people: Iterable[int],
) -> Iterator[Posterior]:
    """The beliefs of some people of a study, one after the other, given the known responses (R,)
    bool.

    Args:
      ready_of: see `ready_for`.
    """
    design = design_for_twins(crowd, study)
    study = _used(crowd, study, known)
    every = np.ones(len(study.task), bool)
    _, answers = gather_answers(study, crowd.codings, design, every, everyone=True)

    @cache
    def base(width: int) -> jax.Array:
        return ndtri(jnp.asarray(sobol(NODES, width)))

    def posterior(person: int) -> Posterior:
        given, fitted = _answers_of(answers, person), ready_of(person)
        weighed = _posterior(
            design.layout,
            fitted.graph,
            fitted.params,
            fitted.tables.responses,
            given,
            base(nnx.merge(fitted.graph, fitted.params).width),
        )
        return Posterior(given.profile[0], *weighed)

    return (posterior(int(person)) for person in people)


def design_for_twins(crowd: Crowd, study: Study) -> Design:
    """What a crowd knows of a study's tasks.

    Raises:
      CrowdError: the crowd is not persistent, or knows other tasks or scales.
    """
    if not isinstance(crowd.inputs, Design):
        raise CrowdError(
            "twins need the persistent model (model.kind: persistent): agents of the "
            f"{kind(crowd.config)} model are nobody in particular"
        )
    if study.tasks.ids != crowd.task_ids or dict(study.scales) != crowd.scales:
        raise CrowdError("the answers are about other tasks or scales than the crowd was fitted on")
    check_witnesses(study, crowd.inputs.witnesses)
    return crowd.inputs


def _told_of(study: Study, design: Design, fitted: Ready, person: int) -> Ready:
    """A model of which every task is where witnesses say that it is for one person."""
    if design.witnesses is None:
        return fitted
    items, tasks = fitted.items, np.arange(len(study.tasks.ids))
    said = said_of(study, design.witnesses, np.full(len(tasks), person), tasks)
    assert items.trust is not None
    told = items._replace(
        location=items.location + (items.trust * said.number).sum(1),
        base=items.base + by_witnesses(items, jnp.asarray(tasks), said),
    )
    responses = fitted.tables.responses._replace(items=told)
    return fitted._replace(tables=fitted.tables._replace(responses=responses))


def _used(crowd: Crowd, study: Study, known: np.ndarray | None) -> Study:
    """A study with the profiles in the crowd's levels, and with the known responses alone."""
    profile = recode(crowd.codings, study.participants.profile)
    # In one order, since the sum of floats depends on it.
    order = np.lexsort((study.task, study.person))
    if known is not None:
        order = order[known[order]]
    people = replace(study.participants, profile=profile)
    return replace(only_answers(study, order), participants=people)


def _answers_of(answers: AnswerTable, person: int) -> AnswerTable:
    """One person's answers, in a number of rows that is a power of 2: few programs are compiled."""
    first, end = np.searchsorted(answers.person, [person, person + 1])
    filled = np.full(1 << int(end - first - 1).bit_length(), -1)
    filled[: end - first] = np.arange(first, end)
    return take(answers, np.array([person]), filled, np.zeros(len(filled), np.int32))


@partial(jax.jit, static_argnums=(0, 1), compiler_options=SAME_BITS)
@float32_products()
def _posterior(
    layout: Layout,
    graph: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    responses: Responses,
    answers: AnswerTable,
    base: jax.Array,
) -> tuple[Standing, jax.Array, jax.Array, jax.Array, jax.Array]:
    """One person's beliefs and their (M,) weights; mean and deviation (L + 1,) of these and their
    log scale under the weights; the weights' effective number."""
    belief = nnx.merge(graph, params)

    def log_chance(u: jax.Array) -> jax.Array:
        return log_likelihood(responses, layout, answers, Standing(*belief(u)))

    bell = find(log_chance, jnp.zeros((1, base.shape[1])), SETTLED)
    u, log_weight = weighed(log_chance, bell, base[None])
    weight = jax.nn.softmax(log_weight[0])
    standing = Standing(*(number[0] for number in belief(u)))
    z = standing.z[:, : belief.latent]
    state = jnp.concatenate([z, jnp.log(standing.scale)[:, None]], axis=1)
    mean = weight @ state
    sd = jnp.sqrt(weight @ (state - mean[None]) ** 2)
    return standing, weight, mean, sd, 1 / (weight**2).sum()


def _resample(weight: np.ndarray, draws: int, random: np.random.Generator) -> np.ndarray:
    """(draws,) beliefs, each as often as its weight says, to within one (systematic resampling)."""
    at = (np.arange(draws) + random.random()) / draws
    node = np.minimum(np.searchsorted(np.cumsum(weight, dtype=np.float64), at), NODES - 1)
    # In no order: the first few draws of a person are draws of that person too.
    return random.permutation(node)


_own_seed = jax.jit(threefry)


def _draw_one(
    design: Design,
    fitted: Ready,
    profile: np.ndarray,
    node: np.ndarray,
    standing: Standing,
    seed: int,
    key: int,
) -> np.ndarray:
    """(draws, T) answers of one person's twins, who are numbered from 0 under a seed of their own.

    Args:
      profile: (C,) centred. node: (draws,) the beliefs.
    """
    own_seed = _own_seed(seed_halves(seed), seed_halves(key))
    twins = Recruited(
        ready_profiles(design.layout, fitted.items, profile[None]),
        np.zeros(len(node), np.int32),
        own_seed,
        split_ids(np.arange(len(node))),
    )
    beliefs = Standing(np.asarray(standing.z)[node], np.asarray(standing.scale)[node])
    drawn = draw_answers(design.layout, fitted.tables, twins, beliefs)
    return to_host(drawn, len(design.tasks.scale))
