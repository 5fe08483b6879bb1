"""Embeddings of a study's texts, as the table that `study.tasks.embedding` reads.

A sentence encoder gives its own; a decoder gives its mean hidden state over a text's own tokens,
after a layer about a third of the way up, or after several, from which each split of a run chooses.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa

from crowdllm_jax.backbone import sentence_encoder, weights
from crowdllm_jax.backbone.task_states import task_states
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.files import about, vectors, write_parquet
from crowdllm_jax.runtime.progress import Progress, silent
from crowdllm_jax.runtime.version import __version__
from crowdllm_jax.study.records import Study

Layers = tuple[int, ...] | Literal["auto"] | None
"""After how many layers; "auto": the candidates of `AUTO`; None: after a third of them."""


class Embedder(NamedTuple):
    """A model that turns texts into vectors, and how: a Hugging Face folder or hub id."""

    model: str
    revision: str | None = None
    layers: Layers = None
    before: str = ""


AUTO = (1 / 4, 1 / 3, 1 / 2)
"""Shares of the depth that are tried."""


def embed_study(
    study: Study,
    model: str,
    path: Path,
    *,
    layers: Layers = None,
    before: str = "",
    revision: str | None = None,
    batch: int = 32,
    progress: Progress = silent,
) -> dict[str, int]:
    """Embed the text of every task and write them, one row per task.

    Args:
      model: a sentence encoder of the BERT family or a decoder: a Hugging Face folder or hub id.
      before: stands in front of every text that a decoder reads, such as what is asked about it.
      path: the Parquet file; its columns are task and embedding (a list of float32), or layer_1
        and so on in place of the latter where there are several layers.
    Returns:
      By column, the numbers in one embedding.
    Raises:
      CrowdError: the tasks have no texts, the model cannot be used, or the file not be written.
    """
    if study.tasks.text == study.tasks.ids and not any(" " in name for name in study.tasks.ids):
        raise CrowdError("the tasks have no texts to embed; name their column: study.tasks.text")

    embedder = Embedder(model, revision, layers, before)
    columns, embedder = embed_texts(embedder, study.tasks.text, batch=batch, progress=progress)
    _write(study, columns, path, embedder)
    return {name: rows.shape[1] for name, rows in columns.items()}


def embed_texts(
    embedder: Embedder,
    texts: Sequence[str],
    *,
    batch: int = 32,
    progress: Progress = silent,
    centre: np.ndarray | None = None,
) -> tuple[dict[str, np.ndarray], Embedder]:
    """Vectors (N, F) of some texts, by column, and the embedder with the layers it took.

    Args:
      centre: what a decoder's states are taken from: (layers, 1, F); None takes their own average.
    Raises:
      CrowdError: the model cannot be used.
    """

    def report(done: int, total: int) -> None:
        progress("embedding texts", done, total)

    # The model is read first, which may take longer.
    report(0, len(texts))
    model, revision, layers, before = embedder
    if sentence_encoder.is_encoder(model, revision=revision):
        if layers is not None or before:
            key = "--before" if before else "--layer"
            raise CrowdError(f"{key} is for decoders; {model} is a sentence encoder")
        encoder = sentence_encoder.load_encoder(model, revision=revision)
        rows = sentence_encoder.embed(encoder, texts, batch=batch, progress=report)
        return {"embedding": rows}, embedder
    # Where a processor has no bfloat16 of its own, it is no faster.
    decoder = weights.load(model, revision=revision)
    chosen = layers_of(decoder.architecture.layers, layers)
    states = task_states(decoder, texts, chosen, before=before, batch=batch, progress=report)
    # States share a large common part, beside which tasks hardly differ.
    states = states - (states.mean(1, keepdims=True) if centre is None else centre)
    names = [f"layer_{n}" for n in chosen] if len(chosen) > 1 else ["embedding"]
    return dict(zip(names, states, strict=True)), embedder._replace(layers=chosen)


def embedder_of(path: Path) -> Embedder | None:
    """What a table of embeddings says it was made with; None where it does not say."""
    told = about(path)
    try:
        layers = None if told["layers"] is None else tuple(told["layers"])
        return Embedder(told["model"], told["revision"], layers, told["before"])
    except (KeyError, TypeError):
        return None


def layers_of(depth: int, wanted: Layers) -> tuple[int, ...]:
    """The layers, ascending, of a decoder with so many."""
    if wanted == "auto":
        return tuple(sorted({max(1, round(share * depth)) for share in AUTO}))
    return (max(1, round(depth / 3)),) if wanted is None else tuple(sorted(set(wanted)))


def read_layers(text: str) -> Layers:
    """What `--layer` says: "10", "8,10,15" or "auto"."""
    if text == "auto":
        return "auto"
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = (0,)
    if min(numbers) < 1:
        raise CrowdError(f"--layer {text}: give a number from 1, several (8,10,15), or auto")
    return numbers


def _write(study: Study, columns: dict[str, np.ndarray], path: Path, embedder: Embedder) -> None:
    data = {"task": pa.array(study.tasks.ids, pa.string())}
    data |= {name: vectors(rows) for name, rows in columns.items()}
    told = json.dumps({"crowdllm_jax": __version__, **embedder._asdict()})
    write_parquet(path, pa.table(data).replace_schema_metadata({"crowdllm": told}))
