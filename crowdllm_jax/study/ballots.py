"""Ballots: whole, and within the rule of their scale.

Data often list only the projects that a voter chose. A ballot has one meaning, whichever way it is
written: the projects of it that a voter leaves out got nothing. It is made whole once, as a study
is read, so that everything after sees the same answers as if the zeros had been written.
"""

from dataclasses import replace

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study import scale_text, scales
from crowdllm_jax.study.records import Study

MOST = 100_000_000
"""Answers that whole ballots may have: few rows of a table can name many voters and projects."""


def complete_ballots(study: Study, where: str) -> Study:
    """Give every voter of a ballot an answer to each of its tasks: level 0 to those left out.

    Whoever answers no task of a ballot has not voted, and gets none.

    Args:
      where: names the answers in errors.
    Returns:
      the study, its responses by participant and task, `left_out` the number of those added.
    Raises:
      CrowdError: a ballot breaks the rule of its scale, or there would be too many answers.
    """
    person, task, answer = [study.person], [study.task], [study.answer]
    row = [study.row if study.row is not None else np.full(len(study.task), -1)]
    for index, name in enumerate(study.scales):
        if not scales.is_ballot(study.scales[name]):
            continue
        projects = np.flatnonzero(study.tasks.scale == index)
        on_scale = study.tasks.scale[study.task] == index
        voters, voter = np.unique(study.person[on_scale], return_inverse=True)
        if len(voters) * len(projects) > MOST:
            raise CrowdError(
                f"{where}: {len(voters):,} ballots of {len(projects):,} tasks on '{name}' are "
                f"{len(voters) * len(projects):,} answers; {MOST:,} are taken at most"
            )
        ballots = np.full((len(voters), len(projects)), -1, np.int64)
        ballots[voter, np.searchsorted(projects, study.task[on_scale])] = study.answer[on_scale]
        left_out = np.nonzero(ballots < 0)
        ballots[left_out] = 0
        _check(study, name, voters, ballots, where)
        person.append(voters[left_out[0]])
        task.append(projects[left_out[1]])
        answer.append(np.zeros(len(left_out[0])))
        row.append(np.full(len(left_out[0]), -1))
    people, tasks, answers, rows = map(np.concatenate, (person, task, answer, row))
    order = np.lexsort((tasks, people))
    return replace(
        study,
        person=people[order].astype(np.int32),
        task=tasks[order].astype(np.int32),
        answer=answers[order],
        row=None if study.row is None else rows[order],
        left_out=study.left_out + len(order) - len(study.task),
    )


def _check(study: Study, name: str, voters: np.ndarray, ballots: np.ndarray, where: str) -> None:
    """Raise CrowdError if a whole ballot breaks the rule of its scale."""
    scale = study.scales[name]
    if (k := scales.fewest_tasks(scale)) > ballots.shape[1]:
        raise CrowdError(
            f"study.scales.{name}: k is {k} but the ballot has {ballots.shape[1]} tasks"
        )
    wrong = np.flatnonzero(scales.ballot_fault(scale, ballots))
    if len(wrong):
        names = ", ".join(study.participants.ids[voters[w]] for w in wrong[:3])
        raise CrowdError(
            f"{where}: {len(wrong)} ballot(s) do not fit '{name}' ({scale_text.describe(scale)}), "
            f"the first of participant(s) {names}; correct them or change the scale"
        )
