"""Digital populations from a few human answers: CrowdLLM (arXiv 2512.07890) in JAX/Flax."""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from crowdllm_jax.aggregate.decide import decide as decide
    from crowdllm_jax.config import load_config as load_config
    from crowdllm_jax.config import load_study as load_study
    from crowdllm_jax.counts import count as count
    from crowdllm_jax.effects import profile_effects as profile_effects
    from crowdllm_jax.errors import CrowdError as CrowdError
    from crowdllm_jax.fitting import evaluate as evaluate
    from crowdllm_jax.fitting import fit as fit
    from crowdllm_jax.output import write_population as write_population
    from crowdllm_jax.pipeline import run as run
    from crowdllm_jax.population import sample as sample
    from crowdllm_jax.twins import make_twins as make_twins

_PUBLIC = {
    "CrowdError": "errors",
    "count": "counts",
    "decide": "aggregate.decide",
    "evaluate": "fitting",
    "fit": "fitting",
    "load_config": "config",
    "load_study": "config",
    "make_twins": "twins",
    "profile_effects": "effects",
    "run": "pipeline",
    "sample": "population",
    "write_population": "output",
}

__all__ = [*sorted(_PUBLIC), "__version__"]


def __getattr__(name: str) -> object:
    # Loaded on first use, so that `crowdllm --help` and `import crowdllm_jax` do not wait for JAX.
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
