"""What references say of tasks, as columns of the model.

A reference is read beside what it says of the scale's known tasks: that it puts all tasks of a
scale too high costs nothing, since the scale's levels are learnt from its known tasks. Where a
scale has too few of these to learn levels from, what is *usual* on it is for the reference to say,
too. It may be right about that and not about how a scale's tasks differ, or the other way round,
and so either is trusted by itself (within and between groups: Mundlak 1978), if there are tasks
enough on such scales to tell. A forecast that was learnt from the training answers says both in one
and the same unit.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from crowdllm_jax.model.persistent.layout import Layout
from crowdllm_jax.reference.record import Reference
from crowdllm_jax.study import scales
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.statistics import unit

FORECAST = 1.3
"""The trust in a fitted or pooled reference before any answer. It foretells shares of training
tasks it has not seen, as well as it can, so a few tasks' answers need not prove it anew. Agents who
differ by about a logit, and tasks that lie about a logit from where they are expected, answer as
much less outspokenly as this trust makes up for (`unanswered.dilution` of both)."""


ENOUGH = 10
"""Known tasks on scales of few, of which fewer do not tell how far to trust what is usual."""


class Told(NamedTuple):
    """What references say of tasks.

    Attributes:
      columns: (T,) each, that move the location: the first reference's mean, and this by how sure
        it is; groups: the prior group of each. others: (T,) means of the further references, and
        last what is usual by the first.
      shares: (T, K) centred log probabilities of the reference; of several, of their average, and
        how far each is from it; and last what is usual by the average. usual: whether there is
        such a last one.
    """

    columns: list[np.ndarray]
    groups: list[int]
    others: list[np.ndarray]
    shares: list[np.ndarray]
    usual: bool


class _Said(NamedTuple):
    """What one reference says.

    Attributes:
      mean: (T,) on a logit scale. shares: (T, K) log probabilities. entropy: (T,) beside its
        scale's average; 0 of two levels, of which it says no more than the mean does; None without
        probabilities.
      usual_mean, usual_shares: the same on scales of few known tasks, 0 on others: of known tasks
        on average, and of each task where none is known.
    """

    mean: np.ndarray
    shares: np.ndarray
    entropy: np.ndarray | None
    usual_mean: np.ndarray
    usual_shares: np.ndarray


class Known(NamedTuple):
    """Which tasks have answers.

    Attributes:
      seen: (T,) bool. few: (S,) bool, which scales have few such tasks. all: whether answers that
        are asked for later are to such tasks. apart: whether what is usual on the former is read
        apart.
    """

    seen: np.ndarray
    few: np.ndarray
    all: bool
    apart: bool = False


def read_references(study: Study, reference: Reference, layout: Layout, known: Known) -> Told:
    """Read a reference and the others behind it."""
    seen, few = known.seen, known.few
    enough = (seen & few[study.tasks.scale]).sum() >= ENOUGH
    apart = bool(enough) and any(map(_says_usual, (reference, *reference.others)))
    known = known._replace(apart=apart)

    def read(one: Reference) -> _Said:
        return _read(study, one, layout, known)

    first, *others = map(read, (reference, *reference.others))
    columns, group = [first.mean], [0]
    # A reference that is sure of itself may deserve more trust, or less; so may one that hardly
    # believes in the listed options. A fitted head is as sure as where it puts a task makes it.
    certainties = () if reference.is_forecast else ((1, first.entropy), (2, reference.mass))
    for number, certainty in certainties:
        if certainty is not None and first.mean.any() and certainty[seen].std() > 1e-6:
            centred = (certainty - certainty[seen].mean()) / certainty[seen].std()
            columns.append(_tried(reference, first.mean * centred, seen))
            group.append(number)
    shares = [said.shares + said.usual_shares for said in (first, *others)]
    usual = np.mean([said.usual_shares for said in (first, *others)], axis=0)
    average, *departures = _apart(shares)
    means = [said.mean + said.usual_mean for said in others]
    told = [average - usual, *departures]
    if apart:
        told, means = [*told, usual], [*means, first.usual_mean]
    return Told(columns, group, means, [one.astype(np.float32) for one in told], apart)


def _says_usual(reference: Reference) -> bool:
    return not reference.is_forecast and reference.kind != "marginal"


def expected_trust(reference: Reference, tasks: int, *, usual: bool) -> np.ndarray | None:
    """(T, 1 + E) the trust in what references say before any answer (see `TaskColumns`); None
    without any."""
    every = (reference, *reference.others)
    trust = np.array([FORECAST * one.is_forecast for one in every], np.float32)
    if len(every) > 1:
        # A reference is their average and how far it is from that.
        trust = np.append(trust.sum(dtype=np.float32), trust)
    if usual:
        trust = np.append(trust, np.float32(0))
    return np.tile(trust, (tasks, 1)) if trust.any() else None


def options_told(
    references: Sequence[Reference | None], task: int, levels: int, channels: int
) -> np.ndarray:
    """(K, 1 + E) what references say of the levels of a task by itself, in so many columns as
    `TaskColumns` have; zeros of those that say nothing of levels."""
    every = [np.zeros(levels) for _ in references]
    for number, reference in enumerate(references):
        if reference is not None and reference.probs is not None:
            log = _log_shares(reference.probs[task, :levels])
            every[number] = log - log.mean()
    average, *departures = _apart(every)
    if channels > 1 + len(departures):  # then all it says is what is usual with such options
        return np.stack([np.zeros(levels), *departures, average], axis=1)
    return np.stack([average, *departures], axis=1)


def within(columns: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Columns (T, ...) clipped to the training tasks' range: how far a reference is to be trusted,
    and what features do, has been learned there, and not beyond."""
    return columns.clip(columns[seen].min(0), columns[seen].max(0))


