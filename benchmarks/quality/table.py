"""Repeated measurements to one table: mean ± standard deviation over the repetitions."""

import json
from pathlib import Path

import numpy as np

Row = dict[str, float]


class Table:
    """Measures of several crowds, gathered over repetitions."""

    def __init__(self, title: str, columns: dict[str, str]) -> None:
        """columns: name of each measure -> its heading."""
        self.title, self.columns = title, columns
        self.rows: dict[str, list[Row]] = {}

    def add(self, name: str, measures: Row) -> None:
        self.rows.setdefault(name, []).append(measures)

    def values(self, name: str, measure: str) -> np.ndarray:
        return np.array([m[measure] for m in self.rows[name]])

    def markdown(self) -> str:
        lines = [
            f"### {self.title}",
            "",
            "| | " + " | ".join(self.columns.values()) + " |",
            "| --- " * (1 + len(self.columns)) + "|",
        ]
        for name, every in self.rows.items():
            cells = [_cell([m[c] for m in every if c in m]) for c in self.columns]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        return "\n".join(lines) + "\n"

    def records(self) -> list[dict]:
        return [
            {"benchmark": self.title, "variant": name, "repetition": i, "metric": c, "value": m[c]}
            for name, every in self.rows.items()
            for i, m in enumerate(every)
            for c in self.columns
            if c in m
        ]


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


def write(tables: list[Table], path: Path | None) -> None:
    if path is not None:
        records = [record for table in tables for record in table.records()]
        path.write_text(json.dumps(records, indent=0) + "\n")
