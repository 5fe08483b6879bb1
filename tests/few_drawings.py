"""Of runs of whose intervals and predictions nobody looks at the last digits: drawing what they are
made of is most of a small run's time.

A module that imports the fixture `few_drawings` has them in its process; one that it starts in the
environment `importing` calls `draw_few`.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from crowdllm_jax.population import expected, twins
from crowdllm_jax.score import answers, ceiling, correlations, diagnostics, metrics, persons
from crowdllm_jax.score.bootstrap import bootstrap

FEW = 8


def draw_few(patch: pytest.MonkeyPatch) -> None:
    for module in (answers, ceiling, diagnostics, metrics):
        patch.setattr(module, "bootstrap", _of_few)
    for module in (correlations, persons):
        patch.setattr(module, "TIMES", FEW)
    patch.setattr(expected, "PER_PROFILE", expected.FEWEST)
    patch.setattr(twins, "NODES", 128)


def _of_few(humans, measure, times=FEW):
    return bootstrap(humans, measure, FEW)


def importing() -> dict[str, str]:
    """An environment whose Python finds this module."""
    paths = (str(Path(__file__).parent), os.environ.get("PYTHONPATH"))
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


@pytest.fixture(autouse=True, scope="module")
def few_drawings() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        draw_few(patch)
        yield
