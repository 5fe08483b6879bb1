"""How many agents of a crowd give each answer, without writing (or even drawing) the agents.

Agents of the published model answer each task independently of all other tasks. Given how many
agents have each profile (`profiles.profile_counts`), the numbers of them that give each answer to a
task are multinomial, with the very chances from which the sampler draws: its thresholds on 16 bits,
or the normal score of a continuous scale. A billion agents then cost what their distinct profiles
cost. These counts are another draw than the agents of the same seed, with the same distribution.

Wherever answers hang together - agents of the persistent model are people, a ballot's tasks share
something - or have no closed form (semi-implicit beliefs), or possible profiles are too many to
list, the agents are drawn block by block and counted on the device. These counts are those of the
agents that `sample` draws from the same seed.
"""

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import cycle, groupby
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from scipy.special import ndtr

from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.model.crowd import Crowd, CvaeInputs, check_crowd
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.model.cvae.decision import score_moments
from crowdllm_jax.model.levels import count_words, unpack
from crowdllm_jax.model.response import score_cuts, thresholds
from crowdllm_jax.population import sample
from crowdllm_jax.population.counts import Counts
from crowdllm_jax.population.drawers import Drawer, drawers
from crowdllm_jax.population.grouped import GroupedDrawer
from crowdllm_jax.population.moments import Moments, moments_of, no_moments, stacked
from crowdllm_jax.population.sample import in_flight, whole_numbers
from crowdllm_jax.profiles.profile_counts import profile_counts
from crowdllm_jax.runtime.counting import Arrays, added, handed_out, in_order
from crowdllm_jax.runtime.precision import SAME_BITS, float32_products
from crowdllm_jax.runtime.prefetch import ahead
from crowdllm_jax.runtime.progress import Progress, silent
from crowdllm_jax.study import scales
from crowdllm_jax.study.bins import BINS, bins
from crowdllm_jax.study.coding import encode
from crowdllm_jax.study.records import Attribute
from crowdllm_jax.study.scales import Continuous, Scale

MOST_AGENTS = 1 << 40
"""Beyond, numpy's binomial draws lose their precision."""

MOST_CELLS = 1 << 27
"""Counts that are kept at once: groups x tasks x answers."""

BLOCK_CHANCES = 1 << 21
"""Chances (of profiles, tasks, answers) that are worked out at once."""

FEW_LEVELS = 12
"""Up to so many, packed levels are compared with each of them, which is faster than a scatter."""

STRETCH = 1 << 19
"""Agents that one of several processes takes at once; an accelerator's largest block."""

LONG = 3600.0
"""Seconds of drawing that are announced before they pass."""


def count(
    crowd: Crowd,
    agents: int,
    seed: int,
    *,
    by: str | None = None,
    where: str | None = None,
    margins: Mapping[str, Mapping[str, float]] | None = None,
    progress: Progress = silent,
) -> Counts:
    """Count the answers of a population of any size.

    Args:
      agents: N, up to 2**40. seed: of their answers.
      by: a profile attribute; its values are counted apart.
      where, margins: whom the agents are, as of `sample`.
    Returns:
      `Counts` of G groups: (G, T, K) numbers of agents, (G, T) means and standard deviations.
    Raises:
      CrowdError: the number of agents or the seed is out of range, or the crowd knows no such
        attribute, or can have no such agents.

    Examples:
      >>> table = cl.count(crowd, agents=2000, seed=0, by="education")
      >>> table.members.sum(), table.counts.shape[1:]  # six tasks, up to eight answers
      (np.int64(2000), (6, 8))
    """
    check_crowd(crowd)
    crowd = sample.crowd_among(crowd, where, margins)
    agents, seed = whole_numbers(agents, seed)
    if agents > MOST_AGENTS:
        raise CrowdError(f"population.agents: {agents:,} are too many to count; give up to 2**40")
    group_by = _group_by(crowd, by)
    random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
    recruited = profile_counts(crowd.generator, agents, random) if _alone(crowd) else None
    if recruited is None:
        members, counts, valued = _count_drawn(crowd, agents, seed, group_by, progress)
    else:
        members, counts, valued = _count_profiles(crowd, *recruited, seed, group_by, progress)
    occurs = np.flatnonzero(members)
    attribute = None if group_by is None else crowd.generator.attributes[group_by]
    names: tuple[str | float | None, ...] = (None,)
    if attribute is not None and group_by is not None:
        cells = crowd.generator.values[group_by][occurs]
        names = tuple(
            attribute.levels[int(cell)]
            if attribute.levels
            else (None if np.isnan(cell) else float(cell))
            for cell in cells
        )
    mean, variance = _moments(crowd.task_scales, counts[occurs])
    continuous = scales.which(scales.is_continuous, crowd.task_scales)
    mean[:, continuous], variance[:, continuous] = valued.mean[occurs], valued.variance[occurs]
    return Counts(attribute, names, members[occurs], counts[occurs], mean, np.sqrt(variance), crowd)


