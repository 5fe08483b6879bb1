"""Where a model's files are: a folder or GGUF file of one's own, or the Hugging Face hub."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from crowdllm_jax.backbone.architecture import Architecture, read_architecture
from crowdllm_jax.backbone.gguf.config import architecture_of
from crowdllm_jax.backbone.gguf.header import Header, is_gguf, parts_of, read_header
from crowdllm_jax.backbone.gguf.tokenizer import tokenizer_of
from crowdllm_jax.errors import CrowdError

_WEIGHTS = "*.safetensors"
_FILES_OF_MODELS = (".gguf", ".safetensors", ".bin", ".pt", ".pth", ".ckpt")
_FILES = ("*.json", _WEIGHTS, "*.model", "*.txt", "*.jinja")


def locate(
    source: str | Path, revision: str | None = None, *, weights: bool = True
) -> tuple[Path, str | None]:
    """Where `source` lies, and its commit (None if local): a folder, downloaded (with or without
    `weights`) if it is a hub id, or a GGUF file (of several parts, one of them)."""
    place = Path(source).expanduser()
    if place.is_dir():
        return _only_gguf(place) or place, None
    if place.is_file():
        _refuse_other_file(place)
        return place, None
    if place.suffix in _FILES_OF_MODELS:
        where = "" if place.is_absolute() else f" in {Path.cwd()}, where the command runs"
        raise CrowdError(f"{source}: no such file{where}")
    if len(Path(source).parts) != 2 or str(source).startswith((".", "/", "~")):
        raise CrowdError(f"{source}: no such folder, and not a hub id of the form org/name")
    from huggingface_hub import snapshot_download

    try:
        fetched = snapshot_download(
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
    return Path(fetched), Path(fetched).name


def _only_gguf(folder: Path) -> Path | None:
    """The GGUF model of a folder that is not a Hugging Face one."""
    if (folder / "config.json").exists():
        return None
    models = {parts_of(path)[0] for path in folder.glob("*.gguf")}
    if len(models) > 1:
        names = ", ".join(sorted(path.name for path in models))
        raise CrowdError(f"{folder}: holds several models ({names}); name the file to use")
    return models.pop() if models else None


def _refuse_other_file(path: Path) -> None:
    if is_gguf(path):
        return
    if path.suffix == ".gguf":
        raise CrowdError(
            f"{path}: not a GGUF file, which begins with the letters GGUF; download it again"
        )
    raise CrowdError(
        f"{path}: a file, and not a GGUF one; for a Hugging Face model name the folder that holds "
        "config.json, the safetensors and the tokenizer"
    )


def load_architecture(place: Path) -> Architecture:
    """The architecture of a decoder: a folder's config.json, or a GGUF file's metadata, says it."""
    if place.is_file():
        return architecture_of(header_of(place))
    return read_architecture(read_json(place / "config.json"), str(place / "config.json"))


def header_of(path: Path) -> Header:
    """A GGUF model's metadata and tensors; read anew only where a file has changed."""
    if find_spec("gguf") is None:
        raise CrowdError(
            f"{path}: reading GGUF files needs the gguf package: pip install 'crowdllm-jax[gguf]'"
        )
    return _read_header(path, tuple(_stats(parts_of(path))))


# A large vocabulary takes a second to read and some to make a tokenizer of, and both are asked for
# at each step of a run.
@lru_cache(maxsize=1)
def _read_header(path: Path, _files: tuple[tuple[Path, int, int], ...]) -> Header:
    return read_header(path)


@lru_cache(maxsize=1)
def _make_tokenizer(path: Path, files: tuple[tuple[Path, int, int], ...]) -> Any:
    return tokenizer_of(_read_header(path, files))


def load_tokenizer(folder: Path) -> Any:
    """The fast tokenizer (character offsets are needed, which slow ones lack) of a folder or of a
    GGUF file.

    tokenizer.json is taken at its word: AutoTokenizer goes by the model type and, for Qwen 2 for
    one, replaces the file's own pre-tokenizer.
    """
    if folder.is_file():
        header_of(folder)  # tells of a missing package
        return _make_tokenizer(folder, tuple(_stats(parts_of(folder))))
    if (folder / "tokenizer.json").exists():
        from transformers import PreTrainedTokenizerFast as Kind
    else:  # takes more than a second to import
        from transformers import AutoTokenizer as Kind
    try:
        tokenizer = Kind.from_pretrained(str(folder))
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
        raise CrowdError(
            f"{path}: no such file; a Hugging Face model folder has one, and a GGUF "
            "file is named itself"
        ) from None
    except (OSError, ValueError) as error:
        raise CrowdError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(value, dict):
        raise CrowdError(f"{path}: a JSON object is expected")
    return value


def fingerprint(folder: Path) -> str:
    """SHA-256 over the names and contents of the model's files: what a local model has instead
    of a commit."""
    return _hash_files(tuple(_stats(_model_files(folder))))


def _stats(files: Iterable[Path]) -> Iterator[tuple[Path, int, int]]:
    """What tells a changed file: its size and its time."""
    for path in files:
        stat = path.stat()
        yield path, stat.st_size, stat.st_mtime_ns


@lru_cache(maxsize=8)  # tens of gigabytes, asked for at each step of a run
def _hash_files(files: tuple[tuple[Path, int, int], ...]) -> str:
    total = hashlib.sha256()
    for path, _, _ in files:
        with path.open("rb") as file:
            total.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _model_files(folder: Path) -> list[Path]:
    if folder.is_file():
        return parts_of(folder)
    return sorted({p for pattern in _FILES for p in folder.glob(pattern)})
