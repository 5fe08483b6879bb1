"""Whether groups of agents differ as the same groups of people do.

An answer's deviation is its distance from what the others answer to the same task, as a share of
the scale's range. The gap of a group (a level of a profile attribute; a third of a number) is its
mean deviation over the answers that people of the group gave, and the crowd's over the same tasks.
People's answers count by survey weight throughout.

Tasks without an order, whose answers have no mean, take no part.

- gap_error: mean absolute difference of the crowd's gaps and the people's, over groups.
- regression_agreement: the share of coefficients of a least-squares regression of the deviation on
  the profile for which the crowd's lies in the people's 95% interval (clustered by person). The
  truth would be in 95% of them.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from crowdllm_jax.score.asked import deviations as apart
from crowdllm_jax.score.bootstrap import FEWEST as FEWEST_UNITS
from crowdllm_jax.score.bootstrap import interval
from crowdllm_jax.score.held_out import Humans
from crowdllm_jax.study.coding import Coding, encode
from crowdllm_jax.study.records import Attribute
from crowdllm_jax.study.statistics import kish

FEWEST = 10
"""People in a group, and people per coefficient."""

TIMES = 200


@dataclass(frozen=True)
class Group:
    """One group's mean deviation: the people's with a 95% interval (NaN: they all deviate alike),
    and the crowd's (NaN: no such agents); shares of the range."""

    attribute: str
    level: str
    people: int
    human: float
    low: float
    high: float
    crowd: float


@dataclass(frozen=True)
class _Members:
    """Who is in which group: (people, groups) and (agents, groups) of 0 and 1."""

    names: list[tuple[str, str]]
    people: np.ndarray
    agents: np.ndarray


def deviations(humans: Humans) -> tuple[np.ndarray, np.ndarray]:
    """(R,) each answer's distance from the mean of the others' to its task, and (R,) whether there
    are others."""
    t, weight = len(humans.tasks), humans.answer_weight
    others = (np.bincount(humans.task, minlength=t) > 1)[humans.task]
    others &= humans.ordered[humans.task]
    rest = np.bincount(humans.task, weight, t)[humans.task] - weight
    total = np.bincount(humans.task, weight * humans.share, t)[humans.task]
    mean = (total - weight * humans.share) / np.where(others, rest, 1.0)
    return np.where(others, humans.share - mean, 0), others


def crowd_deviations(humans: Humans, values: np.ndarray) -> np.ndarray:
    """(N, T) the agents' distances from the crowd's mean; 0 of those who were not asked, and where
    there is none."""
    return apart(humans.as_share(values, np.arange(len(humans.tasks)))) * humans.ordered


def _deviate(humans: Humans) -> bool:
    """Not of published shares, nor of answers without an order alone."""
    return not humans.shares and bool(humans.ordered.any())


def _members(people: tuple[Attribute, ...], agents: tuple[Attribute, ...]) -> _Members:
    """The groups that hold enough of the people."""
    names: list[tuple[str, str]] = []
    ours: list[np.ndarray] = []
    theirs: list[np.ndarray] = []
    for attribute, of_agents in zip(people, agents, strict=True):
        if attribute.kind == "numeric":
            known = attribute.cells[~np.isnan(attribute.cells)]
            if not len(known):
                continue
            ends = np.unique(np.quantile(known, [1 / 3, 2 / 3], method="inverted_cdf"))
            edges = [-np.inf, *ends, np.inf]
            for low, high in pairwise(edges):
                words = f"up to {high:g}" if low == -np.inf else f"over {low:g}"
                if -np.inf < low and high < np.inf:
                    words += f", up to {high:g}"
                names.append((attribute.name, words))
                for members, cells in ((ours, attribute.cells), (theirs, of_agents.cells)):
                    members.append((cells > low) & (cells <= high))
        else:
            for level, name in enumerate(attribute.levels):
                names.append((attribute.name, name))
                ours.append(attribute.cells == level)
                theirs.append(of_agents.cells == level)
    keep = [i for i, members in enumerate(ours) if members.sum() >= FEWEST]
    table = [np.array([rows[i] for i in keep], float) for rows in (ours, theirs)]
    return _Members([names[i] for i in keep], table[0].T, table[1].T)


