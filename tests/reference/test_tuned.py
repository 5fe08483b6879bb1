"""A tuned language model as a reference: what it learns from, that it is cross-fitted, its use."""

import dataclasses
import json

import numpy as np
import pytest
from few_drawings import few_drawings  # noqa: F401
from msgspec import structs
from synthetic import EVERY_SCALE, make_study, rows_of, write_config, write_table

from crowdllm_jax.backbone.tune.config import TuneConfig
from crowdllm_jax.cli.main import main
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.reference.backbone import BackboneReference, ask_with
from crowdllm_jax.reference.make import ask_reference, make_reference
from crowdllm_jax.reference.questions import PromptConfig, offered, prompt_and_questions
from crowdllm_jax.reference.tuned import option_shares, plan_tuning, tune_reference
from crowdllm_jax.runtime.progress import silent
from crowdllm_jax.study import scales
from crowdllm_jax.study.split import SplitConfig, split_study
from crowdllm_jax.study.statistics import unit

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*the options hold less than"),
]
TUNE = TuneConfig(folds=2, rank=2, epochs=1, batch=8, targets=("q",), learning_rate=0.02)
TASKS = 30


def texts_of(study):
    """Tasks with texts of their own."""
    text = tuple(f"Task number {i}?" for i in range(len(study.tasks.ids)))
    return dataclasses.replace(study, tasks=dataclasses.replace(study.tasks, text=text))


@pytest.fixture
def study():
    return texts_of(make_study(tasks=TASKS))


def split_of(study):
    return split_study(study, SplitConfig(by="tasks", test=0.2), 0)


def asked(model, tune=TUNE, **changes):
    return BackboneReference(model=str(model), dtype="float32", tune=tune, **changes)


@pytest.mark.parametrize("leave", [None, 2])
def test_a_tasks_own_answers_do_not_change_its_reference(
    study, model, tmp_path, monkeypatch, leave
):
    """All answers to the tasks of one part turned round: the adapters that answer them are the
    same, bit for bit, and so is what they say; the other part's are not."""
    monkeypatch.chdir(tmp_path)
    split = split_of(study)
    config = asked(model, structs.replace(TUNE, exit=leave))
    part = plan_tuning(study, split, config, config.tune).part
    assert (part[split.tasks(study, split.test)] == -1).all()
    assert sorted(set(part)) == [-1, 0, 1]
    turned = np.where(part[study.task] == 0, 4 - study.answer, study.answer)
    other = dataclasses.replace(study, answer=turned)
    references = []
    for one in (study, other):
        tune_reference(one, split, config, config.tune, silent)
        references.append(make_reference(one, split, config, ".", silent))
    was, now = (reference.probs for reference in references)
    np.testing.assert_array_equal(now[part == 0], was[part == 0])
    assert (np.abs(now - was)[part == 1].max(1) > 1e-6).all()
    assert (np.abs(now - was)[part == -1].max(1) > 1e-6).all()
    np.testing.assert_allclose(was.sum(1), 1, rtol=1e-6)
    # What stands for a task's text is the model's as it was.
    plain = ask_reference(study, structs.replace(config, tune=None), (), silent)[0]
    np.testing.assert_array_equal(references[0].embedding, plain.embedding)


