"""What every command needs: the configuration, exit codes, words."""

import getpass
import os

import click

from gateway.core.config import Config, load_config

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


def operator() -> str:
    """Who gives a command, for the record."""
    try:
        return f"cli:{getpass.getuser()}"
    except (OSError, KeyError):  # a user without a name
        return "cli"


def counted(number: int, noun: str) -> str:
    """`1 SKU`, `2 SKUs`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
