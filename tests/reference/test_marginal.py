"""The crowd's own average as a reference."""

import dataclasses

import numpy as np
import pytest
from synthetic import EVERY_SCALE, make_study

from crowdllm_jax.reference.marginal import crowd_average
from crowdllm_jax.study.split import Split, SplitConfig, split_study
from crowdllm_jax.study.statistics import unit


def test_held_out_people_get_each_tasks_average_drawn_towards_all():
    study = make_study(tasks=2, people=4)
    study = dataclasses.replace(study, answer=np.array([0.0, 4, 0, 4, 4, 4, 0, 4]))
    train = study.person < 3
    reference = crowd_average(study, Split("people", train, np.zeros_like(train), ~train))
    overall = np.mean([1, 5, 1, 5, 5, 5])
    # As if a fourth person had answered the average of all.
    np.testing.assert_allclose(reference.mean, [(1 + 1 + 5 + overall) / 4, (15 + overall) / 4])
    np.testing.assert_allclose(reference.probs @ np.arange(1, 6), reference.mean)


def test_held_out_tasks_get_one_constant_per_scale():
    study = make_study({k: EVERY_SCALE[k] for k in ("rating", "agree")}, tasks=5)
    split = split_study(study, SplitConfig(), seed=0)
    reference = crowd_average(study, split)
    for index in range(2):
        own = study.value[split.of_reference & (study.tasks.scale[study.task] == index)]
        np.testing.assert_allclose(reference.mean[study.tasks.scale == index], own.mean())
    np.testing.assert_allclose(reference.probs.sum(1), 1)


@pytest.mark.parametrize("by", ["tasks", "people"])
def test_held_out_answers_are_not_looked_at(mixed_study, by):
    split = split_study(mixed_study, SplitConfig(by=by), seed=0)
    turned = mixed_study.answer.copy()
    turned[~split.of_reference] = 0
    one, two = (
        crowd_average(study, split)
        for study in (mixed_study, dataclasses.replace(mixed_study, answer=turned))
    )
    np.testing.assert_array_equal(one.mean, two.mean)


def test_unit_maps_the_ends_of_every_scale(mixed_study):
    for task in range(len(mixed_study.tasks.ids)):
        from crowdllm_jax.study import scales

        ends = scales.values(mixed_study.scale_of(task))[[0, -1]]
        np.testing.assert_allclose(unit(mixed_study, ends, np.full(2, task)), [0, 1])
