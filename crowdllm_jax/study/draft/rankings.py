"""Questions that are answered by ranking: all options in one cell (`B;A;C`), a column per option
with its place, or a column per place with its option. Each option becomes a question of its own,
and together they are one ballot."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.runtime.numerals import number
from crowdllm_jax.study.draft.multiple import MOST_OPTIONS, STEM
from crowdllm_jax.study.draft.words import in_order, is_no_answer
from crowdllm_jax.study.formats.sheet import Field
from crowdllm_jax.study.scales import Ordinal, Ranking

_SIGNS = (";", "|", " > ", ">", ", ", ",")
FEWEST_OPTIONS = 3
FEWEST_PEOPLE = 8
MOSTLY = 0.9
"""The share of people who rank as asked; the others' rankings are left out."""


def ranking_in_cells(field: Field, reasons: list[str]) -> list[Field] | None:
    """The options of a question in whose cells all of them stand, in one order or another; None
    where cells hold no rankings.

    Who ticks options, leaves some out, and a program lists them in one order.
    """
    if field.labels or field.use not in (None, "question"):
        return None
    often = np.bincount(field.column.codes[field.column.codes >= 0])
    texts = [text for text in field.column.distinct if not is_no_answer(text)]
    for sign in _SIGNS:
        parts = {text: tuple(map(tidy_name, text.strip(sign).split(sign))) for text in texts}
        options = {part for own in parts.values() for part in own}
        if not FEWEST_OPTIONS <= len(options) <= MOST_OPTIONS or "" in options:
            continue
        whole = {text for text, own in parts.items() if sorted(own) == sorted(options)}
        count = {text: int(often[i]) for i, text in enumerate(field.column.distinct)}
        full = sum(count[text] for text in whole)
        if len(whole) < 2 or full < MOSTLY * sum(count[text] for text in texts):
            continue
        reasons += _told(field.name, len(options), sum(count[text] for text in texts) - full)
        return [
            _option(
                field,
                f"{field.name} [{option}]",
                f"{field.text or field.name}: {option}",
                [parts[t].index(option) if t in whole else -1 for t in field.column.distinct],
                len(options),
            )
            for option in sorted(options)
        ]
    return _short_ranking(field, texts, reasons)


_BETTER = re.compile(r"\s*>\s*")


def _short_ranking(field: Field, texts: Sequence[str], reasons: list[str]) -> list[Field] | None:
    """The options of a question in whose cells some of them stand, the better before a `>`; None
    where cells hold no such."""
    parts = {text: tuple(map(tidy_name, _BETTER.split(text.strip()))) for text in texts}
    options = sorted({part for own in parts.values() for part in own})
    several = [own for own in parts.values() if len(own) > 1]
    known = {part for own in several for part in own} == {*options}
    if not FEWEST_OPTIONS <= len(options) <= MOST_OPTIONS or "" in options or not known:
        return None
    twice = {text for text, own in parts.items() if len({*own}) < len(own)}
    if len(several) < FEWEST_OPTIONS or 10 * len(twice) > len(texts):
        return None
    k = max(map(len, parts.values()))
    wrong = sum(int(np.sum(field.column.codes == field.column.distinct.index(t))) for t in twice)
    reasons += _told_short(field.name, k, wrong)
    made = []
    for option in options:
        places = [
            parts[t].index(option) if t in parts and t not in twice and option in parts[t] else -1
            for t in field.column.distinct
        ]
        one = _option(
            field, f"{field.name} [{option}]", f"{field.text or field.name}: {option}", places, k
        )
        made.append(replace(one, scale=_by_places(k)))
    return made


def _by_places(k: int) -> Ordinal:
    """The scale of an option that not everybody ranks: the best place, 1, is the highest."""
    return Ordinal(levels=tuple(range(-k, 0)), labels=tuple(map(str, range(k, 0, -1))))


def _option(field: Field, name: str, text: str, places: list[int], options: int) -> Field:
    """One option as a question, answered by its place (from 0) among as many as there are."""
    codes = np.array([*places, -1], np.int32)[field.column.codes]
    cells = replace(field.cells, codes=codes, distinct=tuple(map(str, range(1, options + 1))))
    return Field(name, cells, text, use="question", grid=field.name, scale=Ranking(k=options))


