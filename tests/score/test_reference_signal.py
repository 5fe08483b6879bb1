"""A reference that says nothing of people is told from one that does."""

import dataclasses

import numpy as np
import pytest
from synthetic import RATING, make_study

from crowdllm_jax.reference.record import Gain, Reference, from_levels
from crowdllm_jax.score.feature_gain import feature_gain
from crowdllm_jax.score.reference_signal import reference_signal
from crowdllm_jax.study.scales import Nominal
from crowdllm_jax.study.split import SplitConfig, split_study


def case(seed=0, kind=RATING):
    """60 tasks, and what half their people say of each as a reference (T, 5)."""
    study = make_study({"rating": kind}, tasks=60, people=40, seed=seed)
    split = split_study(study, SplitConfig(), seed=0)
    k = 5 if kind is RATING else int(study.answer.max()) + 1
    probs = np.zeros((60, k))
    some = study.person < 20
    np.add.at(probs, (study.task[some], study.answer[some].astype(int)), 1 / 20)
    kept = {name: getattr(study, name)[~some] for name in ("person", "task", "answer")}
    part = {name: getattr(split, name)[~some] for name in ("train", "validation", "test")}
    return dataclasses.replace(study, **kept), dataclasses.replace(split, **part), probs


@pytest.mark.parametrize(
    "kind", [RATING, Nominal(levels=("A", "B", "C"))], ids=["ordinal", "nominal"]
)
def test_real_people_are_a_reference_with_signal(kind):
    study, split, probs = case(kind=kind)
    found = reference_signal(study, split, from_levels(study, "column", probs))
    assert not found.fires
    # Shares of 20 people vary by .01 (variance) by chance and by .015 from task to task, so that
    # two such samples correlate at .6; means are told better.
    assert found.value > (0.9 if kind is RATING else 0.5)


def test_shuffled_answers_are_without_signal_as_often_as_the_interval_says():
    """Of 40 shuffled references at most 2 are expected outside a 95% interval; more than 6 would
    have a chance of 0.4%."""
    study, split, probs = case()
    random = np.random.default_rng(1)
    silent = 0
    for _ in range(40):
        reference = from_levels(study, "column", random.permutation(probs))
        silent += not reference_signal(study, split, reference).fires
    assert silent <= 6


def test_a_constant_is_without_signal_and_says_how_it_answers():
    study, split, _ = case()
    probs = np.tile([0.1, 0.1, 0.5, 0.2, 0.1], (60, 1))
    order = np.full(60, 0.25)
    reference = dataclasses.replace(from_levels(study, "column", probs), order=order)
    found = reference_signal(study, split, reference)
    assert (found.value, found.fires) == (0.0, True)
    assert "varies by 0.000 of the scale" in found.detail
    assert "'3' wins on 100% of the tasks" in found.detail
    assert "the other way round it moves 25% of its answers" in found.detail


def test_r_is_the_weighted_correlation_over_training_tasks():
    study, split, probs = case()
    reference = from_levels(study, "column", probs)
    seen = np.unique(study.task[split.seen])
    own = np.array([study.answer[split.seen & (study.task == t)].mean() for t in seen])
    # All tasks have 20 answers, so weights are equal.
    wanted = np.corrcoef(own, reference.mean[seen])[0, 1]
    assert reference_signal(study, split, reference).value == pytest.approx(wanted, abs=1e-9)


def test_held_out_answers_are_not_looked_at():
    study, split, probs = case()
    reference = from_levels(study, "column", probs)
    turned = dataclasses.replace(study, answer=np.where(split.test, 4 - study.answer, study.answer))
    assert reference_signal(turned, split, reference) == reference_signal(study, split, reference)


@pytest.mark.parametrize("answers", ["marginal", "few"])
def test_what_cannot_be_told_is_silent(answers):
    study, split, probs = case()
    reference = from_levels(study, "column", probs)
    if answers == "marginal":
        reference = dataclasses.replace(reference, kind="marginal")
    else:
        split = dataclasses.replace(split, train=split.train & (study.task < 8))
        split = dataclasses.replace(split, validation=split.validation & (study.task < 8))
    found = reference_signal(study, split, reference)
    assert (found.value, found.fires) == (None, False)


def test_a_source_that_brings_nothing_is_named():
    gains = (Gain("minilm", (0.55, 0.5), (0.6, 0.1)), Gain("noise", (0.6, 0.0), (0.54, 0.55)))
    reference = Reference("fitted", np.zeros(3), fitted=(0.54, 0.55), gains=gains)
    found = feature_gain(reference)
    assert (found.value, found.fires) == (1.0, True)
    assert "noise alone RPS 0.6000, r 0.000; " not in found.detail
    assert "noise alone RPS 0.6000, r 0.000, the others without it RPS 0.5400" in found.detail
    assert not feature_gain(Reference("column", np.zeros(3))).fires
