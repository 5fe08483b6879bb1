"""One self-contained HTML page about a run that holds answers out: how well twins predict them."""

import math
from dataclasses import dataclass

import numpy as np

from crowdllm_jax.model.cvae.fit import Losses
from crowdllm_jax.report.glossary import ANSWERS
from crowdllm_jax.report.headings import HEADINGS, MODELS
from crowdllm_jax.report.page import Board, everywhere, scoreboard, template, untold
from crowdllm_jax.score.answers import ANSWER_METRICS
from crowdllm_jax.score.held_out import Humans
from crowdllm_jax.score.metrics import Score
from crowdllm_jax.score.part_worths import PartWorth
from crowdllm_jax.study.records import Study

PLAIN = {
    "twin": "Twins",
    "task_person": "Question + person average",
    "task_marginal": "Question's average",
    "marginal": "All answers, pooled",
    "uniform": "Any answer alike",
}
"""What predictions are called in the chart."""


@dataclass(frozen=True)
class AnswersReport:
    """What the page is about.

    Attributes:
      config: the whole configuration, as YAML.
      humans: all that was held out with the first seed.
      losses: of the fitted model. facts: versions and fingerprints to show.
      worths: of what describes options; empty where nothing does.
    """

    study: Study
    config: str
    scores: list[Score]
    humans: Humans
    losses: dict[str, Losses]
    facts: dict[str, str]
    worths: list[PartWorth]


def render_answers(run: AnswersReport) -> str:
    """The page."""
    humans, board = run.humans, scoreboard(run.scores)
    return template("answers_page.html").render(
        **everywhere(run.study, run.scores, run.config, run.facts, run.losses),
        sections=[
            ("message", "How good predictions are"),
            ("scorecard", "Held-out answers"),
            *([("worths", "What options are worth")] if run.worths else []),
            ("about", "How this was made"),
        ],
        worths=run.worths,
        held_out=f"{len(humans.value):,} answers of {humans.people:,} people to "
        f"{len(humans.tasks):,} questions",
        short=headline(run.scores),
        errors=errors(board),
        board=[(MODELS[model], model, row) for model, row in board],
        headings={metric: HEADINGS[metric] for metric in ANSWER_METRICS},
        explained={metric: HEADINGS[metric] for metric in ANSWER_METRICS},
        measures=ANSWERS,
        untold=untold(run.scores),
        weighted=humans.weighted,
    )


@dataclass(frozen=True)
class ErrorBar:
    """A prediction's mean error with the ends of its interval; `end` is where the axis ends."""

    label: str
    value: float
    low: float
    high: float
    end: float
    own: bool


def errors(board: Board) -> list[ErrorBar]:
    """The RPS of every prediction."""
    known = [(model, row["rps"]) for model, row in board if "rps" in row]
    end = max(float(np.nanmax(rps)) for _, rps in known)
    return [ErrorBar(PLAIN.get(m, MODELS[m]), *rps, end, m == "twin") for m, rps in known]


def headline(scores: list[Score]) -> str:
    """What knowing a person's answers brings, in one sentence."""
    value, low, high = dict(scoreboard(scores))["twin"]["gain"]
    seeds = len({score.seed for score in scores})
    than = "than that of the question's and the person's averages."
    if seeds > 1:
        return (
            f"The error of twins' predictions is {abs(value):.1%} "
            f"{'lower' if value > 0 else 'higher'} (± {high - value:.1%}, one standard deviation "
            f"over {seeds} seeds) {than}"
        )
    if math.isnan(low) or low <= 0 <= high:
        sure = "too few to tell how surely" if math.isnan(low) else f"{low:+.1%} to {high:+.1%}"
        return (
            "Twins predict held-out answers about as well as the question's and the person's "
            f"averages do (error {-value:+.1%}; gain {sure})."
        )
    kind = "lower" if value > 0 else "higher"
    ends = sorted((abs(low), abs(high)))
    return (
        f"The error of twins' predictions is {abs(value):.1%} {kind} (between {ends[0]:.1%} and "
        f"{ends[1]:.1%}) {than}"
    )
