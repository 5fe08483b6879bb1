"""Files that hold a row per answer as soon as they are read."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.formats.sheet import Field, Sheet, check_size, column_of


class Answer(NamedTuple):
    """What a person answered to a task; `group` names what was asked of it, where it is several
    things that may have a scale each."""

    person: str
    task: str
    response: str
    text: str = ""
    group: str = ""


def answers_sheet(
    path: Path, what: str, answers: Iterable[Answer], notes: tuple[str, ...] = ()
) -> Sheet:
    """A sheet with a row per answer.

    Raises:
      CrowdError: there is none.
    """
    rows = list(answers)
    if not rows:
        raise CrowdError(f"{path}: holds no answers")
    check_size(path, len(rows), 4)
    people, tasks, responses, texts, groups = zip(*rows, strict=True)
    fields = [
        Field("participant", column_of(path, "participant", people), use="person"),
        Field("task", column_of(path, "task", tasks), use="task"),
        Field("response", column_of(path, "response", responses), use="response"),
    ]
    if any(texts):
        fields.append(Field("text", column_of(path, "text", texts), use="text"))
    if any(groups):
        fields.append(Field("group", column_of(path, "group", groups), use="group"))
    return Sheet(path, what, len(rows), tuple(fields), notes)
