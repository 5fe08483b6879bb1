"""Twins of people by a fitted run: read their answers, sample, write."""

from pathlib import Path

import msgspec

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.population.write_twins import twins_in_parts
from crowdllm_jax.runs.folder import fitted_crowd, stored_config
from crowdllm_jax.runtime.files import check_new
from crowdllm_jax.runtime.progress import Progress, silent
from crowdllm_jax.study.read import read_answers
from crowdllm_jax.study.records import Study, Tasks
from crowdllm_jax.study.spec import ParticipantsSpec, ResponsesSpec, StudySpec, attribute_spec


def twin_run(
    folder: Path,
    answers: Path,
    out: Path,
    *,
    data: str | None = None,
    witnesses: dict[str, str] | None = None,
    draws: int = 200,
    seed: int = 0,
    progress: Progress = silent,
) -> None:
    """Write twins of people, known by some of their answers, by the first seed's crowd; several
    processes share the people.

    Args:
      answers: a long table with the columns of the run's responses, profile columns among them.
      data: a folder that holds the run's own table of participants, from which profiles are then
        taken; None takes them from `answers`.
      witnesses: by name, tables of what the run's witnesses say of these people.
    Raises:
      CrowdError: the crowd has no twins, the answers do not suit it, or `out` holds something.
    """
    crowd = fitted_crowd(folder)
    # Asked before anything is read or drawn.
    check_new(out)
    study = stored_config(folder).study
    if isinstance(study, StudySpec) and study.responses.share is not None:
        raise CrowdError(
            "twins: the run was fitted to published shares (study.responses.share), from which it "
            "has learned nothing of how one person's answers hang together; fit one to people's own"
        )
    people = _answers_to(crowd, study, answers, data, witnesses)
    twins_in_parts(crowd, people, out, draws=draws, seed=seed, progress=progress)


def _answers_to(
    crowd: Crowd,
    study: StudySpec | str | None,
    path: Path,
    data: str | None,
    witnesses: dict[str, str] | None = None,
) -> Study:
    """Read people's answers to a crowd's tasks, in the columns of the study it was fitted on."""
    if not isinstance(study, StudySpec):
        # A study that comes with a package has no columns; these are the defaults.
        profile = {c.name: attribute_spec(c.kind, c.levels) for c in crowd.codings}
        study = StudySpec(
            responses=ResponsesSpec(path=""),
            scales=crowd.scales,
            participants=ParticipantsSpec(profile=profile),
        )
    people = msgspec.structs.replace(study.participants, weight=None)
    if data is None:
        people = msgspec.structs.replace(people, path=None, participant=None)
    elif people.path is None:
        raise CrowdError(
            "--data: the run's study has no table of participants; profiles are read "
            "from the answers"
        )
    spec = msgspec.structs.replace(
        study,
        name=str(path),
        folder=data or ".",
        responses=msgspec.structs.replace(study.responses, path=str(path.absolute())),
        participants=people,
        witnesses={name: str(Path(file).absolute()) for name, file in (witnesses or {}).items()},
    )
    tasks = Tasks(crowd.task_ids, crowd.task_ids, crowd.task_scale, (), None)
    return read_answers(spec, tasks)
