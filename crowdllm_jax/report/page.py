"""One self-contained HTML page about a run: what it comes to, pictures, scores, provenance."""

import base64
import hashlib
import itertools
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import jinja2
import numpy as np

from crowdllm_jax.model.cvae.fit import Losses
from crowdllm_jax.report import figures
from crowdllm_jax.report.charts import (
    Chart,
    chart_of,
    groups_chart,
    leading,
    percent,
    said,
    table_of,
    way_of,
)
from crowdllm_jax.report.glossary import MEASURES, TERMS
from crowdllm_jax.report.headings import BOARD, HEADINGS, MODELS
from crowdllm_jax.report.scorecard import cost_of_trust, in_words, scorecard
from crowdllm_jax.report.shares import (
    FEWEST,
    Question,
    axis_end,
    best_known,
    closest_first,
    questions_of,
    typical,
)
from crowdllm_jax.score.correlations import items_of
from crowdllm_jax.score.diagnostics import TOO_FEW
from crowdllm_jax.score.effects import AttributeEffect
from crowdllm_jax.score.finding import Finding
from crowdllm_jax.score.groups import Group
from crowdllm_jax.score.held_out import Humans
from crowdllm_jax.score.metrics import Score
from crowdllm_jax.score.part_worths import PartWorth
from crowdllm_jax.study import scales
from crowdllm_jax.study.describe import describe
from crowdllm_jax.study.records import Study
from crowdllm_jax.study.statistics import kish
from crowdllm_jax.study.toplines import MOST_SURE

SHOWN, PICKED = 12, 4
"""Questions whose charts are all shown if there are no more; of more, so many of the closest and of
the furthest."""


Board = list[tuple[str, dict[str, tuple[float, float, float]]]]


def scoreboard(scores: list[Score]) -> Board:
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
      worths: of what describes options; empty where nothing does.
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
    worths: list[PartWorth]
    groups: list[Group]
    findings: list[Finding]
    facts: dict[str, str]


SECTIONS = {
    "message": "How near it comes",
    "short": "In short",
    "questions": "Question by question",
    "persons": "Persons",
    "worths": "What options are worth",
    "groups": "Groups",
    "scorecard": "Scorecard",
    "warnings": "Warnings",
    "about": "How this was made",
}
"""Parts of the page by their address in it."""


def render(run: ReportedRun) -> str:
    """The page."""
    study, humans, answers = run.study, run.humans, run.answers
    main, board = next(iter(run.losses)), scoreboard(run.scores)
    seeds = len({score.seed for score in run.scores})
    card, cost = scorecard(dict(board), main), cost_of_trust(dict(board), run.findings)
    items = items_of(humans)
    few = any(finding.name == TOO_FEW and finding.fires for finding in run.findings)
    skill = dict(board)[main].get("skill")
    empty = {"groups"} if not (run.groups or run.effects) else set()
    empty |= set() if run.worths else {"worths"}
    return template("page.html").render(
        **everywhere(run.study, run.scores, run.config, run.facts, run.losses),
        sections=[(id, name) for id, name in SECTIONS.items() if id not in empty],
        main=main,
        by=humans.by,
        held_out=_held_out(humans),
        agents=len(answers),
        board=[(MODELS[model], model, row) for model, row in board],
        headings={metric: HEADINGS[metric] for metric in BOARD},
        names=HEADINGS,
        measures=MEASURES,
        explained={metric: HEADINGS[metric] for metric in MEASURES},
        untold=untold(run.scores),
        weights=_weights(humans),
        card=card,
        few=few,
        way=None if few or skill is None else way_of(skill),
        words=[*in_words(card, run.findings, len(answers), seeds), *([cost] if cost else [])],
        **_questions(study, questions_of(study, humans, answers), few),
        means=figures.means(study, humans, answers),
        effects=run.effects,
        worths=run.worths,
        group_chart=groups_chart(run.groups) if run.groups else None,
        coherence=figures.coherence(humans, answers, items),
        compared=0 if items is None else int(items.compared.sum()),
        findings=run.findings,
        ballots=any(scales.is_ballot(scale) for scale in study.scales.values()),
    )


