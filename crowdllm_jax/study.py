"""The study: everything about one crowd of real people, as immutable records.

A study does not depend on the order of the rows it was read from: tasks, participants and levels
are sorted, responses stand by participant and task.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

from crowdllm_jax import scales
from crowdllm_jax.columns import attribute_columns
from crowdllm_jax.names import as_shown, look_alikes
from crowdllm_jax.scales import Scale

AttributeKind = Literal["categorical", "ordinal", "numeric"]


@dataclass(frozen=True)
class Attribute:
    """One attribute of every participant (or task).

    Attributes:
      levels: names of the levels of a categorical or ordinal attribute; empty if numeric.
      cells: (N,) int32 level, or float64 number with NaN where it is missing. A missing level is
        a level of its own, "(missing)".
    """

    name: str
    kind: AttributeKind
    levels: tuple[str, ...]
    cells: np.ndarray


@dataclass(frozen=True)
class Participants:
    """N real people: ids, profile, survey weights (N,) with mean 1."""

    ids: tuple[str, ...]
    profile: tuple[Attribute, ...]
    weight: np.ndarray


@dataclass(frozen=True)
class Tasks:
    """T tasks.

    Attributes:
      text: what a person is asked; the id where the study has no text.
      scale: (T,) index into `Study.scales`.
      embedding: (T, F) float32 or None.
    """

    ids: tuple[str, ...]
    text: tuple[str, ...]
    scale: np.ndarray
    attributes: tuple[Attribute, ...]
    embedding: np.ndarray | None


@dataclass(frozen=True)
class Study:
    """One crowd: its tasks and scales, its participants, and R responses.

    Attributes:
      scales: each scale under its name; `tasks.scale` counts in this order.
      person: (R,) int32 index of the participant.
      task: (R,) int32 index of the task.
      answer: (R,) float64: the level on a discrete scale, the value on a continuous one. Ballots
        are whole: whoever answers one task of a ballot answers all (`ballots.complete_ballots`).
      missing: responses left empty in the data (they are simply absent above).
      left_out: projects that voters left out of their ballots (above they are level 0).
    """

    name: str
    scales: dict[str, Scale]
    tasks: Tasks
    participants: Participants
    person: np.ndarray
    task: np.ndarray
    answer: np.ndarray
    missing: int = 0
    left_out: int = 0

    def scale_of(self, task: int) -> Scale:
        return tuple(self.scales.values())[self.tasks.scale[task]]

    @property
    def weight(self) -> np.ndarray:
        """(R,) survey weight of whoever gave each response; exactly 1 where all count alike."""
        return alike(self.participants.weight)[self.person]

    @property
    def value(self) -> np.ndarray:
        """(R,) each answer as the number it stands for, in its scale's own units."""
        numbers = self.answer.copy()
        for index, scale in enumerate(self.scales.values()):
            if scales.size(scale):
                here = self.tasks.scale[self.task] == index
                numbers[here] = scales.values(scale)[self.answer[here].astype(int)]
        return numbers


def alike(weight: np.ndarray) -> np.ndarray:
    """Weights with mean 1; exactly 1 where they are equal, so that such weights change no digit."""
    return weight / weight.mean() if np.ptp(weight) else np.ones(len(weight))


def fingerprint(study: Study) -> str:
    """A hash of all that the study holds: the same data give the same text, in any row order."""
    digest = hashlib.sha256()

    def add(*parts: object) -> None:
        for part in parts:
            data = part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode()
            digest.update(len(data).to_bytes(8, "little") + data)

    add(study.scales, study.tasks.ids, study.tasks.text, study.participants.ids)
    add(study.tasks.scale, study.participants.weight, study.person, study.task, study.answer)
    add(study.tasks.embedding)
    for attribute in (*study.tasks.attributes, *study.participants.profile):
        add(attribute.name, attribute.kind, attribute.levels, attribute.cells)
    return digest.hexdigest()


def unanswered(study: Study) -> np.ndarray:
    """The tasks that nobody answered, in order."""
    return np.flatnonzero(np.bincount(study.task, minlength=len(study.tasks.ids)) == 0)


