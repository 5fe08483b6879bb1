"""A crowd of published shares answers by them, by group, and new tasks by the reference."""

import dataclasses
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from mcp.server.mcpserver.exceptions import ToolError

import crowdllm_jax as cl
import crowdllm_jax.workflow.infer as workflow_infer
from crowdllm_jax.cli.main import main
from crowdllm_jax.cli.served import Tools
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.infer.infer import infer
from crowdllm_jax.infer.plan import Goal, plan_answers
from crowdllm_jax.model import fit
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.population.sample import sample
from crowdllm_jax.reference.record import from_levels
from crowdllm_jax.runs import prepare
from crowdllm_jax.runs.config import Config
from crowdllm_jax.runtime import progress
from crowdllm_jax.study.describe import describe
from crowdllm_jax.study.records import Attribute, Participants, Study, Tasks
from crowdllm_jax.study.scales import Ordinal
from crowdllm_jax.study.spec import ResponsesSpec, StudySpec
from crowdllm_jax.study.split import SplitConfig
from crowdllm_jax.workflow import twins

TASKS, LEVELS, NEW, APART = 30, 4, 10, 0.8
SETS = 80


def published() -> tuple[Study, np.ndarray]:
    """Shares (2, T, 4) of two groups that stand apart on all tasks alike, and their study."""
    random = np.random.default_rng(0)
    logit = random.normal(size=(TASKS, LEVELS)) * 0.7
    side = np.array([-0.5, 0.5])[:, None, None] * APART * np.linspace(-1, 1, LEVELS)
    share = np.exp(logit[None] + side)
    share /= share.sum(2, keepdims=True)
    group, task, level = (axis.ravel() for axis in np.indices(share.shape))
    people = Participants(
        tuple(f"row {i:04d}" for i in range(share.size)),
        (Attribute("group", "categorical", ("left", "right"), group.astype(np.int32)),),
        200 * share.ravel(),
    )
    ids = tuple(f"t{i:02d}" for i in range(TASKS))
    study = Study(
        "published",
        {"agree": Ordinal(levels=(1, 2, 3, 4))},
        Tasks(ids, ids, np.zeros(TASKS, np.int32), (), None),
        people,
        np.arange(share.size, dtype=np.int32),
        task.astype(np.int32),
        level.astype(float),
        toplines=True,
    )
    return study, share


@pytest.mark.filterwarnings("ignore:.*agents answer new tasks:crowdllm_jax.errors.CrowdWarning")
def test_agents_answer_as_published():
    """The last tasks are held out; a reference knows the shares of everybody together but for
    noise. 8,000 agents: a share of a group has a standard error of .008."""
    study, share = published()
    noise = np.random.default_rng(1).normal(size=(TASKS, LEVELS))
    told = share.mean(0) * np.exp(0.2 * noise)
    reference = from_levels(study, "column", told / told.sum(1, keepdims=True))
    model = PersistentConfig(latent=1, injected=0, nodes=16, steps=150)
    config = Config(study="unused", model=model, split=SplitConfig(by="tasks"))
    ready = prepare.prepare(study, config, 0)
    train = study.task < TASKS - NEW
    split = dataclasses.replace(ready.split, train=train, validation=train & ~train, test=~train)
    ready = dataclasses.replace(ready, split=split, reference=reference)
    crowd = fit.fit_model(ready, model, config.train, 0, None, progress.silent, "crowd")[0]
    drawn = sample(crowd, 8000, 0)
    (group,) = drawn.profile
    found = np.stack(
        [
            [(drawn.answers[group.cells == side] == k).mean(0) for k in range(LEVELS)]
            for side in range(2)
        ]
    ).transpose(0, 2, 1)
    assert np.bincount(group.cells).min() > 3000
    known = slice(0, TASKS - NEW)
    assert np.abs(found[:, known] - share[:, known]).mean() < 0.03
    of_levels = np.arange(LEVELS)
    apart = (found[1] - found[0]) @ of_levels
    assert np.abs(apart - (share[1] - share[0]) @ of_levels).mean() < 0.12
    assert apart.min() > 0.1
    pooled = share[:, known].mean((0, 1))
    error = np.abs(found - share)[:, TASKS - NEW :].mean()
    assert error < 0.6 * np.abs(pooled - share)[:, TASKS - NEW :].mean()


