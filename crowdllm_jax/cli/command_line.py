"""What may be written behind `crowdllm`, and what its help says; `cli` acts on it."""

import argparse
from pathlib import Path

from crowdllm_jax.cli.study_commands import add_study
from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.runtime.version import __version__

CONFIG_HELP = "configuration (YAML), such as configs/anes96.yaml"
RUN_HELP = "run folder, made by `crowdllm run` or `crowdllm fit`"

EPILOG = """\
examples:
  crowdllm run configs/anes96.yaml                 everything, into runs/anes96
  crowdllm study check my_study.yaml               what a study holds, before anything is trained
  crowdllm study fractions configs/anes96.yaml     how few people are enough
  crowdllm reference my_config.yaml --dry-run      what asking a language model would take
  crowdllm sample runs/anes96 --agents 1000000 --out million
  crowdllm aggregate million                       what that crowd decides
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="crowdllm",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Make a digital population from a small sample of human answers, and see how "
        "close it comes to people it was not shown.",
    )
    top.add_argument("--version", action="version", version=f"crowdllm-jax {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, summary: str, text: str, example: str) -> argparse.ArgumentParser:
        own = commands.add_parser(
            name,
            help=summary,
            description=text,
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        own.add_argument("--quiet", action="store_true", help="show no progress")
        return own

    def with_config(own: argparse.ArgumentParser) -> None:
        own.add_argument("config", metavar="CONFIG", type=Path, help=CONFIG_HELP)
        own.add_argument(
            "--data", metavar="DIR", help="folder of the study's tables (replaces study.folder)"
        )
        own.add_argument(
            "--set",
            metavar="KEY=VALUE",
            action="append",
            default=[],
            dest="overrides",
            help="replace one entry of the configuration, such as "
            "train.epochs=20; may be given several times",
        )

    def distributed(own: argparse.ArgumentParser) -> None:
        several = own.add_argument_group(
            "several processes",
            "The same command on every machine, with a folder that all share. Results do not\n"
            "depend on how many there are; docs/reliability.md shows SLURM and Kubernetes.",
        )
        several.add_argument(
            "--distributed", action="store_true", help="be one of several processes"
        )
        several.add_argument(
            "--coordinator",
            metavar="HOST:PORT",
            help="of process 0; leave these out where a scheduler knows",
        )
        several.add_argument("--processes", metavar="P", type=int, help="how many there are")
        several.add_argument("--process", metavar="I", type=int, help="which this is, from 0")
        several.add_argument(
            "--wait",
            metavar="SECONDS",
            type=int,
            default=25,
            help="for the others at the start (default: %(default)s)",
        )

    def configured(own: argparse.ArgumentParser) -> None:
        with_config(own)
        own.add_argument(
            "--out",
            metavar="DIR",
            type=Path,
            help="run folder (default: runs/ and the configuration's name); a folder "
            "that holds part of this very run is continued",
        )
        own.add_argument(
            "--seeds",
            metavar="N",
            type=int,
            help="repeat with N splits and initial weights (replaces seeds)",
        )

    run = command(
        "run",
        "study to report in one go",
        "Load a study, fit a crowd, write a population, score it on held-out answers and write a\n"
        "report, all in one run folder: config.yaml, population/, scores.json, report.html.\n"
        "Started again after an interruption, it continues.",
        "crowdllm run configs/offensiveness.yaml --data my/data --seeds 5 --out runs/mine",
    )
    configured(run)
    distributed(run)
    fit = command(
        "fit",
        "only train the models of a run",
        "Load a study and train the crowd and the VAE-only baseline into a run folder.\n"
        "Interrupted, it continues from the last epoch.",
        "crowdllm fit configs/anes96.yaml --set train.epochs=80 --out runs/long",
    )
    configured(fit)
    distributed(fit)
    reference = command(
        "reference",
        "ask a language model about every task",
        "Get the reference decisions of a configuration whose reference.kind is backbone or\n"
        "endpoint, and write them as a table that `reference: {kind: column}` reads anywhere.\n"
        "Answers are kept in reference.cache as they come, so that the command, started again,\n"
        "asks only what is missing, and `crowdllm run` asks nothing twice.",
        "crowdllm reference configs/mine.yaml --show 2",
    )
    with_config(reference)
    distributed(reference)
    reference.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help="table to write (default: the configuration's name and -reference.parquet)",
    )
    only = reference.add_mutually_exclusive_group()
    only.add_argument(
        "--show",
        metavar="N",
        type=int,
        help="print the first N prompts as the model sees them, and do nothing else",
    )
    only.add_argument(
        "--dry-run",
        action="store_true",
        help="print how much there is to ask and what it may cost, and do nothing else",
    )
    embed = command(
        "embed",
        "write embeddings of the tasks' texts",
        "Embed every task's text with a sentence encoder of the BERT family, or with a language\n"
        "model's hidden states, and write the table that `study.tasks.embedding: {path: FILE}`\n"
        "reads. The fitted reference and the crowd generalise to new tasks through it.",
        "crowdllm embed configs/mine.yaml --model sentence-transformers/all-MiniLM-L6-v2",
    )
    embed.add_argument("path", metavar="STUDY", type=Path, help="study file or configuration")
    embed.add_argument(
        "--model", metavar="MODEL", required=True, help="a Hugging Face folder or hub id"
    )
    embed.add_argument("--revision", metavar="NAME", help="branch, tag or commit of a hub id")
    embed.add_argument(
        "--layer",
        metavar="N",
        help="of a language model: after how many layers (default: a third of them); several "
        "(8,10,15), or auto for a few, are written side by side for the study to choose from",
    )
    embed.add_argument(
        "--before",
        metavar="TEXT",
        default="",
        help="of a language model: what stands in front of every text, such as the question that "
        "people answer about it",
    )
    embed.add_argument(
        "--data", metavar="DIR", help="folder of the study's tables (replaces study.folder)"
    )
    embed.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help="table to write (default: the study file's name and -embeddings.parquet)",
    )
    sample = command(
        "sample",
        "write a population of a fitted run",
        "Draw agents from a run's fitted crowd into Parquet parts. An agent's answers depend on\n"
        "the crowd, the seed and its id alone, so a larger population begins with the smaller\n"
        "one. With --aggregate only the answers' counts are written; the published model's agents\n"
        "need not be drawn for that, so a billion take seconds. The study's data are not needed.",
        "crowdllm sample runs/anes96 --agents 1000000 --out million",
    )
    distributed(sample)
    sample.add_argument("run", metavar="RUN", type=Path, help=RUN_HELP)
    sample.add_argument(
        "--agents", metavar="N", type=int, help="number of agents (default: as configured)"
    )
    sample.add_argument(
        "--seed", metavar="S", type=int, help="seed of the population (default: as configured)"
    )
    sample.add_argument(
        "--layout",
        choices=("long", "wide"),
        help="a row per decision, or a row per agent with a column per task, which is quicker to "
        "ask across tasks (default: as configured)",
    )
    sample.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="folder to write to (default: RUN/population, which holds the configured population;"
        " RUN/counts with --aggregate)",
    )
    sample.add_argument(
        "--aggregate",
        action="store_true",
        help="write only how many agents give each answer (counts.parquet), not the agents",
    )
    sample.add_argument(
        "--by",
        metavar="ATTRIBUTE",
        type=tidy_name,
        help="with --aggregate: count each value of a profile attribute apart",
    )
    aggregate = command(
        "aggregate",
        "what a crowd decides",
        "Aggregate the answers of a population (or its counts, or a study's real people) to one\n"
        "row per task, print it, and write it where --out says. Rules:\n"
        "  summary       mean with an interval that does not shrink with the number of agents,\n"
        "                most frequent answer; ballots' totals (approvals, Borda points, points)\n"
        "  dawid-skene   the true answer, inferred with everybody's way to err, and confidence\n"
        "  greedy        projects funded by votes, while the budget lasts\n"
        "  equal-shares  projects funded so that every voter decides on the same part of it",
        "crowdllm aggregate runs/votes/population --rule equal-shares --costs projects.csv \\\n"
        "      --budget 60000 --columns project_id,cost",
    )
    aggregate.add_argument(
        "path",
        metavar="PATH",
        type=Path,
        help="folder that `crowdllm sample` wrote, or a study or configuration (YAML)",
    )
    aggregate.add_argument(
        "--rule",
        choices=("summary", "dawid-skene", "greedy", "equal-shares"),
        default="summary",
        help="(default: summary)",
    )
    aggregate.add_argument(
        "--data", metavar="DIR", help="folder of the study's tables, where PATH is a study"
    )
    aggregate.add_argument(
        "--costs",
        metavar="FILE",
        type=Path,
        help="CSV or Parquet table of the projects' costs (greedy, equal-shares)",
    )
    aggregate.add_argument(
        "--columns",
        metavar="TASK,COST",
        type=tidy_name,
        default="task_id,cost",
        help="its columns with the projects' ids and costs; a name that holds a comma stands in "
        "quotes (default: task_id,cost)",
    )
    aggregate.add_argument("--budget", metavar="B", type=float, help="what there is to spend")
    aggregate.add_argument(
        "--worth",
        choices=("cost", "votes"),
        default="cost",
        help="what a funded project is worth to a voter: votes x cost, or votes (default: cost)",
    )
    aggregate.add_argument(
        "--out", metavar="FILE", type=Path, help="table to write, .csv or .parquet, not there yet"
    )
    twin = command(
        "twin",
        "write digital twins of people who answered a little",
        "Sample, for each person in a table, how that person would answer every task, given the\n"
        "answers the table holds. It has the columns of the run's responses and profiles; people\n"
        "may be new, tasks must be the run's, an empty response counts as none. Writes Parquet\n"
        "tables: twins, their expected answers with 90% intervals, and beliefs.",
        "crowdllm twin runs/anes96 --answers few.csv --draws 500 --out twins",
    )
    twin.add_argument("run", metavar="RUN", type=Path, help=RUN_HELP)
    twin.add_argument(
        "--answers",
        metavar="FILE",
        type=Path,
        required=True,
        help="CSV or Parquet table, one row per person and task",
    )
    twin.add_argument(
        "--data",
        metavar="DIR",
        help="folder with the run's own table of participants, to take profiles from "
        "(default: profiles are columns of FILE)",
    )
    twin.add_argument(
        "--draws", metavar="N", type=int, default=200, help="twins per person (default: 200)"
    )
    twin.add_argument(
        "--seed", metavar="S", type=int, default=0, help="seed of the twins (default: 0)"
    )
    twin.add_argument(
        "--out", metavar="DIR", type=Path, required=True, help="folder to write, not there yet"
    )
    infer = command(
        "infer",
        "estimates about people, with valid intervals",
        "Estimate a mean, a share or regression coefficients from the answers that a run held out\n"
        "and its crowd (prediction-powered inference). The crowd's predictions are corrected by\n"
        "these people's answers; where they are good the interval is narrower than that of the\n"
        "people alone, and agents do not count as people. effective_people says how many people's\n"
        "answers alone would do as well.",
        "crowdllm infer runs/anes96 --share Dole --tasks vote",
    )
    infer.add_argument("run", metavar="RUN", type=Path, help=RUN_HELP)
    asked = infer.add_mutually_exclusive_group()
    asked.add_argument("--mean", action="store_true", help="mean answers (the default)")
    asked.add_argument(
        "--share", metavar="LEVEL", type=tidy_name, help="share of people who give an answer"
    )
    asked.add_argument(
        "--regress",
        metavar="ATTR,..",
        type=tidy_name,
        action="append",
        help="coefficients of least squares of the answer on profile attributes; listed as tasks "
        "are",
    )
    infer.add_argument(
        "--tasks",
        metavar="ID,..",
        type=tidy_name,
        action="append",
        help="tasks to ask of (default: all held out that suit and have enough people); may be "
        "given several times. An id that holds a comma is given by itself (--tasks 'Q1, part b'), "
        "or in quotes inside a list (--tasks '\"Q1, part b\",Q2')",
    )
    infer.add_argument(
        "--pool",
        action="store_true",
        help="take the tasks together, each counting the same, instead of one by one",
    )
    infer.add_argument(
        "--profiles",
        metavar="FILE",
        type=Path,
        help="CSV or Parquet table of real people's profiles, a row each, such as a census sample "
        "(default: the study's people who give no held-out answer)",
    )
    infer.add_argument("--weight", metavar="COLUMN", type=tidy_name, help="survey weights in FILE")
    infer.add_argument(
        "--level",
        metavar="C",
        type=float,
        default=0.95,
        help="confidence of the intervals (default: 0.95)",
    )
    infer.add_argument(
        "--out", metavar="FILE", type=Path, help="table to write, .csv or .parquet, not there yet"
    )
    evaluate = command(
        "evaluate",
        "score a run's crowds on held-out answers",
        "Score every fitted crowd of a run beside the human noise ceiling and the baselines;\n"
        "prints the scoreboard and writes scores.json.",
        "crowdllm evaluate runs/anes96",
    )
    evaluate.add_argument("run", metavar="RUN", type=Path, help=RUN_HELP)
    explore = command(
        "explore",
        "look at a population on a local page",
        "Load a run's population (1 GB of memory holds a million agents' answers to 1,000 tasks)\n"
        "and serve a page, to this machine alone, on which one filters agents by profile, picks a\n"
        "task, and sees the answers beside those of the held-out people of that profile. Ctrl-C\n"
        "ends it.",
        "crowdllm explore runs/anes96 --open",
    )
    explore.add_argument("run", metavar="RUN", type=Path, help=RUN_HELP)
    explore.add_argument(
        "--population",
        metavar="DIR",
        type=Path,
        help="folder that `crowdllm sample RUN --out DIR` wrote (default: RUN/population)",
    )
    explore.add_argument(
        "--data", metavar="DIR", help="folder of the study's tables (replaces study.folder)"
    )
    explore.add_argument(
        "--port", metavar="P", type=int, default=0, help="(default: any that is free)"
    )
    explore.add_argument("--open", action="store_true", help="open the page in the browser")
    page = command(
        "report",
        "write report.html of a scored run",
        "Write one self-contained page: scoreboard, human and crowd histograms, training curves,\n"
        "provenance.",
        "crowdllm report runs/anes96",
    )
    page.add_argument("run", metavar="RUN", type=Path, help=RUN_HELP)
    verify = command(
        "verify",
        "make sure that what was written is still as it was",
        "Compare every file of a population, of counts, of twins, or of a whole run (its fitted\n"
        "crowds included) with the sha256 that was noted when it was written. Exit code 2 and a\n"
        "list of what is damaged, missing or foreign if anything is.",
        "crowdllm verify runs/anes96",
    )
    verify.add_argument("folder", metavar="FOLDER", type=Path, help="written by this program")
    bench = command(
        "bench",
        "measure speed against torch and this machine's ceilings",
        "Run the benchmark scripts of the repository (a few minutes each) and print what they\n"
        "measured as one table, shares of the measured ceilings included. They need the extra\n"
        "`benchmarks`: pip install 'crowdllm-jax[benchmarks]'.",
        "crowdllm bench --only population --out bench",
    )
    bench.add_argument(
        "--folder",
        metavar="DIR",
        type=Path,
        default=Path("benchmarks"),
        help="the repository's folder of benchmarks (default: ./benchmarks)",
    )
    bench.add_argument(
        "--only",
        metavar="NAME",
        action="append",
        default=[],
        help="population, writing, training, aggregate or backbone; may be given several times",
    )
    bench.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        default=Path("bench"),
        help="folder for the records, a JSON file per benchmark (default: ./bench)",
    )
    add_study(commands, with_config)
    return top
