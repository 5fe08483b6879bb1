"""The studies of `language_model.py`, and what a language model says of their tasks.

What takes long is kept in a folder and made once: the model's answers, its states after a few
layers and, where a data set comes without one, the sentence encoder's embedding.
"""

import json
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from crowdllm_jax.reference.backbone import BackboneReference
from crowdllm_jax.reference.column import ColumnReference
from crowdllm_jax.reference.fitted import FittedReference
from crowdllm_jax.reference.make import ask_reference
from crowdllm_jax.reference.marginal import MarginalReference
from crowdllm_jax.reference.questions import PromptConfig, write_reference
from crowdllm_jax.reference.task_embeddings import embed_study
from crowdllm_jax.runs.config import Config, load_config, load_study
from crowdllm_jax.runtime.progress import Progress
from crowdllm_jax.study.spec import EmbeddingSpec

MINILM, LAYER, ANSWERS = "MiniLM", "LLM layer", "LLM answers"


class Asked(NamedTuple):
    """A data set, and how a language model is asked about it.

    Attributes:
      config: of the study with the sentence encoder's embedding, as a `fitted` reference reads it.
      before: what stands in front of a text whose states are taken.
      prompt: how the model is asked to answer.
    """

    config: Config
    before: str
    prompt: PromptConfig


def offensiveness(folder: Path) -> Asked:
    """1,200 texts; FOLDER as in configs/offensiveness.yaml."""
    path = Path(__file__).parents[2] / "configs" / "offensiveness.yaml"
    question = "How offensive is this comment, from 1 (not at all) to 5 (very)?"
    return Asked(load_config(path, data=str(folder)), question, _prompt(f"{question}\n\n{{task}}"))


def twin2k(folder: Path, keep: Path) -> Asked:
    """1,600 people's answers to those ordinal questions of Twin-2K-500 (Toubia et al. 2025) of
    which there are enough on one scale to fit a reference to: moods in four degrees, each with
    words of its own, and yes or no (mostly: would one buy a product?). Their tables are written to
    `keep`."""
    tasks = pd.read_csv(folder / "tasks.csv")
    tasks["options"] = tasks["options"].map(json.loads)
    first = tasks["options"].str["1"]
    mood = tasks["text"].eq("Which of these statements describes you best?")
    yes = first.str.match("Yes|True|I would accept") & (tasks["options"].map(len) == 2)
    tasks["scale"] = np.where(mood, "mood", "yes")
    tasks.loc[mood, "text"] += tasks.loc[mood, "options"].map(
        lambda told: "".join(f"\n{code}: {label}" for code, label in told.items())
    )
    tasks = tasks[mood | yes]
    answers = pd.read_parquet(folder / "responses.parquet")
    answers = answers.merge(tasks[["task", "scale"]], on="task")
    # "Yes" is the first of the options and the upper of the levels.
    answers["response"] = answers["response"].astype(str)
    agreed = answers["response"].map({"1": "Yes", "2": "No"})
    answers["response"] = answers["response"].where(answers["scale"] == "mood", agreed)
    answers[["participant", "task", "response"]].to_csv(keep / "responses.csv", index=False)
    tasks[["task", "text", "scale"]].to_csv(keep / "tasks.csv", index=False)
    people = pd.read_csv(folder / "participants.csv")
    people.to_csv(keep / "participants.csv", index=False)
    profile = {name: "categorical" for name in people if name not in ("participant", "weight")}
    spec = {
        "name": "twin2k",
        "folder": str(keep),
        "responses": {"path": "responses.csv"},
        "tasks": {"path": "tasks.csv", "text": "text", "scale": "scale"},
        "participants": {"path": "participants.csv", "profile": profile, "weight": "weight"},
        "scales": {
            "mood": {"kind": "ordinal", "levels": [1, 2, 3, 4]},
            "yes": {"kind": "binary", "levels": ["No", "Yes"]},
        },
    }
    split = {"by": "tasks", "test": 0.2, "validation": 0.1}
    tree = {"study": spec, "split": split, "reference": {"kind": "fitted", "folds": 3}}
    return Asked(load_config(tree), "", _prompt("{task}"))


def with_encoder(asked: Asked, encoder: str, keep: Path, tell: Progress) -> Asked:
    """The data set with the embedding of a sentence encoder."""
    file = (keep / "encoder.parquet").absolute()
    if not file.exists():
        embed_study(load_study(asked.config, embedding=False), encoder, file, progress=tell)
    embedding = (EmbeddingSpec(path=str(file), name=MINILM),)
    return asked._replace(config=_with(asked.config, embedding, asked.config.reference))


def _prompt(task: str) -> PromptConfig:
    options = "Answer with exactly one of these options and nothing else:\n{options}"
    return PromptConfig(user=f"{task}\n\n{options}", option="{option}")


def sources(asked: Asked, model: str, keep: Path, tell: Progress) -> dict[str, Config]:
    """A configuration for each source of a reference; what is not kept yet is asked."""
    config = asked.config
    study = load_study(config, embedding=False)
    layers, answers = ((keep / f"{name}.parquet").absolute() for name in ("layers", "answers"))
    if not layers.exists():
        embed_study(study, model, layers, layers="auto", before=asked.before, progress=tell)
    ask = BackboneReference(model=model, prompt=asked.prompt, cache=str(keep / "answers.sqlite"))
    if not answers.exists():
        write_reference(study, ask_reference(study, ask, (), tell)[0], ask, answers)
    columns = tuple(name for name in pq.read_schema(layers).names if name != "task")
    layer = EmbeddingSpec(path=str(layers), column=columns, name=LAYER)
    own = config.study.tasks.embedding
    encoder = () if own is None else own if isinstance(own, tuple) else (own,)
    fitted = config.reference
    assert isinstance(fitted, FittedReference)
    column = ColumnReference(path=str(answers), probs="probs")
    found = {
        "marginal": _with(config, (), MarginalReference()),
        MINILM: _with(config, encoder, fitted),
        ANSWERS: _with(config, (), column),
        LAYER: _with(config, (layer,), fitted),
        f"{MINILM} + layer": _with(config, (*encoder, layer), fitted),
        "all stacked": _with(
            config, (*encoder, layer), msgspec.structs.replace(fitted, answers=column)
        ),
    }
    return found if encoder else {n: c for n, c in found.items() if MINILM not in n}


def tuned(asked: Asked, model: str, keep: Path) -> Config:
    """Cross-fitted adapters on the model's first third; see docs/tune.md."""
    told = {
        "kind": "backbone",
        "model": model,
        "cache": str(keep / "answers.sqlite"),
        "tune": {"exit": 10, "adapters": str(keep / "adapters")},
    }
    reference = msgspec.convert(told, BackboneReference)
    reference = msgspec.structs.replace(reference, prompt=asked.prompt)
    return _with(asked.config, (), reference)


def _with(config: Config, embedding: tuple[EmbeddingSpec, ...], reference: object) -> Config:
    tasks = msgspec.structs.replace(config.study.tasks, embedding=embedding or None)
    study = msgspec.structs.replace(config.study, tasks=tasks)
    return msgspec.structs.replace(config, study=study, reference=reference)
