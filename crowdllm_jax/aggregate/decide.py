"""From a folder or a study to a table of the crowd's decisions, by one of four rules."""

from pathlib import Path
from typing import Literal, get_args

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from crowdllm_jax.aggregate.budgeting import Worth, fund
from crowdllm_jax.aggregate.dawid_skene import infer_truth
from crowdllm_jax.aggregate.summary import histogram, read_counts, summarise
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.population.among import agents_among
from crowdllm_jax.population.read import Answers, answers_of, open_population, read_manifest
from crowdllm_jax.profiles.where import people_among
from crowdllm_jax.runtime.files import write_whole
from crowdllm_jax.runtime.given import as_path
from crowdllm_jax.runtime.named import named
from crowdllm_jax.runtime.numerals import number
from crowdllm_jax.runtime.progress import READ, Progress, silent, stage
from crowdllm_jax.study.condition import condition_of
from crowdllm_jax.study.formats.delimited import read_separated
from crowdllm_jax.study.load import load_study_file
from crowdllm_jax.study.records import Study, only_people

Rule = Literal["summary", "dawid-skene", "greedy", "equal-shares"]


_SOURCE = "decide: give a population's folder, a study or the path of one"


def decide(
    source: Path | str | Study,
    rule: Rule = "summary",
    *,
    data: str | None = None,
    costs: dict[str, float] | None = None,
    budget: float | None = None,
    worth: Worth = "cost",
    where: str | None = None,
    progress: Progress = silent,
) -> pa.Table:
    """Aggregate answers to one row per task.

    Args:
      source: a population's folder (or its counts'), a study, or the path of a study's YAML.
      data: folder of the study's tables.
      where: a condition on profiles (see `profiles.where`); only people (agents) who are so count.
      costs: of each project by task id, for greedy and equal-shares. budget: to spend, in their
        units.
      worth: what a funded project counts for its voter (see `budgeting.fund`).
    Returns:
      A table of Arrow with a row per task (`to_pandas()` makes a data frame). Of "summary": how
      many answered, the mean in the scale's units with a 95% interval, shares; else the label, or
      whether it is funded.
    Raises:
      CrowdError: the answers cannot be read, or the rule does not suit them.

    Examples:
      >>> cl.decide(study).column("task_id")[0].as_py()
      'self_placement'
    """
    if rule not in get_args(Rule):
        raise CrowdError(f"decide: there is no rule '{rule}'; give {', '.join(get_args(Rule))}")
    folder = None if isinstance(source, Study) else as_path(source, _SOURCE)
    if folder is not None and folder.is_dir():
        if data is not None:
            raise CrowdError(f"--data: {folder} is a population's folder, which needs no tables")
        if rule == "summary" and read_manifest(folder).counts:
            if where is not None:
                raise CrowdError(
                    f"--where: {folder} holds counts of all agents; count those alone (`crowdllm "
                    "sample RUN --aggregate --where`)"
                )
            return _synthetic(summarise(read_counts(folder)))
        answers: Answers = open_population(folder)
        if where is not None:
            answers = agents_among(folder, answers, condition_of(where))
    else:
        answers = _of_people(source, data, where, progress)
    if rule == "summary":
        table = summarise(histogram(answers, progress))
    elif rule == "dawid-skene":
        table = infer_truth(answers, progress)
    elif costs is None or budget is None:
        raise CrowdError(f"{rule}: give the projects' costs and a budget")
    else:
        table = fund(answers, costs, budget, rule, worth, progress)
    return table if answers.effective is None else _synthetic(table)


def _of_people(
    source: Path | str | Study, data: str | None, where: str | None, progress: Progress
) -> Answers:
    """The answers in a study, of those people who fulfil a condition."""
    with stage(progress, READ):
        study = source if isinstance(source, Study) else load_study_file(source, data)
    if where is not None:
        people = study.participants
        kept = people_among(people.profile, people.weight, condition_of(where))
        study = only_people(study, kept)[0]
    return answers_of(study)


def _synthetic(table: pa.Table) -> pa.Table:
    return table.replace_schema_metadata({"crowdllm.synthetic": "true"})


def read_costs(path: Path, columns: str) -> dict[str, float]:
    """Costs by task id from a table's columns TASK,COST.

    Raises:
      CrowdError: names the file, the row and what is wrong with it.
    """
    names = named("--columns", [columns])
    if len(names) != 2 or not all(names):
        raise CrowdError(f"--columns {columns}: give two column names, TASK,COST")
    try:
        table = read_separated(path, list(names), numbers=names[1:])
    except CrowdError as error:
        hint = "; --columns TASK,COST names them" if "no column" in str(error) else ""
        raise CrowdError(f"{error}{hint}") from error
    task, cost = table[names[0]], table[names[1]]
    cost.warn_of_thousands()
    costs: dict[str, float] = {}
    for row, (key, cell) in enumerate(zip(task.codes, cost.codes, strict=True), start=2):
        value = number(cost.distinct[cell]) if cell >= 0 else None
        if key < 0:
            raise CrowdError(f"{task.where}: row {row} is empty; every row needs an id")
        name = task.distinct[key]
        if value is None or value <= 0:
            shown = f"holds '{cost.distinct[cell]}'" if cell >= 0 else "is empty"
            raise CrowdError(
                f"{cost.where}: row {row} ('{name}') {shown}; a cost is a number above 0"
            )
        if name in costs:
            raise CrowdError(
                f"{task.where}: '{name}' stands there twice, again in row {row}; each "
                "project has one cost"
            )
        costs[name] = value
    return costs


def check_table(path: Path) -> None:
    """Raise CrowdError unless a table can be written there; asked before long work."""
    if path.suffix not in (".csv", ".parquet"):
        raise CrowdError(f"--out {path}: give the name of a file that ends in .csv or .parquet")
    if path.exists():
        raise CrowdError(f"--out {path}: is there already; give another name")


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table as .csv or .parquet, whole or not at all."""
    check_table(path)
    sink = pa.BufferOutputStream()
    if path.suffix == ".csv":
        pyarrow.csv.write_csv(table, sink)
    else:
        pq.write_table(table, sink)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CrowdError(f"{path.parent}: cannot be made: {error.strerror}") from error
    write_whole(path, sink.getvalue().to_pybytes())
