"""Models of persons that twins have to match: each forecasts answers from known answers.

Numbers are standardised within tasks where a rival needs it. All choose their penalty (and rank) by
known answers that they leave out first (`tuned`), then use all known answers.
"""

import itertools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.stats import norm, rankdata
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge

SPARED = 0.1
"""Share of the known answers that penalties are chosen by."""


class Answers(NamedTuple):
    """(R,) whose answer to what: person, task, and value."""

    person: np.ndarray
    task: np.ndarray
    value: np.ndarray

    def some(self, rows: np.ndarray) -> "Answers":
        return Answers(*(column[rows] for column in self))


def tuned(
    forecast: Callable[[Answers, Answers, Any], np.ndarray],
    settings: Iterable[Any],
    known: Answers,
    asked: Answers,
    seed: int = 0,
) -> tuple[np.ndarray, Any]:
    """A rival's forecast of the answers asked for, under the setting that forecasts known answers
    best that are left out; and that setting."""
    spared = np.random.default_rng([seed, 11]).random(len(known.value)) < SPARED
    fit, check = known.some(~spared), known.some(spared)

    def error(setting: Any) -> float:
        return float(((forecast(fit, check, setting) - check.value) ** 2).mean())

    best = min(settings, key=error)
    return forecast(known, asked, best), best


def biases(known: Answers, shape: tuple[int, int], strength: float) -> tuple[float, list]:
    """Mean, and shrunken biases of people and tasks, fitted in turn."""
    mean = float(known.value.mean())
    groups, effect = (known.person, known.task), [np.zeros(n) for n in shape]
    for _ in range(20):
        for this, other in ((1, 0), (0, 1)):
            rest = known.value - mean - effect[other][groups[other]]
            count = np.bincount(groups[this], minlength=shape[this])
            effect[this] = np.bincount(groups[this], rest, shape[this]) / (count + strength)
    return mean, effect


def bias_forecast(shape: tuple[int, int]) -> Callable[[Answers, Answers, float], np.ndarray]:
    """Task and person bias."""

    def forecast(known: Answers, asked: Answers, strength: float) -> np.ndarray:
        mean, (of_person, of_task) = biases(known, shape, strength)
        return mean + of_person[asked.person] + of_task[asked.task]

    return forecast


ALS_GRID = tuple(itertools.product((5.0,), (2, 5, 10, 20), (3.0, 6.0, 10.0, 20.0)))
BIAS_GRID = ((2.0, 0, 1.0), (5.0, 0, 1.0), (10.0, 0, 1.0))
SVD_BY_DESCENT_GRID = tuple(itertools.product((20, 100), (0.05, 0.1), (30, 60)))
SVDPP_GRID = tuple(itertools.product((20,), (0.02, 0.05, 0.1), (20, 40)))
SVD_GRID = tuple(itertools.product((5.0,), (8.0, 12.0, 20.0)))


def als_forecast(
    shape: tuple[int, int], rounds: int = 15
) -> Callable[[Answers, Answers, tuple], np.ndarray]:
    """Alternating least squares on what biases leave (Hu, Koren & Volinsky 2008, explicit)."""

    def forecast(known: Answers, asked: Answers, setting: tuple) -> np.ndarray:
        strength, rank, penalty = setting
        mean, (of_person, of_task) = biases(known, shape, strength)
        rest = known.value - mean - of_person[known.person] - of_task[known.task]
        p, q = als(known.person, known.task, rest, shape, rank, penalty, rounds)
        base = mean + of_person[asked.person] + of_task[asked.task]
        return base + (p[asked.person] * q[asked.task]).sum(1)

    return forecast


