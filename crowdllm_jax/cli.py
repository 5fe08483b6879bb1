"""The `crowdllm` command.

Exit codes: 0 done, 1 our fault, 2 the user's input, 3 another process of the run has failed,
130 interrupted, 143 terminated.
"""

import argparse
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from crowdllm_jax.command_line import parser
from crowdllm_jax.errors import CrowdError, CrowdWarning, PeerError

if TYPE_CHECKING:
    import pyarrow as pa

    from crowdllm_jax.backbone.prompts import Question
    from crowdllm_jax.fitting import Progress as Report
    from crowdllm_jax.metrics import Score
    from crowdllm_jax.reference import AskedReference
    from crowdllm_jax.study import Study


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = parser().parse_args(argv)
    out, err = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False)
    several = getattr(arguments, "distributed", False)
    code = 0
    try:
        if several:
            out.quiet = arguments.quiet = not _join(arguments)
        with _warnings(err), _interruptible():
            _dispatch(arguments, out, err)
    except CrowdError as error:
        err.print(f"crowdllm: {error}", style="bold red", markup=False, soft_wrap=True)
        code = 3 if isinstance(error, PeerError) else 2
    except KeyboardInterrupt:
        what, code = ("terminated", 143) if _stopped == [signal.SIGTERM] else ("interrupted", 130)
        err.print(f"crowdllm: {what}; the same command continues", style="bold red")
    except Exception:
        if not several:
            raise
        err.print_exception()
        code = 1
    if several and code:
        # Taking leave of the others, as JAX does at exit, would wait for those that hang.
        sys.stdout.flush()
        os._exit(code)
    return code


def _join(arguments: argparse.Namespace) -> bool:
    """Become one of several processes; whether it is the first, which speaks for all."""
    from crowdllm_jax import cluster

    cluster.join(arguments.coordinator, arguments.processes, arguments.process, arguments.wait)
    return cluster.rank() == 0


_stopped: list[int] = []
"""The signal that asked to stop, once one has."""


@contextmanager
def _interruptible() -> Iterator[None]:
    """Make sure that Ctrl-C, and a scheduler's request to end, are heeded.

    A KeyboardInterrupt that is raised inside a callback of a library (a checkpoint being written,
    an array being freed) can be swallowed there, so the request is also noted, and the next report
    of progress raises it again.
    """
    _stopped.clear()
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def note(number: int, frame: object) -> None:
        _stopped[:] = [number]
        raise KeyboardInterrupt

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
        if _stopped:
            raise KeyboardInterrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


Outcome = tuple[list["Score"], dict[str, Path | str]]
"""Scores to show, and what was written where."""


def _dispatch(arguments: argparse.Namespace, out: Console, err: Console) -> None:
    if arguments.command == "study":
        # Imported here, so that `--help` does not wait for JAX.
        from crowdllm_jax.config import load_study
        from crowdllm_jax.study import describe

        out.print(describe(load_study(arguments.path, arguments.data)), markup=False)
        return
    if arguments.command == "reference" and (arguments.show is not None or arguments.dry_run):
        out.print(_look_at_reference(arguments), markup=False)
        return
    if arguments.command == "aggregate":
        _aggregate(arguments, out, err)
        return
    if arguments.command == "infer":
        _infer(arguments, out, err)
        return
    if arguments.command == "bench":
        _bench(arguments, out, err)
        return
    acts = {
        "run": _from_config,
        "fit": _from_config,
        "reference": _write_reference,
        "embed": _embed,
        "verify": _verify,
    }
    with _progress(err, arguments.quiet) as progress:
        scores, written = acts.get(arguments.command, _from_run)(arguments, progress)
    if scores:
        _print_scoreboard(out, scores)
        out.print()
    for what, path in written.items():
        out.print(f"{what:<11} {path}", markup=False)


