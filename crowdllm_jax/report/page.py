"""One self-contained HTML page about a run: scoreboard, pictures, provenance."""

from dataclasses import dataclass

import jinja2
import numpy as np

from crowdllm_jax.model.cvae.fit import Losses
from crowdllm_jax.profiles.raking import kish
from crowdllm_jax.report import figures
from crowdllm_jax.report.headings import BOARD, HEADINGS, MODELS
from crowdllm_jax.report.scorecard import cost_of_trust, in_words, scorecard
from crowdllm_jax.score.correlations import items_of
from crowdllm_jax.score.effects import AttributeEffect
from crowdllm_jax.score.finding import Finding
from crowdllm_jax.score.groups import Group
from crowdllm_jax.score.held_out import Humans
from crowdllm_jax.score.metrics import Score
from crowdllm_jax.study import scales
from crowdllm_jax.study.describe import describe
from crowdllm_jax.study.records import Study


def scoreboard(scores: list[Score]) -> list[tuple[str, dict[str, tuple[float, float, float]]]]:
    """Scores by model, in a fixed order.

    Returns:
      (model, {metric: (value, low, high)}): of one seed its value and 95% interval (NaN: none), of
      several their mean and the mean minus and plus one standard deviation. A measure that is not
      defined is left out; `untold` says why.
    """
    board, seeds = [], len({score.seed for score in scores})
    for model in MODELS:
        defined = [s for s in scores if s.model == model and not np.isnan(s.value)]
        row = {}
        for metric in HEADINGS:
            by_seed = [score for score in defined if score.metric == metric]
            values = np.array([score.value for score in by_seed])
            if by_seed and seeds == 1:
                row[metric] = (by_seed[0].value, by_seed[0].low, by_seed[0].high)
            elif by_seed:
                mean = float(values.mean())
                sd = float(values.std(ddof=1)) if len(values) > 1 else np.nan
                row[metric] = (mean, mean - sd, mean + sd)
        if row:
            board.append((model, row))
    return board


def untold(scores: list[Score]) -> dict[str, dict[str, str]]:
    """{model: {metric: what is not defined about it, and why}}."""
    reasons: dict[str, dict[str, str]] = {}
    seeds = len({score.seed for score in scores})
    for score in scores:
        by_seed = [s for s in scores if (s.model, s.metric) == (score.model, score.metric)]
        missing = [s for s in by_seed if np.isnan(s.value)]
        if len(missing) == len(by_seed):
            text = f"not defined ({score.why})"
        elif missing:
            text = f"not defined with {len(missing)} of {seeds} seeds ({missing[0].why})"
        elif score.why and seeds == 1:
            text = f"no interval ({score.why})"
        else:
            continue
        reasons.setdefault(score.model, {})[score.metric] = text
    return reasons


@dataclass(frozen=True, kw_only=True)
class ReportedRun:
    """What the page is about.

    Attributes:
      config: the whole configuration, as YAML.
      answers: (N, T) the crowd's answers to `humans.tasks`, in the scales' units.
      losses: per fitted model, its training and validation losses, the main model first.
      effects: what profiles do to the answers; empty where the model cannot say.
      groups: gaps between groups of people, and of agents; empty where there are no profiles.
      findings: of the diagnostics.
      facts: versions and fingerprints to show; where they hold `held_out`, `humans` and `answers`
        are of the first of several folds.
    """

    study: Study
    config: str
    scores: list[Score]
    humans: Humans
    answers: np.ndarray
    losses: dict[str, Losses]
    effects: list[AttributeEffect]
    groups: list[Group]
    findings: list[Finding]
    facts: dict[str, str]


def render(run: ReportedRun) -> str:
    """The page."""
    study, humans, answers = run.study, run.humans, run.answers
    main, board = next(iter(run.losses)), scoreboard(run.scores)
    card, cost = scorecard(dict(board), main), cost_of_trust(dict(board), run.findings)
    items = items_of(humans)
    return template("page.html").render(
        study=study.name,
        main=main,
        description=describe(study),
        by=humans.by,
        folds=run.facts.get("held_out"),
        held_out=f"{len(humans.tasks):,} tasks and {len(humans.value):,} answers of "
        f"{humans.people:,} people",
        agents=len(answers),
        seeds=len({score.seed for score in run.scores}),
        board=[(MODELS[model], model, row) for model, row in board],
        headings={metric: HEADINGS[metric] for metric in BOARD},
        names=HEADINGS,
        untold=untold(run.scores),
        weights=_weights(humans),
        card=card,
        words=[*in_words(card, run.findings, len(answers)), *([cost] if cost else [])],
        histograms=figures.histograms(study, humans, answers),
        means=figures.means(study, humans, answers),
        curves=figures.curves(run.losses),
        effects=run.effects,
        subgroups=figures.subgroups(run.groups) if run.groups else "",
        coherence=figures.coherence(humans, answers, items),
        compared=0 if items is None else int(items.compared.sum()),
        findings=run.findings,
        ballots=any(scales.is_ballot(scale) for scale in study.scales.values()),
        config=run.config,
        facts=run.facts,
    )


def template(name: str) -> jinja2.Template:
    """One of this folder's pages; whatever the data hold is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("crowdllm_jax.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(name)


def _weights(humans: Humans) -> str:
    """What survey weights leave of the held-out people; empty where there are none."""
    if not humans.weighted:
        return ""
    return (
        f"People count by survey weight in every number and picture about them. The "
        f"{humans.people:,} held out say as much as {kish(humans.weight):,.0f} would who count "
        "alike (Kish)."
    )
