"""Estimates about people from few human answers and a crowd's predictions, with honest intervals.

Prediction-powered inference (Angelopoulos et al. 2023, arXiv 2301.09633) with the power-tuned
weight of PPI++ (Angelopoulos, Duchi & Zrnic 2023, arXiv 2311.01453). The *labelled* people
answered; of the *unlabelled* only the profile is known. A prediction f is any fixed function of
profile and task. The same least squares is fitted three times, and

    estimate = fit(labelled, answers) - lambda (fit(labelled, f) - fit(unlabelled, f))

The bracket is zero but for chance, however wrong f is, so a bad crowd cannot bias the estimate; a
good one knows by which chance the labelled people are unusual, and takes it out. lambda is chosen
to make the interval narrowest: 0, which is the people alone, where f says nothing of the answers.

What is assumed:

- Labelled and unlabelled people are random samples of one population (given survey weights), and
  the labelled people's answers had no part in making f differ between the two.
- People are independent of each other; a person's several answers may hang together in any way.
- Enough people for means to be nearly normal; intervals are Student's, with the parameters and
  lambda taken off the degrees of freedom.

The number of agents behind f is nowhere in here: more of them make f a smoother function, but not
the people more numerous.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from crowdllm_jax.errors import CrowdError

FEWEST = 30
"""Labelled people (Kish's effective number) besides one per coefficient, for an interval to hold:
docs/inference.md shows its coverage with so many."""
RARE = 5
"""People who must give, and who must not give, one of two answers for its share to have an
interval."""


@dataclass(frozen=True)
class EstimationRows:
    """What a crowd predicts for some people.

    Attributes:
      person: (R,) whose row it is; one numbering for labelled and unlabelled people.
      task: (R,) integers from 0 to T - 1; every task counts the same.
      weight: (R,) survey weights above 0.
      columns: (R, k) regressors; one column of ones for a mean.
      predicted: (R,) f, in the units of the answers.
    """

    person: np.ndarray
    task: np.ndarray
    weight: np.ndarray
    columns: np.ndarray
    predicted: np.ndarray


@dataclass(frozen=True)
class Estimate:
    """k coefficients (one, of a mean).

    Attributes:
      value, low, high: (k,) prediction-powered estimate and its interval.
      alone, alone_low, alone_high: (k,) the same of the labelled people without a crowd.
      tuning: (k,) lambda.
      people, profiles: labelled and unlabelled people.
      effective: (k,) how many labelled people alone would give as narrow an interval: people times
        the variance without the crowd over that with it.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    alone: np.ndarray
    alone_low: np.ndarray
    alone_high: np.ndarray
    tuning: np.ndarray
    people: int
    profiles: int
    effective: np.ndarray


def estimate(
    labelled: EstimationRows,
    answer: np.ndarray,
    unlabelled: EstimationRows,
    *,
    level: float = 0.95,
    tuning: float | None = None,
) -> Estimate:
    """Estimate a mean or regression coefficients; variances are clustered by person.

    With several tasks the coefficients are those of their equally weighted average, tasks being
    fixed: a person may be labelled on one and unlabelled on another.

    Args:
      answer: (R,) the labelled people's answers, in the rows of `labelled`.
      level: of the interval. tuning: lambda; None chooses it for each coefficient, at least 0.
    Raises:
      CrowdError: too few people, all of the same answer, or columns that cannot be told apart.
    """
    k = labelled.columns.shape[1]
    people = _check_enough(labelled, unlabelled, k)
    alone, influence = _fit(labelled, answer)
    f_labelled, influence_labelled = _fit(labelled, labelled.predicted)
    f_unlabelled, influence_unlabelled = _fit(unlabelled, unlabelled.predicted)
    size = int(max(labelled.person.max(), unlabelled.person.max())) + 1
    error = _by_person(labelled.person, influence, size)
    gap = _by_person(labelled.person, influence_labelled, size) - _by_person(
        unlabelled.person, influence_unlabelled, size
    )
    variance, shared, spread = (error**2).sum(0), (error * gap).sum(0), (gap**2).sum(0)
    if not (variance > 1e-12 * np.max(np.abs(answer), initial=1e-150) ** 2 / people).all():
        raise CrowdError(
            "all labelled people answer alike, which leaves nothing to tell how sure to be"
        )
    if tuning is None:
        lam, powered = _narrowest(variance, shared, spread, people - k)
    else:
        lam = np.full(k, float(tuning))
        powered = variance - 2 * lam * shared + lam**2 * spread
    value = alone - lam * (f_labelled - f_unlabelled)
    freedom = people - k - (lam > 0) * (tuning is None)
    half = stdtrit(freedom, 0.5 + level / 2) * np.sqrt(powered)
    alone_half = stdtrit(people - k, 0.5 + level / 2) * np.sqrt(variance)
    count = len(np.unique(labelled.person))
    return Estimate(
        value,
        value - half,
        value + half,
        alone,
        alone - alone_half,
        alone + alone_half,
        lam,
        count,
        len(np.unique(unlabelled.person)),
        count * (variance / powered),
    )


def _check_enough(labelled: EstimationRows, unlabelled: EstimationRows, k: int) -> float:
    """The effective number of labelled people, where there are enough of them and of the others."""
    people = _effective_people(labelled)
    profiles = _effective_people(unlabelled)
    if people < FEWEST + k:
        raise CrowdError(
            f"{people:.3g} people's answers (weighted as they are) are too few for an interval; "
            f"{FEWEST + k} are needed: ask more, or take several tasks together (--pool)"
        )
    if profiles < FEWEST + k:
        raise CrowdError(
            f"{profiles:.3g} profiles of people without an answer are too few; {FEWEST + k} are "
            "needed: give more (--profiles FILE), or average the answers there are (`crowdllm "
            "aggregate`)"
        )
    return people


def _narrowest(
    variance: np.ndarray, shared: np.ndarray, spread: np.ndarray, freedom: float
) -> tuple[np.ndarray, np.ndarray]:
    """(k,) the lambda that makes the interval narrowest, and (k,) the estimate's variance with it.

    Args:
      variance, spread: (k,) of the fit without a crowd, and of the bracket. shared: their
        covariance. freedom: degrees of freedom without a crowd.
    """
    useful = spread > 1e-12 * variance
    lam = np.where(useful, np.maximum(shared, 0) / np.where(useful, spread, 1.0), 0.0)
    # Choosing lambda makes the variance look smaller than it is, as a regressor would.
    price = freedom / (freedom - 1)
    powered = price * (variance - 2 * lam * shared + lam**2 * spread)
    return np.where(powered < variance, lam, 0.0), np.minimum(powered, variance)


def _share(rows: EstimationRows) -> np.ndarray:
    """(R,) the part each row has in the estimate: the same for every task, by weight within it."""
    total = np.bincount(rows.task, rows.weight)
    return np.asarray(rows.weight / total[rows.task] / np.count_nonzero(total))


def _effective_people(rows: EstimationRows) -> float:
    """Kish's effective number of people: (sum w)^2 / sum w^2 over each one's share."""
    if len(rows.person) == 0:
        return 0.0
    share = np.bincount(rows.person, _share(rows))
    return float(1 / (share**2).sum())


def _fit(rows: EstimationRows, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted least squares: (k,) coefficients, and (R, k) each row's influence on them.

    Tasks are fixed, so influences are relative to their task's mean. They are scaled up by the
    people's leverage, for a fit runs close to what it was fitted to: for one task their squares sum
    to the variance known as HC2 (MacKinnon & White 1985), of a mean the usual one; of several tasks
    that everybody answers to CR2 (Bell & McCaffrey 2002), but for the tasks' means.
    """
    share = _share(rows)
    z = rows.columns
    gram = z.T @ (share[:, None] * z)
    scale = np.sqrt(np.diag(gram))
    if not (scale > 0).all() or np.linalg.cond(gram / np.outer(scale, scale)) > 1e10:
        raise CrowdError(
            "the columns cannot be told apart: somebody of every kind must be among "
            "the people, and no column may follow from the others"
        )
    beta = np.linalg.solve(gram, z.T @ (share * target))
    score = share[:, None] * z * (target - z @ beta)[:, None]
    total = np.bincount(rows.task, share)
    of_task = share / total[rows.task]
    mean = np.stack([np.bincount(rows.task, column) for column in score.T], axis=1)
    score -= of_task[:, None] * mean[rows.task]
    # A person's rows have the same columns, so the fit runs as close to all of them together.
    own = np.bincount(rows.person, share * (z * np.linalg.solve(gram, z.T).T).sum(1))
    leverage = np.maximum(own[rows.person], of_task)
    if leverage.max() > 1 - 1e-6:
        raise CrowdError(
            "a coefficient, or a task, rests on a single person, who does not tell how far "
            "people differ"
        )
    return beta, np.linalg.solve(gram, score.T).T / np.sqrt(1 - leverage)[:, None]


def _by_person(person: np.ndarray, influence: np.ndarray, size: int) -> np.ndarray:
    """(people, k) influences summed over each person's rows."""
    return np.stack([np.bincount(person, column, size) for column in influence.T], axis=1)
