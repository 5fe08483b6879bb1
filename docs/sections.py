"""Docstrings here are dense: a section begins without an empty line above it, and several arguments
may share a line. The site's reader of docstrings wants both apart."""

import re
from typing import Any

from griffe import Class, Docstring, Extension, Function

SECTION = re.compile(r"(?<!\n)\n((?:Args|Attributes|Returns|Raises|Warns|Examples):\n)")


class Sections(Extension):
    """Set sections, and the arguments in a section, apart."""

    def on_function(self, *, func: Function, **_: Any) -> None:
        """Of a function the arguments are known."""
        _apart(func.docstring, [p.name for p in func.parameters])

    def on_class(self, *, cls: Class, **_: Any) -> None:
        """Of a class the fields are."""
        _apart(cls.docstring, [name for name, part in cls.members.items() if part.is_attribute])


def _apart(docstring: Docstring | None, names: list[str]) -> None:
    if docstring is None:
        return
    text = SECTION.sub(r"\n\n\1", docstring.value)
    if names:
        shared = re.compile(rf"(?<=[.;]) ({'|'.join(map(re.escape, names))}): ")
        text = shared.sub(r"\n  \1: ", text)
    docstring.value = text
