"""Questions with several answers, in one cell (`a;b;c`) or in a column per option that people tick:
each option becomes a question of its own."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from crowdllm_jax.runtime.names import tidy_name
from crowdllm_jax.runtime.numerals import number
from crowdllm_jax.study.draft import names, own_names, profile_names
from crowdllm_jax.study.draft.guess import dates
from crowdllm_jax.study.draft.word_lists import folded
from crowdllm_jax.study.draft.words import in_order, is_no_answer
from crowdllm_jax.study.formats.sheet import Field, Sheet, Use

MOST_OPTIONS = 30
_SIGNS = ("\n", ";", "|", "┋", ", ", ",")
_WITHIN = ("/", "+", "&")
"""Signs that stand within one answer, too."""


CHOSEN = (("0", "not chosen"), ("1", "chosen"))
"""How an option is answered that people may choose beside others."""


_SEVERAL = re.compile(
    r"\b((select|check|choose|mark|tick|pick|name|list) (all|any|up to|as many)|(all|any) "
    r"(that|which) (apply|applies)|(multiple|several|more than one) (answers?|responses?|choices?|"
    r"mentions?|options?|selections?)|multi(ple)? ?(select|response|choice|punch)|mehrfach(nennung|"
    r"antwort|auswahl)(en)?|mehrere (antworten|nennungen)|plusieurs (reponses|choix)|(reponses|"
    r"choix) multiples?|(varias|multiples) (respuestas|opciones)|(respuesta|opcion) multiple|piu "
    r"(risposte|opzioni)|risposta multipla|(varias|multiplas) (respostas|opcoes)|meerdere "
    r"antwoorden)\b"
)


def says_several(field: Field) -> np.ndarray:
    """(R,) whether each row's text says of a question that several answers may be given."""
    told = [_SEVERAL.search(folded(text)) is not None for text in field.column.distinct]
    said: np.ndarray = np.array([*told, False], bool)[field.column.codes]
    return said


def options_of(field: Field) -> tuple[str, list[str]] | None:
    """The sign between options, and the options; None where cells hold one answer each."""
    texts = [text for text in field.cells.distinct if not is_no_answer(text)]
    if field.several:
        parts = _held(field, texts, field.several)
        options = sorted({part for own in parts for part in own})
        return (field.several, options) if 2 <= len(options) <= MOST_OPTIONS else None
    objects = any(text.startswith("{") for text in texts)
    if field.labels or objects or len(texts) < 3 or in_order(texts) is not None:
        return None
    for sign in (*_SIGNS, *_WITHIN):
        parts = _held(field, texts, sign)
        if sign in _WITHIN and not _all_alone(parts):
            continue
        several = sum(len(own) > 1 for own in parts)
        often = Counter(part for own in parts for part in own)
        alone = {own[0] for own in parts if len(own) == 1}
        shared = sum(often[part] > 1 for part in often)
        numbers = all(part.replace(".", "").isdigit() for part in often)
        if (
            several >= 2
            and 2 <= len(often) <= MOST_OPTIONS
            and 2 * shared >= len(often)
            and (
                len(often) < len(texts) or bool(alone & {p for o in parts if len(o) > 1 for p in o})
            )
            and not (numbers and sign in (",", *_WITHIN) and not _ascending(parts))
            and max(map(len, often)) <= 80
        ):
            return sign, sorted(often)
    return None


_OF_ODK = {"_uuid", "_submission_time", "instanceid", "submissiondate", "__version__"}
_CODE = re.compile(r"[^\W\d_][\w.-]*")
FEWEST_SEVERAL = 3


def apart_by_blanks(sheet: Sheet) -> Sheet:
    """A sheet of ODK or KoBo, which set the names of chosen options apart by blanks."""
    if not any(f.name.rpartition("/")[2].casefold() in _OF_ODK for f in sheet.fields):
        return sheet
    fields = [replace(f, several=" ") if _holds_codes(f) else f for f in sheet.fields]
    return replace(sheet, fields=tuple(fields))


