"""Loads the Lua commands: resolves their includes and checks their headers.

A command is `lua/commands/<name>.lua`. Its header is the contract: purpose, KEYS, ARGV, Returns.
An `--@include x` line is replaced by `lua/includes/x.lua`, an `--@rules pay expire` line by the
rows of core/transitions.py for these events. Redis runs the whole text at every call, so what a
command does not need is not in it, and constants (`local NAME = 1`) are written out where they are
used.
"""

import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from pathlib import Path

from gateway.core.errors import SetupError
from gateway.core.model import State
from gateway.core.transitions import LETTERS, TRANSITIONS, Event, Rule

_PACKAGE = Path(__file__).resolve().parent.parent
_INCLUDE = re.compile(r"^--@include (\w+)$", re.MULTILINE)
_RULES = re.compile(r"^--@rules ([a-z ]+)$", re.MULTILINE)
_CONSTANT = re.compile(r"^local ([A-Z][A-Z_]*) = (\d+)(?: +--.*)?\n", re.MULTILINE)


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


def _rows(events: str) -> str:
    """`local PAY_RULES = {...}` for each event: state -> next state, or the code of the refusal."""
    return "\n".join(map(_row, map(Event, events.split())))


def _row(event: Event) -> str:
    rules = TRANSITIONS[event].items()
    cells = [f"{LETTERS[state]} = {_rule(rule)}" for state, rule in rules]
    return f"local {event.value.upper()}_RULES = {{ {', '.join(cells)} }}"


def _rule(rule: Rule) -> str:
    return f"'{LETTERS[rule]}'" if isinstance(rule, State) else str(rule.value)


def _written_out(text: str) -> str:
    """The text without its constants, their values where they were named."""
    constants = dict(_CONSTANT.findall(text))
    if not constants:
        return text
    named = re.compile(rf"\b(?:{'|'.join(constants)})\b")
    return named.sub(lambda found: constants[found[0]], _CONSTANT.sub("", text))


@cache
def load(name: str) -> Script:
    """The command `name`, ready to be run."""
    root = lua_root()
    command = _read(root / "commands" / f"{name}.lua")
    text = _INCLUDE.sub(lambda found: _read(root / "includes" / f"{found[1]}.lua"), command)
    text = _written_out(_RULES.sub(lambda found: _rows(found[1]), text))
    sha = sha1(text.encode(), usedforsecurity=False).hexdigest()
    return Script(name=name, text=text, sha=sha, header=parse_header(command))
