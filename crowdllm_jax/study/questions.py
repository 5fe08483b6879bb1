"""Questions that a fitted crowd is asked anew, and how they join the tasks of its study.

A question on a scale of the study is a task like the others. One on a scale that the crowd has not
learnt borrows the steps of the learnt scale of its kind that is nearest in size (`lender`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.names import as_shown, did_you_mean
from crowdllm_jax.study import scale_text, scales
from crowdllm_jax.study.alternatives import behind, only_tasks
from crowdllm_jax.study.ids import attribute_behind
from crowdllm_jax.study.records import Alternatives, Attribute, Study, Tasks
from crowdllm_jax.study.scales import Binary, Continuous, Nominal, Ordinal, Scale


@dataclass(frozen=True)
class Questions:
    """A new tasks.

    Attributes:
      ids, text: of each; an id is what draws are keyed by.
      scales: by name, those that the questions have. scale: (A,) index into them.
      lender: (A,) index of the study's scale whose steps a question takes: its own, where the study
        has it.
      ask_if: by the id of a question that only some are asked, the condition (see `routing`).
      alternatives: what describes their options; None where nothing does.
    """

    ids: tuple[str, ...]
    text: tuple[str, ...]
    scales: dict[str, Scale]
    scale: np.ndarray
    lender: np.ndarray
    ask_if: Mapping[str, str] = field(default_factory=dict)
    alternatives: Alternatives | None = None

    @property
    def task_scales(self) -> tuple[Scale, ...]:
        """The scale of each question."""
        in_order = tuple(self.scales.values())
        return tuple(in_order[index] for index in self.scale)


def questions_on(
    ids: Sequence[str],
    text: Sequence[str],
    wanted: Sequence[str | Scale],
    known: Mapping[str, Scale],
    answered: Sequence[str],
) -> Questions:
    """Make questions of texts and their scales, each the name of one that the study has or a new
    one.

    Args:
      known: the study's scales. answered: the names of those that the crowd has learnt, the one
        with most tasks first.
    Raises:
      CrowdError: no question, one without a text, one asked twice, or a scale the crowd cannot
        answer on.
    """
    if not ids:
        raise CrowdError("ask: no question is given")
    if len(set(ids)) < len(ids):
        twice = Counter(ids).most_common(1)[0][0]
        raise CrowdError(f"ask: '{twice}' is asked twice; keep one")
    if any(not one.strip() for one in text):
        raise CrowdError("ask: a question is empty; write what is asked")
    by_name: dict[str, Scale] = {}
    place, lender = [], []
    names = list(known)
    for one in wanted:
        if isinstance(one, str):
            if one not in known:
                raise CrowdError(
                    f"ask: there is no scale '{one}'; the run's scales are: "
                    f"{', '.join(map(as_shown, names))}{did_you_mean(one, names)}; or give the "
                    "answers that may be given (--options)"
                )
            name, lends = one, one
        else:
            same = [n for n in answered if known[n] == one]
            _check_order(one, known)
            lends = same[0] if same else _nearest(one, known, answered)
            name = same[0] if same else _name_of(one, {**known, **by_name})
        by_name.setdefault(name, known[name] if isinstance(one, str) else one)
        place.append(list(by_name).index(name))
        lender.append(names.index(lends))
    return Questions(
        tuple(ids), tuple(text), by_name, np.array(place, np.int32), np.array(lender, np.int32)
    )


def _check_order(wanted: Scale, known: Mapping[str, Scale]) -> None:
    """Refuse options of a scale of the run in another order, which shares of them would follow."""
    if not isinstance(wanted, Nominal) or wanted in known.values():
        return
    for name, scale in known.items():
        if isinstance(scale, Nominal) and set(scale.levels) == set(wanted.levels):
            raise CrowdError(
                f"ask: {', '.join(map(as_shown, wanted.levels))} are the options of the run's "
                f"scale '{name}' in another order, which says nothing of them; give that scale in "
                f"place of options (its order: {', '.join(map(as_shown, scale.levels))})"
            )


def new_scale(options: Sequence[str], kind: str | None, where: str) -> Scale:
    """The scale of options that are listed: ordered from the lowest to the highest unless `kind`
    says that they are not.

    Raises:
      CrowdError: they make no scale, `where` names them.
    """
    scale: Scale
    if kind == "continuous":
        try:
            low, high = (float(option) for option in options)
        except ValueError as error:
            raise CrowdError(
                f"{where}: a continuous scale has two numbers as options, its ends: 0,100"
            ) from error
        scale = Continuous(low=low, high=high)
    elif kind == "nominal":
        scale = Nominal(levels=tuple(options))
    elif kind == "binary" or (kind is None and len(options) == 2):
        scale = Binary(levels=tuple(options))
    elif kind in (None, "ordinal"):
        scale = Ordinal(levels=tuple(options))
    else:
        raise CrowdError(
            f"{where}: '{kind}' is no kind of options; there are ordinal, nominal, binary and "
            "continuous (ballots of the run's own are named by --scale)"
        )
    scale_text.check(scale, where)
    return scale


def _name_of(scale: Scale, taken: Mapping[str, Scale]) -> str:
    """A name that no other scale has."""
    shown = scales.labels(scale) or tuple(f"{end:g}" for end in scales.values(scale))
    name = "/".join(shown)
    numbered = (name if i == 1 else f"{name} ({i})" for i in count(1))
    return next(one for one in numbered if taken.get(one, scale) == scale)


def _nearest(scale: Scale, known: Mapping[str, Scale], answered: Sequence[str]) -> str:
    """The learnt scale of this kind that is nearest in size, the one with most tasks of several."""

    def suits(other: Scale) -> bool:
        if isinstance(scale, Ordinal | Binary):
            return isinstance(other, Ordinal | Binary)
        return type(other) is type(scale)

    size = scales.size(scale)
    suitable = [name for name in answered if suits(known[name])]
    if not suitable:
        kind = scales.kind(scale)
        raise CrowdError(
            f"ask: the crowd has learnt no {kind} scale, so nothing says how its agents would "
            f"answer on one; its scales are: "
            + ", ".join(f"{as_shown(name)} ({scales.kind(known[name])})" for name in answered)
        )

    def far(name: str) -> tuple[bool, int]:
        other = scales.size(known[name])
        # The one step between two levels says nothing of how far apart others are.
        return other == 2 != size, abs(other - size)

    return min(suitable, key=far)


def joined(
    study: Study,
    questions: Questions,
    attributes: tuple[Attribute, ...],
    embedding: np.ndarray | None,
) -> Study:
    """A study with questions behind its tasks, each on its lender's scale; nobody answers them.

    Args:
      attributes: the study's task attributes, of A questions. embedding: (A, F) or None.
    Raises:
      CrowdError: a question is already a task of the study.
    """
    tasks = study.tasks
    both = set(tasks.ids) & set(questions.ids)
    if both:
        raise CrowdError(
            f"ask: '{min(both)}' is a task of the run already; `crowdllm sample` and `crowdllm "
            "aggregate` say what agents answer to it, or give the new question another id"
        )
    longer = Tasks(
        tasks.ids + questions.ids,
        tasks.text + questions.text,
        np.concatenate([tasks.scale, questions.lender]).astype(tasks.scale.dtype),
        tuple(
            attribute_behind(known, new, questions.ids)
            for known, new in zip(tasks.attributes, attributes, strict=True)
        ),
        None if tasks.embedding is None else np.concatenate([tasks.embedding, embedding]),
        tasks.blocks,
        asked=len(questions.ids),
        alternatives=_described(study, questions),
        known=np.append(tasks.measured, np.zeros(len(questions.ids), bool)),
    )
    return replace(study, tasks=longer)


def _described(study: Study, questions: Questions) -> Alternatives | None:
    """What describes the options of a study's tasks and of the questions behind them that have the
    same options.

    Raises:
      CrowdError: nothing describes the options of a question, which that of the study's tasks are.
    """
    known, new = study.tasks.alternatives, questions.alternatives
    if known is None:
        return None
    described = np.unique(study.tasks.scale[known.task])
    several = tuple(study.scales.values())
    same = np.array(
        [
            several[lends] == scale
            for lends, scale in zip(questions.lender, questions.task_scales, strict=True)
        ]
    )
    silent = same & np.isin(questions.lender, described)
    if new is not None:
        silent &= ~np.isin(np.arange(len(same)), new.task)
    if silent.any():
        raise CrowdError(
            f"ask: '{questions.ids[int(np.argmax(silent))]}' is a choice among options that the "
            f"run knows by {', '.join(as_shown(a.name) for a in known.attributes)}; say what they "
            "are in a table (--alternatives FILE)"
        )
    if new is None:
        return known
    return behind(known, only_tasks(new, same), len(study.tasks.ids), questions.ids)