def _holds_codes(field: Field) -> bool:
    """Whether cells hold short names, one or several, which come back with others."""
    texts = [text for text in field.cells.distinct if not is_no_answer(text)]
    parts = [text.split(" ") for text in texts]
    several = [own for own in parts if len(own) > 1]
    often = Counter(part for own in several for part in own)
    once = all(len({*own}) == len(own) for own in parts)
    named = all(_CODE.fullmatch(part) for own in parts for part in own)
    if field.use or field.labels or field.several or not (once and named):
        return False
    back = len(several) >= FEWEST_SEVERAL and min(often.values()) > 1
    return back and len(often) <= MOST_OPTIONS and in_order(texts) is None


def _all_alone(parts: Sequence[list[str]]) -> bool:
    """Whether what a sign sets apart is given by itself, too, and in several ways with others: of
    `dark red` beside `red` and `New York` nobody answers `dark` or `New`."""
    several = [own for own in parts if len(own) > 1]
    often = Counter(part for own in several for part in own)
    alone = {own[0] for own in parts if len(own) == 1}
    return len(several) > 2 and alone == {*often} and all(n > 1 for n in often.values())


def _ascending(parts: Sequence[list[str]]) -> bool:
    """Whether numbers between commas are codes of several answers, which ascend: not decimals, nor
    thousands."""
    codes = [[int(part) for part in own if part.isdecimal()] for own in parts]
    return max(map(len, codes)) > 2 and all(own == sorted(set(own)) for own in codes)


def _held(field: Field, texts: Sequence[str], sign: str) -> list[list[str]]:
    """The options that each text holds."""
    parts = [_parts(text, sign) for text in texts]
    if not field.several:
        return _whole(parts, sign)
    offered = {code for code, _ in field.labels}
    return [_offered(own, offered, sign) for own in parts]


def _offered(parts: list[str], offered: set[str], sign: str) -> list[str]:
    """Parts put together where together they are an option that is known to be offered."""
    found = []
    while parts:
        together = [n for n in range(len(parts), 1, -1) if _joined(parts[:n], sign) in offered]
        many = together[0] if together else 1
        found.append(_joined(parts[:many], sign))
        parts = parts[many:]
    return found


def _joined(parts: list[str], sign: str) -> str:
    return tidy_name(f"{sign} ".join(parts))


def _parts(text: str, sign: str) -> list[str]:
    quotes = ""
    if text[:1] == "[" and text[-1:] == "]":  # a list, as programs write it
        text, quotes = text[1:-1], "'\""
    parts = (tidy_name(part).strip(quotes or None) for part in text.split(sign))
    return list(dict.fromkeys(part for part in parts if part))


def _whole(parts: list[list[str]], sign: str) -> list[list[str]]:
    """Options that hold the sign themselves (`Car, shared`) put together again: two parts of which
    each never stands without the other beside it."""
    while True:
        often = Counter(part for own in parts for part in own)
        beside = Counter(pair for own in parts for pair in pairwise(own))
        apart = next((p for p, n in beside.items() if n == often[p[0]] == often[p[1]] > 1), None)
        if apart is None:
            return parts
        parts = [_put_together(own, apart, sign) for own in parts]


def _put_together(own: list[str], pair: tuple[str, str], sign: str) -> list[str]:
    if pair[0] not in own:
        return own
    place = own.index(pair[0])
    return [*own[:place], f"{pair[0]}{sign}{pair[1]}", *own[place + 2 :]]


def split(field: Field, sign: str, options: list[str]) -> list[Field]:
    """One question per option: whether it was chosen, of those who chose any."""
    held = [set(own) for own in _held(field, field.cells.distinct, sign)]
    silent = [
        is_no_answer(text) or not own for text, own in zip(field.cells.distinct, held, strict=True)
    ]
    fields = []
    label_of = dict(field.labels)
    for option in options:
        of_text = [-1 if s else int(option in own) for own, s in zip(held, silent, strict=True)]
        codes = np.array([*of_text, -1], np.int32)[field.cells.codes]
        name = f"{field.name} [{label_of.get(option, option)}]"
        cells = replace(field.cells, codes=codes, distinct=("0", "1"))
        text = f"{field.text or field.name}: {label_of.get(option, option)}"
        fields.append(Field(name, cells, text, CHOSEN, use="question", grid=field.name))
    return fields


