"""Dawid-Skene: the textbook's beliefs, whatever the blocks; a synthetic crowd is no more witnesses
than the people it rests on."""

import dataclasses

import numpy as np
import pytest
from other_rules import plain_dawid_skene
from synthetic import EVERY_SCALE, make_study

from crowdllm_jax.aggregate import dawid_skene as truth
from crowdllm_jax.aggregate.dawid_skene import count_votes, dawid_skene, infer_truth
from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.population.read import answers_of

FEW = pytest.mark.filterwarnings("ignore:dawid-skene.*few for a matrix")
"""People here answer few tasks, which is announced (and tested below)."""


def crowd(seed: int, people: int = 12, tasks: int = 30, levels: int = 3):
    """(T,) true answers and (N, T) people's, who know 20 to 90% of them; 30% are missing."""
    random = np.random.default_rng(seed)
    right = random.integers(0, levels, tasks)
    known = random.random((people, tasks)) < random.uniform(0.2, 0.9, people)[:, None]
    answers = np.where(known, right, random.integers(0, levels, (people, tasks)))
    answers[1:][random.random((people - 1, tasks)) < 0.3] = -1
    return right, answers


def settle(answers: np.ndarray, levels: int, size: int, power: float = 1.0) -> truth.Truth:
    blocks = [answers[i : i + size].astype(np.int8) for i in range(0, len(answers), size)]
    votes = count_votes(blocks, answers.shape[1], levels, size)
    return dawid_skene({0: lambda: blocks}, votes, size, power)


@pytest.mark.parametrize("power", [1.0, 0.3])
@pytest.mark.parametrize("size", [12, 5, 1])
def test_beliefs_are_the_textbooks(size, power):
    """In float32, after as many steps: log-likelihoods of 12 answers err by about 1e-5."""
    _, answers = crowd(0)
    found = settle(answers, 3, size, power)
    assert found.settled
    assert 3 < found.steps < 150
    expected = plain_dawid_skene(answers, 3, power, found.steps)
    np.testing.assert_allclose(found.belief, expected, atol=2e-4)


# crowd-kit calls pandas in a way that a later pandas will refuse.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_crowd_kit_believes_the_same():
    pytest.importorskip("crowdkit", reason="pip install '.[test]' brings crowd-kit")
    import pandas
    from crowdkit.aggregation import DawidSkene

    for seed in range(3):
        _, answers = crowd(seed)
        person, task = np.nonzero(answers >= 0)
        rows = {"worker": person, "task": task, "label": answers[person, task]}
        rival = DawidSkene(n_iter=300, tol=1e-12).fit(pandas.DataFrame(rows))
        expected = rival.probas_.sort_index()[[0, 1, 2]].to_numpy()
        np.testing.assert_allclose(settle(answers, 3, 12).belief, expected, atol=2e-3)


def test_knowing_how_people_err_beats_their_majority():
    """Seven who mostly guess and five who know: over 20 crowds of 200 tasks."""
    gains = []
    for seed in range(20):
        random = np.random.default_rng(seed)
        right = random.integers(0, 4, 200)
        skill = np.array([0.05] * 7 + [0.8] * 5)
        answers = np.where(
            random.random((12, 200)) < skill[:, None], right, random.integers(0, 4, (12, 200))
        )
        votes = count_votes([answers], 200, 4, 12)
        found = dawid_skene({0: lambda own=answers: [own]}, votes, 12)
        gains.append((found.belief.argmax(1) == right).mean() - (votes.argmax(1) == right).mean())
    assert np.mean(gains) > 0.01
    assert np.min(gains) >= 0


@FEW
def test_the_table_of_a_study(monkeypatch):
    """Every scale of levels by itself; numbers have no truth; what nobody answered is empty."""
    study = make_study({n: EVERY_SCALE[n] for n in ("rating", "agree", "price")}, people=40)
    keep = study.task != 1
    study = dataclasses.replace(
        study, person=study.person[keep], task=study.task[keep], answer=study.answer[keep]
    )
    rows = infer_truth(answers_of(study)).to_pylist()
    assert [row["task_id"] for row in rows] == [f"t{i:02d}" for i in range(8)]
    assert rows[1]["decision"] is None
    for row in rows[:1] + rows[2:]:
        own = study.answer[study.task == int(row["task_id"][1:])]
        best = (
            int(row["decision"]) - 1
            if row["task_id"] < "t04"
            else ["no", "yes"].index(row["decision"])
        )
        assert row["votes"] == pytest.approx((own == best).mean())
        assert 0.2 < row["confidence"] <= 1
    monkeypatch.setattr(truth, "KEPT", 0)
    assert infer_truth(answers_of(study)).to_pylist() == rows


@FEW
def test_agents_are_no_more_witnesses_than_the_crowd_rests_on():
    """Copies of ten people, said to rest on ten: their confidence is the ten people's own."""
    study = make_study(people=10, tasks=12)
    few = answers_of(study)
    block = next(few.blocks())
    many = dataclasses.replace(
        few, people=5000, effective=10.0, blocks=lambda: iter([np.tile(block, (500, 1))])
    )
    one, two = infer_truth(few).to_pylist(), infer_truth(many).to_pylist()
    for a, b in zip(one, two, strict=True):
        assert a["decision"] == b["decision"]
        assert a["confidence"] == pytest.approx(b["confidence"], abs=1e-3)
    sure = dataclasses.replace(many, effective=None)
    assert min(row["confidence"] for row in infer_truth(sure).to_pylist()) > 0.999999


def test_one_program_for_all_blocks():
    truth.step_block.clear_cache()
    _, answers = crowd(1, people=23)
    settle(answers, 3, 5)
    assert truth.step_block._cache_size() == 1


@FEW
def test_what_does_not_suit_is_told(monkeypatch):
    with pytest.raises(CrowdError, match="there is none"):
        infer_truth(answers_of(make_study({"price": EVERY_SCALE["price"]})))
    monkeypatch.setattr(truth, "STEPS", 1)
    with pytest.warns(CrowdWarning, match="not settled after 1 steps on scale 'rating'"):
        infer_truth(answers_of(make_study()))


def test_few_answers_per_person_are_announced():
    study = make_study({"agree": EVERY_SCALE["agree"]}, tasks=3)
    with pytest.warns(CrowdWarning, match="a person answered 3 tasks on average, few for a matrix"):
        infer_truth(answers_of(study))


def test_one_answer_per_task_is_announced():
    """Nobody checks it, and every confidence would be near 1."""
    study = make_study({"agree": EVERY_SCALE["agree"]}, people=40, tasks=40)
    alone = study.person == study.task
    kept = dataclasses.replace(
        study, person=study.person[alone], task=study.task[alone], answer=study.answer[alone]
    )
    assert alone.any()
    with (
        pytest.warns(CrowdWarning, match="a task has 1 answers on average, few to check"),
        pytest.warns(CrowdWarning, match="few for a matrix"),
    ):
        infer_truth(answers_of(kept))