def _moments(task_scales: tuple[Scale, ...], counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(G, T) mean and variance of the levels' numbers; NaN where there are none."""
    mean, variance = np.full((2, *counts.shape[:2]), np.nan)
    for task, scale in enumerate(task_scales):
        if scales.is_continuous(scale) or not scales.is_ordered(scale):
            continue
        value = scales.values(scale)
        number = counts[:, task].sum(1, keepdims=True)
        share = counts[:, task, : len(value)] / np.where(number > 0, number, np.nan)
        mean[:, task] = share @ value
        variance[:, task] = (share * (value - mean[:, task, None]) ** 2).sum(1)
    return mean, variance


def longest(task_scales: tuple[Scale, ...]) -> int:
    """K, the number of counted answers on the longest scale."""
    return max(len(bins(scale)) for scale in set(task_scales))


def _alone(crowd: Crowd) -> bool:
    """Whether each task is answered independently of all others, by a score in closed form."""
    return (
        isinstance(crowd.config, CvaeConfig)
        and not crowd.ask_if
        and not crowd.config.semi_implicit
        and not any(map(scales.is_joint, crowd.task_scales))
    )


def _group_by(crowd: Crowd, by: str | None) -> int | None:
    """Which of the crowd's attributes agents are grouped by."""
    names = [a.name for a in crowd.generator.attributes]
    if by is not None and by not in names:
        raise CrowdError(
            f"--by {by}: the crowd has no such attribute; it has: {', '.join(names) or 'none'}"
        )
    group_by = None if by is None else names.index(by)
    groups = _groups(crowd, group_by)
    if groups * len(crowd.task_ids) * longest(crowd.task_scales) > MOST_CELLS:
        what = f"--by {by}: {groups:,} values are" if by else "counts: that is"
        raise CrowdError(
            f"{what} too much to count at once; band the attribute, or count fewer tasks"
        )
    return group_by


def _groups(crowd: Crowd, group_by: int | None) -> int:
    """G, how many groups there may be."""
    return 1 if group_by is None else len(crowd.generator.values[group_by])


def _group(
    crowd: Crowd, group_by: int | None, profile: tuple[Attribute, ...], n: int
) -> np.ndarray:
    """(N,) the group of each profile."""
    if group_by is None:
        return np.zeros(n, np.int32)
    values = crowd.generator.values[group_by]
    return np.searchsorted(values, profile[group_by].cells).astype(np.int32)


# Without agents.


def _count_profiles(
    crowd: Crowd,
    profile: tuple[Attribute, ...],
    people: np.ndarray,
    seed: int,
    group_by: int | None,
    progress: Progress,
) -> tuple[np.ndarray, np.ndarray, Moments]:
    """(G,) members, (G, T, K) counts and (G, C) moments of the continuous tasks, given how many
    agents have each of P profiles."""
    assert isinstance(crowd.inputs, CvaeInputs)
    group = _group(crowd, group_by, profile, len(people))
    groups = _groups(crowd, group_by)
    members = np.zeros(groups, np.int64)
    np.add.at(members, group, people)
    t, k = len(crowd.task_ids), longest(crowd.task_scales)
    counts = np.zeros((groups, t, k), np.int64)
    c = encode(crowd.codings, profile) if profile else np.zeros((len(people), 0), np.float32)
    cut = _cut_table(crowd.task_scales)
    continuous = scales.which(scales.is_continuous, crowd.task_scales)
    ends = np.array([(s.low, s.high) for s in crowd.task_scales if isinstance(s, Continuous)])
    of_group = [no_moments((len(ends),)) for _ in range(groups)]
    params, x, reference = jax.device_put((crowd.params, *crowd.inputs))
    size = min(1 << (len(people) - 1).bit_length(), 256, max(1, BLOCK_CHANCES // (t * k)))
    total = int(people.sum())
    for first in range(0, len(people), size):
        block = c[first : first + size]
        # Filled up, so that one compiled program serves all blocks.
        filled = np.concatenate([block, np.zeros((size - len(block), c.shape[1]), np.float32)])
        table = _table(crowd.graph, crowd.config, params, x, filled, reference, cut)
        threshold, mean, sd = map(np.asarray, table)
        chances = _chances(threshold, mean, sd, continuous, k)
        middle, variance = _within(mean[:, continuous], sd[:, continuous])
        for row, chance in enumerate(chances[: len(block)], start=first):
            random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1, row)))
            answered = random.multinomial(people[row], chance)
            counts[group[row]] += answered
            if len(ends):
                at, binned = row - first, answered[continuous, :BINS]
                values = _values(random, binned, middle[at], variance[at], ends)
                of_group[group[row]] = of_group[group[row]].joined(values)
        progress("count", int(people[: first + size].sum()), total)
    return members, counts, stacked(of_group)


