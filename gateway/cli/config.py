"""`stockgate config`: what is set, and from where."""

import click

from gateway.cli.common import config_option, load
from gateway.cli.tables import show_table
from gateway.core.config import config_as_rows


@click.group()
def config() -> None:
    """The configuration: show, check."""


@config.command()
@config_option
def show(config_path: str | None) -> None:
    """Every setting, its value and where it comes from."""
    show_table(("setting", "value", "from"), config_as_rows(load(config_path)))


@config.command()
@config_option
def check(config_path: str | None) -> None:
    """Say what is wrong with the configuration, if anything, without starting."""
    loaded = load(config_path)
    click.echo(f"OK: {loaded.origin.path or 'defaults and environment'}")
