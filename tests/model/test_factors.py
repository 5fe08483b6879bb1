"""Where a fit starts, against scikit-learn's factor analysis and simulated factors."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from known_people import make_known
from sklearn.decomposition import FactorAnalysis
from synthetic import RATING, make_study

from crowdllm_jax.model.crowd import numbers_of
from crowdllm_jax.model.fit import Prepared, completed
from crowdllm_jax.model.persistent import contrasts
from crowdllm_jax.model.persistent import start as start_module
from crowdllm_jax.model.persistent.answers import gather_answers
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.model.persistent.effects import draw_effects, mean_effects
from crowdllm_jax.model.persistent.factors import analyse, enough, standardised
from crowdllm_jax.model.persistent.fit import _log_chance
from crowdllm_jax.model.persistent.posterior import SETTLED, find
from crowdllm_jax.model.persistent.start import start_known, starting_levels
from crowdllm_jax.population.sample import sample
from crowdllm_jax.study import scales
from crowdllm_jax.study.scales import Binary, Continuous, Nominal
from crowdllm_jax.study.split import Split


def simulated(people: int, loading: np.ndarray, share: float = 1.0, seed: int = 0):
    """Normal answers (P, T) with unit noise, as numbers; a share of them is given."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(people, loading.shape[1])) @ loading.T
    x += random.normal(size=x.shape)
    person, task = np.nonzero(random.random(x.shape) < share)
    return x, standardised(person, task, x[person, task], len(loading))[0]


def correlation(found) -> np.ndarray:
    covariance = found.loading @ found.loading.T + np.diag(found.noise)
    sd = np.sqrt(np.diag(covariance))
    return covariance / sd / sd[:, None]


def test_it_is_scikit_learns_where_everything_is_answered():
    """With 4,000 people shrinkage moves loadings by about 1 / 4,000 of themselves."""
    loading = np.random.default_rng(1).normal(size=(9, 2))
    x, numbers = simulated(4000, loading)
    z = (x - x.mean(0)) / x.std(0)
    expected = FactorAnalysis(2, tol=1e-6).fit(z).get_covariance()
    np.testing.assert_allclose(correlation(analyse(numbers, x.shape, 2)), expected, atol=0.01)


def test_it_needs_a_part_of_the_answers_and_drops_factors_that_are_none():
    """Of 3,000 people a third answers: 330 pairs give a correlation to .055, of 66 of which the
    worst is off by less than three times that."""
    loading = np.random.default_rng(1).normal(size=(12, 2))
    x, numbers = simulated(3000, loading, share=0.33)
    found = analyse(numbers, x.shape, 6)
    true = loading @ loading.T + np.eye(12)
    sd = np.sqrt(np.diag(true))
    np.testing.assert_allclose(correlation(found), true / sd / sd[:, None], atol=0.15)
    size = np.sort(np.sqrt((found.loading**2).mean(0)))
    # One more than there are may stand for a part of them, which takes long to turn away.
    assert size[:3].max() < 0.05
    assert size[4] > 0.3


def test_tasks_that_nobody_answered_change_nothing():
    loading = np.random.default_rng(1).normal(size=(9, 2))
    _, numbers = simulated(300, loading)
    apart = numbers._replace(task=3 * numbers.task)
    found, wider = (analyse(n, (300, t), 4) for n, t in ((numbers, 9), (apart, 40)))
    np.testing.assert_array_equal(wider.person, found.person)
    np.testing.assert_array_equal(wider.loading[:27:3], found.loading)
    assert not np.delete(wider.loading, np.arange(0, 27, 3), axis=0).any()
    assert enough(apart, (300, 40)) == enough(numbers, (300, 9))


@pytest.mark.parametrize(("factors", "expected"), [(2, 8), (14, 16)])
def test_as_many_dimensions_as_answers_left_out_pay_for(factors, expected):
    """Each factor moves four tasks of its own."""
    loading = np.repeat(np.eye(factors), 4, axis=0) * 1.5
    _, numbers = simulated(400, loading)
    assert enough(numbers, (400, len(loading))) == expected


