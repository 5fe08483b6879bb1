"""A study by the path of the file that describes it."""

from pathlib import Path
from typing import Any, get_args

from msgspec import structs

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.yaml import convert, read_yaml
from crowdllm_jax.study import datasets
from crowdllm_jax.study.read import read_study
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.spec import StudySpec


def load_study_file(path: str | Path, data: str | None = None, *, embedding: bool = True) -> Study:
    """Read the study that a study file describes, or a configuration under `study`.

    Args:
      data: replaces the folder of the study's tables. embedding: read the tasks' embedding, too.
    Raises:
      CrowdError: see `read.read_study`.
    """
    tree: Any = read_yaml(Path(path))
    tree = tree.get("study", tree)
    if isinstance(tree, dict) and data is not None:
        tree["folder"] = data
    elif data is not None:
        raise CrowdError(f"--data: the study of {path} comes with the package, not from files")
    check_named(tree, str(path))
    kind: Any = StudySpec if isinstance(tree, dict) else datasets.Name
    return study_of(convert(tree, kind, str(path)), embedding=embedding)


def check_named(study: Any, where: str) -> None:
    """Raise CrowdError if a study is named that does not come along, as if it were a file."""
    known = get_args(datasets.Name)
    if isinstance(study, str) and study not in known:
        raise CrowdError(
            f"{where}: study: '{study}' is no study that comes with the package "
            f"({', '.join(known)}); write what a study file holds as keys below `study:`, as "
            "`crowdllm init TABLE` does"
        )


def study_of(spec: StudySpec | datasets.Name, *, embedding: bool = True) -> Study:
    """Read the study that a specification describes, or one that comes with the package."""
    if isinstance(spec, str):
        return datasets.anes96()
    if not embedding:
        spec = structs.replace(spec, tasks=structs.replace(spec.tasks, embedding=None))
    return read_study(spec)
