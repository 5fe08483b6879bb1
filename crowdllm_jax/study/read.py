"""Turn a user's tables into a study, or say in one message why they are none.

The tables come in one piece (long: a row per response, with profile and text columns repeated) or
in three (tasks, participants, responses). The user's files are only read.
"""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime import numerals
from crowdllm_jax.runtime.names import did_you_mean
from crowdllm_jax.study import reverse, scale_text, scales
from crowdllm_jax.study.alternatives import alternatives_of
from crowdllm_jax.study.answer_cells import cell_reader
from crowdllm_jax.study.ballots import complete_ballots
from crowdllm_jax.study.csv_file import Dialect
from crowdllm_jax.study.embeddings import read_embeddings
from crowdllm_jax.study.ids import Entities, attribute_of, code_of_each, entities_of, places
from crowdllm_jax.study.missing import Role, check_lists, drop_missing
from crowdllm_jax.study.records import Participants, Study, Tasks, alike
from crowdllm_jax.study.routing import (
    check_order,
    conditions_in,
    heads_of,
    people_asked,
    routes_in,
    skipped,
    without_skipped,
)
from crowdllm_jax.study.spec import EmbeddingSpec, StudySpec, TasksSpec
from crowdllm_jax.study.tables import (
    AbsentColumnError,
    Column,
    as_names,
    find,
    read_table,
    rows,
)
from crowdllm_jax.study.toplines import check_toplines, people_behind, row_names
from crowdllm_jax.study.wide import one_row_per_answer
from crowdllm_jax.study.witnesses import read_witnesses

KNOWN = {"1": True, "0": False, "true": True, "false": False, "yes": True, "no": False}
"""How the column that `split.column` names says that an answer is known, or held out."""


def read_study(spec: StudySpec) -> Study:
    """Read and check a study.

    Raises:
      CrowdError: the first thing found wrong, with file, column and rows.
    """
    for role, (_, names) in _wanted(spec).items():
        check_lists(spec, role, names)
    return _read(spec, None)


def read_answers(spec: StudySpec, tasks: Tasks) -> Study:
    """Read new answers to tasks that are already known; whoever stands in the table takes part.

    Args:
      spec: its scales are the tasks' own. Its task columns are not read.
    Raises:
      CrowdError: see `read_study`; and an answer to another task.
    """
    # The tasks' columns are not read, but who is mirrored stands in the study file itself.
    own = TasksSpec(reverse=spec.tasks.reverse)
    return _read(msgspec.structs.replace(spec, tasks=own, alternatives=None), tasks)


def _read(spec: StudySpec, known_tasks: Tasks | None) -> Study:
    if not spec.scales:
        raise CrowdError("study.scales: name at least one scale")
    for name, scale in spec.scales.items():
        scale_text.check(scale, f"study.scales.{name}")
    check_toplines(spec)
    tables = _read_tables(spec, later=known_tasks is not None)
    answers, people, tasks = (tables[role] for role in ("responses", "participants", "tasks"))
    person_id = spec.participants.participant or spec.responses.participant
    if spec.responses.share is not None:
        answers[spec.responses.participant] = row_names(answers)
        people[person_id] = answers[spec.responses.participant]
    person_of, task_of = answers[spec.responses.participant], answers[spec.responses.task]
    person_rows = entities_of(people[person_id], own_table=spec.participants.path is not None)
    person = _look_up(person_of, person_rows.ids, "participant", spec.participants.path)
    if known_tasks is None:
        task_id = spec.tasks.task or spec.responses.task
        task_rows = entities_of(tasks[task_id], own_table=spec.tasks.path is not None)
        study_tasks, among = _tasks(spec, tasks, task_rows), spec.tasks.path
        study_tasks = _described(spec, tables, study_tasks)
    else:
        study_tasks, among = known_tasks, "the run's tasks"
    task = _look_up(task_of, study_tasks.ids, "task", among)
    participants = _participants(spec, people, person_rows)
    if spec.responses.share is not None:
        groups = [people[name] for name in spec.participants.profile]
        weight = np.zeros(len(person))
        weight[person] = people_behind(spec, answers, groups, task)
        participants = replace(participants, weight=weight)
    if known_tasks is not None:
        asked, person = np.unique(person, return_inverse=True)
        participants = _some(participants, asked)
    answer, present = _answers(spec, answers[spec.responses.response], study_tasks.scale[task])
    several, listed = tuple(spec.scales.values()), spec.tasks.reverse
    mirrored = reverse.mirrored_tasks(listed, study_tasks.ids, several, study_tasks.scale)
    answer = reverse.mirror(answer, mirrored[task], several, study_tasks.scale[task])
    _refuse_repeats(answers[spec.responses.response].where, person, task, person_of, task_of)
    study = Study(
        name=spec.name,
        scales=dict(spec.scales),
        tasks=study_tasks,
        participants=participants,
        person=person[present],
        task=task[present],
        answer=answer[present],
        row=np.flatnonzero(present),
        toplines=spec.responses.share is not None,
    )
    where = answers[spec.responses.response].where
    completed = complete_ballots(study, where)
    if spec.tasks.ask_if is not None:
        completed = _routed(completed, tasks[spec.tasks.ask_if], task_rows, where, spec.tasks.path)
    missing, unasked = _empty(completed, person[~present], task[~present])
    return replace(
        completed,
        missing=missing,
        skipped=unasked,
        witnesses=read_witnesses(spec, completed),
        known=_known(answers[spec.responses.known], completed) if spec.responses.known else None,
    )


