"""Measures of predicted answers, and their floors, against the same worked out answer by answer."""

import dataclasses

import numpy as np
import pytest
from synthetic import EVERY_SCALE, make_study

from crowdllm_jax.score.answer_floors import STRENGTHS, _crossed_biases, answer_floors
from crowdllm_jax.score.answers import ANSWER_METRICS, per_answer, score_predictions
from crowdllm_jax.score.held_out import held_out
from crowdllm_jax.study.bins import bins
from crowdllm_jax.study.scales import Nominal
from crowdllm_jax.study.split import SplitConfig, split_study

ALONE = {name: EVERY_SCALE[name] for name in ("rating", "agree", "price")} | {
    "party": Nominal(levels=("a", "b", "c"))
}


def setting(by_name=None, **options):
    study = make_study(by_name, **options)
    split = split_study(study, SplitConfig(by="answers", known=0.6), 0)
    return study, split, held_out(study, split)


def some_chances(humans, seed=0) -> np.ndarray:
    random = np.random.default_rng(seed)
    chance = np.zeros((len(humans.value), max(map(len, humans.support))))
    for row, task in enumerate(humans.task):
        k = len(humans.support[humans.scale[task]])
        chance[row, :k] = random.dirichlet(np.ones(k))
    return chance


def test_every_answer_is_measured_as_its_definition_says():
    _, _, humans = setting(ALONE, tasks=3, people=40)
    chance = some_chances(humans)
    found = per_answer(humans, chance)
    scales = list(ALONE.values())
    for row in range(len(humans.value)):
        scale = scales[humans.scale[humans.task[row]]]
        support = bins(scale)
        p = chance[row, : len(support)]
        given = humans.cell[row]
        likely = np.argsort(-p)
        fewest = next(n for n in range(1, len(p) + 1) if p[likely[:n]].sum() >= 0.9)
        assert found["coverage"][row] == (given in likely[:fewest])
        assert found["claimed"][row] == pytest.approx(p[likely[:fewest]].sum())
        assert found["log_loss"][row] == pytest.approx(-np.log(p[given]))
        if isinstance(scale, Nominal):
            truth = np.eye(len(p))[given]
            assert found["rps"][row] == pytest.approx(((p - truth) ** 2).sum() / 2)
            assert np.isnan(found["mean"][row])
            continue
        # The energy form of the CRPS: E|X - y| - E|X - X'| / 2, as a share of the range.
        low, high = (-10, 30) if scale == ALONE["price"] else support[[0, -1]]
        apart = np.abs(support[:, None] - support[None])
        crps = p @ np.abs(support - support[given]) - p @ apart @ p / 2
        assert found["rps"][row] == pytest.approx(crps / (high - low))
        assert found["mean"][row] == pytest.approx((p @ support - low) / (high - low))
        if scale == ALONE["price"]:
            assert np.isnan(found["accuracy"][row])
        else:
            assert found["accuracy"][row] == (p.argmax() == given)


def test_averages_and_correlations_are_numpys():
    _, _, humans = setting(tasks=6, people=60)
    chance, other = some_chances(humans), some_chances(humans, 1)
    scores = {
        (s.model, s.metric): s
        for s in score_predictions(humans, {"twin": chance, "floor": other}, "floor", 3)
    }
    assert {m for n, m in scores if n == "twin"} == set(ANSWER_METRICS)
    mean = chance @ np.arange(1, 6)
    one = scores["twin", "rmse"]
    assert one.value == pytest.approx(np.sqrt(((mean - humans.value) ** 2).mean()))
    assert one.low < one.value < one.high
    assert (one.split, one.seed) == ("answers", 3)
    assert scores["twin", "r"].value == pytest.approx(np.corrcoef(mean, humans.value)[0, 1])
    within = [
        np.corrcoef(mean[here], humans.value[here])[0, 1]
        for here in (humans.task == t for t in range(6))
        if here.sum() >= 10
    ]
    assert scores["twin", "r_tasks"].value == pytest.approx(np.mean(within))
    rps = [per_answer(humans, c)["rps"].mean() for c in (chance, other)]
    assert scores["twin", "gain"].value == pytest.approx(1 - rps[0] / rps[1])
    assert ("floor", "gain") not in scores
    # Everybody is told the same of a task: there is nothing of persons in it.
    same = np.tile(np.full(5, 0.2), (len(humans.value), 1))
    same = {s.metric: s for s in score_predictions(humans, {"f": same}, "f", 0)}
    assert np.isnan(same["r_tasks"].value)
    assert "the same of everybody" in same["r_tasks"].why


