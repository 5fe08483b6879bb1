"""Turn a user's tables into a study, or say in one message why they are none.

The tables come in one piece (long: a row per response, with profile and text columns repeated) or
in three (tasks, participants, responses). The user's files are only read.
"""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from crowdllm_jax import scales
from crowdllm_jax.entities import Entities, attribute_of, code_of_each, entities_of, places
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study import Participants, Study, Tasks, alike
from crowdllm_jax.study_file import EmbeddingSpec, StudySpec, TasksSpec
from crowdllm_jax.tables import Column, read_table, read_vectors, rows


def read_study(spec: StudySpec) -> Study:
    """Read and check a study.

    Raises:
      CrowdError: the first thing found wrong, with file, column and rows.
    """
    return _read(spec, None)


def read_answers(spec: StudySpec, tasks: Tasks) -> Study:
    """Read new answers to tasks that are already known; whoever stands in the table takes part.

    Args:
      spec: its scales are the tasks' own. Its task columns are not read.
    Raises:
      CrowdError: see `read_study`; and an answer to another task.
    """
    return _read(msgspec.structs.replace(spec, tasks=TasksSpec()), tasks)


def _read(spec: StudySpec, known: Tasks | None) -> Study:
    if not spec.scales:
        raise CrowdError("study.scales: name at least one scale")
    for name, scale in spec.scales.items():
        scales.check(scale, f"study.scales.{name}")
    if len(spec.delimiter) != 1 or not spec.delimiter.isascii() or spec.delimiter in '"\r\n':
        raise CrowdError(
            f"study.delimiter: {spec.delimiter!r} cannot stand between cells; give one character"
        )
    tables = _read_tables(spec)
    answers = tables["responses"]
    person_of = answers[spec.responses.participant]
    task_of = answers[spec.responses.task]
    people, tasks = tables["participants"], tables["tasks"]

    person_id = spec.participants.participant or spec.responses.participant
    person_rows = entities_of(people[person_id], own_table=spec.participants.path is not None)
    person = _look_up(person_of, person_rows.ids, "participant", spec.participants.path)
    if known is None:
        task_id = spec.tasks.task or spec.responses.task
        task_rows = entities_of(tasks[task_id], own_table=spec.tasks.path is not None)
        study_tasks, among = _tasks(spec, tasks, task_rows), spec.tasks.path
    else:
        study_tasks, among = known, "the run's tasks"
    task = _look_up(task_of, study_tasks.ids, "task", among)
    participants = _participants(spec, people, person_rows)
    if known is not None:
        asked, person = np.unique(person, return_inverse=True)
        participants = _some(participants, asked)
    answer, present = _answers(spec, answers[spec.responses.response], study_tasks.scale[task])
    _refuse_repeats(answers[spec.responses.response].where, person, task, person_of, task_of)
    order = np.lexsort((task[present], person[present]))
    study = Study(
        name=spec.name,
        scales=dict(spec.scales),
        tasks=study_tasks,
        participants=participants,
        person=person[present][order],
        task=task[present][order],
        answer=answer[present][order],
        missing=int((~present).sum()),
    )
    check_ballots(study, answers[spec.responses.response].where)
    return study


def check_ballots(study: Study, where: str) -> None:
    """Raise CrowdError if a voter's ballot breaks the rule of its scale."""
    for index, (name, scale) in enumerate(study.scales.items()):
        if not scales.is_ballot(scale):
            continue
        projects = np.flatnonzero(study.tasks.scale == index)
        for k in (getattr(scale, "k", 0),):
            if k > len(projects):
                raise CrowdError(
                    f"study.scales.{name}: k is {k} but the ballot has {len(projects)} tasks"
                )
        here = study.tasks.scale[study.task] == index
        voters, row = np.unique(study.person[here], return_inverse=True)
        ballots = np.full((len(voters), len(projects)), -1, np.int64)
        ballots[row, np.searchsorted(projects, study.task[here])] = study.answer[here]
        wrong = np.flatnonzero(scales.ballot_fault(scale, ballots))
        if len(wrong):
            names = ", ".join(study.participants.ids[voters[w]] for w in wrong[:3])
            raise CrowdError(
                f"{where}: {len(wrong)} ballot(s) do not fit '{name}' ({scales.describe(scale)}), "
                f"the first of participant(s) {names}; correct them or change the scale"
            )


def _read_tables(spec: StudySpec) -> dict[str, dict[str, Column]]:
    """Read each file once, with all the columns any role needs of it."""
    p, t = spec.participants, spec.tasks
    person_id = p.participant or spec.responses.participant
    task_id = t.task or spec.responses.task
    wanted = {
        "responses": (
            spec.responses.path,
            [spec.responses.participant, spec.responses.task, spec.responses.response],
        ),
        "participants": (
            p.path or spec.responses.path,
            [person_id, *p.profile, *([p.weight] if p.weight else [])],
        ),
        "tasks": (
            t.path or spec.responses.path,
            [task_id, *t.attributes, *(c for c in (t.text, t.scale) if c)],
        ),
    }
    for role, (_, names) in wanted.items():
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise CrowdError(f"study.{role}: column '{twice[0]}' is given two roles")
    by_path: dict[str, list[str]] = {}
    for path, names in wanted.values():
        seen = by_path.setdefault(path, [])
        seen.extend(name for name in names if name not in seen)
    folder = Path(spec.folder)
    if not folder.is_dir():
        raise CrowdError(
            f"study.folder: no folder '{folder}' here; give the folder that holds "
            f"{spec.responses.path} with --data FOLDER"
        )
    loaded = {
        path: read_table(folder / path, names, missing=spec.missing, delimiter=spec.delimiter)
        for path, names in by_path.items()
    }
    return {role: {n: loaded[path][n] for n in names} for role, (path, names) in wanted.items()}


