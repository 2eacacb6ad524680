"""What every command needs: the configuration, exit codes, words."""

import getpass
import os
import re

import click

from gateway.api.schemas import REASON_PATTERN
from gateway.core.config import Config, load_config
from gateway.core.errors import SetupError

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
        name = getpass.getuser()
    except (OSError, KeyError):  # a user without a name
        return "cli"
    return "cli:" + name.encode(errors="replace").decode()


def check_words(name: str, words: str) -> None:
    """Raises SetupError for words that cannot be kept on record; `name`: what they are."""
    if not re.search(REASON_PATTERN, words) or not _is_text(words):
        raise SetupError(f"the {name} must be 1 to 200 characters on one line, and not blank")


def _is_text(words: str) -> bool:
    """Whether it is: an argument in another encoding than the terminal's holds half letters."""
    return not any("\ud800" <= letter <= "\udfff" for letter in words)


def counted(number: int, noun: str) -> str:
    """`1 SKU`, `2 SKUs`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
