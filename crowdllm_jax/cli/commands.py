"""What each command does, between its arguments and what is shown."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.progress import READ, stage

# Each command imports what it needs, so that `--help` does not wait for JAX.
if TYPE_CHECKING:
    import pyarrow as pa
    from rich.table import Table

    from crowdllm_jax.backbone.questions import Question
    from crowdllm_jax.reference.make import AskedReference
    from crowdllm_jax.runtime.progress import Progress
    from crowdllm_jax.score.finding import Finding
    from crowdllm_jax.score.metrics import Score
    from crowdllm_jax.study.records import Study


@dataclass(frozen=True)
class Outcome:
    """What a command shows: a text, a table, and what was written where; `then` goes on after that,
    and what it returns is shown, too."""

    text: str = ""
    table: "Table | None" = None
    written: Mapping[str, Path | str] = field(default_factory=dict)
    then: "Callable[[], Outcome] | None" = None


def check_study(arguments: argparse.Namespace, progress: "Progress") -> Outcome:
    from crowdllm_jax.run.config import load_study
    from crowdllm_jax.study.describe import describe

    with stage(progress, READ):
        return Outcome(describe(load_study(arguments.path, arguments.data)))


def study(arguments: argparse.Namespace, progress: "Progress") -> Outcome:
    """`study check`, and the studies that compare crowds made in several ways."""
    name = arguments.study_command
    if name == "check":
        return check_study(arguments, progress)
    from crowdllm_jax.cli.terminal import results_of
    from crowdllm_jax.experiments.folder import run_study
    from crowdllm_jax.run.config import load_config

    overrides = tuple(arguments.overrides)
    if arguments.seeds is not None:
        overrides += (f"seeds={arguments.seeds}",)
    config = load_config(arguments.config, overrides, arguments.data)
    folder = arguments.out or Path("studies") / f"{arguments.config.stem}-{name}"
    options = {}
    if name == "fractions":
        try:
            shares = [float(part) for part in arguments.fractions.split(",")]
        except ValueError:
            raise CrowdError(
                f"--fractions {arguments.fractions}: give numbers above 0 and at most "
                "1 with commas between, such as 0.01,0.2,1"
            ) from None
        options = {"shares": shares, "whole_reference": arguments.whole_reference}
    results = run_study(name, config, folder, progress, **options)
    text = "\n".join(f"- {note}" for note in results.notes)
    return Outcome(text, results_of(results), {"written": folder})


def begin_run(arguments: argparse.Namespace, progress: "Progress") -> Outcome:
    """The commands that begin (or continue) a run: run, fit."""
    from crowdllm_jax.cli.terminal import scoreboard_of
    from crowdllm_jax.run import steps
    from crowdllm_jax.run.config import load_config
    from crowdllm_jax.run.folder import main_model, run_facts, start_run

    overrides = tuple(arguments.overrides)
    if arguments.seeds is not None:
        overrides += (f"seeds={arguments.seeds}",)
    config = load_config(arguments.config, overrides, arguments.data)
    folder = arguments.out or Path("runs") / arguments.config.stem
    if arguments.command == "run":
        scores = steps.run(config, folder, progress)
        files = {"report": "report.html", "population": "population", "scores": "scores.json"}
        written: dict[str, Path | str] = {what: folder / name for what, name in files.items()}
        facts = run_facts(folder)
        shown = {"reference_spent": "asked", "held_out": "held out"}
        written |= {what: facts[name] for name, what in shown.items() if name in facts}
        if scores:
            written |= _in_short(scores, steps.findings(folder), main_model(config))
        # Of several processes only the first has scores, and speaks.
        return Outcome(table=scoreboard_of(scores) if scores else None, written=written)
    with start_run(folder, config, progress) as splits:
        steps.fit_run(folder, splits)
    return Outcome(written={"fitted": folder})


def _in_short(scores: "list[Score]", findings: "list[Finding]", main: str) -> dict[str, str]:
    from crowdllm_jax.report.page import scoreboard
    from crowdllm_jax.report.scorecard import headline
    from crowdllm_jax.score.diagnostics import summary

    skill = dict(scoreboard(scores))[main].get("skill")
    return {"diagnostics": summary(findings), "in short": headline(skill, findings)}


def reference(arguments: argparse.Namespace, progress: "Progress") -> Outcome:
    if arguments.show is not None or arguments.dry_run:
        return Outcome(_look_at_reference(arguments, progress))
    import numpy as np

    from crowdllm_jax.reference.make import ask_together
    from crowdllm_jax.reference.questions import write_reference
    from crowdllm_jax.runtime import processes

    path = arguments.out or Path(f"{arguments.config.stem}-reference.parquet")
    _check_parquet(path)
    study, config, personas = _asked(arguments, progress)
    found, _ = ask_together(study, config, personas, progress)
    if processes.rank() == 0:
        write_reference(study, found, config, path)
    assert found.mass is not None
    low, middle = np.quantile(found.mass, [0, 0.5])
    mass = f"of the listed options: median {middle:.3g}, lowest {low:.3g}"
    written: dict[str, Path | str] = {"reference": path, "answers": config.cache}
    if personas:
        written["personas"] = f"{len(personas):,} answers, in {config.cache} too"
    if found.spent is not None:
        written["asked"] = str(found.spent)
    return Outcome(written={**written, "option mass": mass})


def _look_at_reference(arguments: argparse.Namespace, progress: "Progress") -> str:
    from crowdllm_jax.reference.make import plan_reference, show_reference

    if arguments.show is not None and arguments.show < 1:
        raise CrowdError(f"--show {arguments.show}: give a number of prompts, 1 or more")
    study, config, personas = _asked(arguments, progress)
    if arguments.dry_run:
        return plan_reference(study, config, personas)
    return show_reference(study, config, personas, arguments.show)


def _asked(
    arguments: argparse.Namespace, progress: "Progress"
) -> "tuple[Study, AskedReference, list[Question]]":
    """The study, the language model that a configuration asks about it, and what it is asked as
    personas."""
    from crowdllm_jax.reference.make import AskedReference
    from crowdllm_jax.run.config import load_config, load_study
    from crowdllm_jax.run.prepare import persona_questions

    config = load_config(arguments.config, tuple(arguments.overrides), arguments.data)
    if not isinstance(config.reference, AskedReference):
        kind = config.reference.__struct_config__.tag
        raise CrowdError(
            f"{arguments.config}: reference.kind is {kind}, which asks no language model; this "
            "command is for kind: backbone and kind: endpoint"
        )
    with stage(progress, READ):
        study = load_study(config)
    return study, config.reference, persona_questions(study, config)


def embed(arguments: argparse.Namespace, progress: "Progress") -> Outcome:
    from crowdllm_jax.reference.task_embeddings import embed_study, read_layers
    from crowdllm_jax.run.config import load_study

    path = arguments.out or Path(f"{arguments.path.stem}-embeddings.parquet")
    _check_parquet(path)
    layers = read_layers(arguments.layer) if arguments.layer else None
    # The file that is named as the study's embedding may be the one that is to be written.
    with stage(progress, READ):
        study = load_study(arguments.path, arguments.data, embedding=False)
    widths = embed_study(
        study,
        arguments.model,
        path,
        layers=layers,
        before=f"{arguments.before.strip()}\n\n" if arguments.before.strip() else "",
        revision=arguments.revision,
        progress=progress,
    )
    texts, width = len(study.tasks.ids), next(iter(widths.values()))
    told = f"{path}: {texts:,} texts, {width:,} numbers each"
    if len(widths) > 1:
        told += f"; to choose from: study.tasks.embedding.column: [{', '.join(widths)}]"
    return Outcome(written={"embeddings": told})


def _check_parquet(path: Path) -> None:
    if path.suffix != ".parquet" or path.is_dir():
        raise CrowdError(f"--out {path}: give the name of a file that ends in .parquet")


def verify(arguments: argparse.Namespace, progress: "Progress") -> Outcome:
    from crowdllm_jax.population.manifest import verify as check

    folder = arguments.folder
    count = check(folder, lambda done, total: progress("verify", done, total))
    return Outcome(
        written={"whole": f"{folder}: all {count} files and fitted crowds are as they were written"}
    )


def aggregate(arguments: argparse.Namespace, progress: "Progress") -> Outcome:
    from crowdllm_jax.aggregate.decide import check_table, decide, read_costs

    path, rule = arguments.path, arguments.rule
    if arguments.out is not None:
        check_table(arguments.out)
    costs = None
    if rule in ("greedy", "equal-shares"):
        if arguments.costs is None or arguments.budget is None:
            raise CrowdError(f"--rule {rule}: give --costs FILE and --budget B, too")
        costs = read_costs(arguments.costs, arguments.columns)
    elif arguments.costs is not None or arguments.budget is not None:
        raise CrowdError(
            f"--rule {rule}: takes no --costs and no --budget; give --rule greedy or "
            "--rule equal-shares"
        )
    table = decide(
        path,
        rule,
        data=arguments.data,
        costs=costs,
        budget=arguments.budget,
        worth=arguments.worth,
        progress=progress,
    )
    return _tabled(table, rule, arguments.out)


def infer(arguments: argparse.Namespace, progress: "Progress") -> Outcome:
    from crowdllm_jax.aggregate.decide import check_table
    from crowdllm_jax.infer.question import Estimand
    from crowdllm_jax.run.infer import infer_run

    if arguments.out is not None:
        check_table(arguments.out)

    pool, level = arguments.pool, arguments.level
    if arguments.share is not None:
        title = f"Share of people who answer {arguments.share}"
        question = Estimand("share", level=arguments.share, pool=pool, confidence=level)
    elif arguments.regress is not None:
        names = tuple(arguments.regress)
        title = f"Least squares of the answer on {', '.join(names)}"
        question = Estimand("regress", attributes=names, pool=pool, confidence=level)
    else:
        title, question = "Mean answers", Estimand(pool=pool, confidence=level)
    table = infer_run(
        arguments.run,
        question,
        None if arguments.tasks is None else tuple(arguments.tasks),
        arguments.profiles,
        arguments.weight,
        progress,
    )
    return _tabled(table, f"{title}, {100 * level:g}% intervals", arguments.out)


def _tabled(table: "pa.Table", title: str, out: Path | None) -> Outcome:
    """Show a table of results, and write it if a file is named."""
    from crowdllm_jax.aggregate.decide import write_table
    from crowdllm_jax.cli.terminal import table_of

    if out is not None:
        write_table(table, out)
    return Outcome(table=table_of(table, title), written={} if out is None else {"table": out})


def from_run(arguments: argparse.Namespace, progress: "Progress") -> Outcome:
    """The commands that need a run folder: sample, twin, evaluate, report."""
    from crowdllm_jax.cli.terminal import scoreboard_of
    from crowdllm_jax.run import steps
    from crowdllm_jax.run.config import load_study
    from crowdllm_jax.run.folder import main_model, open_run, stored_config
    from crowdllm_jax.run.prepare import Splits

    folder = arguments.run
    if arguments.command == "sample":
        import msgspec

        with open_run(folder) as config:
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
                target = steps.count_run(
                    folder, population.agents, population.seed, out, by, progress
                )
                return Outcome(written={"counts": target})
            if arguments.by is not None:
                raise CrowdError("--by: counts are grouped; give --aggregate, too")
            target = steps.sample_run(folder, population, arguments.out, progress)
        return Outcome(written={"population": target})
    if arguments.command == "twin":
        from crowdllm_jax.run.twins import twin_run

        with stage(progress, "make twins"):
            twin_run(
                folder,
                arguments.answers,
                arguments.out,
                data=arguments.data,
                draws=arguments.draws,
                seed=arguments.seed,
            )
        return Outcome(written={"twins": arguments.out})
    with stage(progress, READ):
        study = load_study(stored_config(folder))
    with open_run(folder, study=study) as config:
        splits = Splits(study, config, progress)
        if arguments.command == "evaluate":
            scores = steps.evaluate_run(folder, splits)
            short = _in_short(scores, steps.findings(folder), main_model(config))
            written = {"scores": folder / "scores.json", **short}
            return Outcome(table=scoreboard_of(scores), written=written)
        with stage(progress, "report"):
            return Outcome(written={"report": steps.report_run(folder, splits)})


def explore(arguments: argparse.Namespace, progress: "Progress") -> Outcome:
    from crowdllm_jax.explore.data import explore_run
    from crowdllm_jax.explore.server import make_server, serve

    # Before the population is read, which takes a while.
    server = make_server(arguments.port)
    explored = explore_run(arguments.run, arguments.population, arguments.data, progress)

    def then() -> Outcome:
        serve(server, explored, browse=arguments.open)
        return Outcome("ended")

    size = f"{explored.agents:,} agents, {len(explored.task_ids):,} tasks"
    shown = {"population": f"{size}, {explored.bytes / 1e6:,.1f} MB in memory", "page": server.url}
    return Outcome(written={**shown, "to end it": "Ctrl-C"}, then=then)


def bench(arguments: argparse.Namespace, progress: "Progress") -> Outcome:
    from crowdllm_jax.cli.bench import run_benchmarks
    from crowdllm_jax.cli.terminal import benchmarks_of

    records = run_benchmarks(arguments.folder, arguments.out, arguments.only, progress)
    return Outcome(table=benchmarks_of(records), written={"records": arguments.out})


COMMANDS: dict[str, Callable[[argparse.Namespace, "Progress"], Outcome]] = {
    "study": study,
    "run": begin_run,
    "fit": begin_run,
    "reference": reference,
    "embed": embed,
    "sample": from_run,
    "twin": from_run,
    "evaluate": from_run,
    "report": from_run,
    "aggregate": aggregate,
    "infer": infer,
    "explore": explore,
    "verify": verify,
    "bench": bench,
}