def _look_up(column: Column, ids: tuple[str, ...], what: str, path: str | None) -> np.ndarray:
    if np.any(column.codes < 0):
        raise CrowdError(f"{column.where}: no {what} in {column.rows_of(-1)}; every row needs one")
    index = {name: i for i, name in enumerate(ids)}
    position = np.array([index.get(name, -1) for name in column.distinct], np.int32)
    if np.any(position < 0):
        stray = int(np.argmax(position < 0))
        raise CrowdError(
            f"{column.where}: {what} '{column.distinct[stray]}' "
            f"({column.rows_of(stray)}) is not in {path}"
        )
    return position[column.codes]


def _tasks(spec: StudySpec, table: dict[str, Column], entities: Entities) -> Tasks:
    t = spec.tasks
    ids = entities.ids
    text = ids
    if t.text:
        code = code_of_each(table[t.text], entities, "task")
        if np.any(code < 0):
            raise CrowdError(
                f"{table[t.text].where}: task '{ids[int(np.argmax(code < 0))]}' has no text"
            )
        text = tuple(table[t.text].distinct[c] for c in code)
    names = list(spec.scales)
    if t.scale:
        column = table[t.scale]
        code = code_of_each(column, entities, "task")
        if np.any(code < 0):
            raise CrowdError(f"{column.where}: task '{ids[int(np.argmax(code < 0))]}' has no scale")
        scale = places(column, names, "scale '{}' ({}) is not under study.scales")[code]
    elif len(names) > 1:
        raise CrowdError(
            "study.tasks.scale: there are several scales, so name the column that "
            "says which task has which"
        )
    else:
        scale = np.zeros(len(ids), np.int32)
    attributes = tuple(
        attribute_of(name, kind, table[name], entities, "task")
        for name, kind in t.attributes.items()
    )
    embedding = _embedding(t.embedding, Path(spec.folder), ids) if t.embedding else None
    return Tasks(ids, text, scale, attributes, embedding)


def _embedding(spec: EmbeddingSpec, folder: Path, ids: tuple[str, ...]) -> np.ndarray:
    key, vectors = read_vectors(folder / spec.path, spec.task, spec.column)
    own = entities_of(key, own_table=True)
    row_of = dict(zip(own.ids, np.argsort(own.of_row), strict=True))
    absent = [name for name in ids if name not in row_of]
    if absent:
        raise CrowdError(
            f"{key.where}: task '{absent[0]}' and {len(absent) - 1} more have no "
            "embedding; every task needs one"
        )
    return vectors[[row_of[name] for name in ids]]


def _participants(spec: StudySpec, table: dict[str, Column], entities: Entities) -> Participants:
    p = spec.participants
    profile = tuple(
        attribute_of(name, kind, table[name], entities, "participant")
        for name, kind in p.profile.items()
    )
    weight = np.ones(len(entities.ids))
    if p.weight:
        weight = attribute_of(p.weight, "numeric", table[p.weight], entities, "participant").cells
        bad = np.isnan(weight) | (weight < 0)
        if bad.any() or weight.sum() == 0:
            who = entities.ids[int(np.argmax(bad))]
            raise CrowdError(
                f"{table[p.weight].where}: participant '{who}' has no weight of 0 or "
                "more, or all weights are 0"
            )
        weight = alike(weight)
    return Participants(entities.ids, profile, weight)


def _some(people: Participants, rows: np.ndarray) -> Participants:
    profile = tuple(replace(a, cells=a.cells[rows]) for a in people.profile)
    return Participants(tuple(people.ids[r] for r in rows), profile, people.weight[rows])


def _answers(
    spec: StudySpec, column: Column, scale_of_row: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Read each row's answer on its task's scale; say which rows have one."""
    answer = np.full(len(column.codes), np.nan)
    for index, (name, scale) in enumerate(spec.scales.items()):
        here = np.flatnonzero((scale_of_row == index) & (column.codes >= 0))
        read = {
            int(c): scales.parse(scale, column.distinct[c]) for c in np.unique(column.codes[here])
        }
        for code, level in read.items():
            if level is None:
                found = here[column.codes[here] == code]
                raise CrowdError(
                    f"{column.where}: '{column.distinct[code]}' ({rows(found)}) is no answer on "
                    f"scale '{name}' ({scales.describe(scale)}); correct it or list it under "
                    "study.missing"
                )
        if read:
            table = np.full(len(column.distinct), np.nan)
            table[list(read)] = list(read.values())
            answer[here] = table[column.codes[here]]
    present = ~np.isnan(answer)
    if not present.any():
        raise CrowdError(f"{column.where}: no row holds an answer")
    return answer, present


def _refuse_repeats(
    where: str, person: np.ndarray, task: np.ndarray, person_of: Column, task_of: Column
) -> None:
    order = np.lexsort((task, person))
    same = (np.diff(person[order]) == 0) & (np.diff(task[order]) == 0)
    if same.any():
        at = int(np.argmax(same))
        pair = np.sort(order[at : at + 2])
        who = person_of.distinct[person_of.codes[pair[0]]]
        what = task_of.distinct[task_of.codes[pair[0]]]
        raise CrowdError(
            f"{where}: participant '{who}' answers task '{what}' twice ({rows(pair)}, "
            f"{int(same.sum())} such pair(s)); keep one"
        )
