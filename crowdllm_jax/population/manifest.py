"""What a written folder says of itself, and whether that still holds.

`manifest.json` is written last, names every file with its sha256 and carries a sha256 of its own.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crowdllm_jax.errors import CrowdError, first_line
from crowdllm_jax.model.crowd_file import load_crowd
from crowdllm_jax.runtime.files import write_whole

NAME = "manifest.json"


def file_entry(path: Path) -> dict[str, object]:
    """What a manifest says of a Parquet file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": digest, "rows": pq.read_metadata(path).num_rows}


def write_manifest(folder: Path, entries: dict[str, Any]) -> None:
    """Write a folder's manifest; whole or not at all."""
    sealed = entries | {"manifest_sha256": _seal(entries)}
    write_whole(folder / NAME, json.dumps(sealed, indent=1).encode())


def check_seal(path: Path) -> dict[str, Any]:
    """Read a manifest.

    Raises:
      CrowdError: it cannot be read, or has changed since it was written.
    """
    try:
        entries: dict[str, Any] = json.loads(path.read_bytes())
        seal = entries.pop("manifest_sha256", None)
    except (OSError, ValueError, AttributeError) as error:
        raise CrowdError(f"{path}: cannot be read ({error}); write the folder again") from error
    if seal != _seal(entries):
        raise CrowdError(f"{path}: has changed since it was written; write the folder again")
    return entries


def _seal(entries: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()


def verify(folder: Path, on_file: Callable[[int, int], None] | None = None) -> int:
    """Make sure that a population, counts, twins, a fitted crowd or a whole run are as written. Of
    a run's scores and findings, of which nothing was noted, it is seen whether they can be read.

    Args:
      on_file: called with the number of files and folders looked at, and their total.
    Returns:
      How many files and fitted crowds were found whole.
    Raises:
      CrowdError: lists what is damaged, missing or not the folder's own.
    """
    figures: list[Path] = []
    if not folder.is_dir():
        raise CrowdError(f"{folder}: there is no such folder; give that of a run or a population")
    if (folder / "crowd.json").is_file():
        crowds, written = [folder], []
    elif (folder / "config.yaml").is_file():
        crowds = sorted([*folder.glob("seed-*/*/crowd"), *folder.glob("seed-*/fold-*/*/crowd")])
        names = (f"*/{NAME}", f"asked/*/{NAME}")
        written = sorted(path.parent for pattern in names for path in folder.glob(pattern))
        figures = sorted([*folder.glob("*.json"), *folder.glob("seed-*/**/scores.json")])
    else:
        crowds, written = [], [folder]
    if not crowds and not written:
        raise CrowdError(f"{folder}: holds nothing that was finished; run its command again")
    faults: list[str] = []
    work: list[Any] = [(_faults_of_crowd, c) for c in crowds]
    work += [(_faults_of_figures, path) for path in figures]
    for folder_of_files in written:
        try:
            work += _listed(folder_of_files, faults)
        except CrowdError as error:
            faults.append(str(error))
    for done, (faults_of, *arguments) in enumerate(work):
        faults += faults_of(*arguments)
        if on_file is not None:
            on_file(done + 1, len(work))
    if faults:
        more = f"\n... and {len(faults) - 20} more" if len(faults) > 20 else ""
        raise CrowdError(f"{folder}: is not as it was written:\n" + "\n".join(faults[:20]) + more)
    return len(work)


def _faults_of_crowd(folder: Path) -> list[str]:
    try:
        load_crowd(folder)
    except CrowdError as error:
        return [str(error)]
    return []


def _faults_of_figures(path: Path) -> list[str]:
    try:
        json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        return [f"{path}: cannot be read ({first_line(error)})"]
    return []


def _listed(folder: Path, faults: list[str]) -> list[Any]:
    """The files of one folder to look at; what is not right about the folder itself is added."""
    path = folder / NAME
    if not path.is_file():
        hint = (
            "it is not finished: run its command again"
            if any(folder.glob("plan.json"))
            else ("give a population's folder, or a run's")
        )
        raise CrowdError(f"{folder}: holds no {NAME}; {hint}")
    entries = check_seal(path)
    files = entries.get("files", {})
    faults += [
        f"{file}: is not in {NAME}"
        for file in sorted(folder.glob("*.parquet"))
        if file.name not in files
    ]
    plan = folder / "plan.json"
    if plan.is_file() or "agents_per_part" in entries:
        try:
            planned = json.loads(plan.read_bytes())
        except (OSError, ValueError) as error:
            faults.append(f"{plan}: cannot be read ({error})")
        else:
            if any(entries.get(key) != value for key, value in planned.items()):
                faults.append(f"{plan}: says something else than {NAME}")
    return [(_faults_of_file, folder / name, entry) for name, entry in files.items()]


def _faults_of_file(path: Path, entry: dict[str, object]) -> list[str]:
    try:
        now = file_entry(path)
    except FileNotFoundError:
        return [f"{path}: is missing"]
    except (OSError, pa.ArrowException) as error:
        return [f"{path}: cannot be read ({first_line(error)})"]
    changed = [key for key in ("sha256", "rows") if now[key] != entry.get(key)]
    return [f"{path}: has changed ({', '.join(changed)})"] if changed else []
