"""The references that a run was begun with, and whether what gives them is still the same.

What is still to be fitted, scored or asked would otherwise be of others, beside what was fitted.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from crowdllm_jax.backbone.hub import fingerprint, locate
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.reference.backbone import BackboneReference
from crowdllm_jax.reference.endpoint import EndpointReference
from crowdllm_jax.reference.make import AskedReference, ask_reference, tables_fingerprint
from crowdllm_jax.runs.config import Config
from crowdllm_jax.runtime.progress import silent
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.spec import StudySpec

_TABLES, _MODELS = "reference_sha256", "reference_models"


def noted_references(study: Study, config: Config) -> dict[str, str]:
    """What run.json keeps of a run's references: of those in tables a hash, of language models what
    tells each from another of its name; nothing of those that follow from the data."""
    tables, models = _tables(study, config), _models(study, config)
    return {
        **({} if tables is None else {_TABLES: tables}),
        **({_MODELS: "; ".join(told for _, told in models)} if models else {}),
    }


def check_references(folder: Path, facts: Mapping[str, str], study: Study, config: Config) -> None:
    """Make sure that the references a run was begun with have not changed; an earlier version's
    run, of which `facts` hold nothing, goes on as it did.

    Raises:
      CrowdError: names what has changed.
    """
    elsewhere = "or run into another folder (crowdllm run CONFIG --out FOLDER)"
    if _TABLES in facts and facts[_TABLES] != _tables(study, config):
        raise CrowdError(
            f"{folder}: was begun with other references (a table that `reference` names has "
            f"changed since); put it back, {elsewhere}"
        )
    if _MODELS not in facts:
        return
    for one, told in _models(study, config):
        if told not in facts[_MODELS]:
            what = "its files or its commit have"
            if isinstance(one, EndpointReference):
                what = f"the answers in {one.cache} have"
            raise CrowdError(
                f"{folder}: was begun with other answers of {one.model} ({what} changed since); "
                f"put them back, {elsewhere}"
            )


def _tables(study: Study, config: Config) -> str | None:
    folder = config.study.folder if isinstance(config.study, StudySpec) else "."
    return tables_fingerprint(study, config.every_reference, folder)


def _models(study: Study, config: Config) -> list[tuple[AskedReference, str]]:
    asked = [one for one in config.every_reference if isinstance(one, AskedReference)]
    return [(one, f"{one.model} {_identity(study, one)}") for one in asked]


def _identity(study: Study, config: AskedReference) -> str:
    """What decides a language model's answers besides the configuration and the study: the commit
    or the files of one that runs here, and of a server's, of which nobody knows that, the answers
    themselves, which its cache keeps."""
    if isinstance(config, BackboneReference):
        place, commit = locate(config.model, config.revision, weights=False)
        return commit or fingerprint(place)
    said = ask_reference(study, config, (), silent)[0]
    told = hashlib.sha256(said.mean.tobytes())
    if said.probs is not None:
        told.update(said.probs.tobytes())
    return told.hexdigest()