_RANK = r"(?:.*[_.\s-])?(?:rank(?:ing|ed)?|rang|place|position|priority|preference)"
_BEFORE, _BEHIND = (
    re.compile(rf"(?i)({_RANK})[_.\s-]+[^\W\d].*"),
    re.compile(r"(?i).*[^\W\d][_.\s-]+(rank(?:ing|ed)?|rang|place|position|priority|preference)"),
)


def _called(name: str) -> str:
    """What `rank_cars` and `rank_bus`, or `cars.rank` and `bus.rank`, have in common; "" for other
    names."""
    found = _BEFORE.fullmatch(name) or _BEHIND.fullmatch(name)
    return found[1] if found else ""


def ranking_in_columns(fields: Sequence[Field], reasons: list[str]) -> list[Field]:
    """Fields, of which those that are called alike and hold each place (1, 2, 3) once for nearly
    everybody are made options of a ranking."""
    groups: dict[str, list[Field]] = defaultdict(list)
    for field in fields:
        parts = STEM.fullmatch(field.name)
        own = field.grid or (parts[1] if parts else _called(field.name))
        if own and field.use in (None, "question") and _places(field):
            groups[own].append(field)
    made: dict[str, Field] = {}
    for stem, options in groups.items():
        if len(options) >= FEWEST_OPTIONS:
            made |= _ranked(stem, options, reasons)
    for options in _side_by_side([field for field in fields if field.name not in made]):
        made |= _ranked(f"{options[0].name} to {options[-1].name}", options, reasons)
    return [made.get(field.name, field) for field in fields]


FEWEST_ROWS = 20
"""Of people who rank what is called nothing in common, so that chance cannot have made it."""


def _side_by_side(fields: Sequence[Field]) -> list[list[Field]]:
    """Columns side by side, as many as each holds places (1, 2, 3), which may be options of one
    ranking whatever they are called."""
    runs: list[list[Field]] = []
    for field in fields:
        known = {number(text) for text in field.column.distinct if not is_no_answer(text)}
        k = len(known)
        whole = k >= FEWEST_OPTIONS and known == {*map(float, range(1, k + 1))} and not field.labels
        if (
            not whole
            or field.use not in (None, "question")
            or np.sum(field.column.codes >= 0) < (FEWEST_ROWS)
        ):
            runs.append([])
        elif runs and runs[-1] and len(runs[-1]) < k == len(runs[-1][0].column.distinct):
            runs[-1].append(field)
        else:
            runs.append([field])
    return [run for run in runs if run and len(run) == len(run[0].column.distinct)]


_PLACE = re.compile(
    r"(?i)\b(first|second|third|fourth|fifth|sixth|1st|2nd|3rd|[4-9]th|erste|zweite|dritte|vierte|"
    r"fünfte|premier|deuxième|troisième|primera|segunda|tercera)\b|\d+(?=\D*$)"
)


_RANKS = re.compile(
    r"(?i)rank|choice|place|priorit|prefer|position|rang|wahl|choix|eleccion|elección|first|second|"
    r"third|erste|zweite|dritte|premier|deuxième|primera|segunda"
)


def ranking_by_places(fields: Sequence[Field], reasons: list[str]) -> list[Field]:
    """Fields, of which those that are called after places (`First choice`, `rank[2]`) and hold
    different options in each row are made a question per option."""
    groups: dict[str, list[Field]] = defaultdict(list)
    for field in fields:
        named = _PLACE.search(field.name)
        if named and field.use in (None, "question") and not field.labels:
            groups[_PLACE.sub("#", field.name)].append(field)
    result = [*fields]
    for places in groups.values():
        options = {t for f in places for t in f.column.distinct if not is_no_answer(t)}
        numbers = any(number(text) is not None for text in options) or in_order(options)
        called = all(_RANKS.search(field.name) for field in places)
        if not called and not _all_placed(places, options):
            continue
        if (
            len(places) < FEWEST_OPTIONS
            or not len(places) <= len(options) <= MOST_OPTIONS
            or numbers
        ):
            continue
        if (made := _options_of_places(places, sorted(options), reasons)) is not None:
            at = result.index(places[0])
            result = [f for f in result if f not in places]
            result[at:at] = made
    return result


def _all_placed(places: Sequence[Field], options: set[str]) -> bool:
    """Whether there are as many columns as options, and enough people fill them all, so that these
    are places though nothing but their numbers says so."""
    asked = np.all([field.column.codes >= 0 for field in places], axis=0)
    return len(places) == len(options) and np.sum(asked) >= FEWEST_ROWS


