"""Questions that a run's study has: agents remember what they answered, or are asked again."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.model.persistent.asked import arrays_of, some_tasks, units_of
from crowdllm_jax.model.persistent.forecast import Unsure, unsure_of
from crowdllm_jax.profiles.generator import ProfileGenerator
from crowdllm_jax.runs.trust import NORMAL
from crowdllm_jax.study import scales
from crowdllm_jax.study.question_tables import FewAnswers
from crowdllm_jax.study.questions import Questions
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.routing import routes_of
from crowdllm_jax.study.scales import Scale
from crowdllm_jax.study.split import Split
from crowdllm_jax.study.statistics import kish
from crowdllm_jax.workflow.ask_audience import Audience, audiences


@dataclass(frozen=True)
class KnownQuestions:
    """Questions that are tasks of a run.

    Attributes:
      asked: they, under the run's ids. rows: (A,) indices of the tasks.
      crowd: whose agents answer them: all of the run's tasks as in its population, or these alone,
        again.
    """

    asked: Questions
    rows: np.ndarray
    crowd: Crowd


@dataclass(frozen=True)
class Behind:
    """How many people's answers are behind what a crowd says to a question, on which scale, and
    the variance of theirs."""

    scale: Scale
    people: float
    variance: float


def tasks_called(
    study: Study, names: Sequence[str], own: Sequence[Scale | None], *, typed: bool
) -> list[int]:
    """Which of a study's tasks some questions are; -1 of those that are none.

    In a table the id says what a question is; one that is typed is the task that has it for its id
    or for its text.

    Args:
      own: the scales they are asked on; None takes the task's. Another scale is another question.
    """
    of_id = {name: i for i, name in enumerate(study.tasks.ids)}
    of_text: dict[str, int] = {}
    if typed:
        of_text = {" ".join(text.split()): i for i, text in enumerate(study.tasks.text)}
    found = []
    for name, scale in zip(names, own, strict=True):
        row = of_id.get(name, of_text.get(name, -1))
        same = row >= 0 and (scale is None or scale == study.scale_of(row))
        found.append(row if same else -1)
    return found


def check_same(
    crowd: Crowd, study: Study, asked: Questions, rows: Sequence[int], path: Path
) -> None:
    """Make sure that a table means the run's questions by their ids.

    Raises:
      CrowdError: it asks one of other people than the run did (ask_if).
    Warns:
      CrowdWarning: it has another text for one.
    """
    for name, text, row in zip(asked.ids, asked.text, rows, strict=True):
        if row < 0:
            continue
        own, given = crowd.ask_if.get(name, ""), asked.ask_if.get(name, "")
        if given and given.split() != own.split():
            raise CrowdError(
                f"{path}: '{name}' is a question of the run, asked of "
                f"{f'those of whom {own}' if own else 'everybody'}, and not by ask_if: {given}; "
                "leave that out, or give the question another id"
            )
        if text != name and text.split() != study.tasks.text[row].split():
            warnings.warn(
                f"{path}: '{name}' is a question of the run, and has another text there "
                f"('{study.tasks.text[row]}'); it is answered as that. Give a new question "
                "another id",
                CrowdWarning,
                stacklevel=2,
            )


def known_questions(
    crowd: Crowd, study: Study, asked: Questions, rows: Sequence[int], again: int
) -> KnownQuestions | None:
    """The questions as tasks of the run; None if they are new.

    Args:
      rows: which tasks they are (`tasks_called`). again: asked anew, for the first, ... time; 0
        takes what agents answered.
    Raises:
      CrowdError: some are and some are not, one has the id of a task on another scale, or they
        cannot be asked again.
    """
    if again < 0:
        raise CrowdError(f"--again {again}: give how often it is asked again, from 1")
    for name, row in zip(asked.ids, rows, strict=True):
        if row < 0 and name in study.tasks.ids:
            own = tuple(study.scales)[study.tasks.scale[study.tasks.ids.index(name)]]
            raise CrowdError(
                f"ask: '{name}' is a question of the run, on the scale '{own}'; leave out --scale "
                "and --options (in a table, give that scale), or give a new question another id"
            )
    there = np.array(rows) >= 0
    if not there.any():
        if again:
            raise CrowdError(
                f"--again: '{asked.ids[0]}' is no question of the run, so nobody has answered it "
                "yet; leave it out"
            )
        return None
    if not there.all():
        old, new = (asked.ids[int(np.argmax(side))] for side in (there, ~there))
        raise CrowdError(
            f"ask: '{old}' is a question of the run, which its agents have answered, and '{new}' "
            "is new; ask them one after the other"
        )
    ids = tuple(study.tasks.ids[row] for row in rows)
    if len(set(ids)) < len(ids):
        raise CrowdError(f"ask: '{ids[0]}' is asked twice; keep one")
    conditions = {name: crowd.ask_if[name] for name in ids if name in crowd.ask_if}
    asked = replace(asked, ids=ids, text=tuple(study.tasks.text[row] for row in rows))
    of_run = np.array(rows)
    if not again:
        return KnownQuestions(replace(asked, ask_if=conditions), of_run, crowd)
    _check_again(crowd, conditions)
    numbered = "again" if again == 1 else f"again {again}"
    names = {name: f"{name} ({numbered})" for name in ids}
    conditions = {names[name]: text for name, text in conditions.items()}
    some = some_tasks(crowd, of_run)
    some = replace(some, task_ids=tuple(names.values()), asked=True, ask_if=conditions)
    return KnownQuestions(replace(asked, ids=some.task_ids, ask_if=conditions), of_run, some)


def _check_again(crowd: Crowd, conditions: Mapping[str, str]) -> None:
    names = [attribute.name for attribute in crowd.generator.attributes]
    routes = routes_of(crowd.ask_if, crowd.task_ids, crowd.task_scales, names)
    for route in routes:
        name = crowd.task_ids[route.task]
        if name in conditions and route.reads:
            raise CrowdError(
                f"--again: '{name}' is asked by what was answered to "
                f"'{crowd.task_ids[route.reads[0]]}' (ask_if); leave out --again"
            )


def known_places(crowd: Crowd, known: KnownQuestions) -> list[Unsure]:
    """Where the tasks are, and how far the fit knows it."""
    arrays, places = arrays_of(crowd), []
    for task in unsure_of(crowd, known.rows, known.asked.task_scales):
        level = arrays["effects.mean.task_level"][task.row, : len(task.middle) - 1]
        place = arrays["effects.mean.task"][task.row] * units_of(crowd)[task.row]
        middle = np.append(place, level)
        places.append(replace(task, middle=middle))
    return places


def audiences_of(run: Crowd, known: KnownQuestions, generator: ProfileGenerator) -> list[Audience]:
    """Of each question, the agents who are asked it."""
    every = audiences(run, run, generator, tasks=known.rows.tolist())
    return [every[row] for row in known.rows]


def no_surer(table: pa.Table, behind: Mapping[str, Behind]) -> pa.Table:
    """The table with no interval narrower than as many people's answers have as are behind it:
    another sample of people would have answered otherwise.

    Args:
      behind: by question; one without an entry is left alone.
    """
    columns = {name: table[name].to_pylist() for name in ("share", "low", "high", "people")}
    for i, (name, answer) in enumerate(
        zip(table["task_id"].to_pylist(), table["answer"].to_pylist(), strict=True)
    ):
        told, value = behind.get(name), columns["share"][i]
        if told is None or not told.people:
            continue
        if answer == "(mean)":
            # The shares of its levels stand above a mean.
            shares = np.array(columns["share"][i - scales.size(told.scale) : i])
            low, high = _of_mean(value, told, shares)
        else:
            low, high = _of_share(value, told.people)
        columns["low"][i] = min(columns["low"][i], low)
        columns["high"][i] = max(columns["high"][i], high)
        # A mean of continuous answers has no such number.
        if columns["people"][i] > told.people:
            columns["people"][i] = told.people
    for name, cells in columns.items():
        table = table.set_column(
            table.column_names.index(name), name, pa.array(cells, pa.float64())
        )
    return table


def _of_share(share: float, people: float) -> tuple[float, float]:
    """Ends of the 90% interval of a share of so many people: on either side the farther of the
    normal one's and Wilson's (1927), which also holds where nobody, or everybody, answered so."""
    half = NORMAL * np.sqrt(share * (1 - share) / people)
    square = NORMAL**2 / people
    middle = (share + square / 2) / (1 + square)
    around = np.hypot(half, square / 2) / (1 + square)
    low, high = min(share - half, middle - around), max(share + half, middle + around)
    return max(float(low), 0.0), min(float(high), 1.0)


def _of_mean(mean: float, told: Behind, shares: np.ndarray) -> tuple[float, float]:
    """Ends of the 90% interval of the mean answer of the people behind it, whose answers vary as
    much as their own at least, and as the crowd's (shares of levels; none where continuous): a few
    who answer alike do not say that others do."""
    numbers = scales.values(told.scale)
    first, last = float(numbers[0]), float(numbers[-1])
    if len(shares) == 2:
        low, high = _of_share((mean - first) / (last - first), told.people)
        return first + (last - first) * low, first + (last - first) * high
    apart = (numbers[: len(shares)] - mean) ** 2
    variance = max(told.variance, float(shares @ apart))
    half = NORMAL * np.sqrt(variance / told.people)
    return max(mean - half, first), min(mean + half, last)


def behind_known(known: KnownQuestions, study: Study, split: Split) -> dict[str, Behind]:
    """What the crowd was fitted to of each of the run's own questions."""
    pairs = zip(known.asked.ids, known.rows.tolist(), strict=True)
    return {name: Behind(study.scale_of(row), *_answers(study, split, row)) for name, row in pairs}


