"""The noise ceiling: what a crowd drawn from the people's own distributions would score."""

import numpy as np

from crowdllm_jax.score.bootstrap import FEWEST, Measures, bootstrap, enough, of_cuts
from crowdllm_jax.score.held_out import Humans, of_numbers
from crowdllm_jax.score.metrics import (
    METRICS,
    Score,
    _by_cut,
    _gini,
    _half_of_raters,
    _halves_apart,
    _records,
)
from crowdllm_jax.score.persons import person_scores, personal
from crowdllm_jax.score.undefined import BY_DEFINITION


def score_humans(humans: Humans, seed: int) -> list[Score]:
    """The noise ceiling: what a crowd drawn from the people's own distributions would score.

    The raters of each task are cut in two halves at random and one half is scored against the
    other, 20 times. Their difference has twice the standard deviation of that between all raters
    and the truth, so distances are halved (1 - ks, too) and 1 - cs is quartered; where raters count
    unequally it is not quite twice (see `halves`). The ceiling of rps needs no halves: half the
    mean absolute difference of two raters. A truth would be calibrated (ece 0); how accurate it is
    cannot be told from one answer each.
    """
    random = np.random.default_rng(seed)
    # Published shares are of no people who could be cut in two.
    halves = [] if humans.shares else [_half_of_raters(humans, random) for _ in range(20)]
    defined = {"skill": 1.0, "ece": 0.0}
    if any(np.ptp(humans.cell[humans.scale[humans.task] == i]) for i in np.unique(humans.scale)):
        defined["variance_ratio"] = 1.0

    def measure(weight: np.ndarray) -> Measures:
        cuts = _by_cut(humans, halves, weight)
        mean = {name: float(np.mean([cut[name] for cut in cuts])) for name in (cuts or [{}])[0]}
        return mean | {"rps": _gini(humans, weight)}

    point, low, high = bootstrap(humans, measure, times=100)
    # A person who is drawn twice lands in both halves' distributions and drives them apart, and so
    # does a task for pooled answers: there the interval is over the random cuts instead.
    cuts = _by_cut(humans, halves, humans.answer_weight)
    for name in cuts[0] if cuts and enough(humans) else ():
        if humans.by == "people" or name == "pooled_wd":
            low[name], high[name] = of_cuts([cut[name] for cut in cuts])
    person = _persons(humans, random)
    why = dict.fromkeys(defined, BY_DEFINITION)
    why["accuracy"] = "it would take people who were asked twice"
    point |= person[0] | defined
    return _records("humans", humans, seed, METRICS, point, low | person[1], high | person[2], why)


def _persons(humans: Humans, random: np.random.Generator) -> tuple[Measures, Measures, Measures]:
    """What another sample of these people would score as persons, of what has a mean."""
    numbers = of_numbers(humans, np.zeros((0, len(humans.tasks))))
    if numbers is None:
        return {}, {}, {}
    some, _ = numbers
    people = personal(some, (some.person, some.task, some.value))
    point, low, high = person_scores(some, [people])
    if some.people > 1 and not some.shares:
        apart = [_halves_apart(some, people[2], random) for _ in range(20)]
        point["personal_wd"] = float(np.mean(apart))
        if some.people >= FEWEST:
            low["personal_wd"], high["personal_wd"] = of_cuts(apart)
    return point, low, high
