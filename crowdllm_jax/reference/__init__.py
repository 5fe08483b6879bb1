"""Reference decisions: what a frozen model answers for each task, before any person is considered.

`make_reference` is the one entry. Each kind has a file of its own: `column` takes answers that some
model gave elsewhere, `fitted` and `marginal` are offline stand-ins for an LLM and are called so.
"""

from typing import assert_never

import numpy as np

from crowdllm_jax.reference.column import ColumnReference, from_column
from crowdllm_jax.reference.fitted import FittedReference, fit_reference
from crowdllm_jax.reference.marginal import MarginalReference, crowd_average
from crowdllm_jax.reference.record import Reference
from crowdllm_jax.split import Split
from crowdllm_jax.study import Study

ReferenceConfig = ColumnReference | FittedReference | MarginalReference

__all__ = ["Reference", "ReferenceConfig", "make_reference"]


def make_reference(
    study: Study, split: Split, config: ReferenceConfig, folder: str, x: np.ndarray
) -> Reference:
    """Get a reference decision for every task of a study.

    Args:
      folder: what paths in `config` are relative to.
      x: (T, F) task features.
    """
    match config:
        case ColumnReference():
            return from_column(study, config, folder)
        case FittedReference():
            return fit_reference(study, split, config, x)
        case MarginalReference():
            return crowd_average(study, split)
        case _:
            assert_never(config)
