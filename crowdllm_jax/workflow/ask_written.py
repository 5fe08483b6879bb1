"""What a crowd answers to something new, written as a population beside its run."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.crowd_file import crowd_fingerprint
from crowdllm_jax.population.write import scale_entry, write_population
from crowdllm_jax.runtime.files import write_whole
from crowdllm_jax.runtime.progress import Progress, silent
from crowdllm_jax.runtime.randomness import key_of
from crowdllm_jax.workflow.ask import answer
from crowdllm_jax.workflow.ask_opened import OpenedRun, opened
from crowdllm_jax.workflow.asking import Answered, Asking


def ask_run(
    folder: Path,
    questions: str | Sequence[str] | Path,
    asking: Asking,
    out: Path | None = None,
    *,
    agents: int | None = None,
    seed: int | None = None,
    progress: Progress = silent,
) -> tuple[Answered, Path]:
    """Ask a run's crowd something new and write what its agents answer.

    Args:
      out: None is a folder of its own in RUN/asked, which the same questions find again.
      agents, seed: of the population; None as configured.
    Returns:
      what is answered, and the population's folder, beside whose tables stands asked.json.
    """
    with opened(folder, progress) as run:
        answered = answer(run, questions, asking, progress)
        population = run.config.population
        agents = population.agents if agents is None else agents
        seed = population.seed if seed is None else seed
        target = out or folder / "asked" / _slug(answered, asking, agents, seed)
        told = _told(run, answered, asking)
        _check_same_questions(target / "asked.json", told)
        target.parent.mkdir(parents=True, exist_ok=True)
        progress("sample", 0, agents)
        write_population(
            answered.crowd,
            target,
            agents,
            seed,
            lambda done, total: progress("sample", done, total),
            population.layout,
        )
        write_whole(target / "asked.json", json.dumps(told, indent=1, ensure_ascii=False).encode())
    return answered, target


def _told(run: OpenedRun, answered: Answered, asking: Asking) -> dict[str, Any]:
    """What asked.json says."""
    asked, crowd = set(answered.table["task_id"].to_pylist()), answered.crowd
    return {
        "of": crowd_fingerprint(run.crowd),
        "where": asking.where,
        "margins": asking.margins,
        "questions": {
            name: scale_entry(scale)
            for name, scale in zip(crowd.task_ids, crowd.task_scales, strict=True)
            if name in asked
        },
        "notes": answered.notes,
        "answers": [
            {name: None if cell != cell else cell for name, cell in row.items()}
            for row in answered.table.to_pylist()
        ],
    }


def _check_same_questions(path: Path, told: dict[str, Any]) -> None:
    """Raise CrowdError if a folder holds the answers to other questions, or told by something else:
    the run's own questions are all answered by one population."""
    if not path.exists():
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    old, new = ([list(one["questions"]), *map(list, one["answers"][:1])] for one in (before, told))
    if old != new:
        raise CrowdError(
            f"{path}: is of {', '.join(map(repr, before['questions']))}, or told by another "
            "attribute; give another folder (--out)"
        )


def _slug(answered: Answered, asking: Asking, agents: int, seed: int) -> str:
    """A folder's name that says what was asked, and is another for anything else: several
    questions that the run has are answered by one and the same crowd."""
    asked = list(dict.fromkeys(answered.table["task_id"].to_pylist()))
    first = "".join(c if c.isalnum() else "-" for c in asked[0].lower())[:40].strip("-")
    margins = {name: dict(shares) for name, shares in (asking.margins or {}).items()}
    whom = (asking.where, margins, asking.by)
    key = key_of(f"{crowd_fingerprint(answered.crowd)} {agents} {seed} {asked} {whom}")
    return f"{first}-{key % 16**6:06x}"
