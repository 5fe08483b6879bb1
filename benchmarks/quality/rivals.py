"""Simple models that a good crowd has to match: a classifier, and a bias and slope per person."""

import numpy as np
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from crowdllm_jax.model.fit import Prepared
from crowdllm_jax.study.coding import encode


def multinomial_answers(ready: Prepared, agents: int, seed: int) -> np.ndarray:
    """(N, T) levels drawn from a multinomial regression on features, profile and reference.

    Its penalty is the one whose crowd does best on the validation tasks; then it is fitted to all
    that is not held out. Agents take the training participants' profiles.
    """
    study, split = ready.study, ready.split
    c = encode(ready.codings, study.participants.profile)
    t = np.column_stack([ready.x, ready.reference.mean, ready.reference.probs])
    t = (t - t.mean(0)) / np.where(t.std(0) > 0, t.std(0), 1)
    t[:, : ready.x.shape[1]] /= np.sqrt(ready.x.shape[1])  # one of the few that matter each
    features = np.column_stack([t[study.task], c[study.person]])
    answer = study.answer.astype(int)

    def fitted(strength: float, part: np.ndarray) -> LogisticRegression:
        return LogisticRegression(C=strength, max_iter=300).fit(features[part], answer[part])

    everyone = split.people(study, split.seen)

    def chances(model: LogisticRegression, task: int) -> np.ndarray:
        rows = np.column_stack([np.repeat(t[task][None], len(everyone), 0), c[everyone]])
        return model.predict_proba(rows)

    def loss(strength: float) -> float:
        model, part = fitted(strength, split.train), split.validation
        tasks, place = np.unique(study.task[part], return_inverse=True)
        crowd = np.stack([chances(model, task).mean(0) for task in tasks])
        return _rps(crowd[place], answer[part])

    model = fitted(min((0.001, 0.003, 0.01, 0.03, 0.1, 0.3), key=loss), split.seen)
    random = np.random.default_rng([seed, 77])
    place = random.integers(0, len(everyone), agents)
    answers = np.empty((agents, len(t)), np.int8)
    for task in range(len(t)):
        below = chances(model, task).cumsum(1)[place]
        answers[:, task] = (random.random((agents, 1)) > below[:, :-1]).sum(1)
    return answers


def _rps(probs: np.ndarray, level: np.ndarray) -> float:
    below = probs.cumsum(1)[:, :-1]
    return float(((below - (level[:, None] <= np.arange(below.shape[1]))) ** 2).sum(1).mean())


def bias_and_slope(
    predicted: np.ndarray, person: np.ndarray, answer: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, float]:
    """(R,) expected answers from each person's shrunken bias and slope, and their spread.

    A person's answers are b + (1 + s) * predicted around the crowd's expectation; b and s are
    ridge estimates from the person's known answers, with the two penalties that predict every
    third known answer best from the others.

    Args:
      predicted: (R,) the crowd's expected answer to each response's task.
      known: (R,) bool, the responses that may be used.
    """
    centre = predicted[known].mean()
    design = np.column_stack([np.ones(len(person)), predicted - centre])
    gap = answer - predicted

    def expect(given: np.ndarray, penalty: tuple[float, float]) -> np.ndarray:
        out = predicted.copy()
        for p in np.unique(person):
            own = person == p
            d = design[own & given]
            beta = np.linalg.solve(d.T @ d + np.diag(penalty), d.T @ gap[own & given])
            out[own] += design[own] @ beta
        return out

    spared = known & (np.cumsum(known) % 3 == 0)
    grid = [(a, b) for a in (1.0, 3.0, 10.0, 30.0) for b in (1.0, 3.0, 10.0, 30.0, 100.0)]
    errors = [((expect(known & ~spared, g) - answer)[spared] ** 2).mean() for g in grid]
    best = grid[int(np.argmin(errors))]
    return expect(known, best), float(np.sqrt(min(errors)))


def normal_rps(expected: np.ndarray, sd: float, answer: np.ndarray, levels: np.ndarray) -> float:
    """Ranked probability score of answers under normals cut at the middles between levels."""
    edges = (levels[1:] + levels[:-1]) / 2
    below = norm.cdf((edges - expected[:, None]) / sd)
    return float(((below - (answer[:, None] <= levels[:-1])) ** 2 @ np.diff(levels)).mean())
