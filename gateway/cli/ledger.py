"""`stockgate ledger`: the tables of the ledger, made and brought up to date."""

import sys

import click

from gateway.cli.common import EXIT_FAILED, config_option, load
from gateway.core.clock import SystemClock
from gateway.core.config import Config
from gateway.ledger import Ledger, LedgerState
from gateway.runtime.core import open_ledger
from gateway.runtime.eventloop import run


@click.group()
def ledger() -> None:
    """The ledger's tables: migrate, show."""


@ledger.command()
@config_option
def migrate(config_path: str | None) -> None:
    """Make the tables, or bring them to the version that this stockgate needs.

    Safe to repeat, and to run on several machines at once: one migrates, the others wait for it.
    """
    config = load(config_path)
    before = run(_look(config))
    run(_migrate(config))
    if before.version == before.head:
        click.echo(f"The ledger {before.address} has tables of version {before.head} already.")
    else:
        click.echo(f"Migrated {before.address} from {_named(before)} to version {before.head}.")


@ledger.command()
@config_option
def show(config_path: str | None) -> None:
    """Where the ledger is and the version of its tables. Exit code 1 unless it is up to date."""
    state = run(_look(load(config_path)))
    click.echo(f"address  {state.address}")
    click.echo(f"tables   {_named(state)}")
    click.echo(f"needed   version {state.head}")
    if state.version != state.head:
        sys.exit(EXIT_FAILED)


def _named(state: LedgerState) -> str:
    return f"version {state.version}" if state.version else "empty"


async def _look(config: Config) -> LedgerState:
    return await Ledger.look(config.ledger_url, SystemClock())


async def _migrate(config: Config) -> None:
    await (await open_ledger(config, SystemClock(), migrate=True)).close()
