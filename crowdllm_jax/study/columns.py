"""What attributes are called as columns of the files that are written.

An attribute's column has its name, unless the files have a column of their own called so (upper and
lower case are one, as some readers take them): then it is `profile_` and the name.
"""

from collections.abc import Iterable

OWN = frozenset(
    {"agent_id", "task_id", "decision", "low", "high", "count", "share", "agents", "mean", "sd"}
)
"""The columns of the files that hold, or are joined with, profiles: agents, answers, counts."""


def attribute_columns(names: Iterable[str]) -> dict[str, str]:
    """The column of each attribute, in their order; no two columns are called alike."""
    taken, columns = set(OWN), {}
    for name in names:
        column = name
        while column.casefold() in taken:
            column = f"profile_{column}"
        taken.add(column.casefold())
        columns[name] = column
    return columns