@pytest.mark.filterwarnings("ignore::crowdllm_jax.errors.CrowdWarning")
def test_questions_with_options_of_their_own_are_met():
    """80 sets of options of one to four questions, which have little in common beyond what a
    reference says of them; a fourth of the questions is held out. Those whose options a known
    question has are met better than by an even guess: of six drawn so, .65 to .85 of its error is
    left. If a scale takes its one known question for what is usual there, it is 1.08 to 1.18."""
    random = np.random.default_rng(0)
    scale = np.repeat(np.arange(SETS), random.integers(1, 5, SETS))
    logit = 0.1 * random.normal(size=(SETS, LEVELS))[scale]
    logit += 0.8 * random.normal(size=logit.shape)
    share = np.exp(logit) / np.exp(logit).sum(1, keepdims=True)
    told = np.exp(0.6 * logit + 0.5 * random.normal(size=logit.shape))
    task, level = (axis.ravel() for axis in np.indices(share.shape))
    ids = tuple(f"t{i:03d}" for i in range(len(scale)))
    study = Study(
        "many sets",
        {f"s{s:02d}": Ordinal(levels=tuple(f"{x}{s}" for x in "abcd")) for s in range(SETS)},
        Tasks(ids, ids, scale.astype(np.int32), (), None),
        Participants(tuple(f"row {i:04d}" for i in range(len(task))), (), 200 * share.ravel()),
        np.arange(len(task), dtype=np.int32),
        task.astype(np.int32),
        level.astype(float),
        toplines=True,
    )
    held = random.permutation(len(scale)) < len(scale) // 4
    model = PersistentConfig(latent=1, injected=0, nodes=16, steps=200)
    config = Config(study="unused", model=model, split=SplitConfig(by="tasks"))
    ready = prepare.prepare(study, config, 0)
    train = ~held[study.task]
    split = dataclasses.replace(ready.split, train=train, validation=train & ~train, test=~train)
    reference = from_levels(study, "column", told / told.sum(1, keepdims=True))
    ready = dataclasses.replace(ready, split=split, reference=reference)
    crowd = fit.fit_model(ready, model, config.train, 0, None, progress.silent, "crowd")[0]
    answers = sample(crowd, 4000, 0).answers.astype(int)
    found = np.stack([np.bincount(own, minlength=LEVELS) for own in answers.T]) / 4000
    with_mates = held & (np.bincount(scale[~held], minlength=SETS)[scale] > 0)
    off, evenly = (np.abs(own - share)[with_mates].sum() for own in (found, 1 / LEVELS))
    assert off < 0.9 * evenly


def test_shares_are_described_as_such():
    """Not as people, and answers as often as the questions' average share of them."""
    study, share = published()
    text = describe(study)
    assert f"shares        {share.size} published, of {TASKS} questions" in text
    assert "participants" not in text
    average = ", ".join(f"{k + 1}: {part:.0%}" for k, part in enumerate(share.mean((0, 1))))
    assert f"answers: {average}" in text


def test_there_are_no_twins_of_published_shares(tmp_path, monkeypatch):
    responses = ResponsesSpec(path="shares.csv", share="share")
    spec = StudySpec(responses=responses, scales=dict(published()[0].scales))
    monkeypatch.setattr(twins, "fitted_crowd", lambda folder: None)
    monkeypatch.setattr(twins, "stored_config", lambda folder: Config(study=spec))
    with pytest.raises(CrowdError, match="twins: the run was fitted to published shares"):
        twins.twin_run(tmp_path, tmp_path / "few.csv", tmp_path / "out")


def test_nothing_is_inferred_of_people_who_are_none():
    """From Python, whatever is given."""
    study, _ = published()
    held = study.task < 5
    refused = pytest.raises(CrowdError, match=r"published shares .* and tells of no persons")
    for twins_too in (False, True):
        with refused:
            infer((), study, held, twins=twins_too)
    with refused:
        plan_answers((), study, held, Goal(5))
    with refused:
        cl.make_twins(None, study)
    config = Config(study="unused", split=SplitConfig(by="tasks"))
    with refused:
        cl.plan((None, study, config), 5, people="nowhere.csv")


@pytest.mark.parametrize(
    "command",
    [
        ["infer", "run"],
        ["infer", "run", "--twins"],
        ["infer", "run", "--profiles", "nowhere.csv"],
        ["infer", "run", "--plan", "nowhere.csv"],
        ["plan", "run", "--budget", "5"],
        ["plan", "run", "--budget", "5", "--people", "nowhere.csv"],
    ],
)
def test_the_commands_refuse_a_run_without_people(monkeypatch, capsys, command):
    """Before they read a table of people or a plan."""
    as_a_run(monkeypatch)
    assert main([*command, "--quiet"]) == 2
    assert "tells of no persons" in capsys.readouterr().err


def test_the_served_tool_refuses_a_run_without_people(monkeypatch):
    as_a_run(monkeypatch)
    with pytest.raises(ToolError, match="tells of no persons"):
        Tools(Path("run"), None, {}).infer()


def as_a_run(monkeypatch) -> None:
    """Have every folder be a run that was fitted to published shares."""
    config = Config(study="unused", split=SplitConfig(by="tasks"))
    for name, found in (
        ("stored_config", config),
        ("load_study", published()[0]),
        ("open_run", nullcontext()),
        ("split_crowd", None),
    ):
        monkeypatch.setattr(workflow_infer, name, lambda *_, found=found, **__: found)
