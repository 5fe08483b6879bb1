"""Reference decisions: what a frozen model answers for each task, before any person is considered.

`make_reference` is the one entry. Each kind has a file of its own: `backbone` runs a language model
here and `endpoint` asks one over the network, `column` takes answers that some model gave
elsewhere, `pooled` weighs several of these by what people answered, `fitted` and `marginal` are
offline stand-ins for an LLM and are called so.

The kinds that ask a language model can also ask it as many different people (`personas`), which is
the crowd without a belief generator that CrowdLLM is compared with.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

import numpy as np

from crowdllm_jax.backbone.answers import Scored
from crowdllm_jax.backbone.questions import Question
from crowdllm_jax.backbone.tune.config import TuneConfig
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.reference.backbone import (
    BackboneReference,
    ask_backbone,
    ask_share,
    plan_backbone,
    show_backbone,
)
from crowdllm_jax.reference.column import ColumnReference, from_column
from crowdllm_jax.reference.endpoint import (
    EndpointReference,
    ask_endpoint,
    plan_endpoint,
    show_endpoint,
)
from crowdllm_jax.reference.fitted import (
    FittedReference,
    answer_features,
    extend_reference,
    fit_reference,
)
from crowdllm_jax.reference.marginal import MarginalReference, crowd_average
from crowdllm_jax.reference.pooled import PooledReference, pool_references
from crowdllm_jax.reference.record import Reference
from crowdllm_jax.reference.tuned import ask_tuned
from crowdllm_jax.runtime import processes
from crowdllm_jax.runtime.progress import Progress
from crowdllm_jax.study.coding import feature_blocks, to_peak
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.split import Split

AskedReference = BackboneReference | EndpointReference
"""Kinds that ask a language model, and so depend on the tasks alone."""

ReferenceConfig = (
    ColumnReference | FittedReference | MarginalReference | PooledReference | AskedReference
)

__all__ = [
    "AskedReference",
    "Reference",
    "ReferenceConfig",
    "ask_reference",
    "ask_together",
    "make_reference",
    "plan_reference",
    "show_reference",
    "tables_fingerprint",
]


def make_reference(
    study: Study,
    split: Split,
    config: ReferenceConfig | tuple[ReferenceConfig, ...],
    folder: str,
    progress: Progress,
    kept: Reference | None = None,
) -> Reference:
    """Get a reference decision for every task of a study; of several, the first has the others.

    Args:
      folder: what the path of a table in `config` is relative to.
      kept: a fitted reference of the study without the tasks that were joined to it.
    Raises:
      CrowdError: a list of references is empty.
    """
    if isinstance(config, tuple):
        if not config:
            raise CrowdError("reference: the list is empty; give at least one, or kind: marginal")
        first, *others = (make_reference(study, split, c, folder, progress) for c in config)
        return replace(first, others=tuple(others))
    match config:
        case ColumnReference():
            return from_column(study, config, folder)
        case FittedReference():
            sources = _sources(study, config, folder)
            if kept is not None and kept.heads and len(sources) == 1:
                return extend_reference(study, split, kept, sources)
            return fit_reference(study, split, config, sources)
        case MarginalReference():
            return crowd_average(study, split)
        case PooledReference():
            models = [make_reference(study, split, c, folder, progress) for c in config.of]
            return pool_references(study, split, config, models)
        case BackboneReference(tune=TuneConfig() as tune):
            return ask_tuned(study, split, config, tune, progress)
        case BackboneReference() | EndpointReference():
            return ask_reference(study, config, (), progress)[0]
        case _:
            assert_never(config)


def tables_fingerprint(
    study: Study, references: Sequence[ReferenceConfig], folder: str
) -> str | None:
    """sha256 of what is read of tables, which may change between two parts of a run; None where no
    reference stands in one."""
    tables = [one.answers if isinstance(one, FittedReference) else one for one in references]
    read = [from_column(study, t, folder) for t in tables if isinstance(t, ColumnReference)]
    if not read:
        return None
    told = hashlib.sha256()
    for one in read:
        for part in (one.mean, one.probs, one.mass, one.embedding, one.order):
            told.update(b"none" if part is None else f"{part.shape}".encode() + part.tobytes())
    return told.hexdigest()


def _sources(study: Study, config: FittedReference, folder: str) -> dict[str, np.ndarray]:
    """What a fitted reference is fitted to: (T, F) by source."""
    sources = feature_blocks(study.tasks)
    if config.answers is not None:
        answers = from_column(study, config.answers, folder)
        sources["answers"] = answer_features(study, answers)
        if answers.embedding is not None:
            known = study.tasks.measured
            centred = answers.embedding - answers.embedding[known].mean(0)
            sources["answers' embedding"] = to_peak(centred, known)
    return sources


def ask_reference(
    study: Study, config: AskedReference, personas: Sequence[Question], progress: Progress
) -> tuple[Reference, Scored]:
    """Ask a language model what its cache does not hold yet: about every task, and `personas`."""
    if isinstance(config, BackboneReference):
        return ask_backbone(study, config, personas, progress)
    return ask_endpoint(study, config, personas, progress)


def ask_together(
    study: Study, config: AskedReference, personas: Sequence[Question], progress: Progress
) -> tuple[Reference, Scored]:
    """`ask_reference` by all processes, which share the cache: each runs a model on a part of the
    questions; a server is asked by the first alone, within one budget."""
    if processes.size() > 1:
        answered = None
        if isinstance(config, BackboneReference):
            ask_share(study, config, personas, progress)
        elif processes.rank() == 0:
            answered = ask_endpoint(study, config, personas, progress)
        processes.meet("the language model's answers")
        if answered is not None:
            return answered
    return ask_reference(study, config, personas, progress)


def show_reference(
    study: Study, config: AskedReference, personas: Sequence[Question], count: int
) -> str:
    """The prompts of the first tasks, and the first of `personas`."""
    if isinstance(config, BackboneReference):
        return show_backbone(study, config, personas, count)
    return show_endpoint(study, config, personas, count)


def plan_reference(study: Study, config: AskedReference, personas: Sequence[Question]) -> str:
    """How much there is to ask, and what it may cost."""
    if isinstance(config, BackboneReference):
        return plan_backbone(study, config, personas)
    return plan_endpoint(study, config, personas)
