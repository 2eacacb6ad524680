"""Tidy rules for any text file: how long it is, and what may not be left in it."""

import re

from tests.tidy.findings import Finding

FILE_LINES_MAX = 400

# Written so that this file does not break its own rule.
_UNFINISHED = re.compile(r"\b(TOD[O]|FIXM[E]|XX[X])\b")
_MACHINE_PATH = re.compile(r"(?<![\w.-])/(home|Users|root|work|mnt)/(?=\w)")


def long_file(path: str, text: str, lines_max: int = FILE_LINES_MAX) -> list[Finding]:
    """A file of more than `lines_max` lines."""
    lines = len(text.splitlines())
    if lines <= lines_max:
        return []
    return [Finding(path, 0, f"{lines} lines, at most {lines_max}: this is two files")]


def unfinished_marks(path: str, text: str) -> list[Finding]:
    """Marks of work left for later: that belongs into an issue."""
    return _matches(path, text, _UNFINISHED, "finish it, or file an issue:")


def machine_paths(path: str, text: str) -> list[Finding]:
    """Paths that exist on one person's machine only."""
    return _matches(path, text, _MACHINE_PATH, "a path of one machine:")


def _matches(path: str, text: str, pattern: re.Pattern[str], why: str) -> list[Finding]:
    return [
        Finding(path, number, f"{why} {found.group()}")
        for number, line in enumerate(text.splitlines(), start=1)
        for found in pattern.finditer(line)
    ]