def behind_choices(
    asked: Questions, few: Mapping[str, FewAnswers], study: Study, split: Split
) -> dict[str, Behind]:
    """What the crowd was fitted to of each new choice among options that are described: everybody
    who chose among such; and the answers to it that are known."""
    described, new = study.tasks.alternatives, asked.alternatives
    if described is None or new is None:
        return {}
    # Whichever of the described tasks is asked for, all of them are counted.
    people, _ = _answers(study, split, int(described.task[0]))
    found = {}
    for choice in np.unique(new.task).tolist():
        name = asked.ids[choice]
        more = few[name].people.sum() if name in few else 0.0
        # Options have no order, and so no mean that would vary.
        found[name] = Behind(asked.task_scales[choice], people + float(more), np.nan)
    return found


def _answers(study: Study, split: Split, task: int) -> tuple[float, float]:
    """How many people's answers to a task the crowd was fitted to (Kish's effective number), and
    their variance. Of options that are described everybody tells who chose among such."""
    described, alike = study.tasks.alternatives, np.array([task])
    if described is not None and task in described.task:
        alike = np.unique(described.task)
    rows = np.flatnonzero(np.isin(study.task, alike) & split.seen)
    person, first = np.unique(study.person[rows], return_index=True)
    weight, value = study.participants.weight[person], study.value[rows][first]
    if not weight.sum() > 0:
        return 0.0, 0.0
    mean = np.average(value, weights=weight)
    return kish(weight), float(np.average((value - mean) ** 2, weights=weight))


def known_notes(known: KnownQuestions, study: Study) -> tuple[str, ...]:
    """Sentences on what was remembered, or asked again."""
    ids = [study.tasks.ids[row] for row in known.rows]
    if known.crowd.asked:
        return tuple(
            f"'{name}' is a question of the run: the agents answer it again, with the beliefs they "
            "have and other chance."
            for name in ids
        )
    return tuple(
        f"'{name}' is a question of the run: agents answer as they did in its population "
        "(--again asks anew)."
        for name in ids
    )
