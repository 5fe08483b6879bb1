"""A language model's answers as records."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crowdllm_jax.backbone.questions import Question, shorten
from crowdllm_jax.errors import CrowdWarning

LOW_MASS = 0.5  # below it the model mostly answers something else: the caller is warned


@dataclass(frozen=True)
class Answer:
    """A reference decision for one question: the options' probabilities (summing to 1), the mass
    they held before that, and the task's embedding (float32) where the source has one."""

    probs: tuple[float, ...]
    mass: float
    method: str = "logprobs"
    embedding: np.ndarray | None = None


@dataclass(frozen=True)
class Scored:
    """Reference decisions of T questions, in their order.

    Attributes:
        probs: (T, K) float32, rows sum to 1, zero beyond a question's own options.
        mass: (T,) float32, the probability that the model answers with one of the options at all.
        mean: (T,) float32, the expected value.
        embedding: (T, D) float32, or None when the source gives none.

    A question without an answer has NaN in its whole row: nothing is made up.
    """

    probs: np.ndarray
    mass: np.ndarray
    mean: np.ndarray
    embedding: np.ndarray | None


def assemble(questions: Sequence[Question], answers: Sequence[Answer | None]) -> Scored:
    """Stack answers (None where there is none) into arrays."""
    T, K = len(questions), max((len(q.options) for q in questions), default=0)
    probs = np.zeros((T, K), np.float32)
    mass, mean = np.full(T, np.nan, np.float32), np.full(T, np.nan, np.float32)
    for t, (question, answer) in enumerate(zip(questions, answers, strict=True)):
        if answer is None:
            probs[t] = np.nan
            continue
        probs[t, : len(answer.probs)] = answer.probs
        mass[t], mean[t] = answer.mass, np.dot(answer.probs, question.values)
    known = [a.embedding for a in answers if a is not None]
    width = next((e.size for e in known if e is not None), None)
    if width is None:
        return Scored(probs, mass, mean, None)
    embedding = np.full((T, width), np.nan, np.float32)
    for t, answer in enumerate(answers):
        if answer is not None and answer.embedding is not None:
            embedding[t] = answer.embedding
    return Scored(probs, mass, mean, embedding)


def warn_low_mass(questions: Sequence[Question], scored: Scored, whose: str) -> None:
    """Warn of questions, blank ones aside, whose options hold less than LOW_MASS of the probability
    of the model, which is called `whose`: a name, or a path to one."""
    asked = np.array([not q.blank for q in questions], bool)
    low = np.flatnonzero(asked & (scored.mass < LOW_MASS))
    if low.size:
        worst = int(low[scored.mass[low].argmin()])
        warnings.warn(
            f"{Path(whose).name}: {low.size} of {asked.sum()} questions: the options hold less "
            f"than {LOW_MASS:.0%} of the model's probability (lowest {scored.mass[worst]:.2g}, "
            f"{shorten(questions[worst].text)!r}); the model would rather say something else, "
            "so change the prompt or the model",
            CrowdWarning,
            stacklevel=3,
        )
