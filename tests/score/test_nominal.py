"""Answers without an order: no measure may hang on the order in which a study lists the levels."""

import dataclasses

import numpy as np
import pytest
from few_drawings import few_drawings  # noqa: F401
from synthetic import make_study
from test_metrics import everything, values_of

from crowdllm_jax.model.fit import Prepared
from crowdllm_jax.score.ceiling import score_humans
from crowdllm_jax.score.diagnostics import interchangeable, silent_attributes, spread
from crowdllm_jax.score.groups import groups_of, score_groups
from crowdllm_jax.score.metrics import measure_crowd, score_crowd
from crowdllm_jax.study.coding import fit_coding
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.scales import Continuous, Nominal, Ordinal
from crowdllm_jax.study.split import Split

DRINK = Nominal(levels=("tea", "water", "juice", "beer"))
LIKING = Ordinal(levels=(1, 2, 3, 4, 5))
TASKS, PEOPLE, AGENTS = 6, 40, 90
ORDER = np.array([2, 0, 3, 1])
"""Where each drink stands in the other list."""


def drinks(study: Study, values: np.ndarray) -> tuple[Study, np.ndarray]:
    """The same answers of people and agents, the drinks listed in another order."""
    nominal = study.tasks.scale == list(study.scales).index("drink")
    names = np.empty(4, object)
    names[ORDER] = DRINK.levels
    answer = np.where(nominal[study.task], ORDER[study.answer.astype(int) % 4], study.answer)
    moved = np.where(nominal, ORDER[values.astype(int) % 4], values)
    scales = study.scales | {"drink": Nominal(levels=tuple(names))}
    return dataclasses.replace(study, scales=scales, answer=answer), moved


