"""Choices without an order as numbers, and questions whose options are called alike."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from known_people import make_known
from synthetic import RATING, make_study

from crowdllm_jax.model.persistent.answers import gather_answers
from crowdllm_jax.model.persistent.contrasts import PRIOR, level_contrasts, telling
from crowdllm_jax.model.persistent.layout import layout_of
from crowdllm_jax.model.persistent.start import dimensions_paid_for, start_known, starting_levels
from crowdllm_jax.population.sample import sample
from crowdllm_jax.study.scales import Nominal

CHOICE = Nominal(levels=tuple("abcd"))
SCALES = {"rating": RATING, "choice": CHOICE, "side": Nominal(levels=("left", "right"))}
LAYOUT = layout_of(SCALES, np.array([0, 1, 1, 2], np.int32))


@pytest.mark.parametrize("seed", range(5))
def test_contrasts_are_uncorrelated_numbers_of_deviation_one(seed):
    count = np.random.default_rng(seed).integers(0, 50, (3, LAYOUT.levels)).astype(float)
    tasks, sizes = np.array([1, 2, 3]), (4, 4, 2)
    for own, contrasts, size in zip(
        count, level_contrasts(LAYOUT, tasks, count), sizes, strict=True
    ):
        share = own[:size] + PRIOR / size
        share /= share.sum()
        there = contrasts[:size, : size - 1]
        np.testing.assert_allclose(share @ there, 0, atol=1e-9)
        np.testing.assert_allclose((there * share[:, None]).T @ there, np.eye(size - 1), atol=1e-9)
        assert not contrasts[size:].any()
        assert not contrasts[:, size - 1 :].any()


def test_questions_tell_by_themselves_if_their_scale_has_answers_enough():
    """Ten a level, on average over those that were answered."""
    assert telling(LAYOUT, np.array([99, 50, 30, 20])).tolist() == [False, True, True, True]
    assert telling(LAYOUT, np.array([99, 50, 29, 19])).tolist() == [False, False, False, False]
    assert telling(LAYOUT, np.array([99, 40, 0, 0])).tolist() == [False, True, False, False]


def chosen(study, utility: np.ndarray):
    """The study with answers by utilities (P, T, K) and Gumbel noise."""
    noise = np.random.default_rng(1).gumbel(size=utility.shape)
    answer = (utility + noise).argmax(2).astype(float).ravel()
    return dataclasses.replace(study, answer=answer)


def test_the_levels_of_one_question_are_no_dimension():
    """Of people who choose by chance: a choice excludes the others, and that is all."""
    study = make_study({"choice": CHOICE}, tasks=6, people=600)
    study = chosen(study, np.zeros((600, 6, 4)))
    known = make_known(study, latent=4, loud=0.0)
    everything = np.ones(3600, bool)
    _, answers = gather_answers(study, known.codings, known.design, everything)
    start_known(known.model, known.design, answers)
    assert np.abs(known.model.effects.mean["task_level_loading"][...]).max() < 0.1
    assert dimensions_paid_for(study, everything) == 8


def test_a_fit_starts_at_people_who_know_the_right_answers():
    """Options a to d of eight questions, and another is right in each: who knows one knows others.
    The product of two questions' being right, over 600 people, is good to .02; it is .09 and more
    above that of people who do not hang together. A logistic stands for a logit of four to .05."""
    study = make_study({"choice": CHOICE}, tasks=8, people=600)
    right = np.arange(8) % 4
    ability = np.random.default_rng(0).normal(size=(600, 1, 1))
    study = chosen(study, 2.0 * ability * (np.arange(4) == right[:, None]))
    known = make_known(study, latent=2, loud=0.0)
    _, answers = gather_answers(study, known.codings, known.design, np.ones(4800, bool))
    known.model.level[...] = jnp.asarray(starting_levels(known.design.layout, answers))
    start_known(known.model, known.design, answers)
    people = study.answer.reshape(600, 8) == right
    agents = sample(known.crowd, 8000, 0).answers == right
    np.testing.assert_allclose(agents.mean(0), people.mean(0), atol=0.1)
    apart = ~np.eye(8, dtype=bool)
    together = [np.cov(answered.T.astype(float))[apart].mean() for answered in (people, agents)]
    assert together[0] > 0.06
    np.testing.assert_allclose(together[1], together[0], atol=0.03)
