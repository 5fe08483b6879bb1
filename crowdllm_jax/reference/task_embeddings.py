"""Sentence embeddings of a study's texts, as the table that `study.tasks.embedding` reads."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from crowdllm_jax.backbone.sentence_encoder import embed, load_encoder
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.files import vectors, write_parquet
from crowdllm_jax.runtime.version import __version__
from crowdllm_jax.study.records import Study


def embed_study(
    study: Study,
    model: str,
    path: Path,
    *,
    revision: str | None = None,
    batch: int = 64,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> int:
    """Embed the text of every task and write them, one row per task.

    Args:
      model: a sentence encoder of the BERT family, a Hugging Face folder or hub id.
      path: the Parquet file; its columns are task and embedding (a list of float32).
    Returns:
      The numbers in one embedding.
    Raises:
      CrowdError: the tasks have no texts, the model cannot be used, or the file not be written.
    """
    if study.tasks.text == study.tasks.ids and not any(" " in name for name in study.tasks.ids):
        raise CrowdError("the tasks have no texts to embed; name their column: study.tasks.text")
    encoder = load_encoder(model, revision=revision)
    rows = embed(
        encoder,
        study.tasks.text,
        batch=batch,
        progress=lambda done, total: progress("embedding texts", done, total),
    )
    about = {"crowdllm_jax": __version__, "model": model, "revision": revision}
    table = pa.table({"task": pa.array(study.tasks.ids, pa.string()), "embedding": vectors(rows)})
    write_parquet(path, table.replace_schema_metadata({"crowdllm": json.dumps(about)}))
    return rows.shape[1]
