"""What is asked about people, and of which tasks."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study import scale_text, scales
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.scales import Scale
from crowdllm_jax.study.toplines import check_people


@dataclass(frozen=True)
class Estimand:
    """What is asked of every task.

    Attributes:
      kind: the mean answer, the share of a level, or the coefficients of the answer on attributes.
      level: as the data writes it, or its label. attributes: names.
      pool: all tasks together, instead of each task by itself.
      confidence: of the intervals.
    """

    kind: Literal["mean", "share", "regress"] = "mean"
    level: str = ""
    attributes: tuple[str, ...] = ()
    pool: bool = False
    confidence: float = 0.95


MEAN = Estimand()


def choose_tasks(
    study: Study, labelled: np.ndarray, question: Estimand, tasks: tuple[str, ...] | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """(T,) the tasks that are asked of, and (T,) the level whose share is asked for, if any.

    Args:
      labelled: (R,) bool, responses that count as people's answers. tasks: ids; None takes all that
        suit the question.
    Raises:
      CrowdError: a task is none of the study's, has no such answers, or does not suit the question;
        or the study tells of no people.
    """
    check_people(study)
    held = np.unique(study.task[labelled])
    if not len(held):
        raise CrowdError(
            "nobody's answers are held out, so none are left that the crowd was not "
            "fitted on; fit with split.test above 0"
        )
    chosen, odd = held, ""
    if tasks is not None:
        index = {name: task for task, name in enumerate(study.tasks.ids)}
        for name in tasks:
            if name not in index:
                raise CrowdError(
                    f"--tasks: the study has no task '{name}'; it has: {_few(study.tasks.ids)}"
                )
            if index[name] not in held:
                raise CrowdError(
                    f"--tasks: nobody's answers to '{name}' are held out: the crowd was fitted on "
                    f"them; held out are: {_few(tuple(study.tasks.ids[t] for t in held))}"
                )
        chosen = np.array([index[name] for name in dict.fromkeys(tasks)])
    level = np.array([_level(study.scale_of(task), question.level) for task in chosen])
    if question.kind == "share":
        suits = level >= 0
        shown = "; ".join(
            f"{name}: {scale_text.describe(scale)}" for name, scale in study.scales.items()
        )
        odd = f"has no level '{question.level}' ({shown})"
    else:
        suits = scales.which(scales.is_ordered, map(study.scale_of, chosen))
        odd = "has a nominal scale, whose answers have no mean; ask for --share LEVEL"
    if tasks is None and question.kind == "share" and not suits.any():
        raise CrowdError(f"no question {odd.replace('has no', 'has a')}")
    if not suits.all() and (tasks is not None or not suits.any()):
        raise CrowdError(f"task '{study.tasks.ids[chosen[np.argmin(suits)]]}' {odd}")
    chosen, level = chosen[suits], level[suits]
    used = np.unique(study.tasks.scale[chosen])
    if question.pool and len(used) > 1:
        names = ", ".join(tuple(study.scales)[index] for index in used)
        raise CrowdError(
            f"--pool: these tasks have several scales ({names}); choose --tasks of one"
        )
    return chosen, level if question.kind == "share" else None


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:10]) + (f", ... ({len(names):,})" if len(names) > 10 else "")


def _level(scale: Scale, text: str) -> int:
    """The level that a written answer stands for; -1 if none."""
    level = None if scales.size(scale) == 0 else scale_text.parse(scale, text)
    return -1 if level is None else int(level)
