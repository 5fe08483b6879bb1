"""The rivals of the benchmarks answer as our samplers do, so that speeds can be compared."""

import numpy as np
import population as benchmark
import pytest
import torch
import torch_path
from crowds import make_crowd

from crowdllm_jax.model.cvae.config import CvaeConfig

TASKS = 6


@pytest.fixture(scope="module")
def crowd():
    return make_crowd(CvaeConfig(hidden=16, latent=4), tasks=TASKS, features=8, profiles=12)


@pytest.mark.parametrize("way", ["published", "batched", "split"])
def test_torch_answers_as_ours(crowd, way):
    """By the benchmark's own tests, at its own level (1e-4 over all cells)."""
    torch.manual_seed(0)
    agents = 300 if way == "published" else 2000
    sampler = getattr(torch_path, way)(crowd)
    benchmark.check_equal(crowd, sampler, way, agents)


def test_another_answer_is_noticed(crowd):
    sampler = torch_path.split(crowd)

    def unlike(row: torch.Tensor) -> torch.Tensor:
        answers = sampler(row).clone()
        answers[:, TASKS - 1] = 4 - answers[:, TASKS - 1]
        return answers

    torch.manual_seed(0)
    with pytest.raises(SystemExit, match=f"task {TASKS - 1} is answered unlike ours"):
        benchmark.check_equal(crowd, unlike, "turned", 2000)


def test_what_is_timed_draws_every_decision(crowd):
    """Everyone asked for, in whole blocks where answers stay on the device."""
    for way in (benchmark.ours, benchmark.from_nothing):
        assert way(crowd, 10_000)() == 10_000 * TASKS
    for way in (benchmark.on_device, benchmark.counted):
        assert way(crowd, 10_000)() == 2 * benchmark.BLOCK * TASKS
    row = np.array([0, 3, 3])
    assert torch_path.split(crowd)(torch.from_numpy(row)).shape == (3, TASKS)