def _options_of_places(
    places: Sequence[Field], options: list[str], reasons: list[str]
) -> list[Field] | None:
    """A question per option from a column per place; None where people name options twice."""
    k, index = len(places), {option: i for i, option in enumerate(options)}
    named = np.stack(
        [
            np.array([*(index.get(t, -1) for t in f.column.distinct), -1])[f.column.codes]
            for f in places
        ],
        axis=1,
    )
    asked = np.any(named >= 0, axis=1)
    order = np.sort(named, axis=1)
    once = np.all((np.diff(order, axis=1) > 0) | (order[:, 1:] < 0), axis=1)
    right = once & (order[:, 0] >= 0)
    if np.sum(asked) < FEWEST_PEOPLE:
        return None
    stem = " / ".join(field.name for field in places)
    if np.sum(right) >= MOSTLY * np.sum(asked):
        scale: Ranking | Ordinal = Ranking(k=k)
        reasons += _told(stem, k, int(np.sum(asked & ~right)))
    elif np.sum(once & asked) >= MOSTLY * np.sum(asked) and _tires(named):
        right = once & asked
        scale = _by_places(k)
        reasons += _told_short(stem, k, int(np.sum(asked & ~right)))
    else:
        return None
    made = []
    for option, i in index.items():
        place = np.where(np.any(named == i, axis=1), np.argmax(named == i, axis=1), -1)
        codes = np.where(right, place, -1).astype(np.int32)
        cells = replace(places[0].cells, codes=codes, distinct=tuple(map(str, range(1, k + 1))))
        made.append(Field(option, cells, "", use="question", grid=stem, scale=scale))
    return made


def _tires(named: np.ndarray) -> bool:
    """Whether each place is left blank as often as the one before, or oftener."""
    blank = np.sum(named < 0, axis=0)
    return bool(np.all(np.diff(blank) >= 0) and blank[-1] > blank[0])


def _told_short(name: str, options: int, wrong: int) -> list[str]:
    left = f" Left out, as they name an option twice: {wrong:,}." if wrong else ""
    return [
        f"{name} are places of a ranking that not everybody fills: each option is answered by its "
        f"place (1 is best, {options} the last), and one that is not ranked has no answer.{left}"
    ]


def _places(field: Field) -> bool:
    """Whether a column holds whole numbers from 1 on."""
    known = [number(t) for t in field.column.distinct if not is_no_answer(t)]
    return bool(known) and all(
        n is not None and n.is_integer() and 1 <= n <= MOST_OPTIONS for n in known
    )


def _ranked(stem: str, options: list[Field], reasons: list[str]) -> dict[str, Field]:
    """Columns as options of one ranking; empty where they are none."""
    place = np.stack([_numbers(field) for field in options], axis=1)
    given = np.sort(place, axis=1)
    asked = given[:, -1] > 0
    if np.sum(asked) < FEWEST_PEOPLE:
        return {}
    # Who ranks the best k gives 1 to k, and nothing to the others.
    ranks = Counter(int(n) for n in np.sum(place[asked] > 0, axis=1))
    k = ranks.most_common(1)[0][0]
    wanted = np.concatenate([np.zeros(len(options) - k), np.arange(1, k + 1)])
    right = np.all(given == wanted, axis=1)
    orders = len(np.unique(place[right], axis=0))
    if k < FEWEST_OPTIONS or orders < 2 or np.sum(right) < MOSTLY * np.sum(asked):
        return {}
    reasons += _told(stem, k, int(np.sum(asked & ~right)))
    made = {}
    for column, field in enumerate(options):
        codes = np.where(right, place[:, column], 0).astype(np.int32) - 1
        cells = replace(field.cells, codes=codes, distinct=tuple(map(str, range(1, k + 1))))
        made[field.name] = Field(
            field.name, cells, field.text, use="question", grid=stem, scale=Ranking(k=k)
        )
    return made


def _numbers(field: Field) -> np.ndarray:
    """The place in each row, 0 where there is none."""
    texts = field.column.distinct
    known = [0 if is_no_answer(text) else int(number(text) or 0) for text in texts]
    places: np.ndarray = np.array([*known, 0])[field.column.codes]
    return places


def _told(name: str, options: int, wrong: int) -> list[str]:
    left = f" Left out, as they are no such ranking: {wrong:,}." if wrong else ""
    return [
        f"{name} is answered by ranking: its options are questions on one ballot, answered by "
        f"their place, from 1 (the best) to {options}.{left}"
    ]
