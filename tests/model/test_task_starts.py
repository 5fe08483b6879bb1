"""Where a fit starts single tasks that few or many people answered, against simulated ones."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from known_people import make_known
from synthetic import RATING, make_study

from crowdllm_jax.model.fit import Prepared, completed
from crowdllm_jax.model.persistent import start as start_module
from crowdllm_jax.model.persistent.answers import gather_answers
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.model.persistent.start import start_known, starting_levels
from crowdllm_jax.study.scales import Continuous, Nominal
from crowdllm_jax.study.split import Split


@pytest.mark.parametrize("doubt", [3.0, 30.0])
@pytest.mark.parametrize("answers", [5, 200])
def test_shares_are_drawn_to_what_is_expected_as_bayes_would(doubt, answers):
    """3,000 tasks' own shares around common ones, Dirichlet with a known weight of these. How far
    shares lie apart is found to 1 / sqrt(3,000) of a few answers' noise, which is .018 (1 + doubt)
    / (answers - 1) of itself: .14 at the most (30, 5)."""
    random = np.random.default_rng(0)
    middle = np.array([0.4, 0.3, 0.2, 0.1])
    own = random.dirichlet(doubt * middle, 3000)
    count = np.array([random.multinomial(answers, one) for one in own]).astype(float)
    shares = start_module._beyond_chance(count, np.broadcast_to(middle, count.shape), 1)
    best = (count + doubt * middle) / (answers + doubt)
    gap = count / answers - middle
    weight = ((shares - middle) * gap).sum() / (gap**2).sum()
    assert weight == pytest.approx(answers / (answers + doubt), rel=3 * 0.14)
    # On average no estimate from the counts is as close to the tasks' own shares as Bayes' one.
    gap = ((shares - own) ** 2).mean() / ((best - own) ** 2).mean()
    assert 1 - 1e-3 < gap < 1.01


@pytest.mark.parametrize(("answers", "levels", "fitted"), [(1, 4, 1), (1, 4, 2), (9, 2, 2)])
def test_shares_are_those_expected_where_answers_cannot_tell(answers, levels, fitted):
    """One answer is apart from no other; two levels have no share beside a location."""
    expected = np.full((40, levels), 1 / levels)
    count = np.random.default_rng(0).multinomial(answers, expected[0], 40).astype(float)
    np.testing.assert_array_equal(start_module._beyond_chance(count, expected, fitted), expected)


def started(scale, apart: float, people: int, tasks: int = 300):
    """Texts that `people` each rate, whose locations lie apart by a deviation, as a fit starts."""
    study = make_study({"scale": scale}, tasks=tasks, people=people)
    known = make_known(study, latent=1, loud=0.0)
    random = np.random.default_rng(0)
    stand = apart * random.normal(size=tasks) + random.logistic(size=(people, tasks))
    if isinstance(scale, Nominal):
        value = 1.0 * (stand > 0)
    elif isinstance(scale, Continuous):
        value = (50 + 5 * stand).clip(0, 100)
    else:
        value = np.digitize(stand, [-2, -0.7, 0.7, 2]).astype(float)
    study = dataclasses.replace(study, answer=value.ravel())
    _, answers = gather_answers(study, known.codings, known.design, np.ones(people * tasks, bool))
    known.model.level[...] = jnp.asarray(starting_levels(known.design.layout, answers))
    start_known(known.model, known.design, answers)
    return {
        name: (np.asarray(known.model.effects.mean[name][...]), float(np.exp(prior[...][0])))
        for name, prior in known.model.effects.log_prior.items()
        if name in ("task", "task_level")
    }


@pytest.mark.parametrize(("apart", "people"), [(1.0, 8), (2.0, 50)])
def test_priors_start_no_narrower_than_tasks_are_apart(apart, people):
    """Under a prior of .2 eight ratings of a text would be drawn to nothing, and 1,000 steps not
    find all of it again. Levels hold nothing but chance, whatever the shares of eight look like."""
    found = started(RATING, apart, people)
    effect, prior = found["task"]
    assert prior == pytest.approx(np.sqrt((effect**2).mean()), rel=1e-4)
    # Two ratings' worth of doubt draw eight by a fifth, noise widens them by a tenth; a scale ends.
    assert prior == pytest.approx(apart, rel=0.3)
    level, prior = found["task_level"]
    assert np.sqrt((level**2).mean()) < 0.2
    assert prior == pytest.approx(np.exp(-1.5), rel=1e-4)


def test_levels_of_choices_start_at_their_shares():
    """A choice between two has no location, so that its levels' gap is how far tasks are apart."""
    found = started(Nominal(levels=("a", "b")), 1.0, people=100)
    level, prior = found["task_level"]
    assert prior == pytest.approx(np.sqrt((level**2).mean()), rel=1e-4)
    # A logit's deviation of 1 is half on each level; logit shares of 100 are off by .2 or more.
    assert prior == pytest.approx(0.5, rel=0.2)
    assert found["task"][0].any() == np.False_


def test_continuous_tasks_start_at_their_means():
    """A point of 100 is .01 of the scale, and a deviation of 1 five of them."""
    effect, prior = started(Continuous(low=0.0, high=100.0), 2.0, people=50)["task"]
    assert np.sqrt((effect**2).mean()) == pytest.approx(0.1, rel=0.3)
    assert prior == pytest.approx(np.exp(-1.5), rel=1e-4)


@pytest.mark.parametrize(("people", "rate"), [(19, 0.05), (20, 0.02)])
def test_a_fit_to_few_answers_a_task_steps_as_one_that_starts_anywhere(people, rate):
    study = make_study({"rating": RATING}, tasks=30, people=people)
    every = np.ones(len(study.task), bool)
    prepared = Prepared(study, Split("people", every, ~every, ~every), None, None, (), None)
    assert completed(PersistentConfig(), prepared).learning_rate == rate