def everywhere(
    study: Study,
    scores: list[Score],
    config: str,
    facts: dict[str, str],
    losses: dict[str, Losses],
) -> dict[str, Any]:
    """What every page shows: the study, where its numbers come from, and what makes it move."""
    script = files("crowdllm_jax.report").joinpath("script.html").read_text(encoding="utf-8")
    body = script[script.index(">") + 1 : script.rindex("</script>")]
    digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
    return {
        "study": study.name,
        "description": describe(study),
        "folds": facts.get("held_out"),
        "seeds": len({score.seed for score in scores}),
        "config": config,
        "facts": facts,
        "curves": figures.curves(losses),
        "terms": TERMS,
        "script": script,
        # Nothing is loaded, and no other script runs, whatever the data hold.
        "policy": f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data:",
        "fresh": itertools.count(1).__next__,
        "percent": percent,
        "said": said,
    }


def _questions(study: Study, questions: list[Question], few: bool) -> dict[str, Any]:
    """The charts of questions that are shown at first, and what finds the others."""
    middle = typical(questions)
    ranked = closest_first(questions)
    number = len(questions)

    def drawn(some: list[Question]) -> list[tuple[Question, Chart]]:
        return [(question, chart_of(question)) for question in some]

    if few or number <= SHOWN or len(ranked) < 2 * PICKED:
        # Few people rank questions by luck.
        some = questions[:SHOWN] if few else (ranked or questions)[:SHOWN]
        how = "" if few or not ranked else "closest first"
        note = f"{len(some)} of {number:,} questions" if len(some) < number else ""
        picked = [("", ", ".join(filter(None, (note, how))).capitalize(), drawn(some))]
    else:
        known = best_known(ranked, 2 * PICKED)
        fewest = min(question.people for question in known)
        whose = f"Of the {len(known):,} questions that at least {fewest} people answered."
        beyond = [question for question in known[: -PICKED - 1 : -1] if question.excess > 0]
        picked = [
            ("Where the crowd comes closest", whose, drawn(known[:PICKED])),
            (
                "Where it is furthest off",
                "The furthest first. Of many questions some lie far off by chance."
                if beyond
                else "Nowhere further than by chance.",
                drawn(beyond),
            ),
        ]
    first_of = {question.scale: question for question in reversed(questions)}
    lead = leading(study, questions, middle)
    return {
        "lead": lead,
        "ballot": lead.title != middle.text,
        "top": axis_end(questions),
        "shares": questions,
        "distance": float(np.mean([question.distance for question in questions])),
        "chance": float(np.mean([question.chance for question in questions])),
        "picked": picked,
        "fewest": FEWEST,
        "templates": [(scale, chart_of(first_of[scale])) for scale in sorted(first_of)],
        "table": table_of(questions),
    }


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


def _held_out(humans: Humans) -> str:
    """What was held out, in words."""
    answers, people = f"{len(humans.value):,} answers", f"{humans.people:,} people"
    questions = f"{len(humans.tasks):,} questions"
    if humans.shares:
        return (
            f"{questions}, with published shares of their answers, each of which counts as "
            f"{MOST_SURE:.0f} people's at most, for a question in other words has other shares"
        )
    if humans.by == "tasks":
        return f"{questions}, with {answers} of {people}"
    return f"{people}, with {answers} to {questions}"


def _weights(humans: Humans) -> str:
    """What survey weights leave of the held-out people; empty where there are none."""
    if not humans.weighted:
        return ""
    return (
        f"People count by survey weight in every number and picture about them. The "
        f"{humans.people:,} held out say as much as {kish(humans.weight):,.0f} would who count "
        "alike (Kish)."
    )
