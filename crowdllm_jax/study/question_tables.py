"""Tables of a user who asks a crowd something new: the questions, and a few people's answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.names import as_shown, did_you_mean
from crowdllm_jax.study import scale_text, scales
from crowdllm_jax.study.answer_cells import cell_reader
from crowdllm_jax.study.condition import TaskAnswers
from crowdllm_jax.study.csv_file import Dialect
from crowdllm_jax.study.ids import Entities, as_they_stand, attribute_of, code_of_each, first_rows
from crowdllm_jax.study.missing import drop_missing
from crowdllm_jax.study.questions import Questions, new_scale, questions_on
from crowdllm_jax.study.records import Attribute
from crowdllm_jax.study.routing import (
    check_order,
    conditions_in,
    heads_of,
    routes_of,
    who_is_asked,
)
from crowdllm_jax.study.scales import Scale
from crowdllm_jax.study.spec import StudySpec
from crowdllm_jax.study.tables import AbsentColumnError, Column, read_table, rows


@dataclass(frozen=True)
class FewAnswers:
    """Answers to one question: levels (values where continuous), and how many people each is."""

    answer: np.ndarray
    people: np.ndarray


def ask_texts(
    texts: Sequence[str],
    scale: str | None,
    options: Sequence[str] | None,
    kind: str | None,
    known: Mapping[str, Scale],
    answered: Sequence[str],
) -> Questions:
    """Questions as they are typed, all on one scale; a text is its own id.

    Args:
      scale: the name of a scale of the study; None takes its only one, unless options are given.
    Raises:
      CrowdError: see `questions_on`.
    """
    wanted: str | Scale
    if options is not None:
        if scale is not None:
            raise CrowdError("ask: give --scale or --options, not both")
        wanted = new_scale(options, kind, "--options")
    elif kind is not None:
        raise CrowdError("--kind: is that of --options; give the options, too")
    else:
        wanted = scale if scale is not None else _only(known)
    return questions_on(texts, texts, [wanted] * len(texts), known, answered)


def _only(known: Mapping[str, Scale]) -> str:
    if len(known) == 1:
        return next(iter(known))
    shown = "; ".join(f"{as_shown(n)}: {scale_text.describe(s)}" for n, s in known.items())
    raise CrowdError(f"ask: say on which scale (--scale NAME, or --options A,B,..). {shown}")


def read_questions(
    path: Path,
    spec: StudySpec | None,
    known: Mapping[str, Scale],
    answered: Sequence[str],
    profile: Sequence[Attribute] = (),
) -> Questions:
    """Questions of a table, in its order: `task` (or the name that the study's tables have for
    it), `text`, and `scale` (the name of one of the study) or `options` (with | between) and
    `kind`; `ask_if`, if only some are asked it. Rows of one id (where a model's answers stand in
    a row each) say the same of the question.

    Args:
      profile: what conditions may be on, beside questions above.
    Raises:
      CrowdError: names the file, the row and the column.
    """
    columns = _columns(path, spec)
    entities = as_they_stand(columns["task"])
    for column in columns.values():
        code_of_each(column, entities, "question")

    def cell(name: str, row: int) -> str | None:
        column = columns.get(name)
        code = -1 if column is None else int(column.codes[row])
        return None if column is None or code < 0 else column.distinct[code]

    text: list[str] = []
    wanted: list[str | Scale] = []
    for row in first_rows(entities).tolist():
        name, options, kind = (cell(column, row) for column in ("scale", "options", "kind"))
        where = f"{path}: {rows(np.array([row]))}"
        if options is not None and name is not None:
            raise CrowdError(f"{where}: has a scale and options; leave one of them empty")
        if kind is not None and options is None:
            raise CrowdError(f"{where}: has a kind, which is that of options, and no options")
        if options is not None:
            wanted.append(new_scale(_listed(options), kind, where))
        else:
            if name is not None and name not in known:
                raise CrowdError(
                    f"{columns['scale'].where}: scale '{name}' ({rows(np.array([row]))}) is none "
                    f"of the run's: {', '.join(map(as_shown, known))}{did_you_mean(name, known)}; "
                    "write the answers that may be given in a column 'options', with | between"
                )
            wanted.append(name or _only(known))
        text.append(cell("text", row) or entities.ids[len(text)])
    questions = questions_on(entities.ids, text, wanted, known, answered)
    if (conditions := columns.get("ask_if")) is None:
        return questions
    return _routed(questions, conditions, entities, profile)


def _routed(
    questions: Questions, conditions: Column, entities: Entities, profile: Sequence[Attribute]
) -> Questions:
    """Questions with the conditions under which they are asked, all of which can be told."""
    ask_if, heads = conditions_in(conditions, entities), heads_of(conditions, entities)
    names = [attribute.name for attribute in profile]
    routes = routes_of(ask_if, questions.ids, questions.task_scales, names, heads)
    check_order(routes, entities)
    people = len(profile[0].cells) if profile else 1

    def nothing(task: int) -> TaskAnswers:
        return TaskAnswers(questions.ids[task], questions.task_scales[task], np.full(people, -1.0))

    # Whoever they are: this refuses values that there are none of.
    who_is_asked(routes, profile, people, nothing)
    return replace(questions, ask_if=ask_if)


def _listed(options: str) -> list[str]:
    return [option.strip() for option in options.split("|")]


def _columns(path: Path, spec: StudySpec | None) -> dict[str, Column]:
    """The columns there are of those that a table of questions may have, under one name each."""
    names = {name: name for name in ("task", "text", "scale", "options", "kind", "ask_if")}
    if spec is not None:
        names["task"] = spec.tasks.task or spec.responses.task
        names |= {k: v for k in ("text", "scale", "ask_if") if (v := getattr(spec.tasks, k))}
    dialect = _dialect(spec)
    there = columns_there(path, [*names.values(), *names], dialect)
    used = {role: name if name in there else role for role, name in names.items()}
    if used["task"] not in there:
        raise CrowdError(
            f"{path}: has no column '{names['task']}' with an id of each question; it has: "
            f"{', '.join(map(as_shown, there))}"
        )
    used = {role: name for role, name in used.items() if name in there}
    prose = tuple(used[role] for role in ("text",) if role in used)
    table = read_table(path, list(dict.fromkeys(used.values())), prose=prose, dialect=dialect)
    columns = {role: table[name] for role, name in used.items()}
    if spec is None:
        return columns
    # The study's lists are of its own columns: options and kinds are none of them.
    own = {role: name for role, name in names.items() if role not in ("options", "kind")}
    return {
        role: drop_missing(spec, "tasks", own[role], column) if role in own else column
        for role, column in columns.items()
    }


def columns_there(path: Path, names: Sequence[str], dialect: Dialect) -> list[str]:
    """The columns of a table.

    Raises:
      CrowdError: it is separated by another sign than the study's tables are.
    """
    try:
        read_table(path, list(dict.fromkeys(names)), dialect=dialect)
    except AbsentColumnError as error:
        if error.separated:
            raise
        return list(error.names)
    return list(dict.fromkeys(names))


def _dialect(spec: StudySpec | None) -> Dialect:
    """How the user's tables are written: as the study's are; with commas without any."""
    return Dialect() if spec is None else spec.later_dialect()


def read_attributes(
    path: Path | None, spec: StudySpec, ids: Sequence[str]
) -> tuple[Attribute, ...]:
    """The attributes of the questions that the study has of its tasks; cells that it lists as
    missing are.

    Raises:
      CrowdError: there is no table, or a column of it is not there.
    """
    kinds = spec.tasks.attributes
    if not kinds:
        return ()
    if path is None:
        raise CrowdError(
            f"ask: the crowd knows tasks by {', '.join(map(as_shown, kinds))}; give the questions "
            "in a table with these columns (--tasks FILE)"
        )
    task, dialect = spec.tasks.task or spec.responses.task, spec.later_dialect()
    key = task if task in columns_there(path, [task], dialect) else "task"
    table = read_table(path, [key, *kinds], dialect=dialect)
    entities = as_they_stand(table[key])
    assert tuple(ids) == entities.ids
    told = {name: drop_missing(spec, "tasks", name, table[name]) for name in kinds}
    for name, kind in kinds.items():
        if kind == "numeric" and np.all(told[name].codes < 0):
            raise CrowdError(
                f"{told[name].where}: every cell is empty (or listed under study.tasks.missing); "
                f"the crowd knows tasks by '{name}': give each question's"
            )
    return tuple(attribute_of(n, kind, told[n], entities, "task") for n, kind in kinds.items())


def read_few_answers(
    path: Path, spec: StudySpec | None, questions: Questions
) -> dict[str, FewAnswers]:
    """People's answers to the questions, a row each; with a column `people`, each stands for so
    many.

    Raises:
      CrowdError: an answer to something else, or one that its scale does not have.
    """
    names = {"task": "task", "response": "response"}
    if spec is not None:
        names = {"task": spec.responses.task, "response": spec.responses.response}
    dialect = _dialect(spec)
    there = columns_there(path, [*names.values(), "task", "response", "people"], dialect)
    used = {role: name if name in there else role for role, name in names.items()}
    if used["task"] not in there and len(questions.ids) == 1:
        del used["task"]
    optional = ["people"] if "people" in there else []
    table = read_table(path, [*used.values(), *optional], dialect=dialect)
    answers = table[used["response"]]
    people = _people(table["people"]) if optional else np.ones(len(answers.codes))
    found: dict[str, list[tuple[float, float]]] = {}
    dropped: dict[str, None] = {}
    read = [cell_reader(spec, answers, name, scale) for name, scale in questions.scales.items()]
    for row, code in enumerate(answers.codes.tolist()):
        if code < 0:
            continue
        place = _asked(table[used["task"]], row, questions) if "task" in used else 0
        text = answers.distinct[code]
        value = read[questions.scale[place]](code)
        if value is None:
            scale = questions.task_scales[place]
            raise CrowdError(
                f"{answers.where}: '{text}' ({rows(np.array([row]))}) is no answer to "
                f"'{questions.ids[place]}' ({scale_text.describe(scale)})"
                f"{did_you_mean(text, scales.labels(scale)) or answers.hint(code)}"
            )
        if np.isnan(value):
            dropped[text] = None
        else:
            found.setdefault(questions.ids[place], []).append((value, people[row]))
    if not found:
        listed = ", ".join(f"'{text}'" for text in dropped)
        why = f" ({listed} counts as missing: study.responses.missing)" if listed else ""
        raise CrowdError(f"{answers.where}: no row holds an answer{why}")
    return {
        name: FewAnswers(*(np.array(part, float) for part in zip(*pairs, strict=True)))
        for name, pairs in found.items()
    }


def _asked(column: Column, row: int, questions: Questions) -> int:
    code = int(column.codes[row])
    name = column.distinct[code] if code >= 0 else ""
    if name in questions.ids:
        return questions.ids.index(name)
    if name in questions.text:
        return questions.text.index(name)
    raise CrowdError(
        f"{column.where}: '{name}' ({rows(np.array([row]))}) is no question that is asked: "
        f"{', '.join(map(as_shown, questions.ids[:5]))}{did_you_mean(name, questions.ids)}"
    )


def _people(column: Column) -> np.ndarray:
    numbers = np.array([column.number(i) or np.nan for i in range(len(column.distinct))] + [np.nan])
    people = numbers[column.codes]
    bad = np.flatnonzero(~((people > 0) & np.isfinite(people)))
    if len(bad):
        raise CrowdError(f"{column.where}: {rows(bad)} holds no number of people above 0")
    return people


def known_shares(text: str, people: float, scale: Scale) -> FewAnswers:
    """Shares of the levels, lowest first, as so many people's answers.

    Raises:
      CrowdError: they are no shares, or not one for each level.
    """
    try:
        share = np.array([float(part) for part in text.split(",")])
    except ValueError as error:
        raise CrowdError(f"--shares {text}: give numbers with commas between") from error
    k = scales.size(scale)
    if not k or len(share) != k:
        raise CrowdError(
            f"--shares {text}: {len(share)} shares; there is one of each of the {k} levels "
            f"({scale_text.describe(scale)})"
            if k
            else "--shares: a continuous scale has no levels; give --answers FILE"
        )
    if (share < 0).any() or not np.isfinite(share).all() or not share.sum() > 0:
        raise CrowdError(f"--shares {text}: shares are 0 or more, and not all 0")
    total = share.sum()
    if min(abs(total - 1), abs(total - 100) / 100) > 0.02:
        raise CrowdError(f"--shares {text}: they sum to {total:g}, not to 1 or 100")
    return FewAnswers(np.arange(k, dtype=float), people * share / total)
