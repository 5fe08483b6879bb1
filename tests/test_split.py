"""Holding out: disjoint parts, nested people, the same test part for every fraction."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import make_study

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.split import SplitConfig, split_study

STUDY = make_study(tasks=20, people=40, share=0.5)
SHARE = st.sampled_from([0.05, 0.1, 0.2, 0.3])


@given(st.sampled_from(["tasks", "people"]), SHARE, SHARE, st.sampled_from([0.1, 0.5, 1.0]),
       st.integers(0, 5))  # fmt: skip
def test_parts_do_not_overlap(by, test, validation, fraction, seed):
    config = SplitConfig(by=by, test=test, validation=validation, fraction=fraction)
    split = split_study(STUDY, config, seed)
    parts = np.stack([split.train, split.validation, split.test])
    assert parts.sum(0).max() <= 1
    assert fraction < 1 or parts.sum(0).min() == 1
    unit = STUDY.task if by == "tasks" else STUDY.person
    units = [set(unit[part]) for part in parts]
    assert not units[0] & units[1] | units[0] & units[2] | units[1] & units[2]
    assert len(units[2]) == max(1, round(test * (20 if by == "tasks" else 40)))


@pytest.mark.parametrize("by", ["tasks", "people"])
def test_a_larger_fraction_adds_people_to_those_of_a_smaller_one(by):
    before = None
    for fraction in (0.05, 0.1, 0.2, 0.35, 0.5, 0.8, 1.0):
        split = split_study(STUDY, SplitConfig(by=by, fraction=fraction), seed=3)
        if before is not None:
            np.testing.assert_array_equal(split.test, before.test)
            assert not (before.train & ~split.train).any(), "someone left the training part"
            assert not (before.validation & ~split.validation).any()
        before = split


@pytest.mark.parametrize("fraction", [0.25, 0.5, 1.0])
def test_a_fraction_keeps_that_share_of_people(fraction):
    people = split_study(STUDY, SplitConfig(by="people", fraction=fraction), seed=1)
    kept = np.unique(STUDY.person[people.train | people.validation])
    assert len(kept) == round(fraction * 32)
    # A tenth of everyone is an eighth of those not tested; rounded up from the third person on.
    assert len(np.unique(STUDY.person[people.validation])) == np.ceil((len(kept) - 2) / 8)
    tasks = split_study(STUDY, SplitConfig(by="tasks", fraction=fraction), seed=1)
    assert len(np.unique(STUDY.person[tasks.train | tasks.validation])) == round(fraction * 40)


def test_seeds_hold_out_others():
    one, two = (split_study(STUDY, SplitConfig(), seed) for seed in (0, 1))
    assert (one.test != two.test).any()
    again = split_study(STUDY, SplitConfig(), 0)
    np.testing.assert_array_equal(one.test, again.test)


@pytest.mark.parametrize("by", ["tasks", "people"])
def test_no_validation_part(by):
    assert not split_study(STUDY, SplitConfig(by=by, validation=0), 0).validation.any()


def test_three_people_are_enough_and_two_tasks_are_not():
    study = make_study(tasks=2, people=3)
    split = split_study(study, SplitConfig(by="people"), 0)
    assert len(split.people(study, split.train)) == 2
    with pytest.raises(CrowdError, match="2 tasks are too few"):
        split_study(study, SplitConfig(by="tasks", test=0.5, validation=0.4), 0)


def test_people_and_tasks_of_a_part():
    split = split_study(STUDY, SplitConfig(by="tasks"), 0)
    assert len(split.tasks(STUDY, split.test)) == 4
    assert (np.diff(split.people(STUDY, split.test)) > 0).all()
