"""The command line: what there is to call, and how mistakes are told."""

import sys

import click

from gateway import __version__
from gateway.cli.config import config
from gateway.cli.demo import demo
from gateway.cli.notify import notify
from gateway.cli.reservation import reservation
from gateway.cli.serve import serve
from gateway.cli.stock import stock
from gateway.cli.verify import verify
from gateway.core.errors import SetupError, StockgateError

EXIT_TROUBLE = 3
"""Something did not answer; the same command may work later."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="stockgate")
def cli() -> None:
    """Sells scarce stock exactly once, however hard the crowd pushes."""


for command in (serve, stock, reservation, verify, notify, config, demo):
    cli.add_command(command)


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
