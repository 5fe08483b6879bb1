"""Compiled programs are kept between commands, so that the next one does not wait for XLA again."""

import hashlib
import os
import platform
from pathlib import Path


def cache_folder() -> Path:
    """Where compiled programs are kept: JAX_COMPILATION_CACHE_DIR, or a folder of the user's cache.

    A program compiled for one processor may crash on another, and machines of a cluster share
    their users' homes: processors that can do different things have folders of their own.
    """
    if chosen := os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return Path(chosen)
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "crowdllm-jax" / f"compiled-{_processor()}"


def keep_compiled() -> None:
    """Tell JAX, before it is imported, to keep what it compiles, if the folder can be written.

    JAX_ENABLE_COMPILATION_CACHE=false, which is JAX's own switch, turns it off.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # a home that is read-only, or none at all
        return
    if os.access(folder, os.W_OK):
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        # JAX would keep those that compile for a second. Of ours, a hundred small ones take half a
        # command's time together.
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def told_of_cache(warning: str) -> str | None:
    """JAX's warning of a program that could not be kept, or taken up again, as one of ours that is
    the same for all programs; None of another warning."""
    how, _, of_program = warning.partition(" persistent compilation cache entry for ")
    if not of_program or how not in ("Error reading", "Error writing"):
        return None
    reason = of_program.partition("': ")[2].splitlines() or [""]
    what = "kept" if how == "Error writing" else "taken up"
    return (
        f"{cache_folder()}: compiled programs cannot be {what} there ({reason[0][:200]}), so "
        "commands start later and all else is as it is; make room there, delete that folder, or "
        "name another (JAX_COMPILATION_CACHE_DIR)"
    )


def _processor() -> str:
    """A short name of what this machine's processor can do."""
    abilities = platform.machine() + platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    first = {line.split(":")[0].strip(): line for line in reversed(lines) if ":" in line}
    for field in ("model name", "flags", "Features"):
        abilities += first.get(field, "")
    return hashlib.blake2b(abilities.encode(), digest_size=4).hexdigest()
