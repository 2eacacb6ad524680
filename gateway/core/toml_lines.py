"""Reading a TOML or CSV file a person wrote, so that every complaint can name its line."""

import bisect
import re
import tomllib
from pathlib import Path
from typing import Any

from gateway.core.errors import SetupError

KeyPath = tuple[str | int, ...]

_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)\Z")


def read_text(path: Path, *, what: str, bytes_max: int) -> str:
    """The file's text, without a byte order mark and with Unix line ends.

    Raises:
        SetupError: it is missing, unreadable, larger than `bytes_max`, or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(bytes_max + 1)
    except FileNotFoundError:
        raise SetupError(f"no {what} at {path.absolute()}") from None
    except OSError as error:
        raise SetupError(f"cannot read the {what} {path}: {error.strerror}") from None
    if len(raw) > bytes_max:
        raise SetupError(f"the {what} {path} is larger than {bytes_max} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SetupError(
            f"{path}:{line}: this is not UTF-8 text", hint="Save it as UTF-8."
        ) from None
    return text.replace("\r\n", "\n")


def parse_toml(text: str, path: Path) -> dict[str, Any]:
    """The document as dicts and lists.

    Raises:
        SetupError: with file, line and column of the syntax error.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SetupError(_syntax_message(str(error), text, path)) from None
    except RecursionError:
        raise SetupError(f"{path}: arrays or tables are nested too deeply") from None


def _syntax_message(message: str, text: str, path: Path) -> str:
    found = _POSITION.search(message)
    if found is None:
        return f"{path}: {message}"
    last_line = text.rstrip("\n").count("\n") + 1
    place = f"{found[1]}:{found[2]}" if found[1] else f"{last_line}"
    return f"{path}:{place}: {message[: found.start()]}"


def line_of(text: str, key: KeyPath) -> int:
    """The line, from 1, on which the statement that defines `key` begins; 1 if none does.

    A valid TOML document stays valid when cut before a statement and never when cut inside one,
    so the shortest valid prefix that has the key ends with the statement looked for.
    """
    lines = text.split("\n")

    def end_of_statement(line: int) -> int:
        while line < len(lines) and _parsed(lines[:line]) is None:
            line += 1
        return line

    def has_key(line: int) -> bool:
        return _contains(_parsed(lines[: end_of_statement(line)]), key)

    # Growing the prefix only ever adds keys, so the answer can be bisected. Cutting inside the
    # statement is rounded up to its end, hence the first line that has the key begins it.
    found = bisect.bisect_left(range(1, len(lines) + 1), True, key=has_key) + 1
    return found if found <= len(lines) else 1


def _parsed(lines: list[str]) -> dict[str, Any] | None:
    try:
        return tomllib.loads("\n".join(lines))
    except (tomllib.TOMLDecodeError, RecursionError):
        return None


def _contains(value: Any, key: KeyPath) -> bool:
    for part in key:
        if isinstance(part, int):
            if not isinstance(value, list) or part >= len(value):
                return False
        elif not isinstance(value, dict) or part not in value:
            return False
        value = value[part]
    return True
