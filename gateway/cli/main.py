"""The command line: what there is to call, and how mistakes are told."""

import sys
from importlib import import_module
from typing import Final

import click

from gateway import __version__
from gateway.core.errors import SetupError, StockgateError

EXIT_TROUBLE = 3
"""Something did not answer; the same command may work later."""

COMMANDS: Final = {
    "audit": ("gateway.cli.audit", "Redis against the ledger: run, list, show."),
    "config": ("gateway.cli.config", "The configuration: show, check."),
    "dead-letters": (
        "gateway.cli.dead_letters",
        "What could not be settled: list, show, retry, dismiss.",
    ),
    "demo": ("gateway.cli.demo", "Run a flash sale and check that no promise was broken."),
    "lease": ("gateway.cli.lease", "Leases between processes: list, show, break."),
    "ledger": ("gateway.cli.ledger", "The ledger's tables: migrate, show."),
    "notify": ("gateway.cli.notify", "Notifications to operations: test."),
    "rebuild": ("gateway.cli.rebuild", "Rebuild Redis from the ledger and what survived in it."),
    "reservation": ("gateway.cli.reservation", "Reservations: show, release."),
    "serve": ("gateway.cli.serve", "Serve the HTTP API, and settle, reap and refresh beside it."),
    "stock": ("gateway.cli.stock", "SKUs: list, set, adjust, import."),
    "verify": ("gateway.cli.verify", "Recompute every counter, Redis against the ledger."),
}
"""Each command's module, in which it has its own name, and its line of `--help`."""


class LazyGroup(click.Group):
    """Imports a command when it is called: most of them take longer to import than to run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(
            import_module(COMMANDS[cmd_name][0]), cmd_name.replace("-", "_")
        )
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="stockgate")
def cli() -> None:
    """Sells scarce stock exactly once, however hard the crowd pushes."""


def main() -> None:
    """Run the command line; mistakes and outages end in a message, not in a traceback."""
    try:
        cli(prog_name="stockgate")
    except SetupError as error:
        click.echo(f"stockgate: {error.message}", err=True)
        if error.hint:
            click.echo(f"  → {error.hint}", err=True)
        sys.exit(error.exit_code)
    except StockgateError as error:
        click.echo(f"stockgate: {error}", err=True)
        sys.exit(EXIT_TROUBLE)