STEM = re.compile(r"(.+?)(?:\s*\[([^\]]*)\]|[_.\s-]+(\d{1,3})|(?:\s*[:/]\s*| - )\D.*)")
"""The name of a question before that of its option: `Q7_1`, `Own [Car]`, `Own: Car`; in `vote_2016`
is a year, and `Q17` is a question of its own."""
_OTHER = re.compile(r"(?i)other|text|sonstige|andere|autre|otr[oa]|altro|outr[oa]|inn[ey]")


def ticked(fields: Sequence[Field]) -> list[Field]:
    """Columns in which people ticked options, made questions of whether each was chosen; profile,
    if they describe people.

    Such columns are called alike (or side by side as their one text), and each holds nothing, or
    one text, where it does not tell what else was chosen. Who ticked none of them is not known to
    have been asked.
    """
    groups: dict[str, list[Field]] = defaultdict(list)
    others: set[str] = set()
    stem = ""
    for field in fields:
        parts = STEM.fullmatch(field.name)
        own = field.grid or _asked_behind(field) or (parts[1] if parts else "")
        if not _box(field, parts):
            stem = ""
            if field.column.distinct and not _OTHER.search(field.name):
                others.add(own)
            continue
        tick = not own and _option(field).casefold() in _TICKS
        alone = field.column.distinct == (field.name,) or tick
        stem = (stem or f"{field.name}, or others") if alone else own
        if stem:
            groups[stem].append(field)
    chosen: dict[str, Field] = {}
    for stem, boxes in groups.items():
        if len(boxes) < 2 or stem in others or not _options(boxes):
            continue
        use, why = _use(stem, boxes[0].text)
        asked = np.any([box.column.codes >= 0 for box in boxes], axis=0)
        for box in boxes:
            codes = np.where(asked, box.column.codes >= 0, -1).astype(np.int32)
            cells = replace(box.cells, codes=codes, distinct=("0", "1"))
            option = _option(box)
            text = box.text or (box.name if option.casefold() in _TICKS else f"{stem}: {option}")
            chosen[box.name] = Field(box.name, cells, text, CHOSEN, use=use, grid=stem, why=why)
    return [chosen.get(field.name, field) for field in fields]


def _asked_behind(field: Field) -> str:
    """The question of a column that is called after its option: `Red: Which do you like?`."""
    texts = field.column.distinct
    if len(texts) != 1 or not field.name.startswith(texts[0]):
        return ""
    behind = re.fullmatch(r"\s*[:/|-]\s*(\w.*)", field.name[len(texts[0]) :])
    return behind[1] if behind and number(texts[0]) is None else ""


_TICKS = {
    *("1", "x", "y", "yes", "ja", "oui", "sí", "si", "sim", "tak", "true", "checked", "✓", "✔"),
    *("selected", "chosen", "ticked"),
}


def _option(box: Field) -> str:
    text = box.column.distinct[0]
    return dict(box.labels).get(text, text)


def _options(boxes: Sequence[Field]) -> bool:
    """Whether columns say different things, or all only that they were ticked."""
    said = [_option(box).casefold() for box in boxes if not box.grid]
    return all(text in _TICKS for text in said) or len(set(said)) == len(said)


def _use(stem: str, text: str) -> tuple[Use, str]:
    """What options are for by the name of their question, and why if for nothing."""
    if own_names.is_own(stem):
        return "out", "no answer"
    if names.is_person(stem):
        return "out", "what may be ids (--questions keeps it)"
    return ("profile" if profile_names.is_profile(stem, text) else "question"), ""


def _box(field: Field, parts: re.Match[str] | None) -> bool:
    """Whether a column is empty where people did not tick it, and says one thing where they did: no
    date, and of numbers only 1 or that of the option."""
    texts = field.column.distinct
    blank = bool(np.any(field.column.codes < 0))
    one = len(texts) == 1 and not is_no_answer(texts[0]) and texts[0] not in field.missing
    if not (blank and one and field.use in (None, "question")) or dates(texts):
        return False
    value = number(texts[0])
    own = {1.0, *(number(part) for part in (parts.groups()[1:] if parts else ()) if part)}
    return value is None or value in own or texts[0] in dict(field.labels)
