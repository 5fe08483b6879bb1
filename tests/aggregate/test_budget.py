"""Funding: the rules by their definitions, in exact fractions, and what must change nothing."""

import dataclasses

import numpy as np
import pytest
from other_rules import plain_equal_shares, plain_greedy, plain_shares
from synthetic import EVERY_SCALE, make_study

from crowdllm_jax.aggregate import budgeting as budget
from crowdllm_jax.aggregate.budgeting import Ballots, distinct_ballots, equal_shares, fund, greedy
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.population.read import answers_of


def election(seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """A small election: votes (N, P), costs and a budget; half of them approvals, whose ties are
    many, half of them points."""
    random = np.random.default_rng(seed)
    n, p = random.integers(1, 25), random.integers(1, 9)
    most = 1 if seed % 2 else 5
    votes = random.integers(0, most + 1, (n, p))
    votes[:, random.random(p) < 0.1] = 0
    cost = random.integers(1, 30, p) * 100
    return votes, cost, int(random.integers(cost.min(), cost.sum() + 1))


def joined(votes: np.ndarray) -> Ballots:
    kinds, voters = np.unique(votes, axis=0, return_counts=True)
    return Ballots(kinds.astype(np.int16), voters)


@pytest.mark.parametrize("worth", ["cost", "votes"])
@pytest.mark.parametrize("seed", range(60))
def test_funding_is_what_the_definitions_say(seed, worth):
    votes, cost, money = election(seed)
    value = votes * (cost if worth == "cost" else 1)
    total, ballots = votes.sum(0).tolist(), joined(votes)
    costs = cost.tolist()
    assert list(greedy(ballots, cost, money, worth)) == plain_greedy(value, total, costs, money)
    found = equal_shares(ballots, cost.astype(float), money, worth)
    assert list(found) == plain_equal_shares(value, total, costs, money)
    assert cost[list(found)].sum() <= money


@pytest.mark.parametrize("seed", range(60))
def test_costs_in_thousands_fund_what_costs_do(seed):
    """Decimals do not add up to the budget exactly where it is spent to the last cent."""
    votes, cost, _ = election(seed)
    ballots, chosen = joined(votes), np.random.default_rng(seed).random(len(cost)) < 0.5
    money = int(cost[chosen].sum()) or int(cost.sum())
    for rule in (greedy, equal_shares):
        whole = rule(ballots, cost.astype(float), money)
        assert rule(ballots, cost / 1000, money / 1000) == whole
        tenths = sum([0.1] * money)
        assert rule(ballots, 0.1 * cost, tenths) == whole


def test_the_definitions_disagree_with_each_other():
    """Otherwise the comparison above would not tell the rules apart."""
    apart = np.zeros(3, int)
    for seed in range(60):
        votes, cost, money = election(seed)
        ballots = joined(votes)
        by_votes = set(greedy(ballots, cost, money))
        apart += [
            set(equal_shares(ballots, cost, money)) != by_votes,
            set(equal_shares(ballots, cost, money, "votes")) != by_votes,
            set(greedy(ballots, cost, money, "votes")) != by_votes,
        ]
    assert apart.min() >= 5, apart


@pytest.mark.parametrize("worth", ["cost", "votes"])
def test_pabutools_funds_the_same(worth):
    """The reference implementation, on elections whose prices do not tie."""
    reason = "pip install pabutools (it brings solvers) compares with it"
    pytest.importorskip("pabutools", reason=reason)
    from pabutools import election as pb
    from pabutools.rules import greedy_utilitarian_welfare, method_of_equal_shares

    for seed in range(30):
        random = np.random.default_rng(seed)
        votes = random.integers(0, 1000, (12, 6))
        cost = random.integers(1000, 9999, 6)
        money = int(random.integers(cost.max(), cost.sum()))
        projects = [pb.Project(f"p{i}", int(c)) for i, c in enumerate(cost)]
        instance = pb.Instance(projects, budget_limit=money)
        profile = pb.CardinalProfile(
            [
                pb.CardinalBallot({p: int(v) for p, v in zip(projects, row, strict=True)})
                for row in votes
            ],
            instance=instance,
        )

        class Value(pb.satisfaction.AdditiveSatisfaction):
            def __init__(self, instance, profile, ballot):
                super().__init__(instance, profile, ballot, self.worth)

            @staticmethod
            def worth(_instance, _profile, ballot, project, _precomputed):
                return ballot.get(project, 0) * (project.cost if worth == "cost" else 1)

        own = greedy(joined(votes), cost, money, worth)
        other = greedy_utilitarian_welfare(instance, profile, sat_class=Value)
        assert {f"p{i}" for i in own} == {p.name for p in other}
        value = votes * (cost if worth == "cost" else 1)
        tie = np.arange(6)
        own = budget.shares_once(value, np.ones(12, int), cost, money / 12, tie)
        other = method_of_equal_shares(instance, profile, sat_class=Value)
        assert [f"p{i}" for i in own] == [p.name for p in other]


def test_a_crowd_of_copies_funds_the_same():
    """Equal shares are proportional: everybody a thousand times changes nothing."""
    for seed in range(20):
        votes, cost, money = election(seed)
        ballots = joined(votes)
        many = Ballots(ballots.votes, ballots.voters * 1000)
        for act in (greedy, equal_shares):
            assert act(ballots, cost, money) == act(many, cost, money)


def test_a_minority_gets_its_part():
    """70 voters of one group, 30 of another, ten projects of equal cost each, money for ten: greedy
    funds the majority's alone, equal shares divide 7 to 3."""
    votes = np.zeros((100, 20), int)
    votes[:70, :10] = 1
    votes[70:, 10:] = 1
    cost = np.full(20, 100)
    assert set(greedy(joined(votes), cost, 1000)) == set(range(10))
    found = equal_shares(joined(votes), cost, 1000)
    assert sum(p < 10 for p in found) == 7
    assert sum(p >= 10 for p in found) == 3
    assert list(found[:7]) == plain_shares(votes, votes.sum(0).tolist(), cost.tolist(), 10)[:7]


@pytest.fixture(scope="module")
def voters():
    """Ballots of points, some of them not cast."""
    study = make_study({"share": EVERY_SCALE["share"]}, tasks=5, people=300)
    keep = study.person % 7 > 0
    return dataclasses.replace(
        study, person=study.person[keep], task=study.task[keep], answer=study.answer[keep]
    )


def test_voters_are_joined_by_their_ballot(voters, monkeypatch):
    from crowdllm_jax.population import read as answers

    monkeypatch.setattr(answers, "block_size", lambda _: 64)
    monkeypatch.setattr(budget, "PENDING", 1)
    found = distinct_ballots(answers_of(voters), np.arange(5))
    cast = voters.answer.reshape(-1, 5)
    kinds, number = np.unique(cast, axis=0, return_counts=True)
    order = np.lexsort(found.votes.T[::-1])
    np.testing.assert_array_equal(found.votes[order], kinds)
    np.testing.assert_array_equal(found.voters[order], number)


def test_the_table_says_who_is_funded_for_what(voters):
    cost = {f"t{i:02d}": float(c) for i, c in enumerate((50, 60, 70, 80, 90))}
    table = fund(answers_of(voters), cost, 150, "greedy").to_pylist()
    votes = voters.answer.reshape(-1, 5)
    assert {row["task_id"] for row in table} == set(cost)
    for row in table:
        own = votes[:, int(row["task_id"][1:])]
        assert (row["votes"], row["voters"]) == (own.sum(), (own > 0).sum())
        assert row["cost"] == cost[row["task_id"]]
    funded = [row["order"] for row in table if row["order"]]
    assert funded == list(range(1, len(funded) + 1))
    assert sum(row["cost"] for row in table if row["order"]) <= 150


def test_what_cannot_be_funded_is_told(voters):
    answers = answers_of(voters)
    cost = dict.fromkeys(answers.task_ids, 10.0)
    with pytest.raises(CrowdError, match="no cost of project 't03'"):
        fund(answers, {k: v for k, v in cost.items() if k != "t03"}, 20, "greedy")
    for money in (9.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(CrowdError, match="the cheapest project costs 10"):
            fund(answers, cost, money, "greedy")
    with pytest.raises(CrowdError, match="there is none"):
        fund(answers_of(make_study()), cost, 20, "greedy")
    both = make_study({name: EVERY_SCALE[name] for name in ("share", "pick")})
    with pytest.raises(CrowdError, match=r"there are several \(share, pick\)"):
        fund(answers_of(both), cost, 20, "greedy")
