"""Reading the tasks' embeddings: any number of tables, each with a vector per task."""

from pathlib import Path

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.ids import entities_of
from crowdllm_jax.study.records import Block
from crowdllm_jax.study.spec import EmbeddingSpec
from crowdllm_jax.study.tables import find, read_vectors


def read_embeddings(
    tables: tuple[EmbeddingSpec, ...], folder: Path, ids: tuple[str, ...]
) -> tuple[np.ndarray, tuple[Block, ...]]:
    """All embeddings of the tasks, side by side (T, F), and which columns come from where.

    Raises:
      CrowdError: a table lacks a task or a column, or two embeddings have the same name.
    """
    parts: list[np.ndarray] = []
    blocks: list[Block] = []
    begin = 0
    for number, spec in enumerate(tables):
        columns = (spec.column,) if isinstance(spec.column, str) else spec.column
        if not columns:
            raise CrowdError(f"study.tasks.embedding ({spec.path}): name a column at least")
        for column in columns:
            vectors = _read(spec, column, folder, ids)
            name = spec.name or Path(spec.path).stem
            name = name if len(columns) == 1 else f"{name}/{column}"
            if name in {block.name for block in blocks}:
                raise CrowdError(
                    f"study.tasks.embedding: two embeddings are called '{name}'; give each a name"
                )
            blocks.append(Block(name, number, begin, begin + vectors.shape[1]))
            parts.append(vectors)
            begin += vectors.shape[1]
    return np.concatenate(parts, axis=1), tuple(blocks)


def _read(spec: EmbeddingSpec, column: str, folder: Path, ids: tuple[str, ...]) -> np.ndarray:
    file = find(folder, spec.path, "study.tasks.embedding.path")
    key, vectors = read_vectors(file, spec.task, column)
    entities = entities_of(key, own_table=True)
    row_of = dict(zip(entities.ids, np.argsort(entities.of_row), strict=True))
    absent = [name for name in ids if name not in row_of]
    if absent:
        raise CrowdError(
            f"{key.where}: task '{absent[0]}' and {len(absent) - 1} more have no "
            "embedding; every task needs one"
        )
    return vectors[[row_of[name] for name in ids]]