def _values(
    random: np.random.Generator,
    binned: np.ndarray,
    middle: np.ndarray,
    variance: np.ndarray,
    ends: np.ndarray,
) -> Moments:
    """(C,) moments of the values of agents of whom it is drawn in which bin each lies.

    Their sum is drawn, by its mean and variance; how far they lie apart is as expected.

    Args:
      binned: (C, BINS) agents. middle, variance: (C, BINS) of a score within a bin.
      ends: (C, 2) of the scales.
    """
    number = binned.sum(1)
    mean = (binned * middle).sum(1) / np.maximum(number, 1)
    spread = (binned * (variance + (middle - mean[:, None]) ** 2)).sum(1)
    score = number * mean + random.normal(size=len(mean)) * np.sqrt((binned * variance).sum(1))
    low, width = ends[:, 0], ends[:, 1] - ends[:, 0]
    total = number * low + width * np.clip(score, 0, number)
    return Moments(number.astype(float), total, width**2 * spread)


def _cut_table(task_scales: tuple[Scale, ...]) -> np.ndarray:
    """(K - 1, T) scores between the levels, infinite beyond a task's own and where continuous."""
    per_task = [[] if scales.is_continuous(s) else score_cuts(s).tolist() for s in task_scales]
    table = np.full((max(map(len, per_task)), len(per_task)), np.inf, np.float32)
    for task, cut in enumerate(per_task):
        table[: len(cut), task] = cut
    return table


