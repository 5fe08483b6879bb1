"""An election as a study: voters are people, projects are tasks, all on one ballot."""

import numpy as np

from crowdllm_jax.study.draft.draft import Draft, Task, shown
from crowdllm_jax.study.draft.people import profile_of
from crowdllm_jax.study.formats.pabulib import Election, answers_of
from crowdllm_jax.study.formats.sheet import Field, column_of
from crowdllm_jax.study.spec import AttributeSpec


def from_election(election: Election) -> Draft:
    """Make a study of ballots; voters who gave nothing to any project are no voters."""
    reasons = list(election.notes)
    voters = [voter for voter, (_, given) in election.voters.items() if given]
    if len(voters) < len(election.voters):
        reasons.append(f"Left out, empty ballots: {len(election.voters) - len(voters):,}.")
    person_of = {voter: i for i, voter in enumerate(voters)}
    task_of = {project: i for i, project in enumerate(election.projects)}
    index: dict[str, int] = {}
    rows = [
        (person_of[voter], task_of[project], index.setdefault(text, len(index)))
        for voter, project, text in answers_of(election)
    ]
    person, task, answer = np.array(rows, np.int32).reshape(-1, 3).T
    known = sorted({name for profile, _ in election.voters.values() for name in profile})
    fields = [
        Field(
            name,
            column_of(election.path, name, (election.voters[v][0].get(name) for v in voters)),
        )
        for name in known
    ]
    profile = profile_of(fields, np.arange(len(voters)), reasons)
    if profile:
        reasons.append(f"Profile: {shown(profile, 12)}.")
    tasks, attributes = _tasks(election)
    if attributes:
        reasons.append(f"Attributes of projects: {shown(attributes)}.")
    return Draft(
        election.what,
        tuple(voters),
        profile,
        None,
        tasks,
        person,
        task,
        answer,
        tuple(index),
        {"vote": election.scale},
        attributes,
        tuple(reasons),
    )


def _tasks(election: Election) -> tuple[tuple[Task, ...], dict[str, AttributeSpec]]:
    told = {name for _, own in election.projects.values() for name in own}
    kinds: dict[str, AttributeSpec] = {}
    for name in sorted(told):
        cells = {own.get(name, "") for _, own in election.projects.values()}
        if name == "cost":
            kinds[name] = "numeric"
        elif 1 < len(cells) <= 20:
            kinds[name] = "categorical"
    tasks = tuple(
        Task(
            project,
            text or project,
            "vote",
            attributes={name: own.get(name, "") for name in kinds},
        )
        for project, (text, own) in election.projects.items()
    )
    return tasks, kinds