def test_an_early_exit_has_a_head_for_each_scale(model, tmp_path, monkeypatch):
    """Scales of different sizes, the longest in the middle; the last two offer the same options to
    the same texts, to which everybody answers the lowest on one and the highest on the other. All
    adapters are tuned on nothing: the shares are those that the heads begin at. Asked again, the
    answers from the cache are the same."""
    monkeypatch.chdir(tmp_path)
    five = scales.Ordinal(levels=(1, 2, 3, 4, 5))
    by_name = {"few": scales.Ordinal(levels=(1, 2, 3)), "low": five, "high": five}
    study = make_study(by_name, tasks=10)
    text = tuple(f"Task number {i % 10}?" for i in range(30))
    answer = np.array([2, 0, 4])[study.tasks.scale[study.task]].astype(float)
    tasks = dataclasses.replace(study.tasks, text=text)
    study = dataclasses.replace(study, tasks=tasks, answer=answer)
    config = asked(model, structs.replace(TUNE, exit=1, learning_rate=1e-9))
    split = split_of(study)
    tune_reference(study, split, config, config.tune, silent)
    first, again = (make_reference(study, split, config, ".", silent).probs for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (first[:10, 2] > 0.99).all()
    assert not first[:10, 3:].any()
    assert (first[10:20, 0] > 0.99).all()
    assert (first[20:, 4] > 0.99).all()


def test_tasks_without_answers_are_answered_by_all_adapters(study, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    split, config = split_of(study), asked(model)
    tune_reference(study, split, config, TUNE, silent)
    reference = make_reference(study, split, config, ".", silent)
    plan = plan_tuning(study, split, config, TUNE)
    prompt, questions = prompt_and_questions(study, config.prompt)
    each = [ask_with(config, prompt, questions, plan.adapters(i), silent).probs for i in (0, 1)]
    for part, expected in ((0, each[0]), (1, each[1]), (-1, (each[0] + each[1]) / 2)):
        rows = plan.part == part
        np.testing.assert_allclose(reference.probs[rows], expected[rows], atol=1e-6)


def test_nothing_held_out_is_learnt_from(study, model, tmp_path, monkeypatch):
    """Held-out answers turned round: the same adapters."""
    monkeypatch.chdir(tmp_path)
    split, config = split_of(study), asked(model)
    answer = np.where(split.test, 4 - study.answer, study.answer)
    other = dataclasses.replace(study, answer=answer)
    one, two = (plan_tuning(s, split, config, TUNE).folder for s in (study, other))
    assert one == two


@pytest.mark.parametrize("name", EVERY_SCALE)
def test_the_shares_of_what_is_offered_have_peoples_mean(name):
    """On every kind of scale, and without any answer beyond it."""
    study = make_study({name: EVERY_SCALE[name]}, tasks=6)
    everybody = np.ones(len(study.task), bool)
    shares, count = option_shares(study, everybody)
    scale = EVERY_SCALE[name]
    numbers = np.array(offered(scale, PromptConfig())[1])
    assert not shares[:, len(numbers) :].any()
    np.testing.assert_allclose(shares.sum(1), 1)
    np.testing.assert_allclose(count, 24)
    mean = np.bincount(study.task, unit(study, study.value, study.task)) / 24
    low, high = numbers[[0, -1]]
    expected = (shares[:, : len(numbers)] @ numbers - low) / (high - low)
    np.testing.assert_allclose(expected, mean, atol=1e-12)
    assert scales.size(scale) == 0 or len(numbers) <= max(scales.size(scale), 2)


def test_groups_are_learnt_with_who_they_are(study, model):
    split = split_of(study)
    tune = structs.replace(TUNE, groups=("city",))
    plan = plan_tuning(study, split, asked(model, tune), tune)
    seen = (plan.part >= 0).sum()
    assert len(plan.examples) == seen * 4  # everybody, and three cities
    everybody, one_city = plan.examples[0], plan.examples[seen]
    assert "city: A" in one_city.encoded.text
    assert "city" not in everybody.encoded.text
    who = np.flatnonzero(study.participants.profile[1].cells == 0)
    assert one_city.weight == len(who)
    answers = study.answer[np.isin(study.person, who) & (study.task == plan.task[seen])]
    np.testing.assert_allclose(
        one_city.shares, np.bincount(answers.astype(int), minlength=5) / len(who)
    )


def test_both_orders_are_learnt(study, model):
    split = split_of(study)
    plan = plan_tuning(study, split, asked(model, orders=2), TUNE)
    half = len(plan.examples) // 2
    np.testing.assert_array_equal(plan.task[:half], plan.task[half:])
    for there, back in zip(plan.examples[:half], plan.examples[half:], strict=True):
        np.testing.assert_array_equal(there.shares, back.shares[::-1])
        assert there.encoded.options == back.encoded.options[::-1]


@pytest.mark.parametrize(
    ("changes", "more", "says"),
    [
        ({"exit": 9}, {}, "exit: 9; tiny-chat has 3 layers"),
        ({"exit": 1, "groups": ("city",)}, {}, "leave out `groups`"),
        ({"exit": 1}, {"orders": 2}, "set reference.orders to 1"),
        ({"groups": ("age",)}, {}, "'age' is numeric"),
        ({"groups": ("shoe",)}, {}, "'shoe' is no attribute"),
        ({"targets": ("q", "q")}, {}, "each once"),
        ({}, {"calibration": "pmi"}, "reference.calibration: adapters learn the shares"),
        ({}, {"weights": "quantised"}, "reference.weights: adapters are added to dense"),
    ],
)
def test_settings_that_do_not_fit(study, model, tmp_path, monkeypatch, changes, more, says):
    monkeypatch.chdir(tmp_path)
    config = asked(model, structs.replace(TUNE, **changes), **more)
    with pytest.raises(CrowdError, match=says):
        tune_reference(study, split_of(study), config, config.tune, silent)


def test_too_few_tasks(model):
    few = texts_of(make_study(tasks=12))
    with pytest.raises(CrowdError, match="too few to tune on"):
        plan_tuning(few, split_of(few), asked(model), TUNE)


def test_the_command_and_the_run(model, tmp_path, monkeypatch, capsys):
    """`run` refuses without adapters, `tune` makes them and finds them, damage is told."""
    monkeypatch.chdir(tmp_path)
    study = make_study(tasks=TASKS)
    path = write_config(tmp_path / "input", study)
    texts = [f"Task number {t}?" for t in study.task]
    write_table(path.with_name("responses.csv"), rows_of(study) | {"text": texts})
    content = path.read_text().replace("  participants:", "  tasks: {text: text}\n  participants:")
    tune = {"folds": 2, "rank": 2, "epochs": 1, "targets": ["q"]}
    reference = {"kind": "backbone", "model": str(model), "dtype": "float32", "tune": tune}
    path.write_text(content + f"reference: {json.dumps(reference)}\n")
    assert main(["run", str(path), "--out", "out"]) == 2
    assert "run `crowdllm tune`" in capsys.readouterr().err
    assert main(["tune", str(path)]) == 0
    said = capsys.readouterr()
    assert "validation loss" in said.out
    assert "tune tiny-chat, 2 of 2" in said.err
    (folder,) = (tmp_path / "adapters").iterdir()
    assert sorted(p.name for p in folder.iterdir()) == ["part-0", "part-1"]
    assert main(["tune", str(path)]) == 0
    assert "validation loss" not in capsys.readouterr().out
    assert main(["run", str(path), "--out", "out"]) == 0
    assert "Reference, sampled" in capsys.readouterr().out
    (folder / "part-0/adapter_model.safetensors").write_bytes(b"nothing")
    assert main(["run", str(path), "--out", "again"]) == 2
    assert "damaged" in capsys.readouterr().err
    assert main(["tune", str(path), "--set", "reference={kind: marginal}"]) == 2
    assert "nothing to tune" in capsys.readouterr().err
