"""Loads the Lua commands: resolves their includes and checks their headers.

A command is `lua/commands/<name>.lua`; `--@include x` lines put `lua/includes/x.lua` before it,
each once, in the order named. The header is the contract: purpose, KEYS, ARGV, Returns.
"""

import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from pathlib import Path

from gateway.core.errors import SetupError

_PACKAGE = Path(__file__).resolve().parent.parent
_INCLUDE = re.compile(r"^--@include (\w+)$", re.MULTILINE)


@dataclass(frozen=True)
class Header:
    """What a command says of itself."""

    purpose: str
    keys: tuple[str, ...]
    argv: tuple[str, ...]
    returns: str


@dataclass(frozen=True)
class Script:
    """A command ready to be sent: its text with all includes, and the text's SHA-1."""

    name: str
    text: str
    sha: str
    header: Header


def lua_root() -> Path:
    """Where the Lua files are: inside the installed package, or beside it in a source tree."""
    for root in (_PACKAGE / "_lua", _PACKAGE.parent / "lua"):
        if (root / "commands").is_dir():
            return root
    raise SetupError(
        f"Lua commands are missing: looked in {_PACKAGE / '_lua'} and {_PACKAGE.parent / 'lua'}",
        hint="reinstall the package: pip install --force-reinstall stockgate",
    )


def _comment_block(text: str) -> list[str]:
    lines = []
    for line in text.splitlines():
        if not line.startswith("--") or line.startswith("--@"):
            break
        lines.append(line.removeprefix("--").strip())
    return lines


def parse_header(text: str) -> Header:
    """The header of a command; ValueError names the part that is missing."""
    sections: dict[str, list[str]] = {"purpose": [], "KEYS": [], "ARGV": [], "Returns": []}
    current = "purpose"
    for line in _comment_block(text):
        name, colon, rest = line.partition(":")
        if colon and name in sections and name != "purpose":
            current, line = name, rest.strip()
        if line:
            sections[current].append(line)
    for name, lines in sections.items():
        if not lines:
            raise ValueError(f"header has no {name}")
    return Header(
        purpose=" ".join(sections["purpose"]),
        keys=tuple(sections["KEYS"]),
        argv=tuple(sections["ARGV"]),
        returns=" ".join(sections["Returns"]),
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SetupError(f"cannot read {path}: {error.strerror}") from error


@cache
def load(name: str) -> Script:
    """The command `name`, with its includes."""
    root = lua_root()
    command = _read(root / "commands" / f"{name}.lua")
    parts = [_read(root / "includes" / f"{part}.lua") for part in _INCLUDE.findall(command)]
    text = "\n".join([*parts, command])
    sha = sha1(text.encode(), usedforsecurity=False).hexdigest()
    return Script(name=name, text=text, sha=sha, header=parse_header(command))