def answered(scales_by_name: dict, tasks: int):
    """A model without effects, and 400 people's answers to two camps of tasks, some seldom yes."""
    study = make_study(scales_by_name, tasks=tasks, people=400)
    known = make_known(study, latent=3, loud=0.0)
    random = np.random.default_rng(0)
    side = np.where(np.arange(tasks) % 2, 2.0, 0.0)
    stand = random.normal(size=(400, 1)) * side + np.linspace(-1.5, 1.5, tasks)
    stand = stand + random.normal(size=(400, tasks))
    (scale,) = scales_by_name.values()
    if scales.is_continuous(scale):
        low, high = scales.values(scale)
        value = (low + (high - low) * (0.5 + 0.1 * stand)).clip(low, high)
    else:
        k = scales.size(scale)
        value = np.digitize(stand, np.linspace(-1.5, 1.5, k - 1)) if k > 2 else 1.0 * (stand > 0)
    study = dataclasses.replace(study, answer=value.astype(float).ravel())
    _, answers = gather_answers(study, known.codings, known.design, np.ones(400 * tasks, bool))
    model = known.model
    model.level[...] = jnp.asarray(starting_levels(known.design.layout, answers))
    start_known(model, known.design, answers)
    return known._replace(study=study), study.value.reshape(400, tasks)


@pytest.mark.parametrize(
    "scale", [RATING, Binary(levels=("no", "yes")), Continuous(low=0, high=100)], ids=str
)
def test_a_fit_starts_at_agents_like_people(scale):
    """Before any step, in each task and between any two. 400 people's means are good to .05 of a
    deviation, their correlations to .05, of 15 of which the worst may be off by three times that;
    linear correlations stand for the logistic axis to about .1."""
    known, people = answered({"scale": scale}, tasks=6)
    agents = numbers_of(known.crowd, sample(known.crowd, 4000, 0).answers)
    gap = np.abs(agents.mean(0) - people.mean(0)) / people.std(0)
    assert gap.max() < 0.15
    # Continuous tasks of a scale have one residual deviation, here of .4 to 1 times their own.
    np.testing.assert_allclose(agents.std(0) / people.std(0), 1, atol=0.3)
    one, two = np.corrcoef(agents.T), np.corrcoef(people.T)
    assert np.abs(one - two).max() < 0.25
    assert two[1, 3] > 0.3, "people of the second camp must hang together"


@pytest.mark.parametrize(
    ("by", "latent", "rate"), [("people", 16, 0.02), ("answers", 16, 0.02), ("tasks", 8, 0.05)]
)
def test_what_a_configuration_leaves_open_is_completed(by, latent, rate):
    """Where single tasks are known, by a factor analysis and its start; what is given stays."""
    loading = np.repeat(np.eye(14), 4, axis=0) * 1.5
    x, _ = simulated(400, loading)
    level = np.digitize(x, [-2, -0.7, 0.7, 2]).astype(float)
    study = dataclasses.replace(make_study(tasks=56, people=400), answer=level.ravel())
    every = np.ones(400 * 56, bool)
    prepared = Prepared(study, Split(by, every, ~every, ~every), None, None, (), None)
    open_ = completed(PersistentConfig(steps=7), prepared)
    assert (open_.latent, open_.learning_rate, open_.steps) == (latent, rate, 7)
    given = PersistentConfig(latent=3, learning_rate=0.1)
    assert completed(given, prepared) == given
    # Choices without an order are analysed by their contrasts, if they are many to a question: both
    # how far and how far out people are shows. Of 40 people's nothing is, and no fit starts near.
    choices = {"choice": Nominal(levels=tuple("abcde"))}
    for people, found in ((400, (8 if by == "tasks" else 32, rate)), (40, (8, 0.05))):
        study = make_study(choices, tasks=56, people=people)
        study = dataclasses.replace(study, answer=level[:people].ravel())
        every = np.ones(people * 56, bool)
        few = dataclasses.replace(prepared, study=study, split=Split(by, every, ~every, ~every))
        plain = completed(PersistentConfig(), few)
        assert (plain.latent, plain.learning_rate) == found


@pytest.mark.parametrize(
    "scale", [RATING, Binary(levels=("no", "yes")), Continuous(low=0, high=100)], ids=str
)
def test_a_fit_starts_as_sure_as_answers_make_it(scale):
    """Where a posterior is as wide as its answers' curvature, drawing an effect costs half a unit
    of their log probability, and where priors narrow it less. An effect and its opposite are drawn,
    so that slopes cancel; the logistic deviation takes curvature to 1.1 times."""
    known, _ = answered({"scale": scale}, tasks=6)
    _, answers = gather_answers(known.study, known.codings, known.design, np.ones(2400, bool))
    start = start_known(known.model, known.design, answers)
    middle = mean_effects(known.model)
    alone = ("task", "task_level", "task_loading")

    def likely(drawn, sign):
        moved = {name: middle[name] + sign * (drawn[name] - middle[name]) for name in alone}
        args = known.design.tasks, known.design.layout, answers
        return float(_log_chance(known.model, middle | moved, *args)(start[:, None]).sum())

    draws = [draw_effects(known.model, jax.random.key(seed)) for seed in range(20)]
    most = likely(middle, 0)
    cost = np.mean([most - (likely(drawn, 1) + likely(drawn, -1)) / 2 for drawn in draws])
    count = sum(middle[name].size for name in alone)
    assert 0 < cost < 1.1 * count / 2


