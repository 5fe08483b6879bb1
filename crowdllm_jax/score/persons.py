"""Whether agents differ from each other as people do, each from their own answers.

personal_sd is the standard deviation of personal means; personal_wd the Wasserstein distance
between people's and agents' personal means; icc the one-way intra-class correlation ICC(1) of
answers within a person (Shrout & Fleiss 1979). Agents answer the very tasks that people answered,
so that both sides have the same design; a person counts by survey weight, and so do the agents in
that person's place. In a study of several scales answers are mapped to [0, 1].
"""

import numpy as np
from scipy.stats import wasserstein_distance

from crowdllm_jax.score.asked import means
from crowdllm_jax.score.bootstrap import FEWEST, Measures, interval
from crowdllm_jax.score.held_out import Humans

PERSON_METRICS = ("personal_sd", "personal_wd", "icc")

TIMES = 200
"""Resamples of people."""

AnswerTriples = tuple[np.ndarray, np.ndarray, np.ndarray]


def in_peoples_places(humans: Humans, values: np.ndarray) -> list[AnswerTriples]:
    """Let agents answer the tasks that people answered: agent j in the place of person j mod H.

    Whoever is not asked such a task answers, in its place, as the average of those who are: that
    neither sets agents apart nor makes them alike beyond what the others' answers do.

    Returns:
      one (person, task, value) triple of (R,) arrays per round of agents, up to 20 rounds.
    """
    rounds = max(1, min(20, len(values) // humans.people))
    mean, triples = means(values), []
    for r in range(rounds):
        agent = (r * humans.people + humans.person) % len(values)
        value = values[agent, humans.task].astype(float)
        value = np.where(np.isnan(value), mean[humans.task], value)
        triples.append((humans.person, humans.task, value))
    return triples


def personal(humans: Humans, answers: AnswerTriples) -> AnswerTriples:
    """(people,) number of answers, sum of squares, and mean of each person's answers."""
    person, task, value = answers
    if len(humans.support) > 1:
        value = humans.as_share(value, task)
    n = np.bincount(person, minlength=humans.people)
    square = np.bincount(person, value**2, humans.people)
    return n, square, np.bincount(person, value, humans.people) / n


def person_scores(
    humans: Humans, rounds: list[AnswerTriples]
) -> tuple[Measures, Measures, Measures]:
    """personal_sd, personal_wd and icc averaged over rounds, with an interval over people."""
    people = personal(humans, (humans.person, humans.task, humans.value))

    n = humans.people
    nothing = dict.fromkeys(PERSON_METRICS, float("nan"))
    if n < 2 or humans.shares:
        return nothing, nothing, nothing
    random = np.random.default_rng(1)
    point = compare_people(people, rounds, humans.weight, np.arange(n))
    if n < FEWEST:
        return point, nothing, nothing
    draws = [
        compare_people(people, rounds, humans.weight, random.integers(0, n, n))
        for _ in range(TIMES)
    ]
    bounds = {
        name: interval([draw[name] for draw in draws], point[name]) for name in PERSON_METRICS
    }
    low, high = ({name: bounds[name][end] for name in PERSON_METRICS} for end in (0, 1))
    return point, low, high


def compare_people(
    people: AnswerTriples, rounds: list[AnswerTriples], weight: np.ndarray, rows: np.ndarray
) -> dict[str, float]:
    """The person measures over some people (rows of what `personal` gives), averaged over rounds
    of agents.

    Args:
      weight: (people,) survey weights.
    """
    w = weight[rows]
    sd = np.mean([weighted_sd(mean[rows], w) for _, _, mean in rounds])
    icc = [intra_class(n[rows], square[rows], mean[rows], w) for n, square, mean in rounds]
    defined = np.isfinite(icc)
    agents = np.concatenate([mean[rows] for _, _, mean in rounds])
    apart = wasserstein_distance(agents, people[2][rows], np.tile(w, len(rounds)), w)
    return {
        "personal_sd": float(sd),
        "personal_wd": float(apart),
        "icc": float(np.mean(np.array(icc)[defined])) if defined.any() else float("nan"),
    }


def weighted_sd(values: np.ndarray, weight: np.ndarray) -> float:
    """Standard deviation of independent values; its square is unbiased whatever the weights."""
    total = weight.sum()
    mean = (weight * values).sum() / total
    freedom = total - (weight**2).sum() / total
    return float(np.sqrt((weight * (values - mean) ** 2).sum() / freedom))


def intra_class(
    n: np.ndarray, square: np.ndarray, mean: np.ndarray, weight: np.ndarray | None = None
) -> float:
    """ICC(1) of an unbalanced one-way layout from each person's n, sum of squares and mean.

    With weights, the weighted mean squares over what they are expected to be: the variance within
    persons and that between them stay unbiased. NaN of one person alone, where each answers once
    (which says nothing of how alike a person's answers are), or where no answer differs.
    """
    w = np.ones(len(n)) if weight is None else weight
    people, total = w.sum(), (w * n).sum()
    if len(n) < 2 or n.sum() == len(n):
        return float("nan")
    freedom = people - (w**2 * n).sum() / total
    grand = (w * n * mean).sum() / total
    between = (w * n * (mean - grand) ** 2).sum() / freedom
    squares = (w * square).sum()
    within = (squares - (w * n * mean**2).sum()) / (total - people)
    size = (total - (w**2 * n**2).sum() / total) / freedom
    spread = between + (size - 1) * within
    return float((between - within) / spread) if spread > 1e-12 * squares / total else float("nan")
