"""What reaches the user's console: no character that it cannot show, no talk of other libraries."""

import codecs
import io
import logging
import os
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

ERRORS = "crowdllm"
"""Name of our way to write characters that an encoding lacks."""

_PLAIN = {"–": "-", "−": "-", "±": "+-", "×": "x", "…": "..."}
_CONTROLS = {c: f"\\x{c:02x}" for c in (*range(32), *range(127, 160)) if chr(c) not in "\n\t\r"}


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """Our own signs become their ASCII stand-ins, others the escapes of Python and JSON."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(c) or ascii(c)[1:-1] for c in lacking), error.end


codecs.register_error(ERRORS, _plainly)


class PlainConsole(Console):
    """A console that lays out what it will write: escapes are as wide as they come to stand there.

    Control characters in names, which could move the cursor or colour what follows, are escaped,
    and a name such as `:car:` stays as it is.
    """

    def __init__(self, **options: Any) -> None:
        """See rich."""
        super().__init__(emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """See rich."""
        shown = text.translate(_CONTROLS).encode(self.encoding, ERRORS).decode(self.encoding)
        return super().render_str(shown, **options)


def own_streams() -> None:
    """Let this process's streams take every text, whatever the console's encoding."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ERRORS)


def hush() -> None:
    """Keep the talk of XLA and of the libraries around JAX from this process's user.

    Set before they are imported, and only where the user has not set it. What goes wrong in them
    is raised, and so still comes through.
    """
    for name, value in {
        "TF_CPP_MIN_LOG_LEVEL": "3",  # XLA and gloo: only what ends the process
        "TRANSFORMERS_VERBOSITY": "error",
    }.items():
        os.environ.setdefault(name, value)
    logging.getLogger("absl").setLevel(logging.ERROR)  # orbax tells of every state it saves
