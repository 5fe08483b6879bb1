"""`init`: look at a file of answers and write the study that says what it means."""

import argparse
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from crowdllm_jax.cli.arguments import Commands, add_quiet_command
from crowdllm_jax.cli.outcome import Outcome
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.progress import READ, Progress, stage

if TYPE_CHECKING:
    from crowdllm_jax.study.draft.draft import Choices


def add_init(commands: Commands) -> None:
    """Add `init`."""
    command = add_quiet_command(
        commands,
        "init",
        init,
        "look at any file of answers and write the study for `run`",
        "Look at a file of people's answers - CSV, Excel, SPSS, Stata, Parquet, exports "
        "of\nQualtrics, SurveyMonkey, LimeSurvey, Label Studio and Mechanical Turk, Pabulib, "
        "PrefLib;\na row per person or a row per answer - and write a study file with its "
        "tables, and why it\nis so. Where a guess would be dangerous it asks one question and "
        "writes nothing.",
        "crowdllm init answers.csv && crowdllm run answers.yaml",
    )
    command.add_argument("file", metavar="FILE", type=Path, help="the file of answers")
    command.add_argument(
        "--out",
        metavar="STUDY.yaml",
        type=Path,
        help="study file to write, its tables beside it (default: FILE's name, in this folder)",
    )
    command.add_argument("--force", action="store_true", help="replace files that are there")
    _add_choices(command.add_argument_group("what is not to be guessed"))
    _add_files(command.add_argument_group("how the file is written, and other files"))


def _add_choices(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--id", metavar="COLUMN", help="people's ids")
    group.add_argument("--task", metavar="COLUMN", help="ids of tasks, where a row is an answer")
    group.add_argument("--response", metavar="COLUMN", help="answers of such rows (A,B: each)")
    group.add_argument("--weight", metavar="COLUMN", help="survey weights, or none")
    group.add_argument("--profile", metavar="A,B", default="", help="columns that describe people")
    group.add_argument("--questions", metavar="A,B", default="", help="columns that are questions")
    group.add_argument("--leave-out", metavar="A,B", default="", help="columns that are neither")
    group.add_argument("--reverse", metavar="A,B", default="", help="reverse-keyed questions")
    group.add_argument(
        "--missing",
        metavar="A,B",
        default="",
        help="texts or numbers that mean no answer; none: no number is taken for such",
    )
    for flag, told in (("--order", "from the lowest to the highest"), ("--no-order", "unordered")):
        group.add_argument(
            flag,
            metavar="A,B,C",
            action="append",
            default=[],
            help=f"answers {told}; may be given several times",
        )


def _add_files(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--encoding", metavar="NAME", help="of a CSV, such as cp1250")
    group.add_argument("--sheet", metavar="NAME", help="of a workbook")
    group.add_argument(
        "--people", metavar="FILE", type=Path, help="a table of people, joined by their ids"
    )
    group.add_argument(
        "--questionnaire", metavar="QSF", type=Path, help="the survey of a Qualtrics export (.qsf)"
    )


def init(arguments: argparse.Namespace, progress: Progress) -> Outcome:
    """Write a study of a file."""
    from crowdllm_jax.study.archive import bare_name
    from crowdllm_jax.study.describe import describe
    from crowdllm_jax.study.draft.make import draft_of_file
    from crowdllm_jax.study.draft.write import write_study
    from crowdllm_jax.study.tables import check_file

    check_file(arguments.file)
    out = arguments.out or Path(f"{Path(bare_name(arguments.file)).stem}.yaml")
    if out.suffix not in (".yaml", ".yml"):
        raise CrowdError(f"--out {out}: is to be a YAML file, such as {out / 'study.yaml'}")
    if not arguments.force and out.exists():
        raise CrowdError(
            f"{out}: is there already; nothing was written. Give --out another file, or --force to "
            "replace it"
        )
    with stage(progress, READ):
        draft = draft_of_file(
            arguments.file,
            choices_of(arguments),
            encoding=arguments.encoding,
            sheet=arguments.sheet,
            people=arguments.people,
            questionnaire=arguments.questionnaire,
        )
        sources = [arguments.file, arguments.people, arguments.questionnaire]
        own = [path for path in sources if path is not None]
        study, files = write_study(draft, out, force=arguments.force, sources=own)
    reasons = "\n".join(f"- {reason}" for reason in draft.reasons)
    text = f"{arguments.file} is {draft.what}.\n{reasons}\n\n{describe(study)}\n"
    written: dict[str, Path | str] = {"study": files[0]}
    written |= {path.stem.rsplit("-", 1)[-1]: path for path in files[1:]}
    written |= {"next": f"crowdllm run {quote(str(files[0]))}"}
    data = {"file": str(arguments.file), "is": draft.what, "why": list(draft.reasons)}
    return Outcome(text, written=written, data=data)


def choices_of(arguments: argparse.Namespace) -> "Choices":
    """What the flags say of the file."""
    from crowdllm_jax.study.draft.draft import Choices, listed

    return Choices(
        person=arguments.id,
        task=arguments.task,
        response=arguments.response,
        weight=arguments.weight,
        profile=listed(arguments.profile),
        questions=listed(arguments.questions),
        out=listed(arguments.leave_out),
        orders=tuple(map(listed, arguments.order)),
        unordered=tuple(map(listed, arguments.no_order)),
        missing=listed(arguments.missing),
        reverse=listed(arguments.reverse),
    )
