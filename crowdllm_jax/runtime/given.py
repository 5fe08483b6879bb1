"""What is handed over from Python is of the kind that is wanted, or one message says what is."""

import os
from numbers import Integral
from pathlib import Path
from typing import Any

from crowdllm_jax.errors import CrowdError


def told(value: object) -> str:
    """A value for a message: a path as it is written, else what it is."""
    return f"'{value}'" if isinstance(value, str | os.PathLike) else type(value).__name__


def as_path(value: Any, what: str) -> Path:
    """A path; raises CrowdError for what is none. `what`: the argument, and what it may be."""
    if isinstance(value, str | os.PathLike):
        return Path(value)
    raise CrowdError(f"{what}, not {told(value)}")


def as_whole(value: Any, what: str) -> int:
    """A whole number (a truth value is none); raises CrowdError for what is none."""
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    shown = told(value) if isinstance(value, str | os.PathLike) else value
    raise CrowdError(f"{what}: {shown} is not a whole number")
