"""Questions asked of a fitted crowd: the same agents, exactly as its held-out tasks, and told apart."""

import dataclasses
import json
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.special import expit
from synthetic import make_study

import crowdllm_jax as cl
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.persistent.asked import stretched
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.population.sample import sample_blocks
from crowdllm_jax.reference.fitted import FittedReference
from crowdllm_jax.runs.asked import Sources, place
from crowdllm_jax.runs.config import Config
from crowdllm_jax.runs.trust import Held, trust_of
from crowdllm_jax.study.questions import questions_on
from crowdllm_jax.study.records import Block, Study
from crowdllm_jax.study.scales import Binary, Continuous, Nominal, Ordinal
from crowdllm_jax.study.split import SplitConfig, split_study
from crowdllm_jax.workflow.ask import Asking, ask

QUICK = PersistentConfig(latent=2, injected=0, nodes=16, steps=150, learning_rate=0.08)
SCALES = {
    "rating": Ordinal(levels=(1, 2, 3, 4, 5)),
    "agree": Binary(levels=("no", "yes")),
    "party": Nominal(levels=("a", "b", "c")),
    "price": Continuous(low=-10.0, high=30.0),
}
EACH, PEOPLE, AGENTS = 16, 60, 20_000


def make_answers(study: Study) -> Study:
    """Answers that follow the tasks' embedding and the people."""
    random = np.random.default_rng(3)
    t, n = len(study.tasks.ids), len(study.participants.ids)
    assert study.tasks.embedding is not None
    where = study.tasks.embedding @ np.array([1.0, -0.7, 0.4, 0.0])
    place = where + 0.7 * random.normal(size=n)[:, None] + random.logistic(size=(n, t))
    answer = np.empty((n, t))
    for index, name in enumerate(SCALES):
        on = study.tasks.scale == index
        answer[:, on] = {
            "rating": np.searchsorted([-2, -0.7, 0.5, 1.8], place[:, on]),
            "agree": place[:, on] > 0,
            "party": random.integers(0, 3, place[:, on].shape),
            "price": np.clip(10 + 6 * place[:, on], -10, 30),
        }[name]
    return dataclasses.replace(study, answer=answer.ravel())


@pytest.fixture(scope="module")
def run():
    """(crowd, study, configuration) of a run that holds tasks out."""
    study = make_study(SCALES, tasks=EACH, people=PEOPLE, embedding=4)
    study = make_answers(study)
    block = (Block("embedding", 0, 0, 4),)
    tasks = dataclasses.replace(study.tasks, blocks=block)
    study = dataclasses.replace(study, tasks=tasks)
    config = Config(
        study="unused",
        model=QUICK,
        split=SplitConfig(by="tasks", test=0.2, validation=0.0),
        reference=FittedReference(folds=3),
    )
    return cl.fit(study, config, 0)[0], study, config


def twins_of(study: Study, rows: np.ndarray) -> tuple:
    """Questions that are some tasks of a study under other names, and their vectors."""
    names = list(study.scales)
    ids = [f"new {study.tasks.ids[row]}" for row in rows]
    asked = questions_on(
        ids, ids, [names[study.tasks.scale[row]] for row in rows], study.scales, names
    )
    return asked, study.tasks.embedding[rows]


@pytest.fixture(scope="module")
def placed(run):
    """The crowd that was asked its own held-out tasks again, these, and the questions."""
    crowd, study, config = run
    split = split_study(study, config.split, 0)
    held = split.tasks(study, split.test)
    asked, vectors = twins_of(study, held)
    with pytest.MonkeyPatch.context() as patch:
        told = (vectors, ["vector"] * len(held))
        patch.setattr("crowdllm_jax.runs.asked._vectors", lambda *_: told)
        found = place(crowd, study, split, config, asked, Sources(), lambda *_: None)
    return found, held, asked


def test_asked_tasks_are_what_held_out_tasks_are(run, placed):
    """A question that is a held-out task in all but its name gets its every number."""
    crowd, study, _ = run
    found, held, _ = placed
    new = np.arange(len(study.tasks.ids), len(found.study.tasks.ids))
    before, after = crowd.inputs.tasks, found.crowd.inputs.tasks
    for name in before._fields:
        np.testing.assert_allclose(
            getattr(after, name)[new], getattr(before, name)[held], atol=2e-4, err_msg=name
        )
        np.testing.assert_allclose(
            getattr(after, name)[: len(study.tasks.ids)], getattr(before, name), atol=2e-4
        )
