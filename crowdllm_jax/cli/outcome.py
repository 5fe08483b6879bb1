"""What a command returns to be shown."""

import argparse
import json
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
    and what it returns is shown, too."""

    text: str = ""
    table: "Table | None" = None
    written: Mapping[str, Path | str] = field(default_factory=dict)
    then: "Callable[[], Outcome] | None" = None


Handler: TypeAlias = Callable[[argparse.Namespace, Progress], Outcome]
"""What a command does."""


def tabled(table: "pa.Table", title: str, out: Path | None, *, as_json: bool = False) -> Outcome:
    """Show a table of results (as JSON alone, if asked), and write it if a file is named."""
    from crowdllm_jax.aggregate.decide import write_table
    from crowdllm_jax.cli.terminal import table_of

    if out is not None:
        write_table(table, out)
    if as_json:
        # JSON has no NaN.
        rows = [{k: None if v != v else v for k, v in row.items()} for row in table.to_pylist()]
        return Outcome(json.dumps(rows, default=str, ensure_ascii=False))
    return Outcome(table=table_of(table, title), written={} if out is None else {"table": out})
