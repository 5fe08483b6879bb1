"""Fixtures that several files share."""

import dataclasses
import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

# Before JAX starts: the suite runs on the CPU wherever it is, and as most of its time goes into
# compiling small programs, LLVM is not asked to make them fast. There are two devices, so that
# code that takes for granted that there is one fails here.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Tests run side by side, a core each: threads of linear algebra would only wait for one another.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
os.environ["XLA_FLAGS"] += " --xla_force_host_platform_device_count=2"
if version("jaxlib").startswith("0.10."):
    # The older emitters compile in a third of the time. Other versions may not know the flag, and
    # end at one that they do not know.
    os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"
# Arrays of different ranks meet by explicit axes only: (N,) beside (N, T) is mostly a mistake.
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")
# Commands that tests start import the package that is tested, not the folder they are started in.
os.environ.setdefault("PYTHONSAFEPATH", "1")
# What one test process has compiled (pytest's own, and commands that tests start) the others load.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", f"{tempfile.gettempdir()}/crowdllm-tests-{os.getpid()}"
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import jax
import numpy as np
import pytest
from hypothesis import settings
from synthetic import EVERY_SCALE, make_study, write_config

from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.cvae.fit import TrainConfig
from crowdllm_jax.runs.config import Config
from crowdllm_jax.runs.prepare import fit
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.split import SplitConfig

# The same examples in every run, and no deadline: the first example may compile a program.
settings.register_profile("suite", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("suite")


def pytest_unconfigure() -> None:
    cache = Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
    if cache.name == f"crowdllm-tests-{os.getpid()}":
        shutil.rmtree(cache, ignore_errors=True)


@pytest.fixture(autouse=True, scope="module")
def forget_programs() -> Iterator[None]:
    """A process that keeps the thousands of programs it has compiled grows to many gigabytes, and
    code that lies so far apart crashes. What is needed again is loaded from the disk."""
    yield
    statm = Path("/proc/self/statm")
    if statm.exists() and int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") > 2 << 30:
        jax.clear_caches()
        gc.collect()


TINY = Config(
    study="anes96",
    split=SplitConfig(by="people", test=0.25, validation=0.2),
    model=CvaeConfig(hidden=8, latent=2),
    train=TrainConfig(epochs=2, batch_size=64),
)


@pytest.fixture
def tiny() -> Config:
    """A configuration that trains in a moment (its study is not read)."""
    return TINY


@pytest.fixture(scope="session")
def mixed_study() -> Study:
    """Four tasks on each kind of scale that the published model answers."""
    return make_study(EVERY_SCALE)


@pytest.fixture(scope="session")
def mixed_crowd(mixed_study: Study) -> Crowd:
    """A crowd on every kind of scale, with weights large enough that profiles matter."""
    crowd, _ = fit(mixed_study, TINY)
    return dataclasses.replace(crowd, params=_louder(crowd.params))


@pytest.fixture(scope="session")
def alone_crowd() -> Crowd:
    """A crowd on every scale whose tasks are answered one at a time."""
    alone = ("rating", "frequency", "agree", "price", "approve")
    crowd, _ = fit(make_study({name: EVERY_SCALE[name] for name in alone}, tasks=2), TINY)
    return dataclasses.replace(crowd, params=_louder(crowd.params))


@pytest.fixture(scope="session")
def rating_crowd() -> Crowd:
    """A crowd on one scale of ratings."""
    crowd, _ = fit(make_study(), TINY)
    return dataclasses.replace(crowd, params=_louder(crowd.params))


def _louder(params):
    import jax

    return jax.tree.map(lambda leaf: np.asarray(leaf) * 1.5 + 0.05, params)


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """The configuration of a small study, with its table, in a folder of its own."""
    return write_config(tmp_path / "input")
