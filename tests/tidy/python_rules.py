"""Tidy rules for one Python file: how long things are, and what may not be called."""

import ast
from collections.abc import Iterator
from fnmatch import fnmatchcase

from tests.tidy.findings import Finding

FUNCTION_LINES_MAX = 50

# Time, chance and waiting come from the injected clock, so that a run can be repeated.
CLOCKED = (
    "time.*",
    "random.*",
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.datetime.today",
    "datetime.date.today",
    "asyncio.sleep",
    "asyncio.timeout",
    "asyncio.timeout_at",
    "asyncio.wait_for",
    "anyio.sleep",
    "anyio.fail_after",
    "anyio.move_on_after",
)
PRINTED = ("print", "builtins.print")

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def long_functions(path: str, text: str, lines_max: int = FUNCTION_LINES_MAX) -> list[Finding]:
    """Functions of more than `lines_max` lines, not counting the docstring."""
    return [
        Finding(
            path, node.lineno, f"{node.name} has {lines} lines, at most {lines_max} are legible"
        )
        for node in ast.walk(ast.parse(text))
        if isinstance(node, _Function) and (lines := _code_lines(node)) > lines_max
    ]


def _code_lines(function: _Function) -> int:
    lines = _lines(function)
    if ast.get_docstring(function, clean=False) is not None:
        lines -= _lines(function.body[0])
    return lines


def _lines(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def banned_references(path: str, text: str, banned: tuple[str, ...]) -> list[Finding]:
    """Every use, called or handed on, of a name that matches one of the `banned` patterns.

    Names are followed through imports and their aliases, wherever in the file those stand.
    Annotations are no use: a function may say that it is given a random.Random.
    """
    tree = ast.parse(text)
    names = _imported_names(tree)
    return [
        Finding(path, line, f"{name} is not used here")
        for line, name in _mentions(tree, names)
        if any(fnmatchcase(name, pattern) for pattern in banned)
    ]


def _imported_names(tree: ast.Module) -> dict[str, str]:
    """Local name -> the dotted name it stands for."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                local = alias.asname or alias.name.partition(".")[0]
                names[local] = alias.name if alias.asname else local
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def _mentions(tree: ast.Module, names: dict[str, str]) -> Iterator[tuple[int, str]]:
    annotations = {id(part) for part in _annotation_parts(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name) and id(node) not in annotations:
            dotted = _dotted(node, names)
            if dotted is not None:
                yield node.lineno, dotted


def _annotation_parts(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        annotation = getattr(node, "returns" if isinstance(node, _Function) else "annotation", None)
        if isinstance(annotation, ast.expr):
            yield from ast.walk(annotation)


def _dotted(node: ast.expr, names: dict[str, str]) -> str | None:
    """`a.b.c` with `a` replaced by what it was imported as; None when it is no plain name.

    A name that was not imported stands for itself only when it is a builtin we care about.
    """
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id if node.id in PRINTED else None)
    if isinstance(node, ast.Attribute):
        owner = _dotted(node.value, names)
        return None if owner is None else f"{owner}.{node.attr}"
    return None