def _read(study: Study, reference: Reference, layout: Layout, known: Known) -> _Said:
    (seen, few, asked_of, apart), t = known, len(study.tasks.ids)
    mean, usual_mean = np.zeros((2, t))
    shares, usual_shares = np.zeros((2, t, layout.levels))
    if asked_of and reference.kind == "marginal":
        # It is the average of the very answers to be explained: trusting it would count them twice.
        return _Said(mean, shares, None, usual_mean, usual_shares)
    share = unit(study, reference.mean, np.arange(t)).clip(0.02, 0.98)
    logit = np.log(share) - np.log1p(-share)
    entropy = np.zeros(t) if reference.probs is not None else None
    for index, scale in enumerate(layout.scales):
        on_scale = study.tasks.scale == index
        tried = (on_scale & seen).any()
        if not tried and reference.kind == "marginal":
            continue
        parted = few[index] and apart and _says_usual(reference)
        # Else what is said of a scale of few known tasks is taken as it is.
        whole = few[index] and not parted and reference.kind != "marginal"
        known_here = np.zeros(on_scale.sum(), bool) if whole else seen[on_scale]
        beside = _parted if parted else _beside
        mean[on_scale], usual_mean[on_scale] = beside(logit[on_scale], known_here)
        if reference.probs is not None and entropy is not None and (k := scales.size(scale)):
            log = _log_shares(reference.probs[on_scale, :k])
            # What all levels of a task share moves none of them.
            own, usual = beside(log - log.mean(1, keepdims=True), known_here)
            # The range of a few tasks is none.
            bounded = tried and not few[index]
            shares[on_scale, :k] = _tried(reference, own, seen[on_scale]) if bounded else own
            usual_shares[on_scale, :k] = usual
            if k > 2 and tried:
                unsure = -(np.exp(log) * log).sum(1) / np.log(k)
                entropy[on_scale] = unsure - unsure[seen[on_scale]].mean()
    return _Said(
        _tried(reference, _in_units(reference, mean, seen), seen),
        shares,
        entropy,
        _in_units(reference, usual_mean, seen),
        usual_shares,
    )


_Parts = tuple[np.ndarray, np.ndarray]
"""What is said (N, ...) of a scale's tasks, and what of that is usual there and read apart."""


def _beside(said: np.ndarray, seen: np.ndarray) -> _Parts:
    """Beside the average of the known tasks, which the scale's levels hold."""
    usual = said[seen].mean(0) if seen.any() else 0.0
    return said - usual, np.zeros_like(said)


def _parted(said: np.ndarray, seen: np.ndarray) -> _Parts:
    """Beside the average of the few known tasks, and that; where none is known, all is usual."""
    usual = np.broadcast_to(said[seen].mean(0), said.shape) if seen.any() else said
    return said - usual, usual


def _in_units(reference: Reference, mean: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """In units of its own spread, a fitted head that knows nothing would speak as loudly as one
    that knows all; it says itself how far a task is from the average."""
    spread = 1.0 if reference.is_forecast else mean[seen].std()
    return mean / (spread if spread > 1e-6 else 1.0)


def _apart(every: list[np.ndarray]) -> list[np.ndarray]:
    """What references say, of several their average and how far each is from it."""
    if len(every) == 1:
        return every
    average = np.mean(every, axis=0)
    return [average, *(own - average for own in every)]


def _log_shares(probs: np.ndarray) -> np.ndarray:
    share = probs.clip(1e-2)
    log: np.ndarray = np.log(share / share.sum(-1, keepdims=True))
    return log


def _tried(reference: Reference, columns: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Columns of a reference, within what was tried of it. A fitted head keeps to that by itself:
    of training tasks it knows fewer others than of new ones, and so is less outspoken."""
    return columns if reference.is_forecast else within(columns, seen)
