"""Write a draft as a study: its tables as CSV and the YAML that says what they mean."""

import io
import os
import shlex
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.csv
from ruamel.yaml import YAML

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.files import write_whole
from crowdllm_jax.study.draft.draft import Draft, Options
from crowdllm_jax.study.read import read_study
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.spec import (
    AlternativesSpec,
    AttributeSpec,
    ParticipantsSpec,
    ResponsesSpec,
    StudySpec,
    TasksSpec,
)

FEW_PEOPLE = 10
"""Of fewer people than that, and than there are tasks, none can be spared: tasks are held out."""


@dataclass(frozen=True)
class Tables:
    """A study's tables by their file names, and what a study file says of them."""

    tables: Mapping[str, pa.Table]
    spec: StudySpec


def tables_of(draft: Draft, name: str) -> Tables:
    """The tables of a draft; files are called after `name`."""
    attributes, profile = _columns(draft, "tasks"), _columns(draft, "profile")
    own = {"participant": _repeated(draft.people, draft.person)} if draft.shares is None else {}
    answers = own | {
        "task": _repeated([task.id for task in draft.tasks], draft.task),
        "response": _repeated(draft.answers, draft.answer),
    }
    questions = {
        "task": [task.id for task in draft.tasks],
        "text": [task.text for task in draft.tasks],
        "scale": [task.scale for task in draft.tasks],
    }
    for attribute, column in attributes.items():
        questions[column] = [task.attributes[attribute] for task in draft.tasks]
    people = {column: draft.profile[attribute][1] for attribute, column in profile.items()}
    if draft.shares is not None:
        answers |= {"share": list(draft.shares.share)} | people
        if draft.shares.people is not None:
            answers["n"] = list(draft.shares.people)
    people = {"participant": list(draft.people)} | people
    if draft.weight is not None:
        people["weight"] = draft.weight
    files = {part: f"{name}-{part}.csv" for part in ("answers", "questions", "people")}
    spec = StudySpec(
        name=name,
        responses=_responses(draft, files["answers"]),
        tasks=TasksSpec(
            path=files["questions"],
            task="task",
            text="text",
            scale="scale" if len(draft.scales) > 1 else None,
            reverse=tuple(task.id for task in draft.tasks if task.reverse),
            attributes={attributes[key]: kind for key, kind in draft.attributes.items()},
        ),
        participants=ParticipantsSpec(
            path=files["people"] if draft.shares is None else None,
            participant="participant" if draft.shares is None else None,
            profile={profile[key]: kind for key, (kind, _) in draft.profile.items()},
            weight="weight" if draft.weight is not None else None,
        ),
        scales=draft.scales,
    )
    tables = {
        files["answers"]: pa.table(answers),
        files["questions"]: pa.table(questions),
    }
    if draft.shares is None:
        tables[files["people"]] = pa.table(people)
    if draft.options is not None:
        path = f"{name}-options.csv"
        table, attributes_of = _options(draft.options, [task.id for task in draft.tasks])
        tables[path] = table
        described = AlternativesSpec(path=path, task="task", attributes=attributes_of)
        spec = msgspec.structs.replace(spec, alternatives=described)
    return Tables(tables, spec)


def _responses(draft: Draft, path: str) -> ResponsesSpec:
    """What a study file says of the table of answers, or of published shares."""
    if (shares := draft.shares) is None:
        return ResponsesSpec(path=path)
    n = None if shares.people is None else "n"
    return ResponsesSpec(path=path, share="share", n=n, missing=shares.missing)


def _options(options: Options, ids: list[str]) -> tuple[pa.Table, dict[str, AttributeSpec]]:
    """The table of options, and what a study file says of its columns."""
    column = {name: f"{name}_" if name in ("task", "level") else name for name in options.said}
    table = {"task": [ids[task] for task in options.task], "level": options.level}
    table |= {column[name]: texts for name, (_, texts) in options.said.items()}
    return pa.table(table), {column[name]: kind for name, (kind, _) in options.said.items()}


def _columns(draft: Draft, part: str) -> dict[str, str]:
    """What attributes are called as columns, where a name may be that of one of ours."""
    names = draft.profile if part == "profile" else draft.attributes
    own = {"participant", "weight", "task", "text", "scale", "response", "share", "n"}
    return {name: f"{name}_" if name in own else name for name in names}


def _repeated(texts: Any, places: Any) -> pa.Array:
    return pa.DictionaryArray.from_arrays(
        pa.array(places, pa.int32()), pa.array(list(texts), pa.string())
    )


