"""Intervals by drawing what was held out anew, with replacement."""

from collections.abc import Callable

import numpy as np

from crowdllm_jax.humans import Humans

TIMES = 400

Measures = dict[str, float]


def bootstrap(
    humans: Humans, measure: Callable[[np.ndarray], Measures], times: int = TIMES
) -> tuple[Measures, Measures, Measures]:
    """Measures of weighted responses, with 95% percentile intervals over what was held out.

    Tasks (or people) are drawn with replacement: a response counts as often as its task (person).

    Args:
      measure: from the (R,) weights of the responses.
    Returns:
      The measures as they are, and the lower and upper ends of their intervals.
    """
    units = humans.task if humans.by == "tasks" else humans.person
    n = int(units.max()) + 1
    point = measure(np.ones(len(units)))
    random = np.random.default_rng(0)
    # One response set of a million answers costs as much as a thousand of a thousand.
    times = int(np.clip(2e8 / max(len(units), 1), 100, times))
    draws = [
        measure(random.multinomial(n, np.full(n, 1 / n)).astype(float)[units]) for _ in range(times)
    ]
    low, high = {}, {}
    for name in point:
        low[name], high[name] = interval(
            [draw.get(name, float("nan")) for draw in draws], point[name]
        )
    return point, low, high


def interval(draws: list[float], point: float) -> tuple[float, float]:
    """95% percentile interval over the draws in which there is something to measure.

    People who are drawn twice make a sample more rugged than it is, which a distance counts as
    error; so the draws are moved to lie around the measure as it is (the bootstrap's estimate of
    its own bias: Efron & Tibshirani 1993, chapter 10).
    """
    known = np.array(draws)[np.isfinite(draws)]
    if not len(known):
        return np.nan, np.nan
    low, middle, high = np.quantile(known, [0.025, 0.5, 0.975])
    low, high = low + point - middle, high + point - middle
    return float(max(low, 0) if known.min() >= 0 else low), float(high)
