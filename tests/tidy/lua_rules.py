"""Tidy rules for the Lua scripts: headers, includes, reply codes."""

import re
from collections.abc import Mapping, Sequence

from gateway.store.scripts import parse_header
from tests.tidy.findings import Finding

_INCLUDE = re.compile(r"^--@include (\w+)$", re.MULTILINE)
_CODE = re.compile(r"^local ([A-Z][A-Z_]*) = (\d+)(?:\s*--.*)?$", re.MULTILINE)
_NUMERIC_ARGUMENT = re.compile(r"tonumber\(ARGV\[(\d+)\]\)")
_UNITS = re.compile(
    r"\b(ms|s|units|bytes|count|number|requests|reservations|rows|entries|skus|lines|fields|moves"
    r"|at most|0|1)\b",
    re.IGNORECASE,
)


def command_header(path: str, text: str) -> list[Finding]:
    """A command states its purpose, every key, every argument with its unit, and its answer."""
    try:
        header = parse_header(text)
    except ValueError as error:
        return [Finding(path, 1, str(error))]
    messages = [
        *_undescribed(text, "KEYS", header.keys),
        *_undescribed(text, "ARGV", header.argv),
        *_unitless(text, header.argv),
    ]
    return [Finding(path, 1, message) for message in messages]


def _undescribed(text: str, name: str, lines: Sequence[str]) -> list[str]:
    """Entries the code reads by number that the header does not describe."""
    code = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    used = sorted({int(n) for n in re.findall(rf"\b{name}\[(\d+)\]", code)})
    spans = _described(" ".join(lines), name)
    return [
        f"{name}[{number}] is used but not described"
        for number in used
        if not any(first <= number <= last for first, last in spans)
    ]


def _described(text: str, name: str) -> list[tuple[int, float]]:
    """First and last number of each `ARGV[3]`, `ARGV[3..5]` or (without end) `ARGV[3..n]`."""
    spans: list[tuple[int, float]] = []
    for first, last in re.findall(rf"\b{name}\[(\d+)(?:\.\.([^\]]+))?\]", text):
        end = float(last) if last.isdigit() else float("inf")
        spans.append((int(first), end if last else int(first)))
    return spans


def _unitless(text: str, lines: Sequence[str]) -> list[str]:
    """Arguments the code turns into numbers whose description names no unit."""
    numbers = sorted({int(n) for n in _NUMERIC_ARGUMENT.findall(text)})
    return [
        f"ARGV[{number}] is a number: say of what"
        for number in numbers
        for line in lines
        if line.startswith(f"ARGV[{number}]")
        and not _UNITS.search(line.removeprefix(f"ARGV[{number}]"))
    ]


def include_header(path: str, text: str) -> list[Finding]:
    """An include says what it is for in its first line."""
    if re.match(r"-- \w", text):
        return []
    return [Finding(path, 1, "the first line does not say what the include is for")]


def broken_includes(
    commands: Mapping[str, str], available: Mapping[str, str], folder: str = "lua/includes"
) -> list[Finding]:
    """Includes that do not exist or include others, and files that no command includes."""
    asked = [(path, name) for path, text in commands.items() for name in _INCLUDE.findall(text)]
    missing = [
        Finding(path, 0, f"includes {name}, which is not in {folder}")
        for path, name in asked
        if f"{folder}/{name}.lua" not in available
    ]
    nested = [
        Finding(path, 0, f"an include includes nothing: name {name} in the commands")
        for path, text in available.items()
        for name in _INCLUDE.findall(text)
    ]
    used = {f"{folder}/{name}.lua" for _, name in asked}
    unused = [
        Finding(path, 0, "no command includes this") for path in available if path not in used
    ]
    return missing + nested + unused


def reply_codes(text: str) -> dict[str, int]:
    """NAME -> number of each `local NAME = 3` line."""
    return {name: int(number) for name, number in _CODE.findall(text)}


def different_codes(path: str, lua: Mapping[str, int], python: Mapping[str, int]) -> list[Finding]:
    """Codes that are in one list only, or have another number there."""
    return [
        Finding(path, 0, f"{name} is {lua.get(name)} in Lua and {python.get(name)} in Python")
        for name in sorted({*lua, *python})
        if lua.get(name) != python.get(name)
    ]