def _empty(study: Study, person: np.ndarray, task: np.ndarray) -> tuple[int, int]:
    """How many of some cells without an answer are missing, and how many belong to people who were
    not asked."""
    t = len(study.tasks.ids)
    # An empty cell of a ballot that was cast is a project left out: it has an answer now.
    empty = ~np.isin(person * t + task, study.person * t + study.task)
    unasked = empty & skipped(people_asked(study), task, person)
    return int((empty & ~unasked).sum()), int(unasked.sum())


def _routed(
    study: Study, conditions: Column, entities: Entities, answers: str, own_table: str | None
) -> Study:
    """The study without what people answered to tasks that they were not asked."""
    heads = heads_of(conditions, entities)
    if own_table is not None:
        check_order(routes_in(study, heads), entities)
    return without_skipped(study, answers, heads)


def _known(column: Column, study: Study) -> np.ndarray:
    """(R,) bool: what a column says of each answer; projects left out of a ballot are known."""
    meaning = [KNOWN.get(text.casefold()) for text in column.distinct]
    for code, meant in enumerate(meaning):
        if meant is None:
            raise CrowdError(
                f"{column.where}: '{column.distinct[code]}' ({column.rows_of(code)}) does not say "
                f"whether an answer is known; write one of {', '.join(KNOWN)}"
            )
    assert study.row is not None
    if np.any(empty := column.codes[study.row[study.row >= 0]] < 0):
        raise CrowdError(
            f"{column.where}: {rows(study.row[study.row >= 0][empty])} is empty; say of every "
            f"answer whether it is known ({', '.join(KNOWN)})"
        )
    by_row = np.array([*meaning, True], bool)[column.codes]
    return np.where(study.row < 0, True, by_row[study.row])


def _wanted(spec: StudySpec) -> dict[Role, tuple[str, list[str]]]:
    """The file and the columns of each role."""
    r, p, t = spec.responses, spec.participants, spec.tasks
    person_id, task_id = p.participant or r.participant, t.task or r.task
    # Published shares have no people.
    person = [] if r.share else [r.participant]
    more = [name for name in (r.share, r.n, r.known) if name]
    wanted: dict[Role, tuple[str, list[str]]] = {
        "responses": (r.path, [*person, r.task, r.response, *more]),
        "participants": (
            p.path or r.path,
            [*(() if r.share else (person_id,)), *p.profile, *([p.weight] if p.weight else [])],
        ),
        "tasks": (
            t.path or r.path,
            [task_id, *t.attributes, *(c for c in (t.text, t.scale, t.ask_if) if c)],
        ),
    }
    if (a := spec.alternatives) is not None:
        wanted["alternatives"] = (a.path, [a.task or task_id, a.level, *a.attributes])
    return wanted


def _read_tables(spec: StudySpec, *, later: bool) -> dict[Role, dict[str, Column]]:
    """Read each file once, with all the columns any role needs of it.

    Args:
      later: they come to a fitted run, whose study file cannot be changed for them.
    """
    wanted = _wanted(spec)
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
    dialect = spec.later_dialect() if later else spec.dialect()
    loaded = {path: _read_file(spec, path, names, dialect) for path, names in by_path.items()}

    def column(role: Role, path: str, name: str) -> Column:
        texts = loaded[path][name]
        if role == "tasks" and name == spec.tasks.text:
            return drop_missing(spec, role, name, texts)
        texts = as_names(texts)
        # What is missing among the answers depends on the scale, too: see _answers.
        of_scale = role == "responses" and name == spec.responses.response
        return texts if of_scale else drop_missing(spec, role, name, texts)

    return {
        role: {name: column(role, path, name) for name in names}
        for role, (path, names) in wanted.items()
    }


def _read_file(spec: StudySpec, path: str, names: list[str], dialect: Dialect) -> dict[str, Column]:
    """Read one of the study's files; of the responses, say what they have to look like."""
    r, p = spec.responses, spec.participants
    options = None if spec.alternatives is None else spec.alternatives.path
    role = {
        options: "alternatives",
        spec.tasks.path: "tasks",
        p.path: "participants",
        r.path: "responses",
    }[path]
    file = find(spec.folder, path, f"study.{role}.path")
    prose = (spec.tasks.text,) if spec.tasks.text else ()
    try:
        return read_table(file, names, prose=prose, dialect=dialect)
    except AbsentColumnError as error:
        lacks = [name for name in (r.task, r.response) if name not in error.names]
        if path != r.path or not lacks or error.told:
            raise
        about = [] if p.path else [*p.profile, *([p.weight] if p.weight else [])]
        told = one_row_per_answer(file, error.names, error.layout, r.participant, about)
        raise CrowdError(f"{error}; {told}") from error


