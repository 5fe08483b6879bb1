"""Which projects a crowd's ballots fund: participatory budgeting.

A voter's votes for a project are its level on the ballot: 1 for an approval, points, Borda points
of a ranking. A funded project is worth votes x cost to its voter (or its votes alone); with cost,
one approved project of 20,000 is worth as much as two of 10,000.

- greedy: projects by what they are worth to all voters per unit of cost (with votes x cost that is
  by their total votes); one that no longer fits is passed over.
- equal shares (Peters, Pierczynski & Skowron 2021): every voter gets the same part of the budget.
  Whoever backs a project pays for it in proportion to what it is worth to them, or all they have
  left; the project with the lowest price per worth is funded, until no project's backers can pay.
  That may leave money over. Completion: the voters' parts are raised by 1% of the budget at a time,
  up to threefold, until the outcome would cost more than the budget; the last that does not is
  taken, and greedy spends the rest.

Ties go to more votes, then to the lower cost, then to the earlier task. Projects without a vote are
not funded. Voters with the same ballot always have the same money left, so each distinct ballot is
one row with a number of voters: memory grows with the different ballots, not with the voters.
"""

from itertools import chain
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.population.read import Answers
from crowdllm_jax.runtime.counting import from_all, handed_out
from crowdllm_jax.runtime.progress import Progress, silent
from crowdllm_jax.study.scales import is_ballot

Worth = Literal["cost", "votes"]
EQUAL = 1e-9
"""Relative difference below which two prices are equal."""

PENDING = 1 << 17
RAISES = 200


class Ballots(NamedTuple):
    """Different ballots (V, P) votes per project, and (V,) the voters who cast each."""

    votes: np.ndarray
    voters: np.ndarray


def fund(
    answers: Answers,
    cost: dict[str, float],
    budget: float,
    rule: Literal["greedy", "equal-shares"],
    worth: Worth = "cost",
    progress: Progress = silent,
) -> pa.Table:
    """One row per project: task_id, cost, votes, voters, and order, 1 for the project that was
    funded first (empty: not funded). Funded projects first.

    Args:
      cost: of every project of the ballot, by task id.
    Raises:
      CrowdError: the answers hold no ballot or several, a project has no cost, or the budget buys
        nothing.
    """
    tasks = _ballot_tasks(answers)
    missing = [answers.task_ids[task] for task in tasks if answers.task_ids[task] not in cost]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise CrowdError(
            f"--costs: no cost of project '{missing[0]}'{more}; every project of the "
            "ballot needs one"
        )
    price = np.array([cost[answers.task_ids[task]] for task in tasks])
    if not price.min() * (1 - EQUAL) <= budget < np.inf:
        raise CrowdError(
            f"--budget {budget:g}: the cheapest project costs {price.min():g}; give "
            "the amount there is to spend"
        )
    ballots = distinct_ballots(answers, tasks, progress)
    act = greedy if rule == "greedy" else equal_shares
    order = {project: rank for rank, project in enumerate(act(ballots, price, budget, worth), 1)}
    votes = ballots.voters @ ballots.votes
    backers = ballots.voters @ (ballots.votes > 0)
    rows = [
        {
            "task_id": answers.task_ids[task],
            "cost": float(price[p]),
            "votes": int(votes[p]),
            "voters": int(backers[p]),
            "order": order.get(p),
        }
        for p, task in enumerate(tasks)
    ]
    rows.sort(key=lambda row: (row["order"] or np.inf, -row["votes"]))
    schema = pa.schema(
        [
            ("task_id", pa.string()),
            ("cost", pa.float64()),
            ("votes", pa.int64()),
            ("voters", pa.int64()),
            ("order", pa.int32()),
        ]
    )
    return pa.Table.from_pylist(rows, schema)


def _ballot_tasks(answers: Answers) -> np.ndarray:
    used = {int(index) for index in np.unique(answers.task_scale)}
    names = [n for i, (n, s) in enumerate(answers.scales.items()) if i in used and is_ballot(s)]
    if len(names) != 1:
        what = f"several ({', '.join(names)})" if names else "none"
        raise CrowdError(
            "funding takes one ballot (approval, k_approval, ranking or points); "
            f"there {'are' if names else 'is'} {what}"
        )
    return np.flatnonzero(answers.task_scale == list(answers.scales).index(names[0]))


def distinct_ballots(answers: Answers, tasks: np.ndarray, progress: Progress = silent) -> Ballots:
    """Join voters who cast the same ballot; who cast none is no voter."""
    joined = [Ballots(np.zeros((0, len(tasks)), np.int16), np.zeros(0, np.int64))]
    done = 0
    for block in chain.from_iterable(
        blocks() for _, blocks in handed_out("the ballots", answers.passes)
    ):
        cast = np.nan_to_num(block[:, tasks], nan=-1).astype(np.int16)
        cast = cast[cast[:, 0] >= 0]  # a ballot is whole, or there is none
        joined.append(_join([Ballots(cast, np.ones(len(cast), np.int64))]))
        if sum(len(ballots.voters) for ballots in joined[1:]) > max(PENDING, len(joined[0].voters)):
            joined = [_join(joined)]
        done += len(block)
        progress("aggregate", done, answers.people)
    of_all = from_all("the ballots", tuple(_join(joined)))
    progress("aggregate", answers.people, answers.people)
    return _join([Ballots(*ballots) for ballots in of_all])


