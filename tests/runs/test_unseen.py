"""What is held out of a fit, as a study; and configurations without a file."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import make_study

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.persistent.design import make_design
from crowdllm_jax.runs.config import load_config, load_study
from crowdllm_jax.runs.prepare import prepare
from crowdllm_jax.runs.unseen import held_out_study
from crowdllm_jax.study.records import Attribute, Block
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


def test_what_is_said_of_held_out_tasks_changes_nothing_of_the_others():
    """Not what the published model reads, nor the reference, nor the persistent model's columns; so
    that a question asked later is answered as one that stood there without answers."""
    config = load_config({"split": {"by": "tasks"}, "reference": {"kind": "fitted"}})
    random = np.random.default_rng(0)
    study = make_study(people=40, tasks=30, embedding=3)
    length = Attribute("length", "numeric", (), random.normal(size=30))
    two = (Block("one", 0, 0, 2), Block("other", 1, 2, 3))
    study = replace(study, tasks=replace(study.tasks, attributes=(length,), blocks=two))
    split = split_study(study, config.split, 0)
    held = split.tasks(study, split.test)
    far, long = study.tasks.embedding.copy(), length.cells.copy()
    far[held], long[held] = 100 * random.normal(size=(len(held), 3)), 50
    tasks = replace(study.tasks, embedding=far, attributes=(replace(length, cells=long),))
    before, after = (prepare(one, config, 0) for one in (study, replace(study, tasks=tasks)))
    known = np.setdiff1d(np.arange(30), held)
    np.testing.assert_array_equal(before.x[known], after.x[known])
    np.testing.assert_allclose(before.reference.mean[known], after.reference.mean[known], atol=1e-9)
    columns = [
        make_design(
            one.study, one.reference, one.codings, split.seen, config.model, known=False
        ).tasks
        for one in (before, after)
    ]
    for name in ("features", "loading", "reference"):
        one, other = (getattr(part, name)[known] for part in columns)
        np.testing.assert_allclose(one, other, atol=1e-5, err_msg=name)


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
    # Of what is missing no example says what it is.
    path.write_text("study: {tasks: {path: tasks.csv}}\n")
    with pytest.raises(CrowdError, match=r"field `responses`; add it, or the whole of the file"):
        load_config(path)
    with pytest.raises(CrowdError, match=r"configuration: model\.kind"):
        load_config({"model": {"kind": "cave"}})