def _look_up(column: Column, ids: tuple[str, ...], what: str, path: str | None) -> np.ndarray:
    if np.any(column.codes < 0):
        raise CrowdError(column.no_id())
    index = {name: i for i, name in enumerate(ids)}
    position = np.array([index.get(name, -1) for name in column.distinct], np.int32)
    if np.any(position < 0):
        stray = int(np.argmax(position < 0))
        raise CrowdError(
            f"{column.where}: {what} '{column.distinct[stray]}' "
            f"({column.rows_of(stray)}) is not in {path}{did_you_mean(column.distinct[stray], ids)}"
        )
    of_row: np.ndarray = position[column.codes]
    return of_row


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
    text = tuple(
        told + reverse.TOLD if name in t.reverse else told
        for name, told in zip(ids, text, strict=True)
    )
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
    ask_if = {} if t.ask_if is None else conditions_in(table[t.ask_if], entities)
    tables = t.embedding or ()
    tables = (tables,) if isinstance(tables, EmbeddingSpec) else tables
    if not tables:
        return Tasks(ids, text, scale, attributes, None, ask_if=ask_if)
    vectors = read_embeddings(tables, Path(spec.folder), ids)
    return Tasks(ids, text, scale, attributes, *vectors, ask_if=ask_if)


def _described(spec: StudySpec, tables: dict[Role, dict[str, Column]], tasks: Tasks) -> Tasks:
    """The tasks, and what describes their options."""
    if (a := spec.alternatives) is None:
        return tasks
    table = tables["alternatives"]
    task = _look_up(
        table[a.task or spec.tasks.task or spec.responses.task],
        tasks.ids,
        "task",
        f"{spec.tasks.path or spec.responses.path}; correct it, or leave its rows out",
    )
    named = {name: (kind, table[name]) for name, kind in a.attributes.items()}
    several = tuple(spec.scales.values())
    described = alternatives_of(task, table[a.level], named, tasks.ids, several, tasks.scale)
    for attribute in described.attributes:
        if len(np.unique(attribute.cells)) < 2:
            raise CrowdError(
                f"{table[attribute.name].where}: is the same of every option, so that nothing says "
                "what it is worth; leave it out of study.alternatives.attributes"
            )
    return replace(tasks, alternatives=described)


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
        if bad.any():
            who = entities.ids[int(np.argmax(bad))]
            raise CrowdError(
                f"{table[p.weight].where}: participant '{who}' has no weight, or one below 0; "
                "write 0 for people who are not to count"
            )
        if weight.sum() == 0:
            raise CrowdError(
                f"{table[p.weight].where}: all weights are 0; drop study.participants.weight if "
                "everyone counts alike"
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
        rows_of_scale = np.flatnonzero((scale_of_row == index) & (column.codes >= 0))
        cell = cell_reader(spec, column, name, scale)
        read = np.full(len(column.distinct), np.nan)
        for code in np.unique(column.codes[rows_of_scale]):
            level = cell(code)
            if level is None:
                text = column.distinct[code]
                bad_rows = rows_of_scale[column.codes[rows_of_scale] == code]
                raise CrowdError(
                    f"{column.where}: '{text}' ({rows(bad_rows)}) is no answer on scale '{name}' "
                    f"({scale_text.describe(scale)}); {_remedy(scale, name, text)}"
                    f"{column.hint(code)}"
                )
            read[code] = level
        answer[rows_of_scale] = read[column.codes[rows_of_scale]]
    present = ~np.isnan(answer)
    if not present.any():
        raise CrowdError(f"{column.where}: no row holds an answer")
    return answer, present


def _remedy(scale: scales.Scale, name: str, text: str) -> str:
    """What to do about a text that is no answer on a scale."""
    begins = numerals.leading_number(text)
    if (
        begins is not None
        and numerals.number(text) is None
        and isinstance(scale, scales.Categorical)
    ):
        level = scale_text.parse(scale, f"{begins:.17g}")
        if level is not None:
            written = scales.written(scale)[int(level)]
            return (
                f'write level {written} as the data do, "{text}", under study.scales.{name}.levels '
                "(or .labels)"
            )
    if text.casefold() in ("true", "false") and scales.size(scale) == 2:
        if {"0", "1"} == set(map(str, scales.written(scale))):
            return f'write it under study.scales.{name}: labels: ["False", "True"]'
        if isinstance(scale, scales.Categorical):
            return f'write the levels as the data do: study.scales.{name}.levels: ["False", "True"]'
    told = "correct it or list it under `missing`"
    return told + did_you_mean(text, [*map(str, scales.written(scale)), *scales.labels(scale)])


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