def _join(parts: list[Ballots]) -> Ballots:
    votes = np.ascontiguousarray(np.concatenate([ballots.votes for ballots in parts]))
    voters = np.concatenate([ballots.voters for ballots in parts])
    # Rows compared as bytes: np.unique over axis 0 sorts field by field, some 20 times slower.
    key = votes.view(np.dtype((np.void, votes.shape[1] * votes.itemsize))).ravel()
    _, first, row = np.unique(key, return_index=True, return_inverse=True)
    total = np.zeros(len(first), np.int64)
    np.add.at(total, row, voters)
    return Ballots(votes[first], total)


def greedy(
    ballots: Ballots,
    cost: np.ndarray,
    budget: float,
    worth: Worth = "cost",
    chosen: tuple[int, ...] = (),
) -> tuple[int, ...]:
    """Fund projects (indices, in order) by worth per cost, beginning from some that are chosen."""
    votes = ballots.voters @ ballots.votes
    rate = votes.astype(float) if worth == "cost" else votes / cost
    left = budget - sum(cost[p] for p in chosen)
    funded = list(chosen)
    order = _by_votes(votes, cost)
    for p in order[np.argsort(-rate[order], kind="stable")].tolist():
        if p not in funded and votes[p] > 0 and cost[p] <= left + EQUAL * budget:
            funded.append(p)
            left -= cost[p]
    return tuple(funded)


def _by_votes(votes: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """(P,) projects in the order in which ties are resolved."""
    return np.lexsort((np.arange(len(cost)), cost, -votes))


def equal_shares(
    ballots: Ballots, cost: np.ndarray, budget: float, worth: Worth = "cost"
) -> tuple[int, ...]:
    """The method of equal shares with its completion (see above): projects in order."""
    value = ballots.votes * (cost if worth == "cost" else 1.0)
    votes = ballots.voters @ ballots.votes
    tie = _by_votes(votes, cost).argsort()
    best: tuple[int, ...] = ()
    for raised in range(RAISES + 1):
        purse = budget * (1 + raised / 100) / ballots.voters.sum()
        funded = shares_once(value, ballots.voters, cost, purse, tie)
        left = budget - sum(cost[p] for p in funded)
        if left < -EQUAL * budget:
            break
        best = funded
        open_ = [p for p in range(len(cost)) if p not in funded and votes[p] > 0]
        if not any(cost[p] <= left + EQUAL * budget for p in open_):
            break
    return greedy(ballots, cost, budget, worth, best)


def shares_once(
    value: np.ndarray, voters: np.ndarray, cost: np.ndarray, purse: float, tie: np.ndarray
) -> tuple[int, ...]:
    """Equal shares without completion.

    Args:
      value: (V, P) worth of each project to each ballot's voters. voters: (V,) their number.
      cost: (P,). purse: what every voter starts with.
      tie: (P,) place of each project among those of one price.
    """
    money = np.full(len(voters), purse)
    backers = [np.flatnonzero(value[:, p]) for p in range(len(cost))]
    # A project's price only rises as its backers spend: an old price bounds the new from below.
    bound = np.where((value > 0).any(0), 0.0, np.inf)
    funded: list[int] = []
    while True:
        best, price = -1, np.inf
        for p in np.argsort(bound, kind="stable").tolist():
            if bound[p] == np.inf or bound[p] > price * (1 + EQUAL):
                break
            who = backers[p]
            bound[p] = _price(value[who, p], voters[who], money[who], cost[p])
            if bound[p] == np.inf:
                continue
            if bound[p] < price * (1 - EQUAL):
                best, price = p, bound[p]
            elif bound[p] <= price * (1 + EQUAL):
                best = min(best, p, key=tie.__getitem__)
        if best < 0:
            return tuple(funded)
        funded.append(best)
        bound[best] = np.inf
        who = backers[best]
        money[who] -= np.minimum(money[who], price * value[who, best])


def _price(value: np.ndarray, voters: np.ndarray, money: np.ndarray, cost: float) -> float:
    """The lowest price r with sum of voters min(money, r value) = cost; inf if they have less."""
    if voters @ money < cost * (1 - EQUAL):
        return np.inf
    full = money / value
    order = np.argsort(full)
    value, voters, money, full = value[order], voters[order], money[order], full[order]
    # Those before j pay all they have, the others in proportion to their value.
    paid = np.concatenate([[0.0], np.cumsum(voters * money)[:-1]])
    rest = np.cumsum((voters * value)[::-1])[::-1]
    price = (cost - paid) / rest
    fits = price <= full * (1 + EQUAL)
    return float(price[fits.argmax()]) if fits.any() else float(full[-1])
