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
    response: str | tuple[str, ...]
    text: str = ""
    group: str = ""


MOST_OPTIONS = 30


def _chosen(answer: Answer) -> tuple[str, ...]:
    return answer.response if isinstance(answer.response, tuple) else (answer.response,)


def asked_apart(answers: Iterable[Answer]) -> list[Answer]:
    """Answers to tasks of which one thing is asked each.

    Where several were chosen at once (a tuple), each option becomes a thing of its own: chosen or
    not. The task of an answer then tells what was asked, if it was several things.
    """
    given = list(answers)
    several = {answer.group for answer in given if isinstance(answer.response, tuple)}
    options: dict[str, set[str]] = {group: set() for group in several}
    for answer in given:
        if answer.group in several:
            options[answer.group].update(_chosen(answer))
    apart = []
    for answer in given:
        offered = options.get(answer.group, set())
        if not 1 < len(offered) <= MOST_OPTIONS:
            apart.append(answer._replace(response=";".join(_chosen(answer))))
            continue
        for option in sorted(offered):
            told = "chosen" if option in _chosen(answer) else "not chosen"
            name = f"{answer.group} [{option}]".strip()
            apart.append(answer._replace(response=told, group=name))
    if len({answer.group for answer in apart}) == 1:
        return [answer._replace(group="") for answer in apart]
    return [
        a._replace(task=f"{a.task} {a.group}", text=f"{a.text} [{a.group}]".strip()) for a in apart
    ]


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
