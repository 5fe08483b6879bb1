"""How names are compared: what looks the same is the same.

Tables that went through several programs write one name in several ways: "José" with one character
for the é or with two, a blank at the end, a no-break space within. Every text from outside is
brought into one form before it is matched with another.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec

_UNSEEN = "\u00ad\u061c\u180e\u200b\u200e\u200f\u2060\ufeff" + "".join(
    map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A)))
)
"""Characters without a width and without a meaning: soft hyphens, zero-width blanks, byte order
marks, and marks of the direction of writing."""

_JOINERS = "\u200c\u200d"
"""Also unseen, but within a word of Persian, or an emoji, they say which one it is."""

_ANY_UNSEEN = re.compile(f"[{_UNSEEN}]")
_EDGE = rf"[\s{_UNSEEN}{_JOINERS}]"
_EDGES = re.compile(rf"\A{_EDGE}+|{_EDGE}+\Z")
_BLANKS = re.compile(r"\s+")


def tidy_text(text: str) -> str:
    """A text as people wrote it, in Unicode's composed form (NFC), without blanks (of any kind and
    width) around it."""
    if text.isascii():
        return _EDGES.sub("", text)
    return _EDGES.sub("", unicodedata.normalize("NFC", text))


def tidy_name(text: str) -> str:
    """A name in the form in which it is compared: as `tidy_text`, each run of blanks within is one
    space, and unseen characters are left out."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", _ANY_UNSEEN.sub("", text))
    return _BLANKS.sub(" ", _EDGES.sub("", text))


def tidy_names(value: Any) -> Any:
    """The same for every name in tuples and mappings, keys included; others stay.

    Raises:
      ValueError: two keys of a mapping become one.
    """
    if isinstance(value, str):
        return tidy_name(value)
    if isinstance(value, tuple):
        return tuple(tidy_names(inner) for inner in value)
    if isinstance(value, dict):
        tidied = {tidy_names(key): tidy_names(inner) for key, inner in value.items()}
        if len(tidied) < len(value):
            raise ValueError(
                f"two of the keys {', '.join(map(as_shown, value))} are one name, "
                "written with other blanks or accents; keep one"
            )
        return tidied
    return value


def tidy_fields(entry: msgspec.Struct, *but: str) -> None:
    """Tidy the names among an entry's fields, as it is made; `but` names fields that hold others,
    such as paths."""
    for field in entry.__struct_fields__:
        if field not in but:
            msgspec.structs.force_setattr(entry, field, tidy_names(getattr(entry, field)))


_SAME = str.maketrans(
    "\u2018\u2019\u02bc\u0060\u00b4\u201c\u201d\u2010\u2011\u2012\u2013\u2014\u2212",
    "'''''\"\"------",
    _JOINERS,
)
"""Quotes and dashes that programs put in one another's place, and joiners, which are not seen."""


def _likeness(name: str) -> str:
    return name.translate(_SAME).casefold().replace(" ", "")


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """A hint at one of the names that differs as `look_alikes` do, if there is one."""
    like = next((other for other in names if _likeness(other) == _likeness(name)), None)
    return "" if like is None else f"; did you mean '{like}'?"


def look_alikes(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Groups of names that differ by case, by the kind of a quote or dash, or by blanks alone."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[_likeness(name)].append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def as_shown(name: object) -> str:
    """A name for a list: in quotes if its ends, or its place in the list, could not be seen."""
    text = str(name)
    plain = text.isprintable() and text == tidy_name(text) and "," not in text
    if plain and text:
        return text
    return "'" + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text) + "'"