def crowd(study: Study, seed: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    nominal = study.tasks.scale == list(study.scales).index("drink")
    share = random.dirichlet(np.ones(4), len(nominal))
    drawn = np.stack([random.choice(4, AGENTS, p=p) for p in share], axis=1)
    return np.where(nominal, drawn, 1 + drawn).astype(float)


def gapless(scores) -> dict[str, tuple[float, float, float]]:
    """Values and intervals; NaN as None, which equals itself."""
    ends = {s.metric: (s.value, s.low, s.high) for s in scores}
    return {m: tuple(x if np.isfinite(x) else None for x in e) for m, e in ends.items()}


@pytest.mark.parametrize("mixed", [True, False], ids=["beside a rating", "alone"])
@pytest.mark.parametrize("by", ["tasks", "people"])
def test_the_order_of_the_levels_moves_nothing(by, mixed):
    kinds = {"drink": DRINK} | ({"liking": LIKING} if mixed else {})
    study = make_study(kinds, tasks=TASKS, people=PEOPLE, share=0.8)
    values, floor = crowd(study), crowd(study, 2)
    other, moved = drinks(study, values)
    _, moved_floor = drinks(study, floor)
    humans, same = everything(study, by), everything(other, by)
    for found, again in (
        (
            score_crowd(humans, values, "one", 0, floor),
            score_crowd(same, moved, "one", 0, moved_floor),
        ),
        (score_humans(humans, 0), score_humans(same, 0)),
    ):
        again = gapless(again)
        for metric, ends in gapless(found).items():
            assert ends == pytest.approx(again[metric], abs=1e-9), metric
    for one, two in zip(spread(humans, values), spread(same, moved), strict=True):
        assert one.value == pytest.approx(two.value)
    assert interchangeable(humans, values).detail == interchangeable(same, moved).detail
    people = study.participants.profile
    agents = tuple(dataclasses.replace(a, cells=np.resize(a.cells, AGENTS)) for a in people)
    codings = tuple(fit_coding(a, np.arange(PEOPLE)) for a in people)
    gaps = [g.crowd for g in groups_of(humans, people, agents, values)]
    assert gaps == pytest.approx([g.crowd for g in groups_of(same, people, agents, moved)])
    assert bool(gaps) == mixed
    told = score_groups(humans, codings, people, agents, values)
    assert str(told) == str(score_groups(same, codings, people, agents, moved))

    def quiet(study: Study) -> str:
        every = np.ones(len(study.task), bool)
        split = Split("people", every, ~every, every)
        return silent_attributes(Prepared(study, split, None, None, codings, None)).detail

    assert quiet(study) == quiet(other)


def test_measures_of_drinks_equal_their_definitions():
    study = make_study({"drink": DRINK}, tasks=TASKS, people=PEOPLE, share=0.8)
    values = crowd(study)
    humans = everything(study)
    brier, apart = [], []
    for task in range(TASKS):
        share = np.bincount(values[:, task].astype(int), minlength=4) / AGENTS
        gave = study.answer[study.task == task].astype(int)
        brier += [((share - np.eye(4)[y]) ** 2).sum() / 2 for y in gave]
        apart.append(np.abs(share - np.bincount(gave, minlength=4) / len(gave)).sum() / 2)
    found = measure_crowd(humans, values)
    assert found["rps"] == pytest.approx(np.mean(brier))
    assert found["avg_wd"] == found["nwd"] == pytest.approx(np.mean(apart))
    assert found["ks"] == pytest.approx(1 - np.mean(apart))
    size = np.bincount(study.task)
    pooled = np.bincount(values.astype(int).ravel(), np.tile(size, AGENTS), 4)
    alike, people = (p / p.sum() for p in (pooled, np.bincount(study.answer.astype(int))))
    assert found["pooled_wd"] == pytest.approx(np.abs(alike - people).sum() / 2)
    ratio = (1 - alike @ alike) / (1 - people @ people)
    assert found["variance_ratio"] == pytest.approx(ratio)
    # The ceiling: half the chance that two of a task's raters differ, over answers.
    pairs = [
        np.not_equal.outer(y, y).sum() / len(y) / (len(y) - 1) / 2 * len(y)
        for y in (study.answer[study.task == t] for t in range(TASKS))
    ]
    ceiling = values_of(score_humans(humans, 0))
    assert ceiling["rps"] == pytest.approx(sum(pairs) / len(study.answer))
    for score in score_crowd(humans, values, "one", 0):
        if score.metric in ("mae", "rmse", "icc", "personal_sd", "personal_wd"):
            assert np.isnan(score.value), score.metric
            assert score.why == "answers without an order have no mean"


def test_a_nominal_scale_of_two_levels_scores_as_a_binary_one():
    """One axis, whichever way: only means are not told."""
    two = Nominal(levels=("no", "yes"))
    study = make_study({"drink": two}, tasks=TASKS, people=PEOPLE)
    study = dataclasses.replace(study, answer=study.answer % 2)
    values = crowd(study) % 2
    as_numbers = dataclasses.replace(study, scales={"drink": Ordinal(levels=(0, 1))})
    found = measure_crowd(everything(study), values)
    numbers = measure_crowd(everything(as_numbers), values)
    for metric in ("avg_wd", "nwd", "ks", "rps", "cs", "js", "pooled_wd", "variance_ratio", "ece"):
        assert found[metric] == pytest.approx(numbers[metric]), metric
    ratio, again = (spread(everything(s), values)[0].value for s in (study, as_numbers))
    assert ratio == pytest.approx(again)


def test_units_of_one_of_several_scales_do_not_matter():
    kinds = {"drink": DRINK, "liking": LIKING, "price": Continuous(low=0, high=100)}
    study = make_study(kinds, tasks=TASKS, people=PEOPLE)
    price = study.tasks.scale == 2
    values = np.where(price, 100 * np.random.default_rng(3).random((AGENTS, 18)), crowd(study))
    kinds = kinds | {"price": Continuous(low=0, high=1)}
    cents = dataclasses.replace(
        study,
        scales=kinds,
        answer=np.where(price[study.task], study.answer / 100, study.answer),
    )
    less = np.where(price, values / 100, values)
    found = gapless(score_crowd(everything(study), values, "one", 0, values[::-1]))
    again = gapless(score_crowd(everything(cents), less, "one", 0, less[::-1]))
    for metric, ends in found.items():
        # A number on the edge of a bin may fall to its other side.
        assert ends == pytest.approx(again[metric], abs=1e-4), metric
