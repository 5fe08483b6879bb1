"""How often, in times a day, a week, a month or a year: `Daily`, `2-3 times a week`, `Never`."""

import re
from collections.abc import Sequence

from crowdllm_jax.study.draft.word_lists import folded

_A_YEAR = {"day": 365.0, "week": 52.0, "month": 12.0, "year": 1.0, "hour": 8760.0}
_COUNT = {
    word: count
    for count, words in {
        1.0: "once one a single every each",
        2.0: "twice two couple",
        3.0: "three thrice few",
        3.5: "several multiple many",
        4.0: "four",
        5.0: "five",
        6.0: "six",
        7.0: "seven",
    }.items()
    for word in words.split()
}
_ALWAYS = {
    "never": 0.0,
    "not at all": 0.0,
    "never or almost never": 0.1,
    "hardly ever": 0.2,
    "daily": 365.0,
    "weekly": 52.0,
    "fortnightly": 26.0,
    "biweekly": 26.0,
    "monthly": 12.0,
    "quarterly": 4.0,
    "yearly": 1.0,
    "annually": 1.0,
    "almost daily": 300.0,
    "nearly every day": 300.0,
    "almost every day": 300.0,
    "most days": 280.0,
}
_N = rf"(?:\d+|{'|'.join(_COUNT)})"
_RATE = re.compile(
    rf"(?P<bound>less than|fewer than|under|more than|over|at least|about|up to)? ?(?:a )?"
    rf"(?P<low>{_N})(?:(?: (?:or|to|and|a|bis))? (?P<high>{_N}))?(?P<more> or more)?"
    r"(?: ?(?:times?|x|days|of))?(?P<beyond> or more)?(?: (?:a|an|per|each|every|in a))? "
    r"(?P<unit>day|week|month|year|hour)s?(?: or (?P<end>more|less)(?: often)?)?"
)
_EVERY = re.compile(r"every (?P<other>other |second |few )?(?P<unit>day|week|month|year)s?")
FEWEST = 3


def rates(texts: Sequence[str]) -> list[float] | None:
    """About how often in a year each text says; None unless all tell, and no two the same, of
    several units (those of one are bands of numbers)."""
    found = [_rate(folded(text)) for text in texts]
    known = [rate for rate in found if rate is not None]
    apart = len(known) == len(found) == len(set(known)) >= FEWEST
    return known if apart and max(known) > 1 else None


def _rate(word: str) -> float | None:
    if word in _ALWAYS:
        return _ALWAYS[word]
    if (every := _EVERY.fullmatch(word)) is not None:
        return _A_YEAR[every["unit"]] / {"few ": 3.0, None: 1.0}.get(every["other"], 2.0)
    bound = re.match(r"(less|more) than (daily|weekly|monthly|yearly)", word)
    if bound is not None and bound.end() == len(word):
        return _ALWAYS[bound[2]] * (0.9 if bound[1] == "less" else 1.1)
    match = _RATE.fullmatch(word)
    if match is None:
        return None
    low, high = (_number(match[part]) for part in ("low", "high"))
    mean = low if high == 0 else (low + high) / 2
    below = match["bound"] in ("less than", "fewer than", "under") or match["end"] == "less"
    beyond = match["bound"] in ("more than", "over", "at least") or match["end"] == "more"
    beyond = beyond or bool(match["more"] or match["beyond"])
    return mean * _A_YEAR[match["unit"]] * (0.9 if below else 1.1 if beyond else 1.0)


def _number(text: str | None) -> float:
    return 0.0 if text is None else _COUNT.get(text) or float(text)