def describe(study: Study) -> str:
    """What the study holds, for `crowdllm study check`: a text of a few lines."""
    n, t, r = len(study.participants.ids), len(study.tasks.ids), len(study.task)
    per_task = np.bincount(study.task, minlength=t)
    per_person = np.bincount(study.person, minlength=n)
    lines = [
        f"study         {study.name}",
        f"participants  {n:,}, each answering {per_person.min()} to {per_person.max()} tasks "
        f"(median {np.median(per_person):g})",
        f"tasks         {t:,}, each answered by {per_task.min()} to {per_task.max()} people "
        f"(median {np.median(per_task):g})",
        f"responses     {r:,} of {n * t:,} possible ({r / (n * t):.1%}); "
        f"{study.missing:,} cells left empty",
    ]
    if study.left_out:
        lines.append(f"              {study.left_out:,} of the responses are projects that voters "
                     "left out of their ballots; they count 0")  # fmt: skip
    if len(nobody := unanswered(study)):
        shown = ", ".join(study.tasks.ids[task] for task in nobody[:8])
        more = ", ..." if len(nobody) > 8 else ""
        lines.append(
            f"unanswered    {len(nobody):,} tasks that nobody answered: {shown}{more}; a crowd "
            "answers them by the reference and features, or like any other task"
        )
    for index, (name, scale) in enumerate(study.scales.items()):
        here = study.tasks.scale[study.task] == index
        tasks = int((study.tasks.scale == index).sum())
        lines.append(f"scale         {name}: {scales.describe(scale)}; {tasks:,} tasks")
        if k := scales.size(scale):
            share = np.bincount(study.answer[here].astype(int), minlength=k) / max(here.sum(), 1)
            shown = ", ".join(
                f"{level} {part:.0%}"
                for level, part in zip(scales.counted(scale), share, strict=True)
            )
            lines.append(f"              answers: {shown}")
            if scales.is_ballot(scale):
                voters = len(np.unique(study.person[here]))
                lines.append(f"              {voters:,} ballots; {n - voters:,} cast none")
        elif here.any():
            low, middle, high = np.quantile(study.answer[here], [0.05, 0.5, 0.95])
            lines.append(f"              answers: 5% {low:g}, median {middle:g}, 95% {high:g}")
    columns = attribute_columns(a.name for a in study.participants.profile)
    for attribute in study.participants.profile:
        lines.append(f"profile       {_describe(attribute)}")
        if (column := columns[attribute.name]) != attribute.name:
            lines.append(f"              is called {column} in populations and counts, which have "
                         "another column of this name")  # fmt: skip
    if not study.participants.profile:
        lines.append("profile       none: agents will differ by chance alone")
    weight = study.participants.weight
    if np.ptp(weight) > 0:
        effective = weight.sum() ** 2 / (weight**2).sum()
        lines.append(f"weights       given; Kish's effective sample size {effective:,.1f} of {n:,}")
    for attribute in study.tasks.attributes:
        lines.append(f"task has      {_describe(attribute)}")
    if study.tasks.embedding is not None:
        lines.append(f"task has      an embedding of {study.tasks.embedding.shape[1]} numbers")
    lines += [f"look alike    {told}" for told in _look_alikes(study)]
    return "\n".join(lines)


def _look_alikes(study: Study) -> list[str]:
    """Names that differ in so little that they may be meant to be one; a few of each kind."""
    kinds = {"participants": study.participants.ids, "tasks": study.tasks.ids}
    for scale_name, scale in study.scales.items():
        kinds[f"levels of {scale_name}"] = tuple(map(str, scales.written(scale)))
    for attribute in (*study.participants.profile, *study.tasks.attributes):
        kinds[attribute.name] = attribute.levels
    told = []
    for kind, names in kinds.items():
        groups = look_alikes(names)
        some = ", ".join(" and ".join(f"'{name}'" for name in group) for group in groups[:5])
        if groups:
            more = f", ... ({len(groups):,} such groups)" if len(groups) > 5 else ""
            told.append(f"{kind}: {some}{more}; make them one in the table if they are one")
    return told


def _describe(attribute: Attribute) -> str:
    if attribute.kind == "numeric":
        known = attribute.cells[~np.isnan(attribute.cells)]
        gaps = len(attribute.cells) - len(known)
        missing = f"; {gaps} missing" if gaps else ""
        return f"{attribute.name}: numeric, {known.min():g} to {known.max():g}{missing}"
    count = np.bincount(attribute.cells, minlength=len(attribute.levels))
    order = range(len(count)) if attribute.kind == "ordinal" else np.argsort(-count, kind="stable")
    levels = [f"{as_shown(attribute.levels[i])} {count[i]}" for i in order]
    more = f", ... ({len(levels)} levels)" if len(levels) > 8 else ""
    return f"{attribute.name}: {attribute.kind}, {', '.join(levels[:8])}{more}"
