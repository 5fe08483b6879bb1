"""The same methods written down plainly, as oracles: loops, fractions, one voter at a time."""

from fractions import Fraction

import numpy as np


def plain_dawid_skene(answers: np.ndarray, levels: int, power: float, steps: int) -> np.ndarray:
    """(T, K) beliefs after some EM steps on (N, T) levels (-1: none), as Dawid & Skene say."""
    n, t = answers.shape
    votes = np.array([[(answers[:, j] == k).sum() for k in range(levels)] for j in range(t)], float)
    belief = votes / votes.sum(1, keepdims=True)
    for _ in range(steps):
        prior = belief.mean(0)
        confusion = np.full((n, levels, levels), 1e-10)
        for i in range(n):
            for true in range(levels):
                for said in range(levels):
                    number = sum(belief[j, true] for j in range(t) if answers[i, j] == said)
                    confusion[i, true, said] = max(number, 1e-10)
                confusion[i, true] /= confusion[i, true].sum()
        log = np.tile(np.log(np.maximum(prior, 1e-10)), (t, 1))
        for i in range(n):
            for j in range(t):
                if answers[i, j] >= 0:
                    log[j] += power * np.log(confusion[i, :, answers[i, j]])
        belief = np.exp(log - log.max(1, keepdims=True))
        belief /= belief.sum(1, keepdims=True)
    return belief


def plain_greedy(value: np.ndarray, votes: list[int], cost: list[int], budget: int) -> list[int]:
    """Projects by total worth per cost; ties to more votes, the lower cost, the earlier."""
    total = [sum(map(int, value[:, p])) for p in range(len(cost))]
    order = sorted(
        (p for p in range(len(cost)) if votes[p]),
        key=lambda p: (-Fraction(total[p], cost[p]), -votes[p], cost[p], p),
    )
    chosen, left = [], budget
    for p in order:
        if cost[p] <= left:
            chosen.append(p)
            left -= cost[p]
    return chosen


def plain_shares(
    value: np.ndarray, votes: list[int], cost: list[int], purse: Fraction
) -> list[int]:
    """Equal shares by its definition, in fractions: value (N, P) whole, every voter a row."""
    n, projects = value.shape
    money = [purse] * n
    chosen: list[int] = []
    while True:
        offers = []
        for p in range(projects):
            backers = [i for i in range(n) if value[i, p] > 0]
            if p in chosen or sum((money[i] for i in backers), Fraction(0)) < cost[p]:
                continue
            worth = {i: int(value[i, p]) for i in backers}

            def collected(price: Fraction, worth: dict[int, int] = worth) -> Fraction:
                return sum((min(money[i], price * w) for i, w in worth.items()), Fraction(0))

            # Between the prices at which somebody runs out, what is collected is linear.
            last, had = Fraction(0), Fraction(0)
            for price in sorted({money[i] / w for i, w in worth.items()}):
                got = collected(price)
                if got >= cost[p]:
                    exact = last + (price - last) * (cost[p] - had) / (got - had)
                    offers.append((exact, -votes[p], cost[p], p))
                    break
                last, had = price, got
        if not offers:
            return chosen
        price, _, _, best = min(offers)
        chosen.append(best)
        for i in range(n):
            money[i] -= min(money[i], price * int(value[i, best]))


def plain_equal_shares(
    value: np.ndarray, votes: list[int], cost: list[int], budget: int
) -> list[int]:
    """With its completion: parts raised by 1% of the budget at a time, then greedy."""
    n = len(value)
    kept: list[int] = []
    for raised in range(201):
        found = plain_shares(value, votes, cost, Fraction(budget * (100 + raised), 100 * n))
        left = budget - sum(cost[p] for p in found)
        if left < 0:
            break
        kept = found
        if not any(cost[p] <= left and votes[p] for p in range(len(cost)) if p not in found):
            break
    left = budget - sum(cost[p] for p in kept)
    rest = [p for p in range(len(cost)) if p not in kept]
    more = plain_greedy(value[:, rest], [votes[p] for p in rest], [cost[p] for p in rest], left)
    return kept + [rest[p] for p in more]
