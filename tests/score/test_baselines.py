"""Crowds to beat answer as often as they should, and within the rules."""

import dataclasses

import numpy as np
import pytest
from scipy import stats
from synthetic import EVERY_SCALE, RATING, make_study

from crowdllm_jax.reference.record import Reference
from crowdllm_jax.score.baselines import baseline_crowds, noise_sd
from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.scales import Continuous, Joint, Points
from crowdllm_jax.study.split import Split, SplitConfig, split_study

ALPHA = 1e-6
N = 4000


def reference_of(study: Study, *, probs: bool = True) -> Reference:
    """A reference of random probabilities and their means."""
    random = np.random.default_rng(9)
    k = max(map(scales.size, study.scales.values()))
    chance = np.zeros((len(study.tasks.ids), k))
    mean = np.empty(len(chance))
    for task in range(len(chance)):
        levels = scales.values(study.scale_of(task))
        own = random.dirichlet(np.ones(len(levels)))
        if scales.size(study.scale_of(task)):
            chance[task, : len(levels)] = own
        mean[task] = own @ levels
    return Reference("column", mean, chance if probs else None)


def crowds_of(study: Study, by: str = "people", **changes) -> tuple[dict, Split, Reference]:
    split = split_study(study, SplitConfig(by=by, test=0.25), seed=0)
    reference = reference_of(study, **changes)
    return baseline_crowds(study, split, reference, N, seed=0), split, reference


def fits(answers: np.ndarray, levels: np.ndarray, chance: np.ndarray) -> bool:
    """Pearson's chi-square at ALPHA of one column; impossible levels never occur."""
    count = np.array([(answers == level).sum() for level in levels])
    assert count.sum() == N
    assert not count[chance == 0].any()
    possible = chance > 0
    return stats.chisquare(count[possible], N * chance[possible]).pvalue > ALPHA


def shares(answers: np.ndarray, levels: np.ndarray) -> np.ndarray:
    return np.array([(answers == level).mean() for level in levels])


LEVELS = np.arange(1.0, 6)


@pytest.fixture(scope="module")
def ratings():
    study = make_study(tasks=3, people=60)
    return study, *crowds_of(study)


def test_uniform(ratings):
    _, crowds, _, _ = ratings
    for column in crowds["uniform"].T:
        assert fits(column, LEVELS, np.full(5, 0.2))


def test_marginal_is_as_frequent_as_in_training(ratings):
    study, crowds, split, _ = ratings
    chance = shares(study.value[split.seen], LEVELS)
    for column in crowds["marginal"].T:
        assert fits(column, LEVELS, chance)


def test_task_marginal_is_as_frequent_as_in_training_for_that_task(ratings):
    study, crowds, split, _ = ratings
    for task, column in enumerate(crowds["task_marginal"].T):
        own = study.value[split.seen & (study.task == task)]
        assert fits(column, LEVELS, shares(own, LEVELS))


def test_reference_is_answered_by_everyone(ratings):
    _, crowds, _, reference = ratings
    np.testing.assert_allclose(crowds["reference"], np.tile(reference.mean, (N, 1)), rtol=1e-6)


def test_reference_is_sampled_from_its_probabilities(ratings):
    _, crowds, _, reference = ratings
    for task, column in enumerate(crowds["reference_sampled"].T):
        assert fits(column, LEVELS, reference.probs[task])


def test_reference_noise_is_a_rounded_normal(ratings):
    study, crowds, split, reference = ratings
    sd = noise_sd(study, split, reference, 0)
    edges = np.concatenate([[-np.inf], (np.arange(4) + 0.5) / 4, [np.inf]])
    for task, column in enumerate(crowds["reference_noise"].T):
        mean = (reference.mean[task] - 1) / 4
        assert fits(column, LEVELS, np.diff(stats.norm.cdf((edges - mean) / sd)))


