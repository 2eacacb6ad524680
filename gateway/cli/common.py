"""What every command needs: the configuration, the stores, an event loop, tables."""

import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypeVar

import click
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from gateway.core.clock import SystemClock
from gateway.core.config import Config, load_config
from gateway.runtime.core import Core, open_core, require_data
from gateway.runtime.eventloop import run

T = TypeVar("T")

EXIT_FAILED = 1

PLAIN_COLUMNS = 200
"""Where the output goes into a file or a pipe, unless COLUMNS says something else."""

ANY_COLUMNS = 10_000

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False),
    help="Configuration file; ./stockgate.toml if there is one.",
)


def load(config_path: str | None) -> Config:
    """The configuration in force."""
    return load_config(config_path, os.environ)


def with_core(
    config_path: str | None, work: Callable[[Core], Awaitable[T]], *, creates: bool = False
) -> T:
    """The result of `work` on the stores; beside a running gateway or without one.

    creates: the work may be what begins them. Otherwise it is refused, with a SetupError, where
    nothing is kept.
    """

    async def opened() -> T:
        config = load(config_path)
        if not creates:
            require_data(config)
        async with open_core(config, SystemClock(), exclusive=False) as core:
            return await work(core)

    return run(opened())


def counted(number: int, noun: str) -> str:
    """`1 SKU`, `2 SKUs`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


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