def groups_of(
    humans: Humans,
    people: tuple[Attribute, ...],
    agents: tuple[Attribute, ...],
    values: np.ndarray,
) -> list[Group]:
    """Every group's gap among the people and in the crowd.

    Args:
      people: the held-out people's profiles, agents: the agents', in the same levels.
      values: (N, T) the agents' answers to `humans.tasks`.
    """
    members = _members(people, agents)
    if not _deviate(humans) or not members.names:
        return []
    human, error, _ = _people_gaps(humans, members)
    error = np.where(error > 1e-9, error, np.nan)
    crowd = _crowd_gaps(humans, members, values)
    return [
        Group(
            attribute,
            level,
            int(members.people[:, i].sum()),
            float(human[i]),
            float(human[i] - 1.96 * error[i]),
            float(human[i] + 1.96 * error[i]),
            float(crowd[i]),
        )
        for i, (attribute, level) in enumerate(members.names)
    ]


def _people_gaps(
    humans: Humans, members: _Members
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """(G,) gaps, their standard errors (linearised, clustered by person), and the (H, G) weighted
    sums and counts that they are made of.

    Whom a group is compared with are people, too, the group's own among them: each person moves the
    mean that others deviate from. Left out, a half of the people would seem to be off by 1.4 times
    what it is.
    """
    gap, others = deviations(humans)
    weight = humans.answer_weight
    total = np.bincount(humans.person, weight * gap, humans.people)
    count = np.bincount(humans.person, weight * others, humans.people)
    sums = members.people * total[:, None] - _compared_with(humans, members, gap, others)
    counts = members.people * count[:, None]
    size = counts.sum(0).clip(1e-300)
    mean = sums.sum(0) / size
    return mean, np.sqrt(((sums - mean * counts) ** 2).sum(0)) / size, (sums, counts)


def _compared_with(
    humans: Humans, members: _Members, gap: np.ndarray, others: np.ndarray
) -> np.ndarray:
    """(H, G) by how much each person's answers raise the means that a group's others deviate from;
    nothing, summed over people."""
    t, weight = len(humans.tasks), humans.answer_weight
    rest = np.bincount(humans.task, weight, t)[humans.task] - weight
    each = np.where(others, weight / np.where(others, rest, 1.0), 0.0)
    mean = humans.share - gap
    raised = np.zeros((humans.people, len(members.names)))
    for group, own in enumerate(members.people.T):
        of_group = own[humans.person] * each
        # Nobody is among those whom they deviate from.
        parts, means = (
            np.bincount(humans.task, part, t)[humans.task] - part
            for part in (of_group, of_group * mean)
        )
        moved = weight * (humans.share * parts - means) * others
        raised[:, group] = np.bincount(humans.person, moved, humans.people)
    return raised


def _crowd_gaps(humans: Humans, members: _Members, values: np.ndarray) -> np.ndarray:
    """(G,) gaps over the tasks that the group's people answered; NaN where there are no agents."""
    moved, given = crowd_deviations(humans, values), ~np.isnan(values)
    agents = members.agents.sum(0)
    of_group = np.maximum(agents, 1)[:, None] if given.all() else members.agents.T @ given
    by_task = members.agents.T @ moved / np.maximum(of_group, 1)
    asked = np.zeros((len(members.names), len(humans.tasks)))
    counts = humans.answer_weight * humans.ordered[humans.task]
    weight = members.people[humans.person] * counts[:, None]
    np.add.at(asked.T, humans.task, weight)
    gap = (asked * by_task).sum(1) / asked.sum(1).clip(1e-300)
    return np.where(agents > 0, gap, np.nan)


def score_groups(
    humans: Humans,
    codings: tuple[Coding, ...],
    people: tuple[Attribute, ...],
    agents: tuple[Attribute, ...],
    values: np.ndarray,
) -> dict[str, dict[str, tuple[float, float, float]]]:
    """gap_error and regression_agreement of the "crowd", of "none" (a crowd whose groups do not
    differ) and of the "humans" (what the truth would score): (value, low, high), 95% intervals.
    Nothing where nobody deviates.
    """
    if not _deviate(humans):
        return {}
    measures: dict[str, dict[str, tuple[float, float, float]]] = {}
    members = _members(people, agents)
    if members.names:
        gap, error, sums = _people_gaps(humans, members)
        crowd = _crowd_gaps(humans, members, values)
        random, n = np.random.default_rng(0), humans.people
        drawn = random.multinomial(n, np.full(n, 1 / n), TIMES) @ np.stack(sums)
        with np.errstate(invalid="ignore", divide="ignore"):
            again = np.where(drawn[1] > 0, drawn[0] / drawn[1], np.nan)
        scores: dict[str, tuple[float, float, float]] = {}
        for name, theirs in (("crowd", crowd), ("none", np.zeros_like(crowd))):
            if np.isfinite(theirs).any():
                value = _mean_size(theirs - gap)
                drawn_off = [_mean_size(theirs - drawn_gap) for drawn_gap in again]
                few = humans.people < FEWEST_UNITS
                scores[name] = (value, *((np.nan, np.nan) if few else interval(drawn_off, value)))
        # The mean size of normal errors: what the true gaps would be off by.
        noise = float(np.sqrt(2 / np.pi) * error.mean())
        measures["gap_error"] = scores | {"humans": (noise, np.nan, np.nan)}
    if (table := regression(humans, codings, people, agents, values)) is not None:
        _, low, high, crowd = table.T
        scores = {"humans": (0.95, np.nan, np.nan)}
        for name, theirs in (("crowd", crowd), ("none", np.zeros(len(table)))):
            inside = int(((low <= theirs) & (theirs <= high)).sum())
            # Imported here, as below: statsmodels takes a second to load, which no fit needs.
            from statsmodels.stats.proportion import proportion_confint

            ends = proportion_confint(inside, len(table), method="wilson")
            scores[name] = (inside / len(table), float(ends[0]), float(ends[1]))
        measures["regression_agreement"] = scores
    return measures


def _mean_size(gap: np.ndarray) -> float:
    """Of those that are known."""
    known = np.isfinite(gap)
    return float(np.mean(np.abs(gap[known]))) if known.any() else float("nan")


def regression(
    humans: Humans,
    codings: tuple[Coding, ...],
    people: tuple[Attribute, ...],
    agents: tuple[Attribute, ...],
    values: np.ndarray,
) -> np.ndarray | None:
    """Least squares (by survey weight) of the deviation on the profile, without the intercept.

    Returns:
      (C, 4) the people's coefficient, the ends of its 95% interval, and the crowd's; None where
      there are too few people (by Kish's effective number) for the profile's columns, or these
      answer alike.
    """
    ours, theirs = encode(codings, people), encode(codings, agents)
    first = 0
    columns: list[int] = []
    for coding in codings:
        width = len(coding.columns)
        # One level of each attribute is what the others are compared with.
        columns += range(first + (coding.kind != "numeric"), first + width)
        first += width
    chosen = [c for c in columns if np.ptp(ours[:, c]) and np.ptp(theirs[:, c])]
    if not chosen:
        return None
    from statsmodels.regression.linear_model import WLS
    from statsmodels.tools.tools import add_constant

    x, agents_x = add_constant(ours[:, chosen]), add_constant(theirs[:, chosen])
    gap, others = deviations(humans)
    person, weight = humans.person[others], humans.answer_weight[others]
    # Whose tasks nobody else answered deviates from nobody.
    told = np.unique(person)
    if kish(humans.weight[told]) < FEWEST * len(chosen) or np.ptp(gap[others]) < 1e-9:
        return None
    if any(np.linalg.matrix_rank(m) < m.shape[1] for m in (x[told], agents_x)):
        return None
    fit = WLS(gap[others], x[person], weights=weight).fit(
        cov_type="cluster", cov_kwds={"groups": person}
    )
    asked = np.bincount(humans.task[others], weight, len(humans.tasks))
    mean = crowd_deviations(humans, values) @ (asked / asked.sum())
    if (skipped := np.isnan(values)).any():
        mean = mean / (~skipped @ (asked / asked.sum())).clip(1e-9)
    crowd = np.linalg.lstsq(agents_x, mean, rcond=None)[0]
    low, high = np.asarray(fit.conf_int()).T
    return np.column_stack([fit.params, low, high, crowd])[1:]
