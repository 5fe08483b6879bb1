"""Pabulib's .pb files of participatory budgets (https://pabulib.org/format).

Three sections, META, PROJECTS and VOTES, of cells apart by semicolons. Votes are approvals, points
(cumulative or scoring) or an order of projects.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.formats.delimited import dialect_of
from crowdllm_jax.study.scales import Approval, KApproval, Ordinal, Points, Ranking, Scale

MAX_ANSWERS = 5_000_000


@dataclass(frozen=True)
class Election:
    """Ballots that people cast on projects.

    Attributes:
      projects: id -> (text, attributes). scale: of all projects.
      voters: id -> (profile, what they gave to projects: (project, text)).
      notes: sentences on how votes are read.
    """

    path: Path
    what: str
    projects: dict[str, tuple[str, dict[str, str]]]
    scale: Scale
    voters: dict[str, tuple[dict[str, str], list[tuple[str, str]]]]
    notes: tuple[str, ...]


def is_pabulib(path: Path) -> bool:
    """Whether a file begins with the section META."""
    with path.open("rb") as file:
        return file.read(32).removeprefix(b"\xef\xbb\xbf").lstrip()[:4] == b"META"


def read_pabulib(path: Path) -> Election:
    """Read an election.

    Raises:
      CrowdError: a section is missing, or a vote names a project that is not there.
    """
    sections = _sections(path)
    meta = {row["key"]: row["value"] for row in sections["META"] if "key" in row and "value" in row}
    projects = {
        row["project_id"]: (
            row.get("name") or row["project_id"],
            {key: row[key] for key in ("cost", "category", "target") if row.get(key)},
        )
        for row in sections["PROJECTS"]
    }
    kind = meta.get("vote_type", "")
    ballots: dict[str, list[tuple[str, str]]] = {}
    voters: dict[str, tuple[dict[str, str], list[tuple[str, str]]]] = {}
    for number, row in enumerate(sections["VOTES"], start=1):
        chosen = [p.strip() for p in row.get("vote", "").split(",") if p.strip()]
        if odd := [p for p in chosen if p not in projects]:
            raise CrowdError(f"{path}: vote {number}: '{odd[0]}' is no project of the election")
        points = [p.strip() for p in row.get("points", "").split(",") if p.strip()]
        if kind in ("cumulative", "scoring") and len(points) != len(chosen):
            raise CrowdError(f"{path}: vote {number}: {len(chosen)} projects, {len(points)} points")
        given = list(zip(chosen, points, strict=False)) if points else [(p, "1") for p in chosen]
        if kind == "ordinal":
            given = [(p, str(rank)) for rank, p in enumerate(chosen, start=1)]
        voter = row.get("voter_id") or str(number)
        if voter in voters:
            raise CrowdError(f"{path}: vote {number}: voter '{voter}' has voted before; keep one")
        profile = {k: v for k, v in row.items() if k in _PROFILE and v}
        ballots[voter] = given
        voters[voter] = (profile, given)
    scale, note = scale_of_ballots(path, kind, meta, ballots, len(projects))
    voters = {v: (profile, _on(scale, given, projects)) for v, (profile, given) in voters.items()}
    return Election(path, "an election of Pabulib", projects, scale, voters, (note,))


_PROFILE = ("age", "sex", "neighborhood", "voting_method")


def _sections(path: Path) -> dict[str, list[dict[str, str]]]:
    dialect, _ = dialect_of(path, None)
    sections: dict[str, list[dict[str, str]]] = {}
    section = ""
    header: list[str] = []
    with path.open(
        encoding="utf-8-sig" if dialect.encoding == "utf-8" else dialect.encoding, newline=""
    ) as file:
        try:
            for row in csv.reader(file, delimiter=";"):
                cells = [cell.strip() for cell in row]
                if not any(cells):
                    continue
                if len(cells) == 1 or (
                    cells[0] in ("META", "PROJECTS", "VOTES") and not any(cells[1:])
                ):
                    section, header = cells[0].upper(), []
                    sections[section] = []
                elif not header:
                    header = [cell.casefold() for cell in cells]
                else:
                    sections[section].append(dict(zip(header, cells, strict=False)))
        except (csv.Error, KeyError) as error:
            raise CrowdError(f"{path}: cannot be read as a .pb file: {error}") from error
    for name, needed in {"META": "key", "PROJECTS": "project_id", "VOTES": "vote"}.items():
        if not sections.get(name) or needed not in sections[name][0]:
            raise CrowdError(f"{path}: has no section {name} with a column '{needed}'")
    return sections


def scale_of_ballots(
    path: Path,
    kind: str,
    meta: dict[str, str],
    ballots: dict[str, list[tuple[str, str]]],
    projects: int,
) -> tuple[Scale, str]:
    """The scale that all ballots keep to, and a sentence that says why."""
    lengths = {len(given) for given in ballots.values()}
    if kind == "approval":
        k = next(iter(lengths)) if len(lengths) == 1 else 0
        if k and meta.get("min_length") == meta.get("max_length") == str(k):
            return KApproval(k=k), f"Votes approve exactly {k} projects each."
        return Approval(), "Votes approve projects, each voter as many as they like."
    if kind == "ordinal":
        if len(lengths) == 1:
            k = next(iter(lengths))
            return Ranking(k=k), f"Votes rank the best {k} projects."
        return Approval(), (
            f"Votes rank {min(lengths)} to {max(lengths)} projects each; as a ranking needs one "
            "length, a project that is ranked counts as approved, and its rank is not used."
        )
    if kind not in ("cumulative", "scoring"):
        raise CrowdError(
            f"{path}: votes of type '{kind}' are not known; known are approval, ordinal, "
            "cumulative and scoring"
        )
    try:
        points = [[int(p) for _, p in given] for given in ballots.values()]
    except ValueError as error:
        raise CrowdError(f"{path}: points are no whole numbers: {error}") from error
    totals = {sum(own) for own in points}
    if (
        kind == "cumulative"
        and len(totals) == 1
        and min(min(own, default=0) for own in points) >= 0
    ):
        return Points(budget=next(iter(totals))), f"Votes share {next(iter(totals))} points."
    levels = sorted({0, *(p for own in points for p in own)})
    if len(ballots) * projects > MAX_ANSWERS:
        raise CrowdError(f"{path}: more than {MAX_ANSWERS:,} votes on single projects")
    return Ordinal(levels=tuple(levels)), (
        "Votes give points that do not add up to one sum; each project is answered by itself, and "
        "one that a voter leaves out has 0 points."
    )


def _on(
    scale: Scale, given: list[tuple[str, str]], projects: dict[str, tuple[str, dict[str, str]]]
) -> list[tuple[str, str]]:
    """A ballot as its scale writes it."""
    match scale:
        case Ordinal():
            points = dict(given)
            return [(project, points.get(project, "0")) for project in projects]
        case Approval() | KApproval():
            return [(project, "1") for project, _ in given]
        case _:
            return given


def answers_of(election: Election) -> Iterator[tuple[str, str, str]]:
    """(voter, project, answer) of all that is written on ballots."""
    for voter, (_, given) in election.voters.items():
        for project, text in given:
            yield voter, project, text