@partial(jax.jit, static_argnums=(0, 1), compiler_options=SAME_BITS)
@float32_products()
def _table(
    graph: nnx.GraphDef[Any],
    config: CvaeConfig,
    params: nnx.State[Any, Any],
    x: jax.Array,
    c: jax.Array,
    reference: jax.Array,
    cut: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Thresholds (K - 1, P, T) between the levels, and moments (P, T) of the score."""
    mean, sd = score_moments(nnx.merge(graph, params), x, c, reference, config)
    return thresholds(mean, sd, cut), mean, sd


def _chances(
    threshold: np.ndarray, mean: np.ndarray, sd: np.ndarray, continuous: np.ndarray, k: int
) -> np.ndarray:
    """(P, T, K) chance of each answer, of levels in multiples of 2**-16 as the sampler draws."""
    out = np.zeros((*mean.shape, k))
    if len(threshold):
        # A level is at most j if max(bits, 1) is at most threshold j, bits from 0 to 65535.
        bits = threshold.transpose(1, 2, 0).astype(np.int64)
        until = np.where(bits >= 1, bits + 1, 0) / 65536
        levels = np.diff(until, axis=2, prepend=0.0, append=1.0)
        out[:, :, : levels.shape[2]] = levels
    if continuous.any():
        edge = np.arange(1, BINS) / BINS
        middle, width = mean[:, continuous, None], np.maximum(sd[:, continuous, None], 1e-9)
        until = ndtr((edge - middle.astype(np.float64)) / width)
        out[:, continuous] = 0.0
        out[:, continuous, :BINS] = np.diff(until, axis=2, prepend=0.0, append=1.0)
    return out


def _within(mean: np.ndarray, sd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(P, C, BINS) mean and variance of a normal score, clipped to [0, 1], within each bin.

    Integrals of the normal density, around the middle of a bin.
    """
    half, edge = 0.5 / BINS, np.arange(BINS + 1) / BINS
    middle = edge[:-1] + half
    safe_sd = np.maximum(sd.astype(np.float64), 1e-9)[..., None]
    z = (edge - mean[..., None].astype(np.float64)) / safe_sd
    below, density = ndtr(z), np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    chance, off = np.diff(below, axis=-1), mean[..., None] - middle
    first = off * chance - safe_sd * np.diff(density, axis=-1)
    turn = (off + half) * density[..., 1:] - (off - half) * density[..., :-1]
    second = (off**2 + safe_sd**2) * chance - safe_sd * turn
    # What lies beyond the ends is at the ends.
    for outermost, beyond, end in ((0, below[..., 0], -half), (-1, ndtr(-z[..., -1]), half)):
        chance[..., outermost] += beyond
        first[..., outermost] += beyond * end
        second[..., outermost] += beyond * end**2
    likely = chance > 0
    shift = np.divide(first, chance, out=np.zeros_like(first), where=likely).clip(-half, half)
    square = np.divide(second, chance, out=np.zeros_like(first), where=likely)
    return middle + shift, (square - shift**2).clip(0, half**2)


# Agents drawn, and counted on the device.


class _Tally(NamedTuple):
    """Of a block's agents: (G,) members, (G, T, K) counts, (G, C) moments of continuous tasks."""

    first: int
    size: int
    members: np.ndarray
    counts: np.ndarray
    valued: Moments


def _count_drawn(
    crowd: Crowd, agents: int, seed: int, group_by: int | None, progress: Progress
) -> tuple[np.ndarray, np.ndarray, Moments]:
    """See `_count_profiles`; each of several processes draws stretches of agents."""
    groups, t = _groups(crowd, group_by), len(crowd.task_ids)
    members = np.zeros(groups, np.int64)
    total = np.zeros((groups, t, longest(crowd.task_scales)), np.int64)
    none = no_moments((groups, scales.which(scales.is_continuous, crowd.task_scales).sum()))
    report = _announcing(agents, progress)

    def of_stretches() -> Iterator[tuple[int, Arrays]]:
        blocks = _tallied(crowd, agents, seed, group_by)
        for number, of_blocks in groupby(blocks, lambda block: block.first // STRETCH):
            moments = none
            for block in of_blocks:
                members[:] += block.members
                total[:] += block.counts
                moments = moments.joined(block.valued)
                report(min(agents, block.first + block.size))
            yield number, (moments.weight, moments.total, moments.spread)

    valued = none
    for sums in in_order("the moments", of_stretches()):
        valued = valued.joined(Moments(*sums))
    members, total = added("the counts", (members, total))
    progress("count", agents, agents)
    return members, total, valued


def _tallied(crowd: Crowd, agents: int, seed: int, group_by: int | None) -> Iterator[_Tally]:
    """This process's blocks of agents, drawn and counted, the next ones while one is used."""
    draws = drawers(crowd)
    groups, k = _groups(crowd, group_by), longest(crowd.task_scales)
    size = draws[0].size(agents) if isinstance(draws[0], GroupedDrawer) else sample.BLOCK
    continuous = np.flatnonzero(scales.which(scales.is_continuous, crowd.task_scales))
    no_values = no_moments((groups, len(continuous)))

    def firsts() -> Iterator[int]:
        for _, first in handed_out("agents", range(0, agents, STRETCH)):
            yield from range(first, min(first + STRETCH, agents), size)

    def values_of(drawn: jax.Array | np.ndarray, group: np.ndarray) -> Moments:
        values = np.asarray(drawn[:, continuous])
        return stacked([moments_of(values[group == number]) for number in range(groups)])

    def tallied(item: tuple[Drawer, int]) -> _Tally:
        draw, first = item
        if isinstance(draw, GroupedDrawer):
            by = _group(crowd, group_by, draw.profiles, draw.real)
            found = draw.count(seed, first, size, agents - first, by, (groups, k))
            return _Tally(first, size, *found, no_values)
        profile, drawn = draw(seed, first + np.arange(size, dtype=np.int64))
        group = _group(crowd, group_by, profile, size)
        group[agents - first :] = groups
        members = np.bincount(group, minlength=groups + 1)[:groups]
        values = values_of(drawn, group) if len(continuous) else no_values
        shape = (groups, len(crowd.task_ids), k)
        counts = tally(crowd.task_scales, shape, drawn, group, bool(crowd.ask_if))
        return _Tally(first, size, members, np.asarray(counts), values)

    yield from ahead(tallied, zip(cycle(draws), firsts(), strict=False), in_flight(draws))


def _announcing(agents: int, progress: Progress) -> Callable[[int], None]:
    """Reports how many agents are counted; says once how long that will take, if it is long."""
    began: tuple[float, int] | None = None  # with the first block, which has waited for compilation
    announced = False

    def report(done: int) -> None:
        nonlocal announced, began
        progress("count", done, agents)
        now = time.monotonic()
        since, before = began = began or (now, done)
        left = (now - since) / max(1, done - before) * (agents - done)
        if not announced and now - since > 10 and left > LONG:
            announced = True
            warnings.warn(
                f"these agents have to be drawn to be counted: about {left / 3600:.1f} hours to go"
                " at this pace; Ctrl-C and fewer agents (--agents) are quicker",
                CrowdWarning,
                stacklevel=2,
            )

    return report


@partial(jax.jit, static_argnums=(0, 1, 4))
def tally(
    task_scales: tuple[Scale, ...],
    shape: tuple[int, int, int],
    drawn: jax.Array,
    group: jax.Array,
    routed: bool = False,
) -> jax.Array:
    """(G, T, K) int32 number of agents of each group that give each answer.

    Args:
      drawn: (N, T) levels, or values of continuous tasks; or packed (`levels.unpack`).
      group: (N,) from 0 to G - 1; agents of group G are not counted.
      routed: agents may have skipped tasks (-1, NaN), which are not counted.
    """
    groups, t, k = shape
    if drawn.dtype == jnp.uint32 and groups == 1 and k <= FEW_LEVELS:
        return count_words(drawn, group == 0, k)[None, :t]
    answers = unpack(drawn, t)
    cell = cells(task_scales, answers)
    at = (group[:, None] * t + jnp.arange(t, dtype=jnp.int32)[None]) * k + cell
    if routed:
        valued = scales.which(scales.is_continuous, task_scales)
        at = jnp.where(jnp.where(valued, jnp.isnan(answers), answers < 0), groups * t * k, at)
    counts = jnp.zeros(groups * t * k, jnp.int32).at[at].add(1, mode="drop")
    return counts.reshape(shape)


def cells(task_scales: tuple[Scale, ...], answers: jax.Array) -> jax.Array:
    """(N, T) int32 place of each answer among `study.bins.bins` of its scale."""
    cell = answers.astype(jnp.int32)
    for scale in set(task_scales):
        if isinstance(scale, Continuous):
            tasks = np.array([task for task, other in enumerate(task_scales) if other == scale])
            bin_of = jnp.searchsorted(_edges(scale), answers[:, tasks], side="right")
            cell = cell.at[:, tasks].set(bin_of)
    return cell


def _edges(scale: Continuous) -> np.ndarray:
    """(BINS - 1,) float32 ends between bins, such that a float32 value lies at or above one where
    it lies at or above the float64 end."""
    middles = bins(scale)
    exact = (middles[1:] + middles[:-1]) / 2
    rounded = exact.astype(np.float32)
    above = np.nextafter(rounded, np.float32(np.inf))
    edges: np.ndarray = np.where(rounded < exact, above, rounded)
    return edges
