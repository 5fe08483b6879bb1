"""Intervals by drawing what was held out anew, with replacement."""

from collections.abc import Callable

import numpy as np

from crowdllm_jax.score.held_out import Humans

TIMES = 400

FEWEST = 5
"""Tasks or people below which there is no interval: of three, one drawing in nine is of one alone,
of five one in 625."""

UNKNOWN = 0.025
"""The share of drawings that may leave a measure undefined: with more, an end of the interval is
among them."""

Measures = dict[str, float]


def enough(humans: Humans) -> bool:
    """Whether there are as many tasks (or people) as an interval takes."""
    return (len(humans.tasks) if humans.by == "tasks" else humans.people) >= FEWEST


def bootstrap(
    humans: Humans, measure: Callable[[np.ndarray], Measures], times: int = TIMES
) -> tuple[Measures, Measures, Measures]:
    """Measures of weighted responses, with 95% percentile intervals over what was held out.

    Tasks (or people) are drawn with replacement: a response counts as often as its task (person)
    is drawn, times its survey weight.

    Args:
      measure: from the (R,) weights of the responses; NaN is a measure that is not defined.
    Returns:
      The measures as they are, and the lower and upper ends of their intervals (NaN: none).
    """
    units = humans.task if humans.by == "tasks" else humans.person
    weight = humans.answer_weight
    n = int(units.max()) + 1
    point = measure(weight)
    if not enough(humans):
        nothing = dict.fromkeys(point, float("nan"))
        return point, nothing, nothing
    random = np.random.default_rng(0)
    # One response set of a million answers costs as much as a thousand of a thousand.
    times = int(np.clip(2e8 / max(len(units), 1), 100, times))
    draws = [
        measure(random.multinomial(n, np.full(n, 1 / n)).astype(float)[units] * weight)
        for _ in range(times)
    ]
    low, high = {}, {}
    for name in point:
        low[name], high[name] = interval(
            [draw.get(name, float("nan")) for draw in draws], point[name]
        )
    return point, low, high


def interval(draws: list[float], point: float) -> tuple[float, float]:
    """95% percentile interval; NaN where too many draws have nothing to measure, or none differs
    from another (which is no certainty).

    People who are drawn twice make a sample more rugged than it is, which a distance counts as
    error; so the draws are moved to lie around the measure as it is (the bootstrap's estimate of
    its own bias: Efron & Tibshirani 1993, chapter 10).
    """
    defined = np.array(draws)[np.isfinite(draws)]
    if len(defined) < (1 - UNKNOWN) * len(draws) or not _vary(defined):
        return np.nan, np.nan
    low, middle, high = np.quantile(defined, [0.025, 0.5, 0.975])
    low, high = low + point - middle, high + point - middle
    return float(max(low, 0) if defined.min() >= 0 else low), float(high)


def of_cuts(cuts: list[float]) -> tuple[float, float]:
    """What 95% of random cuts lie between; NaN where they do not differ."""
    defined = np.array(cuts)[np.isfinite(cuts)]
    if not _vary(defined):
        return np.nan, np.nan
    low, high = np.quantile(defined, [0.025, 0.975])
    return float(low), float(high)


def _vary(values: np.ndarray) -> bool:
    return bool(len(values) and np.ptp(values) > 1e-12 * np.abs(values).max())
