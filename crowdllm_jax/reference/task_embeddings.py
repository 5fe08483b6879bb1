"""Embeddings of a study's texts, as the table that `study.tasks.embedding` reads.

A sentence encoder gives its own; a decoder gives its mean hidden state over a text's own tokens,
after a layer about a third of the way up, or after several, from which each split of a run chooses.
"""

import json
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from crowdllm_jax.backbone import sentence_encoder, weights
from crowdllm_jax.backbone.task_states import task_states
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.files import vectors, write_parquet
from crowdllm_jax.runtime.progress import Progress, silent
from crowdllm_jax.runtime.version import __version__
from crowdllm_jax.study.records import Study

Layers = tuple[int, ...] | Literal["auto"] | None
"""After how many layers; "auto": the candidates of `AUTO`; None: after a third of them."""

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

    def report(done: int, total: int) -> None:
        progress("embedding texts", done, total)

    if sentence_encoder.is_encoder(model, revision=revision):
        if layers is not None or before:
            key = "--before" if before else "--layer"
            raise CrowdError(f"{key} is for decoders; {model} is a sentence encoder")
        encoder = sentence_encoder.load_encoder(model, revision=revision)
        rows = sentence_encoder.embed(encoder, study.tasks.text, batch=batch, progress=report)
        columns = {"embedding": rows}
    else:
        # Where a processor has no bfloat16 of its own, it is no faster.
        decoder = weights.load(model, revision=revision)
        chosen = layers_of(decoder.architecture.layers, layers)
        states = task_states(
            decoder, study.tasks.text, chosen, before=before, batch=batch, progress=report
        )
        # States share a large common part, beside which tasks hardly differ.
        states -= states.mean(1, keepdims=True)
        names = [f"layer_{n}" for n in chosen] if len(chosen) > 1 else ["embedding"]
        columns = dict(zip(names, states, strict=True))
        layers = chosen
    about: dict[str, object] = {
        "model": model,
        "revision": revision,
        "layers": layers,
        "before": before,
    }
    _write(study, columns, path, about)
    return {name: rows.shape[1] for name, rows in columns.items()}


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


def _write(
    study: Study, columns: dict[str, np.ndarray], path: Path, about: dict[str, object]
) -> None:
    data = {"task": pa.array(study.tasks.ids, pa.string())}
    data |= {name: vectors(rows) for name, rows in columns.items()}
    told = json.dumps({"crowdllm_jax": __version__, **about})
    write_parquet(path, pa.table(data).replace_schema_metadata({"crowdllm": told}))
