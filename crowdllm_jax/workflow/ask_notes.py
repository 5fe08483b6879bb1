"""What is said beside the answers to new questions: where each was placed from, which are unlike
all that the run knows, and how far to trust them."""

from collections.abc import Mapping, Sequence

import numpy as np

from crowdllm_jax.model.persistent.design import Design
from crowdllm_jax.runs.asked import Placed
from crowdllm_jax.runs.trust import FEWEST, Trust
from crowdllm_jax.runtime.names import as_shown
from crowdllm_jax.study import scales
from crowdllm_jax.study.coding import feature_blocks
from crowdllm_jax.study.question_tables import FewAnswers
from crowdllm_jax.study.questions import Questions
from crowdllm_jax.study.records import Tasks
from crowdllm_jax.study.scales import Nominal, Scale
from crowdllm_jax.workflow.ask_audience import Audience

FAR = 0.99
"""A question farther from the nearest training question than this part of these are from each
other is told to be unlike them."""


def notes_on(
    placed: Placed,
    asked: Questions,
    known: Mapping[str, Scale],
    few: Mapping[str, FewAnswers],
    trust: Trust | None,
) -> tuple[str, ...]:
    """Sentences on where each question was placed from, and how far to trust what is answered.

    Args:
      known: the run's own scales. few: the answers that were given, by question.
      trust: how the run's held-out questions were met; None where it held out none.
    """
    notes = []
    far = _unlike(placed, len(asked.ids))
    names = list(known)
    for i, name in enumerate(asked.ids):
        where = placed.how[i]
        if name in few:
            count = f"{few[name].people.sum():,.0f} known answers"
            where = f"{where}, moved by {count}" if where else count
        notes.append(f"'{name}': placed by {where}.")
        scale, lends = asked.task_scales[i], names[asked.lender[i]]
        if known[lends] != scale and (
            placed.options is None or not placed.options.described[i].any()
        ):
            said = i in placed.said
            notes.append(_lent_note(name, scale, lends, known[lends], said=said))
        if far[i]:
            notes.append(
                f"'{name}' is unlike all training questions (farther from the nearest than "
                f"{FAR:.0%} of these are from each other): its interval may be too narrow."
            )
    notes += _beyond(placed.study.tasks, asked)
    return (*notes, trust_note(trust, names, answered=bool(few)))


def routed_notes(asked: Questions, audiences: Sequence[Audience]) -> tuple[str, ...]:
    """Sentences on how many agents are asked each question that not everybody is."""
    return tuple(
        f"'{name}' is asked of {audience.share:.0%} of the agents ({asked.ask_if[name]}); shares "
        "are of these."
        if audience.outlook is not None
        else f"'{name}' is asked of nobody ({asked.ask_if[name]})."
        for name, audience in zip(asked.ids, audiences, strict=True)
        if name in asked.ask_if
    )


def _lent_note(name: str, scale: Scale, lends: str, lent: Scale, *, said: bool) -> str:
    if isinstance(scale, Nominal):
        if said:
            return (
                f"'{name}': the run has no scale with these options; agents choose among them as "
                "the reference says, as far as it is trusted, and whatever their profile."
            )
        return (
            f"'{name}': the run has no scale with these options, so nothing is known of what tells "
            "them apart; agents choose among them by chance, but for the answers that are given."
        )
    if scales.is_continuous(scale):
        return f"'{name}': the run has no scale with these ends; it takes that of '{lends}'."
    k, size = scales.size(lent), scales.size(scale)
    steps = "the steps" if k == size else f"the {k} levels, stretched over {size},"
    return (
        f"'{name}': the run has no such scale; its thresholds are {steps} of '{lends}', from "
        f"'{scales.labels(scale)[0]}' (lowest) to '{scales.labels(scale)[-1]}' (highest)."
    )


