"""What is held out of a fit, as a study; and configurations without a file."""

import numpy as np
import pytest
from synthetic import make_study

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runs.config import load_config, load_study
from crowdllm_jax.runs.unseen import held_out_study
from crowdllm_jax.study.split import split_study

STUDY = make_study(people=40, tasks=10)


@pytest.mark.parametrize("by", ["people", "tasks", "answers"])
def test_what_is_held_out_is_the_test_part_of_the_same_seed(by):
    config = load_config({"split": {"by": by}})
    split = split_study(STUDY, config.split, 3)
    held = held_out_study(STUDY, config, 3)
    assert held.tasks is STUDY.tasks
    names = np.array(held.participants.ids)[held.person]
    assert names.tolist() == np.array(STUDY.participants.ids)[STUDY.person[split.test]].tolist()
    np.testing.assert_array_equal(held.answer, STUDY.answer[split.test])
    np.testing.assert_array_equal(held.task, STUDY.task[split.test])
    assert set(names) == set(held.participants.ids)
    if by == "people":
        seen = np.array(STUDY.participants.ids)[STUDY.person[split.seen]]
        assert not set(held.participants.ids) & set(seen)


def test_a_dictionary_is_a_configuration_and_is_not_changed(tmp_path):
    tree = {"study": "anes96", "model": {"kind": "persistent"}, "models": []}
    path = tmp_path / "same.yaml"
    path.write_text("study: anes96\nmodel: {kind: persistent, steps: 7}\nmodels: []\n")
    assert load_config(tree, ("model.steps=7",)) == load_config(path)
    assert tree["model"] == {"kind": "persistent"}


def test_a_configuration_without_a_study_needs_one_beside_it(tmp_path):
    config = load_config({})
    with pytest.raises(CrowdError, match="names no study"):
        load_study(config)
    path = tmp_path / "none.yaml"
    path.write_text("split: {by: people}\n")
    with pytest.raises(CrowdError, match=r"none.yaml: missing required field `study`"):
        load_config(path)
    with pytest.raises(CrowdError, match=r"configuration: model\.kind"):
        load_config({"model": {"kind": "cave"}})
