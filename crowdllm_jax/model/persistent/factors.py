"""A linear factor analysis of answers: where loadings start, and how many dimensions pay.

Adam finds a few strong dimensions of the persistent model soon, and many weak ones late or never.
Answers as numbers, standardised within tasks, are nearly enough normal to say where these are:

    z(p, t) = W(t) . f(p) + e,   f ~ N(0, 1),  e ~ N(0, noise(t)),  W(., k) ~ N(0, size(k))

is fitted by variational EM over the answers that there are, with posteriors of factors and loadings
in closed form (Bishop 1999). The size of a factor's loadings is learned with the rest: one for
which the answers do not speak goes to nothing.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from crowdllm_jax.model.persistent.config import FEWEST

ROUNDS = 40
"""Of EM."""
START = 0.3
"""Deviation of the loadings that it starts from."""
SPARED = 0.1
"""Share of the answers that numbers of dimensions are compared by."""
MOST = 32
"""Dimensions of a belief, at most: a fit's cost grows with them."""
DOUBT = 2.0
"""Answers' worth of the prior that a task's answers are noise."""
SETTLES = 5e-3
"""Least gain in the squared error of answers left out, as a share, that is worth twice the
dimensions."""


class Numbers(NamedTuple):
    """(R,) answers as numbers: person, task, and value, standardised within tasks.

    A nominal answer is several of them, to as many tasks: contrasts. `answer` tells which answer
    each number is of.
    """

    person: np.ndarray
    task: np.ndarray
    value: np.ndarray
    answer: np.ndarray

    def some(self, rows: np.ndarray) -> "Numbers":
        """The answers that `rows` (R,) bool or indices picks."""
        return Numbers(*(column[rows] for column in self))


def standardised(
    person: np.ndarray, task: np.ndarray, value: np.ndarray, tasks: int
) -> tuple[Numbers, np.ndarray]:
    """Answers (R,) by their task's mean and deviation, and the deviations (T,): few answers say
    badly how large it is, and count beside as many as DOUBT of all tasks'."""
    count = np.bincount(task, minlength=tasks)
    mean = np.bincount(task, value, tasks) / count.clip(1)
    square = np.bincount(task, (value - mean[task]) ** 2, tasks)
    pooled = square.sum() / max(1, len(value))
    sd = np.sqrt((square + DOUBT * pooled) / (count + DOUBT)).clip(1e-6)
    return Numbers(person, task, (value - mean[task]) / sd[task], np.arange(len(value))), sd


class Factors(NamedTuple):
    """Loadings (T, K), how much of a task's variance they leave (T,), people's factors (P, K)."""

    loading: np.ndarray
    noise: np.ndarray
    person: np.ndarray


def analyse(answers: Numbers, shape: tuple[int, int], dimensions: int) -> Factors:
    """The factors of P people's answers to T tasks, `shape`; always the same for the same answers.

    Costs, a round, the answers times the square of the dimensions. Tasks without answers, which
    would say nothing of how large loadings are, load on nothing.
    """
    (people, every), k = shape, dimensions
    answered, task = np.unique(answers.task, return_inverse=True)
    tasks = len(answered)
    shape, at = (people, tasks), (answers.person, task)
    given = sparse.csr_array((np.ones(len(answers.value)), at), shape)
    z = sparse.csr_array((answers.value, at), shape)
    by_task, z_by_task = given.T.tocsr(), z.T.tocsr()
    count, square = by_task.sum(1), (z_by_task**2).sum(1)
    loading = START * np.random.default_rng(0).normal(size=(tasks, k))
    unsure, noise, size, one = np.zeros((tasks, k, k)), np.ones(tasks), np.ones(k), np.eye(k)
    for _ in range(ROUNDS):
        square_loading = loading[:, :, None] * loading[:, None] + unsure
        outer = square_loading / noise[:, None, None]
        covariance = np.linalg.inv((given @ outer.reshape(tasks, -1)).reshape(-1, k, k) + one)
        person = (covariance @ (z @ (loading / noise[:, None]))[..., None])[..., 0]
        second = covariance + person[:, :, None] * person[:, None]
        # The factors' own scale, which loadings alone would take as many rounds to find as people
        # answer tasks (parameter-expanded EM, Liu, Rubin & Wu 1998).
        wide = np.sqrt(np.diagonal(second, axis1=1, axis2=2).mean(0))
        person, second = person / wide, second / (wide[:, None] * wide)
        gram = (by_task @ second.reshape(people, -1)).reshape(tasks, k, k)
        shrunk = np.linalg.inv(gram + one * (noise[:, None] / size)[:, None])
        product = z_by_task @ person
        loading = (shrunk @ product[..., None])[..., 0]
        unsure = noise[:, None, None] * shrunk
        square_loading = loading[:, :, None] * loading[:, None] + unsure
        explained = 2 * (loading * product).sum(1) - (gram * square_loading).sum((1, 2))
        noise = ((square - explained + DOUBT) / (count + DOUBT)).clip(0.05)
        size = np.diagonal(square_loading, axis1=1, axis2=2).mean(0).clip(1e-6)
    found = Factors(np.zeros((every, k)), np.ones(every), person)
    found.loading[answered], found.noise[answered] = loading, noise
    return found


def enough(answers: Numbers, shape: tuple[int, int]) -> int:
    """How many dimensions forecast known answers well that are left out: FEWEST, doubled as long as
    that pays."""
    spared = np.random.default_rng(7).random(answers.answer.max(initial=-1) + 1) < SPARED
    spared = spared[answers.answer]
    told, asked = answers.some(~spared), answers.some(spared)
    if not spared.any():
        return FEWEST

    def error(dimensions: int) -> np.ndarray:
        found = analyse(told, shape, dimensions)
        expected = (found.person[asked.person] * found.loading[asked.task]).sum(1)
        squared: np.ndarray = (expected - asked.value) ** 2
        return squared

    best, before = FEWEST, error(FEWEST)
    while 2 * best <= min(MOST, *shape):
        gain = before - (now := error(2 * best))
        # Where there is nothing to forecast nothing is gained, and nothing pays.
        if not gain.mean() > max(SETTLES * before.mean(), gain.std() / np.sqrt(len(gain))):
            break
        best, before = 2 * best, now
    return best
