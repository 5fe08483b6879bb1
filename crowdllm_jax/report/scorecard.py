"""One crowd's measures, each between its floors and its ceiling, and what they say in words."""

import math
from dataclasses import dataclass

from crowdllm_jax.report.headings import HEADINGS
from crowdllm_jax.score.diagnostics import TOO_FEW
from crowdllm_jax.score.finding import Finding
from crowdllm_jax.score.reference_signal import NAME as NO_SIGNAL

Value = tuple[float, float, float]
"""A value with the ends of its interval."""

HIGHER = ("skill", "cs", "ks", "accuracy", "regression_agreement")
MATCH = ("variance_ratio", "personal_sd", "icc")
"""Measures that are best at the people's value; all others but HIGHER are best at 0."""


@dataclass(frozen=True)
class Line:
    """One measure of the crowd.

    Attributes:
      best: "low", "high" or "match". crowd: its ends are NaN where it has no interval.
      ceiling: what people's own distributions would score.
      marginal, uniform: what the pooled training answers and even chances score; None if not told.
      way: the share of the way from the marginal floor to the ceiling; None where these do not
        lie apart in the right order.
    """

    metric: str
    heading: str
    best: str
    crowd: Value
    ceiling: Value | None
    marginal: Value | None
    uniform: Value | None
    way: float | None


def scorecard(board: dict[str, dict[str, Value]], main: str) -> list[Line]:
    """The scorecard of one of the crowds in a scoreboard."""
    lines = []
    for metric, heading in HEADINGS.items():
        if metric not in board[main]:
            continue
        ceiling, marginal, uniform = (
            board.get(model, {}).get(metric) for model in ("humans", "marginal", "uniform")
        )
        best = "high" if metric in HIGHER else "match" if metric in MATCH else "low"
        crowd = board[main][metric]
        way = None
        if ceiling and marginal:
            way = _way(best, crowd[0], ceiling[0], marginal[0])
        lines.append(Line(metric, heading, best, crowd, ceiling, marginal, uniform, way))
    return lines


def _way(best: str, crowd: float, ceiling: float, floor: float) -> float | None:
    if best == "match":
        # Both ends are distances from the people's value.
        crowd, floor, ceiling = abs(crowd - ceiling), abs(floor - ceiling), 0.0
    elif best == "high":
        crowd, floor, ceiling = -crowd, -floor, -ceiling
    return (floor - crowd) / (floor - ceiling) if floor - ceiling > 1e-6 else None


def headline(skill: Value | None, findings: list[Finding], seeds: int = 1) -> str:
    """How near the crowd comes to the people, next to what knowing nothing and another sample of
    people would give, in one sentence; or that these people are too few to tell.

    `diagnostics.too_few` says when they are. The ends of what several seeds say are a standard
    deviation off (`page.scoreboard`), which is no interval.
    """
    few = next((f for f in findings if f.name == TOO_FEW and f.fires), None)
    if few is not None:
        return f"Too few to tell how close the crowd comes: {few.detail.split(';')[0]}."
    if skill is None or math.isnan(skill[0]):
        return (
            "How close the crowd comes cannot be said: a crowd that answers every question alike "
            "is as close to these people as another sample of people would be."
        )
    value, low, high = skill
    if seeds > 1:
        return _over_seeds(value, high - value, seeds)
    told = low <= high
    surely = f"between {low:.0%} and {high:.0%}" if told else "too few to tell how surely"
    if told and high >= 1:
        return (
            "The crowd comes as close to the people as another sample of people would, as far as "
            f"these people can tell: {value:.0%} of the way ({surely}) from knowing nothing about "
            "the questions."
        )
    if told and high < 0:
        return (
            "The crowd is further from the people than knowing nothing about the questions: where "
            f"that is 0% and another sample of people 100%, it stands at {value:.0%} ({surely})."
        )
    if told and low <= 0:
        return (
            "The crowd comes no closer to the people than knowing nothing about the questions, as "
            f"far as these people can tell: {value:.0%} of the way ({surely}) from there to "
            "another sample of people."
        )
    return (
        f"The crowd goes {value:.0%} of the way ({surely}) from knowing nothing about the "
        "questions to another sample of people."
    )


