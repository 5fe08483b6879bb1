"""What a command returns to be shown."""

import argparse
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from crowdllm_jax.runtime.progress import Progress

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.table import Table


@dataclass(frozen=True)
class Outcome:
    """What a command shows: a text, a table, and what was written where; `then` goes on after that,
    and what it returns is shown, too.

    `data` is what --json prints beside what was written; a list is printed alone."""

    text: str = ""
    table: "Table | None" = None
    written: Mapping[str, Path | str] = field(default_factory=dict)
    then: "Callable[[], Outcome] | None" = None
    data: "Mapping[str, object] | list[dict[str, object]] | None" = None

    @property
    def as_json(self) -> str:
        """What --json prints."""
        told = self.data
        if not isinstance(told, list):
            told = {} if told is None else dict(told)
            if self.text and not told:
                told["text"] = self.text
            for heading, what in self.written.items():
                told["_".join(re.findall(r"\w+", heading))] = str(what)
        return json.dumps(_finite(told), default=str, ensure_ascii=False)


def _finite(told: object) -> object:
    """JSON has no NaN."""
    if isinstance(told, Mapping):
        return {key: _finite(value) for key, value in told.items()}
    if isinstance(told, list | tuple):
        return [_finite(value) for value in told]
    return None if isinstance(told, float) and not math.isfinite(told) else told


Handler: TypeAlias = Callable[[argparse.Namespace, Progress], Outcome]
"""What a command does."""


def tabled(table: "pa.Table", title: str, out: Path | None) -> Outcome:
    """Show a table of results, and write it if a file is named."""
    from crowdllm_jax.aggregate.decide import write_table
    from crowdllm_jax.cli.terminal import table_of

    if out is not None:
        write_table(table, out)
    written = {} if out is None else {"table": out}
    return Outcome(table=table_of(table, title), written=written, data=table.to_pylist())