def trust_note(trust: Trust | None, names: Sequence[str], *, answered: bool) -> str:
    """A sentence on how close answers to questions that nobody answered come.

    Args:
      trust: see `notes_on`. names: of the run's scales. answered: some people's answers to them are
        known.
    """
    before = " before the known answers" if answered else ""
    if trust is None or not trust.questions:
        return (
            "This run held out no questions, so how close its answers to new ones come is not "
            "measured: the intervals are the model's own (split: {by: tasks} measures it)."
        )
    wider = _times(trust, names)
    if not np.isfinite(trust.way) and trust.questions >= FEWEST:
        return (
            f"On {trust.questions} held-out questions people's shares differ no more than chance "
            "makes them, so how far this crowd came is not measured; 90% intervals are "
            f"{wider} times the model's{before}, to hold on these."
        )
    if not np.isfinite(trust.way):
        return (
            f"Only {trust.questions} questions were held out, too few to measure how close answers "
            "to new ones come: the intervals are the model's own."
        )
    return (
        f"On {trust.questions} held-out questions like these, this crowd came {trust.way:.0%} "
        f"({trust.low:.0%} to {trust.high:.0%}) of the way from knowing nothing to the people's "
        f"own shares; 90% intervals are {wider} times the model's{before}, to hold on these."
    )


def _times(trust: Trust, names: Sequence[str]) -> str:
    """By which intervals are stretched, in words: from the scale where that is least to that where
    it is most."""
    in_order = sorted((times, scale) for scale, times in trust.of_scale.items())
    ends = [f"{times:.2f} ({as_shown(names[scale])})" for times, scale in in_order]
    return " to ".join([ends[0], ends[-1]]) if len(ends) > 1 else f"{trust.stretch:.2f}"


def _unlike(placed: Placed, count: int) -> np.ndarray:
    """(A,) bool: which questions' features are far from those of all training tasks."""
    design, blocks = placed.crowd.inputs, feature_blocks(placed.study.tasks)
    assert isinstance(design, Design)
    if not blocks or (design.tasks.known > 0).sum() < 3:
        return np.zeros(count, bool)
    # Not the model's own columns: these are clipped to the range of the training tasks.
    x = np.concatenate(list(blocks.values()), axis=1)
    known, new = x[design.tasks.known > 0], x[-count:]
    usual = np.quantile(_to_nearest(known, known, 1), FAR)
    # Distances of 0 are so to rounding alone.
    return np.asarray(_to_nearest(new, known, 0) > usual + 1e-5)


def _beyond(tasks: Tasks, asked: Questions) -> list[str]:
    """Sentences on options described by a number that no option of the run's has come near.

    Args:
      tasks: the run's, and questions behind them.
    """
    notes: list[str] = []
    if tasks.alternatives is None or asked.alternatives is None:
        return notes
    own, new = tasks.alternatives, asked.alternatives
    of_run = own.task < len(tasks.ids) - len(asked.ids)
    for known, attribute in zip(own.attributes, new.attributes, strict=True):
        if attribute.kind != "numeric":
            continue
        low, high = np.nanmin(known.cells[of_run]), np.nanmax(known.cells[of_run])
        for row in np.flatnonzero((attribute.cells < low) | (attribute.cells > high)):
            question = int(new.task[row])
            option = scales.labels(asked.task_scales[question])[new.level[row]]
            notes.append(
                f"'{asked.ids[question]}': {attribute.name} {attribute.cells[row]:g} of '{option}' "
                f"is beyond what people chose among ({low:g} to {high:g}); what it is worth there "
                "is a guess, the line carried on."
            )
    return notes


def _to_nearest(x: np.ndarray, known: np.ndarray, nearer: int) -> np.ndarray:
    """(N,) distance of each row from those known: to the nearest but for so many."""
    known = known.astype(np.float64)
    length, nearest = (known**2).sum(1), []
    # A few at a time, by a product of matrices: trees do not help among hundreds of columns.
    for part in np.array_split(x.astype(np.float64), 1 + len(x) // 1024):
        square = (part**2).sum(1)[:, None] + length - 2 * part @ known.T
        nearest.append(np.partition(square, nearer, axis=1)[:, nearer])
    return np.sqrt(np.concatenate(nearest).clip(0))
