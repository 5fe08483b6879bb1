"""The table of what agents answer to new questions: shares and means with intervals."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from crowdllm_jax.model.persistent.forecast import Unsure
from crowdllm_jax.runs.trust import NORMAL, stretched_interval
from crowdllm_jax.study import scales
from crowdllm_jax.study.questions import Questions
from crowdllm_jax.workflow.ask_audience import Audience


def table_of(
    audiences: Sequence[Audience],
    asked: Questions,
    learnt: Sequence[Unsure],
    stretch: Sequence[float],
    group: str | None,
    by: str | None,
) -> pa.Table:
    """Shares and means of the questions among some agents, with 90% intervals.

    Args:
      audiences: of each question those of these agents who are asked it. learnt: what is known of
        each question; stretch: how many times wider its intervals are than the model's.
      group: which agents they are, and by: by what attribute; None where all are told together.
    """
    columns: dict[str, list[object]] = {name: [] for name in ("task_id", "group", "answer")}
    numbers: dict[str, list[float | None]] = {n: [] for n in ("share", "low", "high", "people")}
    of_agents: list[float] = []

    def row(task_id: str, answer: str, value: float, low: float, high: float, n: float) -> None:
        for name, cell in zip(columns, (task_id, group, answer), strict=True):
            columns[name].append(cell)
        for name, number in zip(numbers, (value, low, high, n), strict=True):
            numbers[name].append(float(number))
        of_agents.append(audience.share)

    for task_id, task, wider, audience in zip(asked.ids, learnt, stretch, audiences, strict=True):
        if audience.outlook is None:
            continue
        shares, mean = audience.outlook.draws(task)
        values = scales.values(task.scale)
        if shares is not None:
            low, high = stretched_interval(shares, wider)
            for level, (name, p) in enumerate(
                zip(scales.labels(task.scale), shares.mean(0), strict=True)
            ):
                half = (high[level] - low[level]) / 2
                row(task_id, name, p, low[level], high[level], worth(p * (1 - p), half))
        if scales.is_ordered(task.scale):
            width = values[-1] - values[0]
            unit = ((mean - values[0]) / width)[:, None]
            low, high = (values[0] + width * end[0] for end in stretched_interval(unit, wider))
            variance = np.nan
            if shares is not None:
                share = shares.mean(0)
                variance = float(share @ values**2 - (share @ values) ** 2)
            # By the same sums as the interval, so that rounding does not part them.
            middle = values[0] + width * unit.mean(0)[0]
            row(task_id, "(mean)", middle, low, high, worth(variance, (high - low) / 2))
    told = {"asked": of_agents} if asked.ask_if else {}
    table = pa.table({**columns, **numbers, **told})
    if by is None:
        return table.drop_columns(["group"])
    everyone = pa.array([g if g is not None else "(all)" for g in columns["group"]], pa.string())
    return table.set_column(
        1, f"profile_{by}" if by.casefold() in table.column_names else by, everyone
    )


def worth(variance: float, half: float) -> float:
    """How many people's answers have a 90% interval that is so wide on either side."""
    return float(variance * (NORMAL / max(half, 1e-9)) ** 2)


def by_question(table: pa.Table, asked: Questions) -> pa.Table:
    """Rows question by question, and within each group by group."""
    order = {name: i for i, name in enumerate(asked.ids)}
    rank = np.array([order[name] for name in table["task_id"].to_pylist()])
    return table.take(pa.array(np.argsort(rank, kind="stable")))