def study_of_draft(draft: Draft, name: str) -> Study:
    """A draft as a study in memory."""
    tables = tables_of(draft, name)
    with tempfile.TemporaryDirectory() as folder:
        return _read_back(tables, Path(folder))


def _read_back(tables: Tables, folder: Path) -> Study:
    """Write the tables into a folder, which is deleted later, and read the study from there, which
    checks them; messages do not name that folder."""

    def told(what: object) -> str:
        return str(what).replace(f"{folder}{os.sep}", "")

    for file, table in tables.tables.items():
        (folder / file).write_bytes(_csv(table))
    caught: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            return read_study(msgspec.structs.replace(tables.spec, folder=str(folder)))
    except CrowdError as error:
        raise CrowdError(told(error)) from error
    finally:
        for warning in caught:
            warnings.warn(told(warning.message), warning.category, stacklevel=2)


def _csv(table: pa.Table) -> bytes:
    out = pa.BufferOutputStream()
    flat = pa.table({name: column.cast(pa.string()) for name, column in _named(table)})
    pyarrow.csv.write_csv(flat, out)
    return out.getvalue().to_pybytes()


def _named(table: pa.Table) -> Any:
    return zip(table.column_names, table.columns, strict=True)


def write_study(
    draft: Draft, out: Path, *, force: bool, sources: Sequence[Path] = ()
) -> tuple[Study, list[Path]]:
    """Write a study file with its tables beside it, once all of it is known to be right.

    Args:
      force: replace files that are there. sources: the user's own files, which never are.
    Returns:
      the study as it reads, and the files, the study file first.
    Raises:
      CrowdError: a file is there already; nothing is written.
    """
    tables = tables_of(draft, out.stem)
    paths = [out, *(out.parent / file for file in tables.tables)]
    replaced = [path.resolve() for path in paths]
    if own := [path for path in sources if path.resolve() in replaced]:
        raise CrowdError(f"{own[0]}: would be replaced by the study's; give --out another name")
    if not force and (there := [path for path in paths if path.exists()]):
        raise CrowdError(
            f"{there[0]}: is there already; nothing was written. Give --out another file, or "
            "--force to replace it"
        )
    with tempfile.TemporaryDirectory() as folder:
        study = _read_back(tables, Path(folder))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CrowdError(f"{out.parent}: cannot be made: {error.strerror}") from error
    for file, table in tables.tables.items():
        write_whole(out.parent / file, _csv(table))
    # Last, so that a study file that is there has its tables.
    write_whole(out, _yaml(draft, tables.spec, out).encode())
    return study, paths


def _yaml(draft: Draft, spec: StudySpec, out: Path) -> str:
    """The study file, which is a configuration: with what is held out, and its reasons."""
    tree = _without_defaults(msgspec.to_builtins(spec))
    tree = {"name": tree.pop("name"), "folder": str(out.parent.resolve()), **tree}
    text = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None  # lists on one line, sections indented
    # No line is broken: a name that is broken within is none.
    yaml.width = 10**6
    yaml.allow_unicode = True
    yaml.representer.sort_base_mapping_type_on_output = False
    yaml.dump({"study": tree, "split": {"by": _by(draft)}, "population": {"agents": 10_000}}, text)
    told = "\n".join(f"# - {_one_line(reason)}" for reason in draft.reasons)
    return (
        f"# Made from {draft.what} by `crowdllm init`; why it is so:\n{told}\n#\n"
        f"#   crowdllm run {shlex.quote(out.name)}\n\n{text.getvalue()}"
    )


def _by(draft: Draft) -> str:
    """What to hold out. Choice sets are often everybody's own: of the others' answers to them
    nothing is known, but of everybody's other choices, where there are some."""
    if draft.options is not None and len(draft.answer) >= 2 * len(draft.people):
        return "answers"
    if draft.shares is not None:
        return "tasks"
    return "people" if len(draft.people) >= min(FEW_PEOPLE, len(draft.tasks)) else "tasks"


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _without_defaults(tree: Any) -> Any:
    """A tree without empty entries; a scale's kind stays."""
    if not isinstance(tree, dict):
        return list(tree) if isinstance(tree, tuple) else tree
    kept = {key: _without_defaults(value) for key, value in tree.items()}
    usual = {"delimiter": ",", "encoding": "utf-8", "decimal": ".", "folder": "."}
    return {
        key: value
        for key, value in kept.items()
        if value not in (None, {}, [], ()) and usual.get(key) != value
    }
