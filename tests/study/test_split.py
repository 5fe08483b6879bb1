"""Holding out: disjoint parts, nested people, the same test part for every fraction."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import make_study

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.split import SplitConfig, folds_of, split_study, told_folds

STUDY = make_study(tasks=20, people=40, share=0.5)
SHARE = st.sampled_from([0.05, 0.1, 0.2, 0.3])


@given(
    st.sampled_from(["tasks", "people"]),
    SHARE,
    SHARE,
    st.sampled_from([0.1, 0.5, 1.0]),
    st.integers(0, 5),
)
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


@pytest.mark.parametrize("by", ["tasks", "people"])
@pytest.mark.parametrize("folds", [2, 5, 7])
def test_folds_hold_everything_out_once(by, folds):
    config = SplitConfig(by=by, folds=folds)
    splits = [split_study(STUDY, config, 4, fold) for fold in range(folds)]
    unit = STUDY.task if by == "tasks" else STUDY.person
    assert (np.stack([split.test for split in splits]).sum(0) == 1).all()
    sizes = [len(np.unique(unit[split.test])) for split in splits]
    assert max(sizes) - min(sizes) <= 1
    for split in splits:
        parts = [set(unit[part]) for part in (split.train, split.validation, split.test)]
        assert all(parts)
        assert set.union(*parts) == set(unit)
        assert sum(map(len, parts)) == len(set(unit))
    whole = split_study(STUDY, config, 4, "all")
    assert not whole.test.any()
    assert (whole.train | whole.validation).all()


@pytest.mark.parametrize("seed", range(5))
def test_no_fold_holds_out_those_alone_who_count_for_nothing(seed):
    """Of ten people five count, one in each of five folds; if all were drawn together, two folds of
    nine would hold out nobody who counts."""
    study = make_study(people=10)
    weight = np.repeat([1.0, 0.0], 5)
    study = replace(study, participants=replace(study.participants, weight=weight))
    config = SplitConfig(by="people", folds=5)
    parts = [split_study(study, config, seed, fold) for fold in range(5)]
    people = [part.people(study, part.test) for part in parts]
    assert sorted(np.concatenate(people)) == list(range(10))
    assert [weight[own].sum() for own in people] == [1] * 5


def test_the_first_fold_is_the_single_split_of_its_share():
    for by in ("tasks", "people"):
        one = split_study(STUDY, SplitConfig(by=by, test=0.2), 1)
        first = split_study(STUDY, SplitConfig(by=by, folds=5), 1, 0)
        for part in ("train", "validation", "test"):
            np.testing.assert_array_equal(getattr(one, part), getattr(first, part))


def test_small_studies_are_held_out_in_folds_unless_a_share_is_given():
    small, large = make_study(tasks=3, people=149), make_study(tasks=3, people=150)
    by = SplitConfig(by="people")
    assert (folds_of(small, by), folds_of(large, by)) == (5, 1)
    assert folds_of(large, SplitConfig(by="tasks")) == 3
    for single in (
        SplitConfig(by="people", test=0.2),
        SplitConfig(by="people", folds=1),
        SplitConfig(by="people", folds=0),
    ):
        assert folds_of(small, single) == 1
        assert told_folds(small, single) is None
    assert folds_of(large, SplitConfig(by="people", folds=10)) == 10
    assert "each of 149 people once, in 5 folds as they are few" in told_folds(small, by)
    many = make_study(tasks=140, people=150)
    assert folds_of(many, SplitConfig(by="tasks")) == 1  # 21,000 answers


def test_folds_that_cannot_be():
    with pytest.raises(CrowdError, match=r"test: 0\.2 .* folds: 5 .* one of the two"):
        folds_of(STUDY, SplitConfig(test=0.2, folds=5))
    with pytest.raises(CrowdError, match=r"split\.folds: 30 are more than the 20 tasks"):
        folds_of(STUDY, SplitConfig(folds=30))