def _from_config(arguments: argparse.Namespace, progress: "Report") -> Outcome:
    """The commands that begin (or continue) a run: run, fit."""
    from crowdllm_jax import pipeline
    from crowdllm_jax.config import load_config

    overrides = tuple(arguments.overrides)
    if arguments.seeds is not None:
        overrides += (f"seeds={arguments.seeds}",)
    config = load_config(arguments.config, overrides, arguments.data)
    folder = arguments.out or Path("runs") / arguments.config.stem
    if arguments.command == "run":
        scores = pipeline.run(config, folder, progress)
        files = {"report": "report.html", "population": "population", "scores": "scores.json"}
        written: dict[str, Path | str] = {what: folder / name for what, name in files.items()}
        if (spent := pipeline.run_facts(folder).get("reference_spent")) is not None:
            written["asked"] = spent
        return scores, written
    with pipeline.start_run(folder, config) as study:
        pipeline.fit_run(folder, config, study, progress)
    return [], {"fitted": folder}


def _asked(arguments: argparse.Namespace) -> "tuple[Study, AskedReference, list[Question]]":
    """The study, the language model that a configuration asks about it, and what it is asked as
    personas."""
    from crowdllm_jax.config import load_config, load_study
    from crowdllm_jax.fitting import persona_questions
    from crowdllm_jax.reference import AskedReference

    config = load_config(arguments.config, tuple(arguments.overrides), arguments.data)
    if not isinstance(config.reference, AskedReference):
        kind = config.reference.__struct_config__.tag
        raise CrowdError(
            f"{arguments.config}: reference.kind is {kind}, which asks no language model; this "
            "command is for kind: backbone and kind: endpoint"
        )
    study = load_study(config)
    return study, config.reference, persona_questions(study, config)


def _look_at_reference(arguments: argparse.Namespace) -> str:
    from crowdllm_jax.reference import plan_reference, show_reference

    if arguments.show is not None and arguments.show < 1:
        raise CrowdError(f"--show {arguments.show}: give a number of prompts, 1 or more")
    study, config, personas = _asked(arguments)
    if arguments.dry_run:
        return plan_reference(study, config, personas)
    return show_reference(study, config, personas, arguments.show)


def _write_reference(arguments: argparse.Namespace, progress: "Report") -> Outcome:
    import numpy as np

    from crowdllm_jax.reference import ask_reference
    from crowdllm_jax.reference.asked import write_reference

    path = arguments.out or Path(f"{arguments.config.stem}-reference.parquet")
    _check_parquet(path)
    study, config, personas = _asked(arguments)
    reference, _ = ask_reference(study, config, personas, progress)
    write_reference(study, reference, config, path)
    assert reference.mass is not None
    low, middle = np.quantile(reference.mass, [0, 0.5])
    mass = f"of the listed options: median {middle:.3g}, lowest {low:.3g}"
    written: dict[str, Path | str] = {"reference": path, "answers": config.cache}
    if personas:
        written["personas"] = f"{len(personas):,} answers, in {config.cache} too"
    if reference.spent is not None:
        written["asked"] = str(reference.spent)
    return [], {**written, "option mass": mass}


def _embed(arguments: argparse.Namespace, progress: "Report") -> Outcome:
    from crowdllm_jax.config import load_study
    from crowdllm_jax.embedding import embed_study

    path = arguments.out or Path(f"{arguments.path.stem}-embeddings.parquet")
    _check_parquet(path)
    # The file that is named as the study's embedding may be the one that is to be written.
    study = load_study(arguments.path, arguments.data, embedding=False)
    width = embed_study(
        study, arguments.model, path, revision=arguments.revision, progress=progress
    )
    texts = len(study.tasks.ids)
    return [], {"embeddings": f"{path}: {texts:,} texts, {width:,} numbers each"}


def _verify(arguments: argparse.Namespace, progress: "Report") -> Outcome:
    from crowdllm_jax.manifest import verify

    folder = arguments.folder
    count = verify(folder, lambda done, total: progress("verify", done, total))
    return [], {"whole": f"{folder}: all {count} files and fitted crowds are as they were written"}


def _check_parquet(path: Path) -> None:
    if path.suffix != ".parquet" or path.is_dir():
        raise CrowdError(f"--out {path}: give the name of a file that ends in .parquet")


