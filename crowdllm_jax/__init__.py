"""Digital populations from a few human answers: CrowdLLM (arXiv 2512.07890) in JAX/Flax."""

import importlib
from typing import TYPE_CHECKING

from crowdllm_jax.runtime.version import __version__ as __version__

if TYPE_CHECKING:
    from crowdllm_jax.aggregate.decide import decide as decide
    from crowdllm_jax.errors import CrowdError as CrowdError
    from crowdllm_jax.errors import CrowdWarning as CrowdWarning
    from crowdllm_jax.model.crowd_file import load_crowd as load_crowd
    from crowdllm_jax.model.crowd_file import save_crowd as save_crowd
    from crowdllm_jax.population.count import count as count
    from crowdllm_jax.population.export import export_population as export_population
    from crowdllm_jax.population.sample import sample as sample
    from crowdllm_jax.population.twins import make_twins as make_twins
    from crowdllm_jax.population.write import write_population as write_population
    from crowdllm_jax.report.axes import plot_means as plot_means
    from crowdllm_jax.report.axes import plot_shares as plot_shares
    from crowdllm_jax.runs.config import load_config as load_config
    from crowdllm_jax.runs.config import load_study as load_study
    from crowdllm_jax.runs.evaluate import evaluate as evaluate
    from crowdllm_jax.runs.prepare import fit as fit
    from crowdllm_jax.runs.unseen import held_out_study as held_out_study
    from crowdllm_jax.runtime.notebook import progress_bar as progress_bar
    from crowdllm_jax.score.effects import profile_effects as profile_effects
    from crowdllm_jax.score.part_worths import part_worths as part_worths
    from crowdllm_jax.workflow.ask import ask as ask
    from crowdllm_jax.workflow.ask_axes import plot_asked as plot_asked
    from crowdllm_jax.workflow.asking import Asking as Asking
    from crowdllm_jax.workflow.plan import plan as plan
    from crowdllm_jax.workflow.steps import run as run

_PUBLIC = {
    "Asking": "workflow.asking",
    "CrowdError": "errors",
    "CrowdWarning": "errors",
    "ask": "workflow.ask",
    "count": "population.count",
    "decide": "aggregate.decide",
    "evaluate": "runs.evaluate",
    "export_population": "population.export",
    "fit": "runs.prepare",
    "held_out_study": "runs.unseen",
    "load_config": "runs.config",
    "load_crowd": "model.crowd_file",
    "load_study": "runs.config",
    "make_twins": "population.twins",
    "part_worths": "score.part_worths",
    "plan": "workflow.plan",
    "plot_asked": "workflow.ask_axes",
    "plot_means": "report.axes",
    "plot_shares": "report.axes",
    "profile_effects": "score.effects",
    "progress_bar": "runtime.notebook",
    "run": "workflow.steps",
    "sample": "population.sample",
    "save_crowd": "model.crowd_file",
    "write_population": "population.write",
}

# `study` is a package that can be called: `crowdllm_jax.study(frame)`.
__all__ = [*sorted(_PUBLIC), "__version__", "study"]


def __getattr__(name: str) -> object:
    # Loaded on first use, so that `crowdllm --help` and `import crowdllm_jax` do not wait for JAX.
    if name == "study":
        return importlib.import_module(f"{__name__}.study")
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