def test_tasks_without_answers_start_at_their_prior():
    """Only their columns say how they load on beliefs."""
    known, _ = answered({"rating": RATING}, tasks=6)
    design = known.design
    design = design._replace(tasks=design.tasks._replace(known=np.array([1, 1, 1, 1, 1, 0.0])))
    part = known.study.task < 5
    _, answers = gather_answers(known.study, known.codings, design, part)
    start_known(known.model, design, answers)
    loading = np.asarray(known.model.effects.mean["task_loading"][...])
    assert not loading[5, 0]
    assert loading[:5, 0].all()


@pytest.mark.parametrize("every", [1, 4])
def test_beliefs_start_where_people_are(every, monkeypatch):
    """Where Newton steps lead from the population's middle, in the dimension that there is; what is
    linear in answers is not quite the mode. Of many people some are analysed, and the others start
    in the middle."""
    monkeypatch.setattr(contrasts, "MOST_PEOPLE", 400 // every)
    known, _ = answered({"rating": RATING}, tasks=12)
    _, answers = gather_answers(known.study, known.codings, known.design, np.ones(400 * 12, bool))
    start = start_known(known.model, known.design, answers)
    chance = _log_chance(
        known.model, mean_effects(known.model), known.design.tasks, known.design.layout, answers
    )
    some = start.any(1)
    assert some.sum() == 400 // every
    end = np.asarray(find(chance, jnp.zeros(start.shape), SETTLED).mode)
    assert np.corrcoef(start[some, 0], end[some, 0])[0, 1] > 0.9
    assert ((end - start)[some, 0] ** 2).mean() < 0.25 * (end[some, 0] ** 2).mean()


@pytest.mark.parametrize(("tasks", "factors"), [(20, 1), (3, 1), (2, 2), (12, 5), (40, 8)])
def test_axes_turn_loadings_and_nothing_else(tasks, factors):
    """Also where most dimensions hold nothing, or there are fewer tasks than dimensions."""
    loading = np.zeros((tasks, 8))
    loading[:, 1 : 1 + factors] = np.random.default_rng(tasks).normal(
        0.3, 1, (tasks, min(7, factors))
    )
    axes = start_module._axes(loading)
    np.testing.assert_allclose(axes.T @ axes, np.eye(8), atol=1e-9)
    turned = loading @ axes
    # The sum over tasks varies along the first axis alone, the others come by their size.
    np.testing.assert_allclose(turned.sum(0)[1:], 0, atol=1e-9)
    size = (turned[:, 1:] ** 2).sum(0)
    assert (np.diff(size) < 1e-9).all()


def test_people_who_are_analysed_are_chosen_by_chance(monkeypatch):
    """Not every second one, who may all have got one of two forms."""
    monkeypatch.setattr(contrasts, "MOST_PEOPLE", 3000)
    person = np.repeat(np.arange(1, 6001), 2)
    place = contrasts._places(person, 6002)
    some = np.flatnonzero(place >= 0)
    np.testing.assert_array_equal(place[some], np.arange(3000))
    # Of 3,000 the even ones are 1,500 with a deviation of 27 / sqrt(2).
    assert abs((some % 2 == 0).sum() - 1500) < 5 * 20
    assert place[0] == place[6001] == -1


@pytest.mark.parametrize("given", ["none", "equal", "once"])
def test_answers_that_tell_nothing_pay_for_no_dimension(given):
    person, task = (grid.ravel() for grid in np.indices((40, 40)))
    value = np.full(1600, 0.5)
    if given == "none":
        person, task, value = person[:0], task[:0], value[:0]
    elif given == "once":
        own = person == task
        person, task, value = person[own], task[own], np.random.default_rng(0).random(40)
    numbers, sd = standardised(person, task, value, 40)
    assert enough(numbers, (40, 40)) == 8
    assert np.isfinite(sd).all()


def test_continuous_answers_without_spread_tell_of_no_noise():
    """The residual stays where it starts without them, instead of next to nothing."""
    scale = Continuous(low=0, high=100)
    known = make_known(make_study({"scale": scale}, tasks=6, people=50), latent=3, loud=0.0)
    study = dataclasses.replace(known.study, answer=np.full(300, 40.0))
    _, answers = gather_answers(study, known.codings, known.design, np.ones(300, bool))
    before = np.array(known.model.log_residual[...])
    start_known(known.model, known.design, answers)
    np.testing.assert_array_equal(known.model.log_residual[...], before)
