"""PrefLib's files of preferences: .soc, .soi, .toc, .toi and .cat (https://preflib.github.io/PrefLib-Jekyll/format).

`# ALTERNATIVE NAME 1: ...` names what is ranked; a line `3: 2,{1,4}` says that three voters put 2
first, and 1 and 4 behind it alike. In a .cat file the places are categories.
"""

import itertools
import re
from collections.abc import Callable
from pathlib import Path

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.formats.pabulib import MAX_ANSWERS, Election
from crowdllm_jax.study.scales import Binary, Ordinal, Ranking, Scale

_HEAD = re.compile(r"#\s*([A-Z ]+?)\s*(\d+)?:\s*(.*)")
_GROUP = re.compile(r"\{([^}]*)\}|([^,{}]+)")


def is_preflib(path: Path) -> bool:
    """Whether a file begins with PrefLib's metadata."""
    with path.open("rb") as file:
        head = file.read(4096)
    return head.startswith(b"# FILE NAME:") or b"# ALTERNATIVE NAME 1:" in head


def read_preflib(path: Path) -> Election:
    """Read ballots; each voter counted in a line becomes one.

    Raises:
      CrowdError: a line cannot be read, or there are too many voters.
    """
    names, categories, data, kind = {}, {}, [], path.suffix.lower().lstrip(".")
    for number, line in enumerate(path.read_text("utf-8-sig", "replace").splitlines(), start=1):
        if head := _HEAD.fullmatch(line.strip()):
            what, place, value = head.groups()
            if what == "ALTERNATIVE NAME":
                names[place] = value
            elif what == "CATEGORY NAME":
                categories[place] = value
            elif what == "DATA TYPE":
                kind = value.strip().lower()
        elif line.strip() and not line.startswith("#"):
            data.append(_order(path, number, line, names))
    if kind not in ("soc", "soi", "toc", "toi", "cat"):
        raise CrowdError(
            f"{path}: '{kind}' is no kind of PrefLib's that holds ballots; known are soc, soi, "
            "toc, toi and cat"
        )
    total = sum(count * len(names) for count, _ in data)
    if not data or total > MAX_ANSWERS:
        raise CrowdError(
            f"{path}: {total:,} votes on single alternatives; 1 to {MAX_ANSWERS:,} are taken"
        )
    scale, note, place = _scale(kind, data, names, categories)
    voters: dict[str, tuple[dict[str, str], list[tuple[str, str]]]] = {}
    for count, order in data:
        given = [(names[a], place(rank)) for rank, tied in enumerate(order) for a in tied]
        for _ in range(count):
            voters[f"v{len(voters) + 1}"] = ({}, given)
    projects: dict[str, tuple[str, dict[str, str]]] = {name: (name, {}) for name in names.values()}
    if len(projects) < len(names):
        raise CrowdError(f"{path}: two alternatives have one name")
    return Election(path, f"a PrefLib file (.{kind})", projects, scale, voters, (note,))


Order = list[list[str]]
"""Alternatives by their place, those that are tied together."""


def _order(path: Path, number: int, line: str, names: dict[str, str]) -> tuple[int, Order]:
    count, colon, text = line.partition(":")
    order = [
        [a.strip() for a in (tied if single is None else single).split(",") if a.strip()]
        for tied, single in ((m[1], m[2]) for m in _GROUP.finditer("".join(text.split())))
    ]
    seen = list(itertools.chain(*order))
    if not colon or not count.strip().isdecimal() or any(a not in names for a in seen):
        raise CrowdError(f"{path}: line {number}: '{line[:60]}' is no ballot of the alternatives")
    if len(set(seen)) < len(seen):
        raise CrowdError(f"{path}: line {number}: an alternative stands there twice")
    return int(count), order


def _scale(
    kind: str, data: list[tuple[int, Order]], names: dict[str, str], categories: dict[str, str]
) -> tuple[Scale, str, Callable[[int], str]]:
    """The scale of all ballots, why, and how a place (from 0) is written on it."""
    if kind == "cat":
        k = max(len(order) for _, order in data)
        levels = tuple(reversed([categories.get(str(i + 1), str(i + 1)) for i in range(k)]))
        one = Binary(levels=levels) if k == 2 else Ordinal(levels=levels)
        told = f"Each alternative is put into a category, the best last: {', '.join(levels)}."
        return one, told, lambda rank: levels[k - 1 - rank]
    strict = all(len(tied) == 1 for _, order in data for tied in order)
    lengths = {len(order) for _, order in data}
    if strict and len(lengths) == 1:
        k = next(iter(lengths))
        return (
            Ranking(k=k),
            f"Every ballot ranks {k} of {len(names)} alternatives.",
            (lambda rank: str(rank + 1)),
        )
    most = max(lengths)
    ranks = Ordinal(levels=tuple(range(-most, 0)), labels=tuple(map(str, range(most, 0, -1))))
    return (
        ranks,
        "Ballots have ties or different lengths; each alternative is answered by its place "
        f"(1 is best, {most} the last), and one that is not ranked has no answer.",
        lambda rank: str(-1 - rank),
    )