def _aggregate(arguments: argparse.Namespace, out: Console, err: Console) -> None:
    from crowdllm_jax.aggregate.decide import check_table, decide, read_costs, write_table

    path, rule = arguments.path, arguments.rule
    if arguments.out is not None:
        check_table(arguments.out)
    costs = None
    if rule in ("greedy", "equal-shares"):
        if arguments.costs is None or arguments.budget is None:
            raise CrowdError(f"--rule {rule}: give --costs FILE and --budget B, too")
        costs = read_costs(arguments.costs, arguments.columns)
    elif arguments.costs is not None or arguments.budget is not None:
        raise CrowdError(f"--rule {rule}: takes no --costs and no --budget; give --rule greedy or "
                         "--rule equal-shares")  # fmt: skip
    with _progress(err, arguments.quiet) as progress:
        table = decide(
            path,
            rule,
            data=arguments.data,
            costs=costs,
            budget=arguments.budget,
            worth=arguments.worth,
            progress=progress,
        )
    _print_table(out, table, rule)
    if arguments.out is not None:
        write_table(table, arguments.out)
        out.print(f"{'table':<11} {arguments.out}", markup=False)


def _infer(arguments: argparse.Namespace, out: Console, err: Console) -> None:
    from crowdllm_jax.aggregate.decide import check_table, write_table
    from crowdllm_jax.infer_run import Question, infer_run

    if arguments.out is not None:
        check_table(arguments.out)

    def listed(text: str | None) -> tuple[str, ...] | None:
        return None if text is None else tuple(part.strip() for part in text.split(","))

    pool, level = arguments.pool, arguments.level
    if arguments.share is not None:
        title = f"Share of people who answer {arguments.share}"
        question = Question("share", level=arguments.share, pool=pool, confidence=level)
    elif (names := listed(arguments.regress)) is not None:
        title = f"Least squares of the answer on {', '.join(names)}"
        question = Question("regress", attributes=names, pool=pool, confidence=level)
    else:
        title, question = "Mean answers", Question(pool=pool, confidence=level)
    with _progress(err, arguments.quiet) as progress:
        table = infer_run(
            arguments.run,
            question,
            listed(arguments.tasks),
            arguments.profiles,
            arguments.weight,
            progress,
        )
    _print_table(out, table, f"{title}, {100 * level:g}% intervals")
    if arguments.out is not None:
        write_table(table, arguments.out)
        out.print(f"{'table':<11} {arguments.out}", markup=False)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value == round(value) else f"{value:.4g}"
    return "–" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


SHOWN = 40
"""Rows of a table that are printed; a file holds all."""


def _print_table(out: Console, table: "pa.Table", title: str) -> None:
    shown = Table(title=title, title_justify="left")
    for name in table.column_names:
        shown.add_column(
            name, justify="left" if name in ("task_id", "decision", "term") else "right"
        )
    for row in table.slice(0, SHOWN).to_pylist():
        shown.add_row(*(escape(_cell(value)) for value in row.values()))
    # A table cut at the terminal's edge would hide columns.
    Console(width=max(out.width, 160), highlight=False).print(shown)
    if len(table) > SHOWN:
        out.print(f"and {len(table) - SHOWN:,} more; --out FILE holds all")


