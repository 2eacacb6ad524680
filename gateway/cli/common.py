"""What every command needs: the configuration, the stores, an event loop, tables."""

import os
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import click
from rich import box
from rich.console import Console
from rich.table import Table

from gateway.core.clock import SystemClock
from gateway.core.config import Config, load_config
from gateway.runtime.core import Core, open_core
from gateway.runtime.eventloop import run

T = TypeVar("T")

EXIT_FAILED = 1

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False),
    help="Configuration file; ./stockgate.toml if there is one.",
)


def load(config_path: str | None) -> Config:
    """The configuration in force."""
    return load_config(config_path, os.environ)


def with_core(config_path: str | None, work: Callable[[Core], Awaitable[T]]) -> T:
    """The result of `work` on the stores; beside a running gateway or without one."""

    async def opened() -> T:
        async with open_core(load(config_path), SystemClock(), exclusive=False) as core:
            return await work(core)

    return run(opened())


def show_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = ""
) -> None:
    """A table for people; numbers to the right. Never cut off when it goes into a file."""
    table = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left")
    for index, name in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*[str(value) for value in row])
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=200)
    console.print(table)
