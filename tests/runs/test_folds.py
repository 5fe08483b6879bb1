"""Folds: everything is held out once, nothing reaches the crowd that is scored on it, and scores
over folds are those of each answer under the crowd that has not seen it."""

import dataclasses
import json

import msgspec
import numpy as np
import pytest
from few_drawings import few_drawings  # noqa: F401
from synthetic import make_study, write_config

from crowdllm_jax.cli.main import main
from crowdllm_jax.infer.estimate import EstimationRows, estimate
from crowdllm_jax.infer.predictions import cross_predicted, crowd_that_predicts
from crowdllm_jax.model import fit
from crowdllm_jax.model.crowd_file import crowd_fingerprint, load_crowd
from crowdllm_jax.population.manifest import verify
from crowdllm_jax.runs import prepare
from crowdllm_jax.runs.config import load_config, load_study
from crowdllm_jax.runs.folder import crowd_folder, fitted_crowd, run_facts
from crowdllm_jax.runs.folds import ScoredFold, pool_folds
from crowdllm_jax.runtime import progress
from crowdllm_jax.score.held_out import held_out
from crowdllm_jax.score.metrics import Score, answer_rps, read_scores
from crowdllm_jax.study.split import SplitConfig, split_study
from crowdllm_jax.workflow import steps
from crowdllm_jax.workflow.infer import Whom, infer_run

SMALL = "split={by: people, folds: 3, validation: 0.2}"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run in three folds, and its configuration."""
    folder = tmp_path_factory.mktemp("folds")
    overrides = (SMALL, "model={kind: persistent, steps: 10}")
    config = load_config(write_config(folder / "input", make_study(people=45)), overrides)
    steps.run(config, folder / "out")
    return config, folder / "out"


def test_a_run_in_folds_holds_a_crowd_for_each_and_one_for_all(finished):
    config, folder = finished
    study = load_study(config)
    crowds = [load_crowd(crowd_folder(folder, 0, "persistent", k)) for k in range(3)]
    everybodys = fitted_crowd(folder)
    people = [len(crowd.generator.weight) for crowd in (*crowds, everybodys)]
    assert people == [30, 30, 30, 45]
    manifest = json.loads((folder / "population" / "manifest.json").read_text())
    assert manifest["crowd"] == crowd_fingerprint(everybodys)
    assert verify(folder) > 4
    summary = "each of 45 people once, in 3 folds; the population is of a crowd fitted to all"
    assert run_facts(folder)["held_out"] == summary
    assert summary in (folder / "report.html").read_text()
    findings = json.loads((folder / "diagnostics.json").read_text())
    assert findings[0]["detail"].startswith("45 people with 180 answers held out")
    # The ceiling is that of all people, whatever was held out when.
    scores = read_scores((folder / "scores.json").read_bytes())
    rps = {score.model: score.value for score in scores if score.metric == "rps"}
    assert rps["humans"] == pytest.approx(half_difference(study))


def half_difference(study) -> float:
    """Half the mean absolute difference of two people's answers to a task, over tasks."""
    table = study.value.reshape(len(study.participants.ids), -1)
    n = len(table)
    apart = np.abs(table[:, None] - table[None]).sum((0, 1)) / (n * (n - 1))
    return float(apart.mean() / 2)


def test_the_answers_of_a_fold_do_not_reach_its_crowd(tiny):
    study = make_study(people=20)
    config = msgspec.structs.replace(tiny, split=SplitConfig(by="people", folds=4, validation=0.2))
    test = split_study(study, config.split, 0, 2).test
    answer = study.answer.copy()
    answer[test] = 4 - answer[test]
    other = dataclasses.replace(study, answer=answer)
    prints = []
    for one in (study, other):
        for fold in (2, 1):
            prepared = prepare.prepare(one, config, 0, progress.silent, fold)
            crowd, _ = fit.fit_model(
                prepared, config.model, config.train, 0, None, progress.silent, ""
            )
            prints.append(crowd_fingerprint(crowd))
    assert prints[0] == prints[2]
    assert prints[1] != prints[3]


