"""Run the benchmark scripts and gather what they measured.

They are scripts in the benchmarks folder of the repository, not part of the installed package. Each
is `NAME.py --json FILE` and writes records {benchmark, variant, metric, value, unit, device}.
"""

import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import msgspec

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.progress import Progress, silent

SCRIPTS = ("population", "writing", "training", "aggregate", "backbone")


class Record(msgspec.Struct, frozen=True):
    """One measured number."""

    benchmark: str
    variant: str
    metric: str
    value: float
    unit: str
    device: str


def run_benchmarks(
    scripts_folder: Path,
    out: Path,
    only: Sequence[str] = (),
    progress: Progress = silent,
) -> list[Record]:
    """Run the scripts that are there, one after the other, and read their records.

    Args:
      out: folder for one JSON file per script.
      only: names of the scripts to run; all that are there if empty.
    Raises:
      CrowdError: there is no such script, torch is missing, or a script fails.
    """
    available = [name for name in SCRIPTS if (scripts_folder / f"{name}.py").is_file()]
    if not available:
        raise CrowdError(
            f"{scripts_folder}: holds no benchmarks; they come with the repository, not with the "
            "installed package: clone it and name its folder, --folder path/to/benchmarks"
        )
    unknown = [name for name in only if name not in available]
    if unknown:
        raise CrowdError(
            f"--only {unknown[0]}: no such benchmark; there are: {', '.join(available)}"
        )
    if find_spec("torch") is None:
        raise CrowdError(
            "the benchmarks compare with torch, which is not installed; "
            "pip install 'crowdllm-jax[benchmarks]'"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CrowdError(f"{out}: cannot be made: {error.strerror}") from error
    chosen = [name for name in available if not only or name in only]
    records: list[Record] = []
    for number, name in enumerate(chosen):
        progress(f"bench {name}", number, len(chosen))
        path = out.resolve() / f"{name}.json"
        command = [sys.executable, str(scripts_folder / f"{name}.py"), "--json", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last_lines = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
            raise CrowdError(f"{scripts_folder / name}.py failed: {' | '.join(last_lines)}")
        records += msgspec.json.decode(path.read_bytes(), type=list[Record])
        progress(f"bench {name}", number + 1, len(chosen))
    return records
