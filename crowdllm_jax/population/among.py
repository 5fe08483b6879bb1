"""Those agents of a written population who fulfil a condition on profiles."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.population.manifest import check_seal
from crowdllm_jax.population.read import Answers, in_blocks, read_manifest, reading
from crowdllm_jax.study.condition import Condition
from crowdllm_jax.study.records import Attribute


def agents_among(folder: Path, answers: Answers, condition: Condition) -> Answers:
    """The answers of the agents of a population who fulfil a condition.

    An ordinal attribute stands in a population as words, so its levels have no order here.

    Raises:
      CrowdError: there is no such attribute or value, or no agent is so.
    """
    parts = sorted(n for n in read_manifest(folder).files if n.startswith("agents-"))
    columns = check_seal(folder / "manifest.json").get("profile_columns", {})
    tables = []
    for part in parts:
        with reading(folder / part):
            tables.append(pq.read_table(folder / part, columns=[*columns.values()] or None))
    table = pa.concat_tables(tables)
    profile = [_attribute(name, table.column(column)) for name, column in columns.items()]
    kept = condition.holds(profile, len(table))
    count = int(kept.sum())
    if not count:
        raise CrowdError(
            f"--where {condition.text}: none of the {len(kept):,} agents is so; recruit some with "
            "`crowdllm sample RUN --where`"
        )

    def some(blocks: Iterable[np.ndarray], first: int) -> Iterator[np.ndarray]:
        for block in blocks:
            yield block[kept[first : first + len(block)]]
            first += len(block)

    def of(passes: Callable[[], Iterator[np.ndarray]], first: int) -> Iterator[np.ndarray]:
        return in_blocks(some(passes(), first), answers.block)

    begins = np.cumsum([0, *map(len, tables)])
    return replace(
        answers,
        people=count,
        effective=answers.effective and answers.effective * count / len(kept),
        blocks=partial(of, answers.blocks, 0),
        by_part=tuple(
            partial(of, part, int(first))
            for part, first in zip(answers.by_part, begins[:-1], strict=True)
        ),
    )


def _attribute(name: str, cells: pa.ChunkedArray) -> Attribute:
    if pa.types.is_floating(cells.type):
        return Attribute(name, "numeric", (), cells.to_numpy().astype(np.float64))
    coded = pc.dictionary_encode(cells.combine_chunks())
    levels = tuple(coded.dictionary.to_pylist())
    return Attribute(name, "categorical", levels, np.asarray(coded.indices, np.int32))
