"""Options that a user puts before a crowd, in a table: products and prices nobody was asked of."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study import scale_text, scales
from crowdllm_jax.study.alternatives import alternatives_of
from crowdllm_jax.study.ids import Entities, entities_of
from crowdllm_jax.study.question_tables import columns_there
from crowdllm_jax.study.questions import Questions, questions_on
from crowdllm_jax.study.scales import Nominal, Scale
from crowdllm_jax.study.spec import StudySpec
from crowdllm_jax.study.tables import Column, read_table


def read_choices(
    path: Path,
    texts: Sequence[str],
    spec: StudySpec,
    known: Mapping[str, Scale],
    answered: Sequence[str],
) -> Questions:
    """Choices among described options, of a table with a row per choice and option: what the study
    calls the task (or `task`; one choice alone needs none), the level, and its attributes. An
    option without any of these is what it is in the study, such as "none of these".

    Args:
      texts: what is asked, of one choice alone, or nothing.
    Raises:
      CrowdError: names the file, the row and the column.
    """
    own = spec.alternatives
    assert own is not None
    task = own.task or spec.tasks.task or spec.responses.task
    there = columns_there(path, [own.level, "level", task, "task", *own.attributes])
    level_name = own.level if own.level in there else "level"
    key = next((name for name in (task, "task") if name in there), None)
    table = read_table(path, [*filter(None, (key, level_name)), *own.attributes])
    level = table[level_name]
    entities = _choices(path, texts, table[key] if key else None, len(level.codes))
    if np.any(level.codes < 0):
        raise CrowdError(level.no_id())
    wanted: list[str | Scale] = []
    for choice in range(len(entities.ids)):
        of_choice = level.codes[entities.of_row == choice]
        options = tuple(level.distinct[code] for code in dict.fromkeys(of_choice.tolist()))
        scale = Nominal(levels=options)
        scale_text.check(scale, f"{path}, '{entities.ids[choice]}'")
        wanted.append(_learnt(options, known, answered) or scale)
    ids = entities.ids
    questions = questions_on(ids, ids, wanted, known, answered)
    named = {name: (kind, table[name]) for name, kind in own.attributes.items()}
    several = tuple(questions.scales.values())
    new = alternatives_of(entities.of_row, level, named, ids, several, questions.scale)
    return replace(questions, alternatives=new)


def _choices(path: Path, texts: Sequence[str], column: Column | None, count: int) -> Entities:
    """Which choice each row of a table belongs to."""
    if column is not None:
        if texts:
            raise CrowdError(
                f"{path}: names its choices itself ({column.where}); leave out the question, or "
                "that column"
            )
        return entities_of(column, own_table=False)
    if len(texts) > 1:
        raise CrowdError(
            f"{path}: has no column that says to which of the {len(texts)} questions an option "
            "belongs; name them in a column 'task'"
        )
    return Entities(tuple(texts) or (path.stem,), np.zeros(count, np.int32))


def _learnt(
    options: Sequence[str], known: Mapping[str, Scale], answered: Sequence[str]
) -> str | None:
    """The name of the run's scale with these options, whatever their order; None without one."""
    for name in answered:
        if isinstance(known[name], Nominal) and set(scales.labels(known[name])) == set(options):
            return name
    return None
