"""Reference decisions as records, and the one SQLite file that keeps them.

An answer is stored under a hash of all that decides it (model, revision, prompt, options,
parameters), so a reference is never computed twice, an interrupted run resumes where it stopped,
and an edited prompt never meets an old answer. The table is plain text for people to read:

    sqlite3 references.sqlite "select prompt, options, probs, mass from reference limit 5"
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crowdllm_jax.backbone.answers import Answer
from crowdllm_jax.errors import CrowdError

_VERSION = 1
_TABLE = """
CREATE TABLE IF NOT EXISTS reference (
    key TEXT PRIMARY KEY,       -- sha256 of the next six columns
    model TEXT NOT NULL,
    revision TEXT NOT NULL,
    prompt TEXT NOT NULL,       -- the whole prompt, as the model sees it
    task TEXT NOT NULL,         -- the task's own text within it
    options TEXT NOT NULL,      -- JSON list of labels
    parameters TEXT NOT NULL,   -- JSON object
    probs TEXT NOT NULL,        -- JSON list, one number per option, sums to 1
    mass REAL NOT NULL,         -- what the options held before they were made to sum to 1
    method TEXT NOT NULL,       -- logprobs or sample
    embedding BLOB,             -- float32, little-endian; null from an endpoint
    created TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
)
"""
_LOOKUP = 500  # keys per query: SQLite bounds the number of parameters


@dataclass(frozen=True)
class Key:
    """All that decides an answer."""

    model: str
    revision: str
    prompt: str
    task: str
    options: tuple[str, ...]
    parameters: str  # a JSON object

    def columns(self) -> tuple[str, ...]:
        """As a row of the cache."""
        options = json.dumps(self.options, ensure_ascii=False)
        return (self.model, self.revision, self.prompt, self.task, options, self.parameters)

    @property
    def digest(self) -> str:
        """What stands for the key in the cache."""
        return hashlib.sha256(json.dumps(self.columns()).encode()).hexdigest()


class Cache:
    """The SQLite file at `path`, made if missing; safe for several processes at once.

    Raises CrowdError if the file is something else, of a newer version, or cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, timeout=60)  # seconds that writers wait
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _VERSION):
                raise CrowdError(
                    f"{self.path}: a reference cache of version {version}, this package reads "
                    f"{_VERSION}; choose another file"
                )
            if version == 0:
                with self._db:
                    self._db.execute(_TABLE)
                    self._db.execute(f"PRAGMA user_version = {_VERSION}")
        except (sqlite3.Error, OSError) as error:
            raise CrowdError(
                f"{self.path}: not usable as a reference cache ({error}); choose another file"
            ) from None

    def get(self, keys: Sequence[Key]) -> list[Answer | None]:
        """The stored answer of each key, None where there is none."""
        digests = [key.digest for key in keys]
        answers: dict[str, Answer] = {}
        for begin in range(0, len(digests), _LOOKUP):
            part = digests[begin : begin + _LOOKUP]
            marks = ",".join("?" * len(part))
            rows = self._db.execute(
                f"SELECT key, probs, mass, method, embedding FROM reference WHERE key IN ({marks})",
                part,
            )
            for key, probs, mass, method, blob in rows:
                embedding = None if blob is None else np.frombuffer(blob, "<f4")
                answers[key] = Answer(tuple(json.loads(probs)), mass, method, embedding)
        return [answers.get(digest) for digest in digests]

    def put(self, answers: Iterable[tuple[Key, Answer]]) -> None:
        """Store answers in one transaction: all or, if the process dies, none. The first answer
        under a key stays, so that whoever reads it always reads the same."""
        rows = [
            (
                key.digest,
                *key.columns(),
                json.dumps([float(p) for p in answer.probs]),
                float(answer.mass),
                answer.method,
                None if answer.embedding is None else answer.embedding.astype("<f4").tobytes(),
            )
            for key, answer in answers
        ]
        with self._db:
            self._db.executemany(
                "INSERT OR IGNORE INTO reference (key, model, revision, prompt, task, options, "
                "parameters, probs, mass, method, embedding) VALUES (?,?,?,?,?,?,?,?,?,?,?)",
                rows,
            )

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def __enter__(self) -> "Cache":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