def als(
    row: np.ndarray,
    column: np.ndarray,
    value: np.ndarray,
    shape: tuple[int, int],
    rank: int,
    penalty: float,
    rounds: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Factors (n, rank) and (m, rank) of a sparse matrix, each a ridge regression on the other."""
    random = np.random.default_rng(0)
    factors = [0.1 * random.normal(size=(n, rank)) for n in shape]
    groups = (row, column)
    order = [np.argsort(g, kind="stable") for g in groups]
    ends = [
        np.searchsorted(g[o], np.arange(n + 1))
        for g, o, n in zip(groups, order, shape, strict=True)
    ]
    for _ in range(rounds):
        for this, other in ((1, 0), (0, 1)):
            for one in range(shape[this]):
                cells = order[this][ends[this][one] : ends[this][one + 1]]
                x = factors[other][groups[other][cells]]
                gram = x.T @ x + penalty * np.eye(rank)
                factors[this][one] = np.linalg.solve(gram, x.T @ value[cells])
    return factors[0], factors[1]


def svd_forecast(
    shape: tuple[int, int], rounds: int = 25
) -> Callable[[Answers, Answers, tuple], np.ndarray]:
    """Soft-thresholded SVD of what biases leave, empty cells filled in turn (Mazumder, Hastie &
    Tibshirani 2010)."""

    def forecast(known: Answers, asked: Answers, setting: tuple) -> np.ndarray:
        strength, threshold = setting
        mean, (of_person, of_task) = biases(known, shape, strength)
        rest = known.value - mean - of_person[known.person] - of_task[known.task]
        filled = np.zeros(shape)
        for _ in range(rounds):
            filled[known.person, known.task] = rest
            u, s, v = np.linalg.svd(filled, full_matrices=False)
            s = (s - threshold).clip(0)
            filled = (u[:, s > 0] * s[s > 0]) @ v[s > 0]
        base = mean + of_person[asked.person] + of_task[asked.task]
        return base + filled[asked.person, asked.task]

    return forecast


def surprise_forecast(name: str) -> Callable[[Answers, Answers, tuple], np.ndarray]:
    """Matrix factorisation by stochastic gradient descent, as scikit-surprise has it: SVD (Funk
    2006) or SVDpp (Koren 2008); settings are factors, penalty and epochs."""
    import surprise

    def forecast(known: Answers, asked: Answers, setting: tuple) -> np.ndarray:
        factors, penalty, epochs = setting
        model = getattr(surprise, name)(
            n_factors=factors, reg_all=penalty, n_epochs=epochs, random_state=0
        )
        table = pd.DataFrame({"person": known.person, "task": known.task, "value": known.value})
        ends = (float(known.value.min()), float(known.value.max()))
        data = surprise.Dataset.load_from_df(table, surprise.Reader(rating_scale=ends))
        model.fit(data.build_full_trainset())
        pairs = zip(asked.person, asked.task, strict=True)
        return np.array([model.predict(person, task).est for person, task in pairs])

    return forecast


def fold_in(
    trained: Answers, shape: tuple[int, int], count: int, grid: Iterable[tuple]
) -> Callable[[Answers, Answers], np.ndarray]:
    """Forecasts of new people's answers from so many known ones: a bias and factors by ridge
    regression on the tasks' (rank 0: a bias alone). The setting is chosen by training people who
    are taken for new ones."""

    def forecast(train: Answers, known: Answers, asked: Answers, setting: tuple) -> np.ndarray:
        strength, rank, penalty = setting
        mean, (of_person, of_task) = biases(train, shape, strength)
        rest = train.value - mean - of_person[train.person] - of_task[train.task]
        q = np.zeros((shape[1], rank))
        if rank:
            _, q = als(train.person, train.task, rest, shape, rank, penalty, rounds=15)
        rest = known.value - mean - of_task[known.task]
        out = mean + of_task[asked.task]
        for one in np.unique(asked.person):
            own, wanted = known.person == one, asked.person == one
            bias = rest[own].sum() / (own.sum() + strength)
            x = q[known.task[own]]
            p = np.linalg.solve(x.T @ x + penalty * np.eye(rank), x.T @ (rest[own] - bias))
            out[wanted] += bias + q[asked.task[wanted]] @ p
        return out

    random = np.random.default_rng(13)
    people = np.unique(trained.person)
    spared = np.isin(trained.person, random.permutation(people)[: len(people) // 10])
    inner, check = trained.some(~spared), trained.some(spared)
    order = np.lexsort((random.random(len(check.person)), check.person))
    begin = np.searchsorted(check.person[order], check.person[order])
    first = np.zeros(len(order), bool)
    first[order] = np.arange(len(order)) - begin < count
    known, asked = check.some(first), check.some(~first)

    def error(setting: tuple) -> float:
        return float(((forecast(inner, known, asked, setting) - asked.value) ** 2).mean())

    best = min(grid, key=error)
    return lambda known, asked: forecast(trained, known, asked, best)


def ridge(known: np.ndarray, train: np.ndarray, task: int, more: np.ndarray, penalty: float):
    """A task's answers from all others' (P, T) standardised, empty ones at their mean, and from
    more columns (P, D): scikit-learn's."""
    own = np.flatnonzero(train & np.isfinite(known[:, task]))
    x = np.column_stack([np.nan_to_num(np.delete(known, task, axis=1)), more])
    fitted = Ridge(alpha=penalty).fit(x[own], known[own, task])
    return fitted.predict(x)


def multinomial(x: np.ndarray, level: np.ndarray, strength: float, levels: int):
    """(people) -> (people, levels) chances: scikit-learn's logistic regression."""
    fitted = LogisticRegression(C=strength, max_iter=500).fit(x, level)

    def chances(new: np.ndarray) -> np.ndarray:
        out = np.zeros((len(new), levels))
        out[:, fitted.classes_.astype(int)] = fitted.predict_proba(new)
        return out

    return chances


def copula(known: np.ndarray, train: np.ndarray, given: np.ndarray, asked: np.ndarray):
    """(P, A) expected normal scores of tasks `asked` from those of `given`: normal scores within
    tasks, their correlations (over pairs) shrunk by a tenth, and the conditional normal's mean."""
    scores = np.zeros(known.shape)
    for task in range(known.shape[1]):
        own = np.isfinite(known[:, task])
        place = rankdata(known[train & own, task])
        at = np.searchsorted(np.sort(known[train & own, task]), known[own, task], side="right")
        at_left = np.searchsorted(np.sort(known[train & own, task]), known[own, task], side="left")
        scores[own, task] = norm.ppf(((at + at_left) / 2 + 0.5) / (len(place) + 1))
    r = 0.9 * np.corrcoef(scores[train].T) + 0.1 * np.eye(known.shape[1])
    return scores[:, given] @ np.linalg.solve(r[np.ix_(given, given)], r[np.ix_(given, asked)])


def option_words(options: list[list[str]], levels: int) -> np.ndarray:
    """(T, levels, D) words (and runs of up to three) of each task's options, and which of how many
    the option is; centred within tasks, 0 beyond a task's own."""
    size = np.array([len(own) for own in options])
    texts = [(t, k, text) for t, own in enumerate(options) for k, text in enumerate(own)]
    words = TfidfVectorizer(ngram_range=(1, 3), min_df=3, token_pattern=r"[A-Za-z']+")
    found = words.fit_transform([text for _, _, text in texts]).toarray()
    place = np.zeros((len(options), levels, found.shape[1] + levels * levels))
    for (task, level, _), row in zip(texts, found, strict=True):
        place[task, level, : found.shape[1]] = row
        place[task, level, found.shape[1] + (size[task] - 1) * levels + level] = 1.0
    exists = (np.arange(levels) < size[:, None])[..., None]
    return (place - place.sum(1, keepdims=True) / size[:, None, None]) * exists


def pool_columns(probs: np.ndarray, exists: np.ndarray) -> np.ndarray:
    """(T, K, E + 1) what E forecasts (T, K, E) say of options, centred within tasks: logarithms,
    and their mean, sized so that one penalty suits both and words."""
    size, own = exists.sum(1)[:, None, None], exists[..., None]

    def centred(x: np.ndarray) -> np.ndarray:
        x = x * own
        return (x - x.sum(1, keepdims=True) / size) * own

    mean = centred(probs.mean(2, keepdims=True))
    return np.concatenate([0.3 * centred(np.log(probs + 0.005)), 2 * mean], axis=2)


def rotated(x: np.ndarray, exists: np.ndarray) -> np.ndarray:
    """Columns (T, K, D) turned to as few as say the same; a penalised fit does not change by it."""
    u, s, _ = np.linalg.svd(x[exists], full_matrices=False)
    kept = s > 1e-9 * s[0]
    out = np.zeros((*x.shape[:2], kept.sum()))
    out[exists] = (u * s)[:, kept]
    return out


def log_linear(
    x: np.ndarray, share: np.ndarray, exists: np.ndarray, train: np.ndarray, penalty: float = 1.0
) -> np.ndarray:
    """(T, K) chances from columns of options (T, K, D), fitted to the shares of some tasks by
    penalised likelihood (scipy's L-BFGS)."""

    def chances(slope: np.ndarray, rows: np.ndarray) -> np.ndarray:
        logit = np.where(exists[rows], x[rows] @ slope, -1e9)
        rate = np.exp(logit - logit.max(1, keepdims=True)) * exists[rows]
        return rate / rate.sum(1, keepdims=True)

    def loss(slope: np.ndarray) -> tuple[float, np.ndarray]:
        p = chances(slope, train)
        likely = (share[train] * np.log(p + 1e-12)).sum()
        gradient = np.einsum("tk,tkd->d", p - share[train], x[train])
        return penalty / 2 * (slope**2).sum() - likely, gradient + penalty * slope

    slope = minimize(loss, np.zeros(x.shape[2]), jac=True, method="L-BFGS-B").x
    return chances(slope, np.ones(len(x), bool))


def cross_fitted(
    x: np.ndarray, share: np.ndarray, exists: np.ndarray, held: np.ndarray, folds: int = 5
) -> np.ndarray:
    """(T, K) chances of every task from a regression that has not seen it: of the tasks held out,
    from all others; of these, from four fifths of them."""
    out = log_linear(x, share, exists, ~held)
    part = np.random.default_rng(0).permutation(len(x)) % folds
    for one in range(folds):
        out[~held & (part == one)] = log_linear(x, share, exists, ~held & (part != one))[
            ~held & (part == one)
        ]
    return out
