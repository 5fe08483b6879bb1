"""Agents as a table with a row each: what their columns are called, and what stands in them."""

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.population.decisions import write, writing_of
from crowdllm_jax.study import scales
from crowdllm_jax.study.columns import attribute_columns
from crowdllm_jax.study.records import Attribute
from crowdllm_jax.study.scales import Scale

if TYPE_CHECKING:
    import xarray

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
    columns: list[pa.Array] = [pa.array(ids)]
    called = attribute_columns(attribute.name for attribute in profile)
    taken = {task.casefold() for task, _ in tasks}
    names = ["crowd_agent_id" if "agent_id" in taken else "agent_id"]
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


def numbers_on(tasks: Sequence[tuple[str, Scale]], answers: np.ndarray) -> np.ndarray:
    """(..., T) float64 numbers that levels (values of continuous tasks) stand for; NaN where an
    agent was not asked (-1)."""
    columns = [scales.numbers(scale, answers[..., index]) for index, (_, scale) in enumerate(tasks)]
    return np.stack(columns, axis=-1).astype(np.float64)


def to_arviz(
    answers: np.ndarray, dims: Sequence[str], coords: dict[str, Sequence[str]]
) -> "xarray.DataTree":
    """Answers as ArviZ holds draws, in the group posterior_predictive.

    Args:
      answers: (chains, draws, ...) numbers. dims: what the axes behind the first two are called;
        coords: what stands along each.
    Raises:
      CrowdError: ArviZ is not installed.
    """
    try:
        from arviz_base import from_dict
    except ImportError as error:
        raise CrowdError(
            "to_arviz: ArviZ is not installed: pip install 'crowdllm-jax[arviz]'"
        ) from error
    along = {name: list(labels) for name, labels in coords.items()}
    drawn = {"posterior_predictive": {"answer": answers}}
    return from_dict(drawn, dims={"answer": list(dims)}, coords=along)


def html_of(table: pa.Table, title: str, rows: int = SHOWN) -> str:
    """The first rows of a table for a notebook."""
    first = table.slice(0, rows)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in first.column_names)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(_shown(cell))}</td>" for cell in row.values()) + "</tr>"
        for row in first.to_pylist()
    )
    return (
        f"<div><p>{html.escape(title)}</p><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _shown(cell: object) -> str:
    return f"{cell:.3g}" if isinstance(cell, float) else "" if cell is None else str(cell)
