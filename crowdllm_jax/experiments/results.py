"""What every study returns: one number per condition, seed and metric."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

Condition = tuple[str, ...]


class Row(NamedTuple):
    """One measure of one condition with one seed; a condition has a part for each of `keys`."""

    condition: Condition
    seed: int
    metric: str
    value: float


@dataclass(frozen=True)
class Results:
    """A study's table.

    Attributes:
      title: of the printed table. keys: what a condition's parts are.
      metrics: those that are printed, with their headings; the rows may hold more.
      notes: what the table says, in sentences. meanings: conditions in plain words.
      decimals: that are printed.
    """

    title: str
    keys: tuple[str, ...]
    rows: tuple[Row, ...]
    metrics: dict[str, str]
    notes: tuple[str, ...] = ()
    meanings: Mapping[Condition, str] = field(default_factory=dict)
    decimals: int = 3

    @property
    def conditions(self) -> list[Condition]:
        """In the order of the rows."""
        return list(dict.fromkeys(row.condition for row in self.rows))

    @property
    def seeds(self) -> list[int]:
        """In ascending order."""
        return sorted({row.seed for row in self.rows})

    def by_seed(self, condition: Condition, metric: str) -> dict[int, float]:
        """One measure of one condition: {seed: value}."""
        return {
            row.seed: row.value
            for row in self.rows
            if row.condition == condition and row.metric == metric
        }

    def varies(self, metric: str) -> bool:
        """Whether a metric says anything: on whole ballots all people have the same mean."""
        values = [row.value for row in self.rows if row.metric == metric]
        return bool(values) and float(np.ptp(values)) > 1e-9

    def summary(self, condition: Condition, metric: str) -> tuple[float, float] | None:
        """Mean over seeds and standard deviation (NaN for one seed); None where not measured."""
        values = np.array(list(self.by_seed(condition, metric).values()))
        if not len(values):
            return None
        return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else np.nan


def rows_of(condition: Condition, seed: int, measures: dict[str, float]) -> list[Row]:
    """A row for each measure that is a number."""
    values = ((name, float(value)) for name, value in measures.items())
    return [Row(condition, seed, name, value) for name, value in values if np.isfinite(value)]


def paired(
    one: dict[int, float], other: dict[int, float], comparisons: int = 1
) -> tuple[float, float, float]:
    """one - other over the seeds of both: its mean and a 95% t-interval (NaN for one seed).

    Args:
      comparisons: how many such intervals are looked at; together they hold with 95% (Bonferroni).
    """
    gap = np.array([one[seed] - other[seed] for seed in one if seed in other])
    if len(gap) < 2:
        return float(gap.mean()), np.nan, np.nan
    mean, error = gap.mean(), gap.std(ddof=1) / np.sqrt(len(gap))
    half = student.ppf(1 - 0.025 / comparisons, len(gap) - 1) * error
    return float(mean), float(mean - half), float(mean + half)


def tidy(results: Results) -> str:
    """All rows as CSV."""
    return _csv(
        [*results.keys, "seed", "metric", "value"],
        [[*row.condition, row.seed, row.metric, repr(row.value)] for row in results.rows],
    )


def summarised(results: Results) -> str:
    """Mean and standard deviation of every condition and metric as CSV."""
    names = list(dict.fromkeys(row.metric for row in results.rows))
    lines = []
    for condition in results.conditions:
        for metric in names:
            if (summary := results.summary(condition, metric)) is not None:
                mean, sd = summary
                count = len(results.by_seed(condition, metric))
                spread = "" if np.isnan(sd) else repr(sd)
                lines.append([*condition, metric, repr(mean), spread, count])
    return _csv([*results.keys, "metric", "mean", "sd", "seeds"], lines)


def _csv(head: list[str], lines: Sequence[Sequence[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(lines)
    return out.getvalue()
