"""A command imports what it needs and no more: most of what the gateway needs takes long."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from gateway.cli.main import COMMANDS, cli
from tests.http.gateways import environment

HEAVY = {"sqlalchemy", "redis", "uvicorn", "starlette"}

RUN = """
import sys
from gateway.cli.main import cli
cli(sys.argv[1:], standalone_mode=False)
print(*sys.modules, file=sys.stderr)
"""


def imported_by(*words: str) -> set[str]:
    """The heavy packages that a command line has imported at its end."""
    command = [sys.executable, "-c", RUN, *words]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    return HEAVY & set(done.stderr.split())


@pytest.mark.parametrize("words", ["--help", "--version", "config check", "config show"])
def test_what_needs_no_store_imports_none(words: str) -> None:
    assert imported_by(*words.split()) == set()


def test_what_works_on_the_stores_imports_them() -> None:
    assert imported_by("stock", "--help") >= {"sqlalchemy", "redis"}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_says_itself(name: str) -> None:
    listed = CliRunner().invoke(cli, ["--help"], terminal_width=200).output
    own = CliRunner().invoke(cli, [name, "--help"], terminal_width=200).output
    about = COMMANDS[name][1]
    assert any(line.split() == [name, *about.split()] for line in listed.splitlines())
    assert about in own


def test_a_command_that_there_is_not_is_named() -> None:
    result = CliRunner().invoke(cli, ["sell"])
    assert result.exit_code == 2
    assert "No such command 'sell'" in result.output
