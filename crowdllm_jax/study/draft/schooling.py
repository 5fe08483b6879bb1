"""How far somebody went to school, in order: from none to a doctorate."""

import re
from collections.abc import Sequence

_STEPS = (
    r"(none|no (formal )?(schooling|education|qualifications?)( completed)?|never attended.*)",
    r"(some|less than) (primary|elementary|grade) ?(school)?.*|nursery.*|kindergarten.*",
    r"(completed )?(primary|elementary|grade|grammar)( school| education)?( completed)?",
    r"(less than|lt|some|below|did not (complete|finish|graduate)|no) (high school|secondary|upper "
    r"secondary|hs)\b.*|(lower secondary|middle school|junior high)\b.*",
    r"(completed )?(high school|hs|secondary( school| education)?|upper secondary|ged|hs grad)\b"
    r".*",
    r"some (college|university|post ?secondary)\b.*|(trade|vocational|technical)\b.*|certificate",
    r"(associate|associates|2 year|two year|junior college|aa)\b.*",
    r"(completed )?(bachelor|bachelors|undergraduate|university|college|4 year|four year|ba|bs|"
    r"tertiary)\b.*",
    r"some (post ?graduate|graduate)\b.*",
    r"(master|masters|graduate|post ?graduate|ma|ms|mba|advanced)\b.*",
    r"(professional|md|jd)\b.*",
    r"(doctorate|doctoral|doctor|phd|ph d)\b.*",
)
"""A later step that fits a text is not looked at."""


def schooling(words: Sequence[str]) -> list[float] | None:
    """The steps that folded texts name; None where one is no step, or two are the same."""
    steps = [_step(word) for word in words]
    found = [step for step in steps if step is not None]
    named = sum(step > 0 for step in found)
    whole = len(found) == len(words) > 2 and len(set(found)) == len(found)
    return found if whole and named > 1 else None


def _step(word: str) -> float | None:
    plain = re.sub(r"\b(s|a|the|degree or equivalent)\b ?", "", word).strip()
    return next((float(i) for i, step in enumerate(_STEPS) if re.fullmatch(step, plain)), None)