def test_survey_weights_count():
    study, split, humans = setting(tasks=6, people=60)
    weight = np.random.default_rng(0).uniform(0.2, 3, 60)
    people = dataclasses.replace(study.participants, weight=weight / weight.mean())
    weighed = held_out(dataclasses.replace(study, participants=people), split)
    chance = some_chances(humans)
    scores = {s.metric: s.value for s in score_predictions(weighed, {"f": chance}, "f", 0)}
    of_answer = weight[weighed.who[weighed.person]]
    for metric in ("rps", "log_loss", "coverage"):
        each = per_answer(humans, chance)[metric]
        assert scores[metric] == pytest.approx(np.average(each, weights=of_answer))


def test_the_floor_by_task_is_the_shrunk_share_of_its_known_answers():
    study, split, humans = setting(tasks=8, people=50)
    floors = answer_floors(study, split.train, humans)
    known = [
        np.bincount(study.answer[split.train & (study.task == t)].astype(int), minlength=5)
        for t in range(8)
    ]
    pooled = (np.sum(known, axis=0) + 0.2) / (np.sum(known) + 1)

    def left_out(strength):
        """Log chance of every known answer, itself not counted."""
        total = 0.0
        for count in known:
            for level in range(5):
                share = (count[level] - 1 + strength * pooled[level]) / (count.sum() - 1 + strength)
                total += count[level] * np.log(share) if count[level] else 0.0
        return total

    best = max(STRENGTHS, key=left_out)
    for row, task in enumerate(humans.tasks[humans.task]):
        expected = (known[task] + best * pooled) / (known[task].sum() + best)
        np.testing.assert_allclose(floors.task[row], expected)


def test_the_floor_by_person_tilts_the_task_to_its_mean():
    """Chances p exp(theta v): log ratios to the task's shares lie on a line in v."""
    study, split, humans = setting(ALONE, tasks=4, people=60)
    floors = answer_floors(study, split.train, humans)
    for row in range(0, len(humans.value), 7):
        index = humans.scale[humans.task[row]]
        k = len(humans.support[index])
        one, two = floors.task[row, :k], floors.task_person[row, :k]
        assert two.sum() == pytest.approx(1)
        if humans.nominal[index]:
            np.testing.assert_array_equal(one, two)
        else:
            ratio = np.log(two / one)
            np.testing.assert_allclose(np.diff(ratio, 2), 0, atol=1e-6)


def test_the_floor_by_person_is_of_weighted_people():
    """A quarter of the people stand for most, and answer the first task high and the second low;
    the others do not. With so many answers shrinking moves a mean by little."""
    study, split, _ = setting(tasks=6, people=200)
    few = np.arange(200) % 4 == 0
    random = np.random.default_rng(0)
    level = np.where((study.task % 2 == 0) == few[study.person], 3, 1)
    answer = np.clip(level + random.integers(-1, 2, len(level)), 0, 4).astype(float)
    weight = np.where(few, 9.0, 0.2)
    people = dataclasses.replace(study.participants, weight=weight / weight.mean())
    study = dataclasses.replace(study, answer=answer, participants=people)
    humans = held_out(study, split)
    floors = answer_floors(study, split.train, humans)
    for task in range(6):
        known, asked = split.train & (study.task == task), humans.task == task
        expected = floors.task_person[asked] @ np.arange(1, 6)
        found = np.average(expected, weights=humans.answer_weight[asked])
        mean = np.average(study.value[known], weights=study.weight[known])
        assert found == pytest.approx(mean, abs=0.15)
        assert abs(mean - study.value[known].mean()) > 0.5


def test_biases_are_those_of_a_mixed_model():
    """At the variances found, the biases solve the mixed model's equations (Henderson 1975): ridge
    regression on indicators; and they find the variances of a simulation."""
    random = np.random.default_rng(0)
    tasks, people = 40, 300
    of, owner = (random.integers(0, n, 6000) for n in (tasks, people))
    a, b = 0.3 * random.normal(size=tasks), 0.2 * random.normal(size=people)
    y = a[of] + b[owner] + 0.5 * random.normal(size=6000)
    effects = _crossed_biases(y, np.ones(6000), (of, owner), (tasks, people))
    # What one knows who knows the variances: .25 / .09 and .25 / .04 answers' worth of shrinkage.
    x = np.zeros((6000, tasks + people))
    x[np.arange(6000), of] = x[np.arange(6000), tasks + owner] = 1
    ridge = np.diag([0.25 / 0.09] * tasks + [0.25 / 0.04] * people)
    best = np.linalg.solve(x.T @ x + ridge, x.T @ y)
    np.testing.assert_allclose(np.concatenate(effects), best, atol=0.06)
    assert np.corrcoef(effects[1], b)[0, 1] > 0.8