@pytest.mark.parametrize("by", ["people", "tasks"])
def test_scores_are_of_each_answer_under_the_crowd_that_has_not_seen_it(by):
    """rps and skill by hand from all answers; another measure is the folds' average (rmse that of
    its squares)."""
    study = make_study(people=21, tasks=7)
    config = SplitConfig(by=by, folds=5)
    random = np.random.default_rng(0)
    folds, cost, floor = [], np.empty(len(study.task)), np.empty(len(study.task))
    mae, shares = [], []
    for k in range(5):
        split = split_study(study, config, 0, k)
        humans = held_out(study, split)
        answers, pooled = (
            random.integers(1, 6, (30, len(humans.tasks))).astype(float) for _ in "ab"
        )
        costs = {"cvae": answer_rps(humans, answers), "marginal": answer_rps(humans, pooled)}
        cost[split.test], floor[split.test] = costs["cvae"], costs["marginal"]
        mae.append(random.random())
        shares.append(split.test.mean())
        scores = [
            Score("cvae", by, 0, "rps", 9.0, 9.0, 9.0),
            Score("cvae", by, 0, "mae", mae[-1], mae[-1] - 0.3, mae[-1] + 0.1),
            Score("cvae", by, 0, "rmse", mae[-1], mae[-1] - 0.01, mae[-1] + 0.02),
            Score("cvae", by, 0, "skill", 9.0, 9.0, 9.0),
        ]
        if k:
            scores.append(Score("cvae", by, 0, "icc", 0.1, 0.0, 0.2))
        folds.append(ScoredFold(split, scores, costs))
    by_metric = {score.metric: score for score in pool_folds(study, folds, 0)}
    assert by_metric["rps"].value == pytest.approx(cost.mean())
    way = floor.mean() - half_difference(study)
    assert by_metric["skill"].value == pytest.approx((floor.mean() - cost.mean()) / way)
    assert by_metric["skill"].low < by_metric["skill"].value < by_metric["skill"].high
    assert by_metric["mae"].value == pytest.approx(np.dot(mae, shares))
    wide = np.sqrt(np.sum(np.square(shares)))
    assert by_metric["mae"].low == pytest.approx(by_metric["mae"].value - 0.3 * wide)
    assert by_metric["mae"].high == pytest.approx(by_metric["mae"].value + 0.1 * wide)
    rmse = by_metric["rmse"]
    assert rmse.value == pytest.approx(np.sqrt(np.dot(np.square(mae), shares)))
    drawn = np.array(mae) + 0.001 * random.normal(size=(4000, 5))
    apart = np.sqrt(np.square(drawn) @ np.array(shares)).std()
    # Ends that lie 10 and 20 of these deviations off; 4,000 draws tell one within 5% (4.5 sd).
    assert (rmse.value - rmse.low, rmse.high - rmse.value) == pytest.approx(
        (10 * apart, 20 * apart), rel=0.05
    )
    assert "icc" not in by_metric  # not every fold has it


def test_people_of_weight_zero_count_in_no_fold():
    study, random = make_study(people=21, tasks=7), np.random.default_rng(0)
    weight = np.where(np.arange(21) < 4, 0.0, random.uniform(0.5, 2, 21))
    people = dataclasses.replace(study.participants, weight=weight / weight.mean())
    study = dataclasses.replace(study, participants=people)
    folds, cost = [], np.full(len(study.task), np.nan)
    for k in range(3):
        split = split_study(study, SplitConfig(by="people", folds=3), 0, k)
        humans = held_out(study, split)
        answers, pooled = (random.integers(1, 6, (30, 7)).astype(float) for _ in "ab")
        costs = {"cvae": answer_rps(humans, answers), "marginal": answer_rps(humans, pooled)}
        cost[split.test & (study.weight > 0)] = costs["cvae"]
        # An average over folds of how many answers count in each.
        mae = float(len(humans.task))
        scores = [Score("cvae", "people", 0, name, mae, mae, mae) for name in ("rps", "mae")]
        folds.append(ScoredFold(split, scores, costs))
    by_metric = {score.metric: score.value for score in pool_folds(study, folds, 0)}
    there = np.isfinite(cost)
    assert there.sum() == 17 * 7
    expected = np.average(cost[there], weights=study.weight[there])
    assert by_metric["rps"] == pytest.approx(expected)
    counted = np.array([fold.scores[0].value for fold in folds])
    assert by_metric["mae"] == pytest.approx((counted**2).sum() / counted.sum())


