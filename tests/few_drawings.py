"""Of runs whose intervals nobody looks at: drawing them is most of a small run's time.

A module that imports the fixture `few_drawings` has them in its processes; one that is started by a
test calls `draw_few`.
"""

from collections.abc import Iterator

import pytest

from crowdllm_jax.score import answers, ceiling, correlations, diagnostics, metrics, persons
from crowdllm_jax.score.bootstrap import bootstrap

FEW = 8


def draw_few(patch: pytest.MonkeyPatch) -> None:
    for module in (answers, ceiling, diagnostics, metrics):
        patch.setattr(module, "bootstrap", _of_few)
    for module in (correlations, persons):
        patch.setattr(module, "TIMES", FEW)


def _of_few(humans, measure, times=FEW):
    return bootstrap(humans, measure, FEW)


@pytest.fixture(autouse=True, scope="module")
def few_drawings() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        draw_few(patch)
        yield
