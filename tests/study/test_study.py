"""The study record and its description."""

import dataclasses

import numpy as np
import pytest
from synthetic import EVERY_SCALE, make_study

from crowdllm_jax.study import scales
from crowdllm_jax.study.datasets import anes96
from crowdllm_jax.study.describe import describe
from crowdllm_jax.study.records import fingerprint


def test_values_are_in_the_scales_own_units(mixed_study):
    for index, scale in enumerate(mixed_study.scales.values()):
        here = mixed_study.tasks.scale[mixed_study.task] == index
        low, high = scales.values(scale)[[0, -1]]
        own = mixed_study.value[here]
        assert own.min() >= low
        assert own.max() <= high
        if scales.size(scale):
            assert set(own) <= set(scales.values(scale))
        else:
            np.testing.assert_array_equal(own, mixed_study.answer[here])


@pytest.mark.parametrize("field", ["person", "task", "answer"])
def test_a_fingerprint_sees_every_response(field):
    study = make_study()
    changed = getattr(study, field).copy()
    changed[-1] = changed[-1] - 1
    assert fingerprint(study) != fingerprint(dataclasses.replace(study, **{field: changed}))


def test_a_fingerprint_sees_tasks_scales_and_profiles():
    study = make_study(embedding=3)
    tasks, people = study.tasks, study.participants
    city = dataclasses.replace(people.profile[1], levels=("A", "B", "Z"))
    others = [
        dataclasses.replace(study, scales={"rating": scales.Ordinal(levels=(0, 1, 2, 3, 4))}),
        dataclasses.replace(study, tasks=dataclasses.replace(tasks, text=("?",) * len(tasks.ids))),
        dataclasses.replace(
            study, tasks=dataclasses.replace(tasks, embedding=tasks.embedding + np.float32(1))
        ),
        dataclasses.replace(
            study, participants=dataclasses.replace(people, profile=(people.profile[0], city))
        ),
        dataclasses.replace(
            study, participants=dataclasses.replace(people, weight=people.weight * 2)
        ),
    ]
    assert len({fingerprint(one) for one in (study, *others)}) == 1 + len(others)
    assert fingerprint(make_study(embedding=3)) == fingerprint(study)


def test_the_description_names_everything():
    study = make_study(EVERY_SCALE, embedding=3)
    text = describe(study)
    for word in (
        "24, each answering 32 questions\n",
        "32, each answered by 24 people\n",
        *EVERY_SCALE,
        "age: numeric",
        "1 missing",
        "city: categorical",
        "an embedding of 3 numbers",
    ):
        assert word in text, word


def test_anes_holds_what_its_codebook_says():
    study = anes96()
    assert len(study.participants.ids) == 944
    assert len(study.task) == 944 * 6
    share = {t: study.value[study.task == i].mean() for i, t in enumerate(study.tasks.ids)}
    # Published in statsmodels' own description: 551 of 944 voted for Clinton (0), 393 for Dole (1).
    assert share["vote"] == pytest.approx(393 / 944)
    for index, scale in enumerate(study.scales.values()):
        own = study.answer[study.tasks.scale[study.task] == index]
        assert own.min() >= 0
        assert own.max() < scales.size(scale)
