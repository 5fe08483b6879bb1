"""What a server says when it refuses, wherever it says so.

Providers agree on nothing but that there is a message: it may come with a status or inside a 200,
as OpenAI's object, as a bare text, or as the validation errors of a web framework.
"""

import json
import re
from typing import Any, NamedTuple

_FATAL = (401, 402, 403, 404)  # a wrong key, address or model: no question will fare better
_BROKE = re.compile(
    r"insufficient[_ ](quota|credit|balance|fund)|billing|out of credit|credit balance|"
    r"not enough credit|payment required",
    re.IGNORECASE,
)
_LATER = re.compile(r"(retry|try again) (in|after) ", re.IGNORECASE)
_INVALID = re.compile(r"(invalid|bad)_?request", re.IGNORECASE)


class Fault(NamedTuple):
    """A refusal.

    Attributes:
        message: the provider's own.
        status: also one that stands inside an answer of status 200; None if there is none.
        words: its type and code.
        wait: seconds that the server asks to wait.
        inside: whether it came inside a 200.
    """

    message: str
    status: int | None
    words: str = ""
    wait: float | None = None
    inside: bool = False

    @property
    def broke(self) -> bool:
        """The account has no money left, which no waiting mends; a limit per minute may be worded
        alike, but says when to come back."""
        if self.status == 402 or "insufficient_quota" in self.words:
            return True
        passes = self.wait is not None or _LATER.search(self.message) is not None
        told = _BROKE.search(f"{self.words} {self.message}") is not None
        return told and not passes and (self.status or 400) < 500

    @property
    def fatal(self) -> bool:
        """No question will fare better."""
        return self.status in _FATAL or self.broke

    def __str__(self) -> str:
        if not self.inside:
            return f"HTTP {self.status}: {self.message[:300]}"
        number = f"error {self.status}" if self.status else "error"
        return f"{number} inside an HTTP 200 answer: {self.message[:300]}"


def fault(text: str, status: int, wait: float | None) -> Fault:
    """What the body of an error says."""
    try:
        body = json.loads(text)
    except ValueError:
        body = text
    error = (isinstance(body, dict) and body.get("error")) or body
    return Fault(_message(error), status, _words(error), wait)


def inside(answer: dict[str, Any], wait: float | None) -> Fault | None:
    """The error inside an answer of status 200, or inside its first choice; None if there is none.

    An answer without choices is one too; its own words are shown."""
    choices = answer.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    error = answer.get("error") or (first.get("error") if isinstance(first, dict) else None)
    if not error and choices:
        return None
    if not error and not any(answer.get(name) for name in _MESSAGES):
        sent = json.dumps(answer, ensure_ascii=False)
        return Fault(f"it holds no choices: {sent}", None, wait=wait, inside=True)
    error = error or answer
    return Fault(_message(error), _status(error), _words(error), wait, inside=True)


_MESSAGES = ("message", "detail", "msg")


def _message(error: Any) -> str:
    """The provider's own message and, behind a general one, what its source said."""
    if isinstance(error, dict):
        message = next((error[name] for name in _MESSAGES if error.get(name)), None)
        metadata = error.get("metadata")
        raw = metadata.get("raw") if isinstance(metadata, dict) else None
        if message is not None:
            return _message(message) + (f" ({_message(raw)})" if raw else "")
    text = error if isinstance(error, str) else json.dumps(error, ensure_ascii=False)
    return " ".join(text.split())


def _status(error: Any) -> int | None:
    if not isinstance(error, dict):
        return None
    for name in ("code", "status", "status_code"):
        status = str(error.get(name))
        if status.isdigit() and 400 <= int(status) < 600:
            return int(status)
    return 400 if _INVALID.search(_words(error)) else None


def _words(error: Any) -> str:
    if not isinstance(error, dict):
        return ""
    return " ".join(str(error[k]) for k in ("type", "code", "status") if error.get(k))