@pytest.mark.parametrize("by", ["tasks", "people"])
def test_every_baseline_keeps_the_rules_of_every_scale(by):
    study = make_study(EVERY_SCALE, people=40)
    crowds, _, _ = crowds_of(study, by, probs=False)
    assert set(crowds) == {"uniform", "marginal", "reference", "reference_noise"} | (
        {"task_marginal"} if by == "people" else set()
    )
    for name, answers in crowds.items():
        assert answers.shape == (N, len(study.tasks.ids))
        for index, scale in enumerate(study.scales.values()):
            own = answers[:, study.tasks.scale == index]
            levels = scales.values(scale)
            where = f"{name} on {scales.kind(scale)}"
            assert own.min() >= levels[0], where
            assert own.max() <= levels[-1], where
            if name == "reference" and not isinstance(scale, Joint):
                continue
            if scales.size(scale):
                assert set(np.unique(own)) <= set(levels), where
            if isinstance(scale, Joint):
                assert not scales.ballot_fault(scale, own.astype(int)).any(), where


def test_marginal_ballots_are_real_ones_in_any_order():
    study = make_study({"share": Points(budget=10)}, tasks=4, people=40)
    crowds, split, _ = crowds_of(study, probs=False)
    train = study.answer[split.seen].reshape(-1, 4)
    real = {tuple(ballot) for ballot in train}
    assert {tuple(ballot) for ballot in crowds["task_marginal"]} == real
    assert {tuple(sorted(b)) for b in crowds["marginal"]} == {tuple(sorted(b)) for b in real}
    # Shuffled ballots give every project the same share on average: a mean of N draws within
    # five standard errors.
    error = crowds["marginal"].std(0) / np.sqrt(N)
    assert (np.abs(crowds["marginal"].mean(0) - 2.5) < 5 * error).all()


def test_marginal_ballots_keep_what_training_shows_of_them():
    """With a task held out, the known points stay together and it gets what they leave."""
    study = make_study({"share": Points(budget=10)}, tasks=4, people=40)
    split = split_study(study, SplitConfig(by="tasks", test=0.25), seed=0)
    crowds = baseline_crowds(study, split, reference_of(study, probs=False), N, seed=0)
    # One task of four is hidden, so the rule says what it got.
    real = {tuple(sorted(ballot)) for ballot in study.answer.reshape(-1, 4)}
    assert {tuple(sorted(ballot)) for ballot in crowds["marginal"]} == real


def test_a_scale_that_nobody_answered_in_training_is_guessed_evenly():
    study = make_study({"a": RATING, "b": RATING, "c": Points(budget=3)}, tasks=2, people=20)
    test = study.task >= 2
    split = Split("people", ~test, np.zeros_like(test), test)
    crowds = baseline_crowds(study, split, reference_of(study), N, seed=0)
    for name in ("marginal", "task_marginal"):
        for column in crowds[name][:, 2:4].T:
            assert fits(column, LEVELS, np.full(5, 0.2))
        assert (crowds[name][:, 4:].sum(1) == 3).all()


@pytest.mark.parametrize("sd", [0.1, 0.3])
@pytest.mark.parametrize("scale", [RATING, Continuous(low=1, high=5)], ids=scales.kind)
def test_the_noise_is_estimated_without_bias(scale, sd):
    """A maximum-likelihood standard deviation of n answers has a relative error of
    1 / sqrt(2 n) = 1.1% with n = 4,000; rounding to 5 levels at most doubles it here. Six times
    2.2% is 13%."""
    study = make_study({"s": scale}, tasks=4, people=1000)
    reference = reference_of(study, probs=False)
    reference = dataclasses.replace(reference, mean=np.full(4, 3.0))
    random = np.random.default_rng(0)
    # Far enough inside that a continuous answer is hardly ever clipped.
    score = 0.5 + min(sd, 0.15 if isinstance(scale, Continuous) else 1) * random.normal(size=4000)
    answer = score * 4 + 1 if isinstance(scale, Continuous) else np.clip(np.round(score * 4), 0, 4)
    study = dataclasses.replace(study, answer=answer)
    every = np.ones(4000, bool)
    found = noise_sd(study, Split("people", every, ~every, ~every), reference, 0)
    expected = min(sd, 0.15) if isinstance(scale, Continuous) else sd
    assert found == pytest.approx(expected, rel=0.13)


def test_seeds_differ_and_repeat(ratings):
    study, crowds, split, reference = ratings
    again = baseline_crowds(study, split, reference, N, seed=0)
    other = baseline_crowds(study, split, reference, N, seed=1)
    for name in crowds:
        np.testing.assert_array_equal(crowds[name], again[name])
        assert name == "reference" or (crowds[name] != other[name]).any()
