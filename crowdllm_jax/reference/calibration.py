"""A model's leaning to some options, whatever it is asked, measured and divided out.

A language model gives the label "3", or whichever stands first, more than the task deserves. What
it answers with no content in the task's place is that leaning, and the probabilities are divided by
it and made to sum to 1 again:

- contextual: by the average over texts without content ("N/A", "[MASK]" and none at all; Zhao et
  al. 2021, https://arxiv.org/abs/2102.09690);
- pmi: by the probabilities behind the rest of the prompt alone, with nothing in the task's place
  (domain-conditional pointwise mutual information; Holtzman et al. 2021,
  https://arxiv.org/abs/2104.08315).

Each scale is measured by itself, and so is each order of its options. Personas' answers are divided
by what the model says as nobody: measured as the persona, what the persona answers to everything
would be divided out as well. A cache keeps the answers as they were given, to tasks and to texts
without content, so that another calibration asks at most the latter.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from crowdllm_jax.backbone.answers import Scored
from crowdllm_jax.backbone.questions import Question
from crowdllm_jax.errors import CrowdError

Calibration = Literal["none", "contextual", "pmi"]
CONTENT_FREE: dict[Calibration, tuple[str, ...]] = {
    "none": (),
    "contextual": ("N/A", "[MASK]", ""),
    "pmi": ("",),
}


def with_blanks(questions: Sequence[Question], calibration: Calibration) -> list[Question]:
    """The questions, and behind them what is asked without content to calibrate the answers."""
    kinds = {_kind(q): q for q in reversed(questions)}  # the first of each
    blanks = [
        replace(q, text="".join((q.frame[0], text, q.frame[1])), persona="", blank=True)
        for q in reversed(kinds.values())
        for text in CONTENT_FREE[calibration]
    ]
    return [*questions, *blanks]


def calibrated(questions: Sequence[Question], scored: Scored) -> Scored:
    """The answers to the questions that have content, divided by those that have none, if there are
    any; the mass stays what the options held.

    Raises:
      CrowdError: an option has no probability at all without content.
    """
    leaning = defaultdict(list)
    for question, probs in zip(questions, scored.probs, strict=True):
        if question.blank:
            leaning[_kind(question)].append(probs[: len(question.options)].astype(np.float64))
    asked = [t for t, question in enumerate(questions) if not question.blank]
    probs, mean = scored.probs[asked], scored.mean[asked]
    for row, t in enumerate(asked if leaning else ()):
        question, k = questions[t], len(questions[t].options)
        divided = probs[row, :k] / _average(question, leaning[_kind(question)])
        divided /= divided.sum()
        probs[row, :k], mean[row] = divided, np.dot(divided, question.values)
    embedding = None if scored.embedding is None else scored.embedding[asked]
    return Scored(probs, scored.mass[asked], mean, embedding)


def _average(question: Question, answers: Sequence[np.ndarray]) -> np.ndarray:
    average: np.ndarray = np.mean(answers, axis=0)
    if not average.all():
        option = question.options[int(average.argmin())]
        raise CrowdError(
            f"reference.calibration: with no content in the task's place the option {option!r} has "
            "a probability of 0, by which nothing can be divided; set it to none, or word the "
            "options otherwise"
        )
    return average


def _kind(question: Question) -> tuple[object, ...]:
    return question.options, question.frame
