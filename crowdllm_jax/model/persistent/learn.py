"""What a few people's answers to a new task say of where it is: the mode of what is known of it
after them, and the curvature there (Laplace's approximation)."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import logsumexp

from crowdllm_jax.model.persistent.forecast import Outlook, Unsure
from crowdllm_jax.model.scales import continuous
from crowdllm_jax.model.scales.kinds import SINGLE
from crowdllm_jax.study import scales

LEVELS = 0.5
"""Of a task with answers of its own, the levels may differ by so much (on the logit scale)."""
STEPS = 100
"""At most, on the way to the mode."""
CLOSE = 1e-4
"""Shares that are off by no more are met."""
RANK = 1e-3
"""Below this part of the largest, what a place does to shares counts as nothing."""
GRID = 201
"""Places of a continuous task that are looked at first."""


def learn(
    outlook: Outlook,
    agents: Outlook,
    task: Unsure,
    answers: np.ndarray,
    weight: np.ndarray,
    alike: int,
) -> Unsure:
    """The task after some people's answers.

    Args:
      outlook: of those who are asked it. agents: the same, or more of them, who answer alike.
      answers: (R,) levels, or values in [0, 1]. weight: (R,) how many people each stands for.
      alike: how many tasks on its very scale are known. Of few, neither the middle nor how far
        others may be from it is known well.
    """
    # The variance of a further one of n + 3, three of which are what is known of tasks in general.
    doubt = np.sqrt((1 + 1 / max(alike, 1)) * (alike + 3) / (alike + 1))
    task = replace(task, root=doubt * task.root)
    if SINGLE[type(task.scale)] is continuous:
        return _by_mean(outlook, task, float(np.average(answers, weights=weight)), weight.sum())
    count = np.bincount(answers.astype(int), weight, scales.size(task.scale))
    return _by_shares(outlook, agents, task, count, LEVELS * doubt)


def _by_mean(outlook: Outlook, task: Unsure, mean: float, people: float) -> Unsure:
    """A continuous task after so many people's mean answer, in [0, 1]. Where it is moves this the
    less, the more of the agents answer an end of the range already."""
    sd = np.sqrt((task.root**2).sum(1)).clip(1e-6)
    noise = outlook.spread_of(task) / np.sqrt(people)

    def mean_at(place: np.ndarray) -> np.ndarray:
        theta = np.zeros((len(place), len(sd)))
        theta[:, 0] = place
        return outlook.means(task, theta, np.zeros((1, 1)))

    def unlikely(place: np.ndarray) -> np.ndarray:
        gap = (mean_at(place) - mean) / noise
        return gap**2 + ((place - task.middle[0]) / sd[0]) ** 2

    # From where all answer one end to where all answer the other, in any case.
    wide = 1 + np.abs(outlook.places(task)).max() + 4 * outlook.spread_of(task)
    grid = np.linspace(-wide, wide, GRID)
    near = grid[np.argmin(unlikely(grid))]
    step = grid[1] - grid[0]
    found = minimize_scalar(
        lambda place: float(unlikely(np.array([place]))[0]),
        bounds=(near - step, near + step),
        method="bounded",
        options={"xatol": 1e-6},
    )
    slope = np.diff(mean_at(found.x + np.array([-0.5, 0.5]) * sd[0] / 10))[0] / (sd[0] / 10)
    middle = task.middle.copy()
    middle[0] = found.x
    sd[0] = ((slope / noise) ** 2 + sd[0] ** -2) ** -0.5
    return replace(task, middle=middle, root=np.diag(sd))


def _by_shares(
    outlook: Outlook, agents: Outlook, task: Unsure, count: np.ndarray, apart: float
) -> Unsure:
    """A task on levels after (K,) people's answers to each; levels lie apart by so much or more.

    Several places give the same shares, and of these answers tell nothing. So places are drawn by
    the logarithms of shares, and agents stand where theirs are those on average.
    """
    sd = np.sqrt((task.root**2).sum(1)).clip(1e-6)
    # The fit knows how levels differ between tasks it pooled; here this one task speaks.
    sd[1:] = sd[1:].clip(apart)
    people = max(1.0, count.sum())

    @lru_cache(maxsize=1)
    def sloped(at: bytes) -> tuple[np.ndarray, np.ndarray]:
        share, slope = outlook.sloped(task, task.middle + sd * np.frombuffer(at))
        share = share.clip(1e-6)
        return share, slope * sd / share[:, None]

    def unlikely(at: np.ndarray) -> float:
        share, _ = sloped(at.tobytes())
        return float((at @ at / 2 - count @ np.log(share)) / people)

    def gradient(at: np.ndarray) -> np.ndarray:
        _, slope = sloped(at.tobytes())
        return np.asarray((at - count @ slope) / people)

    def curvature(at: np.ndarray) -> np.ndarray:
        """The expected one, as Fisher scoring has it: never negative."""
        share, slope = sloped(at.tobytes())
        return np.asarray(np.eye(len(at)) / people + (slope.T * share) @ slope)

    found = minimize(
        unlikely,
        np.zeros(len(sd)),
        jac=gradient,
        hess=curvature,
        method="trust-exact",
        options={"maxiter": STEPS, "gtol": 1e-5},
    )
    share, slope = sloped(found.x.tobytes())
    unsure = np.linalg.cholesky(np.linalg.inv(curvature(found.x) * people))
    logit = np.log(share) + outlook.normals(task) @ (slope @ unsure).T
    shortest, mode = np.linalg.pinv(slope, rcond=RANK).T * sd, task.middle + sd * found.x
    drawn = _where(outlook, task, mode, shortest, logit, outlook.sways(task))
    told = np.asarray(outlook.shares(task, drawn, outlook.sways(task)), float).mean(0)
    middle = _where(agents, task, mode, shortest, np.log(told.clip(1e-6))[None])[0]
    return replace(task, middle=middle, root=np.zeros_like(task.root), drawn=drawn)


def _where(
    outlook: Outlook,
    task: Unsure,
    near: np.ndarray,
    shortest: np.ndarray,
    logit: np.ndarray,
    sway: np.ndarray | None = None,
) -> np.ndarray:
    """(D, 1 + K) places whose shares have these logarithms (D, K), but for a constant; from one
    nearby, where the shortest way to others is known (K, 1 + K)."""
    logit = logit - logsumexp(logit, axis=1, keepdims=True)
    best = theta = np.repeat(near[None], len(logit), 0)
    least = np.full(len(logit), np.inf)
    for _ in range(STEPS):
        share = np.asarray(outlook.shares(task, theta, sway), float)
        gap = logit - np.log(share.clip(1e-6))
        off = (share * np.abs(gap)).sum(1)
        best, least = np.where((off < least)[:, None], theta, best), np.minimum(off, least)
        if least.max() < CLOSE:
            break
        step = gap @ shortest
        theta = theta + step / np.maximum(1.0, np.abs(step).max(1, keepdims=True))
    return best