def test_everyone_is_labelled_for_inference(finished, tmp_path, capsys):
    config, folder = finished
    with (tmp_path / "people.csv").open("w") as file:
        file.write("age,city\n" + "".join(f"{20 + i},{'ABC'[i % 3]}\n" for i in range(60)))
    table = infer_run(folder, whom=Whom(tmp_path / "people.csv")).to_pydict()
    assert table["people"] == [45] * 4
    assert table["profiles"] == [60] * 4
    study = load_study(config)
    means = study.value.reshape(45, 4).mean(0)
    np.testing.assert_allclose(table["humans_alone"], means)
    assert main(["infer", str(folder)]) == 2
    told = capsys.readouterr().err
    assert "everybody in the study answered" in told
    assert "--pool" not in told  # it would not help


@pytest.mark.parametrize("by", ["people", "tasks"])
def test_predictions_are_of_the_crowd_that_has_not_seen_the_answer(by):
    study = make_study(people=12, tasks=5)
    held = np.stack([split_study(study, SplitConfig(by=by, folds=3), 0, k).test for k in range(3)])
    whose = crowd_that_predicts(study, held, np.arange(5), 12)
    everywhere = np.broadcast_to(whose, (12, 5))
    for person, task, fold in zip(study.person, study.task, held.argmax(0), strict=True):
        assert everywhere[person, task] == fold
    random = np.random.default_rng(1)
    by_fold, weight = random.normal(size=(3, 12, 5)), random.random(12)
    predicted = cross_predicted(by_fold, weight, whose)
    level = (weight / weight.sum()) @ by_fold  # (3, 5)
    for person in range(12):
        for task in range(5):
            fold = everywhere[person, task]
            expected = by_fold[fold, person, task]
            if by == "people":
                expected += level[:, task].mean() - level[fold, task]
            assert predicted[person, task] == pytest.approx(expected)


def test_intervals_of_cross_predictions_cover():
    """600 studies of 60 people in five folds, regressions on the profile as crowds, nominal 90%:
    outside .849 to .951 lie 4.2 standard deviations of 1.2 points, a chance of 3e-5."""
    hits, width = [], []
    for seed in range(600):
        random = np.random.default_rng(seed)
        x = random.normal(size=(260, 2))
        y = x[:60, 0] + random.normal(size=60)
        z = np.column_stack([np.ones(260), x])
        fold = random.permutation(60) % 5
        by_fold = np.stack(
            [z @ np.linalg.lstsq(z[:60][fold != k], y[fold != k], rcond=None)[0] for k in range(5)]
        )[:, :, None]
        ours = cross_predicted(by_fold[:, :60], np.ones(60), fold[:, None])[:, 0]
        theirs = cross_predicted(by_fold[:, 60:], np.ones(200), np.full((1, 1), -1))[:, 0]
        sides = [
            EstimationRows(
                people, 0 * people, np.ones(len(people)), np.ones((len(people), 1)), predicted
            )
            for people, predicted in ((np.arange(60), ours), (np.arange(60, 260), theirs))
        ]
        interval = estimate(sides[0], y, sides[1], level=0.9)
        hits.append(interval.low[0] < 0 < interval.high[0])
        width.append(
            interval.high[0] - interval.low[0] - (interval.alone_high[0] - interval.alone_low[0])
        )
    assert 0.849 < np.mean(hits) < 0.951
    assert np.mean(width) < 0