def _over_seeds(value: float, sd: float, seeds: int) -> str:
    """The headline of several seeds: their mean, and how far a seed lies from it."""
    spread = f"± {sd:.0%}, one standard deviation over {seeds} seeds"
    if math.isnan(sd):
        spread = f"by one of {seeds} seeds"
    share = f"{value:.0%} of the way ({spread})"
    if value >= 1:
        return (
            "The crowd comes as close to the people as another sample of people would: it goes "
            f"{share} from knowing nothing about the questions."
        )
    if value <= 0:
        return (
            "The crowd comes no closer to the people than knowing nothing about the questions: it "
            f"goes {share} from there to another sample of people."
        )
    return (
        f"The crowd goes {share} from knowing nothing about the questions to another sample of "
        "people."
    )


def _ends(value: Value, seeds: int) -> tuple[float, float]:
    """Between what a measure lies: its interval, or, of several seeds, two standard deviations."""
    middle, low, high = value
    return (low, high) if seeds == 1 else (2 * low - middle, 2 * high - middle)


def cost_of_trust(board: dict[str, dict[str, Value]], findings: list[Finding]) -> str | None:
    """What the published model pays for its trust in a reference without signal, in words; None
    where there is no such reference or the model was not fitted with and without it."""
    if not any(one.name == NO_SIGNAL and one.fires for one in findings):
        return None
    trusting, without = (board.get(name, {}).get("rps") for name in ("cvae", "vae_only"))
    if trusting is None or without is None:
        return None
    gap = trusting[0] - without[0]
    return (
        "The reference says nothing of these questions that could be told. The published model "
        f"takes it as it is: its RPS is {trusting[0]:.3f} with it and {without[0]:.3f} without "
        f"({gap:+.3f})."
    )


def in_words(card: list[Line], findings: list[Finding], agents: int, seeds: int = 1) -> list[str]:
    """The scorecard in plain sentences."""
    by = {line.metric: line for line in card}
    skill = by.get("skill")
    words = [headline(skill.crowd if skill else None, findings, seeds)]
    rps = by.get("rps")
    undefined = skill is None or math.isnan(skill.crowd[0])
    if undefined and rps is not None and rps.marginal is not None:
        words.append(
            f"Its RPS is {rps.crowd[0]:.3f}, where that of a crowd that answers every question "
            f"alike is {rps.marginal[0]:.3f} (lower is closer)."
        )
    if any(finding.name == TOO_FEW and finding.fires for finding in findings):
        # What follows would rest on the same few.
        by = {}
    if (ratio := by.get("variance_ratio")) is not None:
        value, (low, high) = ratio.crowd[0], _ends(ratio.crowd, seeds)
        kind = "less than" if high < 1 else "more than" if low > 1 else "about as much as"
        spread = f"Its answers vary {kind} people's"
        if not low <= high:
            spread = "Too few to tell the spread"
        words.append(f"{spread} (ratio of variances {value:.2f}).")
    icc = by.get("icc")
    if icc is not None and icc.ceiling is not None:
        value, people = icc.crowd[0], icc.ceiling
        low, high = _ends(people, seeds)
        if not low <= high:
            kind = "Too few people to tell whether agents stay themselves across questions"
        elif value > high:
            kind = "Agents are more themselves across questions than people are"
        elif low <= 0:
            kind = "People's answers do not show, beyond chance, who gave them"
        elif value < low:
            kind = "Agents are less themselves across questions than people are"
        else:
            kind = "Agents stay themselves across questions as people do"
        words.append(f"{kind} (intra-class correlation {value:.2f}, people {people[0]:.2f}).")
    gaps = by.get("gap_error")
    if gaps is not None and gaps.marginal is not None:
        better = gaps.crowd[0] < gaps.marginal[0]
        words.append(
            f"Differences between groups of people are off by {gaps.crowd[0]:.1%} of the scale on "
            f"average; a crowd without any would be off by {gaps.marginal[0]:.1%}"
            + ("." if better else ": of groups, this crowd tells you nothing.")
        )
    speaking = [finding.name for finding in findings if finding.fires]
    words.append(
        f"{len(speaking)} of {len(findings)} checks of what can go wrong warn: "
        f"{', '.join(speaking)}."
        if speaking
        else f"None of {len(findings)} checks of what can go wrong warns."
    )
    words.append(
        f"{agents:,} agents were compared. More of them make smoother pictures, not better "
        "knowledge: for estimates about people use the command crowdllm infer."
    )
    return words
