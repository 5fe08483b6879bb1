"""Agents as a table with a row each: what their columns are called, and what stands in them."""

import html
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from crowdllm_jax.population.decisions import write, writing_of
from crowdllm_jax.study.columns import attribute_columns
from crowdllm_jax.study.records import Attribute
from crowdllm_jax.study.scales import Scale

SHOWN = 5
"""Rows and tasks that a notebook shows."""


def agents_table(
    ids: np.ndarray,
    profile: Sequence[Attribute],
    tasks: Sequence[tuple[str, Scale]],
    answers: np.ndarray,
) -> pa.Table:
    """Agents as a table: agent_id, the profile, and a column per task, answers as the study writes
    them.

    Args:
      ids: (N,). profile: attributes with N cells. tasks: id and scale of each of T tasks.
      answers: (N, T) levels (values of continuous tasks).
    """
    names = ["agent_id"]
    columns: list[pa.Array] = [pa.array(ids)]
    called = attribute_columns(attribute.name for attribute in profile)
    taken = {task.casefold() for task, _ in tasks}
    for attribute in profile:
        name = called[attribute.name]
        names.append(f"profile_{name}" if name.casefold() in taken else name)
        if attribute.kind == "numeric":
            columns.append(pa.array(attribute.cells, from_pandas=True))
        else:
            columns.append(pa.DictionaryArray.from_arrays(attribute.cells, list(attribute.levels)))
    for (task, scale), levels in zip(tasks, answers.T, strict=True):
        names.append(task)
        columns.append(write(writing_of([scale]), np.zeros(1, np.int32), levels[:, None]))
    return pa.table(columns, names=names)


def html_of(table: pa.Table, title: str) -> str:
    """The first rows of a table for a notebook."""
    first = table.slice(0, SHOWN)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in first.column_names)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row.values()) + "</tr>"
        for row in first.to_pylist()
    )
    return (
        f"<div><p>{html.escape(title)}</p><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )
