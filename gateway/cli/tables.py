"""Tables for people."""

import os
from collections.abc import Sequence
from typing import Literal

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

PLAIN_COLUMNS = 200
"""Where the output goes into a file or a pipe, unless COLUMNS says something else."""

ANY_COLUMNS = 10_000


def show_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = ""
) -> None:
    """A table for people; numbers to the right, the columns close together if need be.

    Only texts are folded where it is still too wide; SKUs and numbers never are.
    """
    console = Console(highlight=False, markup=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PLAIN_COLUMNS
    table = _table(columns, rows, title, gap=2)
    if _width(console, table) > console.width:
        table = _table(columns, rows, title, gap=1)
        if all(column.no_wrap for column in table.columns):
            console.width = max(console.width, _width(console, table))
    console.print(table)


def _table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], title: str, *, gap: int
) -> Table:
    table = Table(
        title=title or None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, gap - 1, 0, 0),  # the box itself puts one blank between columns
    )
    units = columns[:1] == ("SKU",)
    for index, name in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int) for row in rows)
        justify: Literal["left", "right"] = "right" if numeric else "left"
        table.add_column(name, justify=justify, overflow="fold", no_wrap=units)
    for row in rows:
        table.add_row(*[str(value) for value in row])
    return table


def _width(console: Console, table: Table) -> int:
    options = console.options.update(width=ANY_COLUMNS)
    return Measurement.get(console, options, table).maximum