def _from_run(arguments: argparse.Namespace, progress: "Report") -> Outcome:
    """The commands that need a run folder: sample, twin, evaluate, report."""
    from crowdllm_jax import pipeline
    from crowdllm_jax.config import load_study

    folder = arguments.run
    if arguments.command == "sample":
        import msgspec

        with pipeline.open_run(folder) as config:
            wanted = {
                name: value
                for name in ("agents", "seed", "layout")
                if (value := getattr(arguments, name)) is not None
            }
            population = msgspec.structs.replace(config.population, **wanted)
            if arguments.aggregate:
                if arguments.distributed:
                    raise CrowdError("--aggregate: is done by one process; leave --distributed out")
                out, by = arguments.out, arguments.by
                target = pipeline.count_run(
                    folder, population.agents, population.seed, out, by, progress
                )
                return [], {"counts": target}
            if arguments.by is not None:
                raise CrowdError("--by: counts are grouped; give --aggregate, too")
            target = pipeline.sample_run(folder, population, arguments.out, progress)
        return [], {"population": target}
    if arguments.command == "twin":
        from crowdllm_jax.twin_run import twin_run

        twin_run(
            folder,
            arguments.answers,
            arguments.out,
            data=arguments.data,
            draws=arguments.draws,
            seed=arguments.seed,
        )
        return [], {"twins": arguments.out}
    study = load_study(pipeline.stored_config(folder))
    with pipeline.open_run(folder, study=study) as config:
        if arguments.command == "evaluate":
            scores = pipeline.evaluate_run(folder, config, study, progress)
            return scores, {"scores": folder / "scores.json"}
        return [], {"report": pipeline.report_run(folder, config, study)}


def _bench(arguments: argparse.Namespace, out: Console, err: Console) -> None:
    from crowdllm_jax.bench import run_benchmarks

    with _progress(err, arguments.quiet) as progress:
        records = run_benchmarks(arguments.folder, arguments.out, arguments.only, progress)
    table = Table(title="Benchmarks", title_justify="left")
    for heading in ("benchmark", "variant", "metric"):
        table.add_column(heading, no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("device", no_wrap=True)
    before = ""
    for one in records:
        if one.benchmark != before and before:
            table.add_section()
        value = f"{one.value:.1%}" if one.unit == "1" else f"{one.value:,.4g} {one.unit}"
        first = one.benchmark if one.benchmark != before else ""
        table.add_row(first, one.variant, one.metric, value, one.device)
        before = one.benchmark
    Console(width=max(out.width, 160), highlight=False).print(table)
    out.print(f"\n{'records':<11} {arguments.out}", markup=False)


def _print_scoreboard(out: Console, scores: list["Score"]) -> None:
    from crowdllm_jax.report import HEADINGS, MODELS, scoreboard

    seeds = len({score.seed for score in scores})
    spread = f"mean of {seeds} seeds, ± one standard deviation" if seeds > 1 else "one seed"
    table = Table(title=f"Held-out {scores[0].split} ({spread})", title_justify="left")
    table.add_column("crowd", no_wrap=True)
    for heading in HEADINGS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    board = scoreboard(scores)
    main = "persistent" if any(model == "persistent" for model, _ in board) else "cvae"
    for model, row in board:
        cells = []
        for metric in HEADINGS:
            if metric not in row:
                cells.append("–")
                continue
            value, _, high = row[metric]
            cells.append(f"{value:.3f}" + (f"±{high - value:.3f}" if seeds > 1 else ""))
        table.add_row(MODELS[model], *cells, style="bold" if model == main else None)
    # A scoreboard cut at the terminal's edge would hide measures.
    Console(width=max(out.width, 190), highlight=False).print(table)


@contextmanager
def _warnings(err: Console) -> Iterator[None]:
    """Show our own warnings as one line without a place in the code, and each of them once."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", CrowdWarning)
        usual, shown = warnings.showwarning, set()

        def show(message, category, *place, **more) -> None:  # type: ignore[no-untyped-def]
            if not issubclass(category, CrowdWarning):
                usual(message, category, *place, **more)
            elif str(message) not in shown:
                shown.add(str(message))
                err.print(f"warning: {message}", style="yellow", markup=False, soft_wrap=True)

        warnings.showwarning = show
        yield


@contextmanager
def _progress(err: Console, quiet: bool) -> Iterator["Report"]:
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, disable=quiet, transient=not err.is_terminal) as bar:
        rows: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int) -> None:
            if _stopped:
                raise KeyboardInterrupt
            # A stage's name may carry a figure in brackets that changes as it goes.
            key = stage.split(" (loss")[0]
            if key not in rows:
                rows[key] = bar.add_task(stage, total=total)
            bar.update(rows[key], description=stage, completed=done, total=total)

        yield report


if __name__ == "__main__":
    sys.exit(main())
