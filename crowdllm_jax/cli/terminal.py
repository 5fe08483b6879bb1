"""Tables for the terminal."""

from collections.abc import Sequence

import pyarrow as pa
from rich.markup import escape
from rich.table import Table

from crowdllm_jax.cli.bench import Record
from crowdllm_jax.experiments.results import Results
from crowdllm_jax.report.headings import HEADINGS, MODELS, board_of
from crowdllm_jax.report.page import scoreboard, untold
from crowdllm_jax.score.metrics import Score

SHOWN = 40
"""Rows of a table that are printed; a file holds all."""


def table_of(table: pa.Table, title: str) -> Table:
    """The first rows of a table of results."""
    more = len(table) - SHOWN
    caption = f"and {more:,} more; --out FILE holds all" if more > 0 else None
    shown = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    for name, kind in zip(table.column_names, table.schema.types, strict=True):
        text = name in ("task_id", "decision", "term") or pa.types.is_string(kind)
        heading = "question" if name == "task_id" else name
        shown.add_column(heading, justify="left" if text else "right", no_wrap=not text)
    for row in table.slice(0, SHOWN).to_pylist():
        shown.add_row(*(escape(_cell(value)) for value in row.values()))
    return shown


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value == round(value) else f"{value:.4g}"
    return "–" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def scoreboard_of(scores: list[Score]) -> Table:
    """Every crowd's measures, the configured one in bold."""
    seeds = len({score.seed for score in scores})
    spread = f"mean of {seeds} seeds, ± one standard deviation" if seeds > 1 else "one seed"
    table = Table(title=f"Held-out {scores[0].split} ({spread})", title_justify="left")
    table.add_column("crowd", no_wrap=True)
    board, missing = scoreboard(scores), untold(scores)
    every = board_of(scores[0].split)
    columns = [metric for metric in every if any(metric in row for _, row in board)]
    for metric in columns:
        table.add_column(HEADINGS[metric], justify="right", no_wrap=True)
    # The configured model stands first, after people.
    main = next((model for model, _ in board if model != "humans"), "")
    for model, row in board:
        cells = []
        for metric in columns:
            if metric not in row:
                cells.append("n/d" if metric in missing.get(model, {}) else "–")
                continue
            value, _, high = row[metric]
            cells.append(
                f"{value:.3f}" + (f"±{high - value:.3f}" if seeds > 1 and high == high else "")
            )
        table.add_row(MODELS[model], *cells, style="bold" if model == main else None)
    if why := _not_defined(missing, every):
        table.caption, table.caption_justify = "n/d: not defined.\n" + "\n".join(why), "left"
    return table


def _not_defined(missing: dict[str, dict[str, str]], columns: tuple[str, ...]) -> list[str]:
    """A line for each reason why measures of the board have no value for some crowd."""
    measures: dict[str, list[str]] = {}
    for metric in columns:
        for why in dict.fromkeys(reasons.get(metric, "") for reasons in missing.values()):
            if why.startswith("not defined"):
                measures.setdefault(why, []).append(HEADINGS[metric])
    return [f"{', '.join(names)}: {why}" for why, names in measures.items()]


def results_of(results: Results) -> Table:
    """A study's conditions: means over the seeds, ± one standard deviation."""
    count = len(results.seeds)
    spread = f"mean of {count} seeds, ± one standard deviation" if count > 1 else "one seed"
    table = Table(title=f"{results.title} ({spread})", title_justify="left")
    for key in results.keys:
        table.add_column(key, no_wrap=True)
    metrics = [metric for metric in results.metrics if results.varies(metric)]
    for metric in metrics:
        table.add_column(results.metrics[metric], justify="right", no_wrap=True)
    if results.meanings:
        table.add_column("what it is")
    before = None
    for condition in results.conditions:
        if len(condition) > 1 and before not in (None, condition[:-1][0]):
            table.add_section()
        before = condition[0]
        cells = [MODELS.get(condition[0], condition[0]), *condition[1:]]
        for metric in metrics:
            summary = results.summary(condition, metric)
            if summary is None:
                cells.append("–")
                continue
            mean, sd = summary
            decimals = results.decimals
            cells.append(f"{mean:.{decimals}f}" + ("" if sd != sd else f"±{sd:.{decimals}f}"))
        if results.meanings:
            cells.append(results.meanings[condition])
        table.add_row(*map(escape, cells))
    return table


def benchmarks_of(records: Sequence[Record]) -> Table:
    """What was measured, a stretch for each benchmark."""
    table = Table(title="Benchmarks", title_justify="left")
    for heading in ("benchmark", "variant", "metric"):
        table.add_column(heading, no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("device", no_wrap=True)
    before = ""
    for record in records:
        if record.benchmark != before and before:
            table.add_section()
        value = (
            f"{record.value:.1%}" if record.unit == "1" else f"{record.value:,.4g} {record.unit}"
        )
        first = record.benchmark if record.benchmark != before else ""
        table.add_row(first, record.variant, record.metric, value, record.device)
        before = record.benchmark
    return table
