"""Tables that fit the terminal: one with too many columns is cut into several below each other."""

from collections.abc import Sequence
from dataclasses import replace

from rich.table import Column, Table
from rich.text import Text

NARROWEST = 10
"""Characters to which texts are broken into lines; numbers are not."""
ALONE = 28
"""The same of a text that alone says what a row is about."""
FRAME = 3
"""Characters that a column takes beside its cells."""


def fitting(table: Table, width: int) -> list[Table]:
    """A table as one that fits so many characters, or as several with the same first columns.

    The first columns, up to the first that is justified right, say what a row is about.
    """
    every = range(len(table.columns))
    if 1 + sum(_longest(column) + FRAME for column in table.columns) <= width:
        return [table]
    heads = next((i for i in every if table.columns[i].justify == "right"), len(every)) or 1
    texts = sum(column.justify != "right" for column in table.columns)
    narrow = ALONE if texts == 1 else NARROWEST
    need = [_least(column, narrow) + FRAME for column in table.columns]
    parts: list[list[int]] = [[]]
    for at in every[heads:]:
        if parts[-1] and 1 + sum(need[:heads]) + sum(need[i] for i in [*parts[-1], at]) > width:
            parts.append([])
        parts[-1].append(at)
    tables = [_cut(table, [*every[:heads], *part], narrow) for part in parts]
    for below in tables[1:]:
        below.title = None
    for above in tables[:-1]:
        above.caption = None
    return tables


def _longest(column: Column) -> int:
    cells = [column.header, *column.cells]
    return max(len_of for cell in cells for len_of in map(_width, str(cell).split("\n")))


def _width(text: str) -> int:
    return Text.from_markup(text, emoji=False).cell_len


def _least(column: Column, narrow: int) -> int:
    longest = _longest(column)
    return longest if column.justify == "right" else min(longest, narrow)


def _cut(table: Table, kept: Sequence[int], narrow: int) -> Table:
    """A table of some of the columns, whose texts may be broken anywhere and numbers may not."""
    columns = [table.columns[at] for at in kept]
    cut = Table(
        *(
            replace(_breakable(column, narrow), _index=i, _cells=[])
            for i, column in enumerate(columns)
        ),
        title=table.title,
        caption=table.caption,
        title_justify=table.title_justify,
        caption_justify=table.caption_justify,
    )
    cells = [[*column.cells] for column in columns]
    for place, row in enumerate(table.rows):
        own = (column[place] for column in cells)
        cut.add_row(*own, style=row.style, end_section=row.end_section)
    return cut


def _breakable(column: Column, narrow: int) -> Column:
    if column.justify == "right":
        return replace(column, no_wrap=True)
    return replace(column, no_wrap=False, overflow="fold", min_width=_least(column, narrow))
