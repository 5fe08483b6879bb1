"""What is handed over from Python in place of what is wanted is told in one message."""

import numpy as np
import pandas as pd
import pytest

import crowdllm_jax as cl
from crowdllm_jax.population import sample as sampling

FRAME = pd.DataFrame({"id": range(60), "q1": [1, 2, 3, 4, 5] * 12, "q2": [1, 1, 2, 3, 3] * 12})
MODEL = {"kind": "persistent", "steps": 3}


@pytest.fixture(scope="module")
def fitted():
    study = cl.study(FRAME, id="id")
    config = cl.load_config({"split": {"by": "people", "test": 0.2}, "model": MODEL})
    crowd, _ = cl.fit(study, config)
    return crowd, study, config


@pytest.mark.parametrize("start", [-1, 1.5, "a", 2**62])
def test_no_agent_has_such_an_id(start, fitted):
    with pytest.raises(cl.CrowdError, match="start: "):
        cl.sample(fitted[0], 5, start=start)


def test_agents_that_no_memory_holds_are_refused_at_once(fitted, monkeypatch):
    crowd = fitted[0]
    with pytest.raises(cl.CrowdError, match="and this machine has less"):
        cl.sample(crowd, 2**50)
    each = cl.sample(crowd, 1).answers.nbytes + np.dtype(np.int64).itemsize
    monkeypatch.setattr(sampling, "memory", lambda: 100.0 * each)
    assert len(cl.sample(crowd, 100).ids) == 100
    with pytest.raises(cl.CrowdError, match="101 agents take"):
        cl.sample(crowd, 101)
