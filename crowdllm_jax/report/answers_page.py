"""One self-contained HTML page about a run that holds answers out: how well twins predict them."""

import math
from dataclasses import dataclass

from crowdllm_jax.model.cvae.fit import Losses
from crowdllm_jax.report import figures
from crowdllm_jax.report.headings import HEADINGS, MODELS
from crowdllm_jax.report.page import scoreboard, template, untold
from crowdllm_jax.score.answers import ANSWER_METRICS
from crowdllm_jax.score.held_out import Humans
from crowdllm_jax.score.metrics import Score
from crowdllm_jax.study.describe import describe
from crowdllm_jax.study.records import Study


@dataclass(frozen=True)
class AnswersReport:
    """What the page is about.

    Attributes:
      config: the whole configuration, as YAML.
      humans: all that was held out with the first seed.
      losses: of the fitted model. facts: versions and fingerprints to show.
    """

    study: Study
    config: str
    scores: list[Score]
    humans: Humans
    losses: dict[str, Losses]
    facts: dict[str, str]


def render_answers(run: AnswersReport) -> str:
    """The page."""
    humans = run.humans
    return template("answers_page.html").render(
        study=run.study.name,
        description=describe(run.study),
        held_out=f"{len(humans.value):,} answers of {humans.people:,} people to "
        f"{len(humans.tasks):,} tasks",
        folds=run.facts.get("held_out"),
        seeds=len({score.seed for score in run.scores}),
        short=headline(run.scores),
        board=[(MODELS[model], model, row) for model, row in scoreboard(run.scores)],
        headings={metric: HEADINGS[metric] for metric in ANSWER_METRICS},
        untold=untold(run.scores),
        weighted=humans.weighted,
        curves=figures.curves(run.losses),
        config=run.config,
        facts=run.facts,
    )


def headline(scores: list[Score]) -> str:
    """What knowing a person's answers brings, in one sentence."""
    value, low, high = dict(scoreboard(scores))["twin"]["gain"]
    seeds = len({score.seed for score in scores})
    if seeds > 1:
        return (
            f"The RPS of twins' held-out answers is {abs(value):.1%} "
            f"{'lower' if value > 0 else 'higher'} (± {high - value:.1%}, one standard deviation "
            f"over {seeds} seeds) than by the bias of the task and of the person."
        )
    if math.isnan(low) or low <= 0 <= high:
        sure = "too few to tell how surely" if math.isnan(low) else f"{low:+.1%} to {high:+.1%}"
        return (
            "Twins predict held-out answers about as well as the bias of the task and of the "
            f"person does (RPS {-value:+.1%}; gain {sure})."
        )
    kind = "lower" if value > 0 else "higher"
    ends = sorted((abs(low), abs(high)))
    return (
        f"The RPS of twins' held-out answers is {abs(value):.1%} {kind} (between {ends[0]:.1%} and "
        f"{ends[1]:.1%}) than by the bias of the task and of the person."
    )
