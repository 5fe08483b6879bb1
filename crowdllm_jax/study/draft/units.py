"""Units after numbers: answers in minutes and in hours are not in the order of their numbers."""

import re
from collections.abc import Sequence

_UNITS = {
    word: unit
    for unit, words in {
        "second": "second seconds sec secs s sekunde sekunden",
        "minute": "minute minutes min mins minuten",
        "hour": "hour hours hr hrs h stunde stunden std heure heures hora horas",
        "day": "day days d tag tage tagen jour jours día días",
        "week": "week weeks wk wks woche wochen semaine semaines semana semanas",
        "month": "month months mo mos monat monate monaten mois mes meses",
        "year": "year years yr yrs jahr jahre jahren an ans année années año años",
        "thousand": "k tsd thousand",
        "million": "m mio mn million millions millionen",
        "billion": "b bn mrd billion billions",
        "gram": "g gram grams gramm",
        "kilogram": "kg kilogram kilograms kilo kilos",
        "centimetre": "cm",
        "metre": "meter meters metre metres",
        "kilometre": "km kilometer kilometers",
    }.items()
    for word in words.split()
}
_MAGNITUDES = {"thousand", "million", "billion"}
_AFTER = re.compile(r"\d\s*([^\W\d_]+)")
_EVERY = re.compile(r"\b(?:a|an|per|pro|each|every|par|por|al|je|the)\s+([^\W\d_]+)", re.I)


def mixed_units(texts: Sequence[str]) -> bool:
    """Whether numbers stand with several units (`30 minutes`, `1-2 hours`; `3 times a month`)."""
    units = [_units(text) for text in texts]
    found = set().union(*units)
    if found & _MAGNITUDES and any(
        not own and re.search(r"[1-9]", text) for own, text in zip(units, texts, strict=True)
    ):
        return True  # $500 beside $1k
    return len(found) > 1


def _units(text: str) -> set[str]:
    words = [*_AFTER.findall(text), *_EVERY.findall(text)]
    return {_UNITS[word.casefold()] for word in words if word.casefold() in _UNITS}
