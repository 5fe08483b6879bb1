"""Progress where a notebook shows it: a bar for each stage, below the cell that works."""

import html
import sys
import time
from typing import Any

from crowdllm_jax.runtime.progress import Progress, name_of, silent

EVERY = 0.1
"""Seconds between two drawings."""


def progress_bar() -> Progress:
    """How far a function has come, shown below a notebook's cell.

    Returns:
      What `fit`, `run`, `evaluate` and others take as `progress`: called with a stage's name, how
      much is done, and of how much. Where there is no notebook, it shows nothing.

    Examples:
      >>> crowd, losses = cl.fit(study, config, seed=0, progress=cl.progress_bar())
    """
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if getattr(shell, "kernel", None) is None:
        return silent
    display = ipython.display
    rows: dict[str, tuple[str, int, int]] = {}
    handle: Any = None
    drawn = -EVERY

    def report(stage: str, done: int, total: int) -> None:
        nonlocal handle, drawn
        name, now = name_of(stage), time.monotonic()
        begins = name not in rows
        rows[name] = stage, done, total
        if not begins and done < total and now - drawn < EVERY:
            return
        drawn, page = now, display.HTML(bars_of(list(rows.values())))
        if handle is None:
            handle = display.display(page, display_id=True)
        else:
            handle.update(page)

    return report


def bars_of(rows: list[tuple[str, int, int]]) -> str:
    """HTML of stages: name, how much is done, of how much."""
    lines = "".join(
        f"<tr><td>{html.escape(stage)}</td>"
        f'<td><progress value="{done}" max="{max(total, 1)}"></progress></td>'
        f"<td>{done:,} of {total:,}</td></tr>"
        for stage, done, total in rows
    )
    return f"<table>{lines}</table>"
