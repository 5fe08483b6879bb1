"""Options that a user puts before a crowd, in a table: products and prices nobody was asked of."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study import scale_text, scales
from crowdllm_jax.study.alternatives import alternatives_of
from crowdllm_jax.study.ids import MISSING, Entities, as_they_stand
from crowdllm_jax.study.missing import drop_missing
from crowdllm_jax.study.question_tables import columns_there
from crowdllm_jax.study.questions import Questions, questions_on
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.scales import Nominal, Scale
from crowdllm_jax.study.spec import AlternativesSpec, ResponsesSpec, StudySpec, attribute_spec
from crowdllm_jax.study.tables import Column, read_table, rows


def read_choices(
    path: Path,
    texts: Sequence[str],
    spec: StudySpec,
    known: Mapping[str, Scale],
    described: Sequence[str],
) -> Questions:
    """Choices among described options, of a table with a row per choice and option: what the study
    calls the task (or `task`; one choice alone needs none), the level, and its attributes. An
    option without any of these is what it is in the study, such as "none of these".

    Args:
      texts: what is asked, of one choice alone, or nothing. described: the names of the run's
        scales whose levels are described.
    Raises:
      CrowdError: names the file, the row and the column.
    """
    own = spec.alternatives
    assert own is not None
    task = own.task or spec.tasks.task or spec.responses.task
    dialect = spec.later_dialect()
    there = columns_there(path, [own.level, "level", task, "task", *own.attributes], dialect)
    level_name = own.level if own.level in there else "level"
    key = next((name for name in (task, "task") if name in there), None)
    table = read_table(path, [*filter(None, (key, level_name)), *own.attributes], dialect=dialect)
    level = table[level_name]
    entities = _choices(path, texts, table[key] if key else None, len(level.codes))
    if np.any(level.codes < 0):
        raise CrowdError(level.no_id())
    for name in own.attributes:
        table[name] = drop_missing(spec, "alternatives", name, table[name])
    wanted: list[str | Scale] = []
    lender = []
    for choice in range(len(entities.ids)):
        of_choice = np.flatnonzero(entities.of_row == choice)
        _check_once(level, of_choice, entities.ids[choice])
        options = tuple(level.distinct[code] for code in level.codes[of_choice])
        scale = Nominal(levels=options)
        scale_text.check(scale, f"{path}, '{entities.ids[choice]}'")
        lends = min(described, key=lambda name: _unlike(options, scales.labels(known[name])))
        same = set(options) == set(scales.labels(known[lends]))
        wanted.append(lends if same else scale)
        lender.append(list(known).index(lends))
    ids = entities.ids
    questions = questions_on(ids, ids, wanted, known, described)
    questions = replace(questions, lender=np.array(lender, np.int32))
    named = {name: (kind, table[name]) for name, kind in own.attributes.items()}
    several = tuple(questions.scales.values())
    new = alternatives_of(entities.of_row, level, named, ids, several, questions.scale)
    return replace(questions, alternatives=new)


def spec_of_frame(study: Study) -> StudySpec:
    """A study file for tables of options, where the study came of none, but of a data frame: the
    attributes that it has, in columns of their names."""
    described = study.tasks.alternatives
    attributes = {
        a.name: attribute_spec(a.kind, tuple(level for level in a.levels if level != MISSING))
        for a in (() if described is None else described.attributes)
    }
    alternatives = AlternativesSpec(path="", attributes=attributes) if attributes else None
    return StudySpec(responses=ResponsesSpec(path=""), scales={}, alternatives=alternatives)


def _check_once(level: Column, of_choice: np.ndarray, name: str) -> None:
    """Raise CrowdError if an option stands twice in the rows of a choice."""
    code, count = np.unique(level.codes[of_choice], return_counts=True)
    if (count > 1).any():
        twice = code[np.argmax(count > 1)]
        same = of_choice[level.codes[of_choice] == twice]
        raise CrowdError(
            f"{level.where}: option '{level.distinct[twice]}' of choice '{name}' stands twice "
            f"({rows(level.in_file(same))}); keep one, or give each a name of its own"
        )


def _choices(path: Path, texts: Sequence[str], column: Column | None, count: int) -> Entities:
    """Which choice each row of a table belongs to."""
    if column is not None:
        if texts:
            raise CrowdError(
                f"{path}: names its choices itself ({column.where}); leave out the question, or "
                "that column"
            )
        return as_they_stand(column)
    if len(texts) > 1:
        raise CrowdError(
            f"{path}: has no column that says to which of the {len(texts)} questions an option "
            "belongs; name them in a column 'task'"
        )
    return Entities(tuple(texts) or (path.stem,), np.zeros(count, np.int32))


def _unlike(options: Sequence[str], levels: Sequence[str]) -> tuple[int, int]:
    """How little a scale has of some options: how many it lacks, and how far it is in size."""
    return len(set(options) - set(levels)), abs(len(levels) - len(options))
