"""Where a model's files are: a folder of one's own, or the Hugging Face hub."""

import hashlib
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from crowdllm_jax.errors import CrowdError

_WEIGHTS = "*.safetensors"
_FILES = ("*.json", _WEIGHTS, "*.model", "*.txt", "*.jinja")


def locate(
    source: str | Path, revision: str | None = None, *, weights: bool = True
) -> tuple[Path, str | None]:
    """The folder of `source`, downloaded (with or without `weights`) if it is a hub id, and its
    commit (None if local)."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder, None
    if len(Path(source).parts) != 2 or str(source).startswith((".", "/", "~")):
        raise CrowdError(f"{source}: no such folder, and not a hub id of the form org/name")
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(
            str(source),
            revision=revision,
            allow_patterns=[p for p in _FILES if weights or p != _WEIGHTS],
            ignore_patterns=["consolidated*", "original/*"],  # the same weights, again
        )
    except Exception as error:  # the hub client raises many kinds; all mean "not available"
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CrowdError(
            f"{source}: no such folder here, and the hub does not give it ({reason})"
        ) from None
    return Path(found), Path(found).name


def load_tokenizer(folder: Path) -> Any:
    """The folder's fast tokenizer (character offsets are needed, which slow ones lack).

    tokenizer.json is taken at its word: AutoTokenizer goes by the model type and, for Qwen 2 for
    one, replaces the file's own pre-tokenizer.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    exact = (folder / "tokenizer.json").exists()
    try:
        kind = PreTrainedTokenizerFast if exact else AutoTokenizer
        tokenizer = kind.from_pretrained(str(folder))
    except Exception as error:  # missing, damaged or of an unknown class
        raise CrowdError(f"{folder}: the tokenizer cannot be loaded ({error})") from None
    if not tokenizer.is_fast:
        raise CrowdError(f"{folder}: a fast tokenizer (tokenizer.json) is needed")
    return tokenizer


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; CrowdError naming the file if there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CrowdError(f"{path}: no such file; a Hugging Face model folder has one") from None
    except (OSError, ValueError) as error:
        raise CrowdError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(value, dict):
        raise CrowdError(f"{path}: a JSON object is expected")
    return value


def fingerprint(folder: Path) -> str:
    """SHA-256 over the names and contents of the model's files: what a local folder has instead
    of a commit."""
    stats = ((p, p.stat()) for p in _model_files(folder))
    return _hash_files(tuple((p, s.st_size, s.st_mtime_ns) for p, s in stats))


@lru_cache(maxsize=8)  # tens of gigabytes, asked for at each step of a run
def _hash_files(files: tuple[tuple[Path, int, int], ...]) -> str:
    total = hashlib.sha256()
    for path, _, _ in files:
        with path.open("rb") as file:
            total.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _model_files(folder: Path) -> Iterator[Path]:
    yield from sorted({p for pattern in _FILES for p in folder.glob(pattern)})
